//! Checking a token against keys and record, and using it once.

use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_core::policy::Client;
use placet_core::refusal::Refusal;
use placet_core::request::Request;
use placet_core::token::{self, Claims, Expected, TokenProblem};

use crate::authenticate::Caller;
use crate::commit::Step;
use crate::tokens::{is_executor_of, verify_keys};
use crate::{Error, Gate};

/// What the gate says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What is wrong with it, if anything.
    pub problem: Option<TokenProblem>,
    /// What it says, once its signature is known to be good.
    pub claims: Option<Claims>,
}

/// What redeeming came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// Whether this was the first time.
    pub first: bool,
    /// What the token says.
    pub claims: Claims,
}

impl Gate {
    /// Checks a token: signature, audience, time, payload, outcome, and that the gate's own record says the same.
    ///
    /// With HS256 the client could sign a token itself; the record tells.
    pub async fn verify_token(
        &self,
        caller: &Caller,
        unverified: &str,
        payload_sha256: Option<&str>,
    ) -> Result<Verified, Error> {
        let claims = match self.read_token(caller, unverified).await? {
            Ok(claims) => claims,
            Err(problem) => return Ok(Verified { problem: Some(problem), claims: None }),
        };
        let problem = match self.record_of(&claims).await? {
            Some(request) => self.check(caller, &request.asked().issuer, &claims, payload_sha256).err(),
            // Well signed, but not by this gate for what it decided. What is plainly wrong with it is said first.
            None => match self.check(caller, &self.base_url(&caller.policy), &claims, None) {
                Err(
                    problem @ (TokenProblem::WrongAudience
                    | TokenProblem::WrongIssuer
                    | TokenProblem::NotYetValid
                    | TokenProblem::Expired),
                ) => Some(problem),
                Ok(()) | Err(_) => Some(TokenProblem::UnknownApproval),
            },
        };
        Ok(Verified { problem, claims: Some(claims) })
    }

    /// Uses a token. The same `redeemed_by` again finds that it was first; another one is refused.
    pub async fn redeem_token(
        &self,
        caller: &Caller,
        unverified: &str,
        payload_sha256: Option<&str>,
        redeemed_by: &str,
    ) -> Result<Redeemed, Error> {
        let claims = match self.read_token(caller, unverified).await? {
            Ok(claims) => claims,
            Err(problem) => {
                if problem == TokenProblem::WrongAudience {
                    self.note_foreign_token(caller, unverified, redeemed_by).await;
                }
                return Err(refusal(problem).into());
            }
        };
        let request = self.record_of(&claims).await?.ok_or_else(|| refusal(TokenProblem::UnknownApproval))?;
        let redeemed =
            self.redeem_loaded(caller, request.clone(), &claims, payload_sha256, redeemed_by).await;
        if let Err(Error::Refused(why)) = &redeemed {
            self.note_refused_token(caller, &request, redeemed_by, why.code(), &why.to_string()).await;
        }
        Ok(Redeemed { first: redeemed?, claims })
    }

    /// Whether it was the first use.
    async fn redeem_loaded(
        &self,
        caller: &Caller,
        request: Request,
        claims: &Claims,
        payload_sha256: Option<&str>,
        redeemed_by: &str,
    ) -> Result<bool, Error> {
        match self.check(caller, &request.asked().issuer, claims, payload_sha256) {
            // A retry after the token's time still learns that it was the one.
            Ok(()) | Err(TokenProblem::Expired) => {}
            Err(problem) => return Err(refusal(problem).into()),
        }
        let (_, first) = self
            .change_loaded(request, &caller.policy, |request, _, now| {
                Ok(match request.redeem(redeemed_by, &caller.client.id, now)? {
                    Some(change) => Step::Write(Box::new(change)),
                    None => Step::Leave,
                })
            })
            .await?;
        Ok(first)
    }

    /// Notes that a client wanted to use another's token, if it is a true one: then somebody has it who should not.
    async fn note_foreign_token(&self, caller: &Caller, unverified: &str, redeemed_by: &str) {
        match self.foreign_request(caller, unverified).await {
            Ok(Some(request)) => {
                let why = "it is the token of another client, whose executor this one is not";
                self.note_refused_token(caller, &request, redeemed_by, "wrong_audience", why).await;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(
                    error = error.chain(),
                    "whose token a client wanted to use could not be read"
                );
            }
        }
    }

