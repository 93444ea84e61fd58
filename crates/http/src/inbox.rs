//! A reviewer's inbox: what waits, decisions in its rows, and news of it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body::Frame;
use placet_core::id::ReviewerId;
use placet_core::policy::{ApprovalTerms, Decision, Policy};
use placet_core::refusal::FieldError;
use placet_core::request::Request;
use placet_core::{Refusal, Timestamp};
use placet_gate::ports::Watch;
use placet_gate::{
    ApprovalView, Error, Gate, Inbox, InboxItem, LateDecision, Review, RowResult, UnverifiedRow, Whereabouts,
    are_alike,
};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::call::{LinkText, read_body, refuse_encoded};
use crate::client::json;
use crate::pages;
use crate::problem::Problem;
use crate::reviewer::{
    REASON_CHARS, choice, decider_name, display_name, page, refused, tidied, wants_json, without_secrets,
};
use crate::wire::{Approval, AwayForm, InboxForm};

/// The largest form that is read, in bytes: a hundred rows and a reason.
const FORM_LIMIT: usize = 48 * 1024;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// How many inboxes may be told of news at once; the others ask. Far fewer than the gate has connections.
const TOLD_AT_ONCE: usize = 256;

/// How many of one reviewer's.
const TOLD_OF_ONE: usize = 6;

/// How often an inbox that is told of nothing hears that the line still stands; and how often a link is looked at again.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The least time between two pieces of news: many changes at once are one.
const BREATH: Duration = Duration::from_millis(250);

/// Whether this gate can tell an open inbox of news by itself. A function that answers once cannot.
#[derive(Clone, Default)]
pub(crate) struct News {
    told: Option<Arc<Mutex<HashMap<String, usize>>>>,
}

impl News {
    /// News that are told.
    pub(crate) fn told() -> Self {
        Self { told: Some(Arc::default()) }
    }

    const fn are_told(&self) -> bool {
        self.told.is_some()
    }

    /// A place for one more open inbox of that reviewer; none if there are too many.
    fn place(&self, reviewer: &str) -> Option<Place> {
        let told = self.told.as_ref()?;
        let mut open = told.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(reviewer).copied().unwrap_or(0);
        if own >= TOLD_OF_ONE || open.values().sum::<usize>() >= TOLD_AT_ONCE {
            return None;
        }
        open.insert(reviewer.to_owned(), own + 1);
        Some(Place { told: Arc::clone(told), reviewer: reviewer.to_owned() })
    }
}

/// The place of one open inbox, given back when it is dropped.
struct Place {
    told: Arc<Mutex<HashMap<String, usize>>>,
    reviewer: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let left = open.get(&self.reviewer).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            open.remove(&self.reviewer);
        } else {
            open.insert(self.reviewer.clone(), left);
        }
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
pub(crate) async fn show(
    State(gate): State<Arc<Gate>>,
    Extension(news): Extension<News>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    // The version first: what changes between the two is shown once too often, and never missed.
    let version = match gate.inbox_version(&link).await {
        Ok(version) => version,
        Err(error) => return refused(error.into(), &headers),
    };
    let tag = format!("\"{version}\"");
    if knows(&headers, &tag) {
        return tagged(StatusCode::NOT_MODIFIED.into_response(), &tag);
    }
    match Shown::load(&gate, &link, &news, version).await {
        Ok(shown) => tagged(inbox_page(StatusCode::OK, &pages::inbox(&shown.view)), &tag),
        Err(error) => refused(error.into(), &headers),
    }
}

