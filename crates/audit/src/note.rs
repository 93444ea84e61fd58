//! Signed notes, checkpoints and cosignatures.
//!
//! Source: <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/tlog-cosignature>.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::merkle::Hash;

/// The largest note that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// The most signatures that a note may have.
const MOST_SIGNATURES: usize = 64;

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 over the text: a log's own signature.
    Ed25519,
    /// Ed25519 over a time and the text: a witness's cosignature.
    Cosignature,
}

impl Algorithm {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A public key with the name of whose it is: a `vkey`, `<name>+<id>+<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl VerifierKey {
    /// A key of that name. The name must be no longer than 200 bytes, without spaces or `+`.
    pub fn new(name: &str, algorithm: Algorithm, key: VerifyingKey) -> Option<Self> {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if name.is_empty() || name.len() > 200 || !name.chars().all(fits) {
            return None;
        }
        Some(Self { name: name.to_owned(), id: key_id(name, algorithm, &key), algorithm, key })
    }

    /// Reads a `vkey`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(key).ok()?;
        let (kind, bytes) = bytes.split_first()?;
        let algorithm =
            [Algorithm::Ed25519, Algorithm::Cosignature].into_iter().find(|a| a.byte() == *kind)?;
        let key = Self::new(name, algorithm, VerifyingKey::try_from(bytes).ok()?)?;
        (key.to_string() == text && placet_core::payload::hex(&key.id) == id).then_some(key)
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether that is a good signature of this key over the text. For a cosignature: with its time, in Unix seconds.
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteProblem> {
        let check = |message: &[u8], signature: &[u8]| {
            let signature = ed25519_dalek::Signature::from_slice(signature);
            let good = signature.and_then(|signature| self.key.verify_strict(message, &signature));
            good.map_err(|_| NoteProblem::WrongSignature)
        };
        match self.algorithm {
            Algorithm::Ed25519 => check(text.as_bytes(), signature).map(|()| None),
            Algorithm::Cosignature => {
                let (time, signature) =
                    signature.split_first_chunk::<8>().ok_or(NoteProblem::WrongSignature)?;
                let time = u64::from_be_bytes(*time);
                check(cosigned(time, text).as_bytes(), signature).map(|()| Some(time))
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = std::iter::once(self.algorithm.byte()).chain(*self.key.as_bytes()).collect();
        write!(f, "{}+{}+{}", self.name, placet_core::payload::hex(&self.id), STANDARD.encode(bytes))
    }
}

fn key_id(name: &str, algorithm: Algorithm, key: &VerifyingKey) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', algorithm.byte()]);
    hasher.update(key.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// What a cosignature signs.
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Who signs notes.
pub struct Signer {
    key: VerifierKey,
    secret: SigningKey,
    time: Option<u64>,
}

impl Signer {
    /// Signs the text itself. The name must be one that [`VerifierKey::new`] takes.
    pub(crate) fn plain(name: &str, secret: SigningKey) -> Self {
        let public = secret.verifying_key();
        let id = key_id(name, Algorithm::Ed25519, &public);
        let key = VerifierKey { name: name.to_owned(), id, algorithm: Algorithm::Ed25519, key: public };
        Self { key, secret, time: None }
    }

    /// Cosigns as a witness of that name, at that time in Unix seconds. `None` if the name is not one.
    pub fn witness(name: &str, secret: SigningKey, time: u64) -> Option<Self> {
        let key = VerifierKey::new(name, Algorithm::Cosignature, secret.verifying_key())?;
        Some(Self { key, secret, time: Some(time) })
    }

    /// What to check its signatures with.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn line(&self, text: &str) -> String {
        let mut bytes = self.key.id.to_vec();
        if let Some(time) = self.time {
            bytes.extend(time.to_be_bytes());
            bytes.extend(self.secret.sign(cosigned(time, text).as_bytes()).to_bytes());
        } else {
            bytes.extend(self.secret.sign(text.as_bytes()).to_bytes());
        }
        format!("\u{2014} {} {}\n", self.key.name, STANDARD.encode(bytes))
    }
}

/// A note: the text, which ends with a newline, and a signature of each.
pub fn sign(text: &str, signers: &[&Signer]) -> String {
    let lines: String = signers.iter().map(|signer| signer.line(text)).collect();
    format!("{text}\n{lines}")
}

/// Adds signatures to a note that is one already; `None` if it is not.
pub fn cosign(note: &str, signers: &[&Signer]) -> Option<String> {
    let parsed = Note::parse(note).ok()?;
    let lines: String = signers.iter().map(|signer| signer.line(parsed.text)).collect();
    Some(format!("{note}{lines}"))
}

/// Why a note cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteProblem {
    /// It is not a signed note at all.
    #[error("it is not a signed note")]
    Malformed,
    /// No signature is by the key that is expected.
    #[error("it is not signed by the expected key")]
    NotSigned,
    /// A signature names the key, and is not of it.
    #[error("its signature is wrong: the text was changed, or another key signed it")]
    WrongSignature,
    /// The text is not a checkpoint.
    #[error("its text is not a checkpoint")]
    NotACheckpoint,
}

/// A note whose signatures nobody has checked.
#[derive(Clone, Debug)]
struct Note<'n> {
    text: &'n str,
    signatures: Vec<(&'n str, [u8; 4], Vec<u8>)>,
}

impl<'n> Note<'n> {
    fn parse(note: &'n str) -> Result<Self, NoteProblem> {
        let is_control = |c: char| c.is_ascii_control() && c != '\n';
        if note.len() > LONGEST || note.contains(is_control) {
            return Err(NoteProblem::Malformed);
        }
        let end = note.rfind("\n\n").ok_or(NoteProblem::Malformed)?;
        let (text, lines) = note.split_at(end + 1);
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.filter(|lines| !lines.is_empty()).ok_or(NoteProblem::Malformed)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            let rest = line.strip_prefix("\u{2014} ").ok_or(NoteProblem::Malformed)?;
            let (name, bytes) = rest.split_once(' ').ok_or(NoteProblem::Malformed)?;
            let bytes = STANDARD.decode(bytes).map_err(|_| NoteProblem::Malformed)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteProblem::Malformed)?;
            if name.is_empty() || name.contains([' ', '+']) || signature.is_empty() {
                return Err(NoteProblem::Malformed);
            }
            signatures.push((name, *id, signature.to_vec()));
        }
        if signatures.len() > MOST_SIGNATURES {
            return Err(NoteProblem::Malformed);
        }
        Ok(Self { text, signatures })
    }
}

/// Reads a note that `key` has signed; other people's signatures are not looked at. Returns the text, and the time of a
/// cosignature.
pub fn open<'n>(note: &'n str, key: &VerifierKey) -> Result<(&'n str, Option<u64>), NoteProblem> {
    let note = Note::parse(note)?;
    let mut opened = None;
    for (name, id, signature) in &note.signatures {
        if *name == key.name && *id == key.id {
            opened = Some(key.verify(note.text, signature)?);
        }
    }
    opened.map(|time| (note.text, time)).ok_or(NoteProblem::NotSigned)
}

/// What a log signs about its retention: a text that no checkpoint can be.
pub(crate) fn horizon_text(origin: &str, min_index: u64) -> String {
    format!("{origin}\nhorizon {min_index}\n")
}

/// Reads from where on a trail is whole, as the log's own key has signed it.
pub fn open_horizon(note: &str, key: &VerifierKey) -> Result<u64, NoteProblem> {
    let (text, _) = open(note, key)?;
    let line = text.strip_prefix(key.name()).and_then(|rest| rest.strip_prefix("\nhorizon "));
    let min_index = line.and_then(|line| line.strip_suffix('\n')).and_then(|digits| digits.parse().ok());
    let min_index: u64 = min_index.ok_or(NoteProblem::Malformed)?;
    if text == horizon_text(key.name(), min_index) { Ok(min_index) } else { Err(NoteProblem::Malformed) }
}

/// What a log signs about the keys of tokens in an export of so many entries: a text that no checkpoint can be.
pub(crate) fn token_keys_text(origin: &str, size: u64, sha256: &str) -> String {
    format!("{origin}\njwks.json {size} {sha256}\n")
}

/// Which keys of tokens belong to an export, as its log's own key has signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    /// How many entries the log had: keys of another export are not these.
    pub size: u64,
    /// SHA-256 of the file `jwks.json`, in hexadecimal.
    pub sha256: String,
}

impl TokenKeys {
    /// Reads what the log's own key has signed.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteProblem> {
        let (text, _) = open(note, key)?;
        let line = text.strip_prefix(key.name()).and_then(|rest| rest.strip_prefix("\njwks.json "));
        let parts = line.and_then(|line| line.strip_suffix('\n')).and_then(|line| line.split_once(' '));
        let (size, sha256) = parts.ok_or(NoteProblem::Malformed)?;
        let size = size.parse().map_err(|_| NoteProblem::Malformed)?;
        if text != token_keys_text(key.name(), size, sha256) {
            return Err(NoteProblem::Malformed);
        }
        Ok(Self { size, sha256: sha256.to_owned() })
    }
}

/// The head of a log: its name, its size and its root. As text, what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many leaves it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a checkpoint that the log's own key has signed. The key's name is the log's.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteProblem> {
        let (text, _) = open(note, key)?;
        let checkpoint = Self::parse(text).ok_or(NoteProblem::NotACheckpoint)?;
        if checkpoint.origin == key.name { Ok(checkpoint) } else { Err(NoteProblem::NotACheckpoint) }
    }

    /// Reads the text of a note. Lines after the third are extensions, which nothing here knows.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return None;
        }
        let is_plain =
            size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| is_plain)?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self { origin: origin.to_owned(), size, root })
    }

    /// The text of a note's checkpoint, though nobody has checked its signatures: for saying which log it is of.
    pub fn unverified(note: &str) -> Option<Self> {
        Note::parse(note).ok().and_then(|note| Self::parse(note.text))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))
    }
}
