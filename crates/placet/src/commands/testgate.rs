//! `placet testgate`, which no help names: a gate for the tests of any language, steered by JSON lines.
//!
//! It is the gate of `placet serve`. What is said on standard output and asked on standard input is written down in
//! tests/testgate/README.md. It ends when standard input closes: a dead test runner leaves no gate behind.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::sync::Arc;

use placet_core::id::ReviewerId;
use placet_core::policy::Policy;
use placet_sqlite::PlacedEntry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{Receiver, channel};

use crate::cli::{Globals, Testgate};
use crate::events::Events;
use crate::failure::{Exit, Failure};
use crate::folder::Scratch;
use crate::local::{LocalGate, Voices};
use crate::serve::{Options, PolicySource, Running, start};
use crate::signals::Signals;

/// How long the last lines may take to be read.
const DRAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// How many audit entries are read at once.
const PAGE: usize = 1000;

/// One line of standard input.
#[derive(Deserialize)]
struct Line {
    /// Comes back with the answer.
    #[serde(default)]
    id: Value,
    #[serde(flatten)]
    command: Command,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    /// Puts a policy in force.
    Policy { text: String },
    /// A client's secret, in the current epoch or in that one.
    Secret { client: String, epoch: Option<u32> },
    /// Rotates the keys, whatever is still in use.
    Rotate {},
    /// A reviewer's link to a request.
    Link { client: Option<String>, request_id: String, reviewer: String },
    /// The link to a reviewer's inbox.
    InboxLink { reviewer: String },
    /// A reviewer's link to practise, made at the gate's own time.
    PracticeLink { reviewer: String },
    /// The link to the report of the seven days before that UTC day, counted from 1970-01-01.
    ReportLink { until_day: u32 },
    /// The audit trail: all of it, or the chain of one subject (`approval_id`, `policy`, `keys`).
    Audit { subject: Option<String> },
    /// Dies at once, as by `kill -9`. There is no answer.
    Kill {},
    /// Ends cleanly.
    Stop {},
}

/// Serves until it is told to end, or nobody is left to tell it.
pub(crate) async fn run(globals: &Globals, options: Testgate) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let events = Events::start()
        .map_err(|error| Failure::fault(format!("the thread for events cannot be started: {error}")))?;
    let ended = tokio::select! {
        served = serve(globals, options, &events) => served,
        exit = signals.next() => Ok(exit),
    };
    if let Err(failure) = &ended {
        events.say(json!({ "event": "failed", "message": failure.to_string() }));
    }
    events.drain(DRAIN_TIMEOUT);
    ended
}

async fn serve(globals: &Globals, options: Testgate, events: &Events) -> Result<Exit, Failure> {
    let scratch = match globals.named_data() {
        Some(_) => None,
        None => Some(
            Scratch::new("testgate")
                .map_err(|error| Failure::fault(format!("no temporary folder can be made: {error}")))?,
        ),
    };
    let data =
        scratch.as_ref().map_or_else(|| globals.data().to_owned(), |scratch| scratch.path().to_owned());
    let mut lines = lines_of_stdin()?;
    let policy = match &globals.policy {
        Some(file) if file.as_os_str() == "-" => Some(PolicySource::Text(first_policy(&mut lines).await?)),
        Some(file) => Some(PolicySource::File(file.clone())),
        None => None,
    };
    let running = start_gate(data, policy, options, events.clone()).await?;
    let local = &running.local;
    events.say(json!({
        "event": "ready",
        "url": running.url,
        "data": local.folder.path(),
        "pid": std::process::id(),
        "secrets": secrets(local, &*local.policy().await?),
    }));
    let stop_id = loop {
        let Some(line) = lines.recv().await else { break None };
        match serde_json::from_str::<Line>(&line) {
            Ok(Line { command: Command::Kill {}, .. }) => die(),
            Ok(Line { command: Command::Stop {}, id }) => break Some(id),
            Ok(Line { command, id }) => {
                let answer = obey(local, command).await;
                events.say(answered(id, answer));
            }
            Err(error) => {
                let id = serde_json::from_str::<Value>(&line).ok().and_then(|line| line.get("id").cloned());
                let failure = Failure::usage(format!("this is no command: {error}"));
                events.say(answered(id.unwrap_or_default(), Err(failure)));
            }
        }
    };
    running.stop().await;
    if let Some(id) = stop_id {
        events.say(answered(id, Ok(json!({ "stopped": true }))));
    }
    Ok(Exit::Done)
}

async fn start_gate(
    data: PathBuf,
    policy: Option<PolicySource>,
    options: Testgate,
    events: Events,
) -> Result<Running, Failure> {
    start(Options {
        data,
        policy,
        listen: options.listen,
        public_url: options.public_url,
        keep_alive_seconds: crate::server::KEEP_ALIVE_SECONDS,
        voices: Voices { events: Some(events), ..Voices::default() },
        metrics: None,
        demo_chat: None,
    })
    .await
}

