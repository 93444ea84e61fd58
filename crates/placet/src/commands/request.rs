//! `placet request`: ask from a shell or a CI job, and wait for the answer.

#![expect(clippy::disallowed_methods, reason = "a request that was given no name gets a random one")]

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use placet_core::Timestamp;
use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_gate::Installed;
use placet_gate::ports::Store as _;
use serde_json::{Value, json};

use crate::api::{Api, CallFailure, Transport, Withdrawn};
use crate::cli::{Globals, Request};
use crate::console::{Style, harmless, note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::signals::Signals;
use crate::text::{clock_time, span};

/// How long one question to a gate at an address waits.
const SLICE: Duration = Duration::from_secs(25);

/// How long one question to a gate in this process waits: each one settles what is past its deadline.
const OWN_SLICE: Duration = Duration::from_secs(1);

/// How long it waits before it asks a gate again that did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a gate may be unreachable before the command ends.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a withdrawal may take when a signal ends the command.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(5);

/// How the waiting ended.
enum Waited {
    /// The request has ended.
    Ended(Value),
    /// A signal came before that.
    StoppedBy(Exit),
}

fn not_withdrawn(request_id: &str, why: &str) -> String {
    format!(
        "stopped waiting, but the request could not be withdrawn: {}\n  withdraw it with `placet cancel {request_id}`",
        why.trim_start_matches("placet: ")
    )
}

/// Asks.
pub(crate) async fn run(globals: &Globals, options: Request) -> Result<Exit, Failure> {
    let payload = match &options.payload {
        Some(path) => super::read_object(path)?,
        None => json!({}),
    };
    let request_id = match &options.request_id {
        Some(id) => RequestId::parse(id)
            .map_err(|error| Failure::usage(format!("`{id}`: a request id {error}")))?
            .to_string(),
        None => new_request_id()?,
    };
    let mut question = json!({
        "request_id": request_id,
        "action": options.action,
        "summary": options.summary,
        "payload": payload,
    });
    if let (Some(timeout), Some(question)) = (options.timeout, question.as_object_mut()) {
        question.insert("timeout_seconds".into(), timeout.as_secs().into());
    }

    // From here on a signal takes the question back, however early it comes.
    let mut signals = Signals::catch_with_hangup()?;
    let asking = Asking::prepare(globals, &options).await?;
    let asked = tokio::select! {
        asked = asking.api.ask(&question) => asked,
        exit = signals.next() => {
            return asking.end_by(exit, &request_id, &options, globals, &mut signals).await;
        }
    };
    let mut approval = asked?;
    if let Some(twin) = approval.get("pending_twin").and_then(Value::as_str) {
        note(&format!("the same action with the same payload already waits, as {}", harmless(twin)));
    }
    if is_pending(&approval) {
        asking.say_who_will_tell();
    }
    if options.wait && is_pending(&approval) {
        match asking.wait(&request_id, approval, &mut signals).await? {
            Waited::Ended(ended) => approval = ended,
            Waited::StoppedBy(exit) => {
                return asking.end_by(exit, &request_id, &options, globals, &mut signals).await;
            }
        }
    } else if is_pending(&approval) && !globals.json {
        asking.say_who_is_asked(&approval).await;
    }
    print(&if globals.json { super::pretty(&approval) } else { describe(&approval) });
    Ok(match text(&approval, "status") {
        "approved" | "pending" => Exit::Done,
        _ => Exit::Refused,
    })
}

/// The gate that is asked, and what is known of it beside its API.
struct Asking {
    api: Api,
    local: Option<LocalGate>,
    gate_is_here: bool,
}

impl Asking {
    /// The gate at `--url`, the one that serves from the data folder, or one in this process.
    async fn prepare(globals: &Globals, options: &Request) -> Result<Self, Failure> {
        if let Some(url) = &globals.url {
            let (api, local) = super::api_at(url, globals, options.client.as_deref()).await?;
            return Ok(Self { api, local, gate_is_here: false });
        }
        let folder = match globals.policy {
            Some(_) => Folder::open(globals.data())?,
            None => Folder::existing(globals.data())?,
        };
        let served_at = folder.served_at();
        let local = LocalGate::for_command(folder)?;
        let installed = local.install(globals.policy.as_deref()).await?;
        let policy = local.policy().await?;
        let client = super::asking_client(options.client.as_deref(), &policy)?;
        // A serving gate tells its reviewers faster than this process could, and says so on its terminal. One that has
        // not seen a policy which was installed just now would decide by the one before.
        let serving = match (served_at, installed) {
            (Some(url), Some(Installed::Same(_)) | None) => is_healthy(&url).await.then_some(url),
            (Some(_), Some(Installed::New(_))) | (None, _) => None,
        };
        let api = match &serving {
            Some(url) => super::api_over(Transport::network(url)?, &local, client),
            None => super::api_here(&local, client),
        };
        Ok(Self { api, local: Some(local), gate_is_here: serving.is_none() })
    }

    /// Only a serving gate tells anybody: what this command commits while none serves waits for one.
    fn say_who_will_tell(&self) {
        if let Some(local) = self.local.as_ref().filter(|_| self.gate_is_here) {
            super::say_who_will_tell(&local.folder);
        }
    }

    /// Ends the command after a signal: the question is withdrawn, unless it is to be kept.
    ///
    /// Whoever asked has gone: an approval that nobody uses would only cost a reviewer's time, and could be used later.
    async fn end_by(
        &self,
        exit: Exit,
        request_id: &str,
        options: &Request,
        globals: &Globals,
        signals: &mut Signals,
    ) -> Result<Exit, Failure> {
        if options.keep {
            note(&format!(
                "stopped waiting; the request still waits. Wait again with the same command and --request-id {request_id}"
            ));
            return Ok(exit);
        }
        let withdrawn = tokio::select! {
            withdrawn = tokio::time::timeout(WITHDRAW_TIMEOUT, self.api.cancel(request_id)) => withdrawn,
            // Whoever asks twice does not want to wait.
            exit = signals.next() => {
                note(&format!("ended at once; the request {request_id} may still wait: `placet cancel {request_id}`"));
                return Ok(exit);
            }
        };
        match withdrawn {
            Ok(Ok(Withdrawn::Now(approval))) => {
                note(&format!("stopped waiting; the request {request_id} is withdrawn"));
                self.say_who_will_tell();
                if globals.json {
                    print(&super::pretty(&approval));
                }
            }
            Ok(Ok(Withdrawn::HadEnded(approval))) => {
                note(&format!("stopped waiting; the request {request_id} had already ended"));
                print(&if globals.json { super::pretty(&approval) } else { describe(&approval) });
            }
            Ok(Ok(Withdrawn::Unknown)) => note("stopped before anything was asked"),
            Ok(Err(failure)) => note(&not_withdrawn(request_id, &failure.to_string())),
            Err(_) => note(&not_withdrawn(request_id, "the gate does not answer")),
        }
        Ok(exit)
    }

    /// Waits until the request has ended, or a signal comes.
    async fn wait(
        &self,
        request_id: &str,
        mut approval: Value,
        signals: &mut Signals,
    ) -> Result<Waited, Failure> {
        let mut progress = Progress::start();
        let mut out_of_reach: Option<Instant> = None;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let slice = if self.gate_is_here { OWN_SLICE } else { SLICE };
        loop {
            let who = self.who_is_asked(&approval).await;
            let answer = {
                let answer = self.api.wait(request_id, slice);
                tokio::pin!(answer);
                loop {
                    progress.show(&approval, &who);
                    tokio::select! {
                        answer = &mut answer => break answer,
                        _ = ticks.tick() => {}
                        exit = signals.next() => {
                            progress.end();
                            return Ok(Waited::StoppedBy(exit));
                        }
                    }
                }
            };
            match answer {
                Ok(fresh) => {
                    out_of_reach = None;
                    approval = fresh;
                    if !is_pending(&approval) {
                        progress.end();
                        return Ok(Waited::Ended(approval));
                    }
                }
                Err(CallFailure::Final(failure)) => {
                    progress.end();
                    return Err(failure);
                }
                Err(CallFailure::Passing(why)) => {
                    if out_of_reach.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        progress.end();
                        return Err(Failure::fault(format!("the gate has not answered for a while: {why}"))
                            .advise(format!(
                                "the request may still be decided; ask again with --request-id {request_id}"
                            )));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        exit = signals.next() => {
                            progress.end();
                            return Ok(Waited::StoppedBy(exit));
                        }
                    }
                }
            }
        }
    }

    /// The reviewers, or the queue, that a request waits for now, as far as this process can know.
    async fn who_is_asked(&self, approval: &Value) -> String {
        let stage =
            approval.get("stage").and_then(Value::as_u64).map_or_else(String::new, |n| format!("stage {n}"));
        let Some(local) = &self.local else { return stage };
        let (Ok(client), Ok(id)) =
            (ClientId::parse(text(approval, "client")), RequestId::parse(text(approval, "request_id")))
        else {
            return stage;
        };
        let Ok(Some(request)) = local.store.load(RequestKey::of(&client, &id)).await else { return stage };
        let Some(pending) = request.pending() else { return stage };
        if let Some(queue) = request.asked().stage_queue(pending.stage) {
            return format!("queue {queue}");
        }
        let voted = |reviewer: &_| request.state().votes().iter().any(|vote| vote.reviewer == *reviewer);
        let people: Vec<String> = pending
            .asked
            .iter()
            .filter(|asked| !voted(&asked.reviewer))
            .map(|asked| asked.reviewer.to_string())
            .collect();
        people.join(", ")
    }

    async fn say_who_is_asked(&self, approval: &Value) {
        let who = self.who_is_asked(approval).await;
        if !who.is_empty() {
            note(&format!("asked: {}", harmless(&who)));
        }
    }
}

