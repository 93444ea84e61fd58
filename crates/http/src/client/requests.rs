//! `/v1/requests`: ask, look, wait, list, cancel, and a decider's answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use placet_core::Refusal;
use placet_core::grammar::is_action;
use placet_core::id::{ApprovalId, ClientId, RequestId};
use placet_core::payload::Payload;
use placet_core::policy::{ClientRole, Decision, MAX_WAIT_MS};
use placet_core::request::{Request, Status};
use placet_core::words::characters::shows_nothing;
use placet_gate::{Caller, Gate, ListQuery, RequestFields};

use super::{approval, check_callback_url, json, problem};
use crate::call::{Call, Endpoint, Name};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::wire::{Approval, ApprovalList, NewDecision, NewRequest};

/// The longest that one call may wait, in seconds: below API Gateway's limit of 30.
const MAX_POLL_SECONDS: u32 = 25;

type Answer = Result<Response, Problem>;

/// `POST /v1/requests` and `…/cancel`.
pub(crate) struct Asking;

impl Endpoint for Asking {
    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Requester)
    }
}

/// `GET /v1/requests/{request_id}`.
pub(crate) struct Waiting;

impl Endpoint for Waiting {
    const QUERY: &'static [&'static str] = &["wait_seconds"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Requester)
    }
}

/// `GET /v1/requests`.
pub(crate) struct Listing;

impl Endpoint for Listing {
    const QUERY: &'static [&'static str] = &["status", "limit", "cursor"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Requester)
    }
}

/// `POST /v1/requests/{request_id}/decision`.
pub(crate) struct Answering;

impl Endpoint for Answering {
    const QUERY: &'static [&'static str] = &["client"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Decider)
    }
}

