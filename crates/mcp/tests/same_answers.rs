//! The server over the SDK and the one without it say the same, message by message: status, errors' codes, results.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "all of this is tests: what does not hold is a failed test, and values are written where they are passed"
)]

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use placet_mcp::{Answer, Call, Reply, Stateless, Upstream, service};
use serde_json::{Value, json};

const V: &str = "2026-07-28";
const PENDING: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const APPROVED: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAW";
const CANCELLED: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAX";

/// A gate that holds three requests, and says so whoever asks.
struct Played;

impl Upstream for Played {
    fn send(&self, call: Call) -> Reply<'_> {
        let answer = answer(&call);
        Box::pin(async move { Ok(answer) })
    }
}

fn answer(call: &Call) -> Answer {
    let found = |status: u16, body: Value| Answer { status, body, retry_after: None };
    if call.authorization.as_ref().map(HeaderValue::as_bytes) != Some(b"Bearer me.key") {
        return found(401, json!({ "code": "invalid_signature" }));
    }
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    match path {
        "/v1/requests" if call.method == "POST" => match call.body.as_ref().unwrap()["request_id"].as_str() {
            Some("alone") => found(201, approval(APPROVED)),
            Some("bad") => found(422, json!({ "code": "invalid_request", "detail": "not valid" })),
            _ => found(201, approval(PENDING)),
        },
        "/v1/requests" => {
            let id = [PENDING, APPROVED, CANCELLED].into_iter().find(|id| query.ends_with(&successor(id)));
            found(200, json!({ "requests": id.map(approval).into_iter().collect::<Vec<_>>() }))
        }
        "/v1/tokens/verify" => found(200, json!({ "valid": false, "problem": "malformed" })),
        path => match path.strip_prefix("/v1/requests/").map(|rest| rest.split('/').next().unwrap()) {
            Some(id) if [PENDING, APPROVED, CANCELLED].contains(&id) => found(200, approval(id)),
            _ => found(404, json!({ "code": "not_found", "detail": "not found" })),
        },
    }
}

fn successor(id: &str) -> String {
    let (rest, last) = id.split_at(25);
    format!("{rest}{}", char::from(last.as_bytes()[0] + 1))
}

/// An approval that is named as its id.
fn approval(id: &str) -> Value {
    let status = match id {
        PENDING => "pending",
        APPROVED => "approved",
        _ => "cancelled",
    };
    json!({
        "request_id": id, "approval_id": id, "status": status, "approved": status == "approved",
        "created_at": "2026-11-27T12:00:00.000Z", "deadline": "2026-11-27T13:00:00.000Z",
        "decided_at": if status == "pending" { Value::Null } else { json!("2026-11-27T12:01:00.000Z") },
    })
}

/// What arrives.
#[derive(Clone)]
struct Sent {
    method: &'static str,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sent {
    fn raw(body: &str) -> Self {
        let headers = [
            ("authorization", "Bearer me.key"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("host", "gate.example.com"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { method: "POST", headers, body: body.to_owned() }
    }

    /// A message of an older revision.
    fn old(method: &str, params: Value) -> Self {
        Self::raw(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string())
    }

    /// A message of 2026-07-28, by a client that knows tasks.
    fn new(method: &str, params: Value) -> Self {
        Self::with_meta(
            method,
            params,
            meta(json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })),
        )
    }

    fn with_meta(method: &str, mut params: Value, meta: Value) -> Self {
        let name = params.get("name").or(params.get("taskId")).and_then(Value::as_str).map(str::to_owned);
        params["_meta"] = meta;
        let sent = Self::old(method, params).header("mcp-protocol-version", V).header("mcp-method", method);
        match name {
            Some(name) => sent.header("mcp-name", &name),
            None => sent,
        }
    }

    /// With that header instead; without it where the value is empty.
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri("/mcp");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }
}

fn meta(capabilities: Value) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": V,
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    })
}

