//! Errors as `application/problem+json` (RFC 9457), with the contract's stable `code`.

#![expect(clippy::disallowed_methods, reason = "a problem gets a random name, which the log repeats")]

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
    /// Until when nothing new is taken from the client, where a reviewer has paused it (`forbidden`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    paused_until: Option<String>,
    /// Names this one occurrence, as the gate's log does (`unavailable`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "urn:uuid:0d4f0f5e-6d3c-4f0e-9a53-8b5e3a1c2d4f")]
    instance: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_seconds: Option<u32>,
    #[serde(skip)]
    #[schema(ignore)]
    challenge: Challenge,
    #[serde(skip)]
    #[schema(ignore)]
    connection: Connection,
}

/// Which credentials a 401 asks for (RFC 9110, section 11.6.1), and what was wrong with those that came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Challenge {
    /// Either kind; none came.
    Both,
    /// A bearer key (RFC 6750, section 3).
    Bearer {
        /// The error code of RFC 6750.
        error: Option<&'static str>,
    },
    /// A bearer key, where nothing else is taken.
    BearerAlone {
        /// The error code of RFC 6750.
        error: Option<&'static str>,
    },
    /// A signature.
    Signature {
        /// What was wrong: a code of the contract.
        error: Option<&'static str>,
    },
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Stays,
    Closes,
}

const BEARER: &str = r#"Bearer realm="placet""#;

/// No scheme of the registry: the parameters say what a client needs to know to sign.
const SIGNATURE: &str = r#"Placet-HMAC realm="placet", version="v1", algorithm="HMAC-SHA256", headers="X-Placet-Client X-Placet-Timestamp X-Signature""#;

impl Challenge {
    /// The value of `WWW-Authenticate`: the scheme that was tried comes first.
    fn header(self, detail: &str) -> HeaderValue {
        let with_error = |scheme: &str, error: Option<&str>| match error {
            // The values of RFC 6750 exclude what would have to be escaped.
            Some(error) => {
                let words: String = detail
                    .chars()
                    .map(|c| if matches!(c, '"' | '\\') || !(' '..='~').contains(&c) { '\'' } else { c })
                    .collect();
                format!(r#"{scheme}, error="{error}", error_description="{words}""#)
            }
            None => scheme.to_owned(),
        };
        let text = match self {
            Self::Both => format!("{BEARER}, {SIGNATURE}"),
            Self::Bearer { error } => format!("{}, {SIGNATURE}", with_error(BEARER, error)),
            Self::BearerAlone { error } => with_error(BEARER, error),
            Self::Signature { error } => format!("{}, {BEARER}", with_error(SIGNATURE, error)),
        };
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(BEARER))
    }
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
            paused_until: None,
            instance: None,
            retry_after_seconds: None,
            challenge: Challenge::Both,
            connection: Connection::Stays,
        }
    }

    /// The same, in words that fit this case better.
    #[must_use]
    pub(crate) fn explained(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same, asking for these credentials.
    #[must_use]
    pub(crate) fn challenging(mut self, challenge: Challenge) -> Self {
        self.challenge = challenge;
        self
    }

    /// The connection ends with this answer: what follows on it cannot be told from the rest of this request.
    #[must_use]
    fn closing(mut self) -> Self {
        self.connection = Connection::Closes;
        self
    }

    /// What came is no request of HTTP.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail).closing()
    }

    /// The gate is full, or about to end; nothing was done that a caller could not ask for again.
    pub fn busy(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).closing();
        Self { retry_after_seconds: Some(retry_after_seconds), ..problem }
    }

    /// The answer was not made in time; what was asked for may have been recorded.
    pub(crate) fn too_slow() -> Self {
        let detail =
            "the gate did not finish in time; what you asked for may be recorded, so look or ask again";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Self { retry_after_seconds: Some(1), ..problem }
    }

    /// A body with a content coding (RFC 9110, section 15.5.16).
    pub(crate) fn unsupported_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body has a `Content-Encoding`; send it as it is",
        )
        .closing()
    }

    /// A body that did not come, or not to its end.
    pub(crate) fn unread_body(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let late = error.downcast_ref::<std::io::Error>();
            if late.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
                let detail = "the body did not arrive in time";
                return Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail).closing();
            }
            cause = error.source();
        }
        Self::bad_request("the body cannot be read to its end")
    }

    /// Too many calls of this client wait already.
    pub(crate) fn too_many_waits() -> Self {
        let problem = Self::from(Refusal::RateLimited { retry_after_seconds: 1 });
        problem.explained(format!(
            "{} calls of this client wait already; let one of them end, or ask again without `wait_seconds`",
            crate::places::WAITS_PER_CLIENT
        ))
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
            Refusal::Forbidden(_) | Refusal::ClientPaused { .. } => StatusCode::FORBIDDEN,
            Refusal::NotFound | Refusal::NoReceipt => StatusCode::NOT_FOUND,
            Refusal::RequestIdConflict
            | Refusal::AlreadyDecided
            | Refusal::AlreadyRedeemed { .. }
            | Refusal::NotApproved
            | Refusal::PayloadMismatch
            | Refusal::TokenExpired => StatusCode::CONFLICT,
            Refusal::LinkExpired => StatusCode::GONE,
            Refusal::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::InvalidRequest(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::RateLimited { .. } | Refusal::TooManyPending { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NotSealed { .. } | Refusal::NoPolicy => StatusCode::SERVICE_UNAVAILABLE,
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
            Refusal::ClientPaused { until, .. } => problem.paused_until = Some(until.to_string()),
            Refusal::RateLimited { retry_after_seconds } | Refusal::NotSealed { retry_after_seconds } => {
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
        let instance = format!("urn:uuid:{}", random_uuid());
        tracing::error!(error = fault.chain(), problem.instance = instance, "a request could not be served");
        let problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the gate cannot do this at the moment; nothing was approved; try again",
        );
        Self { instance: Some(instance), ..problem }
    }
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> String {
    let mut bits = 0_u128;
    // Without random bits two occurrences share a name, which is all.
    for half in [getrandom::u64(), getrandom::u64()] {
        bits = bits << 64 | u128::from(half.unwrap_or_default());
    }
    let bits = bits & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
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
            headers.insert(header::WWW_AUTHENTICATE, self.challenge.header(&self.detail));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16() {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.connection == Connection::Closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_the_scheme_that_was_tried_first_and_stays_one_header() {
        let text = |challenge: Challenge| challenge.header("a \"b\" \u{e9}").to_str().unwrap().to_owned();
        let bearer = text(Challenge::Bearer { error: Some("invalid_token") });
        assert!(bearer.starts_with(
            r#"Bearer realm="placet", error="invalid_token", error_description="a 'b' '", Placet-HMAC realm="placet", "#
        ));
        let signature = text(Challenge::Signature { error: Some("clock_skew") });
        assert!(
            signature.starts_with(r#"Placet-HMAC realm="placet", "#)
                && signature.ends_with(r#", Bearer realm="placet""#)
        );
        assert!(!text(Challenge::Both).contains("error"));
    }

    #[test]
    fn an_occurrence_has_a_random_uuid_of_version_4() {
        let uuid = random_uuid();
        assert_eq!(uuid.len(), 36);
        assert!(uuid[14..].starts_with('4') && "89ab".contains(&uuid[19..20]), "{uuid}");
        assert_ne!(uuid, random_uuid());
    }
}
