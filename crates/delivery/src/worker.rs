//! From an outbox row to the channel, and what follows: acknowledge, put off, or give up.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::id::ClientId;
use placet_core::request::{Request, RequestState};
use placet_gate::alert::Alert;
use placet_gate::hooks::HookEvent;
use placet_gate::outbox::{MessageEnd, OutboxMessage, OutboxPayload, OutboxSubject, PastMessage};
use placet_gate::ports::{Measurement, Store};
use placet_gate::{ApprovalView, Error, Gate, QueueItem, WebhookEvent, secrets_of};

use crate::alert::AlertSink;
use crate::callback::{DeliveryOutcome, WebhookDelivery, Webhooks};
use crate::channel::Channels;
use crate::notify::{Ask, Why};
use crate::queue::Queues;
use crate::retry::Again;
use crate::ways::AlertWays;

/// How working off one message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of it is left, or somebody else has it.
    Done,
    /// It must be tried again when it is due. With the message as it now lies in the outbox.
    RetryAt(OutboxMessage),
}

/// How the bodies of messages to programs are written: the JSON names are the HTTP crate's.
#[derive(Clone, Copy)]
pub struct Bodies {
    /// Of a callback or hook.
    pub event: fn(&WebhookEvent<'_>) -> String,
    /// Of a queue's message.
    pub queue_item: fn(&QueueItem<'_>) -> String,
}

/// What a worker tells by.
pub struct Parts {
    /// How people are told.
    pub channels: Channels,
    /// How heavyweight systems are told.
    pub queues: Arc<dyn Queues>,
    /// How callers and subscribers are told.
    pub webhooks: Webhooks,
    /// Who hears every alert in this process, besides the ways: the log.
    pub alerts: Vec<Arc<dyn AlertSink>>,
    /// How operators are told.
    pub ways: AlertWays,
    /// How bodies are written.
    pub bodies: Bodies,
}

/// Works off outbox messages.
pub struct Worker {
    pub(crate) gate: Arc<Gate>,
    pub(crate) parts: Parts,
}

impl Worker {
    /// A worker for that gate's outbox.
    pub const fn new(gate: Arc<Gate>, parts: Parts) -> Self {
        Self { gate, parts }
    }

    /// The gate whose outbox this works off.
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Claims a message, if nobody else has, and works it off: what a queue delivers.
    ///
    /// `seen` must be as it was committed or put off: its attempt and its time are the claim.
    pub async fn claim_and_run(
        &self,
        seen: &OutboxMessage,
        request: Option<&Request>,
    ) -> Result<Progress, Error> {
        match self.gate.claim(seen).await? {
            Some(claimed) => self.run(&claimed, request).await,
            None => Ok(Progress::Done),
        }
    }

    /// Works off one message. The caller holds it: by having committed it, or by a claim.
    ///
    /// `request` saves a read where the caller has it. What nobody needs any more is dropped: a reviewer's message
    /// after the end, a hook that was removed.
    pub async fn run(&self, message: &OutboxMessage, request: Option<&Request>) -> Result<Progress, Error> {
        match (&message.payload, &message.subject) {
            (OutboxPayload::Alert(alert), _) => self.alert(message, alert).await,
            (OutboxPayload::AlertOver(alert), _) => self.alert_over(message, alert).await,
            (OutboxPayload::AlertBy { way, alert, over: false, since, .. }, _) => {
                self.alert_by(message, way, alert, *since).await
            }
            (OutboxPayload::AlertBy { way, alert, over: true, since, opened }, _) => {
                self.over_by(message, way, alert, *since, *opened).await
            }
            (OutboxPayload::AlertSummary { way, minute }, _) => {
                self.alert_summary(message, way, *minute).await
            }
            (OutboxPayload::Report { way, until_day }, _) => self.report(message, way, *until_day).await,
            (OutboxPayload::Reassign { policy, left }, _) => {
                self.gate.forget_devices_of(left).await?;
                match self.gate.reassign_pending(*policy).await? {
                    Some(again_at) => self.put_off(message, message.attempt, again_at).await,
                    None => self.ack(message).await,
                }
            }
            (OutboxPayload::Digest { reviewer, channel, minute }, _) => {
                self.digest(message, reviewer, channel, *minute).await
            }
            (OutboxPayload::ChatWord { place, user, word, .. }, _) => {
                self.whisper(message, place, user, *word).await
            }
            (
                OutboxPayload::Notify { .. }
                | OutboxPayload::Nudge { .. }
                | OutboxPayload::Remind { .. }
                | OutboxPayload::Refresh { .. }
                | OutboxPayload::Publish { .. }
                | OutboxPayload::StillOpen
                | OutboxPayload::LookAtRun
                | OutboxPayload::Callback { .. }
                | OutboxPayload::Hook { .. },
                OutboxSubject::Gate,
            ) => self.ack(message).await,
            (
                OutboxPayload::Notify { .. }
                | OutboxPayload::Nudge { .. }
                | OutboxPayload::Remind { .. }
                | OutboxPayload::Refresh { .. }
                | OutboxPayload::Publish { .. }
                | OutboxPayload::StillOpen
                | OutboxPayload::LookAtRun
                | OutboxPayload::Callback { .. }
                | OutboxPayload::Hook { .. },
                OutboxSubject::Approval { key, approval_id },
            ) => {
                let loaded = match request {
                    Some(_) => None,
                    None => self.store().load(*key).await?,
                };
                match request.or(loaded.as_ref()) {
                    Some(request) if request.asked().approval_id == *approval_id => {
                        self.tell(message, request).await
                    }
                    Some(_) | None => self.ack(message).await,
                }
            }
        }
    }

    async fn tell(&self, message: &OutboxMessage, request: &Request) -> Result<Progress, Error> {
        match &message.payload {
            OutboxPayload::Notify { stage, reviewer, channel } => {
                let ask = Ask { stage: *stage, reviewer, channel, why: Why::Asked };
                self.ask(message, request, &ask).await
            }
            OutboxPayload::Nudge { stage, reviewer, channel } => {
                let ask = Ask { stage: *stage, reviewer, channel, why: Why::Nudged };
                self.ask(message, request, &ask).await
            }
            OutboxPayload::Remind { stage, reviewer, channel } => {
                let ask = Ask { stage: *stage, reviewer, channel, why: Why::Reminded };
                self.ask(message, request, &ask).await
            }
            OutboxPayload::Refresh { .. } => self.refresh(message, request).await,
            OutboxPayload::Publish { stage, queue } => {
                if !waits_in(request, *stage) {
                    return self.ack(message).await;
                }
                let policy = self.gate.policy().await?;
                let base_url = self.gate.base_url(&policy);
                let item = QueueItem { stage: *stage, view: view(request, request.state(), None, &base_url) };
                let body = (self.parts.bodies.queue_item)(&item);
                if self.run_is_over_by_now(message, request).await? {
                    return self.ack(message).await;
                }
                match self.parts.queues.publish(queue, &message.id, &body).await {
                    Ok(()) => self.told(message).await,
                    Err(fault) => self.tell_later(message, &fault.chain()).await,
                }
            }
            OutboxPayload::Callback { number } => {
                let asker = request.asked().client.clone();
                let url = request.state().callbacks().get(*number).cloned();
                self.post(message, request, HookEvent::Decided, &asker, url.as_deref()).await
            }
            OutboxPayload::Hook { hook, event } => match self.gate.hook(hook).await? {
                Some(hook) => self.post(message, request, *event, &hook.client, Some(&hook.url)).await,
                None => self.ack(message).await,
            },
            OutboxPayload::StillOpen if self.gate.now() < message.created_at => {
                self.hold_until(message, message.created_at).await
            }
            OutboxPayload::StillOpen => {
                if self.gate.alert_if_open(message, request).await? {
                    return Ok(Progress::Done);
                }
                self.ack(message).await
            }
            OutboxPayload::LookAtRun => self.look_at_run(message, request).await,
            OutboxPayload::Alert(_)
            | OutboxPayload::AlertOver(_)
            | OutboxPayload::AlertBy { .. }
            | OutboxPayload::AlertSummary { .. }
            | OutboxPayload::Report { .. }
            | OutboxPayload::Reassign { .. }
            | OutboxPayload::Digest { .. }
            | OutboxPayload::ChatWord { .. } => self.ack(message).await,
        }
    }

    async fn post(
        &self,
        message: &OutboxMessage,
        request: &Request,
        event: HookEvent,
        receiver: &ClientId,
        url: Option<&str>,
    ) -> Result<Progress, Error> {
        let policy = self.gate.policy().await?;
        // A client that has left the policy is told nothing more.
        let (Some(url), Some(client)) = (url, policy.client(receiver)) else {
            return self.ack(message).await;
        };
        let asked = request.asked();
        let keyring = self.gate.keyring_with(asked.epoch).await?;
        let as_asked;
        let (state, token) = match event {
            HookEvent::Requested => {
                as_asked = request.as_asked();
                (&as_asked, None)
            }
            // A subscriber that is not the asker sees the outcome, but never holds its token.
            HookEvent::Decided if *receiver == asked.client => {
                (request.state(), self.gate.token_for_asker(request, &policy).await?)
            }
            HookEvent::Decided => (request.state(), None),
        };
        let base_url = self.gate.base_url(&policy);
        let happened_at = state.outcome().map_or(asked.created_at, |outcome| outcome.decided_at);
        let view = view(request, state, token.as_deref(), &base_url);
        let body = (self.parts.bodies.event)(&WebhookEvent { event, happened_at, view });
        let outcome = self
            .parts
            .webhooks
            .post(&WebhookDelivery {
                id: &message.id,
                body: &body,
                url,
                callback_hosts: &client.callback_hosts,
                secrets: &secrets_of(client, &keyring),
                now: self.gate.now(),
                attempt: message.attempt,
                first_at: message.created_at,
            })
            .await;
        match outcome {
            DeliveryOutcome::Delivered => {
                if let (OutboxPayload::Callback { .. }, Some(outcome)) = (&message.payload, state.outcome()) {
                    let after_ms = self.gate.now().millis_since(outcome.decided_at);
                    self.gate.metrics().record(&Measurement::Released { after_ms });
                }
                self.end(message, MessageEnd::Delivered).await
            }
            DeliveryOutcome::ReceiverGone(reason) => {
                tracing::info!(approval.id = %asked.approval_id, reason, "a callback had nobody to wake");
                self.ack(message).await
            }
            DeliveryOutcome::Retry { in_ms: Some(wait), reason } => {
                tracing::info!(
                    approval.id = %asked.approval_id,
                    attempt = message.attempt,
                    reason,
                    wait_ms = wait,
                    "a callback was not taken; it will be retried"
                );
                let due_at = self.gate.now().plus_millis(wait);
                self.put_off(message, message.attempt.saturating_add(1), due_at).await
            }
            DeliveryOutcome::Retry { in_ms: None, reason } | DeliveryOutcome::Stop(reason) => {
                self.gate.give_up(request.clone(), message, receiver, &reason).await?;
                self.end(message, MessageEnd::GivenUp).await
            }
        }
    }

    /// Somebody was told. How long it took counts only for what asks: what follows an ask is late on purpose.
    pub(crate) async fn told(&self, message: &OutboxMessage) -> Result<Progress, Error> {
        let channel = match &message.payload {
            OutboxPayload::Notify { channel, .. } => Some(channel.as_str()),
            OutboxPayload::Publish { .. } => Some("queue"),
            _ => None,
        };
        if let Some(channel) = channel {
            let after_ms = self.gate.now().millis_since(message.created_at).max(0);
            self.gate.metrics().record(&Measurement::Notified { channel, after_ms });
        }
        self.end(message, MessageEnd::Delivered).await
    }

    /// A reviewer or a queue could not be told: later again, for as long as their stage waits.
    pub(crate) async fn tell_later(&self, message: &OutboxMessage, reason: &str) -> Result<Progress, Error> {
        self.try_again(message, Again::after_failure(message.attempt), reason).await
    }

    /// Then again. Operators hear of it when it has failed often enough.
    pub(crate) async fn try_again(
        &self,
        message: &OutboxMessage,
        again: Again,
        reason: &str,
    ) -> Result<Progress, Error> {
        tracing::warn!(
            message.id = %message.id,
            attempt = again.attempt,
            wait_ms = again.in_ms,
            error = reason,
            "a reviewer or queue could not be told; the message will be retried"
        );
        let due_at = self.gate.now().plus_millis(again.in_ms);
        let progress = self.put_off(message, again.attempt, due_at).await?;
        if again.is_enough() {
            self.alert_not_told(message, again.attempt).await?;
        }
        Ok(progress)
    }

    /// Operators hear that a message does not get through.
    pub(crate) async fn alert_not_told(&self, message: &OutboxMessage, attempt: u32) -> Result<(), Error> {
        let id = message.id.clone();
        let (reviewer, channel) = match &message.payload {
            OutboxPayload::Notify { reviewer, channel, .. }
            | OutboxPayload::Nudge { reviewer, channel, .. }
            | OutboxPayload::Remind { reviewer, channel, .. }
            | OutboxPayload::Digest { reviewer, channel, .. } => {
                (Some(reviewer.clone()), Some(channel.clone()))
            }
            OutboxPayload::Publish { queue, .. } => (None, Some(queue.clone())),
            _ => (None, None),
        };
        let alert = match (&message.subject, &message.payload) {
            (OutboxSubject::Approval { approval_id, .. }, _) => {
                let approval_id = approval_id.clone();
                Alert::NotTold { reviewer, channel, approval_id, message: id, attempt }
            }
            (OutboxSubject::Gate, OutboxPayload::Digest { reviewer, .. }) => {
                Alert::DigestNotTold { reviewer: reviewer.clone(), channel, message: id, attempt }
            }
            (OutboxSubject::Gate, _) => return Ok(()),
        };
        self.gate.saw_again(message.subject.clone(), alert).await?;
        Ok(())
    }

    pub(crate) async fn put_off(
        &self,
        message: &OutboxMessage,
        attempt: u32,
        due_at: Timestamp,
    ) -> Result<Progress, Error> {
        let moved = self.store().claim(message, attempt, due_at).await?;
        let next = OutboxMessage { attempt, due_at, ..message.clone() };
        Ok(if moved { Progress::RetryAt(next) } else { Progress::Done })
    }

    /// Not before that time, which is when it is first due: what it waits until then is no delay.
    pub(crate) async fn hold_until(
        &self,
        message: &OutboxMessage,
        until: Timestamp,
    ) -> Result<Progress, Error> {
        let next = OutboxMessage { created_at: until, due_at: until, ..message.clone() };
        self.store().replace(&message.id, std::slice::from_ref(&next)).await?;
        Ok(Progress::RetryAt(next))
    }

    /// Forgets a message, and remembers for the numbers how it ended.
    async fn end(&self, message: &OutboxMessage, end: MessageEnd) -> Result<Progress, Error> {
        match PastMessage::of(message, end, self.gate.now()) {
            Some(past) => self.store().end_message(&past).await?,
            None => self.store().ack(&message.id).await?,
        }
        Ok(Progress::Done)
    }

    pub(crate) async fn ack(&self, message: &OutboxMessage) -> Result<Progress, Error> {
        self.store().ack(&message.id).await?;
        Ok(Progress::Done)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.gate.store()
    }
}

pub(crate) fn waits_in(request: &Request, stage: usize) -> bool {
    request.pending().is_some_and(|pending| pending.stage == stage)
}

fn view<'a>(
    request: &'a Request,
    state: &'a RequestState,
    token: Option<&'a str>,
    base_url: &'a str,
) -> ApprovalView<'a> {
    ApprovalView { asked: request.asked(), state, token, base_url }
}
