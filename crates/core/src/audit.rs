//! Audit entries: what happened, chained by hash per subject.
//!
//! An entry never holds a token, a secret, a payload or an address: only digests of what must be provable.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::payload::sha256_hex;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditEventKind {
    /// A request was taken.
    #[serde(rename = "request.asked")]
    Asked,
    /// A rule that only observes says what it would have done. It decided nothing.
    #[serde(rename = "rule.observed")]
    RuleObserved,
    /// A stage began: its reviewers are asked, or its queue is written to.
    #[serde(rename = "stage.opened")]
    StageOpened,
    /// A reviewer, or a decider, spoke.
    #[serde(rename = "vote.cast")]
    VoteCast,
    /// A reviewer changed fields of the payload that the rule lets them change.
    #[serde(rename = "payload.changed")]
    PayloadChanged,
    /// It ended: approved.
    #[serde(rename = "request.approved")]
    Approved,
    /// It ended: rejected.
    #[serde(rename = "request.rejected")]
    Rejected,
    /// It ended: the last deadline passed.
    #[serde(rename = "request.expired")]
    Expired,
    /// It ended: withdrawn by the client.
    #[serde(rename = "request.cancelled")]
    Cancelled,
    /// Its token was redeemed.
    #[serde(rename = "token.redeemed")]
    Redeemed,
    /// A use of its token was refused: it was used before, for another payload, too late, or by whoever may not.
    #[serde(rename = "token.refused")]
    TokenRefused,
    /// Somebody said that its approval was a mistake.
    #[serde(rename = "request.flagged")]
    Flagged,
    /// The same question was asked again, with a callback of its own.
    #[serde(rename = "request.joined")]
    Joined,
    /// Other people are asked than before, because the policy or who is away has changed.
    #[serde(rename = "stage.reassigned")]
    StageReassigned,
    /// Nobody who may approve a stage is left.
    #[serde(rename = "stage.deserted")]
    StageDeserted,
    /// A callback was given up.
    #[serde(rename = "callback.given_up")]
    CallbackGivenUp,
    /// Somebody who is not one of the reviewers pressed a button in a chat. Nothing was decided.
    #[serde(rename = "chat.refused")]
    ChatRefused,
    /// A vote or an answer was refused: it came too late, or from whoever may not. Nothing was decided.
    #[serde(rename = "vote.refused")]
    VoteRefused,
    /// Many requests claimed to be a client, with a wrong signature or key.
    #[serde(rename = "signature.refused")]
    SignatureRefused,
    /// Another policy came into force.
    #[serde(rename = "policy.installed")]
    PolicyInstalled,
    /// A reviewer says that they are away.
    #[serde(rename = "reviewer.away")]
    ReviewerAway,
    /// A reviewer says that they are back.
    #[serde(rename = "reviewer.back")]
    ReviewerBack,
    /// A reviewer has paused a client: nothing new is taken from it for a while.
    #[serde(rename = "client.paused")]
    ClientPaused,
    /// A pause of a client was lifted before it ended by itself.
    #[serde(rename = "client.resumed")]
    ClientResumed,
    /// The keys were rotated.
    #[serde(rename = "keys.rotated")]
    KeysRotated,
    /// The weekly report goes out. Its chain has one entry: each week is sent once.
    #[serde(rename = "report.sent")]
    ReportSent,
}

