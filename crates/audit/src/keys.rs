//! The log's own signing key, and the name that it gives the log.

use ed25519_dalek::SigningKey;
use placet_core::keys::Keyring;
use placet_core::payload::hex;
use sha2::{Digest as _, Sha256};

use crate::note::{self, Checkpoint, Signer, VerifierKey};

/// The key that signs a log's heads. It stays the same through rotations, and so does the log's name.
pub struct LogKey {
    signer: Signer,
}

impl LogKey {
    /// The log key of a keyring.
    pub fn of(keyring: &Keyring) -> Self {
        Self::from_key(keyring.log_key())
    }

    /// A log key from its Ed25519 key.
    pub fn from_key(key: SigningKey) -> Self {
        // The name comes from the key, and not from an address: a gate may move, and its log is still the same.
        let digest = hex(&Sha256::digest(key.verifying_key().as_bytes()));
        let origin = format!("placet/log/{}", digest.get(..16).unwrap_or(&digest));
        Self { signer: Signer::plain(&origin, key) }
    }

    /// The log's name: the first line of its checkpoints.
    pub fn origin(&self) -> &str {
        self.signer.key().name()
    }

    /// What to check its checkpoints with.
    pub fn verifier(&self) -> VerifierKey {
        self.signer.key().clone()
    }

    /// From where on the trail is whole, signed: entries before `min_index` are past their retention.
    pub fn horizon(&self, min_index: u64) -> String {
        note::sign(&note::horizon_text(self.origin(), min_index), &[&self.signer])
    }

    /// The keys of tokens, signed as those of an export of so many entries. `jwks` is the file as it is written.
    pub fn token_keys(&self, size: u64, jwks: &[u8]) -> String {
        let digest = hex(&Sha256::digest(jwks));
        note::sign(&note::token_keys_text(self.origin(), size, &digest), &[&self.signer])
    }

    /// The signed checkpoint of a head. The same head always makes the same text.
    pub fn checkpoint(&self, size: u64, root: crate::Hash) -> String {
        let body = Checkpoint { origin: self.origin().to_owned(), size, root }.to_string();
        note::sign(&body, &[&self.signer])
    }
}
