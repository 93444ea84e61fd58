//! The keyring: master keys by epoch, and every key that is derived from one (HKDF-SHA256, RFC 5869).
//!
//! No secret is printed by `Debug`, and none is compared but in constant time.

use std::fmt;
use std::sync::OnceLock;

use ed25519_dalek::{SigningKey, VerifyingKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Timestamp;
use crate::chat::SecretText;
use crate::id::{ClientId, ReviewerId};
use crate::payload::hex;

/// Number of a master key; one more at every rotation.
pub type EpochNumber = u32;

/// 32 secret bytes. Written as base64 in the keyring; never shown by `Debug`.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes 32 bytes, which must come from the system's random source or a key derivation.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to compute with.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        to.serialize_str(&base64::engine::general_purpose::STANDARD.encode(*self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        use serde::de::Error as _;
        let text = Zeroizing::new(String::deserialize(from)?);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| D::Error::custom("must be 32 bytes in base64"))?;
        Ok(Self::new(bytes))
    }
}

/// One master key and the signing key that was made with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// Which one.
    pub number: EpochNumber,
    /// What client secrets and link keys are derived from.
    pub master: Secret,
    /// Seed of the Ed25519 key that signs `EdDSA` tokens (RFC 8032).
    pub signing_seed: Secret,
    /// When it became current.
    pub created_at: Timestamp,
    /// What follows from the seed: it takes longer than a signature, and is wanted for each.
    #[serde(skip)]
    signing: OnceLock<(SigningKey, String)>,
}

impl Epoch {
    fn derive(&self, purpose: &str, who: &str) -> Secret {
        let mut key = [0; 32];
        // `expand` fails only for outputs over 255 hash lengths; this one is of one hash length.
        let _ = Hkdf::<Sha256>::new(Some(b"placet-v1"), self.master.expose())
            .expand_multi_info(&[purpose.as_bytes(), b"\n", who.as_bytes()], &mut key);
        Secret::new(key)
    }

    /// The secret of that client: what is pasted into Zapier or n8n.
    ///
    /// `generation` is the client's policy entry's; raising it revokes that client's older secret.
    pub fn client_secret(&self, client: &ClientId, generation: u32) -> ClientSecret {
        let key = self.derive("client-secret", &format!("{client}\n{generation}"));
        ClientSecret(Zeroizing::new(format!("whsec_{}", hex(key.expose()))))
    }

    /// The secret that messages to that reviewer's `webhook` are signed with.
    ///
    /// `generation` is the reviewer's policy entry's; raising it revokes the older secret together with their links.
    pub fn reviewer_secret(&self, reviewer: &ReviewerId, generation: u32) -> ClientSecret {
        let key = self.derive("reviewer-webhook", &format!("{reviewer}\n{generation}"));
        ClientSecret(Zeroizing::new(format!("whsec_{}", hex(key.expose()))))
    }

    /// The secret that alerts by the `webhook` of that way are signed with.
    pub fn alert_secret(&self, way: &str) -> ClientSecret {
        let key = self.derive("alert-webhook", way);
        ClientSecret(Zeroizing::new(format!("whsec_{}", hex(key.expose()))))
    }

    /// The key that reviewers' links, inbox links and form nonces are made with.
    pub fn link_key(&self) -> Secret {
        self.derive("link", "")
    }

    /// The Ed25519 key that signs `EdDSA` tokens.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing().0
    }

    /// `kid` of this epoch's signing key: its [`thumbprint`].
    ///
    /// A number would be the same in every new gate, and a cached key of another gate would be taken for this one's.
    pub fn kid(&self) -> &str {
        &self.signing().1
    }

    fn signing(&self) -> &(SigningKey, String) {
        self.signing.get_or_init(|| {
            let key = SigningKey::from_bytes(self.signing_seed.expose());
            let kid = thumbprint(&key.verifying_key());
            (key, kid)
        })
    }
}

/// The JWK thumbprint of an Ed25519 public key (RFC 7638, with the members of RFC 8037, section 2): 43 letters of
/// base64url.
pub fn thumbprint(public: &VerifyingKey) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

/// A secret that two parties share and one sends to the other as it is. It is never shown.
#[derive(Clone)]
pub struct SharedSecret(Zeroizing<String>);

