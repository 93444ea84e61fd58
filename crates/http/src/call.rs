//! One call of a client: who it is, what it sent.
//!
//! Whatever can be refused by the head of a request is refused before its body is read: a stranger's body holds no memory.
#![expect(
    clippy::result_large_err,
    reason = "a problem is made once in a call that fails, and moved a few times"
)]

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use placet_core::Refusal;
use placet_core::id::ClientId;
use placet_core::link::unglued;
use placet_core::policy::ClientRole;
use placet_core::refusal::FieldError;
use placet_core::signature::MAX_SKEW_SECONDS;
use placet_gate::{Caller, Credentials, Error, Gate};

use crate::places::{Places, WaitPlace};
use crate::problem::{Challenge, Problem};

/// The largest body that is read, in bytes: a full payload with every character escaped, and the rest.
const BODY_LIMIT: usize = 512 * 1024;

/// The headers of a signed request, in the order of [`Signature`]'s fields.
const SIGNATURE_HEADERS: [&str; 3] = ["X-Placet-Client", "X-Placet-Timestamp", "X-Signature"];

/// What a route asks of a call before it looks at what the call says.
pub(crate) trait Endpoint {
    /// The query parameters that it takes. All others are refused: a misspelt one would be overlooked.
    const QUERY: &'static [&'static str] = &[];

    /// Refuses callers without the role that it needs; left out, any client may call.
    fn admit(_caller: &Caller) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A route for any client, without query parameters.
pub(crate) struct AnyClient;

impl Endpoint for AnyClient {}

/// A call by a client that has proved who it is and may call the route `E`.
pub(crate) struct Call<E = AnyClient> {
    /// Who.
    pub(crate) caller: Caller,
    /// The raw body.
    pub(crate) body: Bytes,
    query: Vec<(String, String)>,
    places: Option<Arc<Places>>,
    /// Whether the caller looks again by itself (`Prefer: respond-async`, RFC 7240).
    pub(crate) looks_again: bool,
    endpoint: PhantomData<E>,
}

impl<E: Endpoint> FromRequest<Arc<Gate>> for Call<E> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, gate: &Arc<Gate>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let (caller, body) = match Claim::read(&parts.headers)? {
            Claim::Bearer(key) => {
                let caller = gate.authenticate(Credentials::Bearer(key)).await.map_err(bearer_problem)?;
                (caller, read_body(&parts.headers, body, BODY_LIMIT).await?)
            }
            Claim::Signature(signature) => {
                signature.check_unsigned(gate).await?;
                let body = read_body(&parts.headers, body, BODY_LIMIT).await?;
                let credentials = signature.credentials(&parts, &body);
                let caller = gate.authenticate(credentials).await.map_err(signature_problem)?;
                (caller, body)
            }
        };
        // Before what the body says: a client that may not call here learns that, and not how it should have called.
        E::admit(&caller)?;
        let query = query_of(&parts, E::QUERY)?;
        let places = parts.extensions.get::<Arc<Places>>().cloned();
        let looks_again = prefers_async(&parts.headers);
        Ok(Self { caller, body, query, places, looks_again, endpoint: PhantomData })
    }
}

/// Whether `Prefer` names `respond-async` (RFC 7240, section 4.1).
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        preference.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("respond-async"))
    })
}

/// The first value of that name in a form, if it has one.
pub(crate) fn form_value(body: &[u8], name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(body).filter(|(key, _)| key == name);
    values.next().map(|(_, value)| value.into_owned())
}

/// What a query says. A parameter that the path does not take is refused: a misspelt one would be overlooked.
fn query_of(parts: &Parts, known: &[&str]) -> Result<Vec<(String, String)>, Refusal> {
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let unknown = query.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let errors: Vec<_> = unknown.map(|(name, _)| unknown_parameter(name, known)).collect();
    if errors.is_empty() { Ok(query) } else { Err(Refusal::InvalidRequest(errors)) }
}

/// Of a path that anyone may read, and that takes no query.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        query_of(parts, &[])?;
        Ok(Self)
    }
}

fn unknown_parameter(name: &str, known: &[&str]) -> FieldError {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    FieldError::new(
        name,
        match known.as_slice() {
            [] => "is not a query parameter of this path, which takes none".to_owned(),
            [only] => format!("is not a query parameter of this path, which takes {only}"),
            several => format!("is not a query parameter of this path, which takes {}", several.join(", ")),
        },
    )
}

