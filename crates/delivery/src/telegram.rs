//! Telegram: a message of a bot with inline buttons, brought up to date when its request is.
//!
//! Source: <https://core.telegram.org/bots/api> (`sendMessage`, `editMessageText`). Who presses is verified in the
//! gate's routes.

use std::sync::Arc;

use async_trait::async_trait;
use placet_core::chat::TelegramSettings;
use placet_core::words::May;
use placet_gate::ports::Keys;
use placet_webhook::{Attempt, Sender, Target};
use serde_json::{Value, json};

use crate::card::{Card, Stands, cut};
use crate::channel::{Channel, Notification, SendOutcome, SettleOutcome};
use crate::slack::authority;

/// Telegram's Bot API.
pub const TELEGRAM_API: &str = "https://api.telegram.org";

/// Telegram allows about one message a second to one chat; a person bears less.
const PER_MINUTE: u32 = 20;

/// A message has at most 4,096 characters; what is left is for the frame.
const DETAILS_CHARS: usize = 2400;
const WORDS_CHARS: usize = 600;

/// Messages of a Telegram bot.
pub struct Telegram {
    keys: Arc<dyn Keys>,
    sender: Sender,
}

/// What Telegram says to a call.
enum Answer {
    /// `ok: true`, with its result.
    Ok(Value),
    /// `ok: false`, with its code and its words.
    Refused(u16, String),
    /// Wait so long.
    Slow(i64),
    /// No sense, or no answer.
    Failed(String),
}

impl Telegram {
    /// Telegram, with the token that lies beside the keyring when something is sent.
    pub fn new(keys: Arc<dyn Keys>, sender: Sender) -> Self {
        Self { keys, sender }
    }

    async fn settings(&self) -> Result<TelegramSettings, SendOutcome> {
        match self.keys.channels().await {
            Ok(settings) => settings.telegram.clone().ok_or_else(|| {
                SendOutcome::Unreachable(
                    "Telegram is not set up at this gate: `placet channel set telegram` does it".into(),
                )
            }),
            Err(fault) => Err(SendOutcome::Retry(fault.chain())),
        }
    }

    /// The token is part of the address, so no address is ever told.
    async fn call(&self, settings: &TelegramSettings, method: &str, body: &Value) -> Answer {
        let api = settings.api_url.as_deref();
        let url = format!("{}/bot{}/{method}", api.unwrap_or(TELEGRAM_API), settings.bot_token.expose());
        let exempt = api.and_then(authority).into_iter().collect::<Vec<_>>();
        let Ok(target) = Target::parse(&url, &exempt) else {
            return Answer::Failed("Telegram's address cannot be called".into());
        };
        match self.sender.post(&target, &exempt, &[], body.to_string().as_bytes()).await {
            Attempt::Delivered { body, .. } => match serde_json::from_slice::<Value>(&body) {
                Ok(answer) if answer.get("ok").and_then(Value::as_bool) == Some(true) => {
                    Answer::Ok(answer.get("result").cloned().unwrap_or_default())
                }
                Ok(_) | Err(_) => Answer::Failed("Telegram's answer has no result".into()),
            },
            Attempt::Refused { status, retry_after, body } => {
                let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                if status == 429 {
                    let said = answer.pointer("/parameters/retry_after").and_then(Value::as_i64);
                    let header = retry_after.and_then(|wait| i64::try_from(wait.as_secs()).ok());
                    return Answer::Slow(said.or(header).unwrap_or(1).max(1).saturating_mul(1000));
                }
                Answer::Refused(
                    status,
                    answer.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
                )
            }
            Attempt::Gone => Answer::Refused(410, String::new()),
            Attempt::Unreachable { reason } | Attempt::Forbidden { reason } => Answer::Failed(reason),
        }
    }

    /// The bot's own name, without `@`.
    pub async fn who_am_i(&self, settings: &TelegramSettings) -> Result<String, String> {
        match self.call(settings, "getMe", &json!({})).await {
            Answer::Ok(me) => Ok(me.get("username").and_then(Value::as_str).unwrap_or("a bot").to_owned()),
            other => Err(said(&other)),
        }
    }

    /// Tells Telegram where to send presses of buttons.
    pub async fn set_webhook(&self, settings: &TelegramSettings, url: &str) -> Result<(), String> {
        let body = json!({
            "url": url, "secret_token": settings.webhook_secret.expose(),
            "allowed_updates": ["callback_query", "message"],
        });
        match self.call(settings, "setWebhook", &body).await {
            Answer::Ok(_) => Ok(()),
            other => Err(said(&other)),
        }
    }
}

/// An answer that is no success, for people. Telegram's own words about a call name no secret.
fn said(answer: &Answer) -> String {
    match answer {
        Answer::Ok(_) => "Telegram agreed".into(),
        Answer::Refused(status, words) => format!("Telegram answered {status}: {}", cut(words, 200)),
        Answer::Slow(_) => "Telegram asks to wait".into(),
        Answer::Failed(reason) => reason.clone(),
    }
}

