//! What makes the inbox an app on a phone or a desktop: its manifest, its icons and its service worker.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use placet_gate::Gate;
use serde_json::json;

use crate::call::LinkText;
use crate::inbox::path_prefix;
use crate::problem::Problem;
use crate::reviewer::refused;

const WORKER: &str = include_str!("pages/sw.js");
const SMALL_ICON: &[u8] = include_bytes!("pages/icon-192.png");
const LARGE_ICON: &[u8] = include_bytes!("pages/icon-512.png");

/// Describes a reviewer's inbox as an app (W3C Web Application Manifest).
#[utoipa::path(get, path = "/inbox/{link}/app.webmanifest", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    responses(
        (status = 200, description = "the manifest", content((String = "application/manifest+json"))),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn manifest(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    let policy = match gate.inbox_reviewer(&link).await {
        Ok(_) => gate.policy().await,
        Err(error) => Err(error),
    };
    let prefix = match policy {
        Ok(policy) => path_prefix(&gate.base_url(&policy)),
        Err(error) => return refused(error.into(), &headers),
    };
    let icon = |size: u32, purpose: &str| {
        json!({ "src": format!("{prefix}/icon-{size}.png"), "sizes": format!("{size}x{size}"), "type": "image/png",
            "purpose": purpose })
    };
    let manifest = json!({
        "name": "Placet",
        "short_name": "Placet",
        "description": "What waits for your approval",
        "id": format!("{prefix}/inbox"),
        "start_url": format!("{prefix}/inbox/{link}"),
        "scope": format!("{prefix}/"),
        "display": "standalone",
        "background_color": "#f3f1ec",
        "theme_color": "#124b3a",
        "icons": [icon(192, "any"), icon(512, "any"), icon(512, "maskable")],
    });
    // It names the reviewer's link: nobody may keep it.
    file("application/manifest+json", "no-store", manifest.to_string().into_bytes())
}

/// The service worker, which shows what is pushed. It answers no requests of the page's.
#[utoipa::path(get, path = "/sw.js", tag = "reviewers", security(()),
    responses((status = 200, description = "the script", content((String = "text/javascript")))))]
pub(crate) async fn worker() -> Response {
    file("text/javascript; charset=utf-8", "no-cache", WORKER.into())
}

/// The app's icon, 192 pixels wide.
#[utoipa::path(get, path = "/icon-192.png", tag = "reviewers", security(()),
    responses((status = 200, description = "the picture", content((Vec<u8> = "image/png")))))]
pub(crate) async fn small_icon() -> Response {
    file("image/png", "public, max-age=86400", SMALL_ICON.into())
}

/// The app's icon, 512 pixels wide.
#[utoipa::path(get, path = "/icon-512.png", tag = "reviewers", security(()),
    responses((status = 200, description = "the picture", content((Vec<u8> = "image/png")))))]
pub(crate) async fn large_icon() -> Response {
    file("image/png", "public, max-age=86400", LARGE_ICON.into())
}

fn file(kind: &'static str, cache: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = (StatusCode::OK, bytes).into_response();
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; connect-src 'self'"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
