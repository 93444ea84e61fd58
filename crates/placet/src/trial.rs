//! A test of one channel: a real message that asks for nothing, by the settings of the gate or by new ones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use placet_core::chat::ChannelSettings;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_core::keys::Keyring;
use placet_core::policy::{ChannelName, Policy, Reviewer};
use placet_delivery::{
    Card, Channel as _, Notification, Push, ReviewerWebhook, SendOutcome, Slack, Stands, Telegram,
};
use placet_gate::ports::Keys;
use placet_gate::{Fault, Gate};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::mail::Mailer;

/// How long a test may take: longer than a channel itself waits for its medium.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings that are being tried, as the gate's port would give them.
struct Tried(Arc<ChannelSettings>);

#[async_trait]
impl Keys for Tried {
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault> {
        Err(Fault::bare("a channel asks for keys that it does not need"))
    }

    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault> {
        self.keyring().await
    }

    async fn channels(&self) -> Result<Arc<ChannelSettings>, Fault> {
        Ok(Arc::clone(&self.0))
    }
}

pub(crate) fn tried(settings: &ChannelSettings) -> Arc<dyn Keys> {
    Arc::new(Tried(Arc::new(settings.clone())))
}

/// Sends that reviewer a message that asks for nothing, by that channel as these settings have it.
pub(crate) async fn send(
    gate: &Arc<Gate>,
    policy: &Policy,
    person: &Reviewer,
    channel: ChannelName,
    settings: &ChannelSettings,
) -> Result<SendOutcome, Failure> {
    let notification = trial(gate, policy, person, channel).await?;
    let sender = crate::trust::webhook_sender()?;
    let smtp = settings.smtp.clone();
    let keys = tried(settings);
    Ok(match channel {
        ChannelName::Slack => Slack::new(keys, sender).send(&notification).await,
        ChannelName::Telegram => Telegram::new(keys, sender).send(&notification).await,
        ChannelName::Push => Push::new(Arc::clone(gate), sender).send(&notification).await,
        ChannelName::Webhook => ReviewerWebhook::new(Arc::clone(gate), sender).send(&notification).await,
        ChannelName::Email => {
            let mailer = match (Mailer::from_environment()?, smtp) {
                (Some(mailer), _) => mailer,
                (None, Some(smtp)) => Mailer::new(smtp.url.expose(), &smtp.from)?,
                (None, None) => {
                    return Err(Failure::refused("no mail server is set")
                        .advise("`placet channel set smtp`, or the variable PLACET_SMTP_URL"));
                }
            };
            mailer.send(&notification).await
        }
        ChannelName::Sms | ChannelName::Terminal => {
            return Err(Failure::refused(format!("`{channel}` cannot be tried from here"))
                .advise("on AWS, SNS mails and texts: `placet doctor --aws` looks at the subscriptions"));
        }
    })
}

/// The same within a test's time. What keeps it from being sent is an outcome like any other.
pub(crate) async fn tried_within(
    gate: &Arc<Gate>,
    policy: &Policy,
    person: &Reviewer,
    channel: ChannelName,
    settings: &ChannelSettings,
) -> SendOutcome {
    match timeout(TEST_TIMEOUT, send(gate, policy, person, channel, settings)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => SendOutcome::Unreachable(failure.message().to_owned()),
        Err(_) => no_answer(),
    }
}

/// What a test comes to whose time is over.
pub(crate) fn no_answer() -> SendOutcome {
    SendOutcome::Retry("no answer came in time".into())
}

/// A message that asks for nothing. Its link is that of the reviewer's inbox.
pub(crate) async fn trial(
    gate: &Gate,
    policy: &Policy,
    person: &Reviewer,
    channel: ChannelName,
) -> Result<Notification, Failure> {
    let inbox = gate.inbox_link(&person.id, policy).await.map_err(|error| Failure::fault(error.chain()))?;
    let url = format!("{}/inbox/{inbox}", gate.base_url(policy));
    let line = "A test: this gate reaches you here";
    let now = gate.now();
    Ok(Notification {
        id: format!("msg_test_{}_{}_{}", channel, person.id, now.millis()),
        follows: Vec::new(),
        approval_id: ApprovalId::from_parts(now, 0),
        key: None,
        stage: 1,
        reviewer: ReviewerId::clone(&person.id),
        channel: channel.as_str().to_owned(),
        address: person.address(channel).map(str::to_owned),
        subject: line.to_owned(),
        text: format!("{line}. Nothing is asked of you.\n\nYour inbox:\n{url}\n"),
        html: format!(
            "<!doctype html>\n<p>{line}. Nothing is asked of you.</p>\n<p><a href=\"{url}\">Your inbox</a></p>\n"
        ),
        url,
        card: Card {
            headline: line.to_owned(),
            details: "Nothing is asked of you.".to_owned(),
            stands: Stands::Several,
            ..Card::default()
        }
        .into(),
    })
}
