//! Slack: a direct message with buttons, brought up to date when its request is.
//!
//! Source: <https://docs.slack.dev/reference/methods/chat.postMessage>, `chat.update`, `chat.postEphemeral`, and the
//! limits of <https://docs.slack.dev/reference/block-kit/blocks>. Who presses is verified in the gate's routes.

use std::sync::Arc;

use async_trait::async_trait;
use placet_core::chat::SlackSettings;
use placet_core::grammar::HostPattern;
use placet_core::words::May;
use placet_gate::ports::Keys;
use placet_webhook::{Attempt, Sender, Target};
use serde_json::{Value, json};

use crate::card::{Card, Stands, cut};
use crate::channel::{Channel, Notification, SendOutcome, SettleOutcome};

/// Slack's Web API.
pub const SLACK_API: &str = "https://slack.com/api";

/// `action_id` of the button that approves. The route reads it.
pub const APPROVE: &str = "placet.approve";
/// `action_id` of the button that rejects.
pub const REJECT: &str = "placet.reject";
/// `action_id` of the button that opens the page: Slack tells of it, and nothing follows.
pub const OPEN: &str = "placet.open";
/// `action_id` of the reason; its block's id begins with this.
pub const REASON: &str = "placet.reason";

/// Slack allows about one message a second; a person bears less.
const PER_MINUTE: u32 = 20;

/// Limits of Slack's: a header's text, a section's, the message's own.
const HEADER_CHARS: usize = 150;
const SECTION_CHARS: usize = 3000;
const TEXT_CHARS: usize = 3900;
/// All blocks together, well below the undocumented end at about 13,200 characters.
const DETAILS_CHARS: usize = 2800;

/// Direct messages of a Slack app.
pub struct Slack {
    keys: Arc<dyn Keys>,
    sender: Sender,
}

/// What Slack says to a call.
enum Answer {
    /// `ok: true`, with everything else.
    Ok(Value),
    /// `ok: false`, with its code.
    Refused(String),
    /// Wait so long.
    Slow(i64),
    /// No sense, or no answer.
    Failed(String),
}

/// What an error code of Slack's means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Later again.
    Later,
    /// This person cannot be reached by Slack.
    Person,
    /// The app's token, or its rights, are wrong: nobody can be reached.
    App,
    /// The blocks are too much, or wrong.
    Blocks,
    /// The message is gone.
    Message,
    /// The message is there, and can no more be changed.
    Fixed,
    /// Unknown.
    Other,
}

/// The meaning of a code. Source: the tables of errors of `chat.postMessage` and `chat.update`.
fn meaning(code: &str) -> Meaning {
    match code {
        "ratelimited"
        | "rate_limited"
        | "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org"
        | "message_limit_exceeded" => Meaning::Later,
        "channel_not_found"
        | "not_in_channel"
        | "is_archived"
        | "restricted_action"
        | "user_disabled"
        | "user_not_found"
        | "user_not_visible"
        | "cannot_dm_bot"
        | "messages_tab_disabled"
        | "user_not_in_channel"
        | "restricted_action_read_only_channel" => Meaning::Person,
        "invalid_auth"
        | "not_authed"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "missing_scope"
        | "no_permission"
        | "not_allowed_token_type"
        | "org_login_required"
        | "team_access_not_granted"
        | "ekm_access_denied"
        | "access_denied" => Meaning::App,
        "msg_too_long" | "msg_blocks_too_long" | "invalid_blocks" | "invalid_blocks_format" | "no_text" => {
            Meaning::Blocks
        }
        "message_not_found" => Meaning::Message,
        "cant_update_message" | "edit_window_closed" | "is_inactive" => Meaning::Fixed,
        _ => Meaning::Other,
    }
}

impl Slack {
    /// Slack, with the token that lies beside the keyring when something is sent.
    pub fn new(keys: Arc<dyn Keys>, sender: Sender) -> Self {
        Self { keys, sender }
    }

    async fn settings(&self) -> Result<SlackSettings, SendOutcome> {
        match self.keys.channels().await {
            Ok(settings) => settings.slack.clone().ok_or_else(|| {
                SendOutcome::Unreachable(
                    "Slack is not set up at this gate: `placet channel set slack` does it".into(),
                )
            }),
            Err(fault) => Err(SendOutcome::Retry(fault.chain())),
        }
    }

