//! MCP on this machine: `/mcp` beside the gate's routes, and the way from the MCP server to the gate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use placet_gate::Gate;
use placet_mcp::{Answer, Call, InProcess, Reply, Upstream};

use crate::api::Api;

/// All routes of the gate, and `/mcp` for clients with `bearer = true`.
pub(crate) fn app(gate: Arc<Gate>) -> Router {
    let routes = placet_http::app(Arc::clone(&gate));
    let server = placet_mcp::service(Arc::new(InProcess(routes.clone())));
    let mcp = Router::new().route_service("/mcp", server).layer(from_fn(move |request, next| {
        let gate = Arc::clone(&gate);
        async move { let_in(&gate, request, next).await }
    }));
    routes.merge(mcp)
}

/// Refuses whoever has no key before a message is read. What a client may do, each call checks again.
async fn let_in(gate: &Gate, request: Request, next: Next) -> Response {
    match placet_http::bearer_requester(gate, request.headers()).await {
        Ok(_) => next.run(request).await,
        Err(problem) => problem.into_response(),
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

/// To the gate of a data folder, with the folder's own secret. Both are read anew where they are not what they were: a gate
/// may have been restarted elsewhere, and its keys rotated twice.
pub(crate) struct FromFolder {
    api: Mutex<Api>,
    path: PathBuf,
    client: Option<String>,
}

impl FromFolder {
    /// As it is now.
    pub(crate) const fn new(api: Api, path: PathBuf, client: Option<String>) -> Self {
        Self { api: Mutex::new(api), path, client }
    }

    fn api(&self) -> Api {
        self.api.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Upstream for FromFolder {
    fn send(&self, call: Call) -> Reply<'_> {
        Box::pin(async move {
            let answer = Signs(self.api()).send(call.clone()).await;
            if matches!(&answer, Ok(answer) if answer.status != 401) {
                return answer;
            }
            let Ok(api) = crate::commands::gate_in_folder(&self.path, self.client.as_deref()).await else {
                return answer;
            };
            *self.api.lock().unwrap_or_else(PoisonError::into_inner) = api.clone();
            Signs(api).send(call).await
        })
    }
}

/// How a command reaches the gate that it asks.
pub(crate) enum Way {
    /// At one address, with one secret.
    Fixed(Signs),
    /// By its data folder.
    Folder(FromFolder),
}

impl Upstream for Way {
    fn send(&self, call: Call) -> Reply<'_> {
        match self {
            Self::Fixed(gate) => gate.send(call),
            Self::Folder(gate) => gate.send(call),
        }
    }
}
