//! One call of a client: who it is, what it sent.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use placet_core::Refusal;
use placet_core::link::unglued;
use placet_core::refusal::FieldError;
use placet_gate::{Caller, Credentials, Gate};

use crate::problem::Problem;

/// The largest body that is read, in bytes: a full payload with every character escaped, and the rest.
const BODY_LIMIT: usize = 512 * 1024;

/// A call by a client that has proved who it is.
pub(crate) struct Call {
    /// Who.
    pub(crate) caller: Caller,
    /// The raw body.
    pub(crate) body: Bytes,
    query: Vec<(String, String)>,
}

impl FromRequest<Arc<Gate>> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, gate: &Arc<Gate>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read_body(body, BODY_LIMIT).await?;
        let path_and_query = parts.uri.path_and_query().map_or("/", |text| text.as_str());
        let credentials = credentials(&parts.headers, parts.method.as_str(), path_and_query, &body);
        let caller = gate.authenticate(credentials).await?;
        let query =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Ok(Self { caller, body, query })
    }
}

impl Call {
    /// A query parameter. Given twice, it is refused: two readers could take different ones.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Refusal::field(name, "must be given once"));
        }
        Ok(value)
    }

    /// A whole number in the query.
    pub(crate) fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.parameter(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            Refusal::InvalidRequest(vec![FieldError::new(
                name,
                format!("must be a whole number from {least} to {most}"),
            )])
        })
    }
}

/// Reads a body up to a limit, in bytes.
pub(crate) async fn read_body(body: Body, limit_bytes: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, limit_bytes).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refusal::PayloadTooLarge { what: "body", limit_bytes }.into())
        }
        Err(_) => Err(Refusal::field("body", "was not sent to its end").into()),
    }
}

fn credentials<'a>(
    headers: &'a HeaderMap,
    method: &'a str,
    path_and_query: &'a str,
    body: &'a [u8],
) -> Credentials<'a> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let (Some(client), Some(timestamp), Some(signature)) =
        (text("x-placet-client"), text("x-placet-timestamp"), text("x-signature"))
    {
        return Credentials::Signature { client, timestamp, signature, method, path_and_query, body };
    }
    let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    bearer.map_or(Credentials::None, Credentials::Bearer)
}

/// The one variable part of a path, decoded. What cannot be decoded names nothing.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name)).map_err(|_| Refusal::NotFound.into())
    }
}

/// The link in a path, without what mail programs glue to it. Nothing at all if there is none.
pub(crate) struct LinkText(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for LinkText {
    type Rejection = Infallible;

    // From the path as it was sent: half of an escaped character, cut off by a mail program, must not spoil the rest.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let path = parts.uri.path();
        let after = |place: &str| path.split_once(place).map(|(_, after)| after);
        let segment = after("/r/").or_else(|| after("/inbox/")).unwrap_or_default();
        Ok(Self(unglued(segment).to_owned()))
    }
}
