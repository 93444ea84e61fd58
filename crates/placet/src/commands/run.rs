//! `placet run`: a person approves one run of a command, and then exactly that runs, once.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use placet_mcp::gate::{Denied, GateClient, Question};
use serde_json::Value;

use super::asking::{Asking, Waited, is_pending, request_id};
use super::request::{deciders, text};
use crate::cli::{Globals, Run};
use crate::console::{harmless, note};
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::mcp::Signs;
use crate::signals::{Mask, Signals};

/// After so long without an answer it says that it tries again.
const SILENCE: Duration = Duration::from_secs(2);

/// Asks, waits, redeems, and becomes the command.
pub(crate) async fn run(globals: &Globals, options: Run) -> Result<Exit, Failure> {
    // From here on a signal takes the question back, however early it comes.
    let mut signals = Signals::catch_with_hangup()?;
    let mask = Mask::remember();
    let asked = Invocation::read(&options.command, &options.files, &options.facts)?;
    for folder in asked.folders() {
        note(&format!(
            "what the folder `{}` holds is no part of the question; to make it one: --file {}",
            harmless(folder),
            harmless(folder)
        ));
    }
    let question = Question {
        request_id: request_id(options.request_id.as_deref(), "run")?,
        action: options.action.clone(),
        summary: options.summary.clone().unwrap_or_else(|| format!("Run {}", asked.line())),
        payload: asked.payload(),
        timeout_seconds: options.timeout.map(|timeout| timeout.as_secs()),
    };
    let name = question.request_id.clone();
    let asking = Asking::prepare(globals, options.client.as_deref()).await?;
    let gate = GateClient::new(Arc::new(Signs(asking.api.clone())));
    let approval = {
        let approval = gate.ask(&question);
        tokio::pin!(approval);
        let mut patient = false;
        loop {
            tokio::select! {
                approval = &mut approval => break approval.map_err(denied)?,
                exit = signals.next() => return asking.withdraw(exit, &name, globals, &mut signals).await,
                () = tokio::time::sleep(SILENCE), if !patient => {
                    patient = true;
                    note("the gate has not answered yet; it is tried again for a while");
                }
            }
        }
    };
    let approval = if is_pending(&approval) {
        asking.say_who_will_tell();
        match asking.wait(&name, approval, &mut signals).await? {
            Waited::Ended(approval) => approval,
            Waited::StoppedBy(exit) => return asking.withdraw(exit, &name, globals, &mut signals).await,
        }
    } else {
        approval
    };
    if approval.get("approved") != Some(&Value::Bool(true)) {
        return Err(not_approved(&approval));
    }

    // What has changed is not what was approved; the approval is not used up for it.
    unchanged(&options, &asked)?;
    let redeemed = tokio::select! {
        redeemed = gate.redeem(&approval, &question.action, &question.payload) => redeemed,
        exit = signals.next() => return Ok(not_run(exit)),
    };
    redeemed.map_err(denied)?;
    note(&format!("approved by {}: {}", deciders(&approval), harmless(&asked.line())));
    // The gate's files are closed before another program takes this process over.
    drop((gate, asking));
    tokio::select! {
        biased;
        exit = signals.next() => return Ok(not_run(exit)),
        () = std::future::ready(()) => {}
    }
    unchanged(&options, &asked)?;
    mask.restore();
    Err(become_command(&asked))
}

/// Reads everything again, and compares.
fn unchanged(options: &Run, asked: &Invocation) -> Result<(), Failure> {
    let now = Invocation::read(&options.command, &options.files, &options.facts)?;
    if now == *asked {
        return Ok(());
    }
    Err(Failure::refused("not run: this is not what was approved any more")
        .advise(now.changes_since(asked).join("\n")))
}

/// Replaces this process: input, output, signals and the exit code are the command's own. Returns only where that fails.
fn become_command(asked: &Invocation) -> Failure {
    let name = asked.argv.first().map_or("", String::as_str);
    let mut command = Command::new(&asked.program);
    command.arg0(name).args(asked.argv.iter().skip(1));
    // With it the command could ask in this client's name.
    command.env_remove(super::SECRET_VARIABLE);
    let error = command.exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Failure::fault(format!("`{name}` cannot be started: {error}")).exiting_with(code)
}

fn not_run(exit: Exit) -> Exit {
    note("stopped after the approval, and not run");
    exit
}

fn not_approved(approval: &Value) -> Failure {
    let by = deciders(approval);
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    let failure = Failure::refused(format!("not run: {}{by}", harmless(text(approval, "status"))));
    match text(approval, "reason") {
        "" => failure,
        reason => failure.advise(format!("reason: {}", harmless(reason))),
    }
}

fn denied(why: Denied) -> Failure {
    let message = format!("not run: {why}");
    match why {
        Denied::Refused { code, .. } => {
            let failure = Failure::refused(message);
            match code {
                Some(code) => failure.with_code(&code),
                None => failure,
            }
        }
        Denied::NotApproved(_) => Failure::refused(message),
        Denied::Away(_) => Failure::fault(message)
            .advise("is it running, and is this its address? `placet serve` starts one on this machine"),
    }
}
