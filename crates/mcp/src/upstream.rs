//! The gate's API, as this server reaches it.

use std::pin::Pin;

use http::{HeaderValue, Method};
use serde_json::Value;

/// One call of the gate's API.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body, if there is one.
    pub body: Option<Value>,
    /// Who calls, where that differs from call to call: the bearer key that came over HTTP.
    pub authorization: Option<HeaderValue>,
}

/// The gate's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null where it is not JSON.
    pub body: Value,
    /// The header `Retry-After`, if there is one.
    pub retry_after: Option<String>,
}

/// An answer, or why there is none.
pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

/// Sends calls to a gate.
pub trait Upstream: Send + Sync + 'static {
    /// Sends one.
    fn send(&self, call: Call) -> Reply<'_>;
}