    async fn call(&self, settings: &SlackSettings, method: &str, body: &Value) -> Answer {
        let api = settings.api_url.as_deref();
        let url = format!("{}/{method}", api.unwrap_or(SLACK_API));
        let exempt = api.and_then(authority).into_iter().collect::<Vec<_>>();
        let target = match Target::parse(&url, &exempt) {
            Ok(target) => target,
            Err(problem) => return Answer::Failed(format!("Slack's address cannot be called: {problem}")),
        };
        let authorization = format!("Bearer {}", settings.bot_token.expose());
        let headers = [("authorization", authorization.as_str())];
        match self.sender.post(&target, &exempt, &headers, body.to_string().as_bytes()).await {
            Attempt::Delivered { body, .. } => read(&body),
            Attempt::Refused { status: 429, retry_after, .. } => {
                let wait = retry_after.map_or(1, |wait| wait.as_secs().max(1));
                Answer::Slow(i64::try_from(wait).unwrap_or(i64::MAX).saturating_mul(1000))
            }
            Attempt::Refused { status, .. } => Answer::Failed(format!("Slack answered {status}")),
            Attempt::Gone => Answer::Failed("Slack answered 410".into()),
            Attempt::Unreachable { reason } | Attempt::Forbidden { reason } => Answer::Failed(reason),
        }
    }

    /// Better a plain message with the link than none: for blocks that Slack refuses.
    async fn call_with_blocks(
        &self,
        settings: &SlackSettings,
        method: &str,
        notification: &Notification,
        message: impl Fn(Value) -> Value + Send,
    ) -> Answer {
        let answer = self.call(settings, method, &message(blocks(notification))).await;
        match &answer {
            Answer::Refused(code) if meaning(code) == Meaning::Blocks => {
                self.call(settings, method, &message(plain_blocks(notification))).await
            }
            Answer::Ok(_) | Answer::Refused(_) | Answer::Slow(_) | Answer::Failed(_) => answer,
        }
    }

    /// Who the token is: the team, the bot.
    pub async fn who_am_i(&self, settings: &SlackSettings) -> Result<(Option<String>, String), String> {
        match self.call(settings, "auth.test", &json!({})).await {
            Answer::Ok(answer) => Ok((
                text_at(&answer, "team_id").map(str::to_owned),
                text_at(&answer, "team").unwrap_or("a workspace").to_owned(),
            )),
            Answer::Refused(code) => Err(format!("Slack says `{code}`")),
            Answer::Slow(_) => Err("Slack asks to wait".into()),
            Answer::Failed(reason) => Err(reason),
        }
    }
}

fn text_at<'v>(answer: &'v Value, name: &str) -> Option<&'v str> {
    answer.get(name)?.as_str()
}

fn read(body: &[u8]) -> Answer {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return Answer::Failed("Slack's answer is not JSON".into());
    };
    match (answer.get("ok").and_then(Value::as_bool), text_at(&answer, "error")) {
        (Some(true), _) => Answer::Ok(answer),
        (_, Some(code)) => Answer::Refused(code.chars().take(64).collect()),
        (_, None) => Answer::Failed("Slack's answer says neither yes nor no".into()),
    }
}

/// The host of an address that the operator has set: it may be on this machine.
pub(crate) fn authority(url: &str) -> Option<HostPattern> {
    HostPattern::parse(url.split_once("://")?.1.split('/').next()?).ok()
}

