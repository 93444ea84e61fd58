//! The three tools of an agent: ask, wait, verify.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Method, header};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ProgressNotificationParam};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use serde_json::{Value, json};

use crate::PlacetServer;
use crate::arguments::{RequestApproval, VerifyToken, WaitForApproval};
use crate::gate::{Denied, GateClient, encode, unique};
use crate::tasks;
use crate::upstream::Answer;

/// The longest that one call of `wait_for_approval` takes, in seconds. Clients give up on a call after 60.
const MAX_WAIT_SECONDS: u64 = 45;

/// How long it waits if it is not told: some clients give up on every call after 5 seconds.
const FIRST_WAIT_SECONDS: u64 = 3;

/// How long one question to the gate waits, in seconds: a client that asked for progress hears of it that often.
const POLL_SECONDS: u64 = 5;

/// How long a gate that is away is tried again within one call: whoever calls gives up on it soon after.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer to a wait that comes sooner than this says nothing about the wait.
const HASTE: Duration = Duration::from_millis(200);

#[tool_router(router = asking_tools, vis = "pub(crate)")]
impl PlacetServer {
    /// Ask a person to approve something before it is done. Returns at once; while `status` is `pending`, call
    /// `wait_for_approval`.
    #[tool(annotations(
        title = "Request approval",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = true
    ))]
    async fn request_approval(
        &self,
        Parameters(asked): Parameters<RequestApproval>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResponse {
        let request_id = match asked.request_id {
            Some(request_id) => request_id,
            None => match unique("mcp") {
                Ok(request_id) => request_id,
                Err(why) => return no_answer(&why).into(),
            },
        };
        let mut body = json!({
            "request_id": request_id, "summary": asked.summary, "action": asked.action, "payload": asked.payload,
        });
        if let (Some(seconds), Some(body)) = (asked.timeout_seconds, body.as_object_mut()) {
            body.insert("timeout_seconds".into(), seconds.into());
        }
        let result = result(self.call(&context, Method::POST, "/v1/requests", Some(body)).await);
        tasks::response(result, &context)
    }

    /// Wait for the decision about a request, at most 45 seconds. While `status` is still `pending`, call it again.
    #[tool(annotations(title = "Wait for approval", read_only_hint = true, open_world_hint = true))]
    async fn wait_for_approval(
        &self,
        Parameters(asked): Parameters<WaitForApproval>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let seconds = asked.wait_seconds.unwrap_or(FIRST_WAIT_SECONDS).min(MAX_WAIT_SECONDS);
        result(
            self.wait(
                &context,
                &self.gate_for(&context),
                &asked.request_id,
                Some(Duration::from_secs(seconds)),
            )
            .await,
        )
    }

    /// Check an approval's token: signature, audience, time, payload, and the gate's own record.
    #[tool(annotations(title = "Verify token", read_only_hint = true, open_world_hint = false))]
    async fn verify_token(
        &self,
        Parameters(asked): Parameters<VerifyToken>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let mut body = json!({ "token": asked.token });
        if let (Some(payload), Some(body)) = (asked.payload, body.as_object_mut()) {
            body.insert("payload".into(), payload.into());
        }
        result(self.call(&context, Method::POST, "/v1/tokens/verify", Some(body)).await)
    }
}

impl PlacetServer {
    /// The gate, as whoever called this server.
    pub(crate) fn gate_for(&self, context: &RequestContext<RoleServer>) -> GateClient {
        let authorization = context.extensions.get::<Parts>().and_then(bearer);
        GateClient::new(Arc::clone(&self.gate)).on_behalf_of(authorization).with_patience(PATIENCE)
    }

    /// Calls the gate as whoever called this server.
    async fn call(
        &self,
        context: &RequestContext<RoleServer>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, Denied> {
        let gate = self.gate_for(context);
        tokio::select! {
            answer = gate.exchange(method, path, body) => answer,
            () = context.ct.cancelled() => Err(stopped()),
        }
    }

    /// The request once it has ended, or as it stands after `limit`; tells the client that it still waits.
    pub(crate) async fn wait(
        &self,
        context: &RequestContext<RoleServer>,
        gate: &GateClient,
        request_id: &str,
        limit: Option<Duration>,
    ) -> Result<Answer, Denied> {
        let started = Instant::now();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()).as_secs());
            let wait = left.unwrap_or(POLL_SECONDS).min(POLL_SECONDS);
            let path = format!("/v1/requests/{}?wait_seconds={wait}", encode(request_id));
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = gate.exchange(Method::GET, &path, None) => answer?,
                () = context.ct.cancelled() => return Err(stopped()),
            };
            let pending =
                answer.status == 200 && answer.body.get("status").and_then(Value::as_str) == Some("pending");
            if !pending || wait == 0 {
                return Ok(answer);
            }
            if asked.elapsed() < HASTE {
                // A gate that is about to stop answers at once.
                tokio::time::sleep(HASTE).await;
            }
            self.report(context, started.elapsed(), limit, &answer.body).await;
        }
    }

    async fn report(
        &self,
        context: &RequestContext<RoleServer>,
        elapsed: Duration,
        limit: Option<Duration>,
        approval: &Value,
    ) {
        let Some(token) = context.meta.get_progress_token() else { return };
        let deadline = approval.get("deadline").and_then(Value::as_str).unwrap_or("it is decided");
        let mut progress = ProgressNotificationParam::new(token, elapsed.as_secs_f64())
            .with_message(format!("waiting for a person, until {deadline}"));
        if let Some(limit) = limit {
            progress = progress.with_total(limit.as_secs_f64());
        }
        // A client that is gone is noticed by `ct`.
        let _ = context.peer.notify_progress(progress).await;
    }
}

fn bearer(parts: &Parts) -> Option<HeaderValue> {
    parts.headers.get(header::AUTHORIZATION).cloned()
}

fn stopped() -> Denied {
    Denied::Away("the client stopped waiting".to_owned())
}

/// The gate's words, whatever they are: its refusals say in `code` and `detail` what is wrong.
fn result(reply: Result<Answer, Denied>) -> CallToolResult {
    match reply {
        Ok(Answer { status: 200..300, body, .. }) if body.is_object() => CallToolResult::structured(body),
        Ok(Answer { body, .. }) if body.get("code").is_some() => CallToolResult::structured_error(body),
        Ok(Answer { status, .. }) => {
            no_answer(&format!("the answer is {status}: this does not seem to be a gate"))
        }
        Err(why) => no_answer(&why.to_string()),
    }
}

fn no_answer(why: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(format!("nothing was approved: {why}"))])
}
