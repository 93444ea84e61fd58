//! The outbox: what must be told, as rows of the transaction that decided it.
//!
//! A message's text is made when it is sent, so no link and no token is stored. Delivery works these off.

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, HookId, RequestKey, ReviewerId};
use placet_core::policy::{Assignee, ClientRole, Policy, Reviewer};
use placet_core::request::{ApprovalRequest, Effect, GivenUp, RequestAlert, RequestState};
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::chat::ChatWord;
use crate::hooks::{Hook, HookEvent};
use crate::{Fault, Gate};

/// A message that must go out, at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// Derived from what it is about, so that it is the same on every try; `webhook-id` of callbacks. Letters, digits,
    /// `_` and `-` only, and it begins with [`OutboxSubject::prefix`].
    pub id: String,
    /// What it is about.
    pub subject: OutboxSubject,
    /// What it is.
    pub payload: OutboxPayload,
    /// How many tries have failed.
    pub attempt: u32,
    /// When it was first due: when it was committed, unless it was for later.
    pub created_at: Timestamp,
    /// When the sweep should take it, unless it has been delivered before.
    pub due_at: Timestamp,
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxSubject {
    /// One approval: a later request of the same name does not get its messages.
    Approval {
        /// Where its request is stored.
        key: RequestKey,
        /// Its approval.
        approval_id: ApprovalId,
    },
    /// The gate as a whole.
    Gate,
}

impl OutboxSubject {
    /// What the ids of its messages begin with: `msg_<approval_id>_` or `msg_gate_`.
    pub fn prefix(&self) -> String {
        match self {
            Self::Approval { approval_id, .. } => format!("msg_{approval_id}_"),
            Self::Gate => "msg_gate_".to_owned(),
        }
    }

    /// Where its request is stored, if it is about one.
    pub const fn key(&self) -> Option<RequestKey> {
        match self {
            Self::Approval { key, .. } => Some(*key),
            Self::Gate => None,
        }
    }
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxPayload {
    /// A reviewer is asked.
    Notify {
        /// Index of the stage.
        stage: usize,
        /// Who.
        reviewer: ReviewerId,
        /// Name of the channel.
        channel: String,
    },
    /// The next channel of a reviewer, unless they have opened the request by then.
    Nudge {
        /// Index of the stage.
        stage: usize,
        /// Who.
        reviewer: ReviewerId,
        /// Name of the channel.
        channel: String,
    },
    /// A reviewer is reminded before the stage closes.
    Remind {
        /// Index of the stage.
        stage: usize,
        /// Who.
        reviewer: ReviewerId,
        /// Name of the channel.
        channel: String,
    },
    /// A reviewer got more in one minute than the channel bears: one message names their inbox.
    Digest {
        /// Who.
        reviewer: ReviewerId,
        /// Name of the channel.
        channel: String,
        /// The minute, counted from the epoch.
        minute: i64,
    },
    /// The messages about an approval that can be changed are brought up to date.
    Refresh {
        /// Tells this look from others: each change has one of its own.
        look: i64,
    },
    /// Whoever pressed a button in Slack is told, alone, what came of it.
    ChatWord {
        /// The conversation.
        place: String,
        /// The user.
        user: String,
        /// When, in Unix milliseconds.
        at: i64,
        /// What came of it.
        word: ChatWord,
    },
    /// A queue gets the request.
    Publish {
        /// Index of the stage.
        stage: usize,
        /// Its queue.
        queue: String,
    },
    /// A caller is called back.
    Callback {
        /// Index among the request's callbacks.
        number: usize,
    },
    /// A subscriber is told.
    Hook {
        /// Its subscription.
        hook: HookId,
        /// What happened.
        event: HookEvent,
    },
    /// Operators are alerted: by each of the policy's ways.
    Alert(Alert),
    /// What operators were alerted of is over, or may be.
    AlertOver(Alert),
    /// One way tells operators of something, or that it is over.
    AlertBy {
        /// The way's name.
        way: String,
        /// Of what.
        alert: Box<Alert>,
        /// Whether it is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
        /// Since when it is the matter, or over.
        since: Timestamp,
        /// Where something that went on is over: since when it had been the matter. That is told first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opened: Option<Timestamp>,
    },
    /// A way had more to say in one minute than anybody reads: one message says how many.
    AlertSummary {
        /// The way's name.
        way: String,
        /// The minute, counted from the epoch.
        minute: i64,
    },
    /// The weekly report, by one way.
    Report {
        /// The way's name.
        way: String,
        /// The first day that it leaves out, counted from 1970-01-01.
        until_day: u32,
    },
    /// It is looked whether a request waits for longer than its rule's `alert_after`.
    StillOpen,
    /// It is looked whether the run that asked still waits.
    LookAtRun,
    /// What is open is looked at again under this version of the policy.
    Reassign {
        /// The version.
        policy: u32,
        /// Whom the version before had, and this one has not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<ReviewerId>,
    },
}

/// How a message came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageEnd {
    /// Its receiver took it.
    Delivered,
    /// It was given up.
    GivenUp,
}

