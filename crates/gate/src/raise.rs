//! Raises alerts that belong to no transition, keeps them rare, and knows when what goes on is over.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, ReviewerId};
use placet_core::keys::EpochNumber;
use placet_core::refusal::Refusal;
use placet_core::request::{Pending, Request};
use placet_core::time::DAY_MS;

use crate::alert::{Alert, MatterNow, Recurring};
use crate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use crate::ports::{Commit, Dispatch, Measurement};
use crate::{Error, Fault, Gate};

/// How many bad signatures of one client within a minute are a burst.
const BURST: u32 = 20;

/// How many approvals of one person within an hour, each pressed faster than its page can be read, are unusual.
const FAST_APPROVALS: u32 = 5;

const HOUR_MS: i64 = 60 * 60_000;

/// For how long after a request's deadline it is remembered that operators heard of it, in milliseconds.
const HEARD_MS: i64 = 7 * DAY_MS;

/// Remembers what was seen a moment ago, so that a flood does not become a flood of writes.
#[derive(Default)]
pub(crate) struct AlertThrottle {
    seen: Mutex<Seen>,
    /// Held from the look whether something has been said until it is said and remembered: many at once say it once.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Seen {
    /// With the day.
    old_secrets: HashSet<(ClientId, EpochNumber, i64)>,
    minute: i64,
    bad_signatures: HashMap<ClientId, u32>,
    hour: i64,
    fast_approvals: HashMap<ReviewerId, u32>,
    due: Option<EpochNumber>,
    /// The week whose report is known to be sent, by this process or another.
    reported: Option<String>,
}

impl AlertThrottle {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn knows_due(&self, epoch: EpochNumber) -> bool {
        self.seen().due == Some(epoch)
    }

    pub(crate) fn knows_report(&self, week: &str) -> bool {
        self.seen().reported.as_deref() == Some(week)
    }

    pub(crate) fn remember_report(&self, week: String) {
        self.seen().reported = Some(week);
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
}

impl Gate {
    /// Puts an alert that belongs to no transition into the outbox.
    pub async fn alert(&self, subject: OutboxSubject, alert: Alert) -> Result<(), Fault> {
        let payload = OutboxPayload::Alert(alert);
        let message = OutboxMessage::new(subject, payload, self.clock.now(), self.dispatcher.lease_ms());
        self.commit_messages(vec![message], Vec::new()).await
    }

    /// Whether a name is remembered. It is not by being asked for: a mark that ends now is forgotten at once.
    pub(crate) async fn is_marked(&self, name: &str) -> Result<bool, Fault> {
        Ok(!self.store.mark(name, self.clock.now()).await?)
    }

    /// Puts an alert into the outbox, unless one of that name is remembered, and then remembers it until then.
    ///
    /// Who dies in between says it again, rather than never.
    pub(crate) async fn alert_once(&self, name: &str, until: Timestamp, alert: Alert) -> Result<(), Fault> {
        let _turn = self.alert_throttle.turn.lock().await;
        if !self.is_marked(name).await? {
            self.alert(OutboxSubject::Gate, alert).await?;
            self.store.mark(name, until).await?;
        }
        Ok(())
    }

    /// Something that goes on was seen once more. Operators hear when it begins, and when nothing more is seen of it.
    pub async fn saw_again(&self, subject: OutboxSubject, alert: Alert) -> Result<(), Fault> {
        let Some(recurring) = alert.recurring(&subject) else { return self.alert(subject, alert).await };
        let _turn = self.alert_throttle.turn.lock().await;
        let now = self.clock.now();
        let span = recurring.span_at(now);
        let seen = recurring.seen_in(span);
        if self.is_marked(&seen).await? {
            return Ok(());
        }
        let went_on = self.is_marked(&recurring.seen_in(span.saturating_sub(1))).await?;
        if !went_on {
            // What goes on is the gate's matter, whichever approval it showed at.
            let subject = if alert.is_of_its_subject() { subject } else { OutboxSubject::Gate };
            let over = OutboxPayload::AlertOver(alert.clone());
            let over = OutboxMessage {
                due_at: recurring.start_of(span.saturating_add(2)),
                ..OutboxMessage::new(subject.clone(), over, now, 0)
            };
            let lease_ms = self.dispatcher.lease_ms();
            let begins = OutboxMessage::new(subject, OutboxPayload::Alert(alert), now, lease_ms);
            self.commit_messages(vec![begins], vec![over]).await?;
        }
        // Last: who dies before this says it again, rather than never.
        self.store.mark(&seen, recurring.start_of(span.saturating_add(3))).await?;
        Ok(())
    }

    /// Whether what operators were alerted of is over.
    pub async fn look_whether_over(
        &self,
        subject: &OutboxSubject,
        alert: &Alert,
    ) -> Result<MatterNow, Fault> {
        if let (Alert::OpenTooLong { .. }, OutboxSubject::Approval { approval_id, .. }) = (alert, subject) {
            let is_said = self.is_marked(&open_mark(approval_id)).await?;
            return Ok(if is_said { MatterNow::Over } else { MatterNow::NeverSaid });
        }
        if let Alert::ClientPaused { client, .. } = alert {
            return Ok(self.paused_until(client).await?.map_or(MatterNow::Over, MatterNow::GoesOn));
        }
        let Some(recurring) = alert.recurring(subject) else { return Ok(MatterNow::Over) };
        let span = recurring.span_at(self.clock.now());
        for span in [span, span.saturating_sub(1)] {
            if self.is_marked(&recurring.seen_in(span)).await? {
                return Ok(MatterNow::GoesOn(recurring.start_of(span.saturating_add(2))));
            }
        }
        Ok(MatterNow::Over)
    }

