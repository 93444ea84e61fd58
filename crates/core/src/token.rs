//! The decision token: a JWT (RFC 7519) that says exactly what was approved.
//!
//! The algorithm belongs to the key that is held, never to what the token's header says.

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::Timestamp;
use crate::keys::{ClientSecret, hmac_sha256, thumbprint};
use crate::payload::{parse_strict, sha256_hex};

/// `typ` of the header, so that no other JWT of the same key is taken for a decision (RFC 8725, section 3.11).
pub const TYPE: &str = "placet+jwt";

/// Longest token that is looked at, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// Which algorithm a client's tokens are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenKind {
    /// HMAC with the client's own secret: asker and executor are one program, which could also mint.
    #[serde(rename = "HS256")]
    Hs256,
    /// Ed25519 with the gate's key, published in the JWKS: whoever holds a token cannot mint one.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The gate.
    pub iss: String,
    /// The client's `request_id`.
    pub sub: String,
    /// The client that asked.
    pub aud: String,
    /// The `approval_id`.
    pub jti: String,
    /// When it was decided, in Unix seconds.
    pub iat: i64,
    /// Until when it may be acted on, in Unix seconds.
    pub exp: i64,
    /// From when on it may be acted on, in Unix seconds. The gate sets none, and believes one that is there.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// `approved`, `rejected`, `expired` or `cancelled`.
    pub status: String,
    /// True only for `approved`.
    pub approved: bool,
    /// The action that was asked for.
    pub action: String,
    /// Lower-case hex SHA-256 of the payload's canonical JSON (RFC 8785).
    pub payload_sha256: String,
    /// Reviewer ids, or `policy:<rule>`, `timeout:<rule>`, `client:<id>`.
    pub decided_by: Vec<String>,
    /// The rule that applied; absent when none matched.
    pub rule: Option<String>,
    /// Version of the policy that the rule is from. Every token names one.
    pub policy: u32,
}

/// A value that must be one if it is there: `null` is not.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Why a token is not good for what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// Not a JWT of this type.
    #[error("this is not a placet token")]
    Malformed,
    /// Another algorithm than the key's.
    #[error("the token names another algorithm than the one of the client's key")]
    WrongAlgorithm,
    /// No valid key signed it.
    #[error("no valid key of the client signed this token")]
    InvalidSignature,
    /// Of another gate.
    #[error("the token is of another gate")]
    WrongIssuer,
    /// For another client.
    #[error("the token is for another client")]
    WrongAudience,
    /// Too early.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Too late.
    #[error("the approval was valid for a limited time, and that is over")]
    Expired,
    /// Approved was something else.
    #[error("the payload is not the one that was approved")]
    PayloadMismatch,
    /// It proves that the request was not approved.
    #[error("the request was not approved")]
    NotApproved,
    /// Well signed, but the gate's own record says otherwise.
    #[error("the gate has no record of this decision")]
    UnknownApproval,
}

impl TokenProblem {
    /// The stable code of the contract.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::InvalidSignature => "invalid_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Expired => "token_expired",
            Self::PayloadMismatch => "payload_mismatch",
            Self::NotApproved => "not_approved",
            Self::UnknownApproval => "unknown_approval",
        }
    }
}

/// What a token is signed with.
pub enum MintKey<'a> {
    /// The client's secret.
    Hs256(&'a ClientSecret),
    /// The epoch's signing key and its `kid`.
    EdDsa(&'a SigningKey, &'a str),
}

/// What a token is checked with.
#[derive(Clone)]
pub enum VerifyKey {
    /// The client's secret.
    Hs256(ClientSecret),
    /// A public key of the JWKS.
    EdDsa(VerifyingKey),
}

/// The header of a token.
#[derive(Serialize)]
struct JoseHeader<'a> {
    typ: &'static str,
    alg: TokenKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

/// Signs the claims. The same claims and key always make the same token.
///
/// `jsonwebtoken` would derive the public key of an Ed25519 key anew for each token, which takes as long as to sign.
pub fn mint(claims: &Claims, key: &MintKey<'_>) -> Result<String, serde_json::Error> {
    match key {
        MintKey::Hs256(secret) => {
            let header = JoseHeader { typ: TYPE, alg: TokenKind::Hs256, kid: None };
            compact(&header, claims, |message| hmac_sha256(secret.expose().as_bytes(), &[message]))
        }
        MintKey::EdDsa(signing, kid) => {
            let header = JoseHeader { typ: TYPE, alg: TokenKind::EdDsa, kid: Some(kid) };
            compact(&header, claims, |message| ed25519_dalek::Signer::sign(*signing, message).to_bytes())
        }
    }
}

/// The compact serialization (RFC 7515, section 3.1): header, claims and signature, each in base64url.
fn compact<const N: usize>(
    header: &impl Serialize,
    claims: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> [u8; N],
) -> Result<String, serde_json::Error> {
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
    let signature = sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The `aud` that a token claims to have. Nothing is checked: only for choosing the keys to check it with.
pub fn unverified_audience(unverified: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Audience {
        aud: String,
    }
    let claims = unverified.split('.').nth(1).filter(|part| part.len() <= MAX_BYTES)?;
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).ok()?;
    serde_json::from_slice::<Audience>(&claims).ok().map(|claims| claims.aud)
}

