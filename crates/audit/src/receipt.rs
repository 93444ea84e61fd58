//! A receipt: one small JSON file that proves how one request ended, to somebody who has no gate.
//!
//! It holds the request's entries up to its end, the proof that the last of them is in the log, and the token for
//! whoever may have it. The last entry names the token by its hash and the entry before it by its hash, so that this one
//! proof is about all of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_core::audit::stored_hash;
use placet_core::token::token_hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::entry::StoredEntry;
use crate::note::{Checkpoint, NoteProblem, VerifierKey};
use crate::proof::InclusionProof;

/// What `type` says.
const TYPE: &str = "placet-receipt/v1";

/// The events with which a request ends, and the status that each makes.
const ENDS: [(&str, &str); 4] = [
    ("request.approved", "approved"),
    ("request.rejected", "rejected"),
    ("request.expired", "expired"),
    ("request.cancelled", "cancelled"),
];

/// A receipt, of which nothing is believed before it is verified.
///
/// A field that it does not have is refused: what stands beside the entries is not proven by them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// `placet-receipt/v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The client's name for the request.
    pub request_id: String,
    /// Who asked.
    pub client: String,
    /// The decision token; null for whoever may not have it.
    pub token: Option<String>,
    /// The request's entries in the trail, from the first to its end.
    pub entries: Vec<Map<String, Value>>,
    /// The `tlog-proof` that the last entry is in the log, with the checkpoint that it leads to.
    pub proof: String,
    /// The log's public key, as a `vkey`. Whoever has it from elsewhere need not believe this one.
    pub log_key: String,
}

/// Whom the verifier believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's key, had from elsewhere; without it the receipt's own is used, which proves less.
    pub log_key: Option<VerifierKey>,
    /// Digest of the payload that is at hand.
    pub payload_sha256: Option<String>,
}

/// What a good receipt proves.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedReceipt {
    /// How the request ended.
    pub status: &'static str,
    /// The entry that ended it.
    pub end: Map<String, Value>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// The head of the log that it was proven under.
    pub checkpoint: Checkpoint,
    /// Whether it holds the token. An auditor's does not: it proves the outcome, and nothing can be redeemed with it.
    pub has_token: bool,
    /// Whether the log's key came from elsewhere, and not from the receipt itself.
    pub is_pinned: bool,
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptProblem {
    /// It is not a receipt.
    #[error("it is not a receipt: {0}")]
    Malformed(&'static str),
    /// An entry is not what its hash was made of.
    #[error("entry {0} was changed: its hash is of other content")]
    EntryChanged(usize),
    /// Entries are missing, doubled or in another order.
    #[error("entry {0} does not follow the one before it")]
    ChainBroken(usize),
    /// The checkpoint is not by the log's key.
    #[error("the checkpoint: {0}")]
    Checkpoint(NoteProblem),
    /// The proof does not lead to the checkpoint.
    #[error("the log does not hold the last entry at the place that the proof names")]
    NotInLog,
    /// The token is another one.
    #[error("the token is not the one that the last entry names")]
    TokenMismatch,
    /// The payload is another one.
    #[error("the payload is not the one that was asked for")]
    PayloadMismatch,
}

impl ReceiptProblem {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::EntryChanged(_) => "entry_changed",
            Self::ChainBroken(_) => "chain_broken",
            Self::Checkpoint(_) => "wrong_checkpoint",
            Self::NotInLog => "not_in_log",
            Self::TokenMismatch => "token_mismatch",
            Self::PayloadMismatch => "payload_mismatch",
        }
    }
}

impl Receipt {
    /// A receipt over a request's entries, of which the last must be its end.
    pub fn new(
        entries: &[StoredEntry],
        proof: &InclusionProof,
        log_key: &VerifierKey,
        token: Option<String>,
    ) -> Option<Self> {
        let end = entries.last()?.fields();
        Some(Self {
            kind: TYPE.to_owned(),
            request_id: text(&end, "request_id")?.to_owned(),
            client: text(&end, "client")?.to_owned(),
            token,
            entries: entries.iter().map(StoredEntry::fields).collect(),
            proof: proof.to_string(),
            log_key: log_key.to_string(),
        })
    }

