//! The gate of this very process, called as if over HTTP.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::header;
use serde_json::Value;
use tower_service::Service as _;

use crate::upstream::{Answer, Call, Reply, Upstream};

/// Into the routes of a gate in this process, with each caller's own key.
pub struct InProcess(pub Router);

impl Upstream for InProcess {
    fn send(&self, call: Call) -> Reply<'_> {
        let mut routes = self.0.clone();
        Box::pin(async move {
            let body = call.body.map(|body| body.to_string()).unwrap_or_default();
            let mut request = http::Request::builder()
                .method(call.method)
                .uri(call.path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))
                .map_err(|error| error.to_string())?;
            if let Some(authorization) = call.authorization {
                request.headers_mut().insert(header::AUTHORIZATION, authorization);
            }
            let answer = routes.call(request).await.unwrap_or_else(|never| match never {});
            let (parts, body) = answer.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
            let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            Ok(Answer {
                status: parts.status.as_u16(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                retry_after: retry_after.map(str::to_owned),
            })
        })
    }
}
