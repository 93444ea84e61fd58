//! The gate's own words for a request, in messages: made from the payload that is hashed.
//!
//! The agent's words are quoted, and marked as the agent's. No untrusted text becomes a link.

pub mod characters;
pub mod fields;
mod headline;
mod letter;
mod links;
mod listing;
pub mod mask;
pub mod money;
mod path;
mod phrase;
mod sms;
mod template;
pub mod text;
pub mod title;
mod when;

use serde_json::Value;

pub use headline::top_facts;
pub use letter::{Letter, ended, letter};
pub use listing::{TEXT_CHARS, payload_text};
pub use path::{FieldPath, PathFault};
pub use sms::sms;
pub use template::{TemplateFault, TitleTemplate};
pub use text::{escaped_json, unlinked, unlinked_in_chat};
pub use title::{Title, TitlePiece};
pub use when::{Zone, deadline};

use crate::Timestamp;

/// What a reviewer may do about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Approve or reject.
    Decide,
    /// Owns the client that asks, so may only reject.
    RejectOnly,
}

/// What a message to a reviewer is made of.
#[derive(Clone, Copy, Debug)]
pub struct LetterFacts<'a> {
    /// The reviewer's name.
    pub reviewer: &'a str,
    /// What the reviewer may do.
    pub may: May,
    /// Who asks.
    pub client: &'a str,
    /// What for.
    pub action: &'a str,
    /// What exactly: what people may see of it.
    pub payload: &'a Value,
    /// The rule's title, if it has one.
    pub title: Option<&'a TitleTemplate>,
    /// The agent's own words.
    pub agents_words: &'a str,
    /// The rule that asks.
    pub rule: Option<&'a str>,
    /// When the message is written.
    pub now: Timestamp,
    /// Until when an answer counts.
    pub closes_at: Timestamp,
    /// The zone that the message names its times in.
    pub zone: Zone<'a>,
    /// Hex digest of the payload.
    pub payload_sha256: &'a str,
    /// The reviewer's link.
    pub url: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const URL: &str = "https://a1b2c3d4e5.execute-api.ap-southeast-1.amazonaws.com/r/7Oc3qJhFGg2UcqgUZTmC4l3ulr9DFQDNque81gWprAQ91";

    /// An ordinary request for that payload.
    pub(super) fn facts(payload: &Value) -> LetterFacts<'_> {
        LetterFacts {
            reviewer: "Bob",
            may: May::Decide,
            client: "n8n",
            action: "payment.send",
            payload,
            title: None,
            agents_words: "Pay the October invoice",
            rule: Some("payments"),
            now: Timestamp::from_millis(1_795_392_000_007),
            closes_at: Timestamp::from_millis(1_795_392_600_007),
            zone: Zone::UTC,
            payload_sha256: "aefa05fa18f37a92",
            url: URL,
        }
    }
}
