//! Making a request's token, and the keys to check one with.

use std::sync::Arc;

use placet_core::keys::{EpochNumber, Keyring};
use placet_core::policy::{Client, Policy};
use placet_core::request::Request;
use placet_core::token::{self, MintKey, TokenKind, VerifyKey};

use crate::authenticate::secrets_of;
use crate::{Error, Fault, Gate};

impl Gate {
    /// The token of a request that has ended.
    ///
    /// It is made anew each time, and comes out the same: nothing of it is stored. `epoch` is the one whose secret the
    /// reader holds; without a reader, the one that the asker signed with.
    pub async fn token(
        &self,
        request: &Request,
        policy: &Policy,
        epoch: Option<EpochNumber>,
    ) -> Result<Option<String>, Error> {
        let keyring = self.keyring_with(epoch.unwrap_or(request.asked.epoch)).await?;
        Ok(mint(request, policy, &keyring, epoch)?)
    }

    /// A keyring that knows that epoch, if there is one: another process may have rotated the keys a moment ago.
    ///
    /// What is signed under an older key than its reader expects would be refused there.
    pub(crate) async fn keyring_with(&self, epoch: EpochNumber) -> Result<Arc<Keyring>, Fault> {
        let keyring = self.keys.keyring().await?;
        if epoch > keyring.current.number { self.keys.refreshed().await } else { Ok(keyring) }
    }

    /// `kid` and public key of every valid epoch, the current one first: what the JWKS shows.
    pub async fn public_keys(&self) -> Result<Vec<(String, [u8; 32])>, Error> {
        // Read anew: somebody asks because a token names a key that they do not have.
        let keyring = self.keys.refreshed().await?;
        Ok(keyring
            .epochs()
            .map(|epoch| (epoch.kid(), epoch.signing_key().verifying_key().to_bytes()))
            .collect())
    }
}

pub(crate) fn mint(
    request: &Request,
    policy: &Policy,
    keyring: &Keyring,
    epoch: Option<EpochNumber>,
) -> Result<Option<String>, Fault> {
    let Some(claims) = request.claims() else { return Ok(None) };
    let wanted = match request.asked.token {
        TokenKind::Hs256 => epoch.unwrap_or(request.asked.epoch),
        TokenKind::EdDsa => request.asked.epoch,
    };
    let epoch = keyring.epoch(wanted).unwrap_or(&keyring.current);
    let token = match request.asked.token {
        TokenKind::Hs256 => {
            let generation = policy.client(&request.asked.client).map_or(1, |client| client.generation);
            let secret = epoch.client_secret(&request.asked.client, generation);
            token::mint(&claims, &MintKey::Hs256(&secret))
        }
        TokenKind::EdDsa => token::mint(&claims, &MintKey::EdDsa(&epoch.signing_key(), epoch.kid())),
    };
    token.map(Some).map_err(|error| Fault::new("a token could not be signed", error))
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
