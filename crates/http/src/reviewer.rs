//! What reviewers' browsers call: the review page, the decision, the inbox.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use maud::Markup;
use placet_core::Refusal;
use placet_core::policy::{Decision, Policy};
use placet_core::refusal::FieldError;
use placet_core::request::{Decider, Foreseen, Status};
use placet_gate::{ApprovalView, Error, Gate, Review, ReviewOptions};

use crate::app;
use crate::call::{LinkText, read_body, refuse_encoded};
use crate::client::json;
use crate::inbox;
use crate::pages;
use crate::problem::Problem;
use crate::report;
use crate::routes::route_table;
use crate::wire::{Approval, DecisionForm};

/// The largest form that is read, in bytes.
pub(crate) const FORM_LIMIT: usize = 16 * 1024;

/// The longest reason, in characters.
pub(crate) const REASON_CHARS: usize = 500;

route_table! {
    "/r/{link}" => get self::show, post self::decide;
    "/inbox/{link}" => get inbox::show, post inbox::decide;
    "/inbox/{link}/away" => post inbox::away;
    "/inbox/{link}/events" => get inbox::events;
    "/inbox/{link}/app.webmanifest" => get app::manifest;
    "/report/{link}" => get report::show, post report::flag;
    "/sw.js" => get app::worker;
    "/icon-192.png" => get app::small_icon;
    "/icon-512.png" => get app::large_icon;
}

/// [`router`], and what mail programs make of a link: with a slash and more behind it, or cut off before it.
pub(crate) fn router_with_glue() -> axum::Router<Arc<Gate>> {
    let glued = ["/r/", "/r/{link}/", "/r/{link}/{*glued}"]
        .into_iter()
        .fold(router(), |router, path| router.route(path, get(show).post(decide)));
    ["/inbox/", "/inbox/{link}/", "/inbox/{link}/{*glued}"]
        .into_iter()
        .fold(glued, |router, path| router.route(path, get(inbox::show).post(inbox::decide)))
}

