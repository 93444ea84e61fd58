//! MCP over HTTP with one JSON answer a message: no session, no stream, and nothing that is kept between two calls.
//!
//! Revision 2026-07-28 is stateless by itself (every request names its version and what its client can do). Clients of
//! older revisions are answered as the SDK's stateless server does: each message by itself. There is no progress, as
//! there is no stream; whoever waits calls again, or looks at its task.
//! Source: <https://modelcontextprotocol.io/specification/draft/basic/transports>.

mod in_process;
mod message;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::gate::{GateClient, is_pending};
use crate::tasks::NoTask;
use crate::tools::{Listener, Said};
use crate::{MESSAGE_BYTES, Upstream, definitions, tasks, tools};

pub use in_process::InProcess;
use message::{Failure, Incoming, Message};

/// The longest that one call of `wait_for_approval` takes, in seconds: below the 30 of API Gateway, and within the
/// function's own time.
const MAX_WAIT_SECONDS: u64 = 20;

/// How long a gate that is busy is tried again within one call.
const PATIENCE: Duration = Duration::from_secs(3);

/// The revisions that it speaks, the oldest first.
const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", STATELESS];

/// The first revision without a handshake.
const STATELESS: &str = "2026-07-28";

/// The newest revision with one.
const NEWEST_HANDSHAKE: &str = "2025-11-25";

/// The MCP server. Who may call is checked before it, by whoever mounts it.
#[derive(Clone)]
pub struct Stateless {
    gate: Arc<dyn Upstream>,
}

impl Stateless {
    /// Over that gate, as each caller.
    pub fn new(gate: Arc<dyn Upstream>) -> Self {
        Self { gate }
    }

    /// Answers one message.
    pub async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if let Some(refused) = refusal(&parts.method, &parts.headers) {
            return refused;
        }
        let Ok(bytes) = to_bytes(body, MESSAGE_BYTES).await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long");
        };
        let message = match message::read(&bytes, &parts.headers) {
            Ok(Incoming::Request(message)) => message,
            Ok(Incoming::Notification) => return accepted(),
            Err(refused) => return refused.into_response(),
        };
        let authorization = parts.headers.get(header::AUTHORIZATION).cloned();
        let gate =
            GateClient::new(Arc::clone(&self.gate)).on_behalf_of(authorization).with_patience(PATIENCE);
        let answered = dispatch(&gate, &message).await;
        reply(&message, answered)
    }
}

/// Refuses what is no message of a program's: another method, a browser's, or one whose answer the caller could not read.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<Response> {
    let (status, why) = if headers.contains_key(header::ORIGIN) {
        (StatusCode::FORBIDDEN, "browsers may not call this")
    } else if method != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, "send a POST")
    } else if !message::accepts(headers, "application/json")
        || !message::accepts(headers, "text/event-stream")
    {
        (StatusCode::NOT_ACCEPTABLE, "`Accept` must name application/json and text/event-stream")
    } else if !message::is_json(headers) {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "`Content-Type` must be application/json")
    } else {
        return None;
    };
    let mut refused = plain(status, why);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    Some(refused)
}

async fn dispatch(gate: &GateClient, message: &Message) -> Result<Value, Failure> {
    match message.method.as_str() {
        "initialize" => Ok(initialize(message)),
        "server/discover" => Ok(discover()),
        // From that revision on, there is none.
        "ping" if !message.is_stateless() => Ok(json!({})),
        "tools/list" => {
            let mut result = json!({ "tools": definitions::asking() });
            if let (true, Some(result)) = (message.is_stateless(), result.as_object_mut()) {
                result.insert("ttlMs".into(), 0.into());
                result.insert("cacheScope".into(), "private".into());
            }
            Ok(complete(message, result))
        }
        "tools/call" => call(gate, message).await,
        "tasks/get" => {
            let id = task_id(message)?;
            let task = tasks::get(gate, id).await.map_err(|why| no_task(&why))?;
            Ok(acknowledged(task))
        }
        "tasks/cancel" => {
            let id = task_id(message)?;
            tasks::cancel(gate, id).await.map_err(|why| no_task(&why))?;
            Ok(acknowledged(json!({})))
        }
        // Nothing is asked of a client within a task.
        "tasks/update" => task_id(message).map(|_| acknowledged(json!({}))),
        _ => Err(Failure::method_not_found(&message.method)),
    }
}

