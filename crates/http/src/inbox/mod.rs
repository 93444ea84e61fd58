//! A reviewer's inbox: what waits, decisions in its rows, and news of it.

mod answer;
mod form;
pub(crate) mod news;
mod shown;

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use placet_core::Refusal;
use placet_core::policy::Decision;
use placet_gate::{Error, Gate, are_alike};

pub(crate) use self::answer::RowAnswers;
use self::form::{AwaySaid, Listed, Pressed, Resumed};
pub(crate) use self::news::News;
use self::shown::Shown;
pub(crate) use self::shown::path_prefix;
use crate::call::LinkText;
use crate::pages;
use crate::problem::Problem;
use crate::reviewer::{Form, choice, not_with_a_pause, page, refused, wants_json};
use crate::wire::{AwayForm, InboxForm, ResumeForm};

/// The largest form that is read, in bytes: a hundred rows and a reason.
const FORM_LIMIT: usize = 48 * 1024;

/// Somebody at an inbox.
pub(crate) struct Visit {
    gate: Arc<Gate>,
    news: News,
    link: String,
    headers: HeaderMap,
}

impl FromRequestParts<Arc<Gate>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<Gate>) -> Result<Self, Response> {
        let Ok(LinkText(link)) = LinkText::from_request_parts(parts, gate).await;
        let news = parts.extensions.get::<News>().cloned().unwrap_or_default();
        Ok(Self { gate: Arc::clone(gate), news, link, headers: parts.headers.clone() })
    }
}

/// Lists what waits for a reviewer, live.
///
/// Has an `ETag`: asked again with `If-None-Match`, it answers 304 while nothing has changed, which costs little.
#[utoipa::path(get, path = "/inbox/{link}", operation_id = "show_inbox", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    responses(
        (status = 200, description = "the inbox", content((String = "text/html"))),
        (status = 304, description = "nothing has changed since the `ETag` of `If-None-Match`"),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn show(visit: Visit) -> Response {
    // The version first: what changes between the two is shown once too often, and never missed.
    let version = match visit.gate.inbox_version(&visit.link).await {
        Ok(version) => version,
        Err(error) => return visit.refused(error),
    };
    let tag = format!("\"{version}\"");
    if knows(&visit.headers, &tag) {
        return tagged(StatusCode::NOT_MODIFIED.into_response(), &tag);
    }
    match visit.inbox_of(version).await {
        Ok(shown) => tagged(shown.page(StatusCode::OK), &tag),
        Err(error) => visit.refused(error),
    }
}

/// Takes a reviewer's decision on a row of their inbox, or on several rows that ask the very same.
///
/// Several need `confirmed=yes`; without it the answer asks, and nothing is recorded. Each row is its own vote.
///
/// With `?seen`, the inbox's script says that a person has touched it, with its `nonce` and the `approval_id` of each
/// listed request as `row`: nothing is decided, and the reviewer is not nudged about these by their next channel.
///
/// With `?pause`, a rejection also pauses the client that asks: for an hour, nothing new is taken from it.
#[utoipa::path(post, path = "/inbox/{link}", operation_id = "decide_in_inbox", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    request_body(content = InboxForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 204, description = "noted, with `?seen`"),
        (status = 200, description = "recorded, for one row at least; or the question whether all of them are meant. With `Accept: application/json`, what became of each row",
            content((String = "text/html"), (RowAnswers = "application/json"))),
        (status = 403, description = "`forbidden`: the asking client's owner does not approve", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 404, description = "`not_found`: nobody's link, or a row that is not of this inbox", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 409, description = "`already_decided`: every row had ended before", content((String = "text/html"), (RowAnswers = "application/json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the inbox again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 429, description = "`rate_limited`, with `?pause`: this reviewer has paused too often today; nothing was recorded", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn decide(
    visit: Visit,
    RawQuery(query): RawQuery,
    Form(body): Form<FORM_LIMIT>,
) -> Response {
    if query.as_deref() == Some("seen") {
        let Listed { nonce, approvals } = Listed::read(&body);
        return match visit.gate.opened_in_inbox(&visit.link, &nonce, &approvals).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => visit.refused(error),
        };
    }
    let pressed = match Pressed::read(&body) {
        Ok(pressed) => pressed,
        Err(refusal) => return visit.again(refusal).await,
    };
    let several = pressed.rows.len() > 1;
    let goes = match query.as_deref() {
        Some("pause") if pressed.decision == Decision::Approve => {
            return visit.again(not_with_a_pause()).await;
        }
        Some("pause") => pages::Goes::WithPause,
        _ => pages::Goes::Alone,
    };
    if several && !pressed.confirmed {
        return visit.confirm(&pressed, goes).await;
    }
    let decided = match goes {
        pages::Goes::WithPause => {
            visit.gate.reject_rows_and_pause(&visit.link, pressed.rows, pressed.reason).await
        }
        pages::Goes::Alone => {
            visit.gate.decide_rows(&visit.link, pressed.rows, pressed.decision, pressed.reason).await
        }
    };
    match decided {
        Ok(results) => visit.answer(results, pressed.decision, several).await,
        Err(Error::Refused(refusal @ (Refusal::InvalidRequest(_) | Refusal::RateLimited { .. }))) => {
            visit.again(refusal).await
        }
        Err(error) => visit.refused(error),
    }
}

/// Lifts the reviewer's own pause of a client before it ends by itself.
///
/// It is in the audit trail, on the chain `policy`. A pause that somebody else made stays.
#[utoipa::path(post, path = "/inbox/{link}/resume", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    request_body(content = ResumeForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "recorded, or there was none: the inbox", content((String = "text/html"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the inbox again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn resume(visit: Visit, Form(body): Form<FORM_LIMIT>) -> Response {
    let said = match Resumed::read(&body) {
        Ok(Resumed { nonce, client }) => visit.gate.resume_in_inbox(&visit.link, &nonce, &client).await,
        Err(refusal) => Err(refusal.into()),
    };
    visit.said(said).await
}

