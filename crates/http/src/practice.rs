//! A reviewer's practice round: the ordinary page, and after each answer what was right.
//!
//! Nothing is written, on `POST` as on `GET`: how far the reader is lies in the forms of their page, signed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use placet_core::Refusal;
use placet_core::id::ClientId;
use placet_core::policy::Decision;
use placet_core::practice::{CASES, Origin};
use placet_gate::{Error, Gate, Novelty, PracticeCase};

use crate::call::{LinkText, form_value};
use crate::pages;
use crate::problem::Problem;
use crate::reviewer::{Form, choice, display_name, page, refused, wants_json};
use crate::wire::PracticeForm;

/// The largest form that is read, in bytes: the page's reasons are sent too, and not read.
const FORM_LIMIT: usize = 16 * 1024;

/// Shows the first case of a practice round. Changes nothing, on `HEAD` as on `GET`.
#[utoipa::path(get, path = "/practice/{link}", operation_id = "show_practice", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own link to practise")),
    responses(
        (status = 200, description = "the first case", content((String = "text/html"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`: a day has passed", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn show(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    match gate.practice(&link, None).await {
        Ok(shown) => case(StatusCode::OK, &shown, None),
        Err(error) => turned_away(error, &headers),
    }
}

/// Takes an answer and tells what was right; without `decision`, shows the next case. Nothing is recorded.
#[utoipa::path(post, path = "/practice/{link}", operation_id = "answer_practice", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own link to practise")),
    request_body(content = PracticeForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "what was right, or the next case", content((String = "text/html"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`: a day has passed", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: the first case again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn answer(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
    Form(body): Form<FORM_LIMIT>,
) -> Response {
    let value = |name: &str| form_value(&body, name);
    let progress = value("nonce").unwrap_or_default();
    let answered = match value("decision").as_deref().map(Decision::parse) {
        Some(Some(decision)) => gate.answer_practice(&link, &progress, decision).await.map(Some),
        Some(None) => Err(Refusal::field("decision", "must be `approve` or `reject`").into()),
        None => Ok(None),
    };
    let shown = match answered {
        Ok(Some(answer)) => {
            let end = pages::PracticeEnd {
                case: view(&answer.of, None),
                pressed: choice(answer.decision),
                was_right: answer.was_right(),
                ends_the_round: answer.ends_the_round(),
                answers: answer.progress.answers,
                next: answer.next,
            };
            return page(StatusCode::OK, &pages::practice_answer(&end));
        }
        Ok(None) => gate.practice(&link, Some(&progress)).await,
        Err(error) => Err(error),
    };
    match shown {
        Ok(shown) => case(StatusCode::OK, &shown, None),
        Err(Error::Refused(refusal @ Refusal::InvalidRequest(_))) if !wants_json(&headers) => {
            let notice = "That page does not fit the round any more, so the answer does not count. The round begins anew.";
            let status = Problem::from(refusal).status();
            match gate.practice(&link, None).await {
                Ok(shown) => case(status, &shown, Some(notice)),
                Err(error) => turned_away(error, &headers),
            }
        }
        Err(error) => turned_away(error, &headers),
    }
}

fn case(status: StatusCode, shown: &PracticeCase, notice: Option<&str>) -> Response {
    page(status, &pages::practice(&view(shown, notice)))
}

/// A problem as a page, in the words of this link.
fn turned_away(error: Error, headers: &HeaderMap) -> Response {
    match error {
        Error::Refused(Refusal::LinkExpired) if !wants_json(headers) => {
            let text = "A link to practise opens for a day. Whoever runs this gate can print another one.";
            page(StatusCode::GONE, &pages::notice("This link has expired", text))
        }
        other => refused(other.into(), headers),
    }
}

/// What the page shows: a request that was never asked.
fn view(shown: &PracticeCase, notice: Option<&str>) -> pages::PracticeView {
    let PracticeCase { reviewer, policy, origin, number, case, progress, ends_at, now } = shown;
    let known = ClientId::parse(&case.client).ok().and_then(|id| policy.client(&id));
    let client = match origin {
        Origin::Own => known.map_or_else(|| case.client.clone(), |client| client.name.clone()),
        Origin::Samples => case.client.clone(),
    };
    let review = pages::Review {
        reviewer_name: display_name(policy, reviewer.as_str()),
        client,
        action: case.action.clone(),
        summary: case.summary.clone(),
        title: case.title.clone(),
        payload: case.payload.clone(),
        payload_sha256: case.payload_sha256.clone(),
        request_id: format!("practice-{number}"),
        rule: case.rule.clone(),
        created_at_ms: now.millis(),
        approvals_needed: 1,
        approvals: 0,
        hides_secrets: case.hides_secrets,
        wants: pages::Wants::default(),
        changes: Vec::new(),
        novelty: Novelty::default(),
        paused: None,
        votes: Vec::new(),
        state: pages::ReviewState::Open {
            nonce: progress.clone(),
            now_ms: now.millis(),
            stage_deadline_ms: ends_at.millis(),
            may: pages::May::Both,
            notice: notice.map(str::to_owned),
        },
        nudged: false,
        flagging: pages::Flagging::No,
    };
    pages::PracticeView {
        review,
        number: *number,
        of: CASES,
        is_own: *origin == Origin::Own,
        altered: case.altered.as_ref().map(|altered| pages::ChangeLine {
            key: altered.key.clone(),
            from: altered.from.clone(),
            to: altered.to.clone(),
            by: None,
        }),
    }
}
