//! Mail that its carrier took, and that came back later: whoever it was for has not been told.
//!
//! A mail server that refuses at once is a failed try of the outbox. Amazon SES takes nearly everything and says
//! afterwards what bounced and who complained.

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, RequestKey};
use placet_core::payload::sha256_hex;
use placet_core::policy::{ChannelName, Policy, WayKind};
use placet_core::time::DAY_MS;
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use crate::ports::{Dispatch, SentMessage, SentState};
use crate::{Error, Fault, Gate};

/// For how long an address is left alone, in milliseconds: then it is tried again, in case it has come to life.
const LEFT_ALONE_MS: i64 = 14 * DAY_MS;

/// A mail that came back, as its carrier tells it. It holds addresses, so it is not for the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedMail {
    /// What it was about.
    pub about: MailAbout,
    /// The carrier's name for the mail, as it was noted when it was sent.
    pub reference: String,
    /// The addresses that are meant.
    pub recipients: Vec<String>,
    /// What became of it.
    pub fate: MailFate,
}

/// What a mail was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailAbout {
    /// A reviewer was asked.
    Approval {
        /// Where its request is stored.
        key: RequestKey,
        /// Its approval.
        approval_id: ApprovalId,
    },
    /// Operators were alerted, by that way.
    Way(String),
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailFate {
    /// The address does not exist, or its carrier sends nothing more to it.
    NoSuchAddress,
    /// It did not arrive this time: a full mailbox, a server that is down, a virus scanner.
    NotThisTime,
    /// It arrived, and its reader says that it is spam.
    Unwanted,
}

impl MailFate {
    const fn is_lasting(self) -> bool {
        matches!(self, Self::NoSuchAddress | Self::Unwanted)
    }
}

impl Gate {
    /// Takes up that a mail came back: its reviewer is told by their next channel, and operators hear of it.
    ///
    /// `false` for a mail that this gate has not sent, or has not noted yet. The same twice does nothing the second time.
    pub async fn mail_came_back(&self, mail: &ReturnedMail) -> Result<bool, Error> {
        let policy = self.policy().await?;
        match &mail.about {
            MailAbout::Way(way) => Ok(self.alert_came_back(mail, way, &policy).await?),
            MailAbout::Approval { key, approval_id } => {
                let sent = self.store.sent(approval_id).await?;
                let is_it = |sent: &SentMessage| {
                    sent.channel == ChannelName::Email.as_str() && sent.reference == mail.reference
                };
                let Some(sent) = sent.into_iter().find(is_it) else { return Ok(false) };
                if sent.state != SentState::Gone {
                    let subject = OutboxSubject::Approval { key: *key, approval_id: approval_id.clone() };
                    self.ask_came_back(mail, sent, subject, &policy).await?;
                }
                Ok(true)
            }
        }
    }

    /// Whether mail to that address came back lately, so that nothing is sent to it.
    pub async fn mail_comes_back(&self, address: &str) -> Result<bool, Fault> {
        self.is_marked(&mark_of(address)).await
    }

    async fn ask_came_back(
        &self,
        mail: &ReturnedMail,
        sent: SentMessage,
        subject: OutboxSubject,
        policy: &Policy,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let person = policy.reviewer(&sent.reviewer);
        let address = person.and_then(|person| person.address(ChannelName::Email));
        if let Some(address) = address {
            self.leave_alone(mail, &[address], now).await?;
        }
        let next = person.and_then(|person| person.channel_after(ChannelName::Email));
        if let (Some(next), true) = (next, mail.fate != MailFate::Unwanted) {
            self.ask_by(next, &sent, subject.clone(), now).await?;
        }
        let alert = Alert::MailReturned {
            reviewer: sent.reviewer.clone(),
            approval_id: sent.approval_id.clone(),
            unwanted: mail.fate == MailFate::Unwanted,
        };
        self.saw_again(subject, alert).await?;
        // Last: who dies before this does it all once more, rather than never.
        self.store.keep_sent(&SentMessage { state: SentState::Gone, ..sent }).await?;
        Ok(())
    }

    /// Asks the same person by that channel, now. It takes the place of a nudge that waits for its time.
    async fn ask_by(
        &self,
        channel: ChannelName,
        sent: &SentMessage,
        subject: OutboxSubject,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let (stage, reviewer) = (sent.stage, sent.reviewer.clone());
        let payload = OutboxPayload::Nudge { stage, reviewer, channel: channel.as_str().to_owned() };
        let message = OutboxMessage::new(subject, payload, now, self.dispatcher.lease_ms());
        self.store.replace(&message.id, std::slice::from_ref(&message)).await?;
        self.dispatcher.dispatch(Dispatch { messages: vec![message], ..Dispatch::default() }).await;
        Ok(())
    }

    async fn alert_came_back(&self, mail: &ReturnedMail, way: &str, policy: &Policy) -> Result<bool, Fault> {
        let found = policy.alerts.iter().find(|known| known.name == way);
        let Some(WayKind::Mail(to)) = found.map(|way| &way.kind) else { return Ok(false) };
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        if !to.iter().any(|address| mail.is_to(address)) {
            return Ok(false);
        }
        self.leave_alone(mail, &to, self.clock.now()).await?;
        let reason = "a mail to one of its addresses came back".to_owned();
        self.saw_again(OutboxSubject::Gate, Alert::WayNotReached { way: way.to_owned(), reason }).await?;
        Ok(true)
    }

    /// Remembers those of the addresses that no mail reaches any more.
    async fn leave_alone(
        &self,
        mail: &ReturnedMail,
        addresses: &[&str],
        now: Timestamp,
    ) -> Result<(), Fault> {
        for address in addresses.iter().filter(|address| mail.fate.is_lasting() && mail.is_to(address)) {
            self.store.mark(&mark_of(address), now.plus_millis(LEFT_ALONE_MS)).await?;
        }
        Ok(())
    }
}

impl ReturnedMail {
    fn is_to(&self, address: &str) -> bool {
        self.recipients.iter().any(|recipient| recipient.eq_ignore_ascii_case(address))
    }
}

/// Names an address without telling it.
fn mark_of(address: &str) -> String {
    format!("mail/returned/{}", sha256_hex(address.to_lowercase().as_bytes()))
}