/// What is remembered of a message about an approval once it is over: for the numbers. It holds no text and no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastMessage {
    /// The message's id.
    pub id: String,
    /// The approval it was about.
    pub approval_id: ApprovalId,
    /// What it was.
    pub payload: OutboxPayload,
    /// How it ended.
    pub end: MessageEnd,
    /// When it was first due.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl PastMessage {
    /// What is to be remembered of that message; nothing where it is about the gate as a whole.
    pub fn of(message: &OutboxMessage, end: MessageEnd, ended_at: Timestamp) -> Option<Self> {
        match &message.subject {
            OutboxSubject::Approval { approval_id, .. } => Some(Self {
                id: message.id.clone(),
                approval_id: approval_id.clone(),
                payload: message.payload.clone(),
                end,
                created_at: message.created_at,
                ended_at,
            }),
            OutboxSubject::Gate => None,
        }
    }
}

impl OutboxPayload {
    /// What its id says after the subject's prefix.
    fn name(&self) -> String {
        match self {
            Self::Notify { stage, reviewer, channel } => format!("notify_{stage}_{channel}_{reviewer}"),
            Self::Nudge { stage, reviewer, channel } => format!("nudge_{stage}_{channel}_{reviewer}"),
            Self::Remind { stage, reviewer, channel } => format!("remind_{stage}_{channel}_{reviewer}"),
            Self::Digest { reviewer, channel, minute } => format!("digest_{minute}_{channel}_{reviewer}"),
            Self::Refresh { look } => format!("refresh_{look}"),
            Self::ChatWord { user, at, .. } => format!("word_{at}_{user}"),
            Self::Publish { stage, .. } => format!("publish_{stage}"),
            Self::Callback { number } => format!("callback_{number}"),
            Self::Hook { hook, event } => match event {
                HookEvent::Requested => format!("requested_{hook}"),
                HookEvent::Decided => format!("decided_{hook}"),
            },
            Self::Alert(alert) => format!("alert_{}", alert.cause()),
            // By its matter: where the same begins anew, the look that waits is the new one's, and there is no other.
            Self::AlertOver(alert) => format!("over_{}", alert.within().replace(':', "_")),
            // The same may begin anew, and is another message then.
            Self::AlertBy { way, alert, over, since, .. } => {
                let word = if *over { "over" } else { "alert" };
                format!("{word}_by_{way}_{}_{}", since.millis(), alert.cause())
            }
            Self::AlertSummary { way, minute } => format!("alerts_{minute}_{way}"),
            Self::Report { way, until_day } => format!("report_{until_day}_{way}"),
            Self::StillOpen => "still_open".to_owned(),
            Self::LookAtRun => "look_at_run".to_owned(),
            Self::Reassign { policy, .. } => format!("reassign_{policy}"),
        }
    }
}

impl OutboxMessage {
    /// The id of a message about that subject.
    pub fn id_of(subject: &OutboxSubject, payload: &OutboxPayload) -> String {
        format!("{}{}", subject.prefix(), payload.name())
    }

    /// What follows this message, about the same thing, at that time: a reminder, the next channel.
    #[must_use]
    pub fn followed_by(&self, payload: OutboxPayload, now: Timestamp, due_at: Timestamp) -> Self {
        Self { due_at, ..Self::new(self.subject.clone(), payload, now, 0) }
    }

    /// A message about the gate as a whole, at that time.
    pub fn of_the_gate(payload: OutboxPayload, now: Timestamp, due_at: Timestamp) -> Self {
        Self { due_at, ..Self::new(OutboxSubject::Gate, payload, now, 0) }
    }