/// Asks for an approval.
///
/// `request_id` is the idempotency key: the same question again finds the same request.
#[utoipa::path(post, path = "/v1/requests", tag = "requests", request_body = NewRequest,
    responses(
        (status = 201, description = "taken; it may have ended already", body = Approval),
        (status = 200, description = "the same question was asked before", body = Approval),
        (status = 409, description = "`request_id_conflict`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`payload_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`; see `Retry-After`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn ask(State(gate): State<Arc<Gate>>, call: Call<Asking>) -> Answer {
    let (fields, wait) = read_ask(&call.body, |url| check_callback_url(url, &call.caller))?;
    let request_id = fields.request_id.clone();
    let asking = gate.ask(&call.caller, fields).await?;
    let mut request = asking.request;
    // The question is recorded by now: with no place left to wait in, the answer is what is known now.
    let is_held = wait > 0 && !is_paced(&gate, &call);
    let place = if is_held && request.outcome().is_none() { call.place_to_wait() } else { None };
    if place.is_some() {
        request = gate.wait(&call.caller, &request_id, Duration::from_secs(wait.into())).await?;
    }
    let mut body = approval(&gate, &call.caller, &request).await?;
    body.pending_twin = asking.pending_twin.map(|id| id.to_string());
    let answer = json(if asking.is_new { StatusCode::CREATED } else { StatusCode::OK }, &body);
    Ok(if wait > 0 && !is_held { paced(answer, &gate, &request) } else { answer })
}

/// The request that a body asks for, without how long its caller waits.
pub(crate) fn read_request(
    body: &[u8],
    check_url: impl Fn(&str) -> Result<(), String>,
) -> Result<RequestFields, Refusal> {
    read_ask(body, check_url).map(|(fields, _)| fields)
}

fn read_ask(
    body: &[u8],
    check_url: impl Fn(&str) -> Result<(), String>,
) -> Result<(RequestFields, u32), Refusal> {
    let mut fields = Fields::read(body)?;
    let request_id = fields.required_text("request_id", 1, 128);
    let request_id = fields.parsed("request_id", request_id, RequestId::chosen);
    let summary = fields.required_text("summary", 1, 500);
    if summary.as_deref().is_some_and(shows_nothing) {
        fields.fault("summary", "must not be empty: it has no character that can be seen");
    }
    let action = fields.text("action", 1, 128).unwrap_or_else(|| "unspecified".to_owned());
    if !is_action(&action) {
        fields.fault("action", "must be a dotted name of `A-Za-z0-9_:-`, such as `invoice.pay`");
    }
    let payload = fields.object_or_absent("payload").unwrap_or_default();
    let payload = fields.absorb(Payload::new(&payload))?;
    let longest = u32::try_from(MAX_WAIT_MS / 1000).unwrap_or(u32::MAX);
    let timeout_seconds = fields.number("timeout_seconds", 1, longest);
    let callback_url = fields.text("callback_url", 1, 2048);
    let callback_url =
        fields.parsed("callback_url", callback_url, |url| check_url(url).map(|()| url.to_owned()));
    let wait_seconds = fields.number("wait_seconds", 0, MAX_POLL_SECONDS).unwrap_or(0);
    let metadata = fields.string_map("metadata");
    fields.finish()?;
    match (request_id, summary, payload) {
        (Some(request_id), Some(summary), Some(payload)) => {
            let fields = RequestFields {
                request_id,
                summary,
                action,
                payload,
                timeout_seconds,
                callback_url,
                metadata,
            };
            Ok((fields, wait_seconds))
        }
        // `finish` has refused whatever lacks one of these.
        _ => Err(Refusal::field("body", "is not complete")),
    }
}

/// The request now, or as soon as it ends.
#[utoipa::path(get, path = "/v1/requests/{request_id}", tag = "requests",
    params(("request_id" = String, Path, description = "the client's name for it"),
        ("wait_seconds" = Option<u32>, Query, description = "how long to wait for the end", minimum = 0, maximum = 25),
        ("Prefer" = Option<String>, Header, description = "`respond-async`: the caller looks again by itself. A gate on AWS then answers at once; while the request is pending, `Retry-After` says when to look again")),
    responses(
        (status = 200, description = "the approval, ended or pending", body = Approval),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`: too many calls of this client wait already; see `Retry-After`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(gate): State<Arc<Gate>>, Name(name): Name, call: Call<Waiting>) -> Answer {
    let wait = call.number("wait_seconds", 0, MAX_POLL_SECONDS)?.unwrap_or(0);
    let held = if is_paced(&gate, &call) { 0 } else { wait };
    let _place = match held {
        0 => None,
        _ => Some(call.place_to_wait().ok_or_else(Problem::too_many_waits)?),
    };
    let request = gate.wait(&call.caller, &request_id(&name)?, Duration::from_secs(held.into())).await?;
    let answer = json(StatusCode::OK, &approval(&gate, &call.caller, &request).await?);
    Ok(if held < wait { paced(answer, &gate, &request) } else { answer })
}

/// Whether the caller is told when to look again, instead of being held: it offers to, and the gate prefers it.
fn is_paced<E>(gate: &Gate, call: &Call<E>) -> bool {
    gate.paces_looks() && call.looks_again
}

fn paced(mut answer: Response, gate: &Gate, request: &Request) -> Response {
    let headers = answer.headers_mut();
    headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
    if let Some(seconds) = gate.look_again_in(request) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// The client's own requests, newest first.
#[utoipa::path(get, path = "/v1/requests", tag = "requests",
    params(("status" = inline(Option<crate::wire::StatusName>), Query, description = "only these"),
        ("limit" = Option<u32>, Query, description = "at most so many; 20 if left out", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "one page of them", body = ApprovalList)))]
pub(crate) async fn list(State(gate): State<Arc<Gate>>, call: Call<Listing>) -> Answer {
    let limit = call.number("limit", 1, 100)?.unwrap_or(20);
    let status = match call.parameter("status")? {
        None => None,
        Some(text) => Some(Status::parse(text).ok_or_else(|| {
            Refusal::field("status", format!("must be one of {}", Status::ALL.map(Status::as_str).join(", ")))
        })?),
    };
    let before = match call.parameter("cursor")? {
        None => None,
        Some(text) => Some(
            ApprovalId::parse(text)
                .map_err(|_| Refusal::field("cursor", "must be a `next_cursor` that a list returned"))?,
        ),
    };
    let query = ListQuery { status, limit: limit as usize, before };
    let (requests, next) = gate.list(&call.caller, query).await?;
    let mut page = Vec::with_capacity(requests.len());
    for request in &requests {
        page.push(approval(&gate, &call.caller, request).await?);
    }
    let body = ApprovalList { requests: page, next_cursor: next.map(|id| id.to_string()) };
    Ok(json(StatusCode::OK, &body))
}

/// Withdraws a request.
#[utoipa::path(post, path = "/v1/requests/{request_id}/cancel", tag = "requests",
    params(("request_id" = String, Path, description = "the client's name for it")),
    responses(
        (status = 200, description = "withdrawn", body = Approval),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_decided`, with the recorded outcome", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn cancel(State(gate): State<Arc<Gate>>, Name(name): Name, call: Call<Asking>) -> Answer {
    Fields::read(&call.body)?.finish()?;
    match gate.cancel(&call.caller, &request_id(&name)?).await {
        Ok(request) => Ok(json(StatusCode::OK, &approval(&gate, &call.caller, &request).await?)),
        Err(error) => Err(problem(&gate, &call.caller, error).await),
    }
}

/// Answers for a request that waits in a queue: for clients with the role `decider`.
#[utoipa::path(post, path = "/v1/requests/{request_id}/decision", tag = "requests", request_body = NewDecision,
    params(("request_id" = String, Path, description = "the asking client's name for it"),
        ("client" = Option<String>, Query, description = "whose request is meant, where several clients use this `request_id`")),
    responses(
        (status = 200, description = "recorded", body = Approval),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_decided`, with the recorded outcome", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn decision(
    State(gate): State<Arc<Gate>>,
    Name(name): Name,
    call: Call<Answering>,
) -> Answer {
    let mut fields = Fields::read(&call.body)?;
    let word = fields.required_text("decision", 1, 16);
    let decision =
        fields.parsed("decision", word, |word| Decision::parse(word).ok_or("must be `approve` or `reject`"));
    let reason = fields.text("reason", 0, 500).filter(|reason| !reason.is_empty());
    let client = match call.parameter("client")? {
        Some(client) => Some(client.to_owned()),
        None => fields.text("client", 1, 64),
    };
    let client = fields.parsed("client", client, ClientId::parse);
    fields.finish()?;
    let Some(decision) = decision else { return Err(Refusal::field("decision", "is required").into()) };
    match gate.answer(&call.caller, &request_id(&name)?, client.as_ref(), decision, reason).await {
        Ok(request) => Ok(json(StatusCode::OK, &approval(&gate, &call.caller, &request).await?)),
        Err(error) => Err(problem(&gate, &call.caller, error).await),
    }
}

/// A name that no request can have names nothing.
pub(super) fn request_id(name: &str) -> Result<RequestId, Refusal> {
    RequestId::parse(name).map_err(|_| Refusal::NotFound)
}
