//! What clients call: one handler a route, each a few lines around one use case.

mod hooks;
mod open;
mod requests;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use placet_core::keys::EpochNumber;
use placet_core::policy::Policy;
use placet_core::request::Request;
use placet_gate::ports::View;
use placet_gate::{Error, Gate};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::call::Call;
use crate::problem::Problem;
use crate::wire::Approval;

pub(crate) use requests::read_request;

/// The routes with their descriptions: what the document is made from. [`router`] serves the same.
pub(crate) fn described() -> OpenApiRouter<Arc<Gate>> {
    OpenApiRouter::new()
        .routes(routes!(requests::ask, requests::list))
        .routes(routes!(requests::get))
        .routes(routes!(requests::cancel))
        .routes(routes!(requests::decision))
        .routes(routes!(tokens::verify))
        .routes(routes!(tokens::redeem))
        .routes(routes!(hooks::subscribe))
        .routes(routes!(hooks::unsubscribe))
        .routes(routes!(open::jwks))
        .routes(routes!(open::healthz))
        .routes(routes!(open::openapi))
}

/// The routes alone. Not taken out of [`described`]: a Lambda would make the whole document at every start, and be a
/// third of a megabyte larger.
pub(crate) fn router() -> Router<Arc<Gate>> {
    Router::new()
        .route("/v1/requests", post(requests::ask).get(requests::list))
        .route("/v1/requests/{request_id}", get(requests::get))
        .route("/v1/requests/{request_id}/cancel", post(requests::cancel))
        .route("/v1/requests/{request_id}/decision", post(requests::decision))
        .route("/v1/tokens/verify", post(tokens::verify))
        .route("/v1/tokens/redeem", post(tokens::redeem))
        .route("/v1/hooks", post(hooks::subscribe))
        .route("/v1/hooks/{hook_id}", delete(hooks::unsubscribe))
        .route("/.well-known/jwks.json", get(open::jwks))
        .route("/healthz", get(open::healthz))
        .route("/openapi.json", get(open::openapi))
}

/// The approval, with its token under the secret that the caller holds, if it is the asker.
async fn approval(gate: &Gate, call: &Call, request: &Request) -> Result<Approval, Problem> {
    let caller = &call.caller;
    let epoch = (caller.client.id == request.asked.client).then_some(caller.epoch);
    approval_under(gate, &caller.policy, request, epoch).await
}

/// The approval, with its token under the secret of that epoch; without one, under the one that the asker signed with.
pub(crate) async fn approval_under(
    gate: &Gate,
    policy: &Policy,
    request: &Request,
    epoch: Option<EpochNumber>,
) -> Result<Approval, Problem> {
    let token = gate.token(request, policy, epoch).await?;
    Ok(Approval::of(&View { request, token: token.as_deref(), base_url: &gate.base_url(policy) }))
}

/// An error; where the request has ended, with how it did.
async fn problem(gate: &Gate, call: &Call, error: Error) -> Problem {
    match error {
        Error::Ended(request) => match approval(gate, call, &request).await {
            Ok(approval) => Problem::already_decided(approval),
            Err(problem) => problem,
        },
        other => other.into(),
    }
}

/// A JSON answer that nobody may store.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (
            status,
            [
                (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
            bytes,
        )
            .into_response(),
        Err(error) => Problem::from(placet_gate::Fault::new("an answer could not be written as JSON", error))
            .into_response(),
    }
}
