//! The report's page, behind a link of the team's, and its form.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use placet_core::Refusal;
use placet_core::id::{ClientId, RequestId};
use placet_gate::{Error, Gate};

use crate::call::{LinkText, form_value};
use crate::pages;
use crate::problem::Problem;
use crate::reviewer::{Form, page, refused};
use crate::wire::FlagForm;

/// The largest form that is read, in bytes.
const FORM_LIMIT: usize = 4 * 1024;

/// Shows the numbers of the seven days that the link is of. Changes nothing, on `HEAD` as on `GET`.
#[utoipa::path(get, path = "/report/{link}", operation_id = "show_report", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the team's link to one week's report")),
    responses(
        (status = 200, description = "the report", content((String = "text/html"))),
        (status = 404, description = "`not_found`: no link of this gate's", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn show(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    shown(&gate, &link, &headers, StatusCode::OK, None).await
}

/// Takes the page's word that an approval was a mistake, and shows the page again.
#[utoipa::path(post, path = "/report/{link}", operation_id = "flag_on_report", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the team's link to one week's report")),
    request_body(content = FlagForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "flagged: the page again", content((String = "text/html"))),
        (status = 404, description = "`not_found`: no link of this gate's, or no such request", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 409, description = "`not_approved`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 413, description = "`payload_too_large`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 422, description = "`invalid_request`: nothing was recorded; the page again", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn flag(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
    Form(body): Form<FORM_LIMIT>,
) -> Response {
    let value = |name: &str| form_value(&body, name).unwrap_or_default();
    let (client, request_id) = (ClientId::parse(&value("client")), RequestId::parse(&value("flag")));
    let (Ok(client), Ok(request_id)) = (client, request_id) else {
        let notice = "That did not arrive as it should, so nothing was recorded.";
        return shown(&gate, &link, &headers, StatusCode::UNPROCESSABLE_ENTITY, Some(notice)).await;
    };
    match gate.flag_in_report(&link, &value("nonce"), &client, &request_id).await {
        Ok(()) => {
            let notice =
                format!("Recorded: approving {request_id} was a mistake. The outcome itself stands.");
            shown(&gate, &link, &headers, StatusCode::OK, Some(&notice)).await
        }
        Err(Error::Refused(Refusal::InvalidRequest(_))) => {
            let notice = "This page was too old, so nothing was recorded. Please press again.";
            shown(&gate, &link, &headers, StatusCode::UNPROCESSABLE_ENTITY, Some(notice)).await
        }
        Err(error) => refused(error.into(), &headers),
    }
}

async fn shown(
    gate: &Gate,
    link: &str,
    headers: &HeaderMap,
    status: StatusCode,
    notice: Option<&str>,
) -> Response {
    let linked = match gate.linked_report(link).await {
        Ok(linked) => linked,
        Err(error) => return refused(Problem::from(error), headers),
    };
    let view = pages::ReportView { report: &linked.report, nonce: Some(&linked.nonce), notice };
    let mut response = page(status, &pages::report(&view));
    let policy = HeaderValue::from_static(pages::report_content_security_policy());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// The nonce of a form that says that an approval was a mistake, if it is such a form.
pub(crate) fn flag_of(body: &[u8]) -> Option<String> {
    let value = |name: &str| form_value(body, name);
    (value("flag")? == "mistake" && value("decision").is_none()).then(|| value("nonce").unwrap_or_default())
}