/// Standard input, line by line, from a thread of its own: a read cannot be called off.
fn lines_of_stdin() -> Result<Receiver<String>, Failure> {
    let (lines, inbox) = channel(16);
    std::thread::Builder::new()
        .name("placet-commands".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Failure::fault(format!("the thread for commands cannot be started: {error}")))?;
    Ok(inbox)
}

/// `--policy -`: the first line is the command that installs it.
async fn first_policy(lines: &mut Receiver<String>) -> Result<String, Failure> {
    let line = lines.recv().await.unwrap_or_default();
    match serde_json::from_str(&line) {
        Ok(Line { command: Command::Policy { text }, .. }) => Ok(text),
        Ok(_) | Err(_) => Err(Failure::usage("the first line of standard input has no policy")
            .advise(r#"write {"do": "policy", "text": "…"}, or name a file with --policy"#)),
    }
}

async fn obey(local: &LocalGate, command: Command) -> Result<Value, Failure> {
    match command {
        Command::Policy { text } => {
            let installed = local.install_text(std::path::Path::new("this text"), &text).await?;
            let (placet_gate::Installed::New(version) | placet_gate::Installed::Same(version)) = installed;
            Ok(json!({ "version": version, "secrets": secrets(local, &*local.policy().await?) }))
        }
        Command::Secret { client, epoch } => {
            let policy = local.policy().await?;
            let client = super::known_client(&client, &policy)?;
            let keyring = local.keys.held();
            let number = epoch.unwrap_or(keyring.current.number);
            let epoch = keyring.epoch(number).ok_or_else(|| {
                Failure::refused(format!("epoch {number} is not valid any more, or not yet"))
            })?;
            let secret = epoch.client_secret(&client.id, client.generation);
            Ok(json!({ "secret": secret.expose(), "epoch": number }))
        }
        Command::Rotate {} => {
            let rotated = super::keys::rotate_gate(local, true).await?;
            Ok(json!({ "epoch": rotated.epoch(), "secrets": secrets(local, &*local.policy().await?) }))
        }
        Command::Link { client, request_id, reviewer } => {
            let policy = local.policy().await?;
            let opened =
                super::Opened { gate: Arc::clone(&local.gate), store: Arc::clone(&local.store) as _, policy };
            let again = super::link::again(opened, client.as_deref(), &request_id, &reviewer).await?;
            Ok(again.to_json())
        }
        Command::InboxLink { reviewer } => {
            let policy = local.policy().await?;
            let reviewer: ReviewerId = super::inbox::known_reviewer(&reviewer, &policy)?;
            let url = format!(
                "{}/inbox/{}",
                local.gate.base_url(&policy),
                local.gate.inbox_link(&reviewer, &policy).await?
            );
            Ok(json!({ "inbox": url }))
        }
        Command::PracticeLink { reviewer } => {
            let policy = local.policy().await?;
            let reviewer: ReviewerId = super::inbox::known_reviewer(&reviewer, &policy)?;
            let link = local.gate.practice_link(&reviewer, &policy).await?;
            Ok(json!({ "practice": format!("{}/practice/{link}", local.gate.base_url(&policy)) }))
        }
        Command::ReportLink { until_day } => {
            let policy = local.policy().await?;
            let link = local.gate.report_link(until_day).await?;
            Ok(json!({ "report": format!("{}/report/{link}", local.gate.base_url(&policy)) }))
        }
        Command::Audit { subject: Some(subject) } => {
            Ok(json!({ "entries": local.store.audit_of(&subject).await? }))
        }
        Command::Audit { subject: None } => {
            let mut entries = Vec::new();
            let mut after = 0;
            loop {
                let page = local.store.audit_page(after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.position;
                entries.extend(page.into_iter().map(|PlacedEntry { entry, .. }| json!(entry)));
            }
            Ok(json!({ "entries": entries }))
        }
        // They end the loop that calls this.
        Command::Kill {} | Command::Stop {} => Ok(Value::Null),
    }
}

/// The secrets of all clients, in the current epoch.
fn secrets(local: &LocalGate, policy: &Policy) -> Value {
    let keyring = local.keys.held();
    let of = |client: &placet_core::policy::Client| {
        let secret = keyring.current.client_secret(&client.id, client.generation);
        (client.id.to_string(), Value::from(secret.expose()))
    };
    Value::Object(policy.clients.iter().map(of).collect::<Map<_, _>>())
}

/// The answer to the command of that id: what it did, or `error`.
fn answered(id: Value, result: Result<Value, Failure>) -> Value {
    let mut answer = match result {
        Ok(answer) => answer,
        Err(failure) => failure.to_json(),
    };
    if let Some(object) = answer.as_object_mut() {
        object.insert("id".into(), id);
    }
    answer
}

/// No destructor runs, no message goes out, no file is taken away.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
