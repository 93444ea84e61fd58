//! One signed POST, or one look, and what came of it.
//!
//! Signing, the limits on time and size, and how an answer is read. Where a connection may go is decided by
//! `target` and `connect`; whether to try again, by the caller.

#![expect(clippy::disallowed_methods, reason = "the time of a signature is checked against the clock")]

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use placet_core::grammar::HostPattern;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use tokio::time::{Instant, timeout_at};

use crate::connect::{ConnectProblem, Connector};
use crate::resolve::{Resolve, SystemResolver};
use crate::target::{Guard, Target};

/// Idle connections are dropped before the other side drops them.
///
/// Node, and so n8n, closes one after 5 s; a POST that crosses that is lost and has to wait for its retry.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_IDLE_PER_HOST: usize = 8;
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// One callback to be sent.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// `webhook-id`: the same on every try, so that the receiver can tell a repetition.
    pub id: &'a str,
    /// `webhook-timestamp`: when this try is made, in Unix seconds.
    pub timestamp: i64,
    /// The body as it goes out: JSON, in UTF-8.
    pub body: &'a [u8],
    /// The keys, each `whsec_…`. Every one signs, so that keys may overlap while one is rotated.
    pub secrets: &'a [String],
}

/// Shows neither body nor keys.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// 2xx: the receiver has it.
    Delivered {
        /// The status, 200 to 299.
        status: u16,
        /// As much of the answer as the limits allowed.
        body: Bytes,
    },
    /// 410: the receiver wants no more of these.
    Gone,
    /// Any other status, redirects included: they are never followed.
    Refused {
        /// The status.
        status: u16,
        /// How long the receiver asks us to wait, not capped.
        retry_after: Option<Duration>,
        /// As much of the answer as the limits allowed.
        body: Bytes,
    },
    /// No answer: lookup, connection, TLS, signing or the time limit.
    Unreachable {
        /// What happened, for the operator; names the host, never the path.
        reason: String,
    },
    /// The guard refused; nothing was sent.
    Forbidden {
        /// What is out of bounds, for the operator; names the kind of address, not the address.
        reason: String,
    },
}

/// The limits and habits of a [`Sender`].
#[derive(Clone)]
pub struct Options {
    /// For lookup, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For a whole attempt; an answer that drips ends here.
    pub total_timeout: Duration,
    /// How much of an answer's body is read.
    pub max_response_bytes: usize,
    /// The `user-agent` header.
    pub user_agent: HeaderValue,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Certificates (DER) that are trusted besides the public ones.
    pub extra_roots: Vec<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(10),
            max_response_bytes: 64 * 1024,
            user_agent: HeaderValue::from_static(concat!("Placet/", env!("CARGO_PKG_VERSION"))),
            resolver: Arc::new(SystemResolver),
            extra_roots: Vec::new(),
        }
    }
}

/// Sends callbacks; keeps idle connections between them.
///
/// Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Sender {
    // INVARIANT: a connection never crosses between these two. Each has its own pool and its own TLS
    // sessions, so one that was opened to a private address by exemption cannot serve a client without it.
    public_only: HttpClient,
    named_by_policy: HttpClient,
    total_timeout: Duration,
    max_response_bytes: usize,
    user_agent: HeaderValue,
}

type HttpClient = Client<Connector, Full<Bytes>>;