/// Reads a token that one of the keys signed. Time, audience and payload are not looked at yet.
pub fn read(unverified: &str, keys: &[VerifyKey]) -> Result<Claims, TokenProblem> {
    install_crypto();
    if unverified.len() > MAX_BYTES {
        return Err(TokenProblem::Malformed);
    }
    let mut parts = unverified.split('.');
    let (Some(head), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenProblem::Malformed);
    };
    let head = read_part(head).ok_or(TokenProblem::Malformed)?;
    if FORBIDDEN_PARAMETERS.iter().any(|name| head.contains_key(*name)) {
        return Err(TokenProblem::Malformed);
    }
    let header = jsonwebtoken::decode_header(unverified).map_err(|_| TokenProblem::Malformed)?;
    if header.typ.as_deref() != Some(TYPE) {
        return Err(TokenProblem::Malformed);
    }
    let mut problem = TokenProblem::WrongAlgorithm;
    for held in keys {
        let (algorithm, key) = match held {
            VerifyKey::Hs256(secret) => {
                (Algorithm::HS256, DecodingKey::from_secret(secret.expose().as_bytes()))
            }
            VerifyKey::EdDsa(public) => (Algorithm::EdDSA, DecodingKey::from_ed_der(public.as_bytes())),
        };
        if header.alg != algorithm {
            continue;
        }
        if !names(header.kid.as_deref(), held) {
            problem = TokenProblem::InvalidSignature;
            continue;
        }
        let mut validation = Validation::new(algorithm);
        // Time and audience are checked by `Claims::check`, against a time that is passed in.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        match jsonwebtoken::decode::<Claims>(unverified, &key, &validation) {
            // What names a claim twice could say another thing to the next reader, whoever signed it.
            Ok(_) if read_part(claims).is_none() => return Err(TokenProblem::Malformed),
            Ok(token) => return Ok(token.claims),
            Err(error) => {
                problem = match error.kind() {
                    ErrorKind::InvalidSignature => TokenProblem::InvalidSignature,
                    _ => TokenProblem::Malformed,
                }
            }
        }
        if problem == TokenProblem::Malformed {
            return Err(problem);
        }
    }
    Err(problem)
}

/// Header parameters that would change how the rest is to be understood: `crit` names extensions, and none is known here
/// (RFC 7515, section 4.1.11); `b64` turns off base64, which a JWT must not (RFC 7797, section 7).
const FORBIDDEN_PARAMETERS: [&str; 2] = ["crit", "b64"];

/// One of the first two parts: base64url in its only spelling, of a JSON object that names no key twice.
fn read_part(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    match parse_strict(&bytes) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a token that names its key may mean this one. Secrets have no names.
fn names(kid: Option<&str>, key: &VerifyKey) -> bool {
    match key {
        VerifyKey::Hs256(_) => true,
        VerifyKey::EdDsa(public) => kid.is_none_or(|kid| kid == thumbprint(public)),
    }
}

/// What the holder of a token expects it to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The gate's name; `None` where it cannot be known (offline, without a policy).
    pub issuer: Option<&'a str>,
    /// The client that asked.
    pub audience: &'a str,
    /// Digest of the payload that is about to be used, if it is at hand.
    pub payload_sha256: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

impl Claims {
    /// Checks audience, issuer, payload, outcome and time, in that order.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), TokenProblem> {
        if self.aud != expected.audience {
            return Err(TokenProblem::WrongAudience);
        }
        if expected.issuer.is_some_and(|issuer| issuer != self.iss) {
            return Err(TokenProblem::WrongIssuer);
        }
        if expected
            .payload_sha256
            .is_some_and(|digest| !bool::from(digest.as_bytes().ct_eq(self.payload_sha256.as_bytes())))
        {
            return Err(TokenProblem::PayloadMismatch);
        }
        if !self.approved || self.status != "approved" {
            return Err(TokenProblem::NotApproved);
        }
        if self.nbf.is_some_and(|from| expected.now.seconds() < from) {
            return Err(TokenProblem::NotYetValid);
        }
        // Last: whoever may overlook the time, as a retry of a redemption does, overlooks nothing else.
        if expected.now.seconds() >= self.exp {
            return Err(TokenProblem::Expired);
        }
        Ok(())
    }
}

/// Hex SHA-256 of a token: what the audit trail keeps of it.
pub fn token_hash(token: &str) -> String {
    sha256_hex(token.as_bytes())
}

// `jsonwebtoken` brings RSA and the NIST curves with its own providers; this one checks just the two algorithms of the
// contract, over the crates that the rest of this crate uses. It signs nothing: see `mint`.
static CRYPTO: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(key.try_get_as_bytes()?.to_vec()))),
        Algorithm::EdDSA => {
            let bytes = key.try_get_as_bytes()?.try_into().map_err(|_| ErrorKind::InvalidEddsaKey)?;
            let public = VerifyingKey::from_bytes(bytes).map_err(|_| ErrorKind::InvalidEddsaKey)?;
            Ok(Box::new(EdDsaVerifier(public)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn install_crypto() {
    static ONCE: Once = Once::new();
    // Another provider in the same process would have been installed first on purpose; it must do the same maths.
    ONCE.call_once(|| {
        let _ = CRYPTO.install_default();
    });
}

struct Hs256(Vec<u8>);

impl signature::Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], unverified: &Vec<u8>) -> Result<(), signature::Error> {
        if hmac_sha256(&self.0, &[message]).ct_eq(unverified.as_slice()).into() {
            Ok(())
        } else {
            Err(signature::Error::new())
        }
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct EdDsaVerifier(VerifyingKey);

impl signature::Verifier<Vec<u8>> for EdDsaVerifier {
    fn verify(&self, message: &[u8], unverified: &Vec<u8>) -> Result<(), signature::Error> {
        let signature =
            ed25519_dalek::Signature::from_slice(unverified).map_err(|_| signature::Error::new())?;
        // Strict: no malleable signatures and no small-order keys.
        self.0.verify_strict(message, &signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for EdDsaVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests;
