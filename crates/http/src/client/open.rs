//! What anyone may read: the keys, the health, the contract.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_gate::Gate;
use serde_json::{Value, json};

use crate::problem::Problem;

/// The public keys of `EdDSA` tokens, current and previous (RFC 7517, RFC 8037).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "open", security(()),
    responses((status = 200, description = "a JSON Web Key Set", body = Value)))]
pub(crate) async fn jwks(State(gate): State<Arc<Gate>>) -> Result<Response, Problem> {
    let keys: Vec<Value> = gate
        .public_keys()
        .await?
        .into_iter()
        .map(|(kid, key)| {
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": URL_SAFE_NO_PAD.encode(key)})
        })
        .collect();
    let mut response = super::json(StatusCode::OK, &json!({ "keys": keys }));
    // Short enough that a rotation is seen long before the previous key goes.
    let caching = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(header::CACHE_CONTROL, caching);
    Ok(response)
}

/// Whether the gate is up, and whether it has a policy.
#[utoipa::path(get, path = "/healthz", tag = "open", security(()),
    responses((status = 200, description = "it serves", body = Value),
        (status = 503, description = "`no_policy` or `unavailable`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn healthz(State(gate): State<Arc<Gate>>) -> Result<Response, Problem> {
    gate.policy().await?;
    Ok(super::json(StatusCode::OK, &json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "open", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Value)))]
pub(crate) async fn openapi() -> Response {
    // The one that is checked in: a test sees to it that the code makes the same.
    const DOCUMENT: &str = include_str!("../../openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
