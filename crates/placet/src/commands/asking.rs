//! A command that asks and waits: the gate it asks, its progress line, and what it takes back when a signal ends it.

#![expect(clippy::disallowed_methods, reason = "a request that was given no name gets a random one")]

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_gate::Installed;
use placet_gate::ports::Store as _;
use placet_mcp::patience::{PATIENCE, Patience};
use serde_json::Value;

use super::request::{describe, text, time};
use crate::api::{Api, CallFailure, Transport, Withdrawn};
use crate::cli::Globals;
use crate::console::{harmless, note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::signals::Signals;
use crate::text::{clock_time, span};

/// How long one question to a gate at an address waits.
const SLICE: Duration = Duration::from_secs(25);

/// How long one question to a gate in this process waits: each one settles what is past its deadline.
const OWN_SLICE: Duration = Duration::from_secs(1);

/// How long a withdrawal may take when a signal ends the command.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(5);

/// How the waiting ended.
pub(crate) enum Waited {
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

/// The gate that is asked, and what is known of it beside its API.
pub(crate) struct Asking {
    /// Its API.
    pub(crate) api: Api,
    local: Option<LocalGate>,
    gate_is_here: bool,
}

impl Asking {
    /// The gate at `--url`, the one that serves from the data folder, or one in this process.
    pub(crate) async fn prepare(globals: &Globals, client: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = &globals.url {
            let (api, local) = super::api_at(url, globals, client).await?;
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
        let client = super::asking_client(client, &policy)?;
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
    pub(crate) fn say_who_will_tell(&self) {
        if let Some(local) = self.local.as_ref().filter(|_| self.gate_is_here) {
            super::say_who_will_tell(&local.folder);
        }
    }

    /// Ends the command after a signal: the question is withdrawn.
    ///
    /// Whoever asked has gone: an approval that nobody uses would only cost a reviewer's time, and could be used later.
    pub(crate) async fn withdraw(
        &self,
        exit: Exit,
        request_id: &str,
        globals: &Globals,
        signals: &mut Signals,
    ) -> Result<Exit, Failure> {
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
    pub(crate) async fn wait(
        &self,
        request_id: &str,
        mut approval: Value,
        signals: &mut Signals,
    ) -> Result<Waited, Failure> {
        let mut progress = Progress::start();
        let mut patience = Patience::new(PATIENCE);
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
                Ok((fresh, look_again)) => {
                    patience = Patience::new(PATIENCE);
                    approval = fresh;
                    if !is_pending(&approval) {
                        progress.end();
                        return Ok(Waited::Ended(approval));
                    }
                    let pause = tokio::time::sleep(look_again.unwrap_or_default());
                    tokio::pin!(pause);
                    loop {
                        tokio::select! {
                            () = &mut pause => break,
                            _ = ticks.tick() => progress.show(&approval, &who),
                            exit = signals.next() => {
                                progress.end();
                                return Ok(Waited::StoppedBy(exit));
                            }
                        }
                    }
                }
                Err(CallFailure::Final(failure)) => {
                    progress.end();
                    return Err(failure);
                }
                Err(CallFailure::Passing { why, told }) => {
                    let Some(pause) = patience.pause(Instant::now(), told) else {
                        progress.end();
                        return Err(Failure::fault(format!("the gate has not answered for a while: {why}"))
                            .advise(format!(
                                "the request may still be decided; ask again with --request-id {request_id}"
                            )));
                    };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
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

    pub(crate) async fn say_who_is_asked(&self, approval: &Value) {
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

/// A name for a request, which begins so.
fn new_request_id(prefix: &str) -> Result<String, Failure> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::fault(format!("the system's random source failed: {error}")))?;
    Ok(format!("{prefix}-{}", placet_core::payload::hex(&bytes)))
}

/// Whether an approval still waits.
pub(crate) fn is_pending(approval: &Value) -> bool {
    text(approval, "status") == "pending"
}

/// The name that a command line gives a request, or a new one.
pub(crate) fn request_id(given: Option<&str>, prefix: &str) -> Result<String, Failure> {
    match given {
        Some(id) => Ok(RequestId::parse(id)
            .map_err(|error| Failure::usage(format!("`{id}`: a request id {error}")))?
            .to_string()),
        None => new_request_id(prefix),
    }
}
