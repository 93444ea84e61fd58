//! How a person is told: one trait, one file a channel, registered by name.
//!
//! To add a channel: a file here (or in the crate that has its SDK), its address in the policy's `[[reviewers]]`, one
//! line where the gate is put together, and its page in the docs.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use placet_core::id::{ApprovalId, RequestKey, ReviewerId};

use crate::card::Card;
use crate::later::Later;

/// Something that a reviewer is told. It holds their link, so it is not for the log.
#[derive(Clone)]
pub struct Notification {
    /// Names this message on every try: approval, stage, channel and reviewer.
    pub id: String,
    /// The ids of what this person may have got by this channel about the same request before, the oldest first: a mail
    /// program puts this message under those.
    pub follows: Vec<String>,
    /// The approval it is about; the empty one of a digest is about several.
    pub approval_id: ApprovalId,
    /// Where its request is stored, for channels that hear later what became of a message; none where it is about several.
    pub key: Option<RequestKey>,
    /// Number of the stage, from 1.
    pub stage: usize,
    /// Who.
    pub reviewer: ReviewerId,
    /// Name of the channel.
    pub channel: String,
    /// The address for that channel; none for the terminal.
    pub address: Option<String>,
    /// One line.
    pub subject: String,
    /// The words, with the link. For `sms`, short enough for one text where that is possible.
    pub text: String,
    /// The same words as an HTML page, for channels that can show it.
    pub html: String,
    /// The link alone.
    pub url: String,
    /// The same by its parts, for channels that lay it out themselves.
    pub card: Later<Card>,
}

/// How a channel took a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The next system on the way has it. With where it is, for channels that can change what they sent.
    Delivered(Option<String>),
    /// The medium is there and says when it takes more, in milliseconds from now. No failure.
    Wait {
        /// How long.
        in_ms: i64,
        /// Why, for the log: constant words and codes, no address.
        reason: String,
    },
    /// It could not be sent now. With a reason for the log: constant words and codes, no address.
    Retry(String),
    /// It can never be sent: there is no such channel or address here. It is still retried, since a policy can change.
    Unreachable(String),
}

/// How a channel changed what it had sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It shows the new words.
    Settled,
    /// Somebody has deleted it: there is nothing left that could say something wrong.
    Gone,
    /// Not now; again after so many milliseconds where the medium says so.
    Retry {
        /// How long to wait.
        in_ms: Option<i64>,
        /// Why, for the log.
        reason: String,
    },
    /// It stays as it is for good. With a reason for the log.
    Impossible(String),
}

/// One way to tell a person.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Its name, as outbox rows and the policy have it.
    fn name(&self) -> &'static str;

    /// How many messages one person gets by it in a minute; then one digest. None: as many as there are.
    fn per_minute(&self) -> Option<u32> {
        None
    }

    /// Sends a notification, once. The same notification may come again: at least once is the promise.
    async fn send(&self, notification: &Notification) -> SendOutcome;

    /// Brings a message up to date that was sent before. `reference` is what `send` returned.
    async fn settle(&self, _reference: &str, _notification: &Notification) -> SettleOutcome {
        SettleOutcome::Settled
    }

    /// Tells one user of a conversation something that nobody else there sees.
    async fn whisper(&self, _place: &str, _user: &str, _text: &str) -> SendOutcome {
        SendOutcome::Unreachable("this channel cannot speak to one user alone".into())
    }
}

/// Hears how each message to a person went, as operators want to see it.
pub trait SendWatcher: Send + Sync + 'static {
    /// A message was taken, or not. It is called on the way of every message, so it only takes note.
    fn sent(&self, notification: &Notification, outcome: &SendOutcome);
}

/// The channels that this gate has, by name.
#[derive(Clone, Default)]
pub struct Channels {
    named: BTreeMap<&'static str, Vec<Arc<dyn Channel>>>,
    /// Told of each message that a channel of its name has delivered.
    every: Vec<Arc<dyn Channel>>,
    watcher: Option<Arc<dyn SendWatcher>>,
}

