//! How a person is told: one trait, one file a channel, registered by name.
//!
//! To add a channel: a file here (or in the crate that has its SDK), its address in the policy's `[[reviewers]]`, one
//! line where the gate is put together, and its page in the docs.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use placet_core::id::{ApprovalId, ReviewerId};

/// Something that a reviewer is told. It holds their link, so it is not for the log.
#[derive(Clone)]
pub struct Notification {
    /// Names this message on every try: approval, stage, channel and reviewer.
    pub id: String,
    /// The approval it is about.
    pub approval_id: ApprovalId,
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
}

/// How a channel took a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The next system on the way has it.
    Delivered,
    /// It could not be sent now. With a reason for the log: constant words and codes, no address.
    Retry(String),
    /// It can never be sent: there is no such channel or address here. It is still retried, since a policy can change.
    Unreachable(String),
}

/// One way to tell a person.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Its name, as outbox rows and the policy have it.
    fn name(&self) -> &'static str;

    /// Sends a notification, once. The same notification may come again: at least once is the promise.
    async fn send(&self, notification: &Notification) -> SendOutcome;
}

/// The channels that this gate has, by name.
#[derive(Clone, Default)]
pub struct Channels {
    named: BTreeMap<&'static str, Vec<Arc<dyn Channel>>>,
    /// Told of each message that a channel of its name has delivered.
    every: Vec<Arc<dyn Channel>>,
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

    /// Sends by every channel of that name, in the order of their registration; stops at the first that fails.
    pub async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(channels) = self.named.get(notification.channel.as_str()) else {
            return SendOutcome::Unreachable(format!("this gate has no channel `{}`", notification.channel));
        };
        for channel in channels.iter().chain(&self.every) {
            match channel.send(notification).await {
                SendOutcome::Delivered => {}
                failed @ (SendOutcome::Retry(_) | SendOutcome::Unreachable(_)) => return failed,
            }
        }
        SendOutcome::Delivered
    }
}
