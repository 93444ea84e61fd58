use proptest::prelude::*;
use serde_json::json;

use super::*;

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn hidden(text: &str) -> String {
    stand_in(text, "salt")
}

#[test]
fn what_is_masked_is_not_told_in_the_agents_words() {
    let words = |payload: Value, words: &str| {
        masked_words(words, payload, &[FieldPath::parse("payload.pin").unwrap()], "salt")
    };
    let pin = json!({"pin": "sekret4711", "to": "Ann"});
    assert_eq!(words(pin.clone(), "PIN is sekret4711."), format!("PIN is {}.", hidden("sekret4711")));
    assert_eq!(words(pin, "for Ann: sekret47110"), "for Ann: sekret47110", "another word");
    let card = json!({"pin": {"number": "4111 1111 1111 1111", "cvc": 123}});
    assert_eq!(words(card, "card 4111 1111 1111 1111"), format!("card {}", hidden("4111 1111 1111 1111")));
    let nested = json!({"password": {"value": ["hunter2secret"]}});
    assert_eq!(words(nested, "hunter2secret"), hidden("hunter2secret"));
    assert_eq!(words(json!({"pin": "no"}), "no news"), "no news", "too short to be one");
}

#[test]
fn whatever_stands_under_the_name_of_a_secret_is_masked() {
    for payload in [
        json!({"password": ["hunter2"]}),
        json!({"password": {"value": "hunter2"}}),
        json!({"argv": ["psql", "--password=hunter2"]}),
        json!({"argv": ["psql", "--password", "hunter2"]}),
        json!({"env": ["DB_PASSWORD=hunter2"]}),
        json!({"env": {"DB_PASS": "hunter2", "HOME": "/root"}}),
        json!({"headers": [{"name": "X-Api-Key", "value": "hunter2"}]}),
        json!({"url": "https://user:hunter2@db.example.com/x"}),
        json!({"body": "{\"password\":\"hunter2\"}"}),
    ] {
        let shown = masked(payload.clone(), &[], "salt").to_string();
        assert!(!shown.contains("hunter2") && shown.contains(&hidden("hunter2")), "{payload}: {shown}");
    }
    for payload in [
        json!({"pass": "Gold", "pin": "left", "argv": ["--password", "--host", "db"]}),
        json!({"name": "api", "value": "hunter2"}),
    ] {
        assert_eq!(masked(payload.clone(), &[], "salt"), payload);
    }
    assert_eq!(masked(json!({"pin": 4711}), &[], "salt"), json!({"pin": hidden("4711")}));
    let admin = FieldPath::parse("payload.credentials.is_admin").unwrap();
    let shown = masked(json!({"credentials": {"is_admin": true}}), &[admin], "salt");
    assert_eq!(shown, json!({"credentials": {"is_admin": hidden("true")}}));
}

#[test]
fn what_has_the_form_of_a_secret_is_masked_wherever_it_stands() {
    for secret in [
        "sk-proj-4fJ2kq81Lx0aBcDe",
        "sk-ant-api03-AbCdEf0123456789",
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0123456789_abcdef",
        "glpat-ABCdef123456789_-xyz",
        "xoxb-123456789012-abcdefABCDEF",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        JWT,
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\nggSjAgEAAoIBAQC7\nVJTUt9Us8cKj\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123AB\n\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\\n-----END OPENSSH PRIVATE KEY-----",
    ] {
        for (before, after) in
            [("", ""), ("use ", " now"), ("key=", "&x=1"), ("//user:", "@host"), ("\"", "\",")]
        {
            let text = format!("{before}{secret}{after}");
            assert_eq!(masked_text(&text, "salt"), format!("{before}{}{after}", hidden(secret)), "{text}");
        }
    }
    for (text, expected) in [
        ("Authorization: Bearer abc123def456", format!("Authorization: Bearer {}", hidden("abc123def456"))),
        (
            "curl -H 'authorization: bearer AbCdEfGhIjKlMnOpQrStUvWxYz' x",
            format!("curl -H 'authorization: bearer {}' x", hidden("AbCdEfGhIjKlMnOpQrStUvWxYz")),
        ),
        ("Basic dXNlcjpwYXNzd29yZDE=", format!("Basic {}", hidden("dXNlcjpwYXNzd29yZDE="))),
    ] {
        assert_eq!(masked_text(text, "salt"), expected);
    }
}

