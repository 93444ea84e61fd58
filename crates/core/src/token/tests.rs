//! What a token is believed of, and by which key.

use proptest::prelude::*;

use super::*;
use crate::id::ClientId;
use crate::keys::{Keyring, Secret};

fn ring() -> Keyring {
    Keyring::first(Secret::new([1; 32]), Secret::new([2; 32]), Timestamp::from_millis(0))
}

fn secret(generation: u32) -> ClientSecret {
    ring().current.client_secret(&ClientId::parse("n8n").unwrap(), generation)
}

fn claims() -> Claims {
    Claims {
        iss: "https://gate.example.com".into(),
        sub: "r1".into(),
        aud: "n8n".into(),
        jti: "01JDE6Y5G0000000000000000Z".into(),
        iat: 1_700_000_000,
        exp: 1_700_003_600,
        status: "approved".into(),
        approved: true,
        action: "payment.send".into(),
        payload_sha256: sha256_hex(b"{}"),
        decided_by: vec!["bob".into()],
        rule: Some("payments".into()),
        policy: 7,
        nbf: None,
    }
}

fn expected() -> Expected<'static> {
    Expected {
        issuer: Some("https://gate.example.com"),
        audience: "n8n",
        payload_sha256: None,
        now: Timestamp::from_millis(1_700_000_000_000),
    }
}

/// Any header and claims under that HMAC key.
fn hs256(header: &impl Serialize, claims: &impl Serialize, key: &[u8]) -> String {
    compact(header, claims, |message| hmac_sha256(key, &[message])).unwrap()
}

#[test]
fn both_kinds_are_read_back_by_their_own_key_only() {
    let (ring, secret) = (ring(), secret(1));
    let signing = ring.current.signing_key();
    let hs = mint(&claims(), &MintKey::Hs256(&secret)).unwrap();
    let ed = mint(&claims(), &MintKey::EdDsa(signing, ring.current.kid())).unwrap();
    let hs_key = VerifyKey::Hs256(secret);
    let ed_key = VerifyKey::EdDsa(signing.verifying_key());
    assert_eq!(read(&hs, std::slice::from_ref(&hs_key)), Ok(claims()));
    assert_eq!(read(&ed, std::slice::from_ref(&ed_key)), Ok(claims()));
    assert_eq!(read(&hs, &[ed_key]), Err(TokenProblem::WrongAlgorithm));
    assert_eq!(read(&ed, &[hs_key]), Err(TokenProblem::WrongAlgorithm));
    assert_eq!(read(&hs, &[VerifyKey::Hs256(self::secret(2))]), Err(TokenProblem::InvalidSignature));
    // While a secret rotates there are two, and the token is of either.
    let both = [VerifyKey::Hs256(self::secret(2)), VerifyKey::Hs256(self::secret(1))];
    assert_eq!(read(&hs, &both), Ok(claims()));
}

#[test]
fn a_token_that_names_the_gates_key_is_believed_only_with_that_keys_signature() {
    let (ring, stranger) = (ring(), SigningKey::from_bytes(&[9; 32]));
    let (signing, kid) = (ring.current.signing_key(), ring.current.kid());
    let keys = [VerifyKey::EdDsa(signing.verifying_key())];
    let signed = |key: &SigningKey, kid: Option<&str>| {
        let header = JoseHeader { typ: TYPE, alg: TokenKind::EdDsa, kid };
        compact(&header, &claims(), |message| ed25519_dalek::Signer::sign(key, message).to_bytes()).unwrap()
    };
    assert_eq!(mint(&claims(), &MintKey::EdDsa(signing, kid)).unwrap(), signed(signing, Some(kid)));
    for (key, named, result) in [
        (signing, Some(kid), Ok(claims())),
        (signing, None, Ok(claims())),
        (signing, Some("another"), Err(TokenProblem::InvalidSignature)),
        (&stranger, Some(kid), Err(TokenProblem::InvalidSignature)),
        (&stranger, None, Err(TokenProblem::InvalidSignature)),
    ] {
        assert_eq!(read(&signed(key, named), &keys), result, "{named:?}");
    }
}

#[test]
fn a_token_of_16_kib_is_read_and_a_longer_one_is_not() {
    let secret = secret(1);
    let sign = |cty: &str, claims: &Claims| {
        hs256(
            &serde_json::json!({"typ": TYPE, "cty": cty, "alg": "HS256"}),
            claims,
            secret.expose().as_bytes(),
        )
    };
    let mut lengths = std::collections::BTreeSet::new();
    // Base64 has no text of some lengths; with headers of three lengths, all of them come up.
    for cty in ["", "x", "xx"] {
        let room = (16_384 - sign(cty, &claims()).len()) * 3 / 4;
        for more in room - 4..room + 8 {
            let long = Claims { action: claims().action + &"x".repeat(more), ..claims() };
            let token = sign(cty, &long);
            lengths.insert(token.len());
            let expected = if token.len() <= 16_384 { Ok(long) } else { Err(TokenProblem::Malformed) };
            assert_eq!(read(&token, &[VerifyKey::Hs256(secret.clone())]), expected, "{}", token.len());
        }
    }
    assert!(lengths.contains(&16_384) && lengths.contains(&16_385), "{lengths:?}");
}

