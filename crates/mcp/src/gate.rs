//! A client of a gate that does one thing after the other: ask, listen, withdraw, redeem. Whoever acts on the answer uses it.
//!
//! Each call has the patience of [`crate::patience`]. What the gate answers is compared with what was asked, so that no
//! answer to another question is taken for this one's.

#![expect(clippy::disallowed_methods, reason = "names of requests and of uses are drawn here")]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use crate::patience::{PATIENCE, Patience, is_tried_again, retry_after};
use crate::upstream::{Answer, Call, Upstream};

/// The longest that one question to the gate waits, in seconds.
pub const LONGEST_WAIT_SECONDS: u64 = 25;

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The idempotency key.
    pub request_id: String,
    /// What the policy sees.
    pub action: String,
    /// What the person is told, in the asker's words; cut after 500 characters.
    pub summary: String,
    /// Exactly what will be done.
    pub payload: Value,
    /// When it expires at the latest, if the asker says so.
    pub timeout_seconds: Option<u64>,
}

/// Why there is no approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The gate says no to the call itself; with its stable code, where it gave one.
    Refused {
        /// The gate's code (DESIGN section 4).
        code: Option<String>,
        /// In words.
        message: String,
    },
    /// It ended otherwise: `rejected`, `expired` or `cancelled`, and why.
    NotApproved(String),
    /// No answer came, or none that makes sense.
    Away(String),
}

impl Denied {
    /// Whether the gate refused with that code.
    pub fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == wanted)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => f.write_str(message),
            Self::NotApproved(how) => f.write_str(how),
            Self::Away(why) => write!(f, "the gate does not answer: {why}"),
        }
    }
}

/// A gate, as one client uses it.
#[derive(Clone)]
pub struct GateClient {
    upstream: Arc<dyn Upstream>,
    authorization: Option<HeaderValue>,
    patience: Duration,
}

impl GateClient {
    /// With the usual patience.
    pub fn new(upstream: Arc<dyn Upstream>) -> Self {
        Self { upstream, authorization: None, patience: PATIENCE }
    }

    /// As whoever called: with the key that came along.
    #[must_use]
    pub fn on_behalf_of(self, authorization: Option<HeaderValue>) -> Self {
        Self { authorization, ..self }
    }

    /// With that patience for a gate that is away.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks; the approval as it stands then.
    pub async fn ask(&self, question: &Question) -> Result<Value, Denied> {
        let mut body = json!({
            "request_id": question.request_id,
            "action": question.action,
            "summary": question.summary.chars().take(500).collect::<String>(),
            "payload": question.payload,
        });
        if let (Some(seconds), Some(body)) = (question.timeout_seconds, body.as_object_mut()) {
            body.insert("timeout_seconds".into(), seconds.into());
        }
        let approval = self.call(Method::POST, "/v1/requests", Some(body)).await?;
        if text(&approval, "request_id") == question.request_id
            && text(&approval, "action") == question.action
        {
            return Ok(approval);
        }
        Err(Denied::Away("its answer is to another question".into()))
    }

    /// The request now, or as soon as it ends, after so many seconds at most.
    pub async fn listen(&self, request_id: &str, seconds: u64) -> Result<Value, Denied> {
        let wait = seconds.min(LONGEST_WAIT_SECONDS);
        let path = format!("/v1/requests/{}?wait_seconds={wait}", encode(request_id));
        let begun = Instant::now();
        let answer = self.exchange(Method::GET, &path, None).await?;
        let look_again = pause_before_next(&answer);
        let approval = accept(answer)?;
        if is_pending(&approval) && wait > 0 {
            match look_again {
                Some(pause) => tokio::time::sleep(pause.min(Duration::from_secs(wait))).await,
                // A gate that is about to stop answers at once.
                None if begun.elapsed() < Duration::from_millis(500) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                None => {}
            }
        }
        Ok(approval)
    }

    /// Withdraws it; where it has ended already, how it ended.
    pub async fn withdraw(&self, request_id: &str) -> Result<Value, Denied> {
        let path = format!("/v1/requests/{}/cancel", encode(request_id));
        let answer = self.exchange(Method::POST, &path, None).await?;
        match answer.body.get("approval") {
            Some(approval) if answer.status == 409 => Ok(approval.clone()),
            _ => accept(answer),
        }
    }