impl AuditEventKind {
    /// Whether a request ends with this.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Approved | Self::Rejected | Self::Expired | Self::Cancelled)
    }

    /// The name in the trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "request.asked",
            Self::RuleObserved => "rule.observed",
            Self::StageOpened => "stage.opened",
            Self::VoteCast => "vote.cast",
            Self::PayloadChanged => "payload.changed",
            Self::Approved => "request.approved",
            Self::Rejected => "request.rejected",
            Self::Expired => "request.expired",
            Self::Cancelled => "request.cancelled",
            Self::Redeemed => "token.redeemed",
            Self::TokenRefused => "token.refused",
            Self::Flagged => "request.flagged",
            Self::Joined => "request.joined",
            Self::StageReassigned => "stage.reassigned",
            Self::StageDeserted => "stage.deserted",
            Self::CallbackGivenUp => "callback.given_up",
            Self::ChatRefused => "chat.refused",
            Self::VoteRefused => "vote.refused",
            Self::SignatureRefused => "signature.refused",
            Self::PolicyInstalled => "policy.installed",
            Self::ReviewerAway => "reviewer.away",
            Self::ReviewerBack => "reviewer.back",
            Self::ClientPaused => "client.paused",
            Self::ClientResumed => "client.resumed",
            Self::KeysRotated => "keys.rotated",
            Self::ReportSent => "report.sent",
        }
    }
}

/// Where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The client's API.
    Api,
    /// The review page.
    Page,
    /// A button in Slack.
    Slack,
    /// A button in Telegram.
    Telegram,
    /// A row of the inbox.
    Inbox,
    /// A rule that decides alone.
    Policy,
    /// A deadline.
    Timeout,
    /// The operator's command.
    Operator,
    /// The gate itself.
    Gate,
}

/// What an entry says, before it has its place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// When the gate recorded it.
    pub timestamp: Timestamp,
    /// What happened.
    pub kind: AuditEventKind,
    /// Who did it: a reviewer id, `client:<id>`, `policy:<rule>`, `timeout:<rule>`, `operator` or `gate`.
    pub actor: String,
    /// Where it came from.
    pub channel: Channel,
    /// True only where this entry is an approval, or a vote for it.
    pub approved: bool,
    /// Who approved, where this entry is an approval.
    pub approved_by: Option<String>,
    /// SHA-256 of the token, where there is one.
    pub token_hash: Option<String>,
    /// Words for it: the reviewer's reason, a stage's number, a policy's digest.
    pub detail: Option<String>,
}

/// Which request an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// The client's name for it.
    pub request_id: String,
    /// Who asked.
    pub client: String,
    /// What for.
    pub action: String,
    /// Digest of what exactly.
    pub payload_sha256: String,
    /// The rule that applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Version of the policy that the rule is from.
    pub policy: u32,
}

/// One line of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The chain it is of: an `approval_id`, `policy`, `keys`, who tried a client's keys (`signatures-<id>`), or a week's report
    /// (`report-2026-W48`).
    pub subject: String,
    /// Place in the chain, from 1.
    pub seq: u32,
    /// When the gate recorded it.
    #[serde(with = "crate::time::rfc3339")]
    pub timestamp: Timestamp,
    /// What happened.
    pub event: AuditEventKind,
    /// Who did it.
    pub actor: String,
    /// Where it came from.
    pub channel: Channel,
    /// True only where this entry is an approval, or a vote for it.
    pub approved: bool,
    /// Who approved, where this entry is an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// SHA-256 of the token, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<String>,
    /// Words for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request, where it is about one.
    #[serde(flatten)]
    pub about: Option<RequestFacts>,
    /// Hash of the entry before it; 64 zeros for the first.
    pub prev_hash: String,
    /// SHA-256 of this entry's canonical JSON (RFC 8785) without this field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

impl AuditEntry {
    /// The hash that this entry must have: SHA-256 of its canonical JSON (RFC 8785) without the field `hash`.
    ///
    /// # Panics
    ///
    /// Never: an entry is texts, numbers and booleans.
    #[expect(
        clippy::expect_used,
        reason = "an entry is texts, numbers and booleans, which always have canonical JSON"
    )]
    pub fn computed_hash(&self) -> String {
        let unsealed = Self { hash: String::new(), ..self.clone() };
        sha256_hex(serde_json_canonicalizer::to_string(&unsealed).expect("an entry is JSON").as_bytes())
    }
}

