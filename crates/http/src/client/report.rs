//! `/v1/report` and flags: what auditors count.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use placet_core::Refusal;
use placet_core::id::ClientId;
use placet_core::policy::ClientRole;
use placet_gate::{Caller, Gate};

use super::requests::request_id;
use super::{approval, json};
use crate::call::{Call, Endpoint, Name};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::wire::{Approval, NewFlag};

/// How many days a report may have: requests are kept for 90, and 28 come before.
const MAX_DAYS: u32 = 60;

/// `GET /v1/report`.
pub(crate) struct Reporting;

impl Endpoint for Reporting {
    const QUERY: &'static [&'static str] = &["days"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Auditor)
    }
}

/// `POST /v1/requests/{request_id}/flag`.
pub(crate) struct Flagging;

impl Endpoint for Flagging {
    const QUERY: &'static [&'static str] = &["client"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Auditor)
    }
}

/// The weekly numbers: times, outcomes, troubles, load and mistakes.
#[utoipa::path(get, path = "/v1/report", tag = "audit",
    params(("days" = Option<u32>, Query, description = "how many days up to now; 7 if left out", minimum = 1, maximum = 60)),
    responses((status = 200, description = "what was asked in those days, and the four weeks before; docs/report.md names each number",
        body = serde_json::Value)))]
pub(crate) async fn report(
    State(gate): State<Arc<Gate>>,
    call: Call<Reporting>,
) -> Result<Response, Problem> {
    let days = call.number("days", 1, MAX_DAYS)?.unwrap_or(7);
    Ok(json(StatusCode::OK, &gate.report(&call.caller, days).await?))
}

/// Says that an approval was a mistake. The outcome stands; it is counted.
#[utoipa::path(post, path = "/v1/requests/{request_id}/flag", tag = "audit", request_body = NewFlag,
    params(("request_id" = String, Path, description = "the asking client's name for it"),
        ("client" = Option<String>, Query, description = "whose request is meant, where several clients use this `request_id`")),
    responses(
        (status = 200, description = "flagged, now or before", body = Approval),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_approved`: only approvals can be flagged", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn flag(
    State(gate): State<Arc<Gate>>,
    Name(name): Name,
    call: Call<Flagging>,
) -> Result<Response, Problem> {
    let mut fields = Fields::read(&call.body)?;
    let reason = fields.text("reason", 0, 500).filter(|reason| !reason.is_empty());
    let client = match call.parameter("client")? {
        Some(client) => Some(client.to_owned()),
        None => fields.text("client", 1, 64),
    };
    let client = fields.parsed("client", client, ClientId::parse);
    fields.finish()?;
    let request = gate.flag(&call.caller, &request_id(&name)?, client.as_ref(), reason).await?;
    Ok(json(StatusCode::OK, &approval(&gate, &call.caller, &request).await?))
}
