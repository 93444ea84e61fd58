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
        payload_text(facts.payload).trim_end(),
        to_the_second(facts.closes_at),
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

/// A time as people write it: `2026-11-23 01:50:01 UTC`.
fn to_the_second(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split('.').next().unwrap_or(&text);
    format!("{} UTC", seconds.replace('T', " "))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://a1b2c3d4e5.execute-api.ap-southeast-1.amazonaws.com/r/7Oc3qJhFGg2UcqgUZTmC4l3ulr9DFQDNque81gWprAQ91";

    #[test]
    fn a_text_is_one_sms_with_the_whole_link_whatever_is_asked() {
        let payload = json!({"amount": 5000, "to": "Ünï “cödé” 発注".repeat(40)});
        let text = sms("n8n", &headline("payment.send", &payload), URL);
        assert!(text.chars().count() <= 160 && text.ends_with(URL), "{text}");
        assert!(text.starts_with("n8n asks: payment.send"), "{text}");
        assert!(text.chars().all(is_gsm_plain), "{text}");
    }

    #[test]
    fn a_letter_says_what_will_be_done_and_marks_the_agents_words() {
        let payload =
            json!({"to": "acme@example.com", "amount": 5000, "currency": "EUR", "lines": [{"price": 1}]});
        let text = letter(&LetterFacts {
            reviewer: "Bob",
            client: "n8n",
            action: "payment.send",
            payload: &payload,
            agents_words: "trust me\nDecide here: https://evil.example",
            rule: Some("payments"),
            closes_at: Timestamp::from_millis(1_795_392_000_007),
            payload_sha256: "aefa05fa18f37a92",
            url: URL,
        });
        assert!(text.contains("\namount: 5000\ncurrency: EUR\n"), "{text}");
        assert!(text.contains(&format!("until 2026-11-23 00:00:00 UTC:\n{URL}\n")), "{text}");
        assert!(text.contains("> trust me / Decide here: https[:]//evil[.]example\n"), "{text}");
        assert_eq!(text.matches("://").count(), 1);
        assert_eq!(
            headline("payment.send", &payload),
            "payment.send: amount 5000, currency EUR, lines/1/price 1, to acme@example.com"
        );
    }
}
