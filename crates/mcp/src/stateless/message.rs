//! One message as it arrives: JSON-RPC, what revision 2026-07-28 adds to it, and the headers that must agree with it.

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, StatusCode, header};
use placet_core::payload::parse_strict;
use serde_json::{Map, Value, json};

use super::{STATELESS, VERSIONS, json_response};
use crate::definitions::TASKS;

const VERSION_HEADER: &str = "mcp-protocol-version";
const METHOD_HEADER: &str = "mcp-method";
const NAME_HEADER: &str = "mcp-name";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// A JSON-RPC error, and the HTTP status that goes with it where the client looks at that.
#[derive(Debug)]
pub(super) struct Failure {
    code: i32,
    message: String,
    data: Option<Value>,
    status: StatusCode,
}

impl Failure {
    fn new(code: i32, message: impl Into<String>, status: StatusCode) -> Self {
        Self { code, message: message.into(), data: None, status }
    }

    /// -32601.
    pub(super) fn method_not_found(method: &str) -> Self {
        Self::new(-32601, method, StatusCode::NOT_FOUND)
    }

    /// -32602, of a request that is whole otherwise.
    pub(super) fn invalid_params(why: impl Into<String>) -> Self {
        Self::new(-32602, why, StatusCode::OK)
    }

    /// -32603.
    pub(super) fn internal(why: impl Into<String>) -> Self {
        Self::new(-32603, why, StatusCode::OK)
    }

    /// -32021: the client has not said that it knows tasks.
    pub(super) fn lacks_tasks() -> Self {
        let data = json!({ "requiredCapabilities": { "extensions": { TASKS: {} } } });
        let failure = Self::new(-32021, "Missing required client capability", StatusCode::BAD_REQUEST);
        Self { data: Some(data), ..failure }
    }

    /// -32020: a header says something else than the body.
    fn mismatch(why: impl Into<String>) -> Self {
        Self::new(-32020, why, StatusCode::BAD_REQUEST)
    }

    fn unsupported(version: &str) -> Self {
        let data = json!({ "requested": version, "supported": VERSIONS });
        let failure = Self::new(-32022, "Unsupported protocol version", StatusCode::BAD_REQUEST);
        Self { data: Some(data), ..failure }
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn response(self, id: Option<&Value>, status: StatusCode) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(error)) = (self.data, error.as_object_mut()) {
            error.insert("data".into(), data);
        }
        let mut body = json!({ "jsonrpc": "2.0", "error": error });
        if let (Some(id), Some(body)) = (id, body.as_object_mut()) {
            body.insert("id".into(), id.clone());
        }
        json_response(status, &body)
    }
}

/// A failure before there is a request to answer, with the id that it would have.
pub(super) struct Refused {
    failure: Failure,
    id: Option<Value>,
}

impl Refused {
    pub(super) fn into_response(self) -> Response {
        let status = self.failure.status();
        self.failure.response(self.id.as_ref(), status)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, id: None }
    }
}

/// What arrived.
pub(super) enum Incoming {
    /// Something to answer.
    Request(Message),
    /// Something to take note of; nothing here does.
    Notification,
}

/// A request.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Map<String, Value>,
    /// The revision by which it is answered: its own, or the one that its header names.
    version: String,
}

impl Message {
    /// A text of the parameters.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.params.get(key).and_then(Value::as_str)
    }

    /// Whether it is of a revision without a handshake.
    pub(super) fn is_stateless(&self) -> bool {
        self.method != "initialize" && self.version.as_str() >= STATELESS
    }

    /// Whether it names its revision itself.
    pub(super) fn names_version(&self) -> bool {
        named_version(&self.params).is_some() || self.method == "server/discover"
    }

    /// Whether its client says that it knows tasks.
    pub(super) fn takes_tasks(&self) -> bool {
        let extensions =
            meta(&self.params, CAPABILITIES_KEY).and_then(|capabilities| capabilities.get("extensions"));
        extensions.is_some_and(|extensions| extensions.get(TASKS).is_some())
    }
}

fn meta<'m>(params: &'m Map<String, Value>, key: &str) -> Option<&'m Value> {
    params.get("_meta")?.get(key)
}

fn named_version(params: &Map<String, Value>) -> Option<&str> {
    meta(params, VERSION_KEY).and_then(Value::as_str)
}

