//! Raises alerts that belong to no transition, keeps them rare, and knows when what goes on is over.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::id::{ClientId, ReviewerId};
use placet_core::keys::EpochNumber;

use crate::alert::{Alert, Recurring};
use crate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use crate::ports::{Commit, Dispatch, Measurement};
use crate::{Fault, Gate};

/// How many bad signatures of one client within a minute are a burst.
const BURST: u32 = 20;

/// How many approvals of one person within an hour, each pressed faster than its page can be read, are unusual.
const FAST_APPROVALS: u32 = 5;

const HOUR_MS: i64 = 60 * 60_000;

/// Remembers what was seen a moment ago, so that a flood does not become a flood of writes.
#[derive(Default)]
pub(crate) struct AlertThrottle(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// With the day.
    old_secrets: HashSet<(ClientId, EpochNumber, i64)>,
    minute: i64,
    bad_signatures: HashMap<ClientId, u32>,
    hour: i64,
    fast_approvals: HashMap<ReviewerId, u32>,
    due: Option<EpochNumber>,
}

impl AlertThrottle {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn knows_due(&self, epoch: EpochNumber) -> bool {
        self.seen().due == Some(epoch)
    }

    pub(crate) fn remember_due(&self, epoch: EpochNumber) {
        self.seen().due = Some(epoch);
    }
}

impl Recurring {
    /// The span in which that moment is.
    fn span_at(&self, at: Timestamp) -> i64 {
        at.millis().div_euclid(self.span_ms)
    }

    fn start_of(&self, span: i64) -> Timestamp {
        Timestamp::from_millis(span.saturating_mul(self.span_ms))
    }

    /// Names that it was seen in that span.
    fn seen_in(&self, span: i64) -> String {
        format!("{}/{span}", self.name)
    }

    /// Names the same for whoever sees it in the span after: who looks whether it is over must not take that away.
    fn known_from(&self, span: i64) -> String {
        format!("{}/{span}/known", self.name)
    }
}

impl Gate {
    /// Puts an alert that belongs to no transition into the outbox.
    pub async fn alert(&self, subject: OutboxSubject, alert: Alert) -> Result<(), Fault> {
        let payload = OutboxPayload::Alert(alert);
        let message = OutboxMessage::new(subject, payload, self.clock.now(), self.dispatcher.lease_ms());
        self.commit_messages(vec![message], Vec::new()).await
    }

    /// Something that goes on was seen once more. Operators hear when it begins, and when nothing more is seen of it.
    pub async fn saw_again(&self, subject: OutboxSubject, alert: Alert) -> Result<(), Fault> {
        let Some(recurring) = alert.recurring(&subject) else { return self.alert(subject, alert).await };
        let now = self.clock.now();
        let span = recurring.span_at(now);
        let until = recurring.start_of(span.saturating_add(3));
        if !self.store.mark(&recurring.seen_in(span), until).await? {
            return Ok(());
        }
        let went_on = !self.store.mark(&recurring.known_from(span.saturating_sub(1)), until).await?;
        if !went_on {
            let over = OutboxPayload::AlertOver(alert.clone());
            let at = recurring.start_of(span.saturating_add(2));
            let over = OutboxMessage {
                created_at: at,
                due_at: at,
                ..OutboxMessage::new(subject.clone(), over, now, 0)
            };
            let lease_ms = self.dispatcher.lease_ms();
            let begins = OutboxMessage::new(subject, OutboxPayload::Alert(alert), now, lease_ms);
            self.commit_messages(vec![begins], vec![over]).await?;
        }
        // Last: who dies before this says it again, rather than never.
        self.store.mark(&recurring.known_from(span), until).await?;
        Ok(())
    }

    /// Whether what operators were alerted of is over; if it goes on, when to look again.
    pub async fn look_whether_over(
        &self,
        subject: &OutboxSubject,
        alert: &Alert,
    ) -> Result<Option<Timestamp>, Fault> {
        let Some(recurring) = alert.recurring(subject) else { return Ok(None) };
        let span = recurring.span_at(self.clock.now());
        let next = recurring.start_of(span.saturating_add(1));
        let was_quiet = self.store.mark(&recurring.seen_in(span.saturating_sub(1)), next).await?;
        Ok((!was_quiet).then_some(next))
    }

    /// Puts messages into the outbox in the place of one that they follow from, all or nothing.
    pub async fn replace_message(
        &self,
        message: &OutboxMessage,
        payloads: Vec<OutboxPayload>,
    ) -> Result<(), Fault> {
        let (now, lease_ms) = (self.clock.now(), self.dispatcher.lease_ms());
        let new = |payload| OutboxMessage::new(message.subject.clone(), payload, now, lease_ms);
        let messages: Vec<OutboxMessage> = payloads.into_iter().map(new).collect();
        self.store.replace(&message.id, &messages).await?;
        self.dispatcher.dispatch(Dispatch { messages, ..Dispatch::default() }).await;
        Ok(())
    }

    /// Commits messages: those that are to be told now, and those for later, which the sweep takes.
    async fn commit_messages(&self, now: Vec<OutboxMessage>, later: Vec<OutboxMessage>) -> Result<(), Fault> {
        let outbox = now.iter().cloned().chain(later).collect();
        self.store.commit(Commit { outbox, ..Commit::default() }).await?;
        self.dispatcher.dispatch(Dispatch { messages: now, ..Dispatch::default() }).await;
        Ok(())
    }

    async fn saw_or_log(&self, alert: Alert) {
        let kind = alert.kind();
        if let Err(fault) = self.saw_again(OutboxSubject::Gate, alert).await {
            tracing::error!(alert = kind, error = fault.chain(), "an alert could not be recorded");
        }
    }

    pub(crate) async fn saw_old_secret(&self, client: &ClientId, epoch: EpochNumber) {
        let day = self.clock.now().day();
        let is_first = {
            let mut seen = self.alert_throttle.seen();
            seen.old_secrets.retain(|(_, _, known)| *known == day);
            seen.old_secrets.insert((client.clone(), epoch, day))
        };
        if is_first {
            self.saw_or_log(Alert::OldSecret { client: client.clone(), epoch }).await;
        }
    }

    /// A caller claimed to be a client of the policy, and its signature or key was wrong.
    pub(crate) async fn saw_bad_signature(&self, client: &ClientId, now: Timestamp) {
        self.metrics.record(&Measurement::BadSignature);
        let minute = now.seconds().div_euclid(60);
        let count = {
            let mut seen = self.alert_throttle.seen();
            if seen.minute != minute {
                seen.minute = minute;
                seen.bad_signatures.clear();
            }
            let count = seen.bad_signatures.entry(client.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        if count == BURST {
            self.saw_or_log(Alert::BadSignatures { client: Some(client.clone()), count, minute }).await;
        }
    }

    /// Somebody approved faster than the page can be read.
    pub(crate) async fn saw_fast_approval(&self, reviewer: &ReviewerId) {
        let hour = self.clock.now().millis().div_euclid(HOUR_MS);
        // Each process counts for itself: a write for every fast approval would make all of them slower.
        let count = {
            let mut seen = self.alert_throttle.seen();
            if seen.hour != hour {
                seen.hour = hour;
                seen.fast_approvals.clear();
            }
            let count = seen.fast_approvals.entry(reviewer.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        if count == FAST_APPROVALS {
            self.saw_or_log(Alert::FastApprovals { reviewer: reviewer.clone(), count, hour }).await;
        }
    }
}
