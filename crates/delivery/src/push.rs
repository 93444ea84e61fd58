//! Web Push: encrypted news for the devices on which a reviewer has switched it on.
//!
//! RFC 8030 (the POST), RFC 8291 (its encryption), RFC 8292 (VAPID, who sends). The service that carries it sees neither
//! words nor links. What the news say on a locked screen is that something waits and who asks; the title only where the
//! rule says `preview = true`.

use std::sync::Arc;

use async_trait::async_trait;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use placet_core::Timestamp;
use placet_core::grammar::HostPattern;
use placet_core::keys::PushKey;
use placet_core::payload::sha256_hex;
use placet_gate::Gate;
use placet_gate::push::PushDevice;
use placet_webhook::{Attempt, Sender, Target};
use serde_json::json;
use tokio::task::JoinSet;

use crate::card::{Card, Stands, cut};
use crate::channel::{Channel, Notification, SendOutcome, SettleOutcome};

use crypto::Unencrypted;
pub use crypto::new_key;

/// More in one minute is noise; then one digest.
const PER_MINUTE: u32 = 20;

/// How long a push service keeps what says how a request ended: for a device that is off for the night.
const SETTLED_SECONDS: i64 = 24 * 60 * 60;

/// How long it keeps a digest: what waits has deadlines of its own.
const DIGEST_SECONDS: i64 = 4 * 60 * 60;

/// For how long a push service may take a signature for ours, in seconds: at most a day (RFC 8292, section 2).
const SIGNED_SECONDS: i64 = 12 * 60 * 60;

/// So that the whole stays far below the 4,096 bytes that a push service must take (RFC 8030, section 7.2).
const HEADLINE_CHARS: usize = 200;
const NAME_CHARS: usize = 64;
const WORDS_CHARS: usize = 300;

/// Pushes to reviewers' devices.
pub struct Push {
    gate: Arc<Gate>,
    sender: Sender,
}

/// What came of one device.
enum Told {
    Yes,
    /// There is nothing there any more: it is forgotten.
    Gone,
    Wait(i64, String),
    Retry(String),
    Never(String),
}

/// One push, as every device of its reviewer gets it.
struct News {
    words: Vec<u8>,
    topic: String,
    ttl_seconds: i64,
    urgency: &'static str,
}

impl Push {
    /// Pushes to the devices in that gate's store, under its key.
    pub const fn new(gate: Arc<Gate>, sender: Sender) -> Self {
        Self { gate, sender }
    }

    /// Sends to those of the reviewer's devices that `wanted` names, or to all of them. With which got it.
    async fn tell(
        &self,
        notification: &Notification,
        wanted: Option<&str>,
    ) -> Result<(Vec<String>, Vec<Told>), Told> {
        let policy = self.gate.policy().await.map_err(|error| Told::Retry(error.chain()))?;
        let Some(person) = policy.reviewer(&notification.reviewer) else {
            return Err(Told::Never("the reviewer has left the policy".into()));
        };
        let keyring = self.gate.keyring().await.map_err(|fault| Told::Retry(fault.chain()))?;
        let Some(key) = keyring.push.clone() else {
            return Err(Told::Never("this gate has no key for push yet".into()));
        };
        let mut devices = self.gate.push_devices(person).await.map_err(|error| Told::Retry(error.chain()))?;
        devices.retain(|device| wanted.is_none_or(|ids| ids.split(',').any(|id| id == device.id())));
        let now = self.gate.now();
        let base_url = self.gate.base_url(&policy);
        let news = Arc::new(news(notification, &base_url, now));
        let signer = Arc::new(Signer { key, contact: contact(&base_url), now });
        let mut sending = JoinSet::new();
        for device in devices {
            let (news, signer, sender) = (Arc::clone(&news), Arc::clone(&signer), self.sender.clone());
            let exempt = person.callback_hosts.clone();
            sending.spawn(async move {
                let told = post(&sender, &signer, &news, &device, &exempt).await;
                (device, told)
            });
        }
        let (mut got, mut rest) = (Vec::new(), Vec::new());
        while let Some(done) = sending.join_next().await {
            match done {
                Ok((device, Told::Yes)) => got.push(device.id()),
                Ok((device, Told::Gone)) => {
                    self.forget(&device).await;
                    rest.push(Told::Gone);
                }
                Ok((_, failed)) => rest.push(failed),
                Err(_) => rest.push(Told::Retry("a push was cut off".into())),
            }
        }
        got.sort_unstable();
        Ok((got, rest))
    }

