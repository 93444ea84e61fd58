//! Chats in which people decide: what a gate must know of them, what a button says, and who sent a press.
//!
//! The secrets here are given by the operator and lie beside the keyring. None is printed by `Debug`, and none is
//! compared but in constant time.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Timestamp;
use crate::id::{ApprovalId, RequestKey};
use crate::keys::hmac_sha256;
use crate::payload::hex;
use crate::policy::{ChannelName, Decision};

/// A secret text that somebody else has made: a token, a password. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, to send or to compute with.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time with what a caller sent.
    pub fn matches(&self, unverified: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(unverified).into()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

/// The channels that an operator has set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSettings {
    /// Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackSettings>,
    /// Telegram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telegram: Option<TelegramSettings>,
    /// A mail server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpSettings>,
    /// What ways of alerts are sent with, by their names in the policy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alerts: BTreeMap<String, AlertSecret>,
}

impl ChannelSettings {
    /// Whether that channel is set up here; the others need no secret of the operator's.
    pub fn has(&self, channel: ChannelName) -> bool {
        match channel {
            ChannelName::Slack => self.slack.is_some(),
            ChannelName::Telegram => self.telegram.is_some(),
            ChannelName::Email => self.smtp.is_some(),
            ChannelName::Push | ChannelName::Webhook | ChannelName::Sms | ChannelName::Terminal => false,
        }
    }
}

/// An app in one Slack workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlackSettings {
    /// What messages are sent with: `xoxb-…`.
    pub bot_token: SecretText,
    /// What presses are verified with.
    pub signing_secret: SecretText,
    /// The workspace, such as `T012AB3CD`, as Slack named it when the token was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<String>,
    /// The app, such as `A012AB3CD`, where the operator named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The Web API, where it is not that of slack.com: `https://slack-gov.com/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// A bot in Telegram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelegramSettings {
    /// What messages are sent with: `123456:ABC…`.
    pub bot_token: SecretText,
    /// What Telegram sends with each update, in `X-Telegram-Bot-Api-Secret-Token`.
    pub webhook_secret: SecretText,
    /// The Bot API, where it is not that of api.telegram.org: a server of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpSettings {
    /// `smtps://user:password@host:465`.
    pub url: SecretText,
    /// The sender: `Placet <gate@example.com>`.
    pub from: String,
}

/// What a way of alerts is sent with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSecret {
    /// An incoming webhook of Slack.
    Slack {
        /// Its address, which is all that it takes to post.
        url: SecretText,
    },
    /// A service of `PagerDuty`.
    Pagerduty {
        /// The integration's key: 32 letters and digits.
        routing_key: SecretText,
        /// The Events API, where it is not that of pagerduty.com: `https://events.eu.pagerduty.com`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_url: Option<String>,
    },
    /// A webhook whose address holds a token.
    Webhook {
        /// The address.
        url: SecretText,
    },
}

impl AlertSecret {
    /// The word of the ways that it is for.
    pub const fn way(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::Pagerduty { .. } => "pagerduty",
            Self::Webhook { .. } => "webhook",
        }
    }
}

/// What a button in a chat stands for.
///
/// It gives nobody authority: that is the signature of the chat's server and the user's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatButton {
    /// Where the request is stored.
    pub key: RequestKey,
    /// Its approval: a later request of the same name does not get its presses.
    pub approval_id: ApprovalId,
    /// What was pressed.
    pub decision: Decision,
}

impl ChatButton {
    /// The text that the chat sends back: 50 characters, within the 64 bytes of Telegram's `callback_data`.
    pub fn write(&self) -> String {
        let verb = match self.decision {
            Decision::Approve => 'a',
            Decision::Reject => 'r',
        };
        format!("{verb}{}.{}", URL_SAFE_NO_PAD.encode(self.key.as_bytes()), self.approval_id)
    }

    /// Reads such a text; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        let decision = match text.chars().next()? {
            'a' => Decision::Approve,
            'r' => Decision::Reject,
            _ => return None,
        };
        let (key, approval) = text.get(1..)?.split_once('.')?;
        let key = <[u8; 16]>::try_from(URL_SAFE_NO_PAD.decode(key).ok()?).ok()?;
        let button = Self {
            key: RequestKey::from_bytes(key),
            approval_id: ApprovalId::parse(approval).ok()?,
            decision,
        };
        (button.write() == text).then_some(button)
    }
}

/// How far the time of a press may be off, in seconds: older ones could be replayed.
/// Source: <https://docs.slack.dev/authentication/verifying-requests-from-slack>.
const MAX_SKEW_SECONDS: i64 = 300;

/// Why a press is not taken for one of Slack's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSlacks {
    /// The signature is not that of this body and time under the app's secret.
    Signature,
    /// It was signed at another time.
    Skew {
        /// By how much, in seconds.
        off_by_seconds: i64,
    },
}

