//! `/v1/audit`, `/v1/log` and receipts: the trail, the transparency log over it, and what proves one outcome.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use placet_audit::{TileName, csv};
use placet_core::id::{ClientId, RequestId};
use placet_core::policy::ClientRole;
use placet_core::refusal::FieldError;
use placet_core::{Refusal, Timestamp};
use placet_gate::{Caller, Gate, Selection};

use super::json;
use crate::call::{Call, Endpoint, Name, NoQuery};
use crate::problem::Problem;
use crate::wire::ReceiptView;

/// The header that says where the next page begins; a page without it is the last.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-placet-next-cursor");

/// Entries on a page, if nobody says.
const PAGE: u32 = 1000;

/// Entries on a page at most: an answer of a Lambda is at most 6 MB.
const LARGEST_PAGE: u32 = 5000;

type Answer = Result<Response, Problem>;

/// `GET /v1/audit`.
pub(crate) struct ReadingTrail;

impl Endpoint for ReadingTrail {
    const QUERY: &'static [&'static str] =
        &["since", "until", "cursor", "format", "client", "rule", "reviewer", "limit"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Auditor)
    }
}

/// `GET /v1/log/horizon` and `/v1/log/tile/…`.
pub(crate) struct ReadingLog;

impl Endpoint for ReadingLog {
    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.must_be(ClientRole::Auditor)
    }
}

/// `GET /v1/requests/{request_id}/receipt`.
pub(crate) struct Proving;

impl Endpoint for Proving {
    const QUERY: &'static [&'static str] = &["client"];

    fn admit(caller: &Caller) -> Result<(), Refusal> {
        if caller.client.has(ClientRole::Auditor) { Ok(()) } else { caller.must_be(ClientRole::Requester) }
    }
}

/// The audit trail, the oldest entry first: for clients with the role `auditor`.
///
/// Lines of JSON hold an entry as it was stored, so that its hash can be computed from the line. In CSV nothing is a
/// formula. A page may be short though more follows: the header `X-Placet-Next-Cursor` says whether it does.
#[utoipa::path(get, path = "/v1/audit", tag = "audit",
    params(("since" = Option<String>, Query, description = "only entries recorded then or later: RFC 3339, or a date"),
        ("until" = Option<String>, Query, description = "only entries recorded before then: RFC 3339, or a date"),
        ("cursor" = Option<String>, Query, description = "`X-Placet-Next-Cursor` of the page before"),
        ("format" = Option<String>, Query, description = "`jsonl`, which is the default, or `csv`"),
        ("client" = Option<String>, Query, description = "only entries about this client's requests"),
        ("rule" = Option<String>, Query, description = "only entries about requests under this rule"),
        ("reviewer" = Option<String>, Query, description = "only this reviewer's votes, and approvals that name them"),
        ("limit" = Option<u32>, Query, description = "at most so many entries; 1000 if left out", minimum = 1, maximum = 5000)),
    responses((status = 200, description = "a page of it; `X-Placet-Next-Cursor` and `Link: rel=\"next\"` lead to the next",
        content((String = "application/jsonl"), (String = "text/csv")))))]
pub(crate) async fn trail(State(gate): State<Arc<Gate>>, call: Call<ReadingTrail>) -> Answer {
    let is_csv = match call.parameter("format")? {
        None | Some("jsonl") => false,
        Some("csv") => true,
        Some(_) => return Err(Refusal::field("format", "must be `jsonl` or `csv`").into()),
    };
    let from = match call.parameter("cursor")? {
        None => 0,
        Some(text) => Some(text)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                Refusal::field("cursor", "must be an `X-Placet-Next-Cursor` that this path returned")
            })?,
    };
    let text = |name: &str| Ok::<_, Refusal>(call.parameter(name)?.map(str::to_owned));
    let selection = Selection {
        since: time(call.parameter("since")?, "since")?,
        until: time(call.parameter("until")?, "until")?,
        client: text("client")?,
        rule: text("rule")?,
        reviewer: text("reviewer")?,
        from,
        limit: call.number("limit", 1, LARGEST_PAGE)?.unwrap_or(PAGE) as usize,
    };
    let page = gate.audit(&call.caller, &selection).await?;
    let mut body = String::new();
    // A heading on the first page alone: pages can be put behind each other.
    if is_csv && from == 0 {
        body.push_str(&csv::heading());
    }
    for entry in &page.entries {
        body.push_str(&if is_csv { csv::row(entry) } else { csv::json_line(entry) });
    }
    let kind = if is_csv { "text/csv; charset=utf-8" } else { "application/jsonl" };
    let mut response = private(kind, "no-store", body);
    if let Some(next) = page.next {
        let headers = response.headers_mut();
        headers.insert(NEXT_CURSOR, HeaderValue::from(next));
        let mut link = String::from("</v1/audit?");
        for (name, value) in call.query_but("cursor") {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let _ = write!(link, "{name}={value}&");
        }
        let _ = write!(link, "cursor={next}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            headers.insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// A time as people write it: RFC 3339, or a date, which begins at midnight UTC.
fn time(text: Option<&str>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let at = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
    at.map(Some).ok_or_else(|| {
        Refusal::InvalidRequest(vec![FieldError::new(
            name,
            "must be a time such as 2026-01-31T08:00:00Z, or a date such as 2026-01-31",
        )])
    })
}

/// The signed head of the transparency log, for anyone: a C2SP `tlog-checkpoint`.
#[utoipa::path(get, path = "/v1/log/checkpoint", tag = "audit", security(()),
    responses((status = 200, description = "a signed note", body = String, content_type = "text/plain")))]
