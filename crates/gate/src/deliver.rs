//! Telling people and programs: which messages a change makes, and sending one.

use placet_core::audit::{AuditEvent, AuditEventKind, Channel};
use placet_core::policy::{Assignee, ClientRole, Policy, Reviewer};
use placet_core::request::{Effect, Request, Transition};
use placet_core::{Timestamp, words};

use crate::alert::Alert;
use crate::authenticate::secrets_of;
use crate::ports::{
    Commit, DeliveryOutcome, Hook, HookEvent, Measurement, Message, Notification, OutboxMessage, Post,
    RequestWrite, Via, View,
};
use crate::{Error, Fault, Gate, LEASE_MS, tokens};

/// After how many failed tries to tell a reviewer the operator is alerted.
const ALERT_AFTER: u32 = 3;

/// The longest wait between two tries to tell a reviewer, in milliseconds.
const TELL_RETRY_MAX_MS: i64 = 60_000;

impl Gate {
    /// The messages that a change makes. They are committed with it.
    pub(crate) async fn messages(
        &self,
        request: &Request,
        effects: &[Effect],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Vec<OutboxMessage>, Fault> {
        let mut all = Vec::new();
        for effect in effects {
            match effect {
                Effect::NotifyReviewers { stage, asked } => {
                    for Assignee { reviewer, .. } in asked {
                        let ways = policy.reviewer(reviewer).map_or_else(Vec::new, ways_to);
                        all.extend(ways.into_iter().map(|channel| Message::Tell {
                            stage: *stage,
                            reviewer: reviewer.clone(),
                            channel,
                        }));
                    }
                }
                Effect::Publish { stage, queue } => {
                    all.push(Message::Publish { stage: *stage, queue: queue.clone() });
                }
                Effect::Requested => all.extend(self.hooked(request, HookEvent::Requested, policy).await?),
                Effect::Decided => {
                    if request.asked.callback_url.is_some() {
                        all.push(Message::Callback);
                    }
                    all.extend(self.hooked(request, HookEvent::Decided, policy).await?);
                }
            }
        }
        let make = |what: Message| OutboxMessage {
            id: message_id(request, &what),
            key: request.asked.key(),
            approval_id: request.asked.approval_id.clone(),
            what,
            attempt: 0,
            created_at: now,
            due_at: now.plus_millis(LEASE_MS),
        };
        Ok(all.into_iter().map(make).collect())
    }

    async fn hooked(
        &self,
        request: &Request,
        event: HookEvent,
        policy: &Policy,
    ) -> Result<Vec<Message>, Fault> {
        let hooks = self.known_hooks().await?;
        let hears = |hook: &&Hook| {
            let auditor =
                || policy.client(&hook.client).is_some_and(|client| client.has(ClientRole::Auditor));
            hook.events.contains(&event) && (hook.client == request.asked.client || auditor())
        };
        Ok(hooks.iter().filter(hears).map(|hook| Message::Hook { hook: hook.id.clone(), event }).collect())
    }

    /// Takes a message that was handed over, if nobody else has, and sends it: what a queue delivers.
    ///
    /// `message` must be as it was committed or put off: its try and its time are the claim. Does nothing where it was
    /// sent, or taken by somebody else, in the meantime.
    pub async fn take_up(&self, message: &OutboxMessage, request: Option<&Request>) -> Result<(), Error> {
        let lease = self.clock.now().plus_millis(LEASE_MS);
        // A claim must move the message, or the next one with the same wish would succeed as well.
        let lease = if lease == message.due_at { lease.plus_millis(1) } else { lease };
        if !self.store.reschedule(message, message.attempt, lease).await? {
            return Ok(());
        }
        self.deliver(&OutboxMessage { due_at: lease, ..message.clone() }, request).await
    }

    /// Sends one message and records how that went. The caller holds it: by committing it, or by its lease.
    ///
    /// What nobody needs any more is dropped: a reviewer's letter after the end, a hook that was removed.
    pub async fn deliver(&self, message: &OutboxMessage, request: Option<&Request>) -> Result<(), Error> {
        let policy = self.policy().await?;
        let loaded;
        let request = if request.is_some() {
            request
        } else {
            loaded = self.store.load(message.key).await?;
            loaded.as_ref()
        };
        let Some(request) = request.filter(|request| request.asked.approval_id == message.approval_id) else {
            return Ok(self.store.sent(&message.id).await?);
        };
        match &message.what {
            Message::Tell { stage, reviewer, channel } => {
                let waits = request.pending().is_some_and(|pending| pending.stage == *stage);
                let result = match policy.reviewer(reviewer) {
                    Some(reviewer) if waits => {
                        let letter =
                            self.letter(message, request, *stage, reviewer, *channel, &policy).await?;
                        self.notify.tell(&letter).await.map(|()| self.saw_told(message))
                    }
                    Some(_) | None => Ok(()),
                };
                self.told_or_again(message, result).await
            }
            Message::Publish { stage, queue } => {
                let waits = request.pending().is_some_and(|pending| pending.stage == *stage);
                let base_url = self.base_url(&policy);
                let view = View { request, token: None, base_url: &base_url };
                let result = if waits {
                    self.notify.publish(queue, *stage, &view).await.map(|()| self.saw_told(message))
                } else {
                    Ok(())
                };
                self.told_or_again(message, result).await
            }
            Message::Callback => {
                let url = request.asked.callback_url.as_deref();
                self.post(message, request, HookEvent::Decided, &request.asked.client, url, &policy).await
            }
            Message::Hook { hook, event } => {
                let hooks = self.store.hooks().await?;
                match hooks.iter().find(|known| known.id == *hook) {
                    Some(hook) => {
                        let asked;
                        let request = match event {
                            HookEvent::Requested => {
                                asked = request.as_asked();
                                &asked
                            }
                            HookEvent::Decided => request,
                        };
                        self.post(message, request, *event, &hook.client, Some(&hook.url), &policy).await
                    }
                    None => Ok(self.store.sent(&message.id).await?),
                }
            }
        }
    }

    fn saw_told(&self, message: &OutboxMessage) {
        self.meter.record(&Measurement::Told { after_ms: self.clock.now().millis_since(message.created_at) });
    }

    async fn told_or_again(&self, message: &OutboxMessage, result: Result<(), Fault>) -> Result<(), Error> {
        let Err(fault) = result else { return Ok(self.store.sent(&message.id).await?) };
        let attempt = message.attempt.saturating_add(1);
        tracing::warn!(
            approval.id = %message.approval_id,
            attempt,
            error = fault.chain(),
            "a reviewer or queue could not be told; it will be tried again"
        );
        let wait = 1000_i64.saturating_mul(1 << attempt.min(10)).min(TELL_RETRY_MAX_MS);
        self.again(message, attempt, wait).await?;
        if attempt == ALERT_AFTER {
            let approval_id = message.approval_id.clone();
            self.notify.alert(&Alert::ReviewerNotTold { approval_id, attempt }).await;
        }
        Ok(())
    }

    async fn again(&self, message: &OutboxMessage, attempt: u32, wait_ms: i64) -> Result<(), Error> {
        let due_at = self.clock.now().plus_millis(wait_ms);
        if self.store.reschedule(message, attempt, due_at).await? {
            self.timers.retry(&OutboxMessage { attempt, due_at, ..message.clone() }).await;
        }
        Ok(())
    }

    async fn post(
        &self,
        message: &OutboxMessage,
        request: &Request,
        event: HookEvent,
        receiver: &placet_core::id::ClientId,
        url: Option<&str>,
        policy: &Policy,
    ) -> Result<(), Error> {
        // A client that has left the policy is told nothing more.
        let (Some(url), Some(client)) = (url, policy.client(receiver)) else {
            return Ok(self.store.sent(&message.id).await?);
        };
        let keyring = self.keyring_with(request.asked.epoch).await?;
        // A subscriber that is not the asker sees the outcome, but never holds its token.
        let token = if *receiver == request.asked.client {
            tokens::mint(request, policy, &keyring, None)?
        } else {
            None
        };
        let base_url = self.base_url(policy);
        let happened_at = request.outcome().map_or(request.asked.created_at, |outcome| outcome.decided_at);
        let posted = self
            .notify
            .post(&Post {
                id: &message.id,
                event,
                happened_at,
                view: View { request, token: token.as_deref(), base_url: &base_url },
                url,
                callback_hosts: &client.callback_hosts,
                secrets: &secrets_of(client, &keyring),
                sent_at: self.clock.now().seconds(),
                attempt: message.attempt,
                first_at: message.created_at,
            })
            .await;
        match posted {
            DeliveryOutcome::Delivered => Ok(self.store.sent(&message.id).await?),
            DeliveryOutcome::ReceiverGone { reason } => {
                tracing::info!(approval.id = %message.approval_id, reason, "a callback had nobody to wake");
                Ok(self.store.sent(&message.id).await?)
            }
            DeliveryOutcome::Again { in_ms: Some(wait), reason } => {
                tracing::info!(
                    approval.id = %message.approval_id,
                    attempt = message.attempt,
                    reason,
                    wait_ms = wait,
                    "a callback was not taken; it will be tried again"
                );
                self.again(message, message.attempt.saturating_add(1), wait).await
            }
            DeliveryOutcome::Again { in_ms: None, reason } | DeliveryOutcome::Stop { reason } => {
                self.give_up(message, receiver, reason).await
            }
        }
    }

    /// Gives a callback up: with an audit entry, and an alert.
    async fn give_up(
        &self,
        message: &OutboxMessage,
        receiver: &placet_core::id::ClientId,
        reason: String,
    ) -> Result<(), Error> {
        for _ in 0..crate::MAX_RACES {
            let Some(request) = self.store.load(message.key).await? else { break };
            if request.asked.approval_id != message.approval_id {
                break;
            }
            let now = self.clock.now();
            let mut change = Transition {
                life: request.life.clone(),
                drafts: vec![AuditEvent {
                    timestamp: now.max(request.life.updated_at),
                    event: AuditEventKind::CallbackGivenUp,
                    actor: "gate".into(),
                    channel: Channel::Gate,
                    approved: false,
                    token_hash: None,
                    detail: Some(format!("{}: {reason}", message.id)),
                }],
                effects: Vec::new(),
                not_at_or_after: None,
            };
            let audit = change.chain(&request.asked, None);
            let commit = Commit {
                request: Some(RequestWrite::Update {
                    key: message.key,
                    life: change.life,
                    from_version: request.version,
                }),
                audit,
                ..Commit::default()
            };
            if let crate::ports::Committed::Done { .. } = self.store.commit(commit).await? {
                break;
            }
        }
        self.store.sent(&message.id).await?;
        self.meter.record(&Measurement::CallbackGivenUp);
        self.notify
            .alert(&Alert::CallbackGivenUp {
                approval_id: message.approval_id.clone(),
                client: receiver.clone(),
                reason,
            })
            .await;
        Ok(())
    }

    async fn letter(
        &self,
        message: &OutboxMessage,
        request: &Request,
        stage: usize,
        reviewer: &Reviewer,
        channel: Via,
        policy: &Policy,
    ) -> Result<Notification, Error> {
        let link = self.link(request, &reviewer.id).await?;
        let url = format!("{}/r/{link}", self.base_url(policy));
        let payload = request.asked.payload.value();
        let address = match channel {
            Via::Email => reviewer.email.clone(),
            Via::Sms => reviewer.phone.clone(),
            Via::Slack => reviewer.slack.clone(),
            Via::Terminal => None,
        };
        let facts = words::LetterFacts {
            reviewer: &reviewer.name,
            may: if request.is_owner_barred(&reviewer.id, policy) {
                words::May::RejectOnly
            } else {
                words::May::Decide
            },
            client: request.asked.client.as_str(),
            action: &request.asked.action,
            payload: &payload,
            agents_words: &request.asked.summary,
            rule: request.asked.rule.as_deref(),
            now: self.now(),
            closes_at: request.asked.stage_closes_at(stage),
            zone: words::Zone::UTC,
            payload_sha256: &request.asked.payload_sha256,
            url: &url,
        };
        let words::Letter { subject, text, chat, html } = words::letter(&facts);
        let (text, html) = match channel {
            Via::Sms => (words::sms(&facts), None),
            Via::Email => (text, Some(html)),
            Via::Slack => (chat, None),
            Via::Terminal => (text, None),
        };
        Ok(Notification {
            id: message.id.clone(),
            approval_id: message.approval_id.clone(),
            stage: stage.saturating_add(1),
            reviewer: reviewer.id.clone(),
            channel,
            address,
            subject,
            text,
            html,
            url,
        })
    }
}

/// How a reviewer is reached: by mail and text where they have both, at worst by the operator's terminal.
fn ways_to(reviewer: &Reviewer) -> Vec<Via> {
    let mut ways = Vec::new();
    if reviewer.email.is_some() {
        ways.push(Via::Email);
    }
    if reviewer.phone.is_some() {
        ways.push(Via::Sms);
    }
    if ways.is_empty() {
        ways.push(if reviewer.slack.is_some() { Via::Slack } else { Via::Terminal });
    }
    ways
}

/// A name made from what the message is about; no dots, which Standard Webhooks signs between fields.
fn message_id(request: &Request, what: &Message) -> String {
    let approval = &request.asked.approval_id;
    match what {
        Message::Tell { stage, reviewer, channel } => {
            format!("msg_{approval}_tell_{stage}_{}_{reviewer}", channel.as_str())
        }
        Message::Publish { stage, .. } => format!("msg_{approval}_queue_{stage}"),
        Message::Callback => format!("msg_{approval}_callback"),
        Message::Hook { hook, event } => {
            let event = match event {
                HookEvent::Requested => "requested",
                HookEvent::Decided => "decided",
            };
            format!("msg_{approval}_{event}_{hook}")
        }
    }
}
