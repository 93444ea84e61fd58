//! Who is calling: a signature or a bearer key, checked against the policy and both epochs.

use std::sync::Arc;

use placet_core::id::ClientId;
use placet_core::keys::{ClientSecret, EpochNumber, Keyring};
use placet_core::policy::{Client, ClientRole, Policy};
use placet_core::refusal::Refusal;
use placet_core::signature::Signed;

use crate::{Error, Gate};

/// What a caller sent to say who it is. None of it is verified.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// The three headers of a signed request.
    Signature {
        /// `X-Placet-Client`.
        client: &'a str,
        /// `X-Placet-Timestamp`.
        timestamp: &'a str,
        /// `X-Signature`.
        signature: &'a str,
        /// Method.
        method: &'a str,
        /// Path and query as sent.
        path_and_query: &'a str,
        /// The raw body.
        body: &'a [u8],
    },
    /// `<client id>.<secret>`.
    Bearer(&'a str),
    /// Nothing, or half of it.
    None,
}

/// A client that proved who it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client, as the policy has it.
    pub client: Client,
    /// The epoch whose secret it holds.
    pub epoch: EpochNumber,
    /// The policy that was in force when it called.
    pub policy: Arc<Policy>,
}

impl Caller {
    /// Refuses a client that lacks the role.
    pub fn must_be(&self, role: ClientRole) -> Result<(), Refusal> {
        if self.client.has(role) {
            return Ok(());
        }
        Err(Refusal::Forbidden(match role {
            ClientRole::Requester => "this needs a client with the role `requester`",
            ClientRole::Executor => "this needs a client with the role `executor`",
            ClientRole::Decider => "this needs a client with the role `decider`",
            ClientRole::Auditor => "this needs a client with the role `auditor`",
        }))
    }

    /// Refuses a client that no event is for.
    pub fn may_subscribe(&self) -> Result<(), Refusal> {
        if self.client.has(ClientRole::Requester) || self.client.has(ClientRole::Auditor) {
            return Ok(());
        }
        Err(Refusal::Forbidden("this needs a client with the role `requester` or `auditor`"))
    }
}

impl Gate {
    /// Finds out who is calling.
    ///
    /// Refuses with `invalid_signature`, `unknown_client`, `clock_skew`, `forbidden` or `no_policy`.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Error> {
        let policy = self.policy().await?;
        let (client, epoch) = self.identify(&policy, credentials).await?;
        if epoch != self.keys.keyring().await?.current.number {
            self.saw_old_secret(&client.id, epoch).await;
        }
        Ok(Caller { client, epoch, policy })
    }

    async fn identify(
        &self,
        policy: &Policy,
        credentials: Credentials<'_>,
    ) -> Result<(Client, EpochNumber), Error> {
        let unverified_id = match credentials {
            Credentials::Signature { client, .. } => client,
            Credentials::Bearer(key) => key.split_once('.').ok_or(Refusal::InvalidSignature)?.0,
            Credentials::None => return Err(Refusal::InvalidSignature.into()),
        };
        let id = ClientId::parse(unverified_id).map_err(|_| Refusal::UnknownClient)?;
        let client = policy.client(&id).ok_or(Refusal::UnknownClient)?;
        let mut keyring = self.keys.keyring().await?;
        let mut result = self.signer_of(client, &keyring, credentials);
        if matches!(result, Err(Refusal::InvalidSignature)) {
            // The keys may have been rotated by another process a moment ago.
            let fresh = self.keys.refreshed().await?;
            if fresh.current.number != keyring.current.number {
                keyring = fresh;
                result = self.signer_of(client, &keyring, credentials);
            }
        }
        // A scanner without a key is no attack on keys: only who claims to be a known client counts.
        if matches!(result, Err(Refusal::InvalidSignature)) {
            self.saw_bad_signature(&client.id, self.clock.now()).await;
        }
        Ok((client.clone(), result?))
    }

    fn signer_of(
        &self,
        client: &Client,
        keyring: &Keyring,
        credentials: Credentials<'_>,
    ) -> Result<EpochNumber, Refusal> {
        let secrets = secrets_of(client, keyring);
        let signer = match credentials {
            Credentials::Signature { timestamp, signature, method, path_and_query, body, .. } => {
                let timestamp = timestamp.parse().map_err(|_| Refusal::InvalidSignature)?;
                let now = self.clock.now();
                let verify = |path_and_query| {
                    Signed { timestamp, method, path_and_query, body }.verify(signature, &secrets, now)
                };
                match (verify(path_and_query), with_encoded_colons(path_and_query)) {
                    (Err(Refusal::InvalidSignature), Some(encoded)) => verify(&encoded)?,
                    (result, _) => result?,
                }
            }
            Credentials::Bearer(key) => {
                let (_, secret) = key.split_once('.').ok_or(Refusal::InvalidSignature)?;
                let matches: Vec<bool> = secrets.iter().map(|known| known.matches(secret)).collect();
                let signer = matches.iter().position(|hit| *hit).ok_or(Refusal::InvalidSignature)?;
                if !client.bearer {
                    return Err(Refusal::Forbidden(
                        "this client must sign its requests; `bearer = true` in its policy entry would allow a key",
                    ));
                }
                signer
            }
            Credentials::None => return Err(Refusal::InvalidSignature),
        };
        keyring.epochs().nth(signer).map(|epoch| epoch.number).ok_or(Refusal::InvalidSignature)
    }
}

/// The other way in which a client may have written the path that it signed: `run%3A17` for `run:17`.
///
/// API Gateway hands on a path decoded, whatever was sent. Of what an id may hold, only the colon is ever encoded
/// (`encodeURIComponent` and its kin do it), and both spellings name the same request. The query comes as it was sent.
fn with_encoded_colons(path_and_query: &str) -> Option<String> {
    let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    path.contains(':').then(|| path.replace(':', "%3A") + query)
}

/// A client's valid secrets, the current epoch's first.
pub fn secrets_of(client: &Client, keyring: &Keyring) -> Vec<ClientSecret> {
    keyring.epochs().map(|epoch| epoch.client_secret(&client.id, client.generation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colons_of_the_path_have_another_spelling() {
        let other = |text| with_encoded_colons(text);
        assert_eq!(other("/v1/requests/run:17:a").as_deref(), Some("/v1/requests/run%3A17%3Aa"));
        assert_eq!(other("/v1/requests/a:b?cursor=x:y").as_deref(), Some("/v1/requests/a%3Ab?cursor=x:y"));
        assert_eq!(other("/v1/requests/a?cursor=x:y"), None);
        assert_eq!(other("/v1/requests/a%3Ab"), None);
    }
}