    /// Uses an approval up, for exactly that payload. `Ok` means: this use may go ahead, and no other will.
    ///
    /// The gate verifies the token; what it says of it is compared with what is about to be done.
    pub async fn redeem(&self, approval: &Value, action: &str, payload: &Value) -> Result<(), Denied> {
        let token = approval.get("token").and_then(Value::as_str);
        let (Some(Value::Bool(true)), Some(token)) = (approval.get("approved"), token) else {
            return Err(Denied::NotApproved(ended(approval)));
        };
        // A name that no other use has: only this call's own retry is a retry.
        let by = unique("use").map_err(Denied::Away)?;
        let body = json!({ "token": token, "payload": payload, "redeemed_by": by });
        let redeemed = self.call(Method::POST, "/v1/tokens/redeem", Some(body)).await?;
        let claims = redeemed.get("claims").unwrap_or(&Value::Null);
        let fits = redeemed.get("first").is_some_and(Value::is_boolean)
            && claims.get("approved") == Some(&Value::Bool(true))
            && text(claims, "action") == action
            && text(claims, "sub") == text(approval, "request_id")
            && text(claims, "jti") == text(approval, "approval_id")
            && text(claims, "payload_sha256") == text(approval, "payload_sha256");
        if fits { Ok(()) } else { Err(Denied::Away("what it redeemed is another approval".into())) }
    }

    /// A call that must be answered with 2xx.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Denied> {
        accept(self.exchange(method, path, body).await?)
    }

    /// A call that is tried again while the gate is away or busy; the last answer, whatever it is.
    pub async fn exchange(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Denied> {
        let mut patience = Patience::new(self.patience);
        loop {
            let call = Call {
                method: method.clone(),
                path: path.to_owned(),
                body: body.clone(),
                authorization: self.authorization.clone(),
            };
            let (last, told) = match self.upstream.send(call).await {
                Ok(answer) if !is_tried_again(answer.status) => return Ok(answer),
                Ok(answer) => {
                    let told = answer.retry_after.as_deref().and_then(retry_after);
                    (Ok(answer), told)
                }
                Err(why) => (Err(Denied::Away(why)), None),
            };
            match patience.pause(Instant::now(), told) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return last,
            }
        }
    }
}

/// When to look again, where a gate that holds no calls says so.
pub(crate) fn pause_before_next(answer: &Answer) -> Option<Duration> {
    answer.retry_after.as_deref().filter(|_| answer.status == 200).and_then(retry_after)
}

/// A text of an approval, or of claims.
pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an approval still waits.
pub fn is_pending(approval: &Value) -> bool {
    text(approval, "status") == "pending"
}

/// How a request ended that was not approved, and why.
pub fn ended(approval: &Value) -> String {
    let status = match text(approval, "status") {
        "" => "not approved",
        status => status,
    };
    match text(approval, "reason") {
        "" => status.to_owned(),
        reason => format!("{status}: {reason}"),
    }
}

/// A new name that begins so.
pub fn unique(prefix: &str) -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system's random source failed: {error}"))?;
    Ok(format!("{prefix}-{:032x}", u128::from_le_bytes(bytes)))
}

/// A path segment. What the gate takes as a name needs no escape; everything else finds nothing there.
pub(crate) fn encode(segment: &str) -> String {
    url::form_urlencoded::byte_serialize(segment.as_bytes()).collect::<String>().replace('+', "%20")
}

fn accept(answer: Answer) -> Result<Value, Denied> {
    if (200..300).contains(&answer.status) && answer.body.is_object() {
        return Ok(answer.body);
    }
    Err(refusal(&answer))
}

