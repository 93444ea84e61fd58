//! The secrets of channels in Secrets Manager: a secret of their own, so that a rotation of the keys never touches them and
//! `request` cannot read them. It has no value until the operator sets a channel.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use placet_core::Fault;
use placet_core::chat::ChannelSettings;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long settings are used without being looked at again: what an operator sets counts everywhere after that.
const MAX_AGE: Duration = Duration::from_mins(1);

/// The settings of a deployed gate's channels.
pub(crate) struct ChannelSecret {
    client: Client,
    /// ARN or name.
    id: String,
    held: Mutex<Option<Held>>,
}

struct Held {
    settings: Arc<ChannelSettings>,
    fetched_at: Instant,
}

impl ChannelSecret {
    /// The settings in that secret. Fetches nothing yet.
    pub(crate) fn new(client: Client, id: String) -> Self {
        Self { client, id, held: Mutex::new(None) }
    }

    /// The settings, at most a minute old. Those that are known are used on when they cannot be fetched.
    pub(crate) async fn read(&self) -> Result<Arc<ChannelSettings>, Fault> {
        // Held over the fetch: of many who need them at once, one fetches.
        let mut held = self.held.lock().await;
        if let Some(known) = held.as_ref().filter(|known| known.fetched_at.elapsed() <= MAX_AGE) {
            return Ok(Arc::clone(&known.settings));
        }
        match (self.fetch().await, held.as_mut()) {
            (Ok(fetched), _) => {
                let settings = Arc::new(fetched.1);
                *held = Some(Held { settings: Arc::clone(&settings), fetched_at: Instant::now() });
                Ok(settings)
            }
            (Err(fault), Some(known)) => {
                tracing::warn!(
                    error = fault.chain(),
                    "the channels' secrets cannot be fetched again; the known ones are used"
                );
                known.fetched_at = Instant::now();
                Ok(Arc::clone(&known.settings))
            }
            (Err(fault), None) => Err(fault),
        }
    }

    /// The settings, with the id of their version; none while the secret has no value.
    async fn fetch(&self) -> Result<(Option<String>, ChannelSettings), Fault> {
        let value = match self.client.get_secret_value().secret_id(&self.id).send().await {
            Ok(value) => value,
            // What Secrets Manager says of a secret without a value.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
            {
                return Ok((None, ChannelSettings::default()));
            }
            Err(error) => return Err(Fault::new("the channels' secrets cannot be fetched", error)),
        };
        let text = Zeroizing::new(value.secret_string.unwrap_or_default());
        Ok((value.version_id, read(&text)?))
    }
}

/// The cause of a fault is not told: a parser's message can quote what it read.
fn read(text: &str) -> Result<ChannelSettings, Fault> {
    serde_json::from_str(text)
        .map_err(|_| Fault::bare("the channels' secret cannot be read: set the channels anew"))
}

#[cfg(feature = "operator")]
mod changing {
    use super::{ChannelSecret, ChannelSettings, Fault, Zeroizing};

    const CURRENT: &str = "AWSCURRENT";

    /// What a version is called until it is the current one.
    const PENDING: &str = "AWSPENDING";

    /// How often a change is tried that others were faster than.
    const TRIES: usize = 5;

    impl ChannelSecret {
        /// Changes the settings. Of those who change them at the same time, none is lost: a new version becomes the
        /// current one only in the place of the one that was read.
        /// Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>.
        pub(crate) async fn change(
            &self,
            change: &(dyn Fn(&mut ChannelSettings) + Sync),
        ) -> Result<(), Fault> {
            let mut failed = Fault::bare("the channels' secrets were changed by others again and again");
            for _ in 0..TRIES {
                let (seen, mut settings) = self.fetch().await?;
                change(&mut settings);
                let made = self.add(&settings).await?;
                match self.promote(&made, seen.as_deref()).await {
                    Ok(()) => {
                        *self.held.lock().await = None;
                        return Ok(());
                    }
                    Err(fault) => failed = fault,
                }
                if self.fetch().await?.0 == seen {
                    break;
                }
            }
            Err(failed)
        }

        /// Writes a version that nobody reads yet; its id.
        async fn add(&self, settings: &ChannelSettings) -> Result<String, Fault> {
            let text = serde_json::to_string(settings)
                .map(Zeroizing::new)
                .map_err(|error| Fault::new("the channels' secrets cannot be written as JSON", error))?;
            let put = self
                .client
                .put_secret_value()
                .secret_id(&self.id)
                .secret_string(text.as_str())
                .version_stages(PENDING)
                .send()
                .await
                .map_err(|error| Fault::new("the channels' secrets cannot be written", error))?;
            put.version_id.ok_or(Fault::bare("Secrets Manager does not name the version that it has written"))
        }

        async fn promote(&self, version: &str, instead_of: Option<&str>) -> Result<(), Fault> {
            self.client
                .update_secret_version_stage()
                .secret_id(&self.id)
                .version_stage(CURRENT)
                .move_to_version_id(version)
                .set_remove_from_version_id(instead_of.map(str::to_owned))
                .send()
                .await
                .map(drop)
                .map_err(|error| Fault::new("the channels' secrets cannot be put in force", error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_settings_is_refused_and_not_quoted() {
        for text in ["", "hunter2", r#"{"slack": "hunter2"}"#] {
            assert!(!read(text).unwrap_err().chain().contains("hunter2"), "{text}");
        }
        assert_eq!(read("{}").unwrap(), ChannelSettings::default());
    }
}