    /// Whether what an alert said at that time still holds, as far as that can be seen. News always does; that something no
    /// longer goes on is told after it.
    pub async fn still_holds(
        &self,
        subject: &OutboxSubject,
        alert: &Alert,
        since: Timestamp,
    ) -> Result<bool, Fault> {
        match alert {
            Alert::OpenTooLong { .. } => Ok(self.pending_of(subject).await?.is_some()),
            Alert::NobodyLeft { stage, .. } => {
                let pending = self.pending_of(subject).await?;
                let is_it = |pending: &Pending| pending.stage.saturating_add(1) == *stage;
                Ok(pending.is_some_and(|pending| pending.deserted && is_it(&pending)))
            }
            Alert::RotationFailed { .. } | Alert::RotationDue { .. } => {
                Ok(self.keys.keyring().await?.current.created_at <= since)
            }
            Alert::ClientPaused { client, .. } => Ok(self.paused_until(client).await?.is_some()),
            Alert::Expired { .. }
            | Alert::CallbackGivenUp { .. }
            | Alert::KeysRotated { .. }
            | Alert::OldSecret { .. }
            | Alert::BadSignatures { .. }
            | Alert::NotTold { .. }
            | Alert::DigestNotTold { .. }
            | Alert::MailReturned { .. }
            | Alert::WayNotReached { .. }
            | Alert::FastApprovals { .. } => Ok(true),
        }
    }

    async fn pending_of(&self, subject: &OutboxSubject) -> Result<Option<Pending>, Fault> {
        let OutboxSubject::Approval { key, approval_id } = subject else { return Ok(None) };
        let request = self.store.load(*key).await?;
        let request = request.filter(|request| request.asked().approval_id == *approval_id);
        Ok(request.as_ref().and_then(Request::pending).cloned())
    }

    /// Looks whether a request still waits, its deadline settled first. If so, operators hear of it in the place of the
    /// message that asked for this look. `false` if it has ended.
    pub async fn alert_if_open(&self, message: &OutboxMessage, request: &Request) -> Result<bool, Error> {
        let (key, asked) = (request.key(), request.asked());
        let waits = async || match self.settled(key).await {
            Ok(now) => Ok(now.asked().approval_id == asked.approval_id && now.pending().is_some()),
            Err(Error::Refused(Refusal::NotFound)) => Ok(false),
            Err(error) => Err(error),
        };
        if !waits().await? {
            return Ok(false);
        }
        let until = asked.deadline.unwrap_or(asked.created_at).max(self.clock.now()).plus_millis(HEARD_MS);
        self.store.mark(&open_mark(&asked.approval_id), until).await?;
        // Once more: whoever ends it after this look finds the mark, and says that it is over.
        if !waits().await? {
            return Ok(false);
        }
        let (client, request_id) = (asked.client.clone(), asked.request_id.clone());
        let alert = Alert::OpenTooLong { client, request_id, asked_at: asked.created_at };
        self.replace_message(message, vec![OutboxPayload::Alert(alert)]).await?;
        Ok(true)
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

    /// `false` if it could not be recorded: then the next that is seen of it tries again.
    async fn saw_or_log(&self, alert: Alert) -> bool {
        let kind = alert.kind();
        let seen = self.saw_again(OutboxSubject::Gate, alert).await;
        if let Err(fault) = &seen {
            tracing::error!(alert = kind, error = fault.chain(), "an alert could not be recorded");
        }
        seen.is_ok()
    }

    pub(crate) async fn saw_old_secret(&self, client: &ClientId, epoch: EpochNumber) {
        let known = (client.clone(), epoch, self.clock.now().day());
        let is_first = {
            let mut seen = self.alert_throttle.seen();
            seen.old_secrets.retain(|(_, _, day)| *day == known.2);
            seen.old_secrets.insert(known.clone())
        };
        if is_first && !self.saw_or_log(Alert::OldSecret { client: client.clone(), epoch }).await {
            self.alert_throttle.seen().old_secrets.remove(&known);
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
            count_up(&mut seen.bad_signatures, client)
        };
        if count.is_multiple_of(BURST) {
            self.note_burst(client, BURST, now).await;
        }
        if count == BURST
            && !self.saw_or_log(Alert::BadSignatures { client: Some(client.clone()), count, minute }).await
        {
            self.alert_throttle.seen().bad_signatures.insert(client.clone(), BURST.saturating_sub(1));
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
            count_up(&mut seen.fast_approvals, reviewer)
        };
        if count == FAST_APPROVALS
            && !self.saw_or_log(Alert::FastApprovals { reviewer: reviewer.clone(), count, hour }).await
        {
            self.alert_throttle
                .seen()
                .fast_approvals
                .insert(reviewer.clone(), FAST_APPROVALS.saturating_sub(1));
        }
    }
}

fn count_up<K: Clone + Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, of: &K) -> u32 {
    let count = counts.entry(of.clone()).or_default();
    *count = count.saturating_add(1);
    *count
}

/// Names that operators heard that a request waits too long.
fn open_mark(approval: &ApprovalId) -> String {
    format!("alert/open/{approval}")
}