/// Reads a message, and refuses one whose headers say something else: what stands in between routes by these.
pub(super) fn read(bytes: &[u8], headers: &HeaderMap) -> Result<Incoming, Refused> {
    let bad = |code, why: &str| Refused::from(Failure::new(code, why, StatusCode::BAD_REQUEST));
    // Of two equal keys another program could believe the other one.
    let body = parse_strict(bytes)
        .map_err(|error| bad(-32700, &format!("the message is not JSON with each key once: {error}")))?;
    let not_one = || bad(-32600, "the message is no JSON-RPC request or notification");
    let Value::Object(mut body) = body else { return Err(not_one()) };
    if body.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(not_one());
    }
    if body.contains_key("result") || body.contains_key("error") {
        return Err(bad(-32600, "nothing was asked of the client: there is nothing to answer"));
    }
    let params = match body.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(not_one()),
    };
    let Some(Value::String(method)) = body.remove("method") else { return Err(not_one()) };
    let header_version = one(headers, VERSION_HEADER)?;
    let Some(id) = body.remove("id") else {
        let is_known = header_version.is_none_or(|version| VERSIONS.contains(&version));
        if !is_known {
            return Err(bad(-32600, "`MCP-Protocol-Version` names an unknown version"));
        }
        check_headers(headers, header_version, &method, &params)?;
        return Ok(Incoming::Notification);
    };
    if !(id.is_string() || id.is_i64() || id.is_u64()) {
        return Err(not_one());
    }
    match check(&method, &params, headers, header_version) {
        Ok(version) => Ok(Incoming::Request(Message { id, method, params, version })),
        Err(failure) => Err(Refused { failure, id: Some(id) }),
    }
}

/// The revision by which a request is answered.
fn check(
    method: &str,
    params: &Map<String, Value>,
    headers: &HeaderMap,
    header_version: Option<&str>,
) -> Result<String, Failure> {
    if method == "initialize" {
        let Some(wanted) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Err(Failure::invalid_params("`protocolVersion` is missing"));
        };
        if header_version.is_some_and(|version| version != wanted) {
            let why = "`MCP-Protocol-Version` is not the message's `protocolVersion`";
            return Err(Failure::new(-32600, why, StatusCode::BAD_REQUEST));
        }
        if one(headers, METHOD_HEADER)?.is_some_and(|named| named != method) {
            return Err(Failure::mismatch("`Mcp-Method` is not the message's method"));
        }
        return Ok(wanted.to_owned());
    }
    let named = named_version(params);
    if let (None, Some(version)) = (named, header_version)
        && !VERSIONS.contains(&version)
    {
        return Err(Failure::unsupported(version));
    }
    check_headers(headers, header_version, method, params)?;
    match (named, header_version) {
        (Some(named), Some(version)) if named != version => {
            return Err(Failure::mismatch(
                "`MCP-Protocol-Version` is not the version of the message's `_meta`",
            ));
        }
        (Some(_), None) => {
            return Err(Failure::mismatch(
                "`MCP-Protocol-Version` is missing beside the version of the message's `_meta`",
            ));
        }
        (Some(named), Some(_)) if !VERSIONS.contains(&named) => return Err(Failure::unsupported(named)),
        (Some(_), Some(_)) | (None, _) => {}
    }
    let version = named.or(header_version).unwrap_or("2025-03-26");
    if version >= STATELESS || method == "server/discover" {
        let has_capabilities = meta(params, CAPABILITIES_KEY).is_some_and(Value::is_object);
        let missing: Vec<&str> = [(VERSION_KEY, named.is_some()), (CAPABILITIES_KEY, has_capabilities)]
            .into_iter()
            .filter_map(|(key, is_there)| (!is_there).then_some(key))
            .collect();
        if !missing.is_empty() {
            let why = format!("`_meta` lacks or has malformed: {}", missing.join(", "));
            return Err(Failure::new(-32602, why, StatusCode::BAD_REQUEST));
        }
    }
    Ok(version.to_owned())
}

/// From 2026-07-28 on, `Mcp-Method` and `Mcp-Name` repeat what the body says.
fn check_headers(
    headers: &HeaderMap,
    version: Option<&str>,
    method: &str,
    params: &Map<String, Value>,
) -> Result<(), Failure> {
    if version.is_none_or(|version| version < STATELESS) {
        return Ok(());
    }
    match one(headers, METHOD_HEADER)? {
        None => return Err(Failure::mismatch("`Mcp-Method` is missing")),
        Some(named) if named != method => {
            return Err(Failure::mismatch("`Mcp-Method` is not the message's method"));
        }
        Some(_) => {}
    }
    let key = match method {
        "tools/call" => "name",
        "tasks/get" | "tasks/cancel" | "tasks/update" => "taskId",
        _ => return Ok(()),
    };
    let Some(expected) = params.get(key).and_then(Value::as_str) else { return Ok(()) };
    match one(headers, NAME_HEADER)? {
        None => Err(Failure::mismatch(format!("`Mcp-Name` is missing: `{method}` needs it"))),
        Some(named) if decoded(named).as_deref() == Some(expected) => Ok(()),
        Some(_) => Err(Failure::mismatch(format!("`Mcp-Name` is not the message's `{key}`"))),
    }
}

/// A header that may come once, as text.
fn one<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::mismatch(format!("`{name}` must come once")));
    }
    value.to_str().map(Some).map_err(|_| Failure::mismatch(format!("`{name}` has invalid characters")))
}

/// A header's text: what HTTP cannot carry comes as `=?base64?…?=`.
fn decoded(text: &str) -> Option<String> {
    match text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

/// Whether `Accept` names that type, and does not weigh it with nothing.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_kind = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(kind));
            let is_refused = parts.any(|parameter| {
                parameter.split_once('=').is_some_and(|(name, weight)| {
                    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0_f32)
                })
            });
            is_kind && !is_refused
        })
}

/// Whether the body is said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
