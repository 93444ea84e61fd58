//! The keyring in Secrets Manager, held for a while, and fetched anew when an unknown epoch is named.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use placet_core::Timestamp;
use placet_core::keys::Keyring;
use placet_gate::Fault;
use placet_gate::ports::Keys;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long a keyring is used without being looked at again: a rotation breaks nothing, so it need not be seen at once.
const MAX_AGE: Duration = Duration::from_mins(5);

/// How soon it is fetched again at the request of those who forge signatures or links.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The shortest seed that is taken: 32 letters and digits are 190 bits.
const SEED_CHARS: usize = 32;

/// The keyring of a deployed gate.
pub struct SecretKeys {
    client: Client,
    secret: String,
    held: Mutex<Option<Held>>,
}

struct Held {
    keyring: Arc<Keyring>,
    fetched_at: Instant,
}

/// What the template writes: the first epoch is derived from it, the same by everybody, without a write.
#[derive(Deserialize)]
struct Seed<'t> {
    placet_seed_version: u32,
    // Borrowed where the JSON has no escapes in it, as that of the template's seed has none.
    #[serde(borrow)]
    seed: Cow<'t, str>,
}

impl SecretKeys {
    /// The keyring in that secret. Fetches nothing yet.
    pub fn new(client: Client, secret: String) -> Self {
        Self { client, secret, held: Mutex::new(None) }
    }

    /// The keyring, not older than that. A keyring that is known is used on when it cannot be fetched.
    async fn not_older_than(&self, max_age: Duration) -> Result<Arc<Keyring>, Fault> {
        // Held over the fetch: of many who need it at once, one fetches.
        let mut held = self.held.lock().await;
        if let Some(known) = held.as_ref().filter(|known| known.fetched_at.elapsed() <= max_age) {
            return Ok(Arc::clone(&known.keyring));
        }
        match (self.fetch().await, held.as_mut()) {
            (Ok(fetched), _) => {
                let keyring = Arc::new(fetched);
                *held = Some(Held { keyring: Arc::clone(&keyring), fetched_at: Instant::now() });
                Ok(keyring)
            }
            (Err(fault), Some(known)) => {
                tracing::warn!(
                    error = fault.chain(),
                    "the keyring cannot be fetched again; the known one is used"
                );
                known.fetched_at = Instant::now();
                Ok(Arc::clone(&known.keyring))
            }
            (Err(fault), None) => Err(fault),
        }
    }

    async fn fetch(&self) -> Result<Keyring, Fault> {
        let value = self
            .client
            .get_secret_value()
            .secret_id(&self.secret)
            .send()
            .await
            .map_err(|error| Fault::new("the keyring cannot be fetched", error))?;
        let created_at = value.created_date.map_or(0, |at| at.secs());
        read(&Zeroizing::new(value.secret_string.unwrap_or_default()), created_at)
    }
}

#[async_trait]
impl Keys for SecretKeys {
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault> {
        self.not_older_than(MAX_AGE).await
    }

    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault> {
        self.not_older_than(MIN_AGE).await
    }
}

/// Reads a version of the secret: a keyring, or the seed of the first one, made at `created_at` (Unix seconds).
pub(crate) fn read(text: &str, created_at: i64) -> Result<Keyring, Fault> {
    if let Ok(Seed { placet_seed_version: 1, seed }) = serde_json::from_str(text) {
        if seed.chars().count() < SEED_CHARS {
            return Err(Fault::bare("the secret's seed is too short to make keys from"));
        }
        return Ok(Keyring::from_seed(&seed, Timestamp::from_millis(created_at.saturating_mul(1000))));
    }
    // The cause is not told: a parser's message can quote what it read.
    serde_json::from_str(text)
        .map_err(|_| Fault::bare("the secret holds neither a keyring nor the seed of one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = r#"{"placet_seed_version": 1, "seed": "abcdefghijklmnopqrstuvwxyz0123456789"}"#;

    #[test]
    fn the_first_keyring_is_the_same_for_everybody_who_reads_the_seed() {
        let (one, two) = (read(SEED, 17).unwrap(), read(SEED, 17).unwrap());
        assert_eq!(one.current.number, 1);
        assert_eq!(one.current.created_at.seconds(), 17);
        assert_eq!(one.current.master.expose(), two.current.master.expose());
        assert_ne!(one.current.master.expose(), one.current.signing_seed.expose());
        let other = read(&SEED.replace("xyz", "zyx"), 17).unwrap();
        assert_ne!(one.current.master.expose(), other.current.master.expose());
    }

    #[test]
    fn a_seed_may_have_characters_that_json_escapes() {
        let text = r#"{"placet_seed_version": 1, "seed": "\"\\abcdefghijklmnopqrstuvwxyz0123456789"}"#;
        let plain =
            Keyring::from_seed(r#""\abcdefghijklmnopqrstuvwxyz0123456789"#, Timestamp::from_millis(17_000));
        assert_eq!(read(text, 17).unwrap().current.master.expose(), plain.current.master.expose());
    }

    #[test]
    fn a_keyring_comes_back_as_it_was_written() {
        let ring = read(SEED, 17).unwrap();
        let back = read(&serde_json::to_string(&ring).unwrap(), 99).unwrap();
        assert_eq!(back.current.master.expose(), ring.current.master.expose());
        assert_eq!(back.current.created_at, ring.current.created_at);
    }

    #[test]
    fn what_is_no_keyring_is_refused_and_not_quoted() {
        for text in ["", "{}", "hunter2", r#"{"placet_seed_version": 1, "seed": "short"}"#] {
            let fault = read(text, 0).unwrap_err();
            assert!(!fault.chain().contains("hunter2") && !fault.chain().contains("short\""));
        }
    }
}