impl SharedSecret {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Compares in constant time with what a caller sent.
    pub fn matches(&self, unverified: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(unverified).into()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// A client's secret as printed: `whsec_` and 64 hex digits.
///
/// The prefix lets secret scanners find it, and Standard Webhooks libraries take the text as it is. `X-Signature` and
/// HS256 tokens are keyed with the UTF-8 bytes of the whole text.
#[derive(Clone)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// The text, to print once or to compute with.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time with what a caller sent.
    pub fn matches(&self, unverified: &str) -> bool {
        self.0.as_bytes().ct_eq(unverified.as_bytes()).into()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// The P-256 key that pushes are signed with (VAPID, RFC 8292).
///
/// No rotation changes it: every device's subscription is bound to its public half, and would end with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PushKey {
    /// The private key: PKCS#8 in base64url.
    pub private: SecretText,
    /// The public point, 65 bytes in base64url: what a browser subscribes with (`applicationServerKey`).
    pub public: String,
}

/// The master keys that count: the current one and the one before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keyring {
    /// What new things are made with.
    pub current: Epoch,
    /// What older things are still checked with, until the next rotation.
    pub previous: Option<Epoch>,
    /// Seed of the Ed25519 key that signs the heads of the audit log; none until the first rotation, see
    /// [`Keyring::log_key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Secret>,
    /// The key of pushes; none until a policy first names that channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushKey>,
}

impl Keyring {
    /// A first keyring.
    pub fn first(master: Secret, signing_seed: Secret, now: Timestamp) -> Self {
        Self {
            current: Epoch { number: 1, master, signing_seed, created_at: now, signing: OnceLock::new() },
            previous: None,
            log: None,
            push: None,
        }
    }

    /// A first keyring from a secret text that everybody who needs the keys can read: the same text, the same keys.
    ///
    /// The text must have the entropy of a key; it is not a password, and is not stretched.
    pub fn from_seed(seed: &str, now: Timestamp) -> Self {
        let derive = |purpose: &[u8]| {
            let mut key = [0; 32];
            // `expand` fails only for outputs over 255 hash lengths; this one is of one hash length.
            let _ = Hkdf::<Sha256>::new(Some(b"placet-seed-v1"), seed.as_bytes()).expand(purpose, &mut key);
            Secret::new(key)
        };
        Self::first(derive(b"master"), derive(b"signing-seed"), now)
    }

    /// The keyring after a rotation: the current epoch becomes the previous one, which is dropped.
    #[must_use]
    pub fn rotated(&self, master: Secret, signing_seed: Secret, now: Timestamp) -> Self {
        Self {
            current: Epoch {
                number: self.current.number.saturating_add(1),
                master,
                signing_seed,
                created_at: now,
                signing: OnceLock::new(),
            },
            previous: Some(self.current.clone()),
            log: Some(self.log_seed()),
            push: self.push.clone(),
        }
    }

    /// The Ed25519 key that signs the heads of the audit log. A rotation does not change it: a log is known by its key.
    ///
    /// It is derived from the epoch that was current when there was no log yet, and the first rotation since writes it
    /// down: so a keyring of before needs no write to have one.
    pub fn log_key(&self) -> SigningKey {
        SigningKey::from_bytes(self.log_seed().expose())
    }

    fn log_seed(&self) -> Secret {
        self.log.clone().unwrap_or_else(|| self.current.derive("log", ""))
    }

    /// The valid epochs, the current one first.
    pub fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        std::iter::once(&self.current).chain(self.previous.as_ref())
    }