/// Status and message: that of a stream is its last one.
async fn both(sent: &Sent) -> [(u16, Value); 2] {
    let by_sdk = service(Arc::new(Played)).handle(sent.request()).await;
    let (parts, body) = by_sdk.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap_or(&text);
    let sdk = (parts.status.as_u16(), serde_json::from_str(last).unwrap_or(Value::Null));
    let plain = Stateless::new(Arc::new(Played)).answer(sent.request()).await;
    let status = plain.status().as_u16();
    let bytes = plain.into_body().collect().await.unwrap().to_bytes();
    [sdk, (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))]
}

fn question(request_id: &str) -> Value {
    json!({
        "name": "request_approval",
        "arguments": { "request_id": request_id, "summary": "s", "action": "a.b", "payload": { "n": 1 } },
    })
}

fn call(name: &str, arguments: Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

fn hello(version: &str) -> Value {
    json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } })
}

#[tokio::test]
async fn both_servers_say_the_same() {
    let none = json!({});
    let of = |id: &str| json!({ "taskId": id });
    let cases = [
        Sent::old("initialize", hello("2025-06-18")),
        Sent::old("initialize", hello("2024-11-05")),
        Sent::old("initialize", hello("1999-01-01")),
        Sent::old("initialize", hello(V)),
        Sent::old("ping", none.clone()),
        Sent::raw(r#"{"jsonrpc":"2.0","id":"a text","method":"ping"}"#),
        Sent::raw(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        Sent::old("tools/list", none.clone()),
        Sent::old("tools/list", none.clone()).header("mcp-protocol-version", "2025-11-25"),
        Sent::old("tools/call", question("r")),
        Sent::old("tools/call", question("alone")),
        Sent::old("tools/call", question("bad")),
        Sent::old("tools/call", call("request_approval", json!({ "summary": "s" }))),
        Sent::old(
            "tools/call",
            call("wait_for_approval", json!({ "request_id": PENDING, "wait_seconds": 0 })),
        ),
        Sent::old("tools/call", call("wait_for_approval", json!({ "request_id": APPROVED }))),
        Sent::old(
            "tools/call",
            call("wait_for_approval", json!({ "request_id": "../x", "wait_seconds": 0 })),
        ),
        Sent::old("tools/call", call("verify_token", json!({ "token": "x" }))),
        Sent::old("tools/call", json!({ "name": "verify_token" })),
        Sent::old("tools/call", call("permission_prompt", none.clone())),
        Sent::old("tools/call", question("r")).header("authorization", "Bearer you.key"),
        Sent::old("tasks/get", of(PENDING)),
        Sent::old("resources/list", none.clone()),
        Sent::old("no/such", none.clone()),
        Sent::new("server/discover", none.clone()),
        Sent::new("tools/list", none.clone()),
        Sent::new("tools/call", question("r")),
        Sent::new("tools/call", question("alone")),
        Sent::new("tools/call", question("bad")),
        Sent::new(
            "tools/call",
            call("wait_for_approval", json!({ "request_id": PENDING, "wait_seconds": 0 })),
        ),
        Sent::with_meta("tools/call", question("r"), meta(none.clone())),
        Sent::new("tools/call", call("no_such", none.clone())),
        Sent::new("tools/call", question("r")).header("mcp-name", "=?base64?cmVxdWVzdF9hcHByb3ZhbA==?="),
        Sent::new("tasks/get", of(PENDING)),
        Sent::new("tasks/get", of(APPROVED)),
        Sent::new("tasks/get", of(CANCELLED)),
        Sent::new("tasks/get", of("01ARZ3NDEKTSV4RRFFQ69G5FAY")),
        Sent::new("tasks/get", of("x")),
        Sent::new("tasks/get", of(PENDING)).header("authorization", "Bearer you.key"),
        Sent::new("tasks/cancel", of(PENDING)),
        Sent::new("tasks/cancel", of(APPROVED)),
        Sent::new("tasks/cancel", of("x")),
        Sent::with_meta("tasks/get", of(PENDING), meta(none.clone())),
        Sent::with_meta("tasks/cancel", of(PENDING), meta(none.clone())),
        Sent::new("tasks/list", none.clone()),
        Sent::new("ping", none.clone()),
        Sent::new("no/such", none.clone()),
    ];
    for sent in cases {
        let [sdk, plain] = both(&sent).await;
        assert_eq!(sdk, plain, "{} {:?}", sent.body, sent.headers);
    }
}

/// The words differ; the status and the code, which programs look at, do not.
#[tokio::test]
async fn what_contradicts_itself_is_refused_by_both() {
    let none = json!({});
    let other = |version: &str| {
        let mut meta = meta(json!({}));
        meta["io.modelcontextprotocol/protocolVersion"] = json!(version);
        meta
    };
    let mut lacks = meta(none.clone());
    lacks.as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities");
    let cases = [
        (Sent::old("initialize", hello("2025-06-18")).header("mcp-protocol-version", "2025-11-25"), -32600),
        (Sent::new("tools/call", question("r")).header("mcp-name", ""), -32020),
        (Sent::new("tools/call", question("r")).header("mcp-name", "verify_token"), -32020),
        (Sent::new("tools/call", question("r")).header("mcp-name", "=?base64?%?="), -32020),
        (Sent::new("tools/list", none.clone()).header("mcp-method", "tools/call"), -32020),
        (Sent::new("tools/list", none.clone()).header("mcp-method", ""), -32020),
        (Sent::new("tools/list", none.clone()).header("mcp-protocol-version", ""), -32020),
        (Sent::new("tools/list", none.clone()).header("mcp-protocol-version", "2025-11-25"), -32020),
        (
            Sent::old("tools/list", none.clone())
                .header("mcp-protocol-version", V)
                .header("mcp-method", "tools/list"),
            -32602,
        ),
        (Sent::with_meta("tools/list", none.clone(), lacks), -32602),
        (
            Sent::with_meta("tools/list", none.clone(), other("2030-01-01"))
                .header("mcp-protocol-version", "2030-01-01"),
            -32022,
        ),
    ];
    for (sent, code) in cases {
        for (status, message) in both(&sent).await {
            assert_eq!((status, &message["error"]["code"]), (400, &json!(code)), "{} {message}", sent.body);
        }
    }
    let statuses = [
        (Sent::old("ping", none.clone()).header("origin", "https://evil.example"), 403),
        (Sent::old("ping", none.clone()).header("origin", "null"), 403),
        (Sent::old("ping", none.clone()).header("accept", "application/json"), 406),
        (Sent::old("ping", none.clone()).header("accept", "application/json, text/event-stream;q=0"), 406),
        (Sent::old("ping", none.clone()).header("content-type", "text/plain"), 415),
        (Sent::old("ping", none.clone()).header("content-type", ""), 415),
        (Sent::old("ping", none.clone()).header("mcp-protocol-version", "x"), 400),
        (Sent::old("ping", json!({ "x": "x".repeat(600_000) })), 413),
        (Sent::raw(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), 400),
        (Sent::raw("").by("GET"), 405),
        (Sent::raw("").by("DELETE"), 405),
        (Sent::old("ping", none).by("PUT"), 405),
    ];
    for (sent, expected) in statuses {
        let [(sdk, _), (plain, _)] = both(&sent).await;
        assert_eq!((sdk, plain), (expected, expected), "{} {:?}", sent.method, sent.headers);
    }
}

/// The SDK answers these with 415 and words; whoever sent them learns more from an error.
#[tokio::test]
async fn what_is_no_message_is_an_error() {
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#, -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (r#"{"id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
    ] {
        let [(sdk, _), (status, message)] = both(&Sent::raw(body)).await;
        assert_eq!((sdk, status, &message["error"]["code"]), (415, 400, &json!(code)), "{body}");
    }
    for (method, params) in [
        ("initialize", json!({})),
        ("tools/call", json!({})),
        ("tools/call", json!({ "name": "verify_token", "arguments": [] })),
    ] {
        let [_, (_, message)] = both(&Sent::old(method, params)).await;
        assert_eq!(message["error"]["code"], json!(-32602), "{method}");
    }
}