impl Sender {
    /// Prepares to send; opens nothing yet.
    pub fn new(options: Options) -> Self {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let (_, ignored) =
            roots.add_parsable_certificates(options.extra_roots.into_iter().map(CertificateDer::from));
        if ignored > 0 {
            tracing::warn!(ignored, "extra root certificates that could not be read are not trusted");
        }
        let roots = Arc::new(roots);
        let client = |guard| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
                .http1_max_buf_size(MAX_HEADER_BYTES)
                .build(Connector::new(
                    guard,
                    Arc::clone(&options.resolver),
                    Arc::clone(&roots),
                    options.connect_timeout,
                ))
        };
        Self {
            public_only: client(Guard::PublicOnly),
            named_by_policy: client(Guard::NamedByPolicy),
            total_timeout: options.total_timeout,
            max_response_bytes: options.max_response_bytes,
            user_agent: options.user_agent,
        }
    }

    /// Makes one try: signs, posts, reads the answer.
    ///
    /// `exempt` is the client's `callback_hosts` as it stands now; a target that was accepted under an
    /// earlier policy is judged anew. The status decides the outcome once it is there: a body that is too
    /// long, too slow or broken off is handed on as far as it came.
    pub async fn send(&self, target: &Target, exempt: &[HostPattern], message: &Message<'_>) -> Attempt {
        let signature = match signatures(message) {
            Ok(signature) => signature,
            Err(problem) => return Attempt::Unreachable { reason: problem.to_string() },
        };
        let headers = [
            (HEADER_WEBHOOK_ID, message.id),
            (HEADER_WEBHOOK_TIMESTAMP, &message.timestamp.to_string()),
            (HEADER_WEBHOOK_SIGNATURE, &signature),
        ];
        self.post(target, exempt, &headers, message.body).await
    }

    /// Posts with those headers besides the usual ones, under the same guard and limits, and reads the answer.
    ///
    /// The body is JSON where no header says otherwise.
    pub async fn post(
        &self,
        target: &Target,
        exempt: &[HostPattern],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Attempt {
        let mut request = Request::builder().method(Method::POST);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str())) {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(target, exempt, request, Bytes::copy_from_slice(body)).await
    }

    /// Gets the URL, under the same guard and limits, and reads the answer: a look that says nothing.
    pub async fn get(&self, target: &Target, exempt: &[HostPattern]) -> Attempt {
        self.request(target, exempt, Request::builder().method(Method::GET), Bytes::new()).await
    }

    async fn request(
        &self,
        target: &Target,
        exempt: &[HostPattern],
        request: http::request::Builder,
        body: Bytes,
    ) -> Attempt {
        let deadline = Instant::now() + self.total_timeout;
        let guard = match target.guard(exempt) {
            Ok(guard) => guard,
            Err(problem) => {
                return Attempt::Forbidden { reason: problem.to_string() };
            }
        };
        let request = request.uri(target.uri().clone()).header(USER_AGENT, self.user_agent.clone());
        let Ok(request) = request.body(Full::new(body)) else {
            return Attempt::Unreachable { reason: "a header's value does not fit in a header".into() };
        };
        let client = match guard {
            Guard::PublicOnly => &self.public_only,
            Guard::NamedByPolicy => &self.named_by_policy,
        };
        let (host, _) = target.host_and_port();
        match timeout_at(deadline, client.request(request)).await {
            Ok(Ok(response)) => {
                let (head, body) = response.into_parts();
                let body = read_body(body, self.max_response_bytes, deadline).await;
                outcome(head.status, &head.headers, body)
            }
            Ok(Err(error)) => failure(host, &error),
            Err(_) => Attempt::Unreachable {
                reason: format!("`{host}` did not answer within {} ms", self.total_timeout.as_millis()),
            },
        }
    }
}

/// Why a message cannot go out; never shows a key.
#[derive(Debug, thiserror::Error)]
enum UnsignableMessage {
    #[error("there is no secret to sign with")]
    NoSecret,
    #[error("the message could not be signed")]
    Signing(#[source] standardwebhooks::WebhookError),
}

/// The value of `webhook-signature`: one signature for each key, separated by spaces.
fn signatures(message: &Message<'_>) -> Result<String, UnsignableMessage> {
    let signatures = message
        .secrets
        .iter()
        .map(|secret| Webhook::new(secret)?.sign(message.id, message.timestamp, message.body))
        .collect::<Result<Vec<_>, _>>()
        .map_err(UnsignableMessage::Signing)?;
    if signatures.is_empty() {
        return Err(UnsignableMessage::NoSecret);
    }
    Ok(signatures.join(" "))
}

/// As much of the body as comes before `deadline`, and at most `limit` bytes.
///
/// What is left unread closes the connection, so it cannot hold it up.
async fn read_body(mut body: Incoming, limit: usize, deadline: Instant) -> Bytes {
    let mut read = BytesMut::new();
    while read.len() < limit {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else {
            break;
        };
        if let Ok(mut data) = frame.into_data() {
            data.truncate(limit - read.len());
            read.extend_from_slice(&data);
        }
    }
    read.freeze()
}

fn outcome(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Attempt {
    if status.is_success() {
        return Attempt::Delivered { status: status.as_u16(), body };
    }
    if status == StatusCode::GONE {
        return Attempt::Gone;
    }
    Attempt::Refused { status: status.as_u16(), retry_after: retry_after(headers), body }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds or a date.
///
/// A date is taken relative to the answer's own `Date`, because the two clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = headers
        .get(DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok())
        .unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

/// Tells the guard's refusal from a failure of the network.
fn failure(host: &str, error: &(dyn Error + 'static)) -> Attempt {
    let mut root = error;
    loop {
        if let Some(ConnectProblem::Forbidden { .. }) = root.downcast_ref() {
            return Attempt::Forbidden { reason: root.to_string() };
        }
        match root.source() {
            Some(source) => root = source,
            None => break,
        }
    }
    Attempt::Unreachable { reason: format!("`{host}` could not be reached: {root}") }
}
