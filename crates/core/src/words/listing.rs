//! A payload as indented plain lines, for a mail: what people read of it, capped, and saying what was left out.
//!
//! No HTML. Nothing becomes a link, and hidden characters are named.

use serde_json::{Map, Value};

use super::fields::{Weight, is_amount, is_text, lookalikes, ordered, rank, weight_of_rank};
use super::headline::unmasked;
use super::money::{amount, currency_of, iban};
use super::text::{elided, grouped, plain, plain_lines, unlinked};
use crate::payload::canonical_text;

const LINES: usize = 40;
const CHARS: usize = 3000;
const VALUE_CHARS: usize = 160;
/// A text that is itself what is approved is shown whole, up to so many characters.
pub const TEXT_CHARS: usize = 4000;
/// And up to so many lines.
const TEXT_LINES: usize = 200;
/// Deeper fields are shown as JSON.
const LEVELS: usize = 5;

/// The payload as indented plain lines for an email. A text to read comes whole, attachments after it.
///
/// Safe in a message: hidden characters are named and nothing becomes a link.
pub fn payload_text(payload: &Value) -> String {
    let mut lines = Lines { text: String::new(), left: LINES, spent: 0, text_left: TEXT_CHARS, dropped: 0 };
    lines.put(payload, Weight::Ordinary, 0);
    if lines.dropped > 0 {
        let rest = format!("({} more lines; the page shows everything)", grouped(lines.dropped));
        lines.text.push_str(&rest);
        lines.text.push('\n');
    }
    lines.text
}

struct Lines {
    text: String,
    left: usize,
    /// Characters of ordinary lines.
    spent: usize,
    /// How many characters of texts to read still fit.
    text_left: usize,
    dropped: usize,
}

impl Lines {
    fn put(&mut self, value: &Value, weight: Weight, depth: usize) {
        match value {
            Value::Object(object) => self.fields(object, depth),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.field(&format!("{}.", index + 1), item, weight, depth);
                }
            }
            _ => self.line(depth, &leaf(value, weight)),
        }
    }

    fn fields(&mut self, object: &Map<String, Value>, depth: usize) {
        let currency = currency_of(object);
        let money = |key: &str, value: &Value| {
            let (_, code) = currency.filter(|_| is_amount(key))?;
            Some(format!("{} {code}", amount(key, value, code)?))
        };
        let is_said = object.iter().any(|(key, value)| money(key, value).is_some());
        for (key, value) in ordered(object) {
            let name = elided(&plain(key), 80);
            if is_said && currency.is_some_and(|(known, _)| known == key) {
                continue;
            }
            if let Some(money) = money(key, value) {
                self.line(depth, &format!("{name}: {money}"));
            } else if let Some(text) = value.as_str().filter(|_| is_text(key, value)) {
                self.text_field(&name, text, depth);
            } else {
                self.field(&name, value, weight_of_rank(rank(key, value)), depth);
            }
        }
    }

    /// A text with its line ends, as whole as there is room for.
    fn text_field(&mut self, name: &str, text: &str, depth: usize) {
        let length = text.chars().count();
        let is_short = length <= VALUE_CHARS && !text.contains('\n');
        let is_long = length > self.text_left || text.lines().nth(TEXT_LINES).is_some();
        if is_short || is_long {
            return self.field(name, &Value::String(text.to_owned()), Weight::Ordinary, depth);
        }
        self.text_left -= length;
        self.line(depth, &format!("{name}:"));
        for line in plain_lines(text).lines() {
            if !line.is_empty() {
                self.text.push_str(&"  ".repeat(depth + 1));
                self.text.push_str(&unlinked(line));
            }
            self.text.push('\n');
        }
    }

    fn field(&mut self, name: &str, value: &Value, weight: Weight, depth: usize) {
        let nests = match value {
            Value::Object(fields) => !fields.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        let colon = if name.ends_with('.') { "" } else { ":" };
        if nests && depth < LEVELS {
            self.line(depth, &format!("{name}{colon}"));
            self.put(value, weight, depth + 1);
        } else {
            self.line(depth, &format!("{name}{colon} {}", leaf(value, weight)));
        }
    }

    fn line(&mut self, depth: usize, line: &str) {
        if self.left == 0 || self.spent > CHARS {
            self.dropped += 1;
            return;
        }
        self.left -= 1;
        self.spent += line.chars().count();
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(&unlinked(line));
        self.text.push('\n');
    }
}

