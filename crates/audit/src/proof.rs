//! The proof that one entry is in the log, in one text with the head that it is about.
//!
//! Source: <https://c2sp.org/tlog-proof>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::{Hash, check_inclusion};
use crate::note::{Checkpoint, NoteProblem, VerifierKey};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A path of a log of less than `2^64` leaves is no longer.
const LONGEST_PATH: usize = 64;

/// A proof of inclusion with the checkpoint that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Where the entry is, from 0.
    pub index: u64,
    /// The hashes beside it, from the leaf upwards.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// The text is not a proof of inclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a `tlog-proof`")]
pub struct MalformedProof;

impl InclusionProof {
    /// Reads a `tlog-proof`.
    pub fn parse(text: &str) -> Result<Self, MalformedProof> {
        Self::read(text).ok_or(MalformedProof)
    }

    fn read(text: &str) -> Option<Self> {
        let (proof, checkpoint) = text.split_once("\n\n")?;
        let mut lines = proof.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut index = lines.next()?;
        if let Some(extra) = index.strip_prefix("extra ") {
            STANDARD.decode(extra).ok()?;
            index = lines.next()?;
        }
        let digits = index.strip_prefix("index ")?;
        let is_plain =
            digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let index = digits.parse().ok().filter(|_| is_plain)?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let path: Vec<Hash> = lines.map(hash).collect::<Option<_>>()?;
        (path.len() <= LONGEST_PATH).then(|| Self { index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Whether it shows that the log of that key has the leaf: with the checkpoint that shows it.
    pub fn check(&self, leaf: &Hash, key: &VerifierKey) -> Result<Option<Checkpoint>, NoteProblem> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let holds = check_inclusion(self.index, checkpoint.size, leaf, &self.path, &checkpoint.root);
        Ok(holds.then_some(checkpoint))
    }
}

impl std::fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{FIRST_LINE}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