#[async_trait]
impl Channel for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    fn per_minute(&self) -> Option<u32> {
        Some(PER_MINUTE)
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(chat) = notification.address.as_ref().and_then(|id| id.parse::<i64>().ok()) else {
            return SendOutcome::Unreachable("the reviewer has no user id of Telegram".into());
        };
        let settings = match self.settings().await {
            Ok(settings) => settings,
            Err(outcome) => return outcome,
        };
        let message = content(notification, chat, None);
        match self.call(&settings, "sendMessage", &message).await {
            Answer::Ok(sent) => {
                let number = |place: &str| sent.pointer(place).and_then(Value::as_i64);
                let place = number("/chat/id").zip(number("/message_id"));
                SendOutcome::Delivered(place.map(|(chat, id)| reference(chat, id)))
            }
            Answer::Slow(in_ms) => SendOutcome::Wait { in_ms, reason: "Telegram answered 429".into() },
            // The person has not begun a conversation with the bot, or has blocked it; or the token is wrong.
            Answer::Refused(status @ (400 | 401 | 403 | 404), _) => {
                SendOutcome::Unreachable(format!("Telegram answered {status}"))
            }
            Answer::Refused(status, _) => SendOutcome::Retry(format!("Telegram answered {status}")),
            Answer::Failed(reason) => SendOutcome::Retry(reason),
        }
    }

    async fn settle(&self, reference: &str, notification: &Notification) -> SettleOutcome {
        let place = reference
            .split_once(':')
            .and_then(|(chat, id)| Some((chat.parse::<i64>().ok()?, id.parse::<i64>().ok()?)));
        let Some((chat, id)) = place else {
            return SettleOutcome::Impossible("a message's place in Telegram cannot be read".into());
        };
        let settings = match self.settings().await {
            Ok(settings) => settings,
            Err(SendOutcome::Retry(reason)) => return SettleOutcome::Retry { in_ms: None, reason },
            Err(_) => return SettleOutcome::Impossible("Telegram is not set up any more".into()),
        };
        let message = content(notification, chat, Some(id));
        match self.call(&settings, "editMessageText", &message).await {
            Answer::Ok(_) => SettleOutcome::Settled,
            Answer::Slow(in_ms) => {
                SettleOutcome::Retry { in_ms: Some(in_ms), reason: "Telegram answered 429".into() }
            }
            // It shows just that already, or somebody has deleted it.
            Answer::Refused(400, words)
                if words.contains("message is not modified")
                    || words.contains("message to edit not found") =>
            {
                SettleOutcome::Settled
            }
            Answer::Refused(status @ 400..=499, _) => {
                SettleOutcome::Impossible(format!("Telegram answered {status}"))
            }
            Answer::Refused(status, _) => {
                SettleOutcome::Retry { in_ms: None, reason: format!("Telegram answered {status}") }
            }
            Answer::Failed(reason) => SettleOutcome::Retry { in_ms: None, reason },
        }
    }
}

/// Where a message is.
pub fn reference(chat: i64, message: i64) -> String {
    format!("{chat}:{message}")
}

/// The text and the buttons of a message: a new one, or the one of that number.
fn content(notification: &Notification, chat: i64, message: Option<i64>) -> Value {
    json!({
        "chat_id": chat,
        "message_id": message,
        "text": text(notification),
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
        "reply_markup": { "inline_keyboard": keyboard(notification) },
    })
}

/// HTML of Telegram's kind: `& < >` escaped, so that no words of a caller's are markup.
/// Source: <https://core.telegram.org/bots/api#html-style>.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(notification: &Notification) -> String {
    let card: &Card = &notification.card;
    let mut parts = Vec::new();
    if card.is_reminder {
        parts.push("Reminder: this still waits for you.".to_owned());
    }
    parts.push(format!("<b>{}</b>", escaped(&cut(&card.headline, 200))));
    if let Some(line) = card.standing_line() {
        parts.push(escaped(&cut(&line, WORDS_CHARS)));
    }
    if !card.details.is_empty() {
        parts.push(format!("<pre>{}</pre>", escaped(&cut(&card.details, DETAILS_CHARS))));
        if card.details.chars().count() > DETAILS_CHARS {
            parts.push("This is not all of it: the page shows the whole.".to_owned());
        }
    }
    if !card.agents_words.is_empty() {
        let words = cut(&card.agents_words, WORDS_CHARS);
        parts.push(format!(
            "In {}’s own words (not checked): <i>{}</i>",
            escaped(&card.client),
            escaped(&words)
        ));
    }
    if !card.rule.is_empty() {
        parts.push(format!("{} asks. Rule: {}.", escaped(&card.client), escaped(&card.rule)));
    }
    if matches!(card.stands, Stands::Open { .. }) {
        if let Some((_, words)) = &card.until {
            parts.push(format!("Please answer by {}.", escaped(words)));
        }
        if let Some((counted, needed)) = card.approvals {
            parts.push(format!("{counted} of {needed} approvals."));
        }
    }
    if needs_link(card) && !takes_link(&notification.url) {
        parts.push(format!("Open the page: {}", escaped(&notification.url)));
    }
    parts.join("\n\n")
}

const fn needs_link(card: &Card) -> bool {
    matches!(card.stands, Stands::Open { .. } | Stands::Several)
}

/// Whether Telegram takes that address for a button: it refuses those of one's own machine.
fn takes_link(url: &str) -> bool {
    url.starts_with("https://")
}

fn keyboard(notification: &Notification) -> Value {
    let card = &notification.card;
    let mut rows: Vec<Value> = Vec::new();
    if let Stands::Open { buttons: Some(buttons), .. } = &card.stands {
        let mut row = Vec::new();
        if let Some(value) = &buttons.approve {
            row.push(json!({ "text": "Approve", "callback_data": value }));
        }
        row.push(json!({ "text": "Reject", "callback_data": buttons.reject }));
        rows.push(Value::Array(row));
    }
    if needs_link(card) && takes_link(&notification.url) {
        let words = match &card.stands {
            Stands::Several => "Open the inbox",
            Stands::Open { buttons: Some(_), .. } => "Open the page",
            Stands::Open { may: May::RejectOnly, .. } => "Review and reject",
            Stands::Open { .. } | Stands::Approved | Stands::MovedOn | Stands::Ended { .. } => {
                "Review and decide"
            }
        };
        rows.push(json!([{ "text": words, "url": notification.url }]));
    }
    Value::Array(rows)
}
