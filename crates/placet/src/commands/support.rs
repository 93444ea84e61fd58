//! `placet doctor --report FILE`: what a support question needs, and nothing that is secret.
//!
//! The report is made of what `doctor` found, of numbers, and of names. It holds no token, no link, no secret, no payload and
//! no address: whoever gets it can decide nothing.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use placet_core::policy::{Policy, RuleAction};
use serde_json::{Value, json};

use crate::cli::Globals;
use crate::failure::Failure;
use crate::folder::Folder;

/// Writes the report, for its writer's eyes alone until they pass it on.
pub(super) fn write(
    file: &Path,
    globals: &Globals,
    checks: &Value,
    policy: Option<&Policy>,
) -> Result<(), Failure> {
    let report = json!({
        "placet": env!("CARGO_PKG_VERSION"),
        "system": { "os": std::env::consts::OS, "architecture": std::env::consts::ARCH },
        "aws": cfg!(feature = "aws"),
        "checks": checks,
        "variables": variables(),
        "policy": policy.map(numbers),
        "folder": folder(globals.data()),
    });
    let text = format!("{:#}\n", scrubbed(report));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut to| to.write_all(text.as_bytes()))
        .map_err(|error| Failure::file("cannot write", file, &error))
}

/// Which of our variables are set. Their values can be secrets.
fn variables() -> Vec<String> {
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| {
            name.starts_with("PLACET_") || ["SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY"].contains(&&**name)
        })
        .collect();
    names.sort();
    names
}

/// A policy in numbers: its own names are the operator's business.
fn numbers(policy: &Policy) -> Value {
    let (mut asking, mut stages) = (0_usize, 0_usize);
    for rule in &policy.rules {
        if let RuleAction::Ask(terms) = &rule.action {
            asking = asking.saturating_add(1);
            stages = stages.saturating_add(terms.stages.len());
        }
    }
    json!({
        "version": policy.version,
        "clients": policy.clients.len(),
        "reviewers": policy.reviewers.len(),
        "reviewers_without_address": policy.reviewers.iter().filter(|one| one.channels().is_empty()).count(),
        "rules": policy.rules.len(),
        "rules_that_ask": asking,
        "stages": stages,
        "has_issuer": policy.issuer.is_some(),
    })
}

/// The folder's parts and their sizes.
fn folder(path: &Path) -> Value {
    let Ok(entries) = std::fs::read_dir(path) else { return Value::Null };
    let mut parts = serde_json::Map::new();
    for entry in entries.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        let size = if about.is_dir() {
            json!({ "files": std::fs::read_dir(entry.path()).map_or(0, Iterator::count) })
        } else {
            json!({ "bytes": about.len() })
        };
        parts.insert(entry.file_name().to_string_lossy().into_owned(), size);
    }
    let serving = Folder::existing(path).is_ok_and(|folder| folder.served_by().is_some());
    json!({ "parts": parts, "a_gate_serves": serving })
}

/// Takes out of every text what could be a secret, a link or an address: the findings quote what others wrote.
fn scrubbed(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_secrets(&text)),
        Value::Array(items) => items.into_iter().map(scrubbed).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, scrubbed(member))).collect()
        }
        other => other,
    }
}

fn without_secrets(text: &str) -> String {
    text.split_inclusive(char::is_whitespace).map(word_without_secrets).collect()
}

fn word_without_secrets(word: &str) -> String {
    let bare = word.trim_end();
    let space = word.get(bare.len()..).unwrap_or_default();
    let is_long = bare
        .split(|sign: char| !sign.is_ascii_alphanumeric())
        .any(|run| run.len() >= 20 && run.bytes().any(|byte| byte.is_ascii_digit()));
    let shown = if bare.contains("whsec_") || is_long {
        "[taken out]"
    } else if bare.contains('@') {
        "[an address]"
    } else if bare.contains("://") {
        "[a URL]"
    } else {
        bare
    };
    format!("{shown}{space}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_taken_out_of_every_text() {
        let found = json!([
            "the link https://gate.example.com/r/7j1IKvdsa0rGU99j8ha1Yw06iDfXTSY4GaaGxvDvPqLb1 is old",
            "smtps://user:password@mail.example.com:465 does not answer",
            "bob@example.com; the secret whsec_0123456789abcdef0123456789abcdef",
            { "text": "eyJ0eXAiOiJwbGFjZXQrand0Iiwi1.x.y\nis fine" },
        ]);
        let shown = scrubbed(found).to_string();
        for secret in ["7j1IK", "password", "bob@", "whsec_", "eyJ0"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("does not answer") && shown.contains("is fine"));
    }

    #[test]
    fn words_stay_as_they_are() {
        let text = "the data folder `./placet-data` is 12 MB, and the keyring has mode 0600\n";
        assert_eq!(without_secrets(text), text);
    }
}
