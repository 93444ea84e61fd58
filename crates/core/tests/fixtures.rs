//! The gate's side of `tests/fixtures`: what the Python and the TypeScript verifier must say of each, too.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fixture that is not as expected fails its test"
)]

use placet_core::Timestamp;
use placet_core::id::ClientId;
use placet_core::keys::{ClientSecret, Keyring};
use placet_core::payload::{Payload, parse_strict};
use placet_core::signature::Signed;
use placet_core::token::{self, Expected, VerifyKey};
use serde_json::{Value, json};

fn fixture(name: &str) -> Value {
    let path = format!("{}/../../tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ring() -> Keyring {
    serde_json::from_value(fixture("keyring")["keyring"].clone()).unwrap()
}

fn secrets(client: &str) -> Vec<ClientSecret> {
    let client = ClientId::parse(client).unwrap();
    ring().epochs().map(|epoch| epoch.client_secret(&client, 1)).collect()
}

fn rows<'v>(fixture: &'v Value, list: &str) -> &'v Vec<Value> {
    let rows = fixture[list].as_array().unwrap();
    assert!(!rows.is_empty());
    rows
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

fn payload(value: &Value) -> Payload {
    Payload::new(value.as_object().unwrap()).unwrap()
}

#[test]
fn the_keyring_yields_the_secrets_and_public_keys_of_the_fixtures() {
    let fixture = fixture("keyring");
    for (client, expected) in fixture["secrets"].as_object().unwrap() {
        let made = secrets(client);
        assert_eq!(json!({"current": made[0].expose(), "previous": made[1].expose()}), *expected, "{client}");
    }
    let keys: Vec<Value> = ring()
        .epochs()
        .map(|epoch| {
            use base64::Engine as _;
            let public = epoch.signing_key().verifying_key().to_bytes();
            json!([epoch.kid(), base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(public)])
        })
        .collect();
    let published: Vec<Value> =
        rows(&fixture["jwks"], "keys").iter().map(|key| json!([key["kid"], key["x"]])).collect();
    assert_eq!(keys, published);
}

#[test]
fn every_token_is_judged_as_the_fixtures_say() {
    let sets = ["tokens", "jws", "jose"].map(fixture);
    let mut others = Vec::new();
    for row in sets.iter().flat_map(|set| rows(set, "tokens")) {
        let keys: Vec<VerifyKey> = match text(row, "algorithm") {
            "HS256" => secrets(text(row, "audience")).into_iter().map(VerifyKey::Hs256).collect(),
            _ => ring().epochs().map(|e| VerifyKey::EdDsa(e.signing_key().verifying_key())).collect(),
        };
        let digest = (!row["payload"].is_null()).then(|| payload(&row["payload"]).sha256());
        let expected = Expected {
            issuer: row["issuer"].as_str(),
            audience: text(row, "audience"),
            payload_sha256: digest.as_deref(),
            now: Timestamp::from_millis(row["now"].as_i64().unwrap() * 1000),
        };
        let problem = token::read(text(row, "token"), &keys)
            .and_then(|claims| claims.check(&expected))
            .map_err(token::TokenProblem::code)
            .err();
        let wanted = match &row["problem"] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        if !wanted.contains(&json!(problem)) {
            others.push(format!("{}: {problem:?}, not {wanted:?}", row["name"]));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn every_signature_is_judged_as_the_fixtures_say() {
    let fixture = fixture("signatures");
    let secrets = secrets(text(&fixture, "client"));
    let now = Timestamp::from_millis(fixture["now"].as_i64().unwrap() * 1000);
    for row in rows(&fixture, "requests") {
        let signed = Signed {
            timestamp: row["timestamp"].as_i64().unwrap(),
            method: text(row, "method"),
            path_and_query: text(row, "path"),
            body: text(row, "body").as_bytes(),
        };
        let index = signed.verify(text(row, "signature"), &secrets, now).ok();
        let epoch = index.map(|index| ["current", "previous"][index]);
        assert_eq!(json!(epoch), row["signed_with"], "{}", row["name"]);
    }
}

#[test]
fn every_payload_has_the_canonical_text_and_digest_of_the_fixtures() {
    let fixture = fixture("payloads");
    for row in rows(&fixture, "good") {
        let made = payload(&row["payload"]);
        let found = (made.as_str(), made.sha256());
        assert_eq!(found, (text(row, "canonical"), text(row, "sha256").to_owned()), "{}", row["name"]);
    }
    for row in rows(&fixture, "bad") {
        let read = parse_strict(text(row, "json").as_bytes()).ok();
        let object = read.as_ref().and_then(Value::as_object);
        assert!(object.is_none_or(|object| Payload::new(object).is_err()), "{}", row["name"]);
    }
}

#[test]
fn numbers_are_taken_or_refused_as_every_client_does() {
    let fixture = fixture("numbers");
    let asked = |number: &str| {
        let value = parse_strict(format!(r#"{{"n":{number}}}"#).as_bytes()).ok()?;
        Payload::new(value.as_object().unwrap()).ok()
    };
    for row in rows(&fixture, "accepted") {
        let taken = asked(text(row, "text")).map(|payload| payload.as_str().to_owned());
        assert_eq!(taken, Some(format!(r#"{{"n":{}}}"#, text(row, "canonical"))), "{row}");
    }
    for number in rows(&fixture, "refused") {
        assert_eq!(asked(number.as_str().unwrap()), None, "{number}");
    }
}