    /// The request that another client's token is of.
    async fn foreign_request(&self, caller: &Caller, unverified: &str) -> Result<Option<Request>, Error> {
        let asker = token::unverified_audience(unverified).and_then(|aud| ClientId::parse(&aud).ok());
        let Some(asker) = asker.and_then(|id| caller.policy.client(&id)) else { return Ok(None) };
        match self.read_as(asker, unverified).await? {
            Ok(claims) => self.record_of(&claims).await,
            Err(_) => Ok(None),
        }
    }

    /// Reads a token with the keys of the client that it is for.
    async fn read_token(
        &self,
        caller: &Caller,
        unverified: &str,
    ) -> Result<Result<Claims, TokenProblem>, Error> {
        match audience(caller, unverified) {
            Some(asker) => self.read_as(asker, unverified).await,
            None => Ok(Err(TokenProblem::WrongAudience)),
        }
    }

    /// Reads a token with that client's keys.
    async fn read_as(&self, asker: &Client, unverified: &str) -> Result<Result<Claims, TokenProblem>, Error> {
        let keyring = self.keys.keyring().await?;
        let read = token::read(unverified, &verify_keys(asker, &keyring));
        if read == Err(TokenProblem::InvalidSignature) {
            let fresh = self.keys.refreshed().await?;
            if fresh.current.number != keyring.current.number {
                return Ok(token::read(unverified, &verify_keys(asker, &fresh)));
            }
        }
        Ok(read)
    }

    /// The request that the claims name, if its record says exactly the same.
    async fn record_of(&self, claims: &Claims) -> Result<Option<Request>, Error> {
        let (Ok(client), Ok(request_id)) = (ClientId::parse(&claims.aud), RequestId::parse(&claims.sub))
        else {
            return Ok(None);
        };
        let request = self.store.load(RequestKey::of(&client, &request_id)).await?;
        Ok(request.filter(|request| request.claims().as_ref() == Some(claims)))
    }

    fn check(
        &self,
        caller: &Caller,
        issuer: &str,
        claims: &Claims,
        payload_sha256: Option<&str>,
    ) -> Result<(), TokenProblem> {
        claims.check(&Expected {
            issuer: Some(issuer),
            audience: audience_of(caller, claims),
            payload_sha256,
            now: self.clock.now(),
        })
    }
}

/// Whose token this claims to be, as far as the caller may use it: its own, or one that it is an executor of.
///
/// A token that is nobody's is looked at with the caller's own keys, so that what is said of it is about the token.
fn audience<'c>(caller: &'c Caller, unverified: &str) -> Option<&'c Client> {
    match token::unverified_audience(unverified) {
        Some(aud) if aud != caller.client.id.as_str() => {
            let asker = caller.policy.client(&ClientId::parse(&aud).ok()?)?;
            is_executor_of(&caller.client, asker).then_some(asker)
        }
        Some(_) | None => Some(&caller.client),
    }
}

/// The audience that a token must have: the asking client, where the caller may use its tokens.
fn audience_of<'c>(caller: &'c Caller, claims: &'c Claims) -> &'c str {
    let is_executor = ClientId::parse(&claims.aud)
        .ok()
        .and_then(|aud| caller.policy.client(&aud))
        .is_some_and(|asker| is_executor_of(&caller.client, asker));
    if is_executor { &claims.aud } else { caller.client.id.as_str() }
}

/// A problem with a token as a refusal to redeem it.
fn refusal(problem: TokenProblem) -> Refusal {
    match problem {
        TokenProblem::NotApproved => Refusal::NotApproved,
        TokenProblem::PayloadMismatch => Refusal::PayloadMismatch,
        TokenProblem::Expired => Refusal::TokenExpired,
        TokenProblem::Malformed
        | TokenProblem::WrongAlgorithm
        | TokenProblem::InvalidSignature
        | TokenProblem::WrongIssuer
        | TokenProblem::WrongAudience
        | TokenProblem::NotYetValid
        | TokenProblem::UnknownApproval => Refusal::field("token", format!("cannot be used: {problem}")),
    }
}