/// The hash that a stored entry must have, over the fields that it was stored with.
///
/// A later version of Placet may know more fields, and fields that are empty are left out when an entry is written: so
/// this verifies an entry of any version. `None` where the text is not a JSON object.
pub fn stored_hash(entry: &str) -> Option<String> {
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(entry).ok()?;
    fields.remove("hash");
    Some(sha256_hex(serde_json_canonicalizer::to_string(&fields).ok()?.as_bytes()))
}

/// The end of a chain: where the next entry goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Place of the last entry; 0 before the first.
    pub seq: u32,
    /// Its hash.
    pub hash: String,
}

impl Default for ChainHead {
    fn default() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }
}

impl ChainHead {
    /// Puts an event at the end of this chain, and moves the end.
    pub fn append(&mut self, subject: &str, about: Option<&RequestFacts>, event: AuditEvent) -> AuditEntry {
        let mut entry = AuditEntry {
            subject: subject.into(),
            seq: self.seq.saturating_add(1),
            timestamp: event.timestamp,
            event: event.kind,
            actor: event.actor,
            channel: event.channel,
            approved: event.approved,
            approved_by: event.approved_by,
            token_hash: event.token_hash,
            detail: event.detail,
            about: about.cloned(),
            prev_hash: self.hash.clone(),
            hash: String::new(),
        };
        entry.hash = entry.computed_hash();
        *self = Self { seq: entry.seq, hash: entry.hash.clone() };
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_called_the_same_everywhere_and_four_of_them_are_an_end() {
        #[rustfmt::skip]
        let names = [
            "request.asked", "rule.observed", "stage.opened", "vote.cast", "payload.changed", "request.approved",
            "request.rejected", "request.expired", "request.cancelled", "token.redeemed", "request.flagged",
            "request.joined", "stage.reassigned", "stage.deserted", "callback.given_up", "chat.refused",
            "policy.installed", "reviewer.away", "reviewer.back", "keys.rotated", "vote.refused", "signature.refused",
            "client.paused", "client.resumed", "report.sent", "token.refused",
        ];
        for name in names {
            let kind: AuditEventKind = serde_json::from_value(name.into()).unwrap();
            assert_eq!(kind.as_str(), name);
            let ends = ["request.approved", "request.rejected", "request.expired", "request.cancelled"];
            assert_eq!(kind.is_end(), ends.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_stored_entry_is_hashed_with_all_the_fields_that_it_has() {
        let mut head = ChainHead::default();
        let event = AuditEvent {
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            kind: AuditEventKind::VoteCast,
            actor: "bob".into(),
            channel: Channel::Page,
            approved: true,
            approved_by: None,
            token_hash: None,
            detail: Some("approve".into()),
        };
        let entry = head.append("x", None, event);
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(stored_hash(&text).as_ref(), Some(&entry.hash));
        // A field of a later version is part of it.
        let later = text.replace(r#""actor""#, r#""later":1,"actor""#);
        assert!(stored_hash(&later).is_some_and(|hash| hash != entry.hash));
        assert_eq!(stored_hash("[1]"), None);
        assert_eq!(stored_hash("{"), None);
    }

    #[test]
    fn each_entry_carries_the_hash_of_the_one_before_and_survives_storage() {
        let mut head = ChainHead::default();
        let draft = |kind| AuditEvent {
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            kind,
            actor: "client:n8n".into(),
            channel: Channel::Api,
            approved: false,
            approved_by: None,
            token_hash: None,
            detail: None,
        };
        let first = head.append("policy", None, draft(AuditEventKind::PolicyInstalled));
        let second = head.append("policy", None, draft(AuditEventKind::PolicyInstalled));
        assert_eq!((first.seq, second.seq, &second.prev_hash), (1, 2, &first.hash));
        assert_eq!(head, ChainHead { seq: 2, hash: second.hash.clone() });
        let read: AuditEntry = serde_json::from_str(&serde_json::to_string(&second).unwrap()).unwrap();
        assert_eq!(read.computed_hash(), second.hash);
        assert_ne!(AuditEntry { actor: "bob".into(), ..read }.computed_hash(), second.hash);
    }
}