    /// Of a device that cannot be forgotten now, the next push learns the same: the others must not be told twice for it.
    async fn forget(&self, device: &PushDevice) {
        let (reviewer, id) = (&device.reviewer, device.id());
        match self.gate.forget_push_device(device).await {
            Ok(()) => {
                tracing::info!(%reviewer, device = id, "a device takes no more pushes; it was forgotten");
            }
            Err(error) => tracing::error!(
                %reviewer,
                device = id,
                error = error.chain(),
                "a device takes no more pushes, and could not be forgotten"
            ),
        }
    }
}

/// Who is responsible for what is sent, which a push service may ask: an address (RFC 8292, section 2.1).
fn contact(base_url: &str) -> String {
    if base_url.starts_with("https://") { base_url.to_owned() } else { "mailto:placet@localhost".to_owned() }
}

struct Signer {
    key: PushKey,
    contact: String,
    now: Timestamp,
}

/// The address is never told: whoever has it can address the device.
async fn post(
    sender: &Sender,
    signer: &Signer,
    news: &News,
    device: &PushDevice,
    exempt: &[HostPattern],
) -> Told {
    let Ok(target) = Target::parse(&device.endpoint, exempt) else {
        return Told::Never("a device's address is not one that this gate calls".into());
    };
    let body = match crypto::encrypt(&device.p256dh, &device.auth, &news.words) {
        Ok(body) => body,
        // A key that is no key never becomes one.
        Err(Unencrypted::BadKeys) => return Told::Gone,
        Err(Unencrypted::Failed) => return Told::Retry("a push could not be encrypted".into()),
    };
    let claims = json!({
        "aud": target.origin(),
        "exp": signer.now.seconds().saturating_add(SIGNED_SECONDS),
        "sub": signer.contact,
    });
    let Some(token) = crypto::sign(signer.key.private.expose(), &claims) else {
        return Told::Never("this gate's key for push cannot be used".into());
    };
    let authorization = format!("vapid t={token}, k={}", signer.key.public);
    let ttl = news.ttl_seconds.to_string();
    let headers = [
        ("content-type", "application/octet-stream"),
        ("content-encoding", "aes128gcm"),
        ("authorization", authorization.as_str()),
        ("ttl", ttl.as_str()),
        ("topic", news.topic.as_str()),
        ("urgency", news.urgency),
    ];
    match sender.post(&target, exempt, &headers, &body).await {
        Attempt::Delivered { .. } => Told::Yes,
        Attempt::Gone | Attempt::Refused { status: 404, .. } => Told::Gone,
        Attempt::Refused { status: status @ (429 | 503), retry_after: Some(wait), .. } => {
            let in_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1000);
            Told::Wait(in_ms, format!("the push service answered {status}"))
        }
        Attempt::Refused { status: status @ (400 | 401 | 403 | 413), .. } => {
            Told::Never(format!("the push service answered {status}"))
        }
        Attempt::Refused { status, .. } => Told::Retry(format!("the push service answered {status}")),
        Attempt::Forbidden { reason } => Told::Never(reason),
        Attempt::Unreachable { .. } => Told::Retry("the push service could not be reached".into()),
    }
}

fn news(notification: &Notification, base_url: &str, now: Timestamp) -> News {
    let card = &notification.card;
    let client = cut(&card.client, NAME_CHARS);
    let (title, body) = words(card, &client);
    let about = match &card.stands {
        Stands::Several => "inbox",
        Stands::Open { .. } | Stands::Approved | Stands::MovedOn | Stands::Ended { .. } => {
            notification.approval_id.as_str()
        }
    };
    // Of the same request, for the same person: one browser can be two people's.
    let mut topic = sha256_hex(format!("{about}\n{}", notification.reviewer).as_bytes());
    topic.truncate(32);
    let is_settled = matches!(card.stands, Stands::Approved | Stands::MovedOn | Stands::Ended { .. });
    let path = notification.url.strip_prefix(base_url).map(|path| path.trim_start_matches('/'));
    let words = json!({
        "title": title,
        "body": body,
        "tag": topic,
        "urgent": card.urgent && !is_settled,
        "settled": is_settled,
        "path": path,
    });
    let left = card.until.as_ref().map(|(at, _)| at.millis_since(now).saturating_add(999) / 1000);
    News {
        words: words.to_string().into_bytes(),
        topic,
        ttl_seconds: match &card.stands {
            Stands::Open { .. } => left.unwrap_or(DIGEST_SECONDS).max(1),
            Stands::Several => DIGEST_SECONDS,
            Stands::Approved | Stands::MovedOn | Stands::Ended { .. } => SETTLED_SECONDS,
        },
        urgency: match (is_settled, card.urgent) {
            (true, _) => "low",
            (false, true) => "high",
            (false, false) => "normal",
        },
    }
}

