//! Timers of short-lived processes: what happens later is handed over to the deadline queue.
//!
//! Nothing is left to run after the answer: Lambda freezes the process. What the queue does not take, the sweep finds.

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_core::request::Request;
use placet_gate::ports::{Clock as _, OutboxMessage, Timers};

use crate::SystemClock;
use crate::errand::{DeadlineQueue, Errand};

/// Timers of the functions that answer people and programs: one call of SQS an act.
pub(crate) struct HandOver(pub(crate) DeadlineQueue);

impl HandOver {
    async fn put(&self, errands: &[Errand], now: Timestamp) {
        if errands.is_empty() {
            return;
        }
        if let Err(fault) = self.0.put(errands, now).await {
            tracing::error!(
                error = fault.chain(),
                "an errand was not taken; the sweep does it within two minutes"
            );
        }
    }
}

#[async_trait]
impl Timers for HandOver {
    async fn wake_at(&self, key: RequestKey, at: Timestamp) {
        let now = SystemClock.now();
        self.put(Errand::wake(key, at, now).as_slice(), now).await;
    }

    async fn retry(&self, message: &OutboxMessage) {
        let now = SystemClock.now();
        self.put(Errand::retry(message, now).as_slice(), now).await;
    }

    async fn dispatch(&self, request: &Request, outgoing: Vec<OutboxMessage>) {
        let now = SystemClock.now();
        self.put(&Errand::after(request, &outgoing, now), now).await;
    }
}
