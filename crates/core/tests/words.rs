//! What the gate makes of hostile words: `tests/fixtures/unlinked.json`, which `tests/browser` shows to real linkers.

#![expect(clippy::disallowed_methods, reason = "an environment variable asks for new fixtures")]

use placet_core::words::{unlinked, unlinked_in_chat};
use serde_json::{Value, json};

const HOSTILE: [&str; 58] = [
    "https://evil.com",
    "HTTP://EVIL.COM/Login",
    "https:evil.com",
    "https:/evil.com",
    "https:\\\\evil.com",
    "//evil.com",
    "//localhost/x",
    "http://localhost:8080",
    "localhost:3000/x",
    "http://[::1]/x",
    "//[2001:db8::1]/x",
    "x@[::1]",
    "http://2130706433/",
    "ftp://evil.com",
    "file:///etc/passwd",
    "custom-app://open?x=1",
    "www.evil.com",
    "www.evil",
    "ftp.evil.example",
    "evil.com",
    "evil.com.",
    "evil.com/path?x=1#y",
    "evil.com:8080",
    "evil.com?x@y",
    "evil.com,a@b",
    "evil.com#a@b",
    "evil.com&a@b",
    "evil.com;a@b",
    "bank.com@evil.com",
    "https://bank.com:pw@evil.com",
    "sub.domain.evil.co.uk",
    "evil.zip",
    "evil.app",
    "evil.io",
    "evil.museum",
    "see.now",
    "1.2.3.4",
    "1.2.3.4/r/abc",
    "10.0.0.1:80",
    "a@evil.com",
    "a@localhost",
    "a.b+c@evil.co",
    "mailto:a@evil.com?subject=x",
    "MAILTO:a@evil.com",
    "tel:+19005550100",
    "sms:+19005550100",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil。com",
    "evil．com",
    "evil｡com",
    "ｅｖｉｌ．ｃｏｍ",
    "пример.рф",
    "例え.中国",
    "xn--e1afmkfd.xn--p1ai",
    "i❤.ws",
    "evil.com的",
    "evil.co\u{200b}m",
];

const AROUND: [(&str, &str); 8] = [
    ("", ""),
    ("see ", " now"),
    ("(", ")"),
    ("<", ">"),
    ("\"", "\","),
    ("x:", "/"),
    ("[", "](y)"),
    ("_", "_"),
];

const CHAT: [&str; 5] = ["@here", "@everyone now", "#deploy #4711", "(@bob) [#tag]", "/start"];

fn as_made() -> Value {
    let hostile = HOSTILE
        .iter()
        .flat_map(|text| AROUND.iter().map(move |(before, after)| format!("{before}{text}{after}")));
    let lines: Vec<String> = hostile.chain(CHAT.iter().map(|&text| text.to_owned())).collect();
    let rows: Vec<Value> = lines
        .iter()
        .map(|line| json!({ "written": line, "unlinked": unlinked(line), "in_chat": unlinked_in_chat(line) }))
        .collect();
    json!({ "about": "Hostile words and what the gate makes of them; written by `PLACET_WRITE_FIXTURES=1 cargo test -p placet-core --test words`.", "lines": rows })
}

#[test]
fn hostile_words_are_broken_as_the_fixture_has_it() {
    let path = format!("{}/../../tests/fixtures/unlinked.json", env!("CARGO_MANIFEST_DIR"));
    let made = as_made();
    if std::env::var_os("PLACET_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, format!("{made:#}\n")).unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, made);
    let rows = made["lines"].as_array().unwrap();
    assert!(rows.len() > 400 && rows.iter().all(|row| row["written"] != row["in_chat"]));
}
