//! MCP on this machine: `/mcp` beside the gate's routes, and the way from the MCP server to the gate.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use http_body_util::Full;
use placet_core::policy::ClientRole;
use placet_gate::Gate;
use placet_http::Problem;
use placet_mcp::{Answer, Call, Reply, Upstream};

use crate::api::{Api, Transport};

/// All routes of the gate, and `/mcp` for clients with `bearer = true`.
pub(crate) fn app(gate: Arc<Gate>) -> Router {
    let routes = placet_http::app(Arc::clone(&gate));
    let server = placet_mcp::service(Arc::new(HandsOn(Transport::Here(routes.clone()))));
    let mcp = Router::new().route_service("/mcp", server).layer(from_fn(move |request, next| {
        let gate = Arc::clone(&gate);
        async move { let_in(&gate, request, next).await }
    }));
    routes.merge(mcp)
}

/// Refuses whoever has no key before a message is read. What a client may do, each call checks again.
async fn let_in(gate: &Gate, request: Request, next: Next) -> Response {
    let caller = match placet_http::bearer_caller(gate, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    match caller.must_be(ClientRole::Requester) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Problem::from(refusal).into_response(),
    }
}

/// Into the gate of this process, with each caller's own key.
struct HandsOn(Transport);

impl Upstream for HandsOn {
    fn send(&self, call: Call) -> Reply<'_> {
        Box::pin(async move {
            let body = call.body.map(|body| body.to_string()).unwrap_or_default();
            let mut request = http::Request::builder()
                .method(call.method)
                .uri(call.path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| error.to_string())?;
            if let Some(authorization) = call.authorization {
                request.headers_mut().insert(header::AUTHORIZATION, authorization);
            }
            let answer = self.0.send(request).await.map_err(|error| error.0)?;
            Ok(Answer { status: answer.status, body: answer.json(), retry_after: answer.retry_after })
        })
    }
}

/// To a gate, signed as one client.
pub(crate) struct Signs(pub(crate) Api);

impl Upstream for Signs {
    fn send(&self, call: Call) -> Reply<'_> {
        Box::pin(async move {
            let answer = self.0.call(call.method, &call.path, call.body.as_ref()).await;
            let answer = answer.map_err(|error| format!("the gate does not answer: {}", error.0))?;
            Ok(Answer { status: answer.status, body: answer.json(), retry_after: answer.retry_after })
        })
    }
}