fn refusal(answer: &Answer) -> Denied {
    let problem = answer.body.as_object().map_or_else(Map::new, Clone::clone);
    let word = |key: &str| problem.get(key).and_then(Value::as_str);
    let Some(code) = word("code") else {
        return Denied::Away(format!("the answer is {}: this does not seem to be a gate", answer.status));
    };
    let mut message = format!("{} ({code})", word("detail").or(word("title")).unwrap_or("refused"));
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let said = format!("{}: {}", text(error, "field"), text(error, "message"));
        if !message.contains(text(error, "message")) {
            message.push_str("; ");
            message.push_str(&said);
        }
    }
    Denied::Refused { code: Some(code.to_owned()), message }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;
    use crate::upstream::Reply;

    /// Answers as it is told to, in this order.
    struct Played(Mutex<VecDeque<Result<Answer, String>>>, Mutex<Vec<Call>>);

    impl Upstream for Played {
        fn send(&self, call: Call) -> Reply<'_> {
            self.1.lock().unwrap().push(call);
            let answer = self.0.lock().unwrap().pop_front().unwrap();
            Box::pin(async move { answer })
        }
    }

    fn answer(status: u16, body: Value) -> Answer {
        Answer { status, body, retry_after: None }
    }

    fn gate(answers: Vec<Result<Answer, String>>) -> (Arc<Played>, GateClient) {
        let played = Arc::new(Played(Mutex::new(answers.into()), Mutex::default()));
        (Arc::clone(&played), GateClient::new(played))
    }

    fn approval() -> Value {
        json!({
            "request_id": "r", "approval_id": "01J", "status": "approved", "approved": true, "action": "a.b",
            "payload_sha256": "ab", "token": "t",
        })
    }

    fn claims() -> Value {
        json!({ "sub": "r", "jti": "01J", "approved": true, "action": "a.b", "payload_sha256": "ab" })
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_is_away_or_busy_is_called_again_as_the_same_use() {
        let busy =
            Ok(Answer { status: 429, body: json!({"code": "rate_limited"}), retry_after: Some("2".into()) });
        let done = answer(200, json!({ "first": false, "claims": claims() }));
        let (played, gate) = gate(vec![Err("reset".into()), Ok(answer(503, Value::Null)), busy, Ok(done)]);
        assert_eq!(gate.redeem(&approval(), "a.b", &json!({})).await, Ok(()));
        let calls = played.1.lock().unwrap();
        let names: Vec<_> =
            calls.iter().map(|call| call.body.as_ref().unwrap()["redeemed_by"].clone()).collect();
        assert!(names.len() == 4 && names.iter().all(|name| *name == names[0]), "{names:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_holds_no_calls_is_looked_at_when_it_says() {
        let pending = |told: Option<&str>| {
            Ok(Answer {
                status: 200,
                body: json!({ "status": "pending" }),
                retry_after: told.map(str::to_owned),
            })
        };
        for (told, waits, rested) in
            [(Some("2"), 25, 2000), (Some("30"), 5, 5000), (None, 25, 200), (Some("9"), 0, 0)]
        {
            let (_, gate) = gate(vec![pending(told)]);
            let begun = tokio::time::Instant::now();
            gate.listen("r", waits).await.unwrap();
            assert_eq!(begun.elapsed().as_millis(), rested, "{told:?} {waits}");
        }
    }

    #[tokio::test]
    async fn only_a_redemption_of_this_very_approval_counts() {
        let told = |change: &dyn Fn(&mut Value)| {
            let mut body = json!({ "first": true, "claims": claims() });
            change(&mut body);
            body
        };
        for body in [
            told(&|body| body["first"] = json!("yes")),
            told(&|body| body["claims"] = Value::Null),
            told(&|body| body["claims"]["approved"] = json!("true")),
            told(&|body| body["claims"]["action"] = json!("a.c")),
            told(&|body| body["claims"]["sub"] = json!("s")),
            told(&|body| body["claims"]["jti"] = json!("01K")),
            told(&|body| body["claims"]["payload_sha256"] = json!("ac")),
        ] {
            let (_, gate) = gate(vec![Ok(answer(200, body.clone()))]);
            assert!(gate.redeem(&approval(), "a.b", &json!({})).await.is_err(), "{body}");
        }
        for (key, value) in [("approved", json!(false)), ("approved", json!("true")), ("token", Value::Null)]
        {
            let mut wrong = approval();
            wrong[key] = value;
            let (played, gate) = gate(vec![]);
            assert!(gate.redeem(&wrong, "a.b", &json!({})).await.is_err());
            assert!(played.1.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_code_and_names_the_fields() {
        let problem = json!({
            "code": "invalid_request", "detail": "the request is not valid", "errors": [{"field": "action", "message": "must be dotted"}],
        });
        let (_, gate) = gate(vec![Ok(answer(422, problem)), Ok(answer(404, Value::Null))]);
        let refused = gate.call(Method::GET, "/", None).await.unwrap_err();
        assert!(refused.has_code("invalid_request"));
        assert_eq!(refused.to_string(), "the request is not valid (invalid_request); action: must be dotted");
        assert!(matches!(gate.call(Method::GET, "/", None).await, Err(Denied::Away(_))));
    }

    #[test]
    fn an_end_says_how_and_why() {
        assert_eq!(ended(&json!({"status": "rejected", "reason": "not today"})), "rejected: not today");
        assert_eq!(ended(&json!({"status": "expired", "reason": null})), "expired");
    }
}
