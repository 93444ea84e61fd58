//! How the command's own calls reach a gate: directly, or through the proxy of the environment.
//!
//! `HTTPS_PROXY` or `ALL_PROXY`, with `NO_PROXY`, as curl reads them, for a gate at an `https` address: the proxy sees
//! encrypted bytes only. Never for this machine, and never for plain `http`, whose proxy could read secrets and tokens.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use tower_service::Service;

use crate::failure::Failure;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Stream = <HttpConnector as Service<Uri>>::Response;

/// Opens connections to one gate.
#[derive(Clone)]
pub(crate) enum Dial {
    /// To the gate itself.
    Direct(HttpConnector),
    /// To a proxy, which connects to the gate (RFC 9110, section 9.3.6).
    Tunnel(Tunnel<HttpConnector>),
}

impl Dial {
    /// The way to the gate at that address.
    pub(crate) fn to(gate: &url::Url, tcp: HttpConnector) -> Result<Self, Failure> {
        Self::by(&Matcher::from_env(), gate, tcp)
    }

    fn by(proxies: &Matcher, gate: &url::Url, tcp: HttpConnector) -> Result<Self, Failure> {
        let found = match gate.as_str().parse::<Uri>() {
            Ok(uri) if gate.scheme() == "https" && !is_this_machine(gate) => proxies.intercept(&uri),
            Ok(_) | Err(_) => None,
        };
        let Some(proxy) = found else { return Ok(Self::Direct(tcp)) };
        // The address may hold a password: it is not quoted.
        if proxy.uri().scheme_str() != Some("http") {
            return Err(Failure::usage("the proxy of HTTPS_PROXY or ALL_PROXY is not an http:// one")
                .advise(
                    "name one such as http://proxy.example.com:3128, or leave this gate out with NO_PROXY",
                ));
        }
        let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        Ok(Self::Tunnel(match proxy.basic_auth() {
            Some(login) => tunnel.with_auth(login.clone()),
            None => tunnel,
        }))
    }
}

/// Whether an address is this machine's own.
pub(crate) fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        // RFC 6761, section 6.3.
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

impl Service<Uri> for Dial {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(tcp) => tcp.poll_ready(context).map_err(Into::into),
            Self::Tunnel(tunnel) => tunnel.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, gate: Uri) -> Self::Future {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(gate);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            Self::Tunnel(tunnel) => {
                let connecting = tunnel.call(gate);
                Box::pin(async move {
                    connecting.await.map_err(|error| format!("the proxy of the environment: {error}").into())
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_https_gate_elsewhere_is_reached_through_a_proxy() {
        let proxies = Matcher::builder().all("http://proxy:3128").no("inside.example.com").build();
        let way = |address: &str| {
            let dial = Dial::by(&proxies, &url::Url::parse(address).unwrap(), HttpConnector::new()).unwrap();
            matches!(dial, Dial::Tunnel(_))
        };
        assert!(way("https://gate.example.com/path"));
        for direct in [
            "http://gate.example.com",
            "https://inside.example.com",
            "https://localhost:8484",
            "https://gate.localhost",
            "https://127.9.9.9",
            "https://[::1]:1",
        ] {
            assert!(!way(direct), "{direct}");
        }
        let socks = Matcher::builder().all("socks5://proxy:1080").build();
        let gate = url::Url::parse("https://gate.example.com").unwrap();
        assert_eq!(Dial::by(&socks, &gate, HttpConnector::new()).err().unwrap().code(), 2);
    }
}