#[async_trait]
impl Channel for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn per_minute(&self) -> Option<u32> {
        Some(PER_MINUTE)
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(user) = &notification.address else {
            return SendOutcome::Unreachable("the reviewer has no user id of Slack".into());
        };
        let settings = match self.settings().await {
            Ok(settings) => settings,
            Err(outcome) => return outcome,
        };
        let message = |blocks: Value| {
            json!({
                "channel": user,
                "text": text(notification),
                "blocks": blocks,
                "unfurl_links": false,
                "unfurl_media": false,
            })
        };
        let answer = self.call_with_blocks(&settings, "chat.postMessage", notification, message).await;
        match answer {
            Answer::Ok(answer) => match (text_at(&answer, "channel"), text_at(&answer, "ts")) {
                (Some(channel), Some(ts)) => SendOutcome::Delivered(Some(reference(channel, ts))),
                _ => SendOutcome::Delivered(None),
            },
            Answer::Slow(in_ms) => SendOutcome::Wait { in_ms, reason: "Slack answered 429".into() },
            Answer::Refused(code) => match meaning(&code) {
                Meaning::Person | Meaning::App => SendOutcome::Unreachable(format!("Slack says `{code}`")),
                Meaning::Later | Meaning::Blocks | Meaning::Message | Meaning::Fixed | Meaning::Other => {
                    SendOutcome::Retry(format!("Slack says `{code}`"))
                }
            },
            Answer::Failed(reason) => SendOutcome::Retry(reason),
        }
    }

    async fn settle(&self, reference: &str, notification: &Notification) -> SettleOutcome {
        let Some((channel, ts)) = reference.split_once(':') else {
            return SettleOutcome::Impossible("a message's place in Slack cannot be read".into());
        };
        let settings = match self.settings().await {
            Ok(settings) => settings,
            Err(SendOutcome::Retry(reason)) => return SettleOutcome::Retry { in_ms: None, reason },
            Err(_) => return SettleOutcome::Impossible("Slack is not set up any more".into()),
        };
        let message = |blocks: Value| json!({ "channel": channel, "ts": ts, "text": text(notification), "blocks": blocks });
        let answer = self.call_with_blocks(&settings, "chat.update", notification, message).await;
        match answer {
            Answer::Ok(_) => SettleOutcome::Settled,
            Answer::Slow(in_ms) => {
                SettleOutcome::Retry { in_ms: Some(in_ms), reason: "Slack answered 429".into() }
            }
            Answer::Refused(code) => match meaning(&code) {
                Meaning::Message => SettleOutcome::Gone,
                Meaning::Person | Meaning::App | Meaning::Blocks | Meaning::Fixed => {
                    SettleOutcome::Impossible(format!("Slack says `{code}`"))
                }
                Meaning::Later | Meaning::Other => {
                    SettleOutcome::Retry { in_ms: None, reason: format!("Slack says `{code}`") }
                }
            },
            Answer::Failed(reason) => SettleOutcome::Retry { in_ms: None, reason },
        }
    }

    async fn whisper(&self, place: &str, user: &str, text: &str) -> SendOutcome {
        let settings = match self.settings().await {
            Ok(settings) => settings,
            Err(outcome) => return outcome,
        };
        let message = json!({ "channel": place, "user": user, "text": escaped(text) });
        match self.call(&settings, "chat.postEphemeral", &message).await {
            Answer::Ok(_) => SendOutcome::Delivered(None),
            Answer::Slow(in_ms) => SendOutcome::Wait { in_ms, reason: "Slack answered 429".into() },
            Answer::Refused(code) => SendOutcome::Unreachable(format!("Slack says `{code}`")),
            Answer::Failed(reason) => SendOutcome::Retry(reason),
        }
    }
}

/// Where a message is: the conversation that Slack opened, not the user's id, which `chat.update` refuses.
pub fn reference(channel: &str, ts: &str) -> String {
    format!("{channel}:{ts}")
}

/// What `& < >` become in mrkdwn; without it a text could mention people and make links.
/// Source: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The one text of notices on a lock screen, and of programs that show no blocks.
fn text(notification: &Notification) -> String {
    let card = &notification.card;
    let line = match card.standing_line() {
        Some(standing) => format!("{standing} {}", card.headline),
        None => notification.subject.clone(),
    };
    escaped(&cut(&line, TEXT_CHARS))
}

fn plain(text: &str, characters: usize) -> Value {
    // Slack refuses a text without any character.
    let text = if text.is_empty() { " " } else { text };
    json!({ "type": "plain_text", "text": cut(text, characters), "emoji": false })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain(text, SECTION_CHARS) })
}

fn link_button(notification: &Notification, words: &str) -> Value {
    json!({ "type": "button", "action_id": OPEN, "text": plain(words, 75), "url": notification.url })
}

