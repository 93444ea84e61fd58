//! The gate's API as a client uses it: every call signed, over the network or straight into a gate in this process.

#![expect(clippy::disallowed_methods, reason = "the one place where the command signs by the clock")]

use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use placet_core::payload::{hex, sha256_hex};
use placet_mcp::patience::{PATIENCE, Patience, is_tried_again, retry_after};
use serde_json::{Value, json};
use sha2::Sha256;
use tower_service::Service as _;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::proxy::{Dial, is_this_machine};

/// The most that is read of an answer, in bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// How long an answer may take, beside the time that the gate was asked to wait.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Requests in one answer of a list, at most.
const PAGE: usize = 100;

type Network = Client<HttpsConnector<Dial>, Full<Bytes>>;

/// A gate, as one reaches it.
#[derive(Clone)]
pub(crate) enum Transport {
    /// At that address.
    Network {
        /// Scheme, host and port, without a slash at the end.
        base_url: String,
        /// Keeps connections between calls.
        client: Box<Network>,
    },
    /// In this process.
    Here(Router),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body, as text.
    pub(crate) body: String,
    /// The body, as it came.
    pub(crate) bytes: Bytes,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The header `X-Placet-Next-Cursor`.
    pub(crate) next_cursor: Option<String>,
}

impl Transport {
    /// Over the network. Connects to nothing yet.
    pub(crate) fn network(base_url: &str) -> Result<Self, Failure> {
        let base_url = base_url.trim_end_matches('/');
        let url = url::Url::parse(base_url).ok().filter(|url| {
            let is_plain = url.query().is_none() && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && url.host().is_some() && is_plain
        });
        let Some(url) = url else {
            return Err(Failure::usage(format!("`{base_url}` is not the address of a gate"))
                .advise("write it as https://gate.example.com or http://127.0.0.1:8484"));
        };
        // Over plain http, whoever is on the way reads tokens and links, and answers in the gate's name.
        if url.scheme() == "http" && !is_this_machine(&url) {
            return Err(Failure::usage(format!("`{base_url}` is another machine's address without TLS"))
                .advise("name it as https://…; http:// is for a gate on this machine alone"));
        }
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(crate::trust::client_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Dial::to(&url, tcp)?);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self::Network { base_url: base_url.to_owned(), client: Box::new(client) })
    }

    /// Sends a request whose URI is a path, and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Unreachable> {
        match self {
            Self::Network { base_url, client } => {
                let (mut head, body) = request.into_parts();
                head.uri = format!("{base_url}{}", head.uri).parse().map_err(Unreachable::new)?;
                let sent = client.request(Request::from_parts(head, body)).await;
                read(sent.map_err(|error| Unreachable(root_cause(&error)))?).await
            }
            Self::Here(app) => match app.clone().call(request).await {
                Ok(response) => read(response).await,
                Err(never) => match never {},
            },
        }
    }
}

/// No answer came.
#[derive(Debug)]
pub(crate) struct Unreachable(pub(crate) String);

impl Unreachable {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Self::fault(format!("the gate does not answer: {}", error.0))
            .with_code("gate_unreachable")
            .advise("is it running, and is this its address? `placet serve` starts one on this machine")
    }
}

async fn read<B>(response: Response<B>) -> Result<Answer, Unreachable>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let status = response.status().as_u16();
    let (head, body) = response.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, next_cursor) = (header("retry-after"), header("x-placet-next-cursor"));
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(Unreachable::new)?;
    let bytes = body.to_bytes();
    Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned(), bytes, retry_after, next_cursor })
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// A client of a gate.
#[derive(Clone)]
pub(crate) struct Api {
    transport: Transport,
    client: String,
    secret: Zeroizing<String>,
}

impl Api {
    /// Calls as that client.
    pub(crate) fn new(transport: Transport, client: &str, secret: &str) -> Self {
        Self { transport, client: client.to_owned(), secret: Zeroizing::new(secret.to_owned()) }
    }

