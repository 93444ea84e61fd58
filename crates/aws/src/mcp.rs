//! MCP beside the routes that clients call: the same tools as on one machine, over the gate of this process.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::any;
use placet_gate::Gate;
use placet_mcp::{InProcess, Stateless};

/// What clients call, and `/mcp` for those with `bearer = true`.
pub(crate) fn client_app(gate: Arc<Gate>) -> Router {
    let routes = placet_http::client_app(Arc::clone(&gate));
    let server = Stateless::new(Arc::new(InProcess(routes.clone())));
    let mcp = any(move |request: Request| {
        let (gate, server) = (Arc::clone(&gate), server.clone());
        async move {
            // Before a message is read. What a client may do, each call checks again.
            match placet_http::bearer_requester(&gate, request.headers()).await {
                Ok(_) => server.answer(request).await,
                Err(problem) => problem.into_response(),
            }
        }
    });
    routes.merge(Router::new().route("/mcp", mcp))
}