/// Whether a gate answers there.
pub(crate) async fn is_healthy(url: &str) -> bool {
    answers(url, "/healthz").await
}

/// Whether that path of a gate answers 200.
pub(crate) async fn answers(url: &str, path: &str) -> bool {
    let Ok(transport) = Transport::network(url) else { return false };
    let request = http::Request::get(path).body(http_body_util::Full::default());
    let Ok(request) = request else { return false };
    let answer = tokio::time::timeout(Duration::from_secs(2), transport.send(request)).await;
    matches!(answer, Ok(Ok(answer)) if answer.status == 200)
}

/// The line that says what a waiting command waits for.
struct Progress {
    since: Instant,
    on_terminal: bool,
    said: String,
}

impl Progress {
    fn start() -> Self {
        Self { since: Instant::now(), on_terminal: std::io::stderr().is_terminal(), said: String::new() }
    }

    /// On a terminal the line is kept up to date in its place; elsewhere only what is new is said.
    fn show(&mut self, approval: &Value, who: &str) {
        let who = if who.is_empty() { String::new() } else { format!(" for {}", harmless(who)) };
        let until = time(approval, "deadline")
            .map_or_else(String::new, |at| format!(", at the latest until {}", clock_time(at)));
        let votes = approval.get("votes").and_then(Value::as_array).map_or(0, Vec::len);
        let votes = if votes == 0 { String::new() } else { format!(", {votes} approved so far") };
        let what = format!("waiting{who}{votes}{until}");
        if self.on_terminal {
            let elapsed = span(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX));
            let _ = write!(std::io::stderr(), "\r\u{1b}[2K{elapsed}  {what}");
        } else if what != self.said {
            note(&what);
        }
        self.said = what;
    }

    fn end(&self) {
        if self.on_terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
        }
    }
}