pub(crate) async fn checkpoint(State(gate): State<Arc<Gate>>, _: NoQuery) -> Answer {
    Ok(private("text/plain; charset=utf-8", "no-store", gate.checkpoint().await?))
}

/// The public key of the transparency log, for anyone: a `vkey` of C2SP `signed-note`.
///
/// Whoever verifies should keep the one that they got first: a key that comes with what it signs proves only that both
/// are of one maker.
#[utoipa::path(get, path = "/v1/log/key", tag = "audit", security(()),
    responses((status = 200, description = "the key, on one line", body = String, content_type = "text/plain")))]
pub(crate) async fn key(State(gate): State<Arc<Gate>>, _: NoQuery) -> Answer {
    Ok(private("text/plain; charset=utf-8", "no-store", format!("{}\n", gate.log_key().await?)))
}

/// From where on the trail is whole: a signed note. Entries before it are past their retention; their hashes are not.
#[utoipa::path(get, path = "/v1/log/horizon", tag = "audit",
    responses((status = 200, description = "a signed note", body = String, content_type = "text/plain")))]
pub(crate) async fn horizon(State(gate): State<Arc<Gate>>, call: Call<ReadingLog>) -> Answer {
    Ok(private("text/plain; charset=utf-8", "no-store", gate.horizon(&call.caller).await?))
}

/// A tile of the transparency log, or a bundle of its entries, for auditors: C2SP `tlog-tiles`.
#[utoipa::path(get, path = "/v1/log/tile/{path}", tag = "audit",
    params(("path" = String, Path, description = "`<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`")),
    responses((status = 200, description = "hashes, or entries", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn tile(State(gate): State<Arc<Gate>>, Name(path): Name, call: Call<ReadingLog>) -> Answer {
    let name = TileName::parse(&path).ok_or(Refusal::NotFound)?;
    let tile = gate.log_tile(&call.caller, name).await?;
    // What a name stands for never changes.
    Ok(private("application/octet-stream", "private, max-age=31536000, immutable", tile))
}

/// What proves a request's outcome without a gate: its entries, their proof in the log, and for the asker the token.
#[utoipa::path(get, path = "/v1/requests/{request_id}/receipt", tag = "audit",
    params(("request_id" = String, Path, description = "the asking client's name for it"),
        ("client" = Option<String>, Query, description = "whose request an auditor means, where several clients use this `request_id`")),
    responses((status = 200, description = "the receipt", body = ReceiptView),
        (status = 404, description = "`not_found`; also where the request has not ended", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: the end is not in the log yet; see `Retry-After`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn receipt(State(gate): State<Arc<Gate>>, Name(name): Name, call: Call<Proving>) -> Answer {
    let client = match call.parameter("client")? {
        None => None,
        Some(text) => {
            Some(ClientId::parse(text).map_err(|error| Refusal::field("client", error.to_string()))?)
        }
    };
    let request_id = RequestId::parse(&name).map_err(|_| Refusal::NotFound)?;
    Ok(json(StatusCode::OK, &gate.receipt(&call.caller, &request_id, client.as_ref()).await?))
}

fn private(kind: &'static str, caching: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, body.into()).into_response()
}
