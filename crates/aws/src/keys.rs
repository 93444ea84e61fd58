//! The keyring in Secrets Manager, held for a while, and fetched anew when an unknown epoch is named. The secrets of
//! channels lie in a secret beside it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use placet_core::Fault;
use placet_core::chat::ChannelSettings;
use placet_core::keys::Keyring;
use placet_gate::ports::Keys;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::channel_secret::ChannelSecret;
use crate::keyring::read;

/// How long a keyring is used without being looked at again: a rotation breaks nothing, so it need not be seen at once.
const MAX_AGE: Duration = Duration::from_mins(5);

/// How soon it is fetched again at the request of those who forge signatures or links.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The keyring of a deployed gate, and what its channels need.
pub struct SecretKeys {
    client: Client,
    secret: String,
    /// None where this function may not read it.
    channels: Option<ChannelSecret>,
    held: Mutex<Option<Held>>,
}

struct Held {
    keyring: Arc<Keyring>,
    fetched_at: Instant,
}

impl SecretKeys {
    /// The keyring in that secret, and the channels' secrets in the other. Fetches nothing yet.
    pub fn new(client: Client, secret: String, channels: Option<String>) -> Self {
        let channels = channels.map(|id| ChannelSecret::new(client.clone(), id));
        Self { client, secret, channels, held: Mutex::new(None) }
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

    async fn channels(&self) -> Result<Arc<ChannelSettings>, Fault> {
        match &self.channels {
            Some(channels) => channels.read().await,
            None => Ok(Arc::default()),
        }
    }
}