    /// A new message, leased to whoever commits it.
    pub(crate) fn new(subject: OutboxSubject, payload: OutboxPayload, now: Timestamp, lease_ms: i64) -> Self {
        Self {
            id: Self::id_of(&subject, &payload),
            subject,
            payload,
            attempt: 0,
            created_at: now,
            due_at: now.plus_millis(lease_ms),
        }
    }
}

impl Gate {
    /// The messages that a transition's effects make. They are committed with it.
    pub(crate) async fn messages(
        &self,
        asked: &ApprovalRequest,
        next: &RequestState,
        effects: &[Effect],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Vec<OutboxMessage>, Fault> {
        let mut payloads = Vec::new();
        let mut later = Vec::new();
        for effect in effects {
            match effect {
                Effect::NotifyReviewers { stage, asked } => {
                    payloads.extend(asked.iter().flat_map(|assignee| notify(*stage, assignee, policy)));
                }
                Effect::NotifyLater { stage, asked, at } => {
                    let told = asked.iter().flat_map(|assignee| notify(*stage, assignee, policy));
                    later.extend(told.map(|payload| (payload, *at)));
                }
                Effect::Publish { stage, queue } => {
                    payloads.push(OutboxPayload::Publish { stage: *stage, queue: queue.clone() });
                }
                Effect::Requested => {
                    payloads.extend(self.hooked(asked, HookEvent::Requested, policy).await?);
                }
                Effect::Decided => {
                    payloads
                        .extend((0..next.callbacks().len()).map(|number| OutboxPayload::Callback { number }));
                    payloads.extend(self.hooked(asked, HookEvent::Decided, policy).await?);
                }
                Effect::CallBack { number } => payloads.push(OutboxPayload::Callback { number: *number }),
                Effect::Alert(alert) => payloads.push(OutboxPayload::Alert(alert_about(asked, alert))),
            }
        }
        let subject = OutboxSubject::Approval { key: asked.key(), approval_id: asked.approval_id.clone() };
        let lease_ms = self.dispatcher.lease_ms();
        let new = |payload| OutboxMessage::new(subject.clone(), payload, now, lease_ms);
        let mut messages: Vec<OutboxMessage> = payloads.into_iter().map(new).collect();
        // The sweep takes these when their time has come.
        messages.extend(later.into_iter().map(|(payload, at)| OutboxMessage {
            created_at: at,
            due_at: at,
            ..new(payload)
        }));
        Ok(messages)
    }

    async fn hooked(
        &self,
        asked: &ApprovalRequest,
        event: HookEvent,
        policy: &Policy,
    ) -> Result<Vec<OutboxPayload>, Fault> {
        let hooks = self.known_hooks().await?;
        let hears = |hook: &&Hook| {
            let auditor =
                || policy.client(&hook.client).is_some_and(|client| client.has(ClientRole::Auditor));
            hook.events.contains(&event) && (hook.client == asked.client || auditor())
        };
        Ok(hooks
            .iter()
            .filter(hears)
            .map(|hook| OutboxPayload::Hook { hook: hook.id.clone(), event })
            .collect())
    }
}

/// One message for each channel by which a reviewer is reached.
fn notify(stage: usize, assignee: &Assignee, policy: &Policy) -> Vec<OutboxPayload> {
    let channels = policy.reviewer(&assignee.reviewer).map_or_else(Vec::new, Reviewer::first_channels);
    channels
        .into_iter()
        .map(|channel| OutboxPayload::Notify {
            stage,
            reviewer: assignee.reviewer.clone(),
            channel: channel.as_str().to_owned(),
        })
        .collect()
}

fn alert_about(asked: &ApprovalRequest, alert: &RequestAlert) -> Alert {
    let (client, request_id) = (asked.client.clone(), asked.request_id.clone());
    match alert {
        RequestAlert::Expired => Alert::Expired { client, request_id },
        RequestAlert::NobodyLeft { stage } => {
            Alert::NobodyLeft { client, request_id, stage: stage.saturating_add(1) }
        }
        RequestAlert::CallbackGivenUp(GivenUp { client, message, reason }) => Alert::CallbackGivenUp {
            approval_id: asked.approval_id.clone(),
            client: client.clone(),
            message: message.clone(),
            reason: reason.clone(),
        },
    }
}
