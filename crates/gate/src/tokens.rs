//! Making a request's token, and the keys to check one with.

use std::sync::Arc;

use placet_core::keys::{EpochNumber, Keyring};
use placet_core::policy::{Client, ClientRole, Policy};
use placet_core::request::{ApprovalRequest, Request};
use placet_core::token::{self, Claims, MintKey, TokenKind, VerifyKey};

use crate::authenticate::{Caller, secrets_of};
use crate::{Error, Fault, Gate};

impl Gate {
    /// The token of a request that has ended, for the client that asked, or one of its executors; none for others.
    ///
    /// It is made anew each time, and comes out the same: nothing of it is stored. Under HS256 the asker's is made
    /// under the epoch whose secret it holds.
    pub async fn token(&self, request: &Request, caller: &Caller) -> Result<Option<String>, Error> {
        let asked = request.asked();
        if caller.client.id == asked.client {
            return self.token_of_epoch(request, &caller.policy, Some(caller.epoch)).await;
        }
        match caller.policy.client(&asked.client) {
            Some(client) if is_executor_of(&caller.client, client) => {
                self.token_of_epoch(request, &caller.policy, None).await
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The token as the client that asked gets it in a callback.
    pub async fn token_for_asker(&self, request: &Request, policy: &Policy) -> Result<Option<String>, Error> {
        self.token_of_epoch(request, policy, None).await
    }

    async fn token_of_epoch(
        &self,
        request: &Request,
        policy: &Policy,
        epoch: Option<EpochNumber>,
    ) -> Result<Option<String>, Error> {
        let Some(claims) = request.claims() else { return Ok(None) };
        let keyring = self.keyring_with(epoch.unwrap_or(request.asked().epoch)).await?;
        Ok(Some(mint(&claims, request.asked(), policy, &keyring, epoch)?))
    }

    /// A keyring that knows that epoch, if there is one: another process may have rotated the keys a moment ago.
    ///
    /// What is signed under an older key than its reader expects would be refused there.
    pub async fn keyring_with(&self, epoch: EpochNumber) -> Result<Arc<Keyring>, Fault> {
        let keyring = self.keys.keyring().await?;
        if epoch > keyring.current.number { self.keys.refreshed().await } else { Ok(keyring) }
    }

    /// `kid` and public key of every valid epoch, the current one first: what the JWKS shows.
    pub async fn public_keys(&self) -> Result<Vec<(String, [u8; 32])>, Error> {
        // Read anew: somebody asks because a token names a key that they do not have.
        let keyring = self.keys.refreshed().await?;
        Ok(keyring
            .epochs()
            .map(|epoch| (epoch.kid().to_owned(), epoch.signing_key().verifying_key().to_bytes()))
            .collect())
    }
}

/// Whether a client may verify and redeem the tokens of another.
pub(crate) fn is_executor_of(executor: &Client, asker: &Client) -> bool {
    executor.has(ClientRole::Executor) && asker.executors.contains(&executor.id)
}

/// Signs what a committed request's token says.
pub(crate) fn mint(
    claims: &Claims,
    asked: &ApprovalRequest,
    policy: &Policy,
    keyring: &Keyring,
    epoch: Option<EpochNumber>,
) -> Result<String, Fault> {
    let wanted = match asked.token {
        TokenKind::Hs256 => epoch.unwrap_or(asked.epoch),
        TokenKind::EdDsa => asked.epoch,
    };
    let epoch = keyring.epoch(wanted).unwrap_or(&keyring.current);
    let token = match asked.token {
        TokenKind::Hs256 => {
            let generation = policy.client(&asked.client).map_or(1, |client| client.generation);
            let secret = epoch.client_secret(&asked.client, generation);
            token::mint(claims, &MintKey::Hs256(&secret))
        }
        TokenKind::EdDsa => token::mint(claims, &MintKey::EdDsa(epoch.signing_key(), epoch.kid())),
    };
    token.map_err(|error| Fault::new("a token could not be signed", error))
}

/// The keys that a client's tokens are checked with: of the kind that the policy says, and of no other.
pub(crate) fn verify_keys(client: &Client, keyring: &Keyring) -> Vec<VerifyKey> {
    match client.token {
        TokenKind::Hs256 => secrets_of(client, keyring).into_iter().map(VerifyKey::Hs256).collect(),
        TokenKind::EdDsa => {
            keyring.epochs().map(|epoch| VerifyKey::EdDsa(epoch.signing_key().verifying_key())).collect()
        }
    }
}