impl Channels {
    /// Registers a channel. Several of one name all send: the local gate writes a file beside each mail.
    #[must_use]
    pub fn with(mut self, channel: Arc<dyn Channel>) -> Self {
        self.named.entry(channel.name()).or_default().push(channel);
        self
    }

    /// Registers a channel under another name than its own.
    #[must_use]
    pub fn with_name(mut self, name: &'static str, channel: Arc<dyn Channel>) -> Self {
        self.named.entry(name).or_default().push(channel);
        self
    }

    /// Registers a channel under every name: it gets each message after those of the message's own name.
    #[must_use]
    pub fn with_every(mut self, channel: Arc<dyn Channel>) -> Self {
        self.every.push(channel);
        self
    }

    /// Names who hears how each message went.
    #[must_use]
    pub fn watched_by(mut self, watcher: Arc<dyn SendWatcher>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// How many messages one person gets by that channel in a minute.
    pub fn per_minute(&self, channel: &str) -> Option<u32> {
        self.of(channel).filter_map(|channel| channel.per_minute()).min()
    }

    /// Sends by every channel of that name, in the order of their registration; stops at the first that fails.
    ///
    /// Once one has said where the message is, the person has it: sending it again for the sake of another channel would
    /// repeat it, and forget where the first one is. So what fails after that is for the log only.
    pub async fn send(&self, notification: &Notification) -> SendOutcome {
        let outcome = self.send_by_each(notification).await;
        if let Some(watcher) = &self.watcher {
            watcher.sent(notification, &outcome);
        }
        outcome
    }

    async fn send_by_each(&self, notification: &Notification) -> SendOutcome {
        let Some(channels) = self.named.get(notification.channel.as_str()) else {
            return SendOutcome::Unreachable(format!("this gate has no channel `{}`", notification.channel));
        };
        let mut reference = None;
        for channel in channels {
            match channel.send(notification).await {
                SendOutcome::Delivered(place) => reference = reference.or(place),
                failed if reference.is_some() => not_beside(notification, &failed),
                failed @ (SendOutcome::Wait { .. } | SendOutcome::Retry(_) | SendOutcome::Unreachable(_)) => {
                    return failed;
                }
            }
        }
        for channel in &self.every {
            match channel.send(notification).await {
                SendOutcome::Delivered(_) => {}
                failed @ (SendOutcome::Wait { .. } | SendOutcome::Retry(_) | SendOutcome::Unreachable(_)) => {
                    not_beside(notification, &failed);
                }
            }
        }
        SendOutcome::Delivered(reference)
    }

    /// Brings a message up to date, by the channels of its name.
    pub async fn settle(&self, reference: &str, notification: &Notification) -> SettleOutcome {
        for channel in self.of(&notification.channel) {
            match channel.settle(reference, notification).await {
                SettleOutcome::Settled => {}
                failed @ (SettleOutcome::Gone
                | SettleOutcome::Retry { .. }
                | SettleOutcome::Impossible(_)) => {
                    return failed;
                }
            }
        }
        SettleOutcome::Settled
    }

    /// Tells one user of a conversation something, by the first channel of that name that can.
    pub async fn whisper(&self, channel: &str, place: &str, user: &str, text: &str) -> SendOutcome {
        match self.of(channel).next() {
            Some(channel) => channel.whisper(place, user, text).await,
            None => SendOutcome::Unreachable(format!("this gate has no channel `{channel}`")),
        }
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Arc<dyn Channel>> {
        self.named.get(name).into_iter().flatten()
    }
}

/// A message was delivered, but not to what stands beside its channel: the outbox's file, a stream of events.
fn not_beside(notification: &Notification, failed: &SendOutcome) {
    let reason = match failed {
        SendOutcome::Delivered(_) => "none",
        SendOutcome::Wait { reason, .. } | SendOutcome::Retry(reason) | SendOutcome::Unreachable(reason) => {
            reason.as_str()
        }
    };
    tracing::warn!(
        message.id = %notification.id,
        channel = notification.channel,
        error = reason,
        "a message was delivered, but could not be put down beside its channel"
    );
}
