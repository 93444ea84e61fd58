//! What became of the rows that were decided, for the page and for programs.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use placet_core::Refusal;
use placet_core::policy::{Decision, Policy};
use placet_core::request::Request;
use placet_gate::{ApprovalView, Error, Gate, Review, RowResult};
use serde::Serialize;

use super::Visit;
use super::shown::headline;
use crate::client::json;
use crate::pages;
use crate::problem::Problem;
use crate::reviewer::{choice, decider_name, wants_json, without_secrets};
use crate::wire::Approval;

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

impl Visit {
    /// Says what became of the rows.
    pub(super) async fn answer(&self, results: Vec<RowResult>, pressed: Decision, several: bool) -> Response {
        let status = status_of(&results);
        let policy = match self.gate.policy().await {
            Ok(policy) => policy,
            Err(error) => return self.refused(error),
        };
        if wants_json(&self.headers) {
            if !several
                && let [RowResult { outcome: Err(Error::Refused(_) | Error::Fault(_)), .. }] = &results[..]
            {
                let error = results.into_iter().find_map(|row| row.outcome.err());
                return error.map_or_else(|| Refusal::NotFound.into(), Problem::from).into_response();
            }
            let base_url = self.gate.base_url(&policy);
            let rows = results.iter().map(|row| row_answer(row, &base_url)).collect();
            return json(status, &RowAnswers { rows });
        }
        let mut shown = match self.inbox().await {
            Ok(shown) => shown,
            Err(error) => return self.refused(error),
        };
        for row in &results {
            let said = said_row(&self.gate, &policy, row, pressed, &shown.view.prefix).await;
            shown.view.said.push(said);
        }
        shown.page(status)
    }
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
