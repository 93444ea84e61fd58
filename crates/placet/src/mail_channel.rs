//! Mail as a channel: by the server of the environment, or else by the one that `placet channel set smtp` named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use placet_core::chat::SmtpSettings;
use placet_delivery::{AlertLetter, AlertMail, Channel, Notification, SendOutcome};
use placet_gate::ports::Keys;
use tokio::sync::Mutex;

use crate::mail::Mailer;

/// How many mails one person gets in a minute; then one digest.
const PER_MINUTE: u32 = 20;

/// Mails letters where a server is known; where none is, the file in the outbox is all there is.
pub(crate) struct MailChannel {
    of_the_environment: Option<Mailer>,
    keys: Arc<dyn Keys>,
    named: Mutex<Option<(SmtpSettings, Arc<Mailer>)>>,
    has_server: AtomicBool,
}

impl MailChannel {
    /// Mail by that mailer, or by the settings that lie beside the keys.
    pub(crate) fn new(of_the_environment: Option<Mailer>, keys: Arc<dyn Keys>) -> Self {
        let has_server = AtomicBool::new(of_the_environment.is_some());
        Self { of_the_environment, keys, named: Mutex::new(None), has_server }
    }

    /// The mailer of the settings, made anew when they have changed.
    async fn of_the_settings(&self) -> Result<Option<Arc<Mailer>>, SendOutcome> {
        let channels = self.keys.channels().await.map_err(|fault| {
            tracing::warn!(error = fault.chain(), "the settings of mail cannot be read");
            SendOutcome::Retry(fault.to_string())
        })?;
        let settings = channels.smtp.clone();
        self.has_server.store(settings.is_some(), Ordering::Relaxed);
        let Some(settings) = settings else { return Ok(None) };
        let mut named = self.named.lock().await;
        if let Some((_, mailer)) = named.as_ref().filter(|(known, _)| *known == settings) {
            return Ok(Some(Arc::clone(mailer)));
        }
        let mailer = Mailer::new(settings.url.expose(), &settings.from)
            .map_err(|_| SendOutcome::Unreachable("the mail server that was set cannot be used".into()))?;
        let mailer = Arc::new(mailer);
        *named = Some((settings, Arc::clone(&mailer)));
        Ok(Some(mailer))
    }
}

#[async_trait]
impl Channel for MailChannel {
    fn name(&self) -> &'static str {
        "email"
    }

    fn per_minute(&self) -> Option<u32> {
        self.has_server.load(Ordering::Relaxed).then_some(PER_MINUTE)
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        if let Some(mailer) = &self.of_the_environment {
            return mailer.send(notification).await;
        }
        match self.of_the_settings().await {
            Ok(Some(mailer)) => mailer.send(notification).await,
            Ok(None) => SendOutcome::Delivered(None),
            Err(outcome) => outcome,
        }
    }
}

#[async_trait]
impl AlertMail for MailChannel {
    async fn mail(&self, _way: &str, to: &[String], letter: &AlertLetter) -> SendOutcome {
        let named;
        let mailer = match &self.of_the_environment {
            Some(mailer) => mailer,
            None => match self.of_the_settings().await {
                Ok(Some(mailer)) => {
                    named = mailer;
                    &*named
                }
                Ok(None) => {
                    let reason = "no mail server is set: `placet channel set smtp`, or PLACET_SMTP_URL";
                    return SendOutcome::Retry(reason.into());
                }
                Err(outcome) => return outcome,
            },
        };
        match mailer.mail_alert(letter, to).await {
            Ok(()) => SendOutcome::Delivered(None),
            Err(reason) => SendOutcome::Retry(reason),
        }
    }
}