/// The first line and the second one. Without `preview`, nothing of what is asked.
fn words(card: &Card, client: &str) -> (String, String) {
    let title = if card.preview { cut(&card.headline, HEADLINE_CHARS) } else { "Placet".to_owned() };
    let body = match &card.stands {
        Stands::Several => return ("Placet".to_owned(), cut(&card.headline, HEADLINE_CHARS)),
        Stands::Open { .. } => {
            let again = if card.is_reminder { "Reminder: " } else { "" };
            if card.preview {
                format!("{again}{client} asks for your approval.")
            } else {
                format!("{again}{client} asks. Something waits for your approval.")
            }
        }
        Stands::Ended { words, .. } if !card.preview => format!("{client} asked. {words}."),
        Stands::Approved | Stands::MovedOn | Stands::Ended { .. } => {
            let line = card.standing_line().unwrap_or_default();
            if card.preview { line } else { format!("{client} asked. {line}") }
        }
    };
    (title, cut(&body, WORDS_CHARS))
}

#[async_trait]
impl Channel for Push {
    fn name(&self) -> &'static str {
        "push"
    }

    fn per_minute(&self) -> Option<u32> {
        Some(PER_MINUTE)
    }

    /// One device that takes it is enough: the person has it. What the others said is for the log.
    async fn send(&self, notification: &Notification) -> SendOutcome {
        let (got, rest) = match self.tell(notification, None).await {
            Ok(told) => told,
            Err(Told::Never(reason)) => return SendOutcome::Unreachable(reason),
            Err(Told::Wait(in_ms, reason)) => return SendOutcome::Wait { in_ms, reason },
            Err(Told::Retry(reason)) => return SendOutcome::Retry(reason),
            Err(Told::Yes | Told::Gone) => return no_device(),
        };
        if !got.is_empty() {
            for failed in &rest {
                if let Told::Wait(_, reason) | Told::Retry(reason) | Told::Never(reason) = failed {
                    tracing::warn!(
                        message.id = %notification.id,
                        error = reason,
                        "one device of a reviewer did not get a push; another one did"
                    );
                }
            }
            return SendOutcome::Delivered(Some(got.join(",")));
        }
        let (mut soonest, mut failed, mut never): (Option<(i64, String)>, _, _) = (None, None, None);
        for told in rest {
            match told {
                Told::Wait(in_ms, reason) if soonest.as_ref().is_none_or(|(known, _)| in_ms < *known) => {
                    soonest = Some((in_ms, reason));
                }
                Told::Retry(reason) => failed = Some(reason),
                Told::Never(reason) => never = Some(reason),
                Told::Wait(..) | Told::Yes | Told::Gone => {}
            }
        }
        match (failed, soonest, never) {
            (Some(reason), ..) => SendOutcome::Retry(reason),
            (None, Some((in_ms, reason)), _) => SendOutcome::Wait { in_ms, reason },
            (None, None, Some(reason)) => SendOutcome::Unreachable(reason),
            (None, None, None) => no_device(),
        }
    }

    /// A quiet one in the place of the first, on the devices that got that.
    async fn settle(&self, reference: &str, notification: &Notification) -> SettleOutcome {
        if matches!(notification.card.stands, Stands::Open { .. } | Stands::Several) {
            return SettleOutcome::Settled;
        }
        let (got, rest) = match self.tell(notification, Some(reference)).await {
            Ok(told) => told,
            Err(Told::Retry(reason)) => return SettleOutcome::Retry { in_ms: None, reason },
            Err(Told::Wait(in_ms, reason)) => return SettleOutcome::Retry { in_ms: Some(in_ms), reason },
            Err(Told::Never(reason)) => return SettleOutcome::Impossible(reason),
            Err(Told::Yes | Told::Gone) => return SettleOutcome::Gone,
        };
        let (mut again, mut never) = (None, None);
        for told in rest {
            match told {
                Told::Wait(in_ms, reason) => again = Some((Some(in_ms), reason)),
                Told::Retry(reason) => again = Some((None, reason)),
                Told::Never(reason) => never = Some(reason),
                Told::Yes | Told::Gone => {}
            }
        }
        // Who has it already gets the same again, in the same place and without a sound.
        match (again, never) {
            (Some((in_ms, reason)), _) => SettleOutcome::Retry { in_ms, reason },
            (None, _) if !got.is_empty() => SettleOutcome::Settled,
            (None, Some(reason)) => SettleOutcome::Impossible(reason),
            (None, None) => SettleOutcome::Gone,
        }
    }
}

