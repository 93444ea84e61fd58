//! A request's body, with a limit on how long it takes and on how much is held of all that have not arrived.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::connections::Connection;

/// A request's body that must arrive in time: one that drips would hold its connection for ever.
pub(super) struct Timed {
    body: Incoming,
    limit: Duration,
    waits: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
    began: u64,
    held: usize,
}

impl Timed {
    pub(super) fn new(body: Incoming, limit: Duration, connection: Arc<Connection>) -> Self {
        let began = connection.since_start();
        Self { body, limit, waits: None, connection, began, held: 0 }
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.connection.lets_go(self.held);
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        // Those that were cut let go of what they hold when it is their turn. Whoever reads on before that, and there may be
        // hundreds after a standstill, would hold as much again.
        if this.connection.must_not_read() {
            this.connection.waits(this.began);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.connection.works();
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref)
            {
                this.held = this.held.saturating_add(data.len());
                this.connection.holds(data.len());
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // Since the body began, not since its last byte: one that drips is as old as one that stands still.
        this.connection.waits(this.began);
        // Most bodies come with their head, and never need the timer.
        let waits = this.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.limit)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => {
                this.connection.works();
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
