//! Lambda's side of a function: its environment, and the Runtime API that it polls.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Call, Listener, Reply};
use crate::failure::{Failure, Result};
use crate::process;
use crate::sign::since_epoch;

/// How long a start or an invocation may take: longer than a long poll.
const PATIENCE: Duration = Duration::from_mins(1);

/// The memory that the function is told it has, in MB: the template's default. Nothing here limits it.
const MEMORY_MB: &str = "256";

/// A function's process, waiting for an event. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    events: Sender<Vec<u8>>,
    polls: Receiver<Instant>,
    answers: Receiver<Said>,
    _api: Listener,
    /// From before its start to its first poll.
    pub(crate) polled_after: Duration,
}

/// What a function said to an event.
enum Said {
    Answer { at: Instant, body: Vec<u8> },
    Error(Vec<u8>),
}

/// A function's answer.
pub(crate) struct Answer {
    /// From the event to the answer, as the Runtime API saw both.
    pub(crate) took: Duration,
    /// What it answered.
    pub(crate) body: Value,
}

impl Process {
    /// Starts a function with Lambda's environment and those variables, and waits for its first poll.
    ///
    /// Nothing of this process's own environment reaches it. What it prints goes to the file `log`.
    pub(crate) fn start(mut command: Command, variables: &[(&str, String)], log: &Path) -> Result<Self> {
        let (events, next) = channel();
        let (poll, polls) = channel();
        let (say, answers) = channel();
        let next = Mutex::new(next);
        let api = Listener::serve(move |call| answer(&call, &poll, &next, &say))?;
        command
            .env_clear()
            .envs(environment(&api))
            .envs(variables.iter().map(|(name, value)| (*name, value)));
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let from = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("`{}`", command.get_program().display()), error))?;
        let (log, polled_after) = (log.to_owned(), Duration::ZERO);
        let mut process = Self { child, log, events, polls, answers, _api: api, polled_after };
        process.polled_after = process.wait_for_poll()?.saturating_duration_since(from);
        Ok(process)
    }

    /// Hands an event to the function, and waits for its answer and for its next poll.
    pub(crate) fn invoke(&self, event: &Value) -> Result<Answer> {
        let event = event.to_string().into_bytes();
        let from = Instant::now();
        self.events.send(event).map_err(|_| self.failure("it stopped polling"))?;
        let said = self.answers.recv_timeout(PATIENCE).map_err(|error| self.failure(&error.to_string()))?;
        let (at, body) = match said {
            Said::Answer { at, body } => (at, body),
            Said::Error(body) => return Err(self.failure(&String::from_utf8_lossy(&body))),
        };
        self.wait_for_poll()?;
        let body = serde_json::from_slice(&body).map_err(|error| self.failure(&error.to_string()))?;
        Ok(Answer { took: at.saturating_duration_since(from), body })
    }

    /// The most memory that it has had in RAM, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        process::peak_bytes(self.child.id())
    }

    /// How much it has logged, in bytes.
    pub(crate) fn logged_bytes(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.log)?.len())
    }

    fn wait_for_poll(&self) -> Result<Instant> {
        self.polls.recv_timeout(PATIENCE).map_err(|_| self.failure("it does not poll"))
    }

    fn failure(&self, why: &str) -> Failure {
        let logged = std::fs::read_to_string(&self.log).unwrap_or_default();
        Failure::new("a function failed", format!("{why}\n{logged}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Runtime API: `next` blocks until there is an event.
fn answer(
    call: &Call,
    poll: &Sender<Instant>,
    next: &Mutex<Receiver<Vec<u8>>>,
    say: &Sender<Said>,
) -> Option<Reply> {
    if call.method == "GET" && call.path.ends_with("/invocation/next") {
        poll.send(call.at).ok()?;
        let event = next.lock().ok()?.recv().ok()?;
        let deadline = (since_epoch() + PATIENCE).as_millis();
        return Some(Reply {
            status: 200,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
                ("lambda-runtime-deadline-ms", deadline.to_string()),
                (
                    "lambda-runtime-invoked-function-arn",
                    "arn:aws:lambda:us-east-1:123456789012:function:bench".to_owned(),
                ),
                ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0".to_owned()),
            ],
            body: event,
        });
    }
    let said = if call.path.ends_with("/response") {
        Said::Answer { at: call.at, body: call.body.clone() }
    } else {
        Said::Error(call.body.clone())
    };
    say.send(said).ok()?;
    Some(Reply::new(202, r#"{"status":"OK"}"#))
}

/// What Lambda sets for every function on `provided.al2023`.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.
fn environment(api: &Listener) -> [(&'static str, String); 16] {
    let own = |text: &str| text.to_owned();
    [
        ("AWS_LAMBDA_RUNTIME_API", api.address.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", own("bench")),
        ("AWS_LAMBDA_FUNCTION_VERSION", own("$LATEST")),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", own(MEMORY_MB)),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", own("on-demand")),
        ("AWS_LAMBDA_LOG_GROUP_NAME", own("/aws/lambda/bench")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", own("2026/11/25/[$LATEST]0")),
        ("AWS_REGION", own("us-east-1")),
        ("AWS_DEFAULT_REGION", own("us-east-1")),
        // Nobody's: the far end checks no signature.
        ("AWS_ACCESS_KEY_ID", own("ASIABENCH")),
        ("AWS_SECRET_ACCESS_KEY", own("bench")),
        ("AWS_SESSION_TOKEN", own("bench")),
        ("LAMBDA_TASK_ROOT", own("/var/task")),
        ("LANG", own("en_US.UTF-8")),
        ("PATH", own("/usr/local/bin:/usr/bin:/bin:/opt/bin")),
        ("TZ", own(":UTC")),
    ]
}
