//! Letters by mail, where the operator has named a server.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use placet_delivery::{Channel, Notification, SendOutcome};
use placet_gate::Fault;
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// Where mail goes out: `smtps://user:password@host:465`, `smtp://host:587?tls=required`.
pub(crate) const URL_VARIABLE: &str = "PLACET_SMTP_URL";

/// Who mail is from: `Placet <gate@example.com>`.
pub(crate) const FROM_VARIABLE: &str = "PLACET_MAIL_FROM";

/// Mails at once.
const AT_ONCE: usize = 8;

/// How long one waits for its turn, and then for the server: together less than a message's lease.
const PATIENCE: Duration = Duration::from_secs(12);
const SERVER_TIMEOUT: Duration = Duration::from_secs(12);

/// Sends mail.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    turns: Semaphore,
}

impl Mailer {
    /// The mailer of the environment, if it names one. Connects to nothing yet.
    pub(crate) fn from_environment() -> Result<Option<Self>, Failure> {
        let Some(url) = read_variable(URL_VARIABLE)? else { return Ok(None) };
        let from = read_variable(FROM_VARIABLE)?.ok_or_else(|| {
            Failure::usage(format!("{URL_VARIABLE} is set, but {FROM_VARIABLE} is not")).advise(format!(
                "set it to the sender's address: {FROM_VARIABLE}='Placet <gate@example.com>'"
            ))
        })?;
        Self::new(&url, &from).map(Some)
    }

    fn new(url: &str, from: &str) -> Result<Self, Failure> {
        let from = from
            .parse()
            .map_err(|error| Failure::usage(format!("{FROM_VARIABLE} is not a mail address: {error}")))?;
        // The cause could quote the URL, and with it the password.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| {
            Failure::usage(format!("{URL_VARIABLE} is not the URL of a mail server")).advise(
                "write it as smtps://user:password@host:465 or smtp://user:password@host:587?tls=required",
            )
        })?;
        Ok(Self {
            transport: transport.timeout(Some(SERVER_TIMEOUT)).build(),
            from,
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Mails a letter. A second try has the same `Message-ID`.
    async fn mail(&self, letter: &Notification, to: &str) -> Result<(), Fault> {
        let to: Mailbox = to
            .parse()
            .map(|address| Mailbox::new(None, address))
            .map_err(|error| Fault::new("a reviewer's mail address is not one", error))?;
        let host = self.from.email.domain();
        let mail = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject.clone())
            .message_id(Some(format!("<{}@{host}>", letter.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|error| Fault::new("a letter cannot be written as mail", error))?;
        let _turn = tokio::time::timeout(PATIENCE, self.turns.acquire())
            .await
            .map_err(|error| Fault::new("the mail server is too slow for the letters that wait", error))?;
        self.transport
            .send(mail)
            .await
            .map(drop)
            .map_err(|error| Fault::new("the mail server did not take a letter", error))
    }
}

#[async_trait]
impl Channel for Mailer {
    fn name(&self) -> &'static str {
        "email"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(address) = &notification.address else {
            return SendOutcome::Unreachable("the reviewer has no mail address".into());
        };
        match self.mail(notification, address).await {
            Ok(()) => SendOutcome::Delivered,
            Err(fault) => SendOutcome::Retry(fault.chain()),
        }
    }
}

fn read_variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_showing_its_password() {
        let failure = Mailer::new("https://user:hunter2@host", "gate@example.com").err().unwrap();
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
        assert_eq!(failure.code(), 2);
        assert!(Mailer::new("smtps://user:hunter2@host:465", "Placet <gate@example.com>").is_ok());
    }
}