    /// That epoch, if it is still valid.
    pub fn epoch(&self, number: EpochNumber) -> Option<&Epoch> {
        self.epochs().find(|epoch| epoch.number == number)
    }
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length; the error type is that of other MACs.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; 32])
    }

    #[test]
    fn hmac_is_the_one_of_rfc_4231() {
        assert_eq!(
            hex(&hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_8037() {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        // Appendix A.2 (the key) and A.3 (its thumbprint).
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap_or_default();
        let public = VerifyingKey::try_from(x.as_slice()).unwrap();
        assert_eq!(thumbprint(&public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn two_gates_name_their_keys_differently() {
        let ring = |byte| Keyring::first(secret(1), secret(byte), Timestamp::from_millis(0));
        assert_ne!(ring(2).current.kid(), ring(3).current.kid());
        assert_eq!(
            ring(2).current.kid(),
            ring(2).rotated(secret(4), secret(5), Timestamp::from_millis(1)).previous.unwrap().kid()
        );
    }

    #[test]
    fn each_client_epoch_and_generation_has_a_secret_of_its_own() {
        let ring = Keyring::first(secret(1), secret(2), Timestamp::from_millis(0));
        let next = ring.rotated(secret(3), secret(4), Timestamp::from_millis(1));
        let (a, b) = (ClientId::parse("a").unwrap(), ClientId::parse("b").unwrap());
        let secrets = [
            ring.current.client_secret(&a, 1),
            ring.current.client_secret(&b, 1),
            ring.current.client_secret(&a, 2),
            next.current.client_secret(&a, 1),
        ];
        let distinct: std::collections::BTreeSet<_> = secrets.iter().map(ClientSecret::expose).collect();
        assert_eq!(distinct.len(), 4);
        assert!(secrets[0].expose().starts_with("whsec_") && secrets[0].expose().len() == 70);
        assert!(secrets[0].matches(secrets[0].expose()) && !secrets[0].matches(secrets[1].expose()));
    }

    #[test]
    fn a_rotation_keeps_one_epoch_back() {
        let first = Keyring::first(secret(1), secret(2), Timestamp::from_millis(0));
        let second = first.rotated(secret(3), secret(4), Timestamp::from_millis(1));
        let third = second.rotated(secret(5), secret(6), Timestamp::from_millis(2));
        let numbers = |ring: &Keyring| ring.epochs().map(|e| e.number).collect::<Vec<_>>();
        assert_eq!([numbers(&first), numbers(&second), numbers(&third)], [vec![1], vec![2, 1], vec![3, 2]]);
        let found = [0, 1, 2, 3, 4].map(|number| third.epoch(number).map(|epoch| epoch.number));
        assert_eq!(found, [None, None, Some(2), Some(3), None]);
    }

    #[test]
    fn the_key_of_the_log_outlives_every_rotation() {
        let first = Keyring::first(secret(1), secret(2), Timestamp::from_millis(0));
        let second = first.rotated(secret(3), secret(4), Timestamp::from_millis(1));
        let third = second.rotated(secret(5), secret(6), Timestamp::from_millis(2));
        let stored: Keyring = serde_json::from_str(&serde_json::to_string(&third).unwrap()).unwrap();
        let public = |ring: &Keyring| ring.log_key().verifying_key();
        assert_eq!([public(&second), public(&third), public(&stored)], [public(&first); 3]);
        assert_ne!(public(&first), first.current.signing_key().verifying_key());
        assert!(!serde_json::to_string(&first).unwrap().contains("\"log\""));
    }

    #[test]
    fn the_key_of_pushes_outlives_every_rotation() {
        let key = PushKey { private: SecretText::new("cHJpdmF0ZQ"), public: "cHVibGlj".to_owned() };
        let first = Keyring::first(secret(1), secret(2), Timestamp::from_millis(0));
        assert!(!serde_json::to_string(&first).unwrap().contains("push"));
        let ring = Keyring { push: Some(key), ..first };
        let rotated = ring.rotated(secret(3), secret(4), Timestamp::from_millis(1));
        let stored: Keyring = serde_json::from_str(&serde_json::to_string(&rotated).unwrap()).unwrap();
        let found = stored.push.unwrap();
        assert_eq!((found.private.expose(), found.public.as_str()), ("cHJpdmF0ZQ", "cHVibGlj"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let push = Some(PushKey { private: SecretText::new("cHJpdmF0ZQ"), public: "cHVibGlj".to_owned() });
        let ring = Keyring { push, ..Keyring::first(secret(0xab), secret(0xcd), Timestamp::from_millis(0)) };
        let shown = format!("{ring:?} {:?}", ring.current.client_secret(&ClientId::parse("a").unwrap(), 1));
        assert!(!shown.contains("cHJpdmF0ZQ"));
        assert!(!shown.contains("171") && !shown.contains("abab") && !shown.contains("whsec_"), "{shown}");
        assert!(shown.ends_with("ClientSecret(…)"), "{shown}");
        let shown = format!("{:?} {:?}", secret(0xab), SharedSecret::new("shared".to_owned()));
        assert_eq!(shown, "Secret(…) SharedSecret(…)");
    }

    #[test]
    fn a_shared_secret_matches_itself_and_nothing_else() {
        let shared = SharedSecret::new("shared".to_owned());
        assert!(shared.matches(b"shared"));
        for other in [&b""[..], b"share", b"shared ", b"Shared"] {
            assert!(!shared.matches(other), "{other:?}");
        }
    }
}
