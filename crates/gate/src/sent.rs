//! What was sent where: the messages that a chat can still change, so that each says how its request stands.

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_core::payload::sha256_hex;
use serde::{Deserialize, Serialize};

/// A message about an approval that a reviewer has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// About what.
    pub approval_id: ApprovalId,
    /// Who has got it.
    pub reviewer: ReviewerId,
    /// By which channel.
    pub channel: String,
    /// Index of the stage that asked them.
    pub stage: usize,
    /// Where it is, in the channel's own form. It may hold an address, so it is not for the log.
    pub reference: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The version of the request that it shows.
    pub shown: u64,
    /// What it was when it was last written to.
    #[serde(default, skip_serializing_if = "SentState::is_open")]
    pub state: SentState,
}

/// What a message that was sent is by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentState {
    /// It asks, or says that its reader has answered and others have not.
    #[default]
    Open,
    /// It says that nothing is left to do, or it could not be written to: whoever is asked anew needs another.
    Closed,
    /// Somebody has deleted it. It is remembered only so that nobody writes to it again.
    Gone,
}

impl SentState {
    /// Whether its reader can see there that they are asked.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

impl SentMessage {
    /// Names it among the messages of its approval: the same message, the same name.
    pub fn name(&self) -> String {
        let digest = sha256_hex(self.reference.as_bytes());
        format!("{}_{}_{}", self.channel, self.reviewer, digest.get(..16).unwrap_or_default())
    }
}
