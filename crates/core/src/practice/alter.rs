//! One field of a payload, changed so that it is no longer what the agent's own words say.
//!
//! Only a field that the words name can be changed: whoever reads both can then see it, and nobody has to guess.

use serde_json::Value;

use super::round::Draw;
use crate::payload::canonical_text;
use crate::words::FieldPath;

/// How deep fields are looked for.
const DEPTH: usize = 4;

/// How many fields are looked at.
const MOST_FIELDS: usize = 60;

/// A text shorter than this is too easily in the words by chance.
const SHORTEST_TEXT: usize = 3;

/// The fields whose values the words name, and that can be changed.
pub(super) fn named_fields(words: &str, payload: &Value) -> Vec<FieldPath> {
    let words = squeezed(words);
    let mut leaves = Vec::new();
    collect(payload, &mut Vec::new(), &mut leaves);
    leaves.retain(|path| {
        path.find(payload).is_some_and(|value| {
            let long_enough = value.is_number() || canonical_or_text(value).chars().count() >= SHORTEST_TEXT;
            long_enough && is_changeable(value) && is_named(&words, &canonical_or_text(value))
        })
    });
    leaves
}

/// Another value for that one, near it, that the words do not name. `None` where none of some tries is.
pub(super) fn another(value: &Value, words: &str, draw: &mut Draw) -> Option<Value> {
    let words = squeezed(words);
    (0..8).find_map(|_| {
        let changed = changed(value, draw)?;
        let text = canonical_or_text(&changed);
        (changed != *value && !is_named(&words, &text)).then_some(changed)
    })
}

fn collect(value: &Value, keys: &mut Vec<String>, leaves: &mut Vec<FieldPath>) {
    if keys.len() > DEPTH || leaves.len() >= MOST_FIELDS {
        return;
    }
    let mut within = |key: String, inner: &Value| {
        keys.push(key);
        collect(inner, keys, leaves);
        keys.pop();
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, inner)| within(key.clone(), inner)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, inner)| within(at.to_string(), inner));
        }
        Value::Number(_) | Value::String(_) => leaves.push(FieldPath::from_keys(keys)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn canonical_or_text(value: &Value) -> String {
    value.as_str().map_or_else(|| canonical_text(value), str::to_owned)
}

/// A number, a text with a digit in it, or an email address.
fn is_changeable(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => {
            !text.contains('\n')
                && (text.bytes().any(|byte| byte.is_ascii_digit()) || mail_domain(text).is_some())
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Where the domain of an address begins.
fn mail_domain(text: &str) -> Option<usize> {
    let (before, domain) = text.split_once('@')?;
    let is_address = !before.is_empty() && domain.contains('.') && !text.contains(char::is_whitespace);
    is_address.then_some(before.len() + 1)
}

fn changed(value: &Value, draw: &mut Draw) -> Option<Value> {
    match value {
        Value::Number(_) => {
            let text = canonical_text(value);
            // Ten times as much is the mistake that costs most.
            let ten_times = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() < 10 && text != "0";
            let other = if ten_times && draw.below(2) == 0 {
                format!("{text}0")
            } else {
                another_digit(&text, draw)?
            };
            serde_json::from_str(&other).ok()
        }
        Value::String(text) => match mail_domain(text) {
            Some(at) if draw.below(2) == 0 || !text.bytes().any(|byte| byte.is_ascii_digit()) => {
                let (before, domain) = text.split_at_checked(at)?;
                let (name, rest) = domain.split_once('.')?;
                Some(Value::String(format!("{before}{name}-mail.{rest}")))
            }
            _ => another_digit(text, draw).map(Value::String),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text with one digit that is another one; a number never begins with a 0 by it.
fn another_digit(text: &str, draw: &mut Draw) -> Option<String> {
    let places: Vec<usize> =
        text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|(at, _)| at).collect();
    let count = u32::try_from(places.len()).ok().filter(|count| *count > 0)?;
    let at = *places.get(usize::try_from(draw.below(count)).ok()?)?;
    let old = text.as_bytes().get(at)? - b'0';
    let shift = u8::try_from(1 + draw.below(8)).ok()?;
    let mut new = (old + shift) % 10;
    if new == 0 {
        new = if old == 9 { 8 } else { 9 };
    }
    let (before, rest) = text.split_at_checked(at)?;
    Some(format!("{before}{}{}", char::from(b'0' + new), rest.get(1..)?))
}

/// Lower case, and without what people write between the digits of a number.
fn squeezed(text: &str) -> String {
    let all: Vec<char> = text.to_lowercase().chars().collect();
    let digit = |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(char::is_ascii_digit);
    let is_between = |at: usize| digit(at.checked_sub(1)) && digit(at.checked_add(1));
    let separates =
        |character: char| matches!(character, ',' | '.' | '\'' | ' ' | '\u{a0}' | '\u{202f}' | '’');
    let kept = all.iter().enumerate().filter(|&(at, &character)| !(separates(character) && is_between(at)));
    kept.map(|(_, character)| character).collect()
}

/// Whether the squeezed words have that value in them, as a word of its own.
fn is_named(squeezed_words: &str, value: &str) -> bool {
    let value = squeezed(value);
    let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    !value.is_empty()
        && squeezed_words.match_indices(&value).any(|(at, found)| {
            let before = squeezed_words.get(..at).and_then(|text| text.chars().next_back());
            let after = squeezed_words.get(at + found.len()..).and_then(|text| text.chars().next());
            !is_word(before) && !is_word(after)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn paths(words: &str, payload: &Value) -> Vec<String> {
        named_fields(words, payload).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_the_words_name_can_be_changed() {
        let payload = json!({
            "amount": 1200, "cents": 120_050, "to": "Ann@example.com", "invoice": "INV-7", "note": "hi", "urgent": true,
            "lines": [{"sku": "A-10", "count": 3}, {"sku": "B-20", "count": 4}],
        });
        let words = "Pay 1,200 EUR (invoice inv-7) to ann@example.com: 3 of A-10";
        let expected = [
            "payload.amount",
            "payload.invoice",
            "payload.lines.0.count",
            "payload.lines.0.sku",
            "payload.to",
        ];
        let mut found = paths(words, &payload);
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(paths("Pay 1'200.50 EUR", &payload), ["payload.cents"]);
        assert!(paths("Pay 12000 EUR, INV-77, joann@example.com.evil.test", &payload).is_empty());
    }

    #[test]
    fn a_text_without_digits_or_in_several_lines_stays_as_it_is() {
        let payload = json!({"env": "production", "body": "line 1\nline 2", "n": null});
        assert!(paths("production: line 1\nline 2", &payload).is_empty());
    }

    proptest! {
        #[test]
        fn another_value_is_of_the_same_kind_and_not_in_the_words(
            seed: [u8; 16], number in 0_u64..1_000_000_000_000, text in "[a-z]{1,6}-[0-9]{1,5}|[a-z]{1,5}@[a-z]{2,6}[.]test"
        ) {
            for value in [json!(number), json!(text), json!(f64::from(u32::try_from(number % 1_000_000).unwrap()) + 0.25)] {
                let words = canonical_or_text(&value);
                let mut draw = Draw::of(seed);
                if let Some(other) = another(&value, &words, &mut draw) {
                    prop_assert_ne!(&other, &value);
                    prop_assert_eq!(other.is_number(), value.is_number());
                    prop_assert!(!is_named(&squeezed(&words), &canonical_or_text(&other)), "{} in {}", other, words);
                }
            }
        }
    }
}
