//! The chat of `placet demo`, and its page: a stand-in for Slack that keeps one message, draws it, and presses its buttons.
//!
//! The gate is a real one: its Slack channel posts here, and a press comes back to it signed as Slack signs. Only the
//! server in between is played. It is there for as long as the demo runs, behind a path that nobody else knows.

#![expect(clippy::disallowed_methods, reason = "the secrets of one demo are drawn here")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use placet_core::chat::{SecretText, SlackSettings};
use placet_core::payload::hex;
use placet_gate::ports::Clock as _;
use placet_http::pages;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::api::Transport;
use crate::clock::SystemClock;
use crate::failure::Failure;

/// The demo's reviewer in the chat, as the sample policy has it.
pub(crate) const SLACK_USER: &str = "U012AB3CD";

/// The conversation with that user, and the time that stands for the one message in it.
const CONVERSATION: &str = "D012AB3CD";
const MESSAGE: &str = "1.000001";

/// How long whoever looks on has to see the end, and how long a page takes that has heard of it.
const SEEN_TIMEOUT: Duration = Duration::from_secs(5);
const DRAWN: Duration = Duration::from_millis(700);

/// One chat.
pub(crate) struct DemoChat {
    key: String,
    token: SecretText,
    signing_secret: SecretText,
    /// The gate's address, and the path of the page on the phone.
    beside: OnceLock<(String, String)>,
    message: Mutex<Message>,
    /// Somebody has opened the page.
    is_watched: AtomicBool,
    /// What the page was told to show last.
    told: watch::Sender<String>,
}

#[derive(Default)]
struct Message {
    blocks: Option<Value>,
    version: u64,
}

impl Message {
    /// Another one after each change; says whether there is nothing left to decide.
    fn version(&self) -> String {
        let is_ended = self.blocks.as_ref().is_some_and(|blocks| !pages::is_decidable(blocks));
        format!("{}-{}", self.version, if is_ended { "ended" } else { "open" })
    }
}

impl DemoChat {
    /// A chat with secrets of its own.
    pub(crate) fn new() -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self {
            key: drawn()?,
            token: SecretText::new(format!("xoxb-{}", drawn()?)),
            signing_secret: SecretText::new(drawn()?),
            beside: OnceLock::new(),
            message: Mutex::default(),
            is_watched: AtomicBool::new(false),
            told: watch::Sender::new(String::new()),
        }))
    }

    /// What the gate at that address needs to reach it.
    pub(crate) fn settings(&self, gate: &str) -> SlackSettings {
        SlackSettings {
            bot_token: self.token.clone(),
            signing_secret: self.signing_secret.clone(),
            team_id: None,
            app_id: None,
            api_url: Some(format!("{gate}/demo/slack")),
        }
    }

    /// The address of the page that shows the chat beside the review page of that path.
    pub(crate) fn show_beside(&self, gate: &str, review: String) -> String {
        self.beside.get_or_init(|| (gate.to_owned(), review));
        format!("{gate}/demo/{}", self.key)
    }

    /// Returns when whoever has opened the page has seen how it ended, or could have.
    pub(crate) async fn shown_to_the_end(&self) {
        if !self.is_watched.load(Ordering::Relaxed) {
            return;
        }
        let mut told = self.told.subscribe();
        let seen = told.wait_for(|version| version.ends_with("ended"));
        if matches!(timeout(SEEN_TIMEOUT, seen).await, Ok(Ok(_))) {
            sleep(DRAWN).await;
        }
    }

    fn message(&self) -> MutexGuard<'_, Message> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a method of Slack's API.
    fn answer(&self, method: &str, headers: &HeaderMap, call: &Value) -> Value {
        let refuse = |error: &str| json!({ "ok": false, "error": error });
        let token = headers.get(header::AUTHORIZATION).map_or(&[] as &[u8], HeaderValue::as_bytes);
        if !token.strip_prefix(b"Bearer ").is_some_and(|token| self.token.matches(token)) {
            return refuse("invalid_auth");
        }
        let place = |name: &str| call.get(name).and_then(Value::as_str);
        match method {
            "chat.postMessage" if place("channel") != Some(SLACK_USER) => refuse("channel_not_found"),
            "chat.update" if place("channel") != Some(CONVERSATION) || place("ts") != Some(MESSAGE) => {
                refuse("message_not_found")
            }
            "chat.postMessage" | "chat.update" => {
                let mut message = self.message();
                message.blocks = call.get("blocks").cloned();
                message.version = message.version.saturating_add(1);
                json!({ "ok": true, "channel": CONVERSATION, "ts": MESSAGE })
            }
            "chat.postEphemeral" => json!({ "ok": true, "message_ts": MESSAGE }),
            _ => refuse("unknown_method"),
        }
    }

    /// That button of the message, if it is there.
    fn button(&self, action: &str) -> Option<Value> {
        let message = self.message();
        let blocks = message.blocks.as_ref()?.as_array()?;
        let mut elements = blocks.iter().filter_map(|one| one.get("elements")?.as_array()).flatten();
        elements.find(|one| one.get("action_id").and_then(Value::as_str) == Some(action)).cloned()
    }

    /// As Slack signs: `v0=` and the hex HMAC-SHA256 of `v0:<timestamp>:<raw body>`.
    fn signature(&self, at: &str, body: &str) -> Result<String, Failure> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing_secret.expose().as_bytes())
            .map_err(|error| Failure::fault(error.to_string()))?;
        mac.update(format!("v0:{at}:{body}").as_bytes());
        Ok(format!("v0={}", hex(&mac.finalize().into_bytes())))
    }

    /// Does what Slack does when its user presses that button of the message: tells the gate.
    async fn press(&self, action: &str, reason: &str) -> Result<(), Failure> {
        let Some((gate, _)) = self.beside.get() else { return Ok(()) };
        let Some(button) = self.button(action) else { return Ok(()) };
        let interaction = json!({
            "type": "block_actions",
            "user": { "id": SLACK_USER },
            "container": {
                "type": "message", "channel_id": CONVERSATION, "message_ts": MESSAGE, "is_ephemeral": false,
            },
            "state": { "values": { "reason": { "placet.reason": { "value": reason } } } },
            "actions": [button],
        });
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &interaction.to_string())
            .finish();
        let at = SystemClock.now().seconds().to_string();
        let request = Request::post("/v1/slack/interactions")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-signature", self.signature(&at, &body)?)
            .header("x-slack-request-timestamp", at)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::fault(error.to_string()))?;
        Transport::network(gate)?.send(request).await?;
        Ok(())
    }
}

