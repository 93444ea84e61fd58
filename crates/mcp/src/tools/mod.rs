//! The three tools of an agent: ask, wait, verify. What they do and say, whichever server hands them on.

use std::time::{Duration, Instant};

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::arguments::{RequestApproval, VerifyToken, WaitForApproval};
use crate::gate::{Denied, GateClient, encode, pause_before_next, unique};
use crate::upstream::Answer;

/// How long it waits if it is not told, in seconds: some clients give up on every call after 5 seconds.
const FIRST_WAIT_SECONDS: u64 = 3;

/// How long one question to the gate waits, in seconds: a client that asked for progress hears of it that often.
const POLL_SECONDS: u64 = 5;

/// An answer to a wait that comes sooner than this says nothing about the wait.
const HASTE: Duration = Duration::from_millis(200);

/// What a client is told that calls a tool which there is not.
pub(crate) const UNKNOWN: &str = "tool not found";

/// What a tool says.
#[derive(Debug)]
pub(crate) enum Said {
    /// The gate's answer.
    Answer(Value),
    /// The gate's refusal: its `code` and `detail` say what is wrong.
    Refusal(Value),
    /// In words, where there is neither: nothing was approved.
    Nothing(String),
}

/// Whoever hears that a call still waits.
pub(crate) trait Listener: Sync {
    /// For how long by now, for how long at most, and the approval as it stands.
    fn still_waits(
        &self,
        waited: Duration,
        limit: Option<Duration>,
        approval: &Value,
    ) -> impl Future<Output = ()> + Send;
}

/// Calls a tool as the gate's client, with no wait longer than `longest_wait` seconds; none where there is no such tool.
pub(crate) async fn call(
    gate: &GateClient,
    name: &str,
    arguments: Map<String, Value>,
    longest_wait: u64,
    listener: &impl Listener,
) -> Option<Said> {
    Some(match name {
        "request_approval" => match read(arguments) {
            Ok(asked) => ask(gate, asked).await,
            Err(why) => why,
        },
        "wait_for_approval" => match read::<WaitForApproval>(arguments) {
            Ok(asked) => {
                let seconds = asked.wait_seconds.unwrap_or(FIRST_WAIT_SECONDS).min(longest_wait);
                said(wait(gate, &asked.request_id, Some(Duration::from_secs(seconds)), listener).await)
            }
            Err(why) => why,
        },
        "verify_token" => match read(arguments) {
            Ok(asked) => verify(gate, asked).await,
            Err(why) => why,
        },
        _ => return None,
    })
}

fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Said> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Said::Nothing(format!("the arguments are not right: {error}")))
}

async fn ask(gate: &GateClient, asked: RequestApproval) -> Said {
    let request_id = match asked.request_id {
        Some(request_id) => request_id,
        None => match unique("mcp") {
            Ok(request_id) => request_id,
            Err(why) => return Said::Nothing(why),
        },
    };
    let mut body = json!({
        "request_id": request_id, "summary": asked.summary, "action": asked.action, "payload": asked.payload,
    });
    if let (Some(seconds), Some(body)) = (asked.timeout_seconds, body.as_object_mut()) {
        body.insert("timeout_seconds".into(), seconds.into());
    }
    said(gate.exchange(Method::POST, "/v1/requests", Some(body)).await)
}

async fn verify(gate: &GateClient, asked: VerifyToken) -> Said {
    let mut body = json!({ "token": asked.token });
    if let (Some(payload), Some(body)) = (asked.payload, body.as_object_mut()) {
        body.insert("payload".into(), payload.into());
    }
    said(gate.exchange(Method::POST, "/v1/tokens/verify", Some(body)).await)
}

/// The request once it has ended, or as it stands after `limit`.
pub(crate) async fn wait(
    gate: &GateClient,
    request_id: &str,
    limit: Option<Duration>,
    listener: &impl Listener,
) -> Result<Answer, Denied> {
    let started = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(started.elapsed()).as_secs());
        let wait = left.unwrap_or(POLL_SECONDS).min(POLL_SECONDS);
        let path = format!("/v1/requests/{}?wait_seconds={wait}", encode(request_id));
        let asked = Instant::now();
        let answer = gate.exchange(Method::GET, &path, None).await?;
        let pending =
            answer.status == 200 && answer.body.get("status").and_then(Value::as_str) == Some("pending");
        if !pending || wait == 0 {
            return Ok(answer);
        }
        match pause_before_next(&answer) {
            Some(pause) => tokio::time::sleep(pause.min(Duration::from_secs(wait))).await,
            // A gate that is about to stop answers at once.
            None if asked.elapsed() < HASTE => tokio::time::sleep(HASTE).await,
            None => {}
        }
        listener.still_waits(started.elapsed(), limit, &answer.body).await;
    }
}

/// The gate's words, whatever they are.
pub(crate) fn said(reply: Result<Answer, Denied>) -> Said {
    match reply {
        Ok(Answer { status: 200..300, body, .. }) if body.is_object() => Said::Answer(body),
        Ok(Answer { body, .. }) if body.get("code").is_some() => Said::Refusal(body),
        Ok(Answer { status, .. }) => {
            Said::Nothing(format!("the answer is {status}: this does not seem to be a gate"))
        }
        Err(why) => Said::Nothing(why.to_string()),
    }
}

impl Said {
    /// What the model reads where there is no answer of the gate's.
    pub(crate) fn in_words(why: &str) -> String {
        format!("nothing was approved: {why}")
    }
}