impl<E> Call<E> {
    /// A query parameter. Given twice, it is refused: two readers could take different ones.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Refusal::field(name, "must be given once"));
        }
        Ok(value)
    }

    /// The query as it was sent, without one parameter.
    pub(crate) fn query_but(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let others = self.query.iter().filter(move |(key, _)| key != name);
        others.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A whole number in the query.
    pub(crate) fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.parameter(name)? else { return Ok(None) };
        // `parse` takes a plus sign, which in a query is a space.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            Refusal::InvalidRequest(vec![FieldError::new(
                name,
                format!("must be a whole number from {least} to {most}"),
            )])
        })
    }

    /// A place to wait in, until it is dropped; none if this client's calls have taken all of theirs.
    pub(crate) fn place_to_wait(&self) -> Option<WaitPlace> {
        match &self.places {
            Some(places) => places.wait(&self.caller.client.id),
            // Where nobody counts, as behind a platform that does, everybody may wait.
            None => Some(WaitPlace::uncounted()),
        }
    }
}

/// Who a caller says it is. Nothing of it is verified.
enum Claim<'a> {
    Bearer(&'a str),
    Signature(Signature<'a>),
}

/// The three headers of a signed request.
struct Signature<'a> {
    client: &'a str,
    timestamp: &'a str,
    values: &'a str,
}

impl<'a> Claim<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let mut signed = [None; 3];
        for (slot, name) in signed.iter_mut().zip(SIGNATURE_HEADERS) {
            *slot = single(headers, name)?;
        }
        if let [Some(client), Some(timestamp), Some(values)] = signed {
            return Ok(Self::Signature(Signature { client, timestamp, values }));
        }
        if let Some(value) = single(headers, "Authorization")? {
            let key = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            return match key.map(|(_, key)| key.trim()) {
                Some(key) if key.contains('.') => Ok(Self::Bearer(key)),
                _ => Err(malformed(
                    Challenge::Bearer { error: Some("invalid_request") },
                    "`Authorization` must be `Bearer <client id>.<secret>`",
                )),
            };
        }
        let missing = signed.iter().zip(SIGNATURE_HEADERS).filter(|(value, _)| value.is_none());
        let missing: Vec<String> = missing.map(|(_, name)| format!("`{name}`")).collect();
        Err(if missing.len() == SIGNATURE_HEADERS.len() {
            malformed(
                Challenge::Both,
                "the request has no credentials: sign it (`X-Placet-Client`, `X-Placet-Timestamp`, `X-Signature`), or \
                 send `Authorization: Bearer <client id>.<secret>` where the policy allows it",
            )
        } else {
            let (what, verb) = (missing.join(" and "), if missing.len() == 1 { "is" } else { "are" });
            malformed(
                Challenge::Signature { error: Some("invalid_request") },
                format!("{what} {verb} missing"),
            )
        })
    }
}

/// The one value of a header. Given twice, it is refused: two readers could take different ones.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let challenge = || match name {
        "Authorization" => Challenge::Bearer { error: Some("invalid_request") },
        _ => Challenge::Signature { error: Some("invalid_request") },
    };
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed(challenge(), format!("`{name}` must be sent once")));
    }
    let text = value.to_str().map_err(|_| malformed(challenge(), format!("`{name}` must be plain ASCII")))?;
    Ok(Some(text))
}

fn malformed(challenge: Challenge, detail: impl Into<String>) -> Problem {
    Problem::from(Refusal::InvalidSignature).explained(detail).challenging(challenge)
}