/// The message: the gate's one line, what exactly, who asks and until when, a reason, the buttons.
fn blocks(notification: &Notification) -> Value {
    let card = &notification.card;
    let mut blocks = Vec::new();
    if card.is_reminder {
        blocks.push(
            json!({ "type": "context", "elements": [plain("Reminder: this still waits for you.", 150)] }),
        );
    }
    blocks.push(json!({ "type": "header", "text": plain(&card.headline, HEADER_CHARS) }));
    if let Some(line) = card.standing_line() {
        blocks.push(section(&line));
    }
    if !card.details.is_empty() {
        blocks.push(section(&cut(&card.details, DETAILS_CHARS)));
        if card.details.chars().count() > DETAILS_CHARS {
            blocks.push(section("This is not all of it: the page shows the whole."));
        }
    }
    blocks.push(context(card));
    match &card.stands {
        Stands::Several => {
            blocks.push(
                json!({ "type": "actions", "elements": [link_button(notification, "Open the inbox")] }),
            );
        }
        Stands::Open { may, buttons: None } => {
            let words = match may {
                May::Decide => "Review and decide",
                May::RejectOnly => "Review and reject",
            };
            blocks.push(json!({ "type": "actions", "elements": [link_button(notification, words)] }));
        }
        Stands::Open { buttons: Some(buttons), .. } => {
            // A new id for each version: Slack would keep what was typed for an earlier one.
            blocks.push(json!({
                "type": "input", "optional": true, "block_id": format!("{REASON}.{}", card.version),
                "label": plain("Reason", 75),
                "element": { "type": "plain_text_input", "action_id": REASON, "max_length": 500 },
            }));
            let mut elements = Vec::new();
            if let Some(value) = &buttons.approve {
                elements.push(json!({
                    "type": "button", "action_id": APPROVE, "text": plain("Approve", 75), "style": "primary",
                    "value": value,
                }));
            }
            elements.push(json!({
                "type": "button", "action_id": REJECT, "text": plain("Reject", 75), "style": "danger",
                "value": buttons.reject,
            }));
            elements.push(link_button(notification, "Open the page"));
            blocks.push(json!({
                "type": "actions", "block_id": format!("placet.actions.{}", card.version), "elements": elements,
            }));
        }
        Stands::Approved | Stands::MovedOn | Stands::Ended { .. } => {}
    }
    Value::Array(blocks)
}

/// Who asks, in whose words, by which rule, until when in the reader's own time.
fn context(card: &Card) -> Value {
    let mut elements = Vec::new();
    if !card.agents_words.is_empty() {
        let words = format!("In {}’s own words (not checked): {}", card.client, card.agents_words);
        elements.push(plain(&words, 700));
    }
    if !card.rule.is_empty() {
        elements.push(plain(&format!("{} asks. Rule: {}.", card.client, card.rule), 200));
    }
    if matches!(card.stands, Stands::Open { .. }) {
        if let Some((at, words)) = &card.until {
            // The gate's own words: nothing of a caller's is in a text with markup.
            let text = format!(
                "Please answer by <!date^{}^{{time}}, {{date_short_pretty}}|{}>.",
                at.seconds(),
                escaped(words)
            );
            elements.push(json!({ "type": "mrkdwn", "text": text }));
        }
        if let Some((counted, needed)) = card.approvals {
            elements.push(plain(&format!("{counted} of {needed} approvals."), 100));
        }
    }
    if elements.is_empty() {
        elements.push(plain("Placet", 75));
    }
    json!({ "type": "context", "elements": elements })
}

/// What is left where Slack refuses the blocks: one line, how it stands, the link.
fn plain_blocks(notification: &Notification) -> Value {
    let card = &notification.card;
    let mut blocks = vec![section(&cut(&card.headline, HEADER_CHARS))];
    match card.standing_line() {
        Some(line) => blocks.push(section(&cut(&line, 500))),
        None => blocks
            .push(json!({ "type": "actions", "elements": [link_button(notification, "Open the page")] })),
    }
    Value::Array(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_error_has_its_consequence() {
        for (code, expected) in [
            ("ratelimited", Meaning::Later),
            ("internal_error", Meaning::Later),
            ("channel_not_found", Meaning::Person),
            ("user_disabled", Meaning::Person),
            ("invalid_auth", Meaning::App),
            ("missing_scope", Meaning::App),
            ("msg_blocks_too_long", Meaning::Blocks),
            ("message_not_found", Meaning::Message),
            ("edit_window_closed", Meaning::Fixed),
            ("something_new", Meaning::Other),
        ] {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
    }

    #[test]
    fn an_address_of_ones_own_names_its_host() {
        assert_eq!(authority("http://127.0.0.1:9/api"), HostPattern::parse("127.0.0.1:9").ok());
        assert_eq!(authority("https://slack-gov.com"), HostPattern::parse("slack-gov.com").ok());
        assert_eq!(authority("slack"), None);
    }
}
