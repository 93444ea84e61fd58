//! What reviewers' browsers call: the review page, the decision, the inbox.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use maud::Markup;
use placet_core::Refusal;
use placet_core::id::ReviewerId;
use placet_core::policy::{ClientPause, Decision, Policy, Reviewer};
use placet_core::refusal::FieldError;
use placet_core::request::{
    ApprovalRequest, Change, Decider, Edit, Foreseen, Given, RequestState, Status, Vote,
};
use placet_core::words::{self, FieldPath};
use placet_gate::{ApprovalView, Error, Gate, Novelty, Preview, Review, ReviewOptions};
use serde_json::Value;

use crate::app;
use crate::call::{LinkText, read_body};
use crate::client::json;
use crate::inbox::{self, news};
use crate::pages;
use crate::problem::Problem;
use crate::push;
use crate::report;
use crate::routes::route_table;
use crate::wire::{Approval, DecisionForm};

/// The largest form that is read, in bytes.
const FORM_LIMIT: usize = 16 * 1024;

/// The longest reason, in characters.
pub(crate) const REASON_CHARS: usize = 500;

route_table! {
    "/r/{link}" => get self::show, post self::decide;
    "/inbox/{link}" => get inbox::show, post inbox::decide;
    "/inbox/{link}/away" => post inbox::away;
    "/inbox/{link}/resume" => post inbox::resume;
    "/inbox/{link}/push" => post push::switch;
    "/inbox/{link}/events" => get news::events;
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
        Ok(review) => page(StatusCode::OK, &pages::review(&look(&gate, &review, &Seen::Plain).await)),
        Err(error) => refused(error.into(), &headers),
    }
}

