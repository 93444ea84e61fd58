//! What clients call: one handler a route, each a few lines around one use case.

mod hooks;
mod open;
mod requests;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
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

/// The routes, with their description.
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

/// The routes alone.
pub(crate) fn router() -> Router<Arc<Gate>> {
    described().split_for_parts().0
}

/// The approval, as the calling client may see it: with its token, if it is the asker.
async fn approval(gate: &Gate, call: &Call, request: &Request) -> Result<Approval, Problem> {
    let caller = &call.caller;
    let is_asker = caller.client.id == request.asked.client;
    let token = if is_asker { gate.token(request, &caller.policy, Some(caller.epoch)).await? } else { None };
    Ok(approval_with(gate, &caller.policy, request, token.as_deref()))
}

/// The approval with that token.
pub(crate) fn approval_with(
    gate: &Gate,
    policy: &Policy,
    request: &Request,
    token: Option<&str>,
) -> Approval {
    Approval::of(&View { request, token, base_url: &gate.base_url(policy) })
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