fn no_device() -> SendOutcome {
    SendOutcome::Unreachable(
        "the reviewer has switched push on on no device, or on none that still is".into(),
    )
}

mod crypto {
    //! `aes128gcm` in one record, and ES256, over `ring`, which TLS has brought.

    use base64::Engine as _;
    use placet_core::chat::SecretText;
    use placet_core::keys::PushKey;
    use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
    use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
    use ring::rand::{SecureRandom as _, SystemRandom};
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::BASE64;

    /// The size of records that the header names; ours is one, and shorter (RFC 8291, section 4).
    const RECORD_BYTES: u32 = 4096;

    /// What one record holds: without its header, its tag and the byte that ends the words.
    pub(super) const MOST_BYTES: usize = 4096 - 86 - 16 - 1;

    /// Draws a key pair to sign pushes with. None if the system's random source fails.
    pub fn new_key() -> Option<PushKey> {
        let random = SystemRandom::new();
        let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random).ok()?;
        Some(PushKey {
            private: SecretText::new(BASE64.encode(private.as_ref())),
            public: BASE64.encode(pair.public_key().as_ref()),
        })
    }

    /// A compact JWS under that key (RFC 7515, RFC 7518 section 3.4). None if the key is no key.
    pub(super) fn sign(private: &str, claims: &Value) -> Option<String> {
        let random = SystemRandom::new();
        let pkcs8 = zeroize::Zeroizing::new(BASE64.decode(private).ok()?);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).ok()?;
        let header = json!({ "typ": "JWT", "alg": "ES256" });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = pair.sign(&random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", BASE64.encode(signature.as_ref())))
    }

    /// Why a push was not encrypted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Unencrypted {
        /// The device's keys are no keys.
        BadKeys,
        /// Our own fault: the system's random source failed, or the words are too long for one record.
        Failed,
    }

    /// Encrypts for a device.
    pub(super) fn encrypt(p256dh: &str, auth: &str, words: &[u8]) -> Result<Vec<u8>, Unencrypted> {
        let keys = (BASE64.decode(p256dh), BASE64.decode(auth));
        let (Ok(device), Ok(auth)) = keys else { return Err(Unencrypted::BadKeys) };
        if auth.len() != 16 {
            return Err(Unencrypted::BadKeys);
        }
        let random = SystemRandom::new();
        let own = EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(|_| Unencrypted::Failed)?;
        let point = own.compute_public_key().map_err(|_| Unencrypted::Failed)?;
        let mut salt = [0; 16];
        random.fill(&mut salt).map_err(|_| Unencrypted::Failed)?;
        let peer = UnparsedPublicKey::new(&ECDH_P256, &device);
        agree_ephemeral(own, &peer, |shared| seal(shared, &device, &auth, point.as_ref(), salt, words))
            .map_err(|_| Unencrypted::BadKeys)?
            .ok_or(Unencrypted::Failed)
    }

    /// RFC 8291, section 3.4, and RFC 8188, section 2: from the shared secret to the message. None if it is too long.
    pub(super) fn seal(
        shared: &[u8],
        device: &[u8],
        auth: &[u8],
        point: &[u8],
        salt: [u8; 16],
        words: &[u8],
    ) -> Option<Vec<u8>> {
        if words.len() > MOST_BYTES {
            return None;
        }
        let info = [b"WebPush: info\0".as_slice(), device, point];
        let mut input = [0; 32];
        Salt::new(HKDF_SHA256, auth)
            .extract(shared)
            .expand(&info, HKDF_SHA256)
            .ok()?
            .fill(&mut input)
            .ok()?;
        let pseudorandom = Salt::new(HKDF_SHA256, &salt).extract(&input);
        let (mut key, mut nonce) = ([0; 16], [0; 12]);
        pseudorandom.expand(&[b"Content-Encoding: aes128gcm\0"], Bytes(16)).ok()?.fill(&mut key).ok()?;
        pseudorandom.expand(&[b"Content-Encoding: nonce\0"], Bytes(12)).ok()?.fill(&mut nonce).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
        let mut record = words.to_vec();
        // The last record ends so (RFC 8188, section 2).
        record.push(2);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record).ok()?;
        let mut message = salt.to_vec();
        message.extend_from_slice(&RECORD_BYTES.to_be_bytes());
        message.push(u8::try_from(point.len()).ok()?);
        message.extend_from_slice(point);
        message.append(&mut record);
        Some(message)
    }

    struct Bytes(usize);

    impl KeyType for Bytes {
        fn len(&self) -> usize {
            self.0
        }
    }
}

#[cfg(test)]
mod tests;
