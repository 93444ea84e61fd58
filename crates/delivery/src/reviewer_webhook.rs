//! A signed POST for one reviewer: a workflow of the operator's own carries it on, to Teams, Discord or ntfy.
//!
//! Standard Webhooks, under a secret of the reviewer's own. The address guard is that of callbacks.

use std::sync::Arc;

use async_trait::async_trait;
use placet_core::policy::Reviewer;
use placet_gate::Gate;
use placet_webhook::{Attempt, Message, Sender, Target};
use serde_json::{Value, json};

use crate::card::Stands;
use crate::channel::{Channel, Notification, SendOutcome, SettleOutcome};

/// A workflow bears more than a person.
const PER_MINUTE: u32 = 60;

/// Posts to reviewers' webhooks.
pub struct ReviewerWebhook {
    gate: Arc<Gate>,
    sender: Sender,
}

impl ReviewerWebhook {
    /// Signs with that gate's keys.
    pub const fn new(gate: Arc<Gate>, sender: Sender) -> Self {
        Self { gate, sender }
    }

    async fn post(&self, notification: &Notification, kind: &str, id: &str) -> Result<Attempt, String> {
        let policy = self.gate.policy().await.map_err(|error| error.chain())?;
        let Some(reviewer) = policy.reviewer(&notification.reviewer) else {
            return Err("the reviewer has left the policy".into());
        };
        let Some(url) = reviewer.webhook.as_deref() else {
            return Err("the reviewer has no webhook".into());
        };
        let target = Target::parse(url, &reviewer.callback_hosts).map_err(|problem| problem.to_string())?;
        let secrets = self.secrets(reviewer).await?;
        let now = self.gate.now();
        let body =
            json!({ "type": kind, "timestamp": now.to_string(), "data": data(notification) }).to_string();
        let message = Message { id, timestamp: now.seconds(), body: body.as_bytes(), secrets: &secrets };
        Ok(self.sender.send(&target, &reviewer.callback_hosts, &message).await)
    }

    /// Those of both epochs, the current one first, so that a rotation breaks nothing.
    async fn secrets(&self, reviewer: &Reviewer) -> Result<Vec<String>, String> {
        let keyring = self.gate.keyring().await.map_err(|fault| fault.chain())?;
        let secret = |epoch: &placet_core::keys::Epoch| {
            epoch.reviewer_secret(&reviewer.id, reviewer.generation).expose().to_owned()
        };
        Ok(keyring.epochs().map(secret).collect())
    }
}

/// What the workflow gets: enough to write a message of its own, and the link that decides nothing when it is opened.
fn data(notification: &Notification) -> Value {
    let card = &notification.card;
    let (status, words) = match &card.stands {
        Stands::Several | Stands::Open { .. } | Stands::Approved => ("pending", card.standing_line()),
        Stands::MovedOn => ("moved_on", card.standing_line()),
        Stands::Ended { status, .. } => (status.as_str(), card.standing_line()),
    };
    json!({
        "reviewer": notification.reviewer.as_str(),
        "approval_id": (!matches!(card.stands, Stands::Several)).then(|| notification.approval_id.as_str()),
        "status": status,
        "title": card.headline,
        "text": words.unwrap_or_else(|| notification.subject.clone()),
        "summary": card.agents_words,
        "client": card.client,
        "action": card.action,
        "details": card.details,
        "deadline": card.until.as_ref().map(|(at, _)| at.to_string()),
        "reminder": card.is_reminder,
        "url": notification.url,
    })
}

#[async_trait]
impl Channel for ReviewerWebhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn per_minute(&self) -> Option<u32> {
        Some(PER_MINUTE)
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let kind = if matches!(notification.card.stands, Stands::Several) {
            "reviewer.digest"
        } else {
            "reviewer.asked"
        };
        match self.post(notification, kind, &notification.id).await {
            Ok(Attempt::Delivered { .. }) => SendOutcome::Delivered(Some(notification.id.clone())),
            Ok(Attempt::Gone) => SendOutcome::Unreachable("the webhook answered 410".into()),
            Ok(Attempt::Refused { status: status @ (429 | 503), retry_after: Some(wait), .. }) => {
                let in_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1000);
                SendOutcome::Wait { in_ms, reason: format!("the webhook answered {status}") }
            }
            Ok(Attempt::Refused { status, .. }) => {
                SendOutcome::Retry(format!("the webhook answered {status}"))
            }
            Ok(Attempt::Forbidden { reason }) => SendOutcome::Unreachable(reason),
            Ok(Attempt::Unreachable { reason }) | Err(reason) => SendOutcome::Retry(reason),
        }
    }

    /// A second message, of which the workflow makes what it likes: it names the first one.
    async fn settle(&self, reference: &str, notification: &Notification) -> SettleOutcome {
        let card = &notification.card;
        if matches!(card.stands, Stands::Open { .. } | Stands::Several) {
            return SettleOutcome::Settled;
        }
        let id = format!("{reference}_v{}", card.version);
        match self.post(notification, "reviewer.settled", &id).await {
            Ok(Attempt::Delivered { .. } | Attempt::Gone) => SettleOutcome::Settled,
            Ok(Attempt::Refused { status, retry_after, .. }) => SettleOutcome::Retry {
                in_ms: retry_after.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
                reason: format!("the webhook answered {status}"),
            },
            Ok(Attempt::Unreachable { reason }) => SettleOutcome::Retry { in_ms: None, reason },
            Ok(Attempt::Forbidden { reason }) | Err(reason) => SettleOutcome::Impossible(reason),
        }
    }
}
