//! News of an inbox: a bounded number of open streams, and what they are told.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body::Frame;
use placet_gate::Gate;
use placet_gate::ports::Watch;
use tokio::sync::mpsc;

use crate::call::LinkText;
use crate::problem::Problem;
use crate::reviewer::refused;

/// How many inboxes may be told of news at once; the others ask. Far fewer than the gate has connections.
const TOLD_AT_ONCE: usize = 256;

/// How many of one reviewer's.
const TOLD_OF_ONE: usize = 6;

/// How often an inbox that is told of nothing hears that the line still stands; and how often a link is looked at again.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The least time between two pieces of news: many changes at once are one.
const BREATH: Duration = Duration::from_millis(250);

/// Whether this gate can tell an open inbox of news by itself. A function that answers once cannot.
#[derive(Clone, Default)]
pub(crate) struct News {
    told: Option<Arc<Mutex<HashMap<String, usize>>>>,
}

impl News {
    /// News that are told.
    pub(crate) fn told() -> Self {
        Self { told: Some(Arc::default()) }
    }

    pub(super) const fn are_told(&self) -> bool {
        self.told.is_some()
    }

    /// A place for one more open inbox of that reviewer; none if there are too many.
    fn place(&self, reviewer: &str) -> Option<Place> {
        let told = self.told.as_ref()?;
        let mut open = told.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(reviewer).copied().unwrap_or(0);
        if own >= TOLD_OF_ONE || open.values().sum::<usize>() >= TOLD_AT_ONCE {
            return None;
        }
        open.insert(reviewer.to_owned(), own + 1);
        Some(Place { told: Arc::clone(told), reviewer: reviewer.to_owned() })
    }
}

/// The place of one open inbox, given back when it is dropped.
struct Place {
    told: Arc<Mutex<HashMap<String, usize>>>,
    reviewer: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let left = open.get(&self.reviewer).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            open.remove(&self.reviewer);
        } else {
            open.insert(self.reviewer.clone(), left);
        }
    }
}

/// Tells an open inbox of news: a stream of server-sent events.
///
/// An event `changed` says the inbox's new `ETag`; then it is asked for again. Where many listen already, or where this
/// gate cannot tell, the answer is 204, and the page asks now and then instead.
#[utoipa::path(get, path = "/inbox/{link}/events", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    responses(
        (status = 200, description = "the stream", content((String = "text/event-stream"))),
        (status = 204, description = "no news are told here: ask"),
        (status = 404, description = "`not_found`: nobody's link", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 410, description = "`link_expired`", content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 503, description = "`no_policy` or `unavailable`", content((String = "text/html"), (Problem = "application/problem+json")))))]
pub(crate) async fn events(
    State(gate): State<Arc<Gate>>,
    Extension(news): Extension<News>,
    LinkText(link): LinkText,
    headers: HeaderMap,
) -> Response {
    // The watch is older than every version that is compared, so no change falls between the two.
    let watch = gate.watch_pending();
    let version = match gate.inbox_version(&link).await {
        Ok(version) => version,
        Err(error) => return refused(error.into(), &headers),
    };
    let owner = match gate.inbox_reviewer(&link).await {
        Ok(owner) => owner,
        Err(error) => return refused(error.into(), &headers),
    };
    let Some(place) = news.place(owner.as_str()) else { return StatusCode::NO_CONTENT.into_response() };
    let (lines, stream) = mpsc::channel(1);
    tokio::spawn(tell(gate, link, version, watch, lines, place));
    let mut response = Body::new(EventStream(stream)).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Proxies that gather an answer before they hand it on would hold every piece of news back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Tells one open inbox of news until it is closed, or its link is nobody's any more.
async fn tell(
    gate: Arc<Gate>,
    link: String,
    mut version: String,
    mut watch: Box<dyn Watch>,
    pieces: mpsc::Sender<Bytes>,
    _place: Place,
) {
    let mut piece = format!("retry: 3000\nevent: changed\ndata: {version}\n\n");
    loop {
        if pieces.send(Bytes::from(piece)).await.is_err() {
            return;
        }
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(heartbeat);
        piece = loop {
            let is_beat = tokio::select! {
                () = pieces.closed() => return,
                () = watch.changed() => false,
                () = &mut heartbeat => true,
            };
            // Nobody decides by it, but a link that has been voided hears nothing more.
            let Ok(now) = gate.inbox_version(&link).await else { return };
            if now != version {
                version = now;
                break format!("event: changed\ndata: {version}\n\n");
            }
            if is_beat {
                break ":\n\n".to_owned();
            }
            tokio::time::sleep(BREATH).await;
        };
        tokio::time::sleep(BREATH).await;
    }
}

/// A body that is sent as it comes.
struct EventStream(mpsc::Receiver<Bytes>);

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reviewer_and_all_of_them_have_so_many_places() {
        let news = News::told();
        let mut own: Vec<_> = (0..TOLD_OF_ONE).map(|_| news.place("bob").unwrap()).collect();
        assert!(news.place("bob").is_none());
        let others: Vec<_> =
            (0..TOLD_AT_ONCE - TOLD_OF_ONE).map(|n| news.place(&format!("r{n}")).unwrap()).collect();
        own.pop();
        let again = news.place("bob");
        assert!(again.is_some() && news.place("carol").is_none());
        drop((own, others, again));
        assert!(news.told.as_ref().unwrap().lock().unwrap().is_empty());
        assert!(News::default().place("bob").is_none());
    }
}
