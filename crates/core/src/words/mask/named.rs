//! Secrets by the name that stands before them, as a key or in a text: `--password=…`, `DB_PASSWORD=…`, `"api_key": "…"`,
//! `//user:…@host`.

use std::ops::Range;

use super::looks_random;
use crate::words::fields::key_words;

/// What a key says of its value.
pub(super) struct Named {
    /// It is a secret, whatever it looks like.
    pub(super) secret: bool,
    /// `token` alone can be the name of many things; with random letters in it, it is a key.
    pub(super) token: bool,
    /// A `pin` is a number; else it is something on a board.
    pub(super) pin: bool,
}

impl Named {
    pub(super) fn by(key: &str) -> Self {
        let words = key_words(key);
        let Some((last, before)) = words.split_last() else {
            return Self { secret: false, token: false, pin: false };
        };
        let is = |word: &str| last.eq_ignore_ascii_case(word);
        Self {
            secret: is_secret(last, before)
                || words.windows(2).any(is_secret_pair) && (is("key") || is("token")),
            token: is("token"),
            pin: is("pin"),
        }
    }
}

/// `secret_name` and `password_policy` say something of a secret; `client_secret` is one.
fn is_secret(last: &str, before: &[&str]) -> bool {
    const ALONE: [&str; 7] =
        ["pwd", "passphrase", "secret", "authorization", "cookie", "apikey", "credentials"];
    let ends_with = |end: &str| {
        last.len()
            .checked_sub(end.len())
            .and_then(|at| last.get(at..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    // Written in one: `pgpassword`.
    ends_with("password")
        || ends_with("passwd")
        // `db_pass` is one; a `pass` alone can be a ticket.
        || (!before.is_empty() && last.eq_ignore_ascii_case("pass"))
        || ALONE.iter().any(|word| last.eq_ignore_ascii_case(word))
}

fn is_secret_pair(pair: &[&str]) -> bool {
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
    let [one, other] = pair else { return false };
    PAIRS.iter().any(|(first, second)| one.eq_ignore_ascii_case(first) && other.eq_ignore_ascii_case(second))
}

/// Whether a key says that its value is a secret, whatever that looks like.
pub(super) fn names_a_secret(key: &str) -> bool {
    Named::by(key).secret
}

pub(super) fn is_pin(text: &str) -> bool {
    (4..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name is no longer, in bytes; neither is the gap between it and its value.
const NAME_BYTES: usize = 64;
const GAP_BYTES: usize = 8;

/// A token or a PIN is shorter, in bytes.
const TOKEN_BYTES: usize = 1024;

/// Where values stand in a text behind the name of a secret: in order, none in another.
///
/// Every part of the text is read a bounded number of times, whatever stands in it.
pub(super) fn assigned(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut done = 0;
    for (at, sign) in text.match_indices(['=', ':', '-']) {
        if at < done {
            continue;
        }
        let value = match sign {
            "=" => after_equals(text, at),
            ":" => after_colon(text, at).or_else(|| in_address(text, at)),
            _ => after_option(text, at),
        };
        if let Some(value) = value {
            done = value.end;
            found.push(value);
        }
    }
    found
}

/// `name=value`, `name="value"`; not `name==value`.
fn after_equals(text: &str, at: usize) -> Option<Range<usize>> {
    let name = name_before(text, at);
    let is_comparison = text.get(at + 1..)?.starts_with('=');
    if is_comparison { None } else { secret_at(text, name, at + 1) }
}

/// `"name": "value"`, in quotes of either kind, escaped or not.
fn after_colon(text: &str, at: usize) -> Option<Range<usize>> {
    let before = text.get(..at - gap(text.get(..at)?.chars().rev()))?;
    let before = before.strip_suffix(is_quote)?.trim_end_matches('\\');
    let name = name_before(text, before.len());
    let quoted = text.get(..before.len() - name.len())?.ends_with(is_quote);
    let start = at + 1 + gap(text.get(at + 1..)?.chars());
    if quoted { secret_at(text, name, start) } else { None }
}

/// `--name value`.
fn after_option(text: &str, at: usize) -> Option<Range<usize>> {
    let before = text.get(..at)?.chars().next_back();
    let is_new = before.is_none_or(|before| before.is_whitespace() || is_quote(before));
    let after = text.get(at..)?.strip_prefix("--").filter(|_| is_new)?;
    let length = after.find(|character| !is_name_char(character)).filter(|length| *length <= NAME_BYTES)?;
    let gap = gap(after.get(length..)?.chars());
    let start = at + "--".len() + length + gap;
    let is_next_option = text.get(start..)?.starts_with('-');
    if gap == 0 || is_next_option { None } else { secret_at(text, after.get(..length)?, start) }
}

/// `//user:password@host` (RFC 3986, section 3.2.1).
fn in_address(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?.strip_prefix("://")?;
    let start = at + "://".len();
    let ends =
        |character: char| character.is_whitespace() || is_quote(character) || "/?#<>".contains(character);
    let authority = rest.get(..rest.find(ends).unwrap_or(rest.len()))?;
    let user = authority.get(..authority.rfind('@')?)?;
    let value = start + user.find(':')? + 1..start + user.len();
    Some(value).filter(|value| is_value(text.get(value.clone()).unwrap_or_default()))
}

/// The name that ends there; empty where none does.
fn name_before(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let length =
        before.bytes().rev().take(NAME_BYTES).take_while(|byte| is_name_char(char::from(*byte))).count();
    before.get(at - length..).unwrap_or_default()
}

/// How many blanks come first, as far as a gap may go.
fn gap(characters: impl Iterator<Item = char>) -> usize {
    characters.take(GAP_BYTES).take_while(|character| *character == ' ').count()
}

/// The value that begins there, if that name makes it a secret.
fn secret_at(text: &str, name: &str, at: usize) -> Option<Range<usize>> {
    let named = Named::by(name);
    let is_secret = named.secret;
    if !is_secret && !named.token && !named.pin {
        return None;
    }
    // A value that is one is not read again; what may turn out to be none is not read far.
    let end = if is_secret { text.len() } else { text.floor_char_boundary(at.saturating_add(TOKEN_BYTES)) };
    let range = value_at(text.get(..end)?, at)?;
    let value = text.get(range.clone())?;
    let is_one = is_secret
        || (named.token && value.len() < TOKEN_BYTES && looks_random(value))
        || (named.pin && is_pin(value));
    (is_one && is_value(value)).then_some(range)
}

/// A value that begins there: in quotes, or up to what ends a word. Within quotes that are escaped, only quotes that are
/// escaped as often end it.
fn value_at(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    let opening = rest.get(slashes..)?.chars().next().filter(|character| is_quote(*character));
    if let Some(quote) = opening {
        let start = at + slashes + 1;
        let inner = text.get(start..)?;
        let end = inner.match_indices(quote).find_map(|(end, _)| {
            let before = inner.get(..end)?;
            let own = end - before.trim_end_matches('\\').len();
            match slashes {
                0 => own.is_multiple_of(2).then_some(end),
                _ => (own <= slashes).then_some(end - own),
            }
        });
        return Some(start..start + end.unwrap_or(inner.len()));
    }
    let ends =
        |character: char| character.is_whitespace() || is_quote(character) || "&;,|<>".contains(character);
    let mut word = rest.get(..rest.find(ends).unwrap_or(rest.len()))?.trim_end_matches('\\');
    // A bracket that was opened before it is not closed in it.
    for (opening, closing) in [('(', ')'), ('[', ']'), ('{', '}')] {
        if !word.contains(opening) {
            word = word.trim_end_matches(closing);
        }
    }
    Some(at..at + word.len())
}

/// What stands for a value is none: `$PASSWORD`, `${password}`, `%s`, `%PASSWORD%`, `{{password}}`, `<password>`, `***`.
fn is_value(value: &str) -> bool {
    let between = |start: &str, end: &str| {
        value
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|inside| !inside.is_empty())
    };
    let is_variable = value.strip_prefix('$').is_some_and(|name| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    });
    let is_placeholder = is_variable
        || matches!(value, "%s" | "%d")
        || ["${", "$(", "{{"].iter().any(|opening| value.starts_with(opening))
        || between("%(", ")s")
        || (between("%", "%") && !value.contains(' '))
        || between("{", "}")
        || between("<", ">")
        || value.bytes().all(|byte| byte == b'*')
        || value.starts_with("[hidden ");
    !value.is_empty() && !is_placeholder
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
            ("curl -d \"{\\\"password\\\":\\\"hunter2\\\"}\"", "hunter2"),
            ("PGPASSWORD=\\\"hunter2\\\" psql", "hunter2"),
            (r#"{"password":"a\"rest","b":1}"#, r#"a\"rest"#),
            ("https://user:%40dm1nP4ss@host", "%40dm1nP4ss"),
            (r#"{"password":"$ecret1"}"#, "$ecret1"),
            ("password=ab(c)d x", "ab(c)d"),
            ("(password=abc)", "abc"),
            ("password=password=hunter2", "password=hunter2"),
        ] {
            let found = assigned(text);
            assert_eq!(found.iter().map(|range| &text[range.clone()]).collect::<Vec<_>>(), [value], "{text}");
        }
    }

    /// Were it read again for every sign in it, this would take hours.
    #[test]
    fn a_long_text_is_read_once() {
        for part in
            ["=", ":", "-", "--", "://", "\"", "password=", "token=", "\"password\":", "--password ", "\\\""]
        {
            let text = part.repeat(200_000 / part.len());
            assert!(assigned(&text).len() <= text.len(), "{part}");
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
            "password=${password}",
            "password=%PASSWORD%",
            "password={{ vault }}",
            "password=***",
        ] {
            assert!(assigned(text).is_empty(), "{text}: {:?}", assigned(text));
        }
    }
}