    /// Asks.
    pub(crate) async fn ask(&self, question: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, "/v1/requests", Some(question)).await?.accept()
    }

    /// A request as it stands, or as soon as it ends; and when to look again, where the gate says so.
    pub(crate) async fn wait(
        &self,
        request_id: &str,
        wait: Duration,
    ) -> Result<(Value, Option<Duration>), CallFailure> {
        let path = format!("/v1/requests/{request_id}?wait_seconds={}", wait.as_secs().min(25));
        let answer = self.call(Method::GET, &path, None).await?;
        // A gate that is being restarted, has trouble or is busy may be well in a moment.
        if is_tried_again(answer.status) {
            let told = answer.retry_after.as_deref().and_then(retry_after);
            return Err(CallFailure::Passing { why: format!("the gate answered {}", answer.status), told });
        }
        let look_again = answer.retry_after.as_deref().and_then(retry_after);
        answer.accept().map(|approval| (approval, look_again)).map_err(CallFailure::Final)
    }

    /// Withdraws a request.
    pub(crate) async fn cancel(&self, request_id: &str) -> Result<Withdrawn, Failure> {
        let path = format!("/v1/requests/{request_id}/cancel");
        let answer = self.call(Method::POST, &path, None).await?;
        let problem = answer.json();
        match (answer.status, problem.get("code").and_then(Value::as_str)) {
            (404, Some("not_found")) => Ok(Withdrawn::Unknown),
            (409, Some("already_decided")) => {
                Ok(Withdrawn::HadEnded(problem.get("approval").cloned().unwrap_or_default()))
            }
            _ => answer.accept().map(Withdrawn::Now),
        }
    }

    /// A request as it stands.
    pub(crate) async fn get(&self, request_id: &str) -> Result<Value, Failure> {
        self.call(Method::GET, &format!("/v1/requests/{request_id}"), None).await?.accept()
    }

    /// The newest requests of this client.
    pub(crate) async fn list(&self, status: Option<&str>, limit: usize) -> Result<Vec<Value>, Failure> {
        let status = status.map_or_else(String::new, |status| format!("&status={status}"));
        let (mut found, mut cursor) = (Vec::new(), String::new());
        while found.len() < limit {
            let page = limit.saturating_sub(found.len()).min(PAGE);
            let path = format!("/v1/requests?limit={page}{status}{cursor}");
            let mut answer = self.call(Method::GET, &path, None).await?.accept()?;
            if let Some(Value::Array(requests)) = answer.get_mut("requests").map(Value::take) {
                found.extend(requests);
            }
            match answer.get("next_cursor").and_then(Value::as_str) {
                Some(next) => {
                    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
                    cursor = format!("&cursor={next}");
                }
                None => break,
            }
        }
        Ok(found)
    }

    /// Reads what lies at that path, though the gate may be away or busy for a while.
    pub(crate) async fn read(&self, path: &str) -> Result<Answer, Failure> {
        let mut patience = Patience::new(PATIENCE);
        loop {
            let (failure, told) = match self.call(Method::GET, path, None).await {
                Ok(answer) if is_tried_again(answer.status) => {
                    (answer.refusal(), answer.retry_after.as_deref().and_then(retry_after))
                }
                Ok(answer) if answer.is_good() => return Ok(answer),
                Ok(answer) => return Err(answer.refusal()),
                Err(unreachable) => (unreachable.into(), None),
            };
            match patience.pause(std::time::Instant::now(), told) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failure),
            }
        }
    }

    /// Checks a token.
    pub(crate) async fn verify(&self, token: &str, payload: Option<&Value>) -> Result<Value, Failure> {
        let mut question = json!({ "token": token });
        add_payload(&mut question, payload);
        self.call(Method::POST, "/v1/tokens/verify", Some(&question)).await?.accept()
    }

    /// Uses a token. An answer of 409 is for the caller to read.
    pub(crate) async fn redeem(
        &self,
        token: &str,
        payload: Option<&Value>,
        redeemed_by: &str,
    ) -> Result<Answer, Failure> {
        let mut question = json!({ "token": token, "redeemed_by": redeemed_by });
        add_payload(&mut question, payload);
        Ok(self.call(Method::POST, "/v1/tokens/redeem", Some(&question)).await?)
    }

    /// Sends a signed call.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Unreachable> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let timestamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
            .to_string();
        let signature = sign(&self.secret, &timestamp, method.as_str(), path, body.as_bytes());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            // Whoever waits here looks again when the gate says so: one that pays for held calls need not hold this one.
            .header("prefer", "respond-async")
            .header("user-agent", concat!("placet/", env!("CARGO_PKG_VERSION")))
            .header("x-placet-client", &self.client)
            .header("x-placet-timestamp", timestamp)
            .header("x-signature", signature)
            .body(Full::new(Bytes::from(body)))
            .map_err(Unreachable::new)?;
        tokio::time::timeout(TIMEOUT + Duration::from_secs(25), self.transport.send(request))
            .await
            .map_err(|_| Unreachable("it took too long".into()))?
    }
}

fn add_payload(question: &mut Value, payload: Option<&Value>) {
    if let (Some(payload), Some(question)) = (payload, question.as_object_mut()) {
        question.insert("payload".into(), payload.clone());
    }
}

/// What became of a withdrawal.
#[derive(Debug)]
pub(crate) enum Withdrawn {
    /// It is withdrawn.
    Now(Value),
    /// It had ended before, so.
    HadEnded(Value),
    /// There is no such request.
    Unknown,
}

/// A call that a waiting command may, or may not, try again.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// May be over in a moment.
    Passing {
        /// In words.
        why: String,
        /// When to come back, where the gate says so.
        told: Option<Duration>,
    },
    /// Stays.
    Final(Failure),
}