/// Takes a reviewer's decision on a row of their inbox, or on several rows that ask the very same.
///
/// Several need `confirmed=yes`; without it the answer asks, and nothing is recorded. Each row is its own vote.
#[utoipa::path(post, path = "/inbox/{link}", operation_id = "decide_in_inbox", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    request_body(content = InboxForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "recorded, for one row at least; or the question whether all of them are meant. With `Accept: application/json`, what became of each row",
            content((String = "text/html"), (RowAnswers = "application/json"))),
        (status = 403, description = "`forbidden`: the asking client's owner does not approve", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 404, description = "`not_found`: nobody's link, or a row that is not of this inbox", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 409, description = "`already_decided`: every row had ended before", content((String = "text/html"), (RowAnswers = "application/json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the inbox again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn decide(
    State(gate): State<Arc<Gate>>,
    Extension(news): Extension<News>,
    LinkText(link): LinkText,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(problem) = refuse_encoded(&headers) {
        return refused(problem, &headers);
    }
    let form = match read_body(body, FORM_LIMIT).await {
        Ok(body) => Form::read(&body),
        Err(problem) => return refused(problem, &headers),
    };
    let form = match form {
        Ok(form) => form,
        Err(refusal) => return again(&gate, &link, &news, &headers, refusal).await,
    };
    if form.rows.len() > 1 && !form.confirmed {
        return confirm(&gate, &link, &news, &headers, &form).await;
    }
    let several = form.rows.len() > 1;
    let results = match gate.decide_rows(&link, form.rows, form.decision, form.reason).await {
        Ok(results) => results,
        Err(Error::Refused(refusal @ Refusal::InvalidRequest(_))) => {
            return again(&gate, &link, &news, &headers, refusal).await;
        }
        Err(error) => return refused(error.into(), &headers),
    };
    answer(&gate, &link, &news, &headers, results, form.decision, several).await
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
pub(crate) async fn away(
    State(gate): State<Arc<Gate>>,
    Extension(news): Extension<News>,
    LinkText(link): LinkText,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(problem) = refuse_encoded(&headers) {
        return refused(problem, &headers);
    }
    let fields = match read_body(body, FORM_LIMIT).await {
        Ok(body) => read_away(&body),
        Err(problem) => return refused(problem, &headers),
    };
    let said = match fields {
        Ok((nonce, whereabouts)) => gate.say_whereabouts(&link, &nonce, whereabouts).await,
        Err(refusal) => Err(refusal.into()),
    };
    match said {
        Ok(()) => match Shown::load_newest(&gate, &link, &news).await {
            Ok(shown) => inbox_page(StatusCode::OK, &pages::inbox(&shown.view)),
            Err(error) => refused(error.into(), &headers),
        },
        Err(Error::Refused(refusal @ (Refusal::InvalidRequest(_) | Refusal::RateLimited { .. }))) => {
            again(&gate, &link, &news, &headers, refusal).await
        }
        Err(error) => refused(error.into(), &headers),
    }
}

fn read_away(body: &[u8]) -> Result<(String, Whereabouts), Refusal> {
    let (mut nonce, mut hours, mut backup) = (String::new(), None, None);
    for (key, value) in form_urlencoded::parse(body) {
        match key.as_ref() {
            "nonce" => nonce = value.into_owned(),
            "hours" => hours = value.parse::<u32>().ok(),
            "backup" if !value.is_empty() => {
                let id = ReviewerId::parse(&value)
                    .map_err(|_| Refusal::field("backup", "must be somebody whom the policy allows"))?;
                backup = Some(id);
            }
            _ => {}
        }
    }
    let whereabouts = match hours {
        None => return Err(Refusal::field("hours", "must be a whole number")),
        Some(0) => Whereabouts::Back,
        Some(hours) => Whereabouts::Away { for_ms: i64::from(hours) * HOUR_MS, backup },
    };
    Ok((nonce, whereabouts))
}

/// Tells an open inbox of news: a stream of server-sent events.
///
/// An event `changed` says the inbox's new `ETag`; then it is asked for again. Where many listen already, or where this
/// gate cannot tell, the answer is 204, and the page asks now and then instead.
#[utoipa::path(get, path = "/inbox/{link}/events", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    responses(
        (status = 200, description = "the stream", content((String = "text/event-stream"))),
        (status = 204, description = "no news are told here: ask"),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn events(
    State(gate): State<Arc<Gate>>,
    Extension(news): Extension<News>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    // The watch is older than every version that is compared, so no change falls between the two.
    let watch = gate.watch_pending();
    let version = match gate.inbox_version(&link).await {
        Ok(version) => version,
        Err(error) => return refused(error.into(), &headers),
    };
    let owner = match gate.inbox_reviewer(&link).await {
        Ok(owner) => owner,
        Err(error) => return refused(error.into(), &headers),
    };
    let Some(place) = news.place(owner.as_str()) else { return StatusCode::NO_CONTENT.into_response() };
    let (lines, stream) = mpsc::channel(1);
    tokio::spawn(tell(gate, link, version, watch, lines, place));
    let mut response = Body::new(EventStream(stream)).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Proxies that gather an answer before they hand it on would hold every piece of news back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Tells one open inbox of news until it is closed, or its link is nobody's any more.
async fn tell(
    gate: Arc<Gate>,
    link: String,
    mut version: String,
    mut watch: Box<dyn Watch>,
    pieces: mpsc::Sender<Bytes>,
    _place: Place,
) {
    let mut piece = format!("retry: 3000\nevent: changed\ndata: {version}\n\n");
    loop {
        if pieces.send(Bytes::from(piece)).await.is_err() {
            return;
        }
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(heartbeat);
        piece = loop {
            let is_beat = tokio::select! {
                () = pieces.closed() => return,
                () = watch.changed() => false,
                () = &mut heartbeat => true,
            };
            // Nobody decides by it, but a link that has been voided hears nothing more.
            let Ok(now) = gate.inbox_version(&link).await else { return };
            if now != version {
                version = now;
                break format!("event: changed\ndata: {version}\n\n");
            }
            if is_beat {
                break ":\n\n".to_owned();
            }
            tokio::time::sleep(BREATH).await;
        };
        tokio::time::sleep(BREATH).await;
    }
}

/// A body that is sent as it comes.
struct EventStream(mpsc::Receiver<Bytes>);

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

/// An inbox as it is shown.
struct Shown {
    inbox: Inbox,
    view: pages::Inbox,
}

impl Shown {
    async fn load(gate: &Gate, link: &str, news: &News, version: String) -> Result<Self, Error> {
        let inbox = gate.inbox(link).await?;
        let prefix = path_prefix(&gate.base_url(&inbox.policy));
        let action = format!("{prefix}/inbox/{link}");
        let mut groups: Vec<pages::InboxGroup> = Vec::new();
        let mut heads: Vec<&InboxItem> = Vec::new();
        for item in &inbox.items {
            let request = inbox_request(item, &inbox.policy, &prefix);
            let alike = heads.iter().position(|head| {
                are_alike(&head.request, &item.request)
                    && head.voted == item.voted
                    && head.may_approve == item.may_approve
            });
            if let Some(group) = alike.and_then(|at| groups.get_mut(at)) {
                group.all.push(request);
            } else {
                groups.push(pages::InboxGroup { first: request.clone(), all: vec![request] });
                heads.push(item);
            }
        }
        let waiting = inbox.items.iter().filter(|item| item.voted.is_none()).count() + inbox.more;
        let away = away_view(&inbox, gate.now());
        let view = pages::Inbox {
            away,
            nonce: inbox.nonce.clone(),
            reviewer_name: display_name(&inbox.policy, inbox.reviewer.as_str()),
            now_ms: gate.now().millis(),
            groups,
            waiting,
            more: inbox.more,
            lately: inbox.lately.iter().map(|late| late_row(late, &prefix)).collect(),
            said: Vec::new(),
            notice: None,
            version,
            events: news.are_told().then(|| format!("{action}/events")),
            manifest: format!("{action}/app.webmanifest"),
            action,
            prefix,
            push: inbox.push.as_ref().map(|switch| pages::Push {
                key: switch.public_key.clone(),
                devices: switch.devices.clone(),
            }),
        };
        Ok(Self { inbox, view })
    }

    async fn load_newest(gate: &Gate, link: &str, news: &News) -> Result<Self, Error> {
        let version = gate.inbox_version(link).await?;
        Self::load(gate, link, news, version).await
    }
}

/// Where the reviewer is, and who may stand in for them.
fn away_view(inbox: &Inbox, now: Timestamp) -> pages::Away {
    let policy = &inbox.policy;
    let Some(person) = policy.reviewer(&inbox.reviewer) else { return pages::Away::default() };
    let own = policy.own_absence(&inbox.reviewer, now);
    pages::Away {
        until_ms: own.map(|own| own.until.millis()),
        instead: own.and_then(|own| Some(display_name(policy, own.backup.as_ref()?.as_str()))),
        by_file: person.is_away_by_file(now),
        backups: policy
            .backups_of(person)
            .into_iter()
            .map(|other| (other.id.to_string(), other.name.clone()))
            .collect(),
    }
}

/// The path before the gate's own paths, as browsers see it: a proxy may have put the gate below one.
pub(crate) fn path_prefix(base_url: &str) -> String {
    let after_host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    after_host
        .split_once('/')
        .map_or_else(String::new, |(_, path)| format!("/{}", path.trim_end_matches('/')))
}

fn inbox_request(item: &InboxItem, policy: &Policy, prefix: &str) -> pages::InboxRequest {
    let InboxItem { request, link, nonce, may_approve, voted } = item;
    let asked = request.asked();
    pages::InboxRequest {
        id: asked.approval_id.to_string(),
        version: request.version(),
        client: asked.client.to_string(),
        request_id: asked.request_id.to_string(),
        action: asked.action.clone(),
        summary: asked.shown_summary(),
        title: asked.title_of(request.state().payload(asked)),
        headline: headline(request),
        payload: asked.shown(request.state().payload(asked)),
        needs_page: asked.terms.as_ref().is_some_and(ApprovalTerms::needs_page),
        urgent: asked.terms.as_ref().is_some_and(|terms| terms.urgent),
        link: link.to_string(),
        nonce: nonce.clone(),
        url: format!("{prefix}/r/{link}"),
        created_at_ms: asked.created_at.millis(),
        stage_deadline_ms: request.pending().map_or(0, |pending| pending.closes_at.millis()),
        approvals_needed: asked.approvals_needed(),
        approvals: request.approvals_counted(policy),
        may: if *may_approve { pages::May::Both } else { pages::May::RejectOnly },
        voted: voted.map(choice),
    }
}

fn late_row(late: &LateDecision, prefix: &str) -> pages::LateRow {
    pages::LateRow {
        client: late.request.asked().client.to_string(),
        headline: headline(&late.request),
        url: format!("{prefix}/r/{}", late.link),
        choice: choice(late.decision),
        at_ms: late.voted_at.millis(),
        status: late.request.status(),
    }
}

fn headline(request: &Request) -> String {
    let asked = request.asked();
    asked.title_of(request.state().payload(asked)).on_page()
}

/// A form of the inbox.
struct Form {
    rows: Vec<UnverifiedRow>,
    decision: Decision,
    reason: Option<String>,
    confirmed: bool,
}

impl Form {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut rows = Vec::new();
        let (mut decision, mut why, mut reason, mut confirmed) = (None, None, None, None);
        let mut errors = Vec::new();
        for (key, value) in form_urlencoded::parse(body) {
            let slot = match key.as_ref() {
                "row" => {
                    let (link, nonce) = value.split_once('~').unwrap_or((&value, ""));
                    rows.push(UnverifiedRow { link: link.to_owned(), nonce: nonce.to_owned() });
                    continue;
                }
                "decision" => &mut decision,
                "why" => &mut why,
                "reason" => &mut reason,
                "confirmed" => &mut confirmed,
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
        if rows.is_empty() {
            errors.push(FieldError::new("row", "must be given at least once"));
        }
        // What was tapped explains a rejection; it is no word for an approval that was pressed instead.
        let why = tidied(why).filter(|_| decision == Some(Decision::Reject));
        let reason = match (why, tidied(reason)) {
            (Some(why), Some(words)) => Some(format!("{why}: {words}")),
            (why, words) => why.or(words),
        };
        if reason.as_ref().is_some_and(|text| text.chars().count() > REASON_CHARS) {
            errors.push(FieldError::new("reason", "must have at most 500 characters"));
        }
        match decision {
            Some(decision) if errors.is_empty() => {
                Ok(Self { rows, decision, reason, confirmed: confirmed.as_deref() == Some("yes") })
            }
            _ => Err(Refusal::InvalidRequest(errors)),
        }
    }
}

/// Asks whether all of them are meant. Those that have ended meanwhile are left out.
async fn confirm(gate: &Gate, link: &str, news: &News, headers: &HeaderMap, form: &Form) -> Response {
    let shown = match Shown::load_newest(gate, link, news).await {
        Ok(shown) => shown,
        Err(error) => return refused(error.into(), headers),
    };
    if wants_json(headers) {
        let refusal = Refusal::field("confirmed", "must be `yes` where there are several rows");
        return Problem::from(refusal).into_response();
    }
    let chosen: Vec<pages::InboxRequest> = shown
        .view
        .groups
        .iter()
        .flat_map(|group| &group.all)
        .filter(|request| form.rows.iter().any(|row| row.link == request.link))
        .cloned()
        .collect();
    let items =
        || shown.inbox.items.iter().filter(|item| chosen.iter().any(|c| c.link == item.link.to_string()));
    let alike =
        items().next().is_some_and(|first| items().all(|item| are_alike(&first.request, &item.request)));
    let Some(first) = chosen.first().cloned().filter(|_| alike) else {
        let refusal = Refusal::field("row", "must ask the same as the others, and still wait");
        return again(gate, link, news, headers, refusal).await;
    };
    let group = pages::InboxGroup { first, all: chosen };
    let markup = pages::confirm_together(&shown.view, &group, choice(form.decision), form.reason.as_deref());
    inbox_page(StatusCode::OK, &markup)
}

/// What became of each row.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RowAnswers {
    /// In the order of the form.
    rows: Vec<RowAnswer>,
}

/// What became of one row.
#[derive(Serialize, utoipa::ToSchema)]
struct RowAnswer {
    /// Whether the reviewer's vote is recorded.
    recorded: bool,
    /// The approval as it stands now; absent where the row could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Approval>,
    /// Why it is not recorded: a code, such as `already_decided`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

async fn answer(
    gate: &Gate,
    link: &str,
    news: &News,
    headers: &HeaderMap,
    results: Vec<RowResult>,
    pressed: Decision,
    several: bool,
) -> Response {
    let status = status_of(&results);
    let policy = match gate.policy().await {
        Ok(policy) => policy,
        Err(error) => return refused(error.into(), headers),
    };
    if wants_json(headers) {
        if !several
            && let [RowResult { outcome: Err(Error::Refused(_) | Error::Fault(_)), .. }] = &results[..]
        {
            let error = results.into_iter().find_map(|row| row.outcome.err());
            return error.map_or_else(|| Refusal::NotFound.into(), Problem::from).into_response();
        }
        let base_url = gate.base_url(&policy);
        let rows = results.iter().map(|row| row_answer(row, &base_url)).collect();
        return json(status, &RowAnswers { rows });
    }
    let mut shown = match Shown::load_newest(gate, link, news).await {
        Ok(shown) => shown,
        Err(error) => return refused(error.into(), headers),
    };
    for row in &results {
        let said = said_row(gate, &policy, row, pressed, &shown.view.prefix).await;
        shown.view.said.push(said);
    }
    inbox_page(status, &pages::inbox(&shown.view))
}

/// Recorded, if one is; else what kept all of them from it.
fn status_of(results: &[RowResult]) -> StatusCode {
    let mut worst = None;
    for row in results {
        match &row.outcome {
            Ok(_) => return StatusCode::OK,
            Err(Error::Ended(_)) => worst = worst.or(Some(StatusCode::CONFLICT)),
            Err(Error::Refused(refusal)) => {
                worst = worst.or_else(|| Some(Problem::from(refusal.clone()).status()));
            }
            Err(Error::Fault(_)) => worst = Some(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
    worst.unwrap_or(StatusCode::OK)
}

fn row_answer(row: &RowResult, base_url: &str) -> RowAnswer {
    match &row.outcome {
        Ok(review) => RowAnswer {
            recorded: true,
            approval: Some(without_secrets(
                Approval::of(&ApprovalView::foreseen(&review.request, base_url)),
                review.request.asked(),
                review.request.state(),
            )),
            code: None,
        },
        Err(Error::Ended(request)) => RowAnswer {
            recorded: false,
            approval: Some(without_secrets(
                Approval::of(&ApprovalView::of(request, None, base_url)),
                request.asked(),
                request.state(),
            )),
            code: Some(Refusal::AlreadyDecided.code().to_owned()),
        },
        Err(Error::Refused(refusal)) => {
            RowAnswer { recorded: false, approval: None, code: Some(refusal.code().to_owned()) }
        }
        Err(Error::Fault(_)) => {
            RowAnswer { recorded: false, approval: None, code: Some("unavailable".to_owned()) }
        }
    }
}

async fn said_row(
    gate: &Gate,
    policy: &Policy,
    row: &RowResult,
    pressed: Decision,
    prefix: &str,
) -> pages::SaidRow {
    let url = format!("{prefix}/r/{}", row.link);
    let of = |request: &Request, said| pages::SaidRow {
        headline: headline(request),
        request_id: request.asked().request_id.to_string(),
        url: url.clone(),
        said,
    };
    match &row.outcome {
        Ok(review) => said_recorded(review, pressed, url),
        Err(Error::Ended(request)) => {
            let outcome = request.outcome();
            let by: Vec<String> = outcome
                .iter()
                .flat_map(|outcome| &outcome.decided_by)
                .map(|decider| decider_name(policy, decider))
                .collect();
            of(request, pages::Said::Ended { status: request.status(), by: by.join(" and ") })
        }
        Err(error) => {
            let why = match error {
                Error::Refused(Refusal::InvalidRequest(_)) => {
                    "the page was too old; please press again".to_owned()
                }
                Error::Refused(Refusal::LinkExpired) => {
                    "your time to answer has passed, or others are asked now".to_owned()
                }
                Error::Refused(refusal) => refusal.to_string(),
                Error::Ended(_) | Error::Fault(_) => "the gate cannot do this at the moment".to_owned(),
            };
            let said = pages::Said::Refused(why);
            match gate.review(&row.link).await {
                Ok(review) => pages::SaidRow { said, ..said_recorded(&review, pressed, url) },
                Err(_) => {
                    pages::SaidRow { headline: "a request".into(), request_id: String::new(), url, said }
                }
            }
        }
    }
}

fn said_recorded(review: &Review, pressed: Decision, url: String) -> pages::SaidRow {
    let asked = review.request.asked();
    let ended = review.request.state().outcome().is_some();
    pages::SaidRow {
        headline: asked.title_of(review.request.state().payload(asked)).on_page(),
        request_id: asked.request_id.to_string(),
        url,
        said: if ended { pages::Said::Recorded(choice(pressed)) } else { pages::Said::Waiting },
    }
}

/// Nothing was recorded; the inbox again, saying why.
async fn again(gate: &Gate, link: &str, news: &News, headers: &HeaderMap, refusal: Refusal) -> Response {
    let problem = Problem::from(refusal.clone());
    let mut shown = match Shown::load_newest(gate, link, news).await {
        Ok(_) if wants_json(headers) => return problem.into_response(),
        Ok(shown) => shown,
        Err(error) => return refused(error.into(), headers),
    };
    let why = match &refusal {
        Refusal::InvalidRequest(errors) => {
            errors.iter().map(|e| format!("{} {}", e.field, e.message)).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    };
    shown.view.notice = Some(format!("Nothing was recorded: {why}."));
    inbox_page(problem.status(), &pages::inbox(&shown.view))
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
    fn a_reviewer_and_all_of_them_have_so_many_places() {
        let news = News::told();
        let mut own: Vec<_> = (0..TOLD_OF_ONE).map(|_| news.place("bob").unwrap()).collect();
        assert!(news.place("bob").is_none());
        let others: Vec<_> =
            (0..TOLD_AT_ONCE - TOLD_OF_ONE).map(|n| news.place(&format!("r{n}")).unwrap()).collect();
        own.pop();
        let again = news.place("bob");
        assert!(again.is_some() && news.place("carol").is_none());
        drop((own, others, again));
        assert!(news.told.as_ref().unwrap().lock().unwrap().is_empty());
        assert!(News::default().place("bob").is_none());
    }

    #[test]
    fn a_gate_below_a_path_says_so() {
        for (base, prefix) in [
            ("https://gate.example.com", ""),
            ("https://example.com/gate", "/gate"),
            ("http://127.0.0.1:8484/a/b/", "/a/b"),
        ] {
            assert_eq!(path_prefix(base), prefix);
        }
    }

    #[test]
    fn a_tag_is_known_by_its_text() {
        let mut headers = HeaderMap::new();
        assert!(!knows(&headers, "\"a\""));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
        assert!(knows(&headers, "\"a\"") && !knows(&headers, "\"c\""));
    }

    #[test]
    fn a_form_says_what_is_wrong_with_it() {
        let fields = |body: &str| match Form::read(body.as_bytes()) {
            Err(Refusal::InvalidRequest(errors)) => {
                errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>().join(",")
            }
            Err(other) => other.to_string(),
            Ok(form) => format!("{} {:?} {}", form.rows.len(), form.reason, form.confirmed),
        };
        assert_eq!(fields(""), "decision,row");
        assert_eq!(fields("decision=maybe&row=a~b"), "decision");
        assert_eq!(fields("decision=approve&decision=reject&row=a~b"), "decision");
        assert_eq!(fields(&format!("decision=approve&row=a~b&reason={}", "x".repeat(501))), "reason");
        assert_eq!(fields("decision=approve&row=a~b&row=c&confirmed=yes"), "2 None true");
        assert_eq!(
            fields("decision=reject&row=a&why=Not+expected&reason=+no%0D%0Aidea+"),
            "1 Some(\"Not expected: no\\nidea\") false"
        );
        assert_eq!(fields("decision=approve&row=a&why=Not+expected"), "1 None false");
    }
}