#[test]
fn what_only_resembles_a_secret_stays_readable() {
    for text in [
        "task-management-system-for-2026-teams",
        "sk-learn-random-forest-model-for-all",
        "the bearer of this letter",
        "Bearer /data/customers2026",
        "bearer --delete-everything-2026",
        "Basic training course",
        "AKIA is a prefix",
        "eyJ.a.b",
        "ghp_short",
        "-----BEGIN PUBLIC KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY----- && rm -rf /home && -----END PRIVATE KEY-----",
        "DE89370400440532013000",
        "https://example.com/a/b?x=1",
    ] {
        assert_eq!(masked_text(text, "salt"), text);
    }
    let mixed = "-----BEGIN PRIVATE KEY-----\nrm -rf /home\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n-----END PRIVATE KEY-----";
    let shown = masked_text(mixed, "salt");
    assert!(shown.contains("rm -rf /home") && !shown.contains("MIIEvQ"), "{shown}");
}

#[test]
fn a_rule_masks_fields_whole_and_a_key_can_say_that_its_value_is_secret() {
    let payload = json!({
        "headers": {"Authorization": "Bearer x1", "X-Api-Key": "k"}, "card": {"number": 1, "cvc": 2}, "list": [{"pin": "1"}],
        "password": "hunter2", "client_secret": "s", "access_token": "t", "secret_name": "db", "max_tokens": 5,
        "token": "abc123def456", "api_key": 5, "keep": "x", "empty": {"password": ""}, "sk-proj-4fJ2kq81Lx0aBcDe": 1,
    });
    let mask = ["payload.headers.authorization", "payload.card", "payload.list.0.pin", "payload.none"]
        .map(|path| FieldPath::parse(path).unwrap());
    assert_eq!(
        masked(payload.clone(), &mask, "salt"),
        json!({
            "headers": {"Authorization": hidden("Bearer x1"), "X-Api-Key": hidden("k")},
            "card": hidden(r#"{"cvc":2,"number":1}"#), "list": [{"pin": hidden("1")}],
            "password": hidden("hunter2"), "client_secret": hidden("s"), "access_token": hidden("t"),
            "secret_name": "db", "max_tokens": 5, "token": hidden("abc123def456"), "api_key": hidden("5"), "keep": "x",
            "empty": {"password": ""}, hidden("sk-proj-4fJ2kq81Lx0aBcDe"): 1,
        })
    );
    assert!(hides(&payload, &[]) && !hides(&json!({"a": "b", "n": [1, null]}), &mask));
}

#[test]
fn the_same_secret_looks_the_same_in_one_request_and_different_in_another() {
    assert_eq!(stand_in("a", "one"), stand_in("a", "one"));
    assert_ne!(stand_in("a", "one"), stand_in("a", "two"));
    assert_ne!(stand_in("a", "one"), stand_in("b", "one"));
    assert_eq!(stand_in("a", "one").len(), "[hidden 01234567]".len());
}

proptest! {
    #[test]
    fn no_text_breaks_it_and_what_is_masked_stays_masked(text in "\\PC{0,60}(sk-|Bearer |eyJ|-----BEGIN PRIVATE KEY-----)?\\PC{0,60}") {
        let once = masked_text(&text, "s");
        prop_assert_eq!(masked_text(&once, "s"), once);
    }

    #[test]
    fn a_known_key_is_found_whatever_stands_around_it(before in "[ \"'=:;,(\\[{\n]{0,9}", after in "[ \"';,)\\]}\n]{0,9}", key in "[A-Z0-9]{2}[A-Za-z0-9]{30}") {
        for prefix in ["sk-", "ghp_", "xoxb-", "glpat-", "Bearer A1"] {
            let shown = masked_text(&format!("{before}{prefix}{key}{after}"), "s");
            prop_assert!(!shown.contains(&key), "{}", shown);
            prop_assert!(shown.starts_with(&before) && shown.ends_with(&after));
        }
    }
}
