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

use crate::card::{Card, Stands, cut, cut_units, units_in};
use crate::channel::{Channel, Notification, SendOutcome, SettleOutcome};
use crate::slack::authority;

/// Telegram's Bot API.
pub const TELEGRAM_API: &str = "https://api.telegram.org";

/// Telegram allows about one message a second to one chat; a person bears less.
const PER_MINUTE: u32 = 20;

/// A message has at most 4,096 UTF-16 units; what is left is for the frame.
const DETAILS_UNITS: usize = 2200;
const WORDS_UNITS: usize = 600;
const HEADLINE_UNITS: usize = 200;
const NAME_UNITS: usize = 64;

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

    /// Better a plain message with the link than none: for what Telegram refuses though the chat is there.
    async fn call_with(
        &self,
        settings: &TelegramSettings,
        method: &str,
        notification: &Notification,
        chat: i64,
        message: Option<i64>,
    ) -> Answer {
        let answer = self.call(settings, method, &content(notification, chat, message)).await;
        match &answer {
            Answer::Refused(400, words) if !is_about_the_place(words) => {
                self.call(settings, method, &plain_content(notification, chat, message)).await
            }
            Answer::Ok(_) | Answer::Refused(..) | Answer::Slow(_) | Answer::Failed(_) => answer,
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

/// Whether a 400 says that the chat or the message is the reason, which another text would not mend.
fn is_about_the_place(words: &str) -> bool {
    const PLACES: [&str; 6] = [
        "chat not found",
        "blocked",
        "deactivated",
        "message is not modified",
        "message to edit not found",
        "message can't be edited",
    ];
    PLACES.iter().any(|place| words.contains(place))
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
        match self.call_with(&settings, "sendMessage", notification, chat, None).await {
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
        match self.call_with(&settings, "editMessageText", notification, chat, Some(id)).await {
            Answer::Ok(_) => SettleOutcome::Settled,
            Answer::Slow(in_ms) => {
                SettleOutcome::Retry { in_ms: Some(in_ms), reason: "Telegram answered 429".into() }
            }
            // It shows just that already.
            Answer::Refused(400, words) if words.contains("message is not modified") => {
                SettleOutcome::Settled
            }
            Answer::Refused(400, words) if words.contains("message to edit not found") => SettleOutcome::Gone,
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
    framed(&text(notification), &keyboard(notification), chat, message)
}

fn framed(text: &str, rows: &[Value], chat: i64, message: Option<i64>) -> Value {
    json!({
        "chat_id": chat,
        "message_id": message,
        "text": text,
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
        "reply_markup": { "inline_keyboard": rows },
    })
}

/// HTML of Telegram's kind: `& < >` escaped, so that no words of a caller's are markup.
/// Source: <https://core.telegram.org/bots/api#html-style>.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(notification: &Notification) -> String {
    let card: &Card = &notification.card;
    let client = escaped(&cut_units(&card.client, NAME_UNITS));
    let mut parts = Vec::new();
    if card.is_reminder {
        parts.push("Reminder: this still waits for you.".to_owned());
    }
    parts.push(format!("<b>{}</b>", escaped(&cut_units(&card.headline, HEADLINE_UNITS))));
    if let Some(line) = card.standing_line() {
        parts.push(escaped(&cut_units(&line, WORDS_UNITS)));
    }
    if !card.details.is_empty() {
        parts.push(format!("<pre>{}</pre>", escaped(&cut_units(&card.details, DETAILS_UNITS))));
        if units_in(&card.details) > DETAILS_UNITS {
            parts.push("This is not all of it: the page shows the whole.".to_owned());
        }
    }
    if !card.agents_words.is_empty() {
        let words = cut_units(&card.agents_words, WORDS_UNITS);
        parts.push(format!("In {client}’s own words (not checked): <i>{}</i>", escaped(&words)));
    }
    if !card.rule.is_empty() {
        let rule = escaped(&cut_units(&card.rule, NAME_UNITS));
        parts.push(format!("{client} asks. Rule: {rule}."));
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

/// What is left where Telegram refuses the message: one line, how it stands, the link.
fn plain_content(notification: &Notification, chat: i64, message: Option<i64>) -> Value {
    let card = &notification.card;
    let mut parts = vec![escaped(&cut_units(&card.headline, HEADLINE_UNITS))];
    parts.extend(card.standing_line().map(|line| escaped(&cut_units(&line, WORDS_UNITS))));
    let mut rows = Vec::new();
    if needs_link(card) {
        if takes_link(&notification.url) {
            rows.push(json!([{ "text": "Open the page", "url": notification.url }]));
        } else {
            parts.push(format!("Open the page: {}", escaped(&notification.url)));
        }
    }
    framed(&parts.join("\n\n"), &rows, chat, message)
}

const fn needs_link(card: &Card) -> bool {
    matches!(card.stands, Stands::Open { .. } | Stands::Several)
}

/// Whether Telegram takes that address for a button: it refuses those of one's own machine.
fn takes_link(url: &str) -> bool {
    url.starts_with("https://")
}

fn keyboard(notification: &Notification) -> Vec<Value> {
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
    rows
}