/// Checks that Slack sent this body just now: `X-Slack-Request-Timestamp` and `X-Slack-Signature` as they came.
///
/// `v0=` and the hex HMAC-SHA256 of `v0:<timestamp>:<raw body>`, compared in constant time. The signature comes first:
/// nothing is told about the clock to somebody who does not have the secret.
pub fn verify_slack(
    secret: &SecretText,
    unverified_timestamp: &str,
    unverified_signature: &str,
    raw_body: &[u8],
    now: Timestamp,
) -> Result<(), NotSlacks> {
    let is_number = (1..=12).contains(&unverified_timestamp.len())
        && unverified_timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let timestamp =
        unverified_timestamp.parse::<i64>().ok().filter(|_| is_number).ok_or(NotSlacks::Signature)?;
    let mac =
        hmac_sha256(secret.expose().as_bytes(), &[b"v0:", unverified_timestamp.as_bytes(), b":", raw_body]);
    let expected = format!("v0={}", hex(&mac));
    if secret.expose().is_empty() || !bool::from(expected.as_bytes().ct_eq(unverified_signature.as_bytes())) {
        return Err(NotSlacks::Signature);
    }
    let off_by_seconds = now.seconds().saturating_sub(timestamp);
    if off_by_seconds.saturating_abs() > MAX_SKEW_SECONDS {
        return Err(NotSlacks::Skew { off_by_seconds });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's documents.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIMESTAMP: &str = "1531420618";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn verify(timestamp: &str, signature: &str, body: &[u8], now: i64) -> Result<(), NotSlacks> {
        verify_slack(&SecretText::new(SECRET), timestamp, signature, body, at(now))
    }

    #[test]
    fn the_example_of_slacks_documents_is_genuine() {
        assert_eq!(verify(TIMESTAMP, SIGNATURE, BODY, 1_531_420_618), Ok(()));
    }

    #[test]
    fn what_was_changed_or_is_old_is_not_slacks() {
        let now = 1_531_420_618;
        let mut changed = BODY.to_vec();
        changed[7] ^= 1;
        assert_eq!(verify(TIMESTAMP, SIGNATURE, &changed, now), Err(NotSlacks::Signature));
        for timestamp in ["1531420619", "", "+1531420618", "1531420618 ", "x", "99999999999999999999"] {
            assert_eq!(verify(timestamp, SIGNATURE, BODY, now), Err(NotSlacks::Signature), "{timestamp}");
        }
        for signature in ["", "v0=", &SIGNATURE.to_uppercase(), SIGNATURE.trim_start_matches("v0=")] {
            assert_eq!(verify(TIMESTAMP, signature, BODY, now), Err(NotSlacks::Signature), "{signature}");
        }
        assert_eq!(verify(TIMESTAMP, SIGNATURE, BODY, now + 300), Ok(()));
        assert_eq!(verify(TIMESTAMP, SIGNATURE, BODY, now - 300), Ok(()));
        for off in [301, -301] {
            assert_eq!(
                verify(TIMESTAMP, SIGNATURE, BODY, now + off),
                Err(NotSlacks::Skew { off_by_seconds: off })
            );
        }
    }

    #[test]
    fn an_empty_secret_verifies_nothing() {
        let mac = hmac_sha256(b"", &[b"v0:", TIMESTAMP.as_bytes(), b":", BODY]);
        let forged = format!("v0={}", hex(&mac));
        let checked = verify_slack(&SecretText::new(""), TIMESTAMP, &forged, BODY, at(1_531_420_618));
        assert_eq!(checked, Err(NotSlacks::Signature));
    }

    #[test]
    fn a_button_comes_back_as_it_was_sent_and_nothing_else_is_one() {
        let button = ChatButton {
            key: RequestKey::from_bytes([0xfe; 16]),
            approval_id: ApprovalId::from_parts(at(1), 7),
            decision: Decision::Approve,
        };
        let text = button.write();
        assert_eq!((text.len(), ChatButton::parse(&text)), (50, Some(button.clone())));
        let rejecting = ChatButton { decision: Decision::Reject, ..button };
        assert_eq!(ChatButton::parse(&rejecting.write()), Some(rejecting));
        for other in ["", "a", "é", "a.", "x", &text[1..], &text[..49], &format!("{text}x")] {
            assert_eq!(ChatButton::parse(other), None, "{other}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = ChannelSettings {
            slack: Some(SlackSettings {
                bot_token: SecretText::new("xoxb-hunter2"),
                signing_secret: SecretText::new("hunter2"),
                team_id: None,
                app_id: None,
                api_url: None,
            }),
            telegram: Some(TelegramSettings {
                bot_token: SecretText::new("hunter2"),
                webhook_secret: SecretText::new("hunter2"),
                api_url: None,
            }),
            smtp: Some(SmtpSettings { url: SecretText::new("smtps://hunter2"), from: "a@b.example".into() }),
            alerts: [
                ("ops".to_owned(), AlertSecret::Slack { url: SecretText::new("https://hunter2") }),
                (
                    "night".to_owned(),
                    AlertSecret::Pagerduty { routing_key: SecretText::new("hunter2"), api_url: None },
                ),
            ]
            .into(),
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<ChannelSettings>(&text).unwrap(), settings);
    }
}
