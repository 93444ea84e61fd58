//! What the servers of chats call: a reviewer has pressed a button.
//!
//! Who calls is proved by Slack's signature or Telegram's secret token, over the bytes as they came; who pressed is what
//! that server says. Nothing that a message carries gives anybody authority.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use placet_core::Refusal;
use placet_core::chat::{ChannelSettings, NotSlacks, SlackSettings, verify_slack};
use placet_core::policy::ChannelName;
use placet_gate::{ChatAnswer, ChatPress, ChatWord, Gate};
use serde_json::{Value, json};

use crate::call::read_body;
use crate::client::json as json_answer;
use crate::problem::Problem;
use crate::routes::route_table;

/// The largest press that is read, in bytes: Slack sends the whole message with it.
const PRESS_LIMIT: usize = 256 * 1024;

route_table! {
    "/v1/slack/interactions" => post self::slack;
    "/v1/telegram/updates" => post self::telegram;
}

/// Nothing proves a caller where this gate has no such chat: the same status as for a wrong proof.
fn unproved(chat: &str, proof: &str) -> Problem {
    Problem::from(Refusal::InvalidSignature)
        .explained(format!("the {proof} is not {chat}'s for this gate, or {chat} is not set up here"))
}

async fn settings(gate: &Gate) -> Result<Arc<ChannelSettings>, Problem> {
    Ok(gate.channel_settings().await.map_err(placet_gate::Error::from)?)
}

/// Takes a press of a button in Slack.
///
/// Verified with the app's signing secret over the raw body, at most 300 seconds old. The answer is empty: the message
/// itself is changed, and whoever pressed in vain is told alone.
#[utoipa::path(post, path = "/v1/slack/interactions", tag = "chats", security(()),
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "one field `payload`: Slack's JSON of an interaction"),
    responses(
        (status = 200, description = "taken; what came of it is shown in Slack"),
        (status = 413, description = "`payload_too_large`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn slack(
    State(gate): State<Arc<Gate>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let settings = settings(&gate).await?;
    let slack = settings.slack.as_ref().ok_or_else(|| unproved("Slack", "signature"))?;
    let header = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        value.filter(|_| values.next().is_none()).unwrap_or_default()
    };
    let body = read_body(&headers, body, PRESS_LIMIT).await?;
    verify_slack(
        &slack.signing_secret,
        header("x-slack-request-timestamp"),
        header("x-slack-signature"),
        &body,
        gate.now(),
    )
    .map_err(|why| match why {
        NotSlacks::Signature => unproved("Slack", "signature"),
        NotSlacks::Skew { off_by_seconds } => Refusal::ClockSkew { off_by_seconds }.into(),
    })?;
    let interaction = read_interaction(&body)?;
    if !is_of_this_app(&interaction, slack) {
        return Err(Refusal::Forbidden("this press is of another Slack workspace or app").into());
    }
    let Some(press) = slack_press(&interaction) else { return Ok(StatusCode::OK.into_response()) };
    if let ChatAnswer::Word(word) = gate.press(&press).await?
        && let Some(place) = text(&interaction, "/container/channel_id")
    {
        gate.say_in_slack(&press, place, word).await.map_err(placet_gate::Error::from)?;
    }
    Ok(StatusCode::OK.into_response())
}

/// The field `payload` of Slack's form.
fn read_interaction(body: &[u8]) -> Result<Value, Refusal> {
    let mut payloads = form_urlencoded::parse(body).filter(|(key, _)| key == "payload");
    let first = payloads.next().map(|(_, value)| value.into_owned());
    match first.filter(|_| payloads.next().is_none()) {
        Some(text) => serde_json::from_str(&text)
            .map_err(|_| Refusal::field("payload", "must be the JSON of an interaction")),
        None => Err(Refusal::field("payload", "must be given once")),
    }
}

/// Whether an interaction is of the workspace and the app that this gate was set up with, as far as it knows them.
fn is_of_this_app(interaction: &Value, slack: &SlackSettings) -> bool {
    let team = slack.team_id.as_deref().is_none_or(|known| {
        ["/team/id", "/user/team_id"].iter().any(|place| text(interaction, place) == Some(known))
    });
    let app = slack.app_id.as_deref().is_none_or(|known| text(interaction, "/api_app_id") == Some(known));
    team && app
}

