//! What clients call: one handler a route, each a few lines around one use case.

mod audit;
mod hooks;
mod open;
mod report;
mod requests;
mod tokens;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use placet_core::grammar::HostPattern;
use placet_core::request::Request;
use placet_gate::{ApprovalView, Caller, Error, Gate};
use placet_webhook::Target;
use serde::Serialize;

use crate::problem::Problem;
use crate::routes::route_table;
use crate::wire::Approval;

pub(crate) use requests::read_request;

route_table! {
    "/v1/requests" => post requests::ask, get requests::list;
    "/v1/requests/{request_id}" => get requests::get;
    "/v1/requests/{request_id}/cancel" => post requests::cancel;
    "/v1/requests/{request_id}/decision" => post requests::decision;
    "/v1/requests/{request_id}/receipt" => get audit::receipt;
    "/v1/audit" => get audit::trail;
    "/v1/log/checkpoint" => get audit::checkpoint;
    "/v1/log/key" => get audit::key;
    "/v1/log/horizon" => get audit::horizon;
    "/v1/log/tile/{*path}" => get audit::tile;
    "/v1/requests/{request_id}/flag" => post report::flag;
    "/v1/report" => get report::report;
    "/v1/tokens/verify" => post tokens::verify;
    "/v1/tokens/redeem" => post tokens::redeem;
    "/v1/hooks" => post hooks::subscribe;
    "/v1/hooks/{hook_id}" => delete hooks::unsubscribe;
    "/.well-known/jwks.json" => get open::jwks;
    "/healthz" => get open::healthz;
    "/openapi.json" => get open::openapi;
}

/// The approval, with its token if the caller is the asker or one of its executors.
async fn approval(gate: &Gate, caller: &Caller, request: &Request) -> Result<Approval, Problem> {
    let token = gate.token(request, caller).await?;
    let base_url = gate.base_url(&caller.policy);
    Ok(Approval::of(&ApprovalView::of(request, token.as_deref(), &base_url)))
}

/// An error; where the request has ended, with how it did.
async fn problem(gate: &Gate, caller: &Caller, error: Error) -> Problem {
    match error {
        Error::Ended(request) => match approval(gate, caller, &request).await {
            Ok(approval) => Problem::already_decided(approval),
            Err(problem) => problem,
        },
        other => other.into(),
    }
}

/// Whether this client's callbacks may ever go to that address; the reason if not.
fn check_callback_url(url: &str, caller: &Caller) -> Result<(), String> {
    check_url(url, &caller.client.callback_hosts)
}

/// Whether callbacks may ever go to that address, where these hosts are exempt; the reason if not.
pub(crate) fn check_url(url: &str, callback_hosts: &[HostPattern]) -> Result<(), String> {
    let parsed = Target::parse(url, callback_hosts);
    parsed.map(drop).map_err(|problem| format!("cannot be called: {problem}"))
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