fn new_request_id() -> Result<String, Failure> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::fault(format!("the system's random source failed: {error}")))?;
    Ok(format!("cli-{}", placet_core::payload::hex(&bytes)))
}

fn is_pending(approval: &Value) -> bool {
    text(approval, "status") == "pending"
}

/// A text of an approval.
pub(crate) fn text<'v>(approval: &'v Value, key: &str) -> &'v str {
    approval.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A time of an approval.
pub(crate) fn time(approval: &Value, key: &str) -> Option<Timestamp> {
    approval.get(key).and_then(Value::as_str).and_then(Timestamp::parse)
}

/// Who decided, in one line.
pub(crate) fn deciders(approval: &Value) -> String {
    let names: Vec<String> = approval
        .get("decided_by")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(harmless)
        .collect();
    names.join(", ")
}

/// The status, set off.
pub(crate) fn status(style: Style, approval: &Value) -> String {
    match text(approval, "status") {
        "approved" => style.good("approved"),
        "pending" => style.doubtful("pending"),
        other => style.bad(&harmless(other)),
    }
}

/// An approval for people; the token, if there is one, alone on the last line.
pub(crate) fn describe(approval: &Value) -> String {
    let style = Style::of_stdout();
    let by = deciders(approval);
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    let mut out = format!("{}{by}\n", status(style, approval));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {}  {}", style.dim(&format!("{name:<8}")), harmless(value));
        }
    };
    line("reason", text(approval, "reason"));
    line("request", text(approval, "request_id"));
    line("approval", text(approval, "approval_id"));
    line("action", text(approval, "action"));
    line("rule", text(approval, "rule"));
    if is_pending(approval) {
        line("until", &time(approval, "deadline").map(clock_time).unwrap_or_default());
    } else {
        line("decided", &time(approval, "decided_at").map(clock_time).unwrap_or_default());
    }
    line("digest", text(approval, "payload_sha256"));
    let token = text(approval, "token");
    if !token.is_empty() {
        let _ = writeln!(out, "{token}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_reads_from_top_to_bottom_and_ends_with_its_token() {
        let approval = json!({
            "request_id": "r1", "approval_id": "01J", "client": "ci", "status": "rejected", "action": "deploy.run",
            "summary": "s", "payload_sha256": "ab", "rule": "production", "stage": 1,
            "decided_at": "2026-11-23T00:00:00.007Z", "decided_by": ["bob"], "reason": "not\u{1b}[2J today",
            "token": "e.y.J",
        });
        assert_eq!(
            describe(&approval),
            "rejected by bob\n  reason    not<U+001B>[2J today\n  request   r1\n  approval  01J\n  action    deploy[.]run\n  \
             rule      production\n  decided   2026-11-23 00:00:00 UTC\n  digest    ab\ne.y.J\n"
        );
    }
}
