//! What the local gate serves beside the gate's routes: `/`, for whoever opens its address, `/readyz`, and the operator's
//! page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use placet_core::Refusal;
use placet_gate::{Error, Fault, Gate};
use placet_http::{Problem, pages};
use placet_sqlite::SqliteStore;
use serde_json::json;
use tokio::sync::Mutex;

use crate::folder::Folder;
use crate::local::LocalGate;
use crate::operator::{OperatorPage, Pressed};

/// How long one look counts: strangers may ask, and each look waits for the disk.
const LOOK_COUNTS: Duration = Duration::from_secs(1);

/// How long a look may take before the disk counts as not working.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest form of the operator's page that is read, in bytes.
const FORM_LIMIT: usize = 4 * 1024;

/// All routes of the local gate.
pub(crate) fn app(local: &LocalGate) -> Router {
    let ready = Arc::new(Readiness {
        gate: Arc::clone(&local.gate),
        store: Arc::clone(&local.store),
        folder: local.folder.clone(),
        last: Mutex::new(None),
    });
    let operator = Arc::new(OperatorPage::new(local));
    let own = Router::new()
        .route("/", get(home))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed().into_response() })
        .with_state(Arc::clone(&ready));
    let operator = Router::new()
        .route("/admin/{link}", get(show_operator).post(press_operator))
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed().into_response() })
        .with_state((ready, operator));
    crate::mcp::app(Arc::clone(&local.gate)).merge(own).merge(operator)
}

/// Whether the gate could record a request now.
struct Readiness {
    gate: Arc<Gate>,
    store: Arc<SqliteStore>,
    folder: Folder,
    last: Mutex<Option<(Instant, Result<(), NotReady>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotReady {
    NoPolicy,
    CannotWrite,
}

impl Readiness {
    /// Looks, unless somebody just has.
    async fn check(&self) -> Result<(), NotReady> {
        let mut last = self.last.lock().await;
        if let Some((_, known)) = last.filter(|(at, _)| at.elapsed() < LOOK_COUNTS) {
            return known;
        }
        let found = self.look().await;
        let before = last.replace((Instant::now(), found)).map_or(Ok(()), |(_, before)| before);
        if found.is_ok() && before.is_err() {
            tracing::info!("the gate is ready again");
        }
        found
    }

    async fn look(&self) -> Result<(), NotReady> {
        let written = tokio::time::timeout(LOOK_TIMEOUT, self.write()).await;
        let fault = match written {
            Ok(Ok(())) => return self.gate.policy().await.map(drop).map_err(|_| NotReady::NoPolicy),
            Ok(Err(fault)) => fault.chain(),
            Err(_) => "the disk does not answer in time".to_owned(),
        };
        tracing::error!(error = fault, "the gate is not ready: nothing can be recorded");
        Err(NotReady::CannotWrite)
    }

    async fn write(&self) -> Result<(), Fault> {
        self.store.check_writable().await?;
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || folder.check_writable())
            .await
            .map_err(|error| Fault::new("the folder's check did not finish", error))?
            .map_err(|error| Fault::new("the data folder cannot be written", error))
    }
}

async fn readyz(State(ready): State<Arc<Readiness>>) -> Response {
    let mut response = match ready.check().await {
        Ok(()) => axum::Json(json!({ "ready": true })).into_response(),
        Err(NotReady::NoPolicy) => Problem::from(Refusal::NoPolicy).into_response(),
        Err(NotReady::CannotWrite) => {
            Problem::from(Error::Fault(Fault::bare("nothing can be recorded"))).into_response()
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page for a person who opens the gate's address; it shows nothing that a stranger must not know.
async fn home(State(ready): State<Arc<Readiness>>, headers: HeaderMap) -> Response {
    let is_ready = ready.check().await.is_ok();
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/json") && !accept.contains("text/html") {
        return axum::Json(json!({ "name": "placet", "ready": is_ready, "openapi": "/openapi.json" }))
            .into_response();
    }
    let health = if is_ready {
        "This gate is ready."
    } else {
        "This gate is not ready: it cannot take requests at the moment. Its operator finds the reason in its log, or with `placet doctor`."
    };
    let text = format!(
        "{health} Programs ask it before they do something that matters, and a person decides. Nothing can be decided on \
         this page: if you were asked to approve something, open the link in the message that you got. Its programming \
         interface is described at /openapi.json."
    );
    page(StatusCode::OK, pages::notice("A Placet gate", &text).into_string())
}

type OperatorState = (Arc<Readiness>, Arc<OperatorPage>);

/// The operator's page. Looking at it changes nothing.
async fn show_operator(state: State<OperatorState>, Path(link): Path<String>) -> Response {
    operator_page(&state, &link, StatusCode::OK, None).await
}

/// One press of a button of the operator's page, which sends a test.
async fn press_operator(
    state: State<OperatorState>,
    Path(link): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let pressed = match body {
        Ok(body) => state.1.press(&link, &body).await,
        Err(_) => Ok(Pressed::Unknown),
    };
    let not_sent = |text: &str| Some(pages::Tried { is_good: false, text: text.to_owned() });
    match pressed {
        Ok(Pressed::Tried(said)) => operator_page(&state, &link, StatusCode::OK, Some(said)).await,
        Ok(Pressed::TooOld) => {
            let said = not_sent("This page was too old, so nothing was sent. Please press again.");
            operator_page(&state, &link, StatusCode::UNPROCESSABLE_ENTITY, said).await
        }
        Ok(Pressed::Unknown) => {
            let said = not_sent("The policy has no such channel by now, so nothing was sent.");
            operator_page(&state, &link, StatusCode::UNPROCESSABLE_ENTITY, said).await
        }
        Ok(Pressed::TooSoon(seconds)) => {
            let text = format!(
                "Tests are sent one after the other, so nothing was sent. Press again in {seconds} s."
            );
            let mut response =
                operator_page(&state, &link, StatusCode::TOO_MANY_REQUESTS, not_sent(&text)).await;
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Err(error) => no_operator_page(error),
    }
}

async fn operator_page(
    (ready, operator): &OperatorState,
    link: &str,
    status: StatusCode,
    said: Option<pages::Tried>,
) -> Response {
    let is_ready = ready.check().await.is_ok();
    match operator.view(link, is_ready, said).await {
        Ok(view) => {
            let mut response = page(status, pages::operator(&view).into_string());
            let policy = HeaderValue::from_static(pages::operator_content_security_policy());
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Err(error) => no_operator_page(error),
    }
}

fn no_operator_page(error: Error) -> Response {
    match error {
        Error::Refused(Refusal::NotFound) => {
            let text = "This link opens nothing, or not any more: such a link ends minutes after it was made. The operator \
                        makes a new one with `placet admin link`.";
            page(StatusCode::NOT_FOUND, pages::notice("Not found", text).into_string())
        }
        error => Problem::from(error).into_response(),
    }
}

fn page(status: StatusCode, text: String) -> Response {
    let mut response = (status, text).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, pages::content_security_policy()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