#[test]
fn the_audience_is_read_from_any_token_of_a_sensible_size() {
    let token = |audience: &str| {
        mint(&Claims { aud: audience.into(), ..claims() }, &MintKey::Hs256(&secret(1))).unwrap()
    };
    assert_eq!(unverified_audience(&token("n8n")).as_deref(), Some("n8n"));
    let without = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"sub":"r1"}"#));
    for bad in ["", "a", "a.b", "a.b.c", "..", &without] {
        assert_eq!(unverified_audience(bad), None, "{bad}");
    }
    let claims_of = |bytes: usize| {
        let text =
            format!(r#"{{"aud":"n8n","x":"{}"}}"#, "x".repeat(bytes - r#"{"aud":"n8n","x":""}"#.len()));
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(text))
    };
    // 12,288 bytes are 16,384 characters of base64.
    assert_eq!(unverified_audience(&claims_of(12_288)).as_deref(), Some("n8n"));
    assert_eq!(unverified_audience(&claims_of(12_289)), None);
}

#[test]
fn the_trail_keeps_the_sha_256_of_a_token() {
    // FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(token_hash("abc"), expected);
}

#[test]
fn a_token_that_is_signed_with_the_public_key_is_not_believed() {
    // The classic confusion: HS256 keyed with the bytes of the published Ed25519 key.
    let public = ring().current.signing_key().verifying_key();
    let header = JoseHeader { typ: TYPE, alg: TokenKind::Hs256, kid: None };
    let forged = hs256(&header, &claims(), public.as_bytes());
    assert_eq!(read(&forged, &[VerifyKey::EdDsa(public)]), Err(TokenProblem::WrongAlgorithm));
}

#[test]
fn each_expectation_that_fails_is_named() {
    let ok = expected();
    let digest = sha256_hex(b"{}");
    let other = sha256_hex(b"{\"a\":1}");
    let rows = [
        (Expected { payload_sha256: Some(&digest), ..ok }, Ok(())),
        (Expected { payload_sha256: Some(&other), ..ok }, Err(TokenProblem::PayloadMismatch)),
        (Expected { audience: "zapier", ..ok }, Err(TokenProblem::WrongAudience)),
        (Expected { issuer: Some("https://evil.example"), ..ok }, Err(TokenProblem::WrongIssuer)),
        (Expected { now: Timestamp::from_millis(1_700_003_599_999), ..ok }, Ok(())),
        (Expected { now: Timestamp::from_millis(1_700_003_600_000), ..ok }, Err(TokenProblem::Expired)),
    ];
    for (expected, result) in rows {
        assert_eq!(claims().check(&expected), result, "{expected:?}");
    }
    for (nbf, result) in [(1_700_000_000, Ok(())), (1_700_000_001, Err(TokenProblem::NotYetValid))] {
        assert_eq!(Claims { nbf: Some(nbf), ..claims() }.check(&ok), result, "{nbf}");
    }
    let rejected = Claims { approved: false, status: "rejected".into(), ..claims() };
    assert_eq!(rejected.check(&ok), Err(TokenProblem::NotApproved));
    // Claims that contradict each other approve nothing.
    for claims in [Claims { approved: false, ..claims() }, Claims { status: "rejected".into(), ..claims() }] {
        assert_eq!(claims.check(&ok), Err(TokenProblem::NotApproved), "{claims:?}");
    }
}

#[test]
fn a_token_that_names_no_policy_version_or_a_null_is_none_of_ours() {
    let secret = secret(1);
    let header = JoseHeader { typ: TYPE, alg: TokenKind::Hs256, kid: None };
    let sign = |claims: &Value| hs256(&header, claims, secret.expose().as_bytes());
    let mut told = serde_json::to_value(claims()).unwrap();
    assert_eq!(read(&sign(&told), &[VerifyKey::Hs256(secret.clone())]), Ok(claims()));
    // A claim that may be left out is a number where it is there.
    for (nbf, result) in [
        (Value::from(1_700_000_000), Ok(Claims { nbf: Some(1_700_000_000), ..claims() })),
        (Value::Null, Err(TokenProblem::Malformed)),
    ] {
        let mut told = told.clone();
        told.as_object_mut().unwrap().insert("nbf".into(), nbf.clone());
        assert_eq!(read(&sign(&told), &[VerifyKey::Hs256(secret.clone())]), result, "{nbf}");
    }
    told.as_object_mut().unwrap().remove("policy");
    assert_eq!(read(&sign(&told), &[VerifyKey::Hs256(secret.clone())]), Err(TokenProblem::Malformed));
}

proptest! {
    #[test]
    fn any_changed_character_breaks_the_token(at: prop::sample::Index, with in "[A-Za-z0-9_.-]") {
        let secret = secret(1);
        let token = mint(&claims(), &MintKey::Hs256(&secret)).unwrap();
        let index = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(index..=index, &with);
        prop_assume!(changed != token);
        prop_assert!(read(&changed, &[VerifyKey::Hs256(secret)]).is_err());
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        prop_assert!(read(&text, &[VerifyKey::Hs256(secret(1))]).is_err());
    }
}
