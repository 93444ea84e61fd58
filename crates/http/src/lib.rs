//! Placet over HTTP: the routes that clients and reviewers use, the JSON names, the pages and the OpenAPI
//! document.
//!
//! The only crate that knows status codes, JSON names and HTML. It decides nothing: it reads, calls one use case of
//! the gate, and writes the answer.

mod app;
mod call;
mod chat;
mod client;
mod fields;
mod inbox;
mod openapi;
pub mod pages;
mod places;
mod problem;
mod push;
mod report;
mod reviewer;
mod routes;
pub mod wire;

use std::sync::Arc;

use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use placet_core::Refusal;
use placet_core::grammar::HostPattern;
use placet_gate::{Gate, RequestFields};

pub use call::bearer_requester;
pub use openapi::document as openapi_document;
pub use problem::{BadField, Problem};

/// Reads the body of `POST /v1/requests` as that route does; `callback_hosts` are the asking client's.
pub fn read_request(body: &[u8], callback_hosts: &[HostPattern]) -> Result<RequestFields, Refusal> {
    client::read_request(body, |url| client::check_url(url, callback_hosts))
}

/// All routes: what one machine serves. Open inboxes are told of news.
pub fn app(gate: Arc<Gate>) -> Router {
    with_fallbacks(client::router().merge(people()), gate, inbox::News::told())
}

/// The routes that clients, and anyone, may call.
pub fn client_app(gate: Arc<Gate>) -> Router {
    with_fallbacks(client::router(), gate, inbox::News::default())
}

/// The routes that reviewers' browsers call, and the servers of the chats in which reviewers decide.
pub fn reviewer_app(gate: Arc<Gate>) -> Router {
    with_fallbacks(people(), gate, inbox::News::default())
}

fn people() -> Router<Arc<Gate>> {
    reviewer::router_with_glue().merge(chat::router())
}

fn with_fallbacks(router: Router<Arc<Gate>>, gate: Arc<Gate>, news: inbox::News) -> Router {
    router
        .fallback(async |uri: Uri, headers: HeaderMap| {
            refused(&uri, &headers, placet_core::Refusal::NotFound.into())
        })
        .method_not_allowed_fallback(async |uri: Uri, headers: HeaderMap| {
            refused(&uri, &headers, Problem::method_not_allowed())
        })
        .layer(Extension(Arc::new(places::Places::default())))
        .layer(Extension(news))
        .with_state(gate)
}

/// What is answered where an answer was not made in time. Something may have been recorded.
pub fn too_slow(uri: &Uri, headers: &HeaderMap) -> Response {
    if is_for_reviewers(uri) { reviewer::too_slow(headers) } else { Problem::too_slow().into_response() }
}

fn is_for_reviewers(uri: &Uri) -> bool {
    matches!(uri.path().split('/').nth(1), Some("r" | "inbox" | "report"))
}

/// A problem; a page where a person looks for one.
fn refused(uri: &Uri, headers: &HeaderMap, problem: Problem) -> Response {
    if is_for_reviewers(uri) { reviewer::refused(problem, headers) } else { problem.into_response() }
}
