//! How a name becomes addresses.
//!
//! A trait, so that tests can lie the way a hostile name server does. What an address may be is not judged here.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// A lookup under way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync {
    /// Looks up `host` (a name, never an address) for a connection to `port`.
    ///
    /// # Errors
    ///
    /// When the name does not exist or the lookup failed; the attempt ends as unreachable.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The operating system's resolver (`getaddrinfo`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