/// Takes a reviewer's decision: the form of the page. With `?later`, nothing is decided: the page says so.
///
/// With `?seen`, the page's script says that a person has touched the page, with its `nonce`: nothing is decided, and the
/// reviewer is not nudged by their next channel.
///
/// With `?pause`, a rejection also pauses the client that asks: for an hour, nothing new is taken from it.
#[utoipa::path(post, path = "/r/{link}", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own link")),
    request_body(content = DecisionForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "recorded: the page; with `Accept: application/json`, the approval",
            content((String = "text/html"), (Approval = "application/json"))),
        (status = 204, description = "noted, with `?seen`"),
        (status = 403, description = "`forbidden`: the asking client's owner does not approve", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 409, description = "`already_decided`, with the recorded outcome", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`: its stage, its reviewer or its key is gone", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the page again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 429, description = "`rate_limited`, with `?pause`: this reviewer has paused too often today; nothing was recorded", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn decide(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Form(body): Form<FORM_LIMIT>,
) -> Response {
    if query.as_deref() == Some("seen") {
        return match gate.opened(&link, &nonce_of(&body)).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => refused(error.into(), &headers),
        };
    }
    // "Not now" is no answer, whatever else the form says.
    if query.as_deref() == Some("later") {
        note_opened(&gate, &link, &body).await;
        return later(&gate, &link, &headers).await;
    }
    if let Some(nonce) = report::flag_of(&body) {
        return flag(&gate, &link, &nonce, &headers).await;
    }
    let (press, form) = match Decided::read(&body) {
        Ok(form) => form,
        Err(refusal) => {
            note_opened(&gate, &link, &body).await;
            return again(&gate, &link, &headers, refusal).await;
        }
    };
    let decision = match press {
        Press::Decide(decision) => decision,
        Press::Change => {
            note_opened(&gate, &link, &body).await;
            return preview(&gate, &link, &headers, form.given.edits).await;
        }
    };
    let decided = if query.as_deref() == Some("pause") {
        match decision {
            Decision::Reject => gate.reject_and_pause(&link, &form.nonce, form.reason).await,
            Decision::Approve => Err(not_with_a_pause().into()),
        }
    } else {
        gate.decide_with(&link, &form.nonce, decision, form.reason, form.given).await
    };
    match decided {
        Ok(review) if wants_json(&headers) => as_json(&gate, &review),
        Ok(review) => {
            let next = next_for(&gate, &review).await;
            page(StatusCode::OK, &pages::review(&view(&review, &Seen::Pressed(decision, next))))
        }
        Err(Error::Ended(_)) => match gate.review(&link).await {
            Ok(review) if wants_json(&headers) => {
                Problem::already_decided(approval(&gate, &review)).into_response()
            }
            Ok(review) => {
                page(StatusCode::CONFLICT, &pages::review(&view(&review, &Seen::TooLate(decision))))
            }
            Err(error) => refused(error.into(), &headers),
        },
        Err(Error::Refused(
            refusal @ (Refusal::Forbidden(_)
            | Refusal::LinkExpired
            | Refusal::InvalidRequest(_)
            | Refusal::RateLimited { .. }),
        )) => {
            note_opened(&gate, &link, &body).await;
            again(&gate, &link, &headers, refusal).await
        }
        Err(error) => refused(error.into(), &headers),
    }
}

/// A client is paused only by whoever rejects what it asks.
pub(crate) fn not_with_a_pause() -> Refusal {
    Refusal::field("decision", "must be `reject` to pause the client")
}

/// Whoever presses a button that records nothing is a person who has opened the request.
///
/// A form without the page's nonce is no sign of anybody, and a fault here is no reason to refuse the page.
async fn note_opened(gate: &Gate, link: &str, body: &[u8]) {
    if let Err(Error::Fault(fault)) = gate.opened(link, &nonce_of(body)).await {
        tracing::warn!(error = fault.chain(), "that a request was opened could not be noted");
    }
}

/// The nonce of a form; empty where it has none.
fn nonce_of(body: &[u8]) -> String {
    let mut fields = form_urlencoded::parse(body);
    fields.find(|(name, _)| name == "nonce").map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A form of a page, of at most so many bytes, as it was sent. What cannot be read is refused in a page's words.
pub(crate) struct Form<const LIMIT_BYTES: usize>(pub(crate) Bytes);

impl<S: Send + Sync, const LIMIT_BYTES: usize> FromRequest<S> for Form<LIMIT_BYTES> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let read = read_body(&parts.headers, body, LIMIT_BYTES).await;
        read.map(Self).map_err(|problem| refused(problem, &parts.headers))
    }
}

/// What was pressed.
#[derive(Clone, Copy)]
enum Press {
    Decide(Decision),
    /// Show what the edits would make of it: nothing is decided.
    Change,
}

impl Press {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "change" => Some(Self::Change),
            _ => Decision::parse(text).map(Self::Decide),
        }
    }
}

/// The end page's other form: the reader says that the approval was a mistake.
async fn flag(gate: &Gate, link: &str, nonce: &str, headers: &HeaderMap) -> Response {
    match gate.flag_on_page(link, nonce).await {
        Ok(()) => match gate.review(link).await {
            Ok(review) if wants_json(headers) => as_json(gate, &review),
            Ok(review) => page(StatusCode::OK, &pages::review(&view(&review, &Seen::Plain))),
            Err(error) => refused(error.into(), headers),
        },
        Err(Error::Refused(refusal @ Refusal::InvalidRequest(_))) => {
            again(gate, link, headers, refusal).await
        }
        Err(error) => refused(error.into(), headers),
    }
}

/// What a reviewer's form says.
struct Decided {
    nonce: String,
    reason: Option<String>,
    given: Given,
}

impl Decided {
    fn read(body: &[u8]) -> Result<(Press, Self), Refusal> {
        let (mut decision, mut nonce, mut reason, mut because) = (None, None, None, None);
        let mut given = Given::default();
        let mut errors = Vec::new();
        for (key, value) in form_urlencoded::parse(body) {
            let slot = match key.as_ref() {
                "decision" => &mut decision,
                "nonce" => &mut nonce,
                "reason" => &mut reason,
                "because" => &mut because,
                "confirm" => &mut given.confirmation,
                "payload_sha256" => &mut given.payload_sha256,
                other => {
                    if let Some(path) = other.strip_prefix("edit:") {
                        if given.edits.iter().any(|edit| edit.path == path) {
                            errors.push(FieldError::new(other, "must be given once"));
                        }
                        given.edits.push(Edit { path: path.to_owned(), text: value.into_owned() });
                    }
                    continue;
                }
            };
            if slot.replace(value.into_owned()).is_some() {
                errors.push(FieldError::new(key, "must be given once"));
            }
        }
        let press = decision.as_deref().and_then(Press::parse);
        if press.is_none() {
            errors.push(FieldError::new("decision", "must be `approve` or `reject`"));
        }
        // A reason that was tapped in the sheet is one to reject, whatever is pressed in the end.
        let because = because.filter(|_| decision.as_deref() == Some(Decision::Reject.as_str()));
        // It comes before written words.
        let words: Vec<String> = [tidied(because), tidied(reason)].into_iter().flatten().collect();
        let reason = (!words.is_empty()).then(|| words.join(": "));
        if reason.as_ref().is_some_and(|text| text.chars().count() > REASON_CHARS) {
            errors.push(FieldError::new("reason", "must have at most 500 characters"));
        }
        match press {
            Some(press) if errors.is_empty() => {
                Ok((press, Self { nonce: nonce.unwrap_or_default(), reason, given }))
            }
            _ => Err(Refusal::InvalidRequest(errors)),
        }
    }
}

/// The reader does not decide now. Nothing is written.
async fn later(gate: &Gate, link: &str, headers: &HeaderMap) -> Response {
    match gate.review(link).await {
        Ok(review) if wants_json(headers) => as_json(gate, &review),
        Ok(review) => {
            let next = next_for(gate, &review).await;
            let url = format!("{}/r/{link}", inbox::path_prefix(&gate.base_url(&review.policy)));
            page(StatusCode::OK, &pages::review(&view(&review, &Seen::Later(url, next))))
        }
        Err(error) => refused(error.into(), headers),
    }
}

/// What the edits would make of the request, in the gate's own words, before anybody approves it. Nothing is written.
async fn preview(gate: &Gate, link: &str, headers: &HeaderMap, edits: Vec<Edit>) -> Response {
    match gate.preview(link, &edits).await {
        Ok(Preview { review, .. }) if wants_json(headers) => as_json(gate, &review),
        Ok(Preview { review, change }) => {
            page(StatusCode::OK, &pages::review(&view(&review, &Seen::Previewed(change, edits))))
        }
        Err(Error::Ended(_)) => match gate.review(link).await {
            Ok(review) => page(StatusCode::CONFLICT, &pages::review(&view(&review, &Seen::Plain))),
            Err(error) => refused(error.into(), headers),
        },
        Err(Error::Refused(refusal)) => again(gate, link, headers, refusal).await,
        Err(error) => refused(error.into(), headers),
    }
}

/// What waits for the reader next. Not knowing it is no reason to hide what was decided.
async fn next_for(gate: &Gate, review: &Review) -> Option<pages::Next> {
    let (request, link) = gate.next_for(review).await.ok().flatten()?;
    let asked = request.asked();
    Some(pages::Next {
        title: asked.title_of(request.state().payload(asked)).into_owned(),
        client: client_name(&review.policy, asked),
        url: format!("{}/r/{link}", inbox::path_prefix(&gate.base_url(&review.policy))),
        stage_deadline_ms: request.pending().map_or(0, |pending| pending.closes_at.millis()),
    })
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
        Refusal::InvalidRequest(errors) if errors.iter().any(|error| error.field == "payload_sha256") => {
            "Meanwhile somebody has changed what is asked, so nothing was recorded. Please look again."
                .to_owned()
        }
        Refusal::InvalidRequest(errors) if errors.iter().any(|error| error.field == "confirm") => {
            "Nothing was recorded: please type the last four characters of the digest that is shown."
                .to_owned()
        }
        Refusal::InvalidRequest(errors) => format!(
            "Nothing was recorded: {}.",
            errors
                .iter()
                .map(|e| format!("{} {}", e.field.trim_start_matches("edit:payload."), e.message))
                .collect::<Vec<_>>()
                .join("; ")
        ),
        Refusal::Forbidden(why) => format!("Nothing was recorded: {why}."),
        other => format!("Nothing was recorded: {other}."),
    };
    let problem = Problem::from(refusal);
    match gate.review(link).await {
        Ok(_) if wants_json(headers) => problem.into_response(),
        Ok(review) => page(problem.status(), &pages::review(&look(gate, &review, &Seen::Refused(why)).await)),
        Err(error) => refused(error.into(), headers),
    }
}

/// A problem as a page; as JSON for whoever asks for that.
pub(crate) fn too_slow(headers: &HeaderMap) -> Response {
    if wants_json(headers) {
        return Problem::too_slow().into_response();
    }
    let text = "Open your link again: it shows what was recorded, if anything was.";
    page(StatusCode::SERVICE_UNAVAILABLE, &pages::notice("This took too long", text))
}

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
    let base_url = gate.base_url(&review.policy);
    let view = ApprovalView::foreseen(&review.request, &base_url);
    let approval = Approval::of(&view);
    without_secrets(approval, review.request.asked(), review.request.state())
}

/// A reviewer sees a payload as their page shows it: what the rule masks stays masked.
pub(crate) fn without_secrets(approval: Approval, asked: &ApprovalRequest, state: &RequestState) -> Approval {
    Approval { payload: approval.payload.map(|_| asked.shown(state.payload(asked)).into_owned()), ..approval }
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

/// On which occasion a page is drawn.
enum Seen {
    /// Somebody looks.
    Plain,
    /// They have just pressed that, with success; and what waits for them next.
    Pressed(Decision, Option<pages::Next>),
    /// They have pressed that, and it had ended before.
    TooLate(Decision),
    /// What they pressed was not recorded, and why.
    Refused(String),
    /// They do not decide now: the link, and what else waits.
    Later(String, Option<pages::Next>),
    /// They look at what their edits would make of it.
    Previewed(Option<Change>, Vec<Edit>),
}

/// What the page shows, with what is new about it where it can be decided.
///
/// Not knowing that is no reason to hide what is asked.
async fn look(gate: &Gate, review: &Review, seen: &Seen) -> pages::Review {
    let shown = view(review, seen);
    if !matches!(shown.state, pages::ReviewState::Open { .. }) {
        return shown;
    }
    match gate.novelty(review).await {
        Ok(novelty) => pages::Review { novelty, ..shown },
        Err(error) => {
            tracing::warn!(error = error.chain(), "what is new about a request could not be read");
            shown
        }
    }
}

/// What the page shows.
fn view(review: &Review, seen: &Seen) -> pages::Review {
    let (pressed, late, next) = match seen {
        Seen::Pressed(decision, next) => (Some(*decision), None, next.clone()),
        Seen::TooLate(decision) => (None, Some(*decision), None),
        Seen::Plain | Seen::Refused(_) | Seen::Later(..) | Seen::Previewed(..) => (None, None, None),
    };
    let notice = match seen {
        Seen::Refused(why) => Some(why.clone()),
        Seen::Plain | Seen::Pressed(..) | Seen::TooLate(_) | Seen::Later(..) | Seen::Previewed(..) => None,
    };
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
            late: late.map(choice),
            next,
        },
        (ReviewOptions::MovedOn | ReviewOptions::Ended, None) => {
            pages::ReviewState::MovedOn { to: asked_now(policy, request) }
        }
        (ReviewOptions::Open { .. } | ReviewOptions::Approved, None) if let Seen::Later(url, next) = seen => {
            pages::ReviewState::Later {
                now_ms: now.millis(),
                stage_deadline_ms,
                url: url.clone(),
                next: next.clone(),
            }
        }
        (ReviewOptions::Approved, None) if notice.is_none() => pages::ReviewState::Voted {
            nonce: nonce.clone(),
            now_ms: now.millis(),
            stage_deadline_ms,
            choice: pages::Choice::Approve,
            next,
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
    // What is shown is what an approval would approve: as it stands, or with the edits that are looked at.
    let change = match seen {
        Seen::Previewed(change, _) => change.as_ref(),
        _ => current.change(),
    };
    let payload = change.map_or(&asked.payload, |change| &change.payload);
    let shown = asked.shown(payload).into_owned();
    let summary = asked.shown_summary().to_owned();
    pages::Review {
        reviewer_name: display_name(policy, reviewer.as_str()),
        client: client_name(policy, asked),
        action: asked.action.clone(),
        title: asked.title_of(payload).into_owned(),
        hides_secrets: shown != payload.value() || summary != asked.summary,
        wants: wants(asked, current, seen),
        changes: changes(policy, asked, change, seen),
        novelty: Novelty::default(),
        paused: policy.paused(&asked.client, *now).map(|pause| paused(policy, pause, reviewer)),
        summary,
        payload: shown,
        payload_sha256: change.map_or(&asked.payload_sha256, |change| &change.payload_sha256).clone(),
        request_id: asked.request_id.to_string(),
        rule: asked.rule.clone().unwrap_or_default(),
        created_at_ms: asked.created_at.millis(),
        approvals_needed: asked.approvals_needed(),
        approvals: u32::try_from(request.approvals_counted(policy)).unwrap_or(u32::MAX),
        votes: current.votes().iter().map(|vote| vote_line(policy, vote, reviewer)).collect(),
        state,
        nudged: policy.reviewer(reviewer).is_some_and(Reviewer::is_nudged),
        flagging: match (current.flag(), current.status()) {
            (Some(_), _) => pages::Flagging::Flagged,
            (None, Status::Approved) => pages::Flagging::Possible { nonce: nonce.clone() },
            (None, Status::Pending | Status::Rejected | Status::Expired | Status::Cancelled) => {
                pages::Flagging::No
            }
        },
    }
}

fn vote_line(policy: &Policy, vote: &Vote, reader: &ReviewerId) -> pages::VoteLine {
    pages::VoteLine {
        name: display_name(policy, vote.reviewer.as_str()),
        decision: choice(vote.decision),
        at_ms: vote.voted_at.millis(),
        reason: vote.reason.clone(),
        is_reader: if vote.reviewer == *reader { pages::Reader::Self_ } else { pages::Reader::Other },
    }
}

/// A client's pause, as that reviewer sees it.
pub(crate) fn paused(policy: &Policy, pause: &ClientPause, reader: &ReviewerId) -> pages::Paused {
    pages::Paused {
        by: display_name(policy, pause.by.as_str()),
        is_own: pause.by == *reader,
        until_ms: pause.until.millis(),
    }
}

/// What an approval of this request must bring beside the word.
fn wants(asked: &ApprovalRequest, state: &RequestState, seen: &Seen) -> pages::Wants {
    let Some(terms) = &asked.terms else { return pages::Wants::default() };
    let now = state.payload(asked).value();
    let edits = match seen {
        Seen::Previewed(_, edits) => {
            edits.iter().map(|edit| (edit.path.clone(), edit.text.clone())).collect()
        }
        _ => Vec::new(),
    };
    let field = |path: &FieldPath| {
        let typed = edits.iter().find(|(edited, _)| *edited == path.to_string());
        let value =
            path.find(&now).filter(|value| value.is_string() || value.is_number() || value.is_boolean())?;
        let value = typed.map_or_else(|| value.clone(), |(_, text)| Value::String(text.clone()));
        Some(pages::EditableField { path: path.to_string(), key: path.last().to_owned(), value })
    };
    pages::Wants {
        confirm: terms.confirm,
        editable: terms.editable.iter().filter_map(field).collect(),
        names_digest: !terms.editable.is_empty(),
        edits,
    }
}

/// What differs from what was asked, field by field.
fn changes(
    policy: &Policy,
    asked: &ApprovalRequest,
    change: Option<&Change>,
    seen: &Seen,
) -> Vec<pages::ChangeLine> {
    let Some(change) = change else { return Vec::new() };
    let (before, after) = (asked.shown(&asked.payload), asked.shown(&change.payload));
    let by = match seen {
        Seen::Previewed(..) => None,
        _ => Some(display_name(policy, change.by.as_str())),
    };
    let line = |path: &FieldPath| pages::ChangeLine {
        key: path.last().to_owned(),
        from: words::title::field_in_words(path, &before),
        to: words::title::field_in_words(path, &after),
        by: by.clone(),
    };
    change.fields.iter().map(line).collect()
}

pub(crate) fn choice(decision: Decision) -> pages::Choice {
    match decision {
        Decision::Approve => pages::Choice::Approve,
        Decision::Reject => pages::Choice::Reject,
    }
}

fn client_name(policy: &Policy, asked: &ApprovalRequest) -> String {
    policy.client(&asked.client).map_or_else(|| asked.client.to_string(), |client| client.name.clone())
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