async fn call(gate: &GateClient, message: &Message) -> Result<Value, Failure> {
    let name = message.text("name").ok_or_else(|| Failure::invalid_params("`name` is missing"))?;
    let arguments = match message.params.get("arguments") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(_) => return Err(Failure::invalid_params("`arguments` must be an object")),
    };
    let said = tools::call(gate, name, arguments, MAX_WAIT_SECONDS, &Nobody)
        .await
        .ok_or_else(|| Failure::invalid_params(tools::UNKNOWN))?;
    if let Said::Answer(approval) = &said
        && message.takes_tasks()
        && name == "request_approval"
        && is_pending(approval)
    {
        let mut task = tasks::fields(approval);
        if let Some(fields) = task.as_object_mut() {
            fields.insert("resultType".into(), "task".into());
        }
        return Ok(task);
    }
    let structured = |body: Value, is_error: bool| json!({ "content": [{ "type": "text", "text": body.to_string() }], "structuredContent": body, "isError": is_error });
    let result = match said {
        Said::Answer(body) => structured(body, false),
        Said::Refusal(body) => structured(body, true),
        Said::Nothing(why) => {
            json!({ "content": [{ "type": "text", "text": Said::in_words(&why) }], "isError": true })
        }
    };
    Ok(complete(message, result))
}

/// Answers the handshake of the revisions that have one: with the client's revision, or the newest that has one.
fn initialize(message: &Message) -> Value {
    let wanted = message.text("protocolVersion").unwrap_or_default();
    let version = VERSIONS
        .into_iter()
        .find(|version| *version == wanted && *version < STATELESS)
        .unwrap_or(NEWEST_HANDSHAKE);
    json!({
        "protocolVersion": version,
        "capabilities": capabilities(),
        "serverInfo": server_info(),
        "instructions": definitions::INSTRUCTIONS,
    })
}

fn discover() -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": VERSIONS,
        "capabilities": capabilities(),
        "instructions": definitions::INSTRUCTIONS,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
    })
}

fn capabilities() -> Value {
    json!({ "extensions": { definitions::TASKS: {} }, "tools": {} })
}

fn server_info() -> Value {
    json!({ "name": definitions::NAME, "version": env!("CARGO_PKG_VERSION") })
}

/// Tasks are for clients that say so in each request.
fn task_id(message: &Message) -> Result<&str, Failure> {
    if !message.takes_tasks() {
        return Err(Failure::lacks_tasks());
    }
    message.text("taskId").ok_or_else(|| Failure::invalid_params("`taskId` is missing"))
}

fn no_task(why: &NoTask) -> Failure {
    match why {
        NoTask::Unknown => Failure::invalid_params(tasks::UNKNOWN),
        NoTask::Denied(why) => Failure::internal(why.to_string()),
    }
}

/// Marks a result as a whole one, for clients of the revision that knows others.
fn complete(message: &Message, result: Value) -> Value {
    if message.is_stateless() { acknowledged(result) } else { result }
}

fn acknowledged(mut result: Value) -> Value {
    if let Some(result) = result.as_object_mut() {
        result.insert("resultType".into(), "complete".into());
    }
    result
}

fn reply(message: &Message, answered: Result<Value, Failure>) -> Response {
    match answered {
        Ok(result) => {
            let body = json!({ "jsonrpc": "2.0", "id": message.id, "result": result });
            json_response(StatusCode::OK, &body)
        }
        Err(failure) => {
            // Clients of older revisions look for errors in answers that arrived.
            let status = if message.names_version() { failure.status() } else { StatusCode::OK };
            failure.response(Some(&message.id), status)
        }
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    answer(status, "application/json", body.to_string())
}

fn plain(status: StatusCode, why: &'static str) -> Response {
    answer(status, "text/plain; charset=utf-8", why)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn accepted() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Without a stream nobody hears of progress.
struct Nobody;

impl Listener for Nobody {
    async fn still_waits(&self, _: Duration, _: Option<Duration>, _: &Value) {}
}