/// The press of one of our buttons; nothing else that Slack tells of is one: a link that was opened, a form.
fn slack_press(interaction: &Value) -> Option<ChatPress> {
    if text(interaction, "/type") != Some("block_actions") {
        return None;
    }
    let actions = interaction.get("actions")?.as_array()?;
    let action = actions.iter().find(|action| {
        text(action, "/type") == Some("button")
            && matches!(text(action, "/action_id"), Some("placet.approve" | "placet.reject"))
    })?;
    let blocks = interaction.pointer("/state/values").and_then(Value::as_object);
    let reason = blocks
        .and_then(|blocks| blocks.values().find_map(|block| text(block, "/placet.reason/value")))
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let place = text(interaction, "/container/channel_id").zip(text(interaction, "/container/message_ts"));
    // What only one user sees cannot be changed later.
    let is_ephemeral = interaction.pointer("/container/is_ephemeral").and_then(Value::as_bool) == Some(true);
    Some(ChatPress {
        channel: ChannelName::Slack,
        user: text(interaction, "/user/id")?.to_owned(),
        button: text(action, "/value")?.to_owned(),
        reason,
        reference: place.filter(|_| !is_ephemeral).map(|(channel, ts)| format!("{channel}:{ts}")),
    })
}

/// The text at that place of a JSON value (RFC 6901), if there is one.
fn text<'v>(value: &'v Value, place: &str) -> Option<&'v str> {
    value.pointer(place)?.as_str()
}

/// The whole number at that place.
fn number(value: &Value, place: &str) -> Option<i64> {
    value.pointer(place)?.as_i64()
}

/// Takes an update of a Telegram bot: a press of a button, or the first words of somebody who wants to be asked.
///
/// Verified with the secret token that was given to `setWebhook`. Telegram sends an update again until it is answered
/// with 2xx: the same press twice changes nothing.
#[utoipa::path(post, path = "/v1/telegram/updates", tag = "chats", security(()),
    request_body(content = Object, description = "Telegram's `Update`"),
    responses(
        (status = 200, description = "taken; where there is something to say, a call of Telegram's in answer", body = Object),
        (status = 413, description = "`payload_too_large`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn telegram(
    State(gate): State<Arc<Gate>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let settings = settings(&gate).await?;
    let telegram = settings.telegram.as_ref().ok_or_else(|| unproved("Telegram", "secret token"))?;
    let mut tokens = headers.get_all("x-telegram-bot-api-secret-token").iter();
    let token = tokens.next().map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    let secret = &telegram.webhook_secret;
    if secret.expose().is_empty() || !secret.matches(token) || tokens.next().is_some() {
        return Err(unproved("Telegram", "secret token"));
    }
    let body = read_body(&headers, body, PRESS_LIMIT).await?;
    let update: Value = serde_json::from_slice(&body)
        .map_err(|_| Problem::from(Refusal::field("body", "must be the JSON of an update")))?;
    if let Some(id) = text(&update, "/callback_query/id") {
        let words = match telegram_press(&update) {
            Some(press) => match gate.press(&press).await? {
                ChatAnswer::Recorded => "Recorded.",
                ChatAnswer::Word(word) => word.sentence(),
            },
            None => ChatWord::Gone.sentence(),
        };
        return Ok(json_answer(
            StatusCode::OK,
            &json!({ "method": "answerCallbackQuery", "callback_query_id": id, "text": words, "show_alert": words != "Recorded." }),
        ));
    }
    let begins = text(&update, "/message/text").is_some_and(|text| text.starts_with("/start"));
    if let (true, Some(chat), Some(user)) =
        (begins, number(&update, "/message/chat/id"), number(&update, "/message/from/id"))
    {
        // The bot may write to whoever has written to it; who is asked says the policy alone.
        let words = format!(
            "This bot asks people for approvals. Your user id is {user}: whoever runs the gate adds `telegram = {user}` to \
             your entry in the policy."
        );
        return Ok(json_answer(
            StatusCode::OK,
            &json!({ "method": "sendMessage", "chat_id": chat, "text": words }),
        ));
    }
    Ok(json_answer(StatusCode::OK, &json!({})))
}

fn telegram_press(update: &Value) -> Option<ChatPress> {
    let place = number(update, "/callback_query/message/chat/id")
        .zip(number(update, "/callback_query/message/message_id"));
    let is_bot = update.pointer("/callback_query/from/is_bot").and_then(Value::as_bool) == Some(true);
    Some(ChatPress {
        channel: ChannelName::Telegram,
        user: number(update, "/callback_query/from/id").filter(|_| !is_bot)?.to_string(),
        button: text(update, "/callback_query/data")?.to_owned(),
        reason: None,
        reference: place.map(|(chat, id)| format!("{chat}:{id}")),
    })
}
