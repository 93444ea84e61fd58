//! Errors as `application/problem+json` (RFC 9457), with the contract's stable `code`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use placet_core::Refusal;
use placet_core::refusal::FieldError;
use placet_gate::{Error, Fault};
use serde::Serialize;
use utoipa::ToSchema;

use crate::wire::Approval;

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The HTTP status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// One sentence for a person.
    detail: String,
    /// Stable name of the problem, for programs.
    #[schema(example = "invalid_request")]
    code: &'static str,
    /// Every field that is not as it must be (`invalid_request`).
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<BadField>>,
    /// The recorded outcome (`already_decided`).
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Box<Approval>>,
    /// Who redeemed the token (`already_redeemed`).
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_by: Option<String>,
    /// When the token was redeemed (`already_redeemed`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    redeemed_at: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_seconds: Option<u32>,
}

/// One field that is not as it must be.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BadField {
    /// Where, such as `payload.items[2].price`; `body` for the whole.
    field: String,
    /// What it must be.
    message: String,
}

impl From<FieldError> for BadField {
    fn from(error: FieldError) -> Self {
        Self { field: error.field, message: error.message }
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            errors: None,
            approval: None,
            redeemed_by: None,
            redeemed_at: None,
            retry_after_seconds: None,
        }
    }

    /// It has ended; with how.
    pub(crate) fn already_decided(approval: Approval) -> Self {
        let detail = format!("the request has already ended: {}", approval.status);
        Self {
            approval: Some(Box::new(approval)),
            ..Self::new(StatusCode::CONFLICT, Refusal::AlreadyDecided.code(), detail)
        }
    }

    /// The path exists, but not for this method.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not take this method; see `Allow`",
        )
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// One sentence for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::InvalidSignature | Refusal::UnknownClient | Refusal::ClockSkew { .. } => {
                StatusCode::UNAUTHORIZED
            }
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::RequestIdConflict
            | Refusal::AlreadyDecided
            | Refusal::AlreadyRedeemed { .. }
            | Refusal::NotApproved
            | Refusal::PayloadMismatch
            | Refusal::TokenExpired => StatusCode::CONFLICT,
            Refusal::LinkExpired => StatusCode::GONE,
            Refusal::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::InvalidRequest(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NoPolicy => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut problem = Self::new(status, refusal.code(), refusal.to_string());
        match refusal {
            Refusal::InvalidRequest(errors) => {
                if let [only] = errors.as_slice() {
                    problem.detail = format!("`{}` {}", only.field, only.message);
                }
                problem.errors = Some(errors.into_iter().map(BadField::from).collect());
            }
            Refusal::AlreadyRedeemed { redeemed_by, redeemed_at } => {
                problem.redeemed_by = Some(redeemed_by);
                problem.redeemed_at = Some(redeemed_at.to_string());
            }
            Refusal::RateLimited { retry_after_seconds } => {
                problem.retry_after_seconds = Some(retry_after_seconds);
            }
            _ => {}
        }
        problem
    }
}

impl From<Fault> for Problem {
    /// Logs the cause, once; the caller hears constant words.
    fn from(fault: Fault) -> Self {
        tracing::error!(error = fault.chain(), "a request could not be served");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the gate cannot do this at the moment; nothing was approved; try again",
        )
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Ended(_) => Refusal::AlreadyDecided.into(),
            Error::Fault(fault) => fault.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Placet-HMAC, Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