/// Shows a request to its reviewer. Changes nothing, on `HEAD` as on `GET`.
#[utoipa::path(get, path = "/r/{link}", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own link")),
    responses(
        (status = 200, description = "the review page; with `Accept: application/json`, the approval",
            content((String = "text/html"), (Approval = "application/json"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn show(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    match gate.review(&link).await {
        Ok(review) if wants_json(&headers) => as_json(&gate, &review),
        Ok(review) => page(StatusCode::OK, &pages::review(&view(&review, None, None))),
        Err(error) => refused(error.into(), &headers),
    }
}

/// Takes a reviewer's decision: the form of the page.
#[utoipa::path(post, path = "/r/{link}", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own link")),
    request_body(content = DecisionForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "recorded: the page; with `Accept: application/json`, the approval",
            content((String = "text/html"), (Approval = "application/json"))),
        (status = 403, description = "`forbidden`: the asking client's owner does not approve", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 409, description = "`already_decided`, with the recorded outcome", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`: its stage, its reviewer or its key is gone", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the page again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn decide(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(problem) = refuse_encoded(&headers) {
        return refused(problem, &headers);
    }
    let form = match read_body(body, FORM_LIMIT).await {
        Ok(body) => match report::flag_of(&body) {
            Some(nonce) => return flag(&gate, &link, &nonce, &headers).await,
            None => Form::read(&body),
        },
        Err(problem) => return refused(problem, &headers),
    };
    let (decision, form) = match form {
        Ok(form) => form,
        Err(refusal) => return again(&gate, &link, &headers, refusal).await,
    };
    match gate.decide(&link, &form.nonce, decision, form.reason).await {
        Ok(review) if wants_json(&headers) => as_json(&gate, &review),
        Ok(review) => page(StatusCode::OK, &pages::review(&view(&review, Some(decision), None))),
        Err(Error::Ended(_)) => match gate.review(&link).await {
            Ok(review) if wants_json(&headers) => {
                Problem::already_decided(approval(&gate, &review)).into_response()
            }
            Ok(review) => page(StatusCode::CONFLICT, &pages::review(&late_view(&review, decision))),
            Err(error) => refused(error.into(), &headers),
        },
        Err(Error::Refused(
            refusal @ (Refusal::Forbidden(_) | Refusal::LinkExpired | Refusal::InvalidRequest(_)),
        )) => again(&gate, &link, &headers, refusal).await,
        Err(error) => refused(error.into(), &headers),
    }
}

/// The end page's other form: the reader says that the approval was a mistake.
async fn flag(gate: &Gate, link: &str, nonce: &str, headers: &HeaderMap) -> Response {
    match gate.flag_on_page(link, nonce).await {
        Ok(()) => match gate.review(link).await {
            Ok(review) if wants_json(headers) => as_json(gate, &review),
            Ok(review) => page(StatusCode::OK, &pages::review(&view(&review, None, None))),
            Err(error) => refused(error.into(), headers),
        },
        Err(Error::Refused(refusal @ Refusal::InvalidRequest(_))) => {
            again(gate, link, headers, refusal).await
        }
        Err(error) => refused(error.into(), headers),
    }
}

/// A reviewer's form.
struct Form {
    nonce: String,
    reason: Option<String>,
}

impl Form {
    fn read(body: &[u8]) -> Result<(Decision, Self), Refusal> {
        let (mut decision, mut nonce, mut reason) = (None, None, None);
        let mut errors = Vec::new();
        for (key, value) in form_urlencoded::parse(body) {
            let slot = match key.as_ref() {
                "decision" => &mut decision,
                "nonce" => &mut nonce,
                "reason" => &mut reason,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                errors.push(FieldError::new(key, "must be given once"));
            }
        }
        let decision = decision.as_deref().and_then(Decision::parse);
        if decision.is_none() {
            errors.push(FieldError::new("decision", "must be `approve` or `reject`"));
        }
        let reason = tidied(reason);
        if reason.as_ref().is_some_and(|text| text.chars().count() > REASON_CHARS) {
            errors.push(FieldError::new("reason", "must have at most 500 characters"));
        }
        match decision {
            Some(decision) if errors.is_empty() => {
                Ok((decision, Self { nonce: nonce.unwrap_or_default(), reason }))
            }
            _ => Err(Refusal::InvalidRequest(errors)),
        }
    }
}

/// What was written in a field, if anything was. Browsers send line ends as CR LF, which would count twice.
pub(crate) fn tidied(field: Option<String>) -> Option<String> {
    field.map(|text| text.replace("\r\n", "\n").trim().to_owned()).filter(|text| !text.is_empty())
}

/// Nothing was recorded; the page again, saying why.
async fn again(gate: &Gate, link: &str, headers: &HeaderMap, refusal: Refusal) -> Response {
    let why = match &refusal {
        Refusal::InvalidRequest(errors) if errors.iter().any(|error| error.field == "nonce") => {
            "This page was too old, so nothing was recorded. Please choose again.".to_owned()
        }
        Refusal::InvalidRequest(errors) => format!(
            "Nothing was recorded: {}.",
            errors.iter().map(|e| format!("{} {}", e.field, e.message)).collect::<Vec<_>>().join("; ")
        ),
        Refusal::Forbidden(why) => format!("Nothing was recorded: {why}."),
        other => format!("Nothing was recorded: {other}."),
    };
    let problem = Problem::from(refusal);
    match gate.review(link).await {
        Ok(_) if wants_json(headers) => problem.into_response(),
        Ok(review) => page(problem.status(), &pages::review(&view(&review, None, Some(why)))),
        Err(error) => refused(error.into(), headers),
    }
}

/// A problem as a page; as JSON for whoever asks for that.
pub(crate) fn refused(problem: Problem, headers: &HeaderMap) -> Response {
    if wants_json(headers) {
        return problem.into_response();
    }
    let status = problem.status();
    let (title, text) = match status {
        StatusCode::NOT_FOUND => (
            "This link opens nothing",
            "It may have been cut short when it was copied, or the request is long over. Nothing was decided.",
        ),
        StatusCode::GONE => (
            "This link has expired",
            "Links end when the gate's keys change twice, or when their reviewer leaves. Nothing was decided.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("That was too long", "Nothing was decided. Please shorten the reason.")
        }
        StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::BAD_REQUEST
        | StatusCode::REQUEST_TIMEOUT => {
            ("That did not arrive as it should", "Nothing was decided. Please open your link again.")
        }
        _ => (
            "The gate cannot do this at the moment",
            "Nothing was decided. Please try again in a minute, or ask whoever runs this gate.",
        ),
    };
    page(status, &pages::notice(title, text))
}

fn as_json(gate: &Gate, review: &Review) -> Response {
    json(StatusCode::OK, &approval(gate, review))
}

/// The approval as a reviewer sees it: without the token, which is the asker's.
fn approval(gate: &Gate, review: &Review) -> Approval {
    Approval::of(&ApprovalView::foreseen(&review.request, &gate.base_url(&review.policy)))
}

pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}

pub(crate) fn page(status: StatusCode, markup: &Markup) -> Response {
    let mut response = (status, markup.0.clone()).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, pages::content_security_policy()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

fn late_view(review: &Review, pressed: Decision) -> pages::Review {
    let mut view = view(review, None, None);
    if let pages::ReviewState::Ended { late, .. } = &mut view.state {
        *late = Some(choice(pressed));
    }
    view
}

/// What the page shows. `pressed` is what the reader has just pressed, with success.
fn view(review: &Review, pressed: Option<Decision>, notice: Option<String>) -> pages::Review {
    let Review { reviewer, request, policy, options, nonce, now } = review;
    let (asked, current) = (request.asked(), request.state());
    let stage_deadline_ms = current.pending().map_or(0, |pending| pending.closes_at.millis());
    let state = match (options, current.outcome()) {
        (_, Some(outcome)) => pages::ReviewState::Ended {
            status: outcome.status(),
            by: outcome.decided_by.iter().map(|decider| decider_name(policy, decider)).collect(),
            at_ms: outcome.decided_at.millis(),
            reason: outcome.reason.clone(),
            just_now: pressed.map(choice),
            late: None,
        },
        (ReviewOptions::MovedOn | ReviewOptions::Ended, None) => {
            pages::ReviewState::MovedOn { to: asked_now(policy, request) }
        }
        (ReviewOptions::Approved, None) if notice.is_none() => pages::ReviewState::Voted {
            nonce: nonce.clone(),
            now_ms: now.millis(),
            stage_deadline_ms,
            choice: pages::Choice::Approve,
        },
        (ReviewOptions::Open { .. } | ReviewOptions::Approved, None) => pages::ReviewState::Open {
            nonce: nonce.clone(),
            now_ms: now.millis(),
            stage_deadline_ms,
            may: match options {
                ReviewOptions::Open { may_approve: false } => pages::May::RejectOnly,
                _ => pages::May::Both,
            },
            notice,
        },
    };
    pages::Review {
        reviewer_name: display_name(policy, reviewer.as_str()),
        client: asked.client.to_string(),
        action: asked.action.clone(),
        summary: asked.summary.clone(),
        payload: asked.payload.value(),
        payload_sha256: asked.payload_sha256.clone(),
        request_id: asked.request_id.to_string(),
        rule: asked.rule.clone().unwrap_or_default(),
        created_at_ms: asked.created_at.millis(),
        approvals_needed: asked.approvals_needed(),
        votes: current
            .votes()
            .iter()
            .map(|vote| pages::VoteLine {
                name: display_name(policy, vote.reviewer.as_str()),
                decision: choice(vote.decision),
                at_ms: vote.voted_at.millis(),
                reason: vote.reason.clone(),
                is_reader: if vote.reviewer == *reviewer {
                    pages::Reader::Self_
                } else {
                    pages::Reader::Other
                },
            })
            .collect(),
        state,
        flagging: match (current.flag(), current.status()) {
            (Some(_), _) => pages::Flagging::Flagged,
            (None, Status::Approved) => pages::Flagging::Possible { nonce: nonce.clone() },
            (None, Status::Pending | Status::Rejected | Status::Expired | Status::Cancelled) => {
                pages::Flagging::No
            }
        },
    }
}

pub(crate) fn choice(decision: Decision) -> pages::Choice {
    match decision {
        Decision::Approve => pages::Choice::Approve,
        Decision::Reject => pages::Choice::Reject,
    }
}

pub(crate) fn display_name(policy: &Policy, id: &str) -> String {
    policy
        .reviewers
        .iter()
        .find(|reviewer| reviewer.id.as_str() == id)
        .map_or_else(|| id.to_owned(), |reviewer| reviewer.name.clone())
}

pub(crate) fn decider_name(policy: &Policy, decider: &Decider) -> String {
    match decider {
        Decider::Reviewer(id) => display_name(policy, id.as_str()),
        Decider::Policy(_) => "the policy".to_owned(),
        Decider::Timeout(_) => "the deadline".to_owned(),
        Decider::Client(id) => id.to_string(),
        Decider::Operator => "the operator".to_owned(),
    }
}

fn asked_now(policy: &Policy, request: &Foreseen) -> String {
    let Some(pending) = request.state().pending() else { return String::new() };
    if request.asked().stage_queue(pending.stage).is_some() {
        return "another system".to_owned();
    }
    let names: Vec<_> =
        pending.asked.iter().map(|asked| display_name(policy, asked.reviewer.as_str())).collect();
    names.join(", ")
}
