//! The gate's own words for a request, in messages: made from the payload that is hashed.
//!
//! The agent's words are quoted, and marked as the agent's. No untrusted text becomes a link.

pub mod fields;
pub mod headline;
pub mod text;

use std::fmt::Write as _;

use serde_json::Value;

pub use headline::{headline, payload_text};
pub use text::unlinked;

use crate::Timestamp;

/// The longest text of one SMS in the GSM alphabet, in characters (3GPP TS 23.038).
const SMS_CHARS: usize = 160;

/// What a letter to a reviewer is made of.
#[derive(Clone, Copy, Debug)]
pub struct LetterFacts<'a> {
    /// The reviewer's name.
    pub reviewer: &'a str,
    /// Who asks.
    pub client: &'a str,
    /// What for.
    pub action: &'a str,
    /// What exactly.
    pub payload: &'a Value,
    /// The agent's own words.
    pub agents_words: &'a str,
    /// The rule that asks.
    pub rule: Option<&'a str>,
    /// Until when an answer counts.
    pub closes_at: Timestamp,
    /// Hex digest of the payload.
    pub payload_sha256: &'a str,
    /// The reviewer's link.
    pub url: &'a str,
}

/// The words of a mail.
pub fn letter(facts: &LetterFacts<'_>) -> String {
    let mut text = format!(
        "Hello {},\n\n{} asks for your approval of {}:\n\n{}\n\nDecide here, until {}:\n{}\n",
        facts.reviewer,
        facts.client,
        facts.action,
        payload_text(facts.payload),
        facts.closes_at,
        facts.url
    );
    let _ = write!(
        text,
        "\nThe link is yours alone; do not forward it. Opening it decides nothing.\n\n\
         The agent's own words, not checked:\n> {}\n\nRule: {}. Digest of what you approve: {}\n",
        unlinked(facts.agents_words),
        facts.rule.unwrap_or("none"),
        facts.payload_sha256.get(..12).unwrap_or_default()
    );
    text
}

/// The words of a text: one SMS with the whole link, however long the headline.
pub fn sms(client: &str, headline: &str, url: &str) -> String {
    let room = SMS_CHARS.saturating_sub(url.len() + 1);
    let words: String = format!("{client} asks: {headline}")
        .chars()
        .map(|character| if is_gsm_plain(character) { character } else { '?' })
        .take(room)
        .collect();
    format!("{words} {url}")
}

/// One septet each in every phone's alphabet.
fn is_gsm_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || " !\"#%&'()*+,-./:;<=>?@_$".contains(character)
}
