//! What nobody may see of a payload: the fields that a rule masks, and what looks like a secret. A short salted hash
//! stands in their place, so that two of a kind can be told apart. The payload, and its digest, stay what they are.
//!
//! A wrong guess here costs either a leak or a hidden fact, so only what has the form of a secret is taken for one, and
//! what stands beside it stays readable.

use std::ops::Range;

use serde_json::{Map, Value};

use self::named::{Named, assigned, names_a_secret};
use super::path::FieldPath;
use crate::payload::{canonical_text, sha256_hex};

mod named;

/// A masked value that is shorter may stand in the agent's words by chance.
const ECHO_CHARS: usize = 4;

/// Shorter runs after `Bearer` are words.
const BEARER_CHARS: usize = 8;
/// Lines of a key are at least so long, but for the last.
const KEY_LINE_CHARS: usize = 16;

/// Prefixes of keys that their makers chose so that they are recognised, and the least that follows them.
const PREFIXES: [(&str, usize); 33] = [
    ("sk-", 16),
    ("sk_live_", 8),
    ("sk_test_", 8),
    ("rk_live_", 8),
    ("rk_test_", 8),
    ("whsec_", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 12),
    ("gldt-", 12),
    ("xoxb-", 8),
    ("xoxp-", 8),
    ("xoxa-", 8),
    ("xoxr-", 8),
    ("xoxs-", 8),
    ("xoxe-", 8),
    ("xapp-", 8),
    ("AIza", 30),
    ("ya29.", 16),
    ("npm_", 24),
    ("pypi-", 24),
    ("hf_", 24),
    ("SG.", 24),
    ("dop_v1_", 24),
    ("shpat_", 16),
    ("shpss_", 16),
    ("lin_api_", 16),
    ("key-", 32),
    ("AGE-SECRET-KEY-", 16),
];
/// Prefixes of AWS access keys; 16 capitals and digits follow.
const AWS_PREFIXES: [&str; 4] = ["AKIA", "ASIA", "ABIA", "ACCA"];

/// The payload as people may see it. `salt` is the request's own: the same secret looks different in another request.
pub fn masked(payload: Value, mask: &[FieldPath], salt: &str) -> Value {
    Masker { mask, salt, hidden: Vec::new() }.seen(payload, &mut Vec::new())
}

/// A text as people may see it: what looks like a secret in it is masked, the rest is as it was.
pub fn masked_text(text: &str, salt: &str) -> String {
    Masker { mask: &[], salt, hidden: Vec::new() }.text(text)
}

/// The agent's words about a payload, as people may see them: neither what looks like a secret, nor a value that is masked
/// in the payload and repeated here.
pub fn masked_words(words: &str, payload: Value, mask: &[FieldPath], salt: &str) -> String {
    let mut masker = Masker { mask, salt, hidden: Vec::new() };
    masker.seen(payload, &mut Vec::new());
    let mut echoes = std::mem::take(&mut masker.hidden);
    echoes.retain(|secret| secret.chars().count() >= ECHO_CHARS);
    // A longer one first: it may hold a shorter one.
    echoes.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    echoes.dedup();
    let shown = echoes.iter().fold(words.to_owned(), |words, secret| without(&words, secret, salt));
    masker.text(&shown)
}

/// Whether something in a payload is not shown.
pub fn hides(payload: &Value, mask: &[FieldPath]) -> bool {
    masked(payload.clone(), mask, "") != *payload
}