/// Says that the reviewer is away for a while, or back.
///
/// Who is away is not asked; a stand-in is, if the policy allows them. It is in the audit trail, on the chain `policy`.
#[utoipa::path(post, path = "/inbox/{link}/away", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    request_body(content = AwayForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "recorded: the inbox", content((String = "text/html"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the inbox again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 429, description = "`rate_limited`: said too often today", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn away(visit: Visit, Form(body): Form<FORM_LIMIT>) -> Response {
    let said = match AwaySaid::read(&body) {
        Ok(AwaySaid { nonce, whereabouts }) => {
            visit.gate.say_whereabouts(&visit.link, &nonce, whereabouts).await
        }
        Err(refusal) => Err(refusal.into()),
    };
    visit.said(said).await
}

impl Visit {
    /// What became of a form about the inbox itself.
    async fn said(&self, said: Result<(), Error>) -> Response {
        match said {
            Ok(()) => match self.inbox().await {
                Ok(shown) => shown.page(StatusCode::OK),
                Err(error) => self.refused(error),
            },
            Err(Error::Refused(refusal @ (Refusal::InvalidRequest(_) | Refusal::RateLimited { .. }))) => {
                self.again(refusal).await
            }
            Err(error) => self.refused(error),
        }
    }

    async fn inbox(&self) -> Result<Shown, Error> {
        let version = self.gate.inbox_version(&self.link).await?;
        self.inbox_of(version).await
    }

    async fn inbox_of(&self, version: String) -> Result<Shown, Error> {
        Shown::load(&self.gate, &self.link, &self.news, version).await
    }

    fn refused(&self, error: Error) -> Response {
        refused(error.into(), &self.headers)
    }

    /// Asks whether all of them are meant. Those that have ended meanwhile are left out.
    async fn confirm(&self, pressed: &Pressed, goes: pages::Goes) -> Response {
        let shown = match self.inbox().await {
            Ok(shown) => shown,
            Err(error) => return self.refused(error),
        };
        if wants_json(&self.headers) {
            let refusal = Refusal::field("confirmed", "must be `yes` where there are several rows");
            return Problem::from(refusal).into_response();
        }
        let chosen: Vec<pages::InboxRequest> = shown
            .view
            .groups
            .iter()
            .flat_map(|group| &group.all)
            .filter(|request| pressed.rows.iter().any(|row| row.link == request.link))
            .cloned()
            .collect();
        let items =
            || shown.inbox.items.iter().filter(|item| chosen.iter().any(|c| c.link == item.link.to_string()));
        let alike =
            items().next().is_some_and(|first| items().all(|item| are_alike(&first.request, &item.request)));
        let Some(first) = chosen.first().cloned().filter(|_| alike) else {
            let refusal = Refusal::field("row", "must ask the same as the others, and still wait");
            return self.again(refusal).await;
        };
        let group = pages::InboxGroup { first, all: chosen };
        let decision = choice(pressed.decision);
        let markup = pages::confirm_together(&shown.view, &group, decision, goes, pressed.reason.as_deref());
        inbox_page(StatusCode::OK, &markup)
    }

    /// Nothing was recorded; the inbox again, saying why.
    async fn again(&self, refusal: Refusal) -> Response {
        let problem = Problem::from(refusal.clone());
        let mut shown = match self.inbox().await {
            Ok(_) if wants_json(&self.headers) => return problem.into_response(),
            Ok(shown) => shown,
            Err(error) => return self.refused(error),
        };
        let why = match &refusal {
            Refusal::InvalidRequest(errors) => {
                errors.iter().map(|e| format!("{} {}", e.field, e.message)).collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        };
        shown.view.notice = Some(format!("Nothing was recorded: {why}."));
        shown.page(problem.status())
    }
}

fn inbox_page(status: StatusCode, markup: &maud::Markup) -> Response {
    let mut response = page(status, markup);
    let policy = HeaderValue::from_static(pages::inbox_content_security_policy());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether whoever asks has this version already (RFC 9110, section 13.1.2).
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_by_its_text() {
        let mut headers = HeaderMap::new();
        assert!(!knows(&headers, "\"a\""));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
        assert!(knows(&headers, "\"a\"") && !knows(&headers, "\"c\""));
    }
}
