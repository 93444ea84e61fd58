//! Opens connections, and only to addresses that the guard let through.
//!
//! Name lookup, address check, TCP and TLS. Requests and answers are for `send`.

use std::error::Error;
use std::future::{Future, ready};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, vec};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::address::blocked_range;
use crate::resolve::Resolve;
use crate::target::Guard;

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Why no connection was opened; found again by `send` in the HTTP client's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectProblem {
    /// At least one address is out of bounds.
    #[error("`{host}` resolves to a {range} address, which is only for hosts named in `callback_hosts`")]
    Forbidden { host: String, range: &'static str },
    /// The lookup failed or had no answer.
    #[error("the name could not be resolved")]
    Unresolved(#[source] io::Error),
    /// Lookup, TCP and TLS together took too long.
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// The TLS configuration: TLS 1.2 and 1.3, the certificate checked against `roots`.
///
/// The provider is named, because asking for the process default panics when two are linked in.
fn tls_config(roots: Arc<RootCertStore>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[expect(
        clippy::expect_used,
        reason = "fails only for a provider without TLS 1.2 and 1.3, and ring has both"
    )]
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Lookup, check, TCP and TLS under one time limit.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Dialer>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(
        guard: Guard,
        resolver: Arc<dyn Resolve>,
        roots: Arc<RootCertStore>,
        timeout: Duration,
    ) -> Self {
        let dialer = Dialer { guard, resolver, timeout };
        let mut https = HttpsConnector::from((dialer, tls_config(roots)));
        if guard == Guard::PublicOnly {
            https.enforce_https();
        }
        Self { https, timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.timeout;
        let connecting = self.https.call(uri);
        Box::pin(async move {
            tokio::time::timeout(limit, connecting).await.map_err(|_| ConnectProblem::TimedOut(limit))?
        })
    }
}

/// Lookup, check and TCP.
#[derive(Clone)]
struct Dialer {
    guard: Guard,
    resolver: Arc<dyn Resolve>,
    timeout: Duration,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let addresses = dialer.permitted_addresses(&uri).await?;
            let mut tcp = HttpConnector::new_with_resolver(Permitted(addresses));
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(dialer.timeout));
            // The name is left out on purpose: the connector has nothing to look up, and can reach nothing
            // but the addresses it was given. It tries them in turn, both families (RFC 8305).
            Ok(tcp.call(Uri::from_static("http://permitted.invalid")).await?)
        })
    }
}

impl Dialer {
    /// All addresses of the host, looked up once, or a refusal if any of them is out of bounds.
    ///
    /// One bad address bars them all: a name with a public and a private answer is an attack or a mistake.
    async fn permitted_addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, ConnectProblem> {
        let bracketed = uri.host().unwrap_or_default();
        let host = bracketed.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        });
        let addresses = match host.parse::<IpAddr>() {
            Ok(literal) => vec![SocketAddr::new(literal, port)],
            Err(_) => self.resolve(host, port).await?,
        };
        match self.guard {
            Guard::NamedByPolicy => Ok(addresses),
            Guard::PublicOnly => match addresses.iter().find_map(|one| blocked_range(one.ip())) {
                None => Ok(addresses),
                Some(range) => Err(ConnectProblem::Forbidden { host: bracketed.to_owned(), range }),
            },
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectProblem> {
        let answer = match self.resolver.resolve(host, port).await {
            Ok(addresses) if addresses.is_empty() => Err(io::Error::other("no address")),
            answer => answer,
        };
        answer.map_err(ConnectProblem::Unresolved)
    }
}

/// The answer to any lookup: the addresses that were checked.
#[derive(Clone)]
struct Permitted(Vec<SocketAddr>);

impl Service<Name> for Permitted {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}