/// A text with a secret's stand-in wherever that secret stands as a word of its own.
fn without(text: &str, secret: &str, salt: &str) -> String {
    let is_part = |character: Option<char>, edge: Option<char>| {
        character.is_some_and(char::is_alphanumeric) && edge.is_some_and(char::is_alphanumeric)
    };
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(secret) {
        shown.push_str(before);
        let is_word = !is_part(shown.chars().next_back(), secret.chars().next())
            && !is_part(after.chars().next(), secret.chars().next_back());
        shown.push_str(&if is_word { stand_in(secret, salt) } else { secret.to_owned() });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Masks, and remembers what it hid.
struct Masker<'a> {
    mask: &'a [FieldPath],
    salt: &'a str,
    hidden: Vec<String>,
}

impl Masker<'_> {
    fn hide(&mut self, secret: &str) -> String {
        self.hidden.push(secret.to_owned());
        stand_in(secret, self.salt)
    }

    fn text(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut at = 0;
        for secret in secrets(text) {
            shown.push_str(text.get(at..secret.start).unwrap_or_default());
            shown.push_str(&self.hide(text.get(secret.clone()).unwrap_or_default()));
            at = secret.end;
        }
        shown.push_str(text.get(at..).unwrap_or_default());
        shown
    }

    fn is_masked(&self, keys: &[String]) -> bool {
        self.mask.iter().any(|path| {
            // Names of headers and the like differ in case only by chance.
            path.keys().len() == keys.len()
                && path.keys().iter().zip(keys).all(|(one, other)| one.eq_ignore_ascii_case(other))
        })
    }

    fn seen(&mut self, value: Value, keys: &mut Vec<String>) -> Value {
        if !keys.is_empty() && self.is_masked(keys) {
            let text = match &value {
                Value::String(text) => text.clone(),
                other => canonical_text(other),
            };
            self.remember(&value);
            return Value::String(self.hide(&text));
        }
        match value {
            Value::Object(fields) => {
                // `{"name": "X-Api-Key", "value": "…"}`
                let named = ["name", "key", "header"].iter().find_map(|key| fields.get(*key)?.as_str());
                let value_is_secret = named.is_some_and(names_a_secret);
                let mut shown = Map::new();
                for (key, value) in fields {
                    keys.push(key.clone());
                    let named = Named::by(&key);
                    let is_secret = named.secret || (value_is_secret && key == "value");
                    let value = match value {
                        value if self.is_masked(keys) => self.seen(value, keys),
                        value if is_secret => self.all_of(value, keys),
                        Value::String(text) if named.token && looks_random(&text) => {
                            Value::String(self.hide(&text))
                        }
                        Value::String(text) if named.pin && named::is_pin(&text) => {
                            Value::String(self.hide(&text))
                        }
                        Value::Number(number) if named.pin && named::is_pin(&number.to_string()) => {
                            Value::String(self.hide(&number.to_string()))
                        }
                        value => self.seen(value, keys),
                    };
                    keys.pop();
                    shown.insert(masked_text(&key, self.salt), value);
                }
                Value::Object(shown)
            }
            Value::Array(items) => {
                let mut is_secret = false;
                let mut shown = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    // `["--password", "…"]`
                    let follows = std::mem::replace(&mut is_secret, item.as_str().is_some_and(is_option));
                    keys.push(index.to_string());
                    shown.push(match item {
                        Value::String(text) if follows && !text.is_empty() && !text.starts_with('-') => {
                            Value::String(self.hide(&text))
                        }
                        item => self.seen(item, keys),
                    });
                    keys.pop();
                }
                Value::Array(shown)
            }
            Value::String(text) => Value::String(self.text(&text)),
            other => other,
        }
    }

    /// Whatever stands under the name of a secret, in it and in all below.
    fn all_of(&mut self, value: Value, keys: &mut Vec<String>) -> Value {
        if self.is_masked(keys) {
            return self.seen(value, keys);
        }
        match value {
            Value::String(text) if !text.is_empty() => Value::String(self.keep_scheme(&text)),
            Value::Number(number) => Value::String(self.hide(&number.to_string())),
            Value::Array(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    keys.push(index.to_string());
                    let item = self.all_of(item, keys);
                    keys.pop();
                    item
                });
                Value::Array(items.collect())
            }
            Value::Object(fields) => {
                let mut shown = Map::new();
                for (key, value) in fields {
                    keys.push(key);
                    let value = self.all_of(value, keys);
                    let key = keys.pop().unwrap_or_default();
                    shown.insert(masked_text(&key, self.salt), value);
                }
                Value::Object(shown)
            }
            other => other,
        }
    }

    /// Each value in what is hidden as a whole: the agent's words may repeat one of them.
    fn remember(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.hidden.push(text.clone()),
            Value::Number(number) => self.hidden.push(number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.remember(item)),
            Value::Object(fields) => fields.values().for_each(|value| self.remember(value)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// `Bearer …` keeps its first word.
    fn keep_scheme(&mut self, text: &str) -> String {
        match text.split_once(' ') {
            Some((scheme @ ("Bearer" | "Basic" | "bearer" | "basic" | "Token" | "token"), rest)) => {
                format!("{scheme} {}", self.hide(rest))
            }
            _ => self.hide(text),
        }
    }
}

/// An option of a command whose value follows as the next word.
fn is_option(word: &str) -> bool {
    word.starts_with('-') && !word.contains(['=', ' ']) && names_a_secret(word)
}

/// What stands in a secret's place.
fn stand_in(secret: &str, salt: &str) -> String {
    let digest = sha256_hex(format!("placet-mask-v1\n{salt}\n{secret}").as_bytes());
    format!("[hidden {}]", digest.get(..8).unwrap_or_default())
}

fn looks_random(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(is_token_byte) && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Where secrets are in a text, in order, none in another.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = private_keys(text);
    found.extend(assigned(text));
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let begins = text.is_char_boundary(at)
            && (at == 0 || bytes.get(at - 1).is_none_or(|byte| !is_token_byte(*byte) || is_opener(*byte)));
        let end = if begins { secret_at(text, at) } else { None };
        match end {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut last = 0;
    found.retain(|range| {
        let is_new = range.start >= last;
        if is_new {
            last = range.end;
        }
        is_new
    });
    found
}

/// Signs that may stand right before a secret although they can be in one: `token=sk-…`, `//user:ghp_…@host`.
const fn is_opener(byte: u8) -> bool {
    matches!(byte, b'=' | b'/' | b'.' | b'+' | b'-')
}

/// The end of a secret that begins here.
fn secret_at(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let end_of = |length: usize| Some(at + length);
    let first = rest.bytes().next();
    for (prefix, least) in PREFIXES {
        // Most words begin with none of their letters: what is cheaper than to compare comes first.
        if prefix.bytes().next() != first {
            continue;
        }
        if let Some(after) = rest.strip_prefix(prefix) {
            let length = after.bytes().take_while(|byte| is_key_byte(*byte)).count();
            let key = after.get(..length).unwrap_or_default();
            // A name of plain words (`sk-learn-model-for-all`) has neither digits nor capitals.
            let is_random = key.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
            if length >= least && is_random {
                return end_of(prefix.len() + length);
            }
        }
    }
    if AWS_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) {
        let length =
            rest.bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
        let goes_on = rest.as_bytes().get(length).is_some_and(u8::is_ascii_alphanumeric);
        if length == 20 && !goes_on {
            return end_of(length);
        }
    }
    if rest.starts_with("eyJ") {
        // A JWT (RFC 7519), or an encrypted one: three or five parts, the first of which begins with `{"`.
        let length = rest.bytes().take_while(|byte| is_base64url(*byte) || *byte == b'.').count();
        let token = rest.get(..length)?.trim_end_matches('.');
        let parts: Vec<&str> = token.split('.').collect();
        if matches!(parts.len(), 3 | 5) && parts.iter().take(2).all(|part| part.len() >= 4) {
            return end_of(token.len());
        }
    }
    // What follows `Bearer ` begins here.
    let before = text.get(..at).filter(|before| before.ends_with(' '))?;
    let follows = ["bearer ", "basic "].iter().any(|scheme| {
        before.len() >= scheme.len()
            && before.get(before.len() - scheme.len()..).is_some_and(|word| word.eq_ignore_ascii_case(scheme))
    });
    follows.then(|| bearer_length(rest)).flatten().map(|length| at + length)
}

/// How long the token is that begins here, after its scheme.
fn bearer_length(rest: &str) -> Option<usize> {
    let length = rest.bytes().take_while(|byte| is_token_byte(*byte)).count();
    let token = rest.get(..length)?;
    let has_digit = token.bytes().any(|byte| byte.is_ascii_digit());
    // A path, an option or a word is no token: what a command does must stay readable.
    let is_readable = token.starts_with(['/', '.', '-', '~']) || !(has_digit || length >= 3 * BEARER_CHARS);
    (length >= BEARER_CHARS && !is_readable).then_some(length)
}

/// Where private keys are, from their first line to their last (RFC 7468, OpenSSH, PGP).
fn private_keys(text: &str) -> Vec<Range<usize>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text.get(at..).and_then(|rest| rest.find(BEGIN)).map(|offset| at + offset) {
        at = start + BEGIN.len();
        let Some(rest) = text.get(at..) else { break };
        let Some(label_end) = rest.find("-----") else { break };
        let is_private =
            rest.get(..label_end).is_some_and(|label| label.contains("PRIVATE KEY") && label.len() <= 40);
        if !is_private {
            continue;
        }
        let body = at + label_end + "-----".len();
        let end = text.get(body..).and_then(|rest| rest.find("-----END ")).map(|offset| body + offset);
        let last = end.and_then(|end| {
            let tail = text.get(end + "-----END ".len()..)?;
            tail.find("-----")
                .filter(|at| *at <= 40)
                .map(|offset| end + "-----END ".len() + offset + "-----".len())
        });
        let (body_end, whole_end) = (end.unwrap_or(text.len()), last.unwrap_or(text.len()));
        let Some(lines) = text.get(body..body_end) else { break };
        if is_key_material(lines) {
            found.push(start..whole_end);
        } else {
            // Words between the lines of a key are not hidden with it: they could be anything.
            found.extend(key_lines(lines).map(|line| body + line.start..body + line.end));
        }
        at = whole_end.max(at);
    }
    found
}