fn leaf(value: &Value, weight: Weight) -> String {
    let text = match value {
        Value::String(text) if text.is_empty() => return "(empty text)".to_owned(),
        Value::String(text) if weight == Weight::Address && !lookalikes(text).is_empty() => {
            plain(&unmasked(text))
        }
        Value::String(text) => iban(text).map_or_else(|| plain(text), |iban| iban.grouped),
        Value::Bool(yes) => return (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Null => return "(none)".to_owned(),
        Value::Array(items) if items.is_empty() => return "(empty list)".to_owned(),
        Value::Object(fields) if fields.is_empty() => return "(empty)".to_owned(),
        other => plain(&canonical_text(other)),
    };
    let length = text.chars().count();
    if length <= VALUE_CHARS {
        return text;
    }
    let head: String = text.chars().take(VALUE_CHARS / 2).collect();
    let tail: String = text.chars().skip(length - VALUE_CHARS / 4).collect();
    let hidden = length - VALUE_CHARS / 2 - VALUE_CHARS / 4;
    format!("{head} (... {} characters not shown ...) {tail}", grouped(hidden))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_lists_the_payload_line_by_line() {
        let payload = json!({
            "amount": 5, "to": ["a@b.example", "\u{430}@d.example"], "meta": {"note": "x\ty", "link": "http://e.example"}, "no": "", "e": {},
        });
        let expected = "amount: 5\nto:\n  1. a@b[.]example\n  2. <U+0430>@d[.]example\ne: (empty)\nmeta:\n  link: http[:]//e[.]example\n  note: x<tab>y\nno: (empty text)\n";
        assert_eq!(payload_text(&payload), expected);
    }

    #[test]
    fn money_is_said_once_and_account_numbers_are_grouped() {
        let payload = json!({"amount": 5000, "fee": 1.5, "currency": "EUR", "iban": "DE89370400440532013000", "ok": true});
        let expected = "amount: 5,000.00 EUR\nfee: 1.50 EUR\niban: DE89 3704 0044 0532 0130 00\nok: yes\n";
        assert_eq!(payload_text(&payload), expected);
    }

    #[test]
    fn a_text_that_is_approved_is_whole_and_attachments_come_after_it() {
        let body = format!("Dear Ann,\n\n{}\n\nBob", "word ".repeat(700).trim_end());
        let payload = json!({"attachments": [{"name": "a.txt"}], "body": body, "to": "ann@b.example"});
        let text = payload_text(&payload);
        let expected = format!(
            "to: ann@b[.]example\nbody:\n  Dear Ann,\n\n  {}\n\n  Bob\nattachments:\n  1.\n    name: a.txt\n",
            "word ".repeat(700).trim_end()
        );
        assert_eq!(text, expected);
        let long = payload_text(&json!({"body": "x".repeat(4001)}));
        assert!(long.contains("characters not shown"), "{long}");
    }

    #[test]
    fn a_huge_payload_makes_a_short_message() {
        let many: Map<_, _> = (0..5000).map(|n| (format!("k{n:04}"), json!("v".repeat(5000)))).collect();
        let text = payload_text(&Value::Object(many));
        assert!(text.len() < 4000, "{}", text.len());
        assert!(text.ends_with(" more lines; the page shows everything)\n"));
        assert!(text.contains("(... 4,880 characters not shown ...)"));
    }
}