    /// Reads a receipt. Names that stand twice in an object are refused: two readers could believe different ones.
    pub fn read(bytes: &[u8]) -> Result<Self, ReceiptProblem> {
        let value =
            placet_core::payload::parse_strict(bytes).map_err(|_| ReceiptProblem::Malformed("not JSON"))?;
        let receipt: Self = serde_json::from_value(value)
            .map_err(|_| ReceiptProblem::Malformed("a field is missing, wrong or unknown"))?;
        if receipt.kind == TYPE { Ok(receipt) } else { Err(ReceiptProblem::Malformed("another type")) }
    }

    /// Checks everything: the entries' hashes and order, the proof, the checkpoint, the token.
    pub fn verify(&self, trust: &Trust) -> Result<VerifiedReceipt, ReceiptProblem> {
        let own_key =
            VerifierKey::parse(&self.log_key).ok_or(ReceiptProblem::Malformed("`log_key` is no vkey"))?;
        let key = trust.log_key.as_ref().unwrap_or(&own_key);
        let proof = InclusionProof::parse(&self.proof)
            .map_err(|_| ReceiptProblem::Malformed("`proof` is no tlog-proof"))?;
        let end = self.check_chain()?;
        let event = text(end, "event").unwrap_or_default();
        let (_, status) = ENDS
            .iter()
            .find(|(name, _)| *name == event)
            .ok_or(ReceiptProblem::Malformed("the last entry is not the request's end"))?;
        let is_approval = *status == "approved";
        if end.get("approved") != Some(&Value::Bool(is_approval))
            || text(end, "request_id") != Some(self.request_id.as_str())
            || text(end, "client") != Some(self.client.as_str())
        {
            return Err(ReceiptProblem::Malformed("its names are not those of its entries"));
        }
        let leaf = StoredEntry::new(Value::Object(end.clone()).to_string()).leaf_hash();
        let leaf = leaf.ok_or(ReceiptProblem::Malformed("an entry has no canonical form"))?;
        let checkpoint = proof.check(&leaf, key).map_err(ReceiptProblem::Checkpoint)?;
        let checkpoint = checkpoint.ok_or(ReceiptProblem::NotInLog)?;
        if let Some(token) = &self.token {
            check_token(token, end, status)?;
        }
        if trust.payload_sha256.as_deref().is_some_and(|at_hand| text(end, "payload_sha256") != Some(at_hand))
        {
            return Err(ReceiptProblem::PayloadMismatch);
        }
        Ok(VerifiedReceipt {
            status,
            end: end.clone(),
            index: proof.index,
            checkpoint,
            has_token: self.token.is_some(),
            is_pinned: trust.log_key.is_some(),
        })
    }

    /// The last entry, where all are whole and follow each other.
    fn check_chain(&self) -> Result<&Map<String, Value>, ReceiptProblem> {
        let mut before = "0".repeat(64);
        let mut subject = None;
        for (place, entry) in self.entries.iter().enumerate() {
            let number = place + 1;
            let hash = text(entry, "hash").unwrap_or_default();
            if stored_hash(&Value::Object(entry.clone()).to_string()).as_deref() != Some(hash) {
                return Err(ReceiptProblem::EntryChanged(number));
            }
            let follows = text(entry, "prev_hash") == Some(before.as_str())
                && entry.get("seq").and_then(Value::as_u64) == u64::try_from(number).ok()
                && subject.is_none_or(|subject| text(entry, "subject") == Some(subject));
            if !follows {
                return Err(ReceiptProblem::ChainBroken(number));
            }
            hash.clone_into(&mut before);
            subject = text(entry, "subject");
        }
        self.entries.last().ok_or(ReceiptProblem::Malformed("it has no entries"))
    }
}

/// Whether a token is the one that the entry names, and says what the entry says.
fn check_token(token: &str, end: &Map<String, Value>, status: &str) -> Result<(), ReceiptProblem> {
    let is_named = text(end, "token_hash") == Some(token_hash(token).as_str());
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = claims.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    let claims = claims.ok_or(ReceiptProblem::TokenMismatch)?;
    let same = |claim: &str, field: &str| text(&claims, claim) == text(end, field);
    let agrees = same("sub", "request_id")
        && same("aud", "client")
        && same("jti", "subject")
        && same("action", "action")
        && same("payload_sha256", "payload_sha256")
        && text(&claims, "status") == Some(status)
        && claims.get("approved") == end.get("approved");
    if is_named && agrees { Ok(()) } else { Err(ReceiptProblem::TokenMismatch) }
}

fn text<'m>(fields: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    fields.get(name).and_then(Value::as_str)
}