impl<'a> Signature<'a> {
    /// What can be refused without the body: an unknown client, a clock that is off, a signature of another form.
    async fn check_unsigned(&self, gate: &Gate) -> Result<(), Problem> {
        let policy = gate.policy().await?;
        let known = ClientId::parse(self.client).is_ok_and(|id| policy.client(&id).is_some());
        if !known {
            return Err(signature_problem(Refusal::UnknownClient.into()));
        }
        let digits = self.timestamp.strip_prefix('-').unwrap_or(self.timestamp);
        let timestamp = Some(self.timestamp)
            .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<i64>().ok());
        let Some(timestamp) = timestamp else {
            return Err(malformed(
                Challenge::Signature { error: Some("invalid_request") },
                "`X-Placet-Timestamp` must be the time in whole Unix seconds, such as 1767225600",
            ));
        };
        let off_by_seconds = gate.now().seconds().saturating_sub(timestamp);
        if off_by_seconds.saturating_abs() > MAX_SKEW_SECONDS {
            return Err(signature_problem(Refusal::ClockSkew { off_by_seconds }.into()));
        }
        if !self.values.split(',').any(|value| value.trim().starts_with("v1=")) {
            return Err(malformed(
                Challenge::Signature { error: Some("invalid_request") },
                "`X-Signature` must be `v1=<64 lower-case hex digits>`",
            ));
        }
        Ok(())
    }

    fn credentials(&self, parts: &'a Parts, body: &'a [u8]) -> Credentials<'a> {
        Credentials::Signature {
            client: self.client,
            timestamp: self.timestamp,
            signature: self.values,
            method: parts.method.as_str(),
            path_and_query: parts.uri.path_and_query().map_or("/", |text| text.as_str()),
            body,
        }
    }
}

fn signature_problem(error: Error) -> Problem {
    match error {
        Error::Refused(refusal) => {
            let challenge = Challenge::Signature { error: Some(refusal.code()) };
            let wrong = matches!(refusal, Refusal::InvalidSignature);
            let problem = Problem::from(refusal).challenging(challenge);
            if !wrong {
                return problem;
            }
            problem.explained(
                "the signature does not match: another secret signed it, or it covers another method, path and query, \
                 time or body than were received",
            )
        }
        other => other.into(),
    }
}

fn bearer_problem(error: Error) -> Problem {
    match error {
        Error::Refused(refusal) => {
            let wrong = matches!(refusal, Refusal::InvalidSignature);
            let problem =
                Problem::from(refusal).challenging(Challenge::Bearer { error: Some("invalid_token") });
            if wrong {
                problem.explained("the bearer key holds another secret than this client's")
            } else {
                problem
            }
        }
        other => other.into(),
    }
}

/// Finds out which asking client calls where a bearer key alone is taken, as for MCP.
pub async fn bearer_requester(gate: &Gate, headers: &HeaderMap) -> Result<Caller, Problem> {
    let caller = bearer_caller(gate, headers).await?;
    caller.must_be(ClientRole::Requester)?;
    Ok(caller)
}

async fn bearer_caller(gate: &Gate, headers: &HeaderMap) -> Result<Caller, Problem> {
    let error = |error| Challenge::BearerAlone { error };
    match Claim::read(headers) {
        Ok(Claim::Bearer(key)) => match gate.authenticate(Credentials::Bearer(key)).await {
            Ok(caller) => Ok(caller),
            Err(refused) => Err(bearer_problem(refused).challenging(error(Some("invalid_token")))),
        },
        Err(problem) if headers.contains_key(header::AUTHORIZATION) => {
            Err(problem.challenging(error(Some("invalid_request"))))
        }
        // No error: this caller has not failed, it has not tried (RFC 6750, section 3.1).
        Ok(Claim::Signature(_)) | Err(_) => Err(malformed(
            error(None),
            "the request has no key: send `Authorization: Bearer <client id>.<secret>`",
        )),
    }
}

/// Refuses a body that was compressed: signatures and digests cover what was sent, and a few bytes of it could unfold
/// to any size.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
    for coding in codings.flat_map(|value| value.split(',')).map(str::trim) {
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            return Err(Problem::unsupported_encoding());
        }
    }
    Ok(())
}

/// Reads a body as it was sent, up to a limit in bytes.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body, limit_bytes: usize) -> Result<Bytes, Problem> {
    refuse_encoded(headers)?;
    match Limited::new(body, limit_bytes).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refusal::PayloadTooLarge { what: "body", limit_bytes }.into())
        }
        Err(error) => Err(Problem::unread_body(error.as_ref())),
    }
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
        let places = ["/r/", "/inbox/", "/report/", "/practice/"];
        let segment = places.into_iter().find_map(after).unwrap_or_default();
        Ok(Self(unglued(segment).to_owned()))
    }
}
