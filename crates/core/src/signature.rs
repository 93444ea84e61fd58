//! How a client signs what it sends (DESIGN section 4, "Signing a request"), version 1.

use subtle::ConstantTimeEq;

use crate::Timestamp;
use crate::keys::{ClientSecret, hmac_sha256};
use crate::payload::{hex, sha256_hex};
use crate::refusal::Refusal;

/// How far a signed time may be from the gate's, in seconds, either way.
pub const MAX_SKEW_SECONDS: i64 = 300;

/// What is signed. The version line and the newlines keep two different requests from having one text.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Unix seconds, as the client claims.
    pub timestamp: i64,
    /// Upper-case method.
    pub method: &'a str,
    /// Path and query exactly as sent.
    pub path_and_query: &'a str,
    /// The raw body; empty for none.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// The value of `X-Signature`: `v1=<hex>`.
    pub fn sign(&self, secret: &ClientSecret) -> String {
        format!("v1={}", hex(&self.mac(secret, &sha256_hex(self.body))))
    }

    /// Checks the header's value against the secrets; returns which one signed.
    ///
    /// Several `v1=` values may be given, comma-separated: during a rotation a client signs with both secrets. Every
    /// candidate is compared, in constant time.
    pub fn verify(
        &self,
        unverified_header: &str,
        secrets: &[ClientSecret],
        now: Timestamp,
    ) -> Result<usize, Refusal> {
        let off_by_seconds = now.seconds().saturating_sub(self.timestamp);
        if off_by_seconds.saturating_abs() > MAX_SKEW_SECONDS {
            return Err(Refusal::ClockSkew { off_by_seconds });
        }
        let digest = sha256_hex(self.body);
        let mut signer = None;
        for (index, secret) in secrets.iter().enumerate() {
            let expected = hex(&self.mac(secret, &digest));
            // Four are enough for any rotation, and keep a long header from costing much.
            for value in unverified_header.split(',').take(4) {
                let hit: bool = value
                    .trim()
                    .strip_prefix("v1=")
                    .is_some_and(|hex| expected.as_bytes().ct_eq(hex.as_bytes()).into());
                if hit && signer.is_none() {
                    signer = Some(index);
                }
            }
        }
        signer.ok_or(Refusal::InvalidSignature)
    }

    fn mac(&self, secret: &ClientSecret, body_sha256: &str) -> [u8; 32] {
        hmac_sha256(
            secret.expose().as_bytes(),
            &[
                b"placet-v1\n",
                self.timestamp.to_string().as_bytes(),
                b"\n",
                self.method.as_bytes(),
                b"\n",
                self.path_and_query.as_bytes(),
                b"\n",
                body_sha256.as_bytes(),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::ClientId;
    use crate::keys::{Keyring, Secret};

    fn secrets() -> Vec<ClientSecret> {
        let ring = Keyring::first(Secret::new([1; 32]), Secret::new([2; 32]), Timestamp::from_millis(0));
        let client = ClientId::parse("n8n").unwrap();
        (1..=2).map(|generation| ring.current.client_secret(&client, generation)).collect()
    }

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_999);

    fn signed<'a>(path: &'a str, body: &'a [u8]) -> Signed<'a> {
        Signed { timestamp: 1_700_000_000, method: "POST", path_and_query: path, body }
    }

    #[test]
    fn the_signed_text_is_the_one_of_the_contract() {
        let secret = &secrets()[0];
        let text = format!("placet-v1\n1700000000\nPOST\n/v1/requests?a=b\n{}", sha256_hex(b"{}"));
        let expected = hmac_sha256(secret.expose().as_bytes(), &[text.as_bytes()]);
        assert_eq!(signed("/v1/requests?a=b", b"{}").sign(secret), format!("v1={}", hex(&expected)));
    }

    #[test]
    fn either_of_two_secrets_may_sign_and_the_gate_knows_which() {
        let secrets = secrets();
        let request = signed("/v1/requests", b"{}");
        let old = request.sign(&secrets[1]);
        assert_eq!(request.verify(&old, &secrets, NOW), Ok(1));
        let both = format!("v1=00, {old}");
        assert_eq!(request.verify(&both, &secrets, NOW), Ok(1));
        assert_eq!(request.verify(&old, &secrets[..1], NOW), Err(Refusal::InvalidSignature));
        assert_eq!(request.verify(&old.replace("v1=", "v2="), &secrets, NOW), Err(Refusal::InvalidSignature));
        assert_eq!(request.verify("", &secrets, NOW), Err(Refusal::InvalidSignature));
    }

    #[test]
    fn a_time_more_than_300_s_away_is_refused_either_way() {
        let secrets = secrets();
        let request = signed("/", b"");
        let signature = request.sign(&secrets[0]);
        for (shift, fine) in [(300, true), (-300, true), (301, false), (-301, false)] {
            let now = NOW.plus_millis(shift * 1000);
            assert_eq!(request.verify(&signature, &secrets, now).is_ok(), fine, "{shift}");
        }
        let absurd = Signed { timestamp: i64::MIN, ..request };
        assert!(matches!(absurd.verify(&signature, &secrets, NOW), Err(Refusal::ClockSkew { .. })));
    }

    proptest! {
        #[test]
        fn any_change_of_path_or_body_breaks_it(path in "/[a-z0-9/?=&]{0,30}", body: Vec<u8>, other in "/[a-z0-9/?=&]{0,30}", extra: u8) {
            let secrets = secrets();
            let signature = signed(&path, &body).sign(&secrets[0]);
            prop_assert_eq!(signed(&path, &body).verify(&signature, &secrets, NOW), Ok(0));
            if other != path {
                prop_assert!(signed(&other, &body).verify(&signature, &secrets, NOW).is_err());
            }
            let mut longer = body.clone();
            longer.push(extra);
            prop_assert!(signed(&path, &longer).verify(&signature, &secrets, NOW).is_err());
        }
    }
}