impl From<Unreachable> for CallFailure {
    fn from(error: Unreachable) -> Self {
        Self::Passing { why: error.0, told: None }
    }
}

impl Answer {
    /// Whether the gate did what it was asked.
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON, whatever the status.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The body of a 2xx; else what the gate says about it.
    pub(crate) fn accept(&self) -> Result<Value, Failure> {
        if self.is_good() {
            return serde_json::from_str(&self.body).map_err(|_| {
                Failure::fault("the answer is not JSON: this does not seem to be a gate")
                    .with_code("not_a_gate")
            });
        }
        Err(self.refusal())
    }

    /// What the gate says of a call that it did not do.
    pub(crate) fn refusal(&self) -> Failure {
        let problem = self.json();
        let word = |key: &str| problem.get(key).and_then(Value::as_str);
        let Some(code) = word("code") else {
            return Failure::fault(format!("the answer is {}: this does not seem to be a gate", self.status))
                .with_code("not_a_gate");
        };
        let message = format!("{} ({code})", word("detail").or(word("title")).unwrap_or("refused"));
        let failure = if self.status >= 500 { Failure::fault(message) } else { Failure::refused(message) };
        let failure = failure.with_code(code);
        let fields: Vec<String> = problem
            .get("errors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|error| {
                let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
                format!("{}: {}", text("field"), text("message"))
            })
            .collect();
        match fields.as_slice() {
            [] => {}
            // One wrong field is what the sentence is about.
            [_] if code == "invalid_request" && word("detail").is_some_and(|detail| detail.contains('`')) => {
                return failure;
            }
            fields => return failure.advise(fields.join("\n")),
        }
        match code {
            "invalid_signature" => failure
                .advise("PLACET_SECRET must be what `placet client secret ID` prints on its last line, for this client"),
            "unknown_client" => failure.advise("the policy's `[[clients]]` names who may ask"),
            "clock_skew" => failure.advise("set this machine's clock, or the gate's"),
            "request_id_conflict" => {
                failure.advise("take another --request-id, or ask exactly as you did before")
            }
            "no_policy" => failure.advise("install one: `placet policy push FILE`"),
            _ => failure,
        }
    }
}

/// `X-Signature` of DESIGN section 4.
fn sign(secret: &str, timestamp: &str, method: &str, path: &str, body: &[u8]) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    let text = format!("placet-v1\n{timestamp}\n{method}\n{path}\n{}", sha256_hex(body));
    mac.update(text.as_bytes());
    format!("v1={}", hex(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use placet_core::Timestamp;
    use placet_core::id::ClientId;
    use placet_core::keys::{Keyring, Secret};
    use placet_core::signature::Signed;

    use super::*;

    fn answer(status: u16, body: impl Into<String>) -> Answer {
        let body = body.into();
        Answer { status, bytes: Bytes::from(body.clone()), body, retry_after: None, next_cursor: None }
    }

    #[test]
    fn what_the_command_signs_is_what_the_gate_expects() {
        let ring = Keyring::first(Secret::new([1; 32]), Secret::new([2; 32]), Timestamp::from_millis(0));
        let secret = ring.current.client_secret(&ClientId::parse("ci").unwrap(), 1);
        let signed = Signed {
            timestamp: 1_700_000_000,
            method: "POST",
            path_and_query: "/v1/requests?a=b",
            body: b"{}",
        };
        let ours = sign(secret.expose(), "1700000000", "POST", "/v1/requests?a=b", b"{}");
        assert_eq!(ours, signed.sign(&secret));
    }

    #[test]
    fn plain_http_reaches_this_machine_alone() {
        for good in
            ["http://127.0.0.1:8484", "http://[::1]:1", "http://localhost", "https://gate.example.com/placet"]
        {
            assert!(Transport::network(good).is_ok(), "{good}");
        }
        for bad in [
            "http://gate.example.com",
            "http://10.0.0.1:8484",
            "http://0.0.0.0:1",
            "http://localhost.example.com",
        ] {
            assert_eq!(Transport::network(bad).err().unwrap().code(), 2, "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_every_field_and_a_strange_answer_is_a_fault() {
        let body = json!({
            "code": "invalid_request",
            "detail": "the request is not valid",
            "errors": [{"field": "action", "message": "must be dotted"}],
        });
        let failure = answer(422, body.to_string()).refusal();
        assert_eq!(
            failure.to_string(),
            "placet: the request is not valid (invalid_request)\n  action: must be dotted"
        );
        assert_eq!(failure.code(), 1);
        assert_eq!(answer(404, "<html>").refusal().code(), 3);
        assert_eq!(answer(200, "<html>").accept().unwrap_err().code(), 3);
    }
}
