//! Secrets by the name that stands before them, as a key or in a text: `--password=…`, `DB_PASSWORD=…`, `"api_key": "…"`,
//! `//user:…@host`.

use std::ops::Range;

use super::looks_random;
use crate::words::fields::key_words;

/// Whether a key says that its value is a secret, whatever that looks like.
pub(super) fn names_a_secret(key: &str) -> bool {
    const ALONE: [&str; 9] = [
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "authorization",
        "cookie",
        "apikey",
        "credentials",
    ];
    const PAIRS: [(&str, &str); 9] = [
        ("api", "key"),
        ("access", "token"),
        ("refresh", "token"),
        ("auth", "token"),
        ("id", "token"),
        ("bearer", "token"),
        ("private", "key"),
        ("secret", "key"),
        ("session", "token"),
    ];
    let words: Vec<String> = key_words(key).iter().map(|word| word.to_ascii_lowercase()).collect();
    let Some(last) = words.last() else { return false };
    let is_pair = words.windows(2).any(|pair| match pair {
        [one, other] => PAIRS.contains(&(one.as_str(), other.as_str())),
        _ => false,
    });
    // `db_pass` is one; a `pass` alone can be a ticket.
    let is_pass = words.len() > 1 && last == "pass";
    // `secret_name` and `password_policy` say something of a secret; `client_secret` is one.
    is_pass || ALONE.contains(&last.as_str()) || (is_pair && matches!(last.as_str(), "key" | "token"))
}

/// `token` alone can be the name of many things; with random letters in it, it is a key.
pub(super) fn names_a_token(key: &str) -> bool {
    key_words(key).last().is_some_and(|word| word.eq_ignore_ascii_case("token"))
}

/// A `pin` is a number; else it is something on a board.
pub(super) fn names_a_pin(key: &str) -> bool {
    key_words(key).last().is_some_and(|word| word.eq_ignore_ascii_case("pin"))
}

pub(super) fn is_pin(text: &str) -> bool {
    (4..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where values stand in a text behind the name of a secret.
pub(super) fn assigned(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sign) in text.match_indices(['=', ':']) {
        found.extend(if sign == "=" { after_equals(text, at) } else { after_colon(text, at) });
    }
    for (at, _) in text.match_indices("--") {
        found.extend(after_option(text, at));
    }
    for (at, _) in text.match_indices("://") {
        found.extend(in_address(text, at + "://".len()));
    }
    found
}

/// `name=value`, `name="value"`.
fn after_equals(text: &str, at: usize) -> Option<Range<usize>> {
    let name = text.get(..at)?.rsplit(|character| !is_name_char(character)).next()?;
    value_at(text, at + 1).filter(|value| is_secret(text, name, value))
}

/// `"name": "value"`, and the same in single quotes.
fn after_colon(text: &str, at: usize) -> Option<Range<usize>> {
    let before = text.get(..at)?.trim_end_matches(' ');
    let quote = before.chars().next_back().filter(|character| matches!(character, '"' | '\''))?;
    let name = before.get(..before.len() - 1)?.rsplit(quote).next()?;
    let after = text.get(at + 1..)?;
    let start = at + 1 + (after.len() - after.trim_start_matches(' ').len());
    value_at(text, start).filter(|value| is_secret(text, name, value))
}

/// `--name value`.
fn after_option(text: &str, at: usize) -> Option<Range<usize>> {
    let is_new =
        text.get(..at)?.chars().next_back().is_none_or(|before| before.is_whitespace() || is_quote(before));
    let after = text.get(at + 2..)?;
    let length = after.find(|character| !is_name_char(character))?;
    let name = after.get(..length).filter(|_| is_new)?;
    let spaces = after.get(length..)?;
    let gap = spaces.len() - spaces.trim_start_matches(' ').len();
    let value = value_at(text, at + 2 + length + gap).filter(|_| gap > 0)?;
    let is_next_option = text.get(value.clone())?.starts_with('-');
    Some(value).filter(|value| !is_next_option && is_secret(text, name, value))
}

/// `//user:password@host` (RFC 3986, section 3.2.1).
fn in_address(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let ends =
        |character: char| character.is_whitespace() || is_quote(character) || "/?#<>".contains(character);
    let authority = rest.get(..rest.find(ends).unwrap_or(rest.len()))?;
    let user = authority.get(..authority.rfind('@')?)?;
    let password = user.find(':')? + 1;
    let value = at + password..at + user.len();
    Some(value).filter(|value| is_value(text.get(value.clone()).unwrap_or_default()))
}

/// A value that begins here: in quotes, or up to what ends a word.
fn value_at(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    if let Some(quote) = rest.chars().next().filter(|character| is_quote(*character)) {
        let inner = rest.get(1..)?;
        return Some(at + 1..at + 1 + inner.find(quote).unwrap_or(inner.len()));
    }
    let ends = |character: char| {
        character.is_whitespace() || is_quote(character) || "&;,|<>(){}[]".contains(character)
    };
    Some(at..at + rest.find(ends).unwrap_or(rest.len()))
}

fn is_secret(text: &str, name: &str, value: &Range<usize>) -> bool {
    let value = text.get(value.clone()).unwrap_or_default();
    let is_named = names_a_secret(name)
        || (names_a_token(name) && looks_random(value))
        || (names_a_pin(name) && is_pin(value));
    is_named && is_value(value)
}

/// What stands for a value (`$PASSWORD`, `%s`), and the rest of `==`, is none.
fn is_value(value: &str) -> bool {
    !value.is_empty() && !value.starts_with(['$', '%', '=', '*', '{', '<', '['])
}

const fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\'')
}

const fn is_name_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '[' | ']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_behind_the_name_of_a_secret_is_found() {
        for (text, value) in [
            ("psql --password=hunter2secret -h db", "hunter2secret"),
            ("mysql --password hunter2secret -u root", "hunter2secret"),
            ("--api-key 'a b c' x", "a b c"),
            ("DB_PASSWORD=hunter2secret npm start", "hunter2secret"),
            ("DB_PASS=x7", "x7"),
            ("https://user:hunter2secret@db.example.com/x", "hunter2secret"),
            ("https://x.example/?api_key=hunter2&y=1", "hunter2"),
            ("Server=x;User=a;Password=hunter2secret;", "hunter2secret"),
            ("{\"password\":\"hunter2secret\",\"a\":1}", "hunter2secret"),
            ("{'client_secret': 'hunter2 secret'}", "hunter2 secret"),
            ("{\"pin\": 4711}", "4711"),
            ("user[password]=hunter2", "hunter2"),
            ("?token=a1b2c3d4e5f6", "a1b2c3d4e5f6"),
        ] {
            let found = assigned(text);
            assert_eq!(found.iter().map(|range| &text[range.clone()]).collect::<Vec<_>>(), [value], "{text}");
        }
    }

    #[test]
    fn what_only_speaks_of_a_secret_stays() {
        for text in [
            "the password: please reset it",
            "password == other",
            "if password != x",
            "--password=$PASSWORD",
            "psql --password=%s",
            "--password --host db",
            "password=",
            "secret_name=db",
            "token=next",
            "pin=left",
            "https://example.com:8443/a@b",
            "mailto:user@example.com",
            "amount=5 currency=EUR",
        ] {
            assert!(assigned(text).is_empty(), "{text}: {:?}", assigned(text));
        }
    }
}