/// Whether a text is nothing but a key's lines: Base64, and the headers that encrypted keys have.
fn is_key_material(text: &str) -> bool {
    let lines: Vec<Range<usize>> = words(text).collect();
    let is_line = |(index, range): (usize, &Range<usize>)| {
        let line = text.get(range.clone()).unwrap_or_default();
        let is_last = index + 1 >= lines.len().saturating_sub(1);
        is_header(line) || (line.bytes().all(is_base64) && (line.len() >= KEY_LINE_CHARS || is_last))
    };
    !lines.is_empty() && lines.iter().enumerate().all(is_line)
}

/// `Proc-Type: 4,ENCRYPTED` and `DEK-Info: AES-128-CBC,…` (RFC 1421).
fn is_header(word: &str) -> bool {
    matches!(word, "Proc-Type:" | "4,ENCRYPTED" | "DEK-Info:" | "Version:" | "Comment:")
        || (word.contains("-CBC,")
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-,".contains(&byte)))
}

fn key_lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    words(text).filter(|range| {
        text.get(range.clone()).is_some_and(|line| line.len() > KEY_LINE_CHARS && line.bytes().all(is_base64))
    })
}

/// Runs between spaces, line ends, and line ends that were escaped.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut ends = Vec::new();
    let mut start = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        let escaped = character == '\\' && rest.peek().is_some_and(|(_, next)| matches!(next, 'n' | 'r'));
        if character.is_whitespace() || escaped {
            if let Some(start) = start.take() {
                ends.push(start..at);
            }
            if escaped {
                rest.next();
            }
        } else {
            start.get_or_insert(at);
        }
    }
    if let Some(start) = start {
        ends.push(start..text.len());
    }
    ends.into_iter()
}

/// Of a key with a known prefix.
const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Of what follows `Bearer` (RFC 6750).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests;
