//! What people are told by: the mail server and the chats, asked as the gate would ask them.

use std::fmt::Write as _;
use std::time::Duration;

use lettre::{AsyncSmtpTransport, Tokio1Executor};
use placet_core::chat::ChannelSettings;
use placet_delivery::{Slack, Telegram};

use super::super::channel;
use super::{Findings, one_line};
use crate::folder::Folder;
use crate::mail;

/// How long the mail server may take to answer.
const MAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, says EHLO, and logs in where the URL names a user, exactly as the gate would.
pub(super) async fn check_mail(folder: &Folder, found: &mut Findings) {
    let named = channel::settings_of(folder).ok().and_then(|settings| settings.smtp.clone());
    match mail::Mailer::from_environment() {
        Ok(Some(_)) => {}
        Ok(None) if named.is_some() => {}
        Ok(None) => {
            found.warn(format!(
                "{} is not set here: reviewers are told on the terminal and in `{}` only",
                mail::URL_VARIABLE,
                folder.outbox().display()
            ));
            return;
        }
        Err(failure) => {
            found.fail(one_line(&failure));
            return;
        }
    }
    let text = match std::env::var(mail::URL_VARIABLE).ok().filter(|text| !text.is_empty()) {
        Some(text) => text,
        None => named.map(|smtp| smtp.url.expose().to_owned()).unwrap_or_default(),
    };
    let place = url::Url::parse(&text).ok().and_then(|url| {
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
    });
    let place = place.unwrap_or_else(|| "the mail server".to_owned());
    if would_show_its_password(&text) {
        found.fail(format!(
            "the mail server at {place} would get the password without TLS: write smtps://…:465, or smtp://…:587?tls=required"
        ));
        return;
    }
    // The cause could quote the URL, and with it the password.
    let Ok(builder) = AsyncSmtpTransport::<Tokio1Executor>::from_url(&text) else {
        found.fail(format!("{} is not the URL of a mail server", mail::URL_VARIABLE));
        return;
    };
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.timeout(Some(MAIL_TIMEOUT)).build();
    match tokio::time::timeout(MAIL_TIMEOUT * 2, transport.test_connection()).await {
        Ok(Ok(true)) => found.ok(format!("the mail server at {place} answers")),
        Ok(Ok(false)) => {
            found.fail(format!("the mail server at {place} ends the connection: no reviewer gets mail"));
        }
        Ok(Err(error)) => found.fail(format!(
            "the mail server at {place} cannot be used: {}{}",
            chain(&error),
            mail_advice(&text)
        )),
        Err(_) => {
            found.fail(format!("the mail server at {place} does not answer in time: no reviewer gets mail"));
        }
    }
}

/// Whether a login would go over the network as it is.
fn would_show_its_password(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let encrypted = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
    url.scheme() == "smtp" && url.password().is_some() && !encrypted
}

fn mail_advice(url: &str) -> &'static str {
    match url::Url::parse(url) {
        Ok(url) if url.password().is_some() => {
            "; if user or password hold `@`, `/`, `:` or `%`, they must be percent-encoded in the URL (`@` as %40)"
        }
        Ok(url) if url.scheme() == "smtps" => {
            "; port 465 speaks TLS at once, port 587 wants smtp:// and ?tls=required"
        }
        Ok(_) | Err(_) => "; is it running, and may this machine reach its port?",
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Whether the chats that are set take the gate's token. `place` is what `placet channel set` is given to mean this gate.
pub(crate) async fn check_chats(settings: &ChannelSettings, place: &str, found: &mut Findings) {
    let Ok(sender) = crate::trust::webhook_sender() else { return };
    let keys = || crate::trial::tried(settings);
    if let Some(slack) = &settings.slack {
        match Slack::new(keys(), sender.clone()).who_am_i(slack).await {
            Ok((_, team)) => {
                found.ok(format!("Slack takes the app's token, for {}", crate::console::harmless(&team)));
            }
            Err(why) => found.fail(format!(
                "Slack does not take the app's token: {}; set it anew with `placet channel set slack{place}`",
                crate::console::harmless(&why)
            )),
        }
    }
    if let Some(telegram) = &settings.telegram {
        match Telegram::new(keys(), sender).who_am_i(telegram).await {
            Ok(bot) => {
                found.ok(format!("Telegram takes the bot's token, for @{}", crate::console::harmless(&bot)));
            }
            Err(why) => found.fail(format!(
                "Telegram does not take the bot's token: {}; set it anew with `placet channel set telegram{place}`",
                crate::console::harmless(&why)
            )),
        }
    }
}