/// The gate's routes with those of the chat. The gate's own pages may be framed here, by pages of the same address.
pub(crate) fn beside(gate: Router, chat: Arc<DemoChat>) -> Router {
    let gate = gate.layer(map_response(framed));
    let own = Router::new()
        .route("/demo/slack/{method}", post(slack))
        .route("/demo/{key}", get(show))
        .route("/demo/{key}/version", get(version))
        .route("/demo/{key}/chat", get(show_chat).post(press))
        .with_state(chat);
    gate.merge(own)
}

async fn framed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if headers.remove(header::X_FRAME_OPTIONS).is_some() {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    }
    let policy = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let policy = policy.map(|policy| policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'"));
    if let Some(policy) = policy.and_then(|policy| HeaderValue::try_from(policy).ok()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn slack(
    State(chat): State<Arc<DemoChat>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    axum::Json(call): axum::Json<Value>,
) -> Response {
    axum::Json(chat.answer(&method, &headers, &call)).into_response()
}

async fn show(State(chat): State<Arc<DemoChat>>, Path(key): Path<String>) -> Response {
    let Some((_, review)) = chat.beside.get().filter(|_| key == chat.key) else { return not_found() };
    chat.is_watched.store(true, Ordering::Relaxed);
    let version = chat.message().version();
    let content = pages::demo(&format!("/demo/{key}/chat"), review, &version);
    page(content.into_string(), pages::demo_content_security_policy(), "DENY")
}

async fn version(State(chat): State<Arc<DemoChat>>, Path(key): Path<String>) -> Response {
    if key != chat.key {
        return not_found();
    }
    let version = chat.message().version();
    chat.told.send_replace(version.clone());
    ([(header::CACHE_CONTROL, "no-store")], version).into_response()
}

async fn show_chat(State(chat): State<Arc<DemoChat>>, Path(key): Path<String>) -> Response {
    if key != chat.key {
        return not_found();
    }
    let content = pages::demo_chat(chat.message().blocks.as_ref());
    page(content.into_string(), pages::demo_chat_content_security_policy(), "SAMEORIGIN")
}

async fn press(State(chat): State<Arc<DemoChat>>, Path(key): Path<String>, body: Bytes) -> Response {
    if key != chat.key {
        return not_found();
    }
    let value = |name: &str| {
        let mut values = url::form_urlencoded::parse(&body).filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    if let Err(failure) = chat.press(&value("action"), &value("reason")).await {
        tracing::warn!(error = failure.message(), "the demo's chat could not tell the gate of a press");
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/demo/{key}/chat"))]).into_response()
}

fn page(content: String, policy: &'static str, framed: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, framed),
    ];
    (headers, content).into_response()
}

fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

fn drawn() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::fault(format!("the system's random source failed: {error}")))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(chat: &DemoChat, method: &str, token: &str, call: &Value) -> Value {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
        chat.answer(method, &headers, call)
    }

    #[test]
    fn it_keeps_one_message_of_its_own_gate_and_says_when_nothing_is_left_to_decide() {
        let chat = DemoChat::new().unwrap();
        let token = chat.token.expose().to_owned();
        let blocks = json!([{ "type": "actions", "elements": [{ "type": "button", "action_id": "a" }] }]);
        let asked = json!({ "channel": SLACK_USER, "blocks": blocks });
        assert_eq!(call(&chat, "chat.postMessage", "xoxb-other", &asked)["error"], "invalid_auth");
        let other = json!({ "channel": "U0OTHER", "blocks": [] });
        assert_eq!(call(&chat, "chat.postMessage", &token, &other)["error"], "channel_not_found");
        assert_eq!(chat.message().version(), "0-open");
        let answer = call(&chat, "chat.postMessage", &token, &asked);
        assert_eq!(answer, json!({ "ok": true, "channel": CONVERSATION, "ts": MESSAGE }));
        assert_eq!(chat.message().version(), "1-open");
        let ended = json!({ "channel": CONVERSATION, "ts": MESSAGE, "blocks": [] });
        assert_eq!(call(&chat, "chat.update", &token, &ended)["ok"], true);
        assert_eq!(chat.message().version(), "2-ended");
        assert_eq!(call(&chat, "chat.delete", &token, &ended)["error"], "unknown_method");
    }

    #[tokio::test]
    async fn only_pages_of_the_same_address_may_frame_the_gates() {
        let policy = "default-src 'none'; frame-ancestors 'none'";
        let gates = page(String::new(), "x", "DENY");
        let mut gates = gates;
        gates.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        let response = framed(gates).await;
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'none'; frame-ancestors 'self'");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "SAMEORIGIN");
        let bare = framed(StatusCode::OK.into_response()).await;
        assert!(bare.headers().is_empty());
    }
}
