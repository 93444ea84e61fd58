//! Raises alerts that belong to no request, and keeps them rare.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::id::ClientId;
use placet_core::keys::EpochNumber;

use crate::alert::Alert;
use crate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use crate::ports::{Dispatch, Measurement};
use crate::{Fault, Gate};

/// How many bad signatures within a minute are a burst.
const BURST: u32 = 20;

/// How long an alert that names a client's old secret is not repeated, in milliseconds.
const OLD_SECRET_MS: i64 = 7 * placet_core::time::DAY_MS;

/// Remembers what was alerted, so that a flood makes one alert.
#[derive(Default)]
pub(crate) struct AlertThrottle(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    old_secrets: HashSet<(ClientId, EpochNumber)>,
    minute: i64,
    bad_signatures: u32,
}

impl Gate {
    /// Puts an alert that belongs to no transition into the outbox.
    pub async fn alert(&self, subject: OutboxSubject, alert: Alert) -> Result<(), Fault> {
        let message = OutboxMessage::new(
            subject,
            OutboxPayload::Alert(alert),
            self.clock.now(),
            self.dispatcher.lease_ms(),
        );
        let commit = crate::ports::Commit { outbox: vec![message.clone()], ..Default::default() };
        self.store.commit(commit).await?;
        self.dispatcher.dispatch(Dispatch { messages: vec![message], ..Dispatch::default() }).await;
        Ok(())
    }

    async fn alert_or_log(&self, alert: Alert) {
        let kind = alert.kind();
        if let Err(fault) = self.alert(OutboxSubject::Gate, alert).await {
            tracing::error!(alert = kind, error = fault.chain(), "an alert could not be recorded");
        }
    }

    pub(crate) async fn saw_old_secret(&self, client: &ClientId, epoch: EpochNumber) {
        let first = {
            let mut seen = self.alert_throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.old_secrets.insert((client.clone(), epoch))
        };
        if !first {
            return;
        }
        // Another process may have said it. Where the store cannot tell, it is better said twice.
        let mark = format!("old-secret/{client}/{epoch}");
        let until = self.clock.now().plus_millis(OLD_SECRET_MS);
        if self.store.mark(&mark, until).await.unwrap_or(true) {
            self.alert_or_log(Alert::OldSecret { client: client.clone(), epoch }).await;
        }
    }

    /// A caller claimed to be a client of the policy, and its signature or key was wrong.
    pub(crate) async fn saw_bad_signature(&self, now: Timestamp) {
        self.metrics.record(&Measurement::BadSignature);
        let minute = now.seconds().div_euclid(60);
        let count = {
            let mut seen = self.alert_throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.minute != minute {
                (seen.minute, seen.bad_signatures) = (minute, 0);
            }
            seen.bad_signatures = seen.bad_signatures.saturating_add(1);
            seen.bad_signatures
        };
        if count == BURST {
            self.alert_or_log(Alert::BadSignatures { count, minute }).await;
        }
    }
}
