//! What will be done, as plain text for messages: one line, or a few. Written from the payload alone.
//!
//! No HTML, and none of the agent's own words.

use super::fields::{Weight, is_lookalike, lookalikes, ordered, rank, weight_of_rank};
use super::text::{elided, grouped, marked, plain, unlinked};
use crate::payload::canonical_text;
use serde_json::{Number, Value};

/// The longest headline, in characters: with a link it still fits one email subject or two text messages.
const HEADLINE_CHARS: usize = 140;
const ACTION_CHARS: usize = 48;
const NAME_CHARS: usize = 26;
const VALUE_CHARS: usize = 48;
/// More facts than this never fit a headline.
const MOST_FACTS: usize = 10;
/// Lists longer than this are counted, not walked.
const WALKED_ITEMS: usize = 3;
/// Deeper fields are counted, not named.
const WALKED_LEVELS: usize = 5;

const MESSAGE_LINES: usize = 40;
const MESSAGE_CHARS: usize = 3000;
const MESSAGE_VALUE_CHARS: usize = 160;

/// One thing that the headline says.
#[derive(Debug, PartialEq, Eq)]
pub struct Fact {
    /// The keys that lead to the value, joined with slashes.
    pub name: String,
    /// The value, hidden characters named, quoted unless it is a plain word.
    pub value: String,
    /// The value itself, if it is a number.
    pub number: Option<Number>,
    rank: u8,
    depth: usize,
}

/// What a headline says, and how much it leaves out.
pub struct Facts {
    /// The facts that fit, the most telling first.
    pub told: Vec<Fact>,
    /// How many did not fit.
    pub untold: usize,
}

/// The gate's own one-line summary, at most 140 characters of plain text.
///
/// Deterministic: money first, then whom or what it reaches, then the rest by key.
/// Safe in a message: hidden characters are named and nothing becomes a link.
pub fn headline(action: &str, payload: &Value) -> String {
    headline_that_fits(action, payload, |line| line.chars().count() <= HEADLINE_CHARS)
}

/// The same words for a page of the gate's own, where nothing becomes a link by itself: addresses stay as they are.
pub fn headline_on_page(action: &str, payload: &Value) -> String {
    let survey = Survey::of(payload);
    let room =
        rooms(&survey).into_iter().find(|room| room.line(action, &survey).chars().count() <= HEADLINE_CHARS);
    room.map_or_else(|| plain(action), |room| room.worded(action, &survey, str::to_owned))
}

/// The summary with as many facts as fit; the first one is told however short its value must become.
///
/// The shortest line there is when nothing fits.
pub(super) fn headline_that_fits(action: &str, payload: &Value, fits: impl Fn(&str) -> bool) -> String {
    let survey = Survey::of(payload);
    let mut line = String::new();
    for room in rooms(&survey) {
        line = room.line(action, &survey);
        if fits(&line) {
            break;
        }
    }
    line
}

/// Chooses the facts that fit the headline, most telling first.
pub fn facts(action: &str, payload: &Value) -> Facts {
    let mut survey = Survey::of(payload);
    let count = rooms(&survey)
        .into_iter()
        .find(|room| room.line(action, &survey).chars().count() <= HEADLINE_CHARS)
        .map_or(0, |room| room.facts);
    survey.best.truncate(count);
    Facts { untold: survey.seen - survey.best.len(), told: survey.best }
}

/// How much of everything a line tells.
struct Room {
    facts: usize,
    value_chars: usize,
    name_chars: usize,
    action_chars: usize,
}

/// From much to little: fewer facts first, then shorter values.
fn rooms(survey: &Survey) -> Vec<Room> {
    let most = survey.best.len();
    let whole = (1..=most).rev().map(|facts| Room {
        facts,
        value_chars: VALUE_CHARS,
        name_chars: NAME_CHARS,
        action_chars: ACTION_CHARS,
    });
    let short = [(32, 20, 32), (20, 14, 24), (12, 10, 16), (8, 8, 12)].map(
        |(value_chars, name_chars, action_chars)| Room {
            facts: most.min(1),
            value_chars,
            name_chars,
            action_chars,
        },
    );
    let none = [ACTION_CHARS, 16, 8].map(|action_chars| Room {
        facts: 0,
        value_chars: 0,
        name_chars: 0,
        action_chars,
    });
    whole.chain(short).chain(none).collect()
}

impl Room {
    fn line(&self, action: &str, survey: &Survey) -> String {
        self.worded(action, survey, unlinked)
    }

    fn worded(&self, action: &str, survey: &Survey, write: fn(&str) -> String) -> String {
        let mut line = write(&elided(&plain(action), self.action_chars));
        let mut separator = ": ";
        for fact in survey.best.iter().take(self.facts) {
            line.push_str(separator);
            line.push_str(&write(&elided(&fact.name, self.name_chars)));
            line.push(' ');
            line.push_str(&write(&elided(&fact.value, self.value_chars)));
            separator = ", ";
        }
        let untold = survey.seen - self.facts.min(survey.best.len());
        if survey.seen == 0 {
            line.push_str(": no details");
        } else if untold > 0 {
            line.push_str(separator);
            line.push_str(&more(untold));
        }
        line
    }
}

fn more(count: usize) -> String {
    format!("+{} more", grouped(count))
}

/// The most telling facts of a payload, kept sorted while it is walked.
struct Survey {
    best: Vec<Fact>,
    seen: usize,
}

impl Survey {
    fn of(payload: &Value) -> Self {
        let mut survey = Self { best: Vec::new(), seen: 0 };
        survey.walk(payload, &mut Vec::new());
        survey
    }

    fn walk<'a>(&mut self, value: &'a Value, path: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) if !object.is_empty() && path.len() < WALKED_LEVELS => {
                // Sorted here too: a map that keeps the sender's order must not change the words.
                let mut fields: Vec<_> = object.iter().collect();
                fields.sort_unstable_by_key(|&(key, _)| key);
                for (key, value) in fields {
                    path.push(key);
                    self.walk(value, path);
                    path.pop();
                }
            }
            Value::Array(items)
                if items.len() <= WALKED_ITEMS
                    && path.len() < WALKED_LEVELS
                    && items.iter().any(Value::is_object) =>
            {
                for (item, position) in items.iter().zip(["1", "2", "3"]) {
                    path.push(position);
                    self.walk(item, path);
                    path.pop();
                }
            }
            _ if path.is_empty() => {}
            _ => self.note(value, path),
        }
    }

    fn note(&mut self, value: &Value, path: &[&str]) {
        self.seen += 1;
        let rank = rank(path.last().copied().unwrap_or_default(), value);
        let depth = path.len();
        let is_better = self.best.len() < MOST_FACTS
            || self.best.last().is_some_and(|worst| place(rank, depth) < place(worst.rank, worst.depth));
        if !is_better {
            return;
        }
        let name = path.iter().map(|key| spelled(key)).collect::<Vec<_>>().join("/");
        let number = value.as_number().cloned();
        let value = brief(value, weight_of_rank(rank));
        let fact = Fact { name: elided(&name, NAME_CHARS), value, number, rank, depth };
        let place_of = |fact: &Fact| (place(fact.rank, fact.depth), fact.name.clone());
        let at = self.best.partition_point(|other| place_of(other) <= place_of(&fact));
        self.best.insert(at, fact);
        self.best.truncate(MOST_FACTS);
    }
}

/// What comes first: an amount and its currency stay together, before amounts further down.
fn place(rank: u8, depth: usize) -> (u8, usize, u8) {
    (rank.max(1), depth, rank)
}

/// An address with its lookalike characters named: a message has no room to warn beside it.
fn unmasked(text: &str) -> String {
    text.chars()
        .map(|character| if is_lookalike(character) { marked(character) } else { character.to_string() })
        .collect()
}

/// A value in few characters; a list or an object is counted.
fn brief(value: &Value, weight: Weight) -> String {
    match value {
        Value::String(text) if weight == Weight::Address && !lookalikes(text).is_empty() => {
            quoted(&unmasked(text))
        }
        Value::String(text) => worded(text),
        Value::Array(items)
            if items.iter().all(|item| !item.is_object() && !item.is_array()) && !items.is_empty() =>
        {
            let shown: Vec<_> =
                items.iter().take(2).map(|item| elided(&brief(item, weight), VALUE_CHARS / 2)).collect();
            let rest = items.len() - shown.len();
            let rest = if rest == 0 { String::new() } else { format!(", {}", more(rest)) };
            format!("[{}{rest}]", shown.join(", "))
        }
        Value::Array(items) if items.len() == 1 => "1 item".to_owned(),
        Value::Array(items) => format!("{} items", grouped(items.len())),
        Value::Object(fields) if fields.len() == 1 => "1 field".to_owned(),
        Value::Object(fields) => format!("{} fields", grouped(fields.len())),
        Value::Null | Value::Bool(_) | Value::Number(_) => canonical_text(value),
    }
}

/// A plain word as it is; anything else quoted, so that its commas cannot pass for the gate's own.
fn worded(text: &str) -> String {
    let looks_like_another_type = matches!(text, "null" | "true" | "false") || text.parse::<f64>().is_ok();
    if looks_like_another_type { quoted(text) } else { spelled(text) }
}

/// A key, or a word that cannot be taken for a number.
fn spelled(text: &str) -> String {
    let is_word = !text.is_empty()
        && text.chars().all(|character| character.is_alphanumeric() || "@._+-/:#?=&%".contains(character));
    if is_word { elided(&plain(text), VALUE_CHARS) } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", elided(&plain(text).replace('"', "\\\""), VALUE_CHARS - 2))
}

/// The payload as indented plain lines for an email: capped, and saying what was left out.
///
/// Safe in a message: hidden characters are named and nothing becomes a link.
pub fn payload_text(payload: &Value) -> String {
    let mut lines = Lines { text: String::new(), left: MESSAGE_LINES, dropped: 0 };
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
    dropped: usize,
}

impl Lines {
    fn put(&mut self, value: &Value, weight: Weight, depth: usize) {
        match value {
            Value::Object(object) => {
                for (key, value) in ordered(object) {
                    self.field(&elided(&spelled(key), 80), value, weight_of_rank(rank(key, value)), depth);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.field(&format!("{}.", index + 1), item, weight, depth);
                }
            }
            _ => self.line(depth, &leaf(value, weight)),
        }
    }

    fn field(&mut self, name: &str, value: &Value, weight: Weight, depth: usize) {
        let nests = match value {
            Value::Object(fields) => !fields.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        let colon = if name.ends_with('.') { "" } else { ":" };
        if nests && depth < WALKED_LEVELS {
            self.line(depth, &format!("{name}{colon}"));
            self.put(value, weight, depth + 1);
        } else {
            self.line(depth, &format!("{name}{colon} {}", leaf(value, weight)));
        }
    }

    fn line(&mut self, depth: usize, line: &str) {
        if self.left == 0 || self.text.len() > MESSAGE_CHARS {
            self.dropped += 1;
            return;
        }
        self.left -= 1;
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
        Value::String(text) => plain(text),
        other => plain(&canonical_text(other)),
    };
    let length = text.chars().count();
    if length <= MESSAGE_VALUE_CHARS {
        return text;
    }
    let head: String = text.chars().take(MESSAGE_VALUE_CHARS / 2).collect();
    let tail: String = text.chars().skip(length - MESSAGE_VALUE_CHARS / 4).collect();
    let hidden = length - MESSAGE_VALUE_CHARS / 2 - MESSAGE_VALUE_CHARS / 4;
    format!("{head} (... {} characters not shown ...) {tail}", grouped(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_payment_reads_as_one_line() {
        let payload = json!({"to": "acme@example.com", "currency": "EUR", "amount": 5000});
        assert_eq!(
            headline("payment.send", &payload),
            "payment.send: amount 5000, currency EUR, to acme@example[.]com"
        );
    }

    #[test]
    fn on_a_page_addresses_stay_as_they_are() {
        let payload = json!({"to": "acme@example.com", "site": "www.evil.com\u{202e}"});
        assert_eq!(
            headline_on_page("deploy.run", &payload),
            "deploy.run: to acme@example.com, site \"www.evil.com<U+202E>\""
        );
        assert_eq!(
            headline("deploy.run", &payload),
            "deploy[.]run: to acme@example[.]com, site \"www[.]evil[.]com<U+202E>\""
        );
    }

    #[test]
    fn headlines_follow_the_payload() {
        for (payload, expected) in [
            (json!({}), "x.y: no details"),
            (
                json!({"transfer": {"amount": 5, "to": "a@b.example"}}),
                "x.y: transfer/amount 5, transfer/to a@b[.]example",
            ),
            (json!({"items": [1, 2, 3]}), "x.y: items [1, 2, +1 more]"),
            (json!({"items": [{}, {}, {}, {}]}), "x.y: items 4 items"),
            (json!({"payments": [{"amount": 9}]}), "x.y: payments/1/amount 9"),
            (json!({"note": "pay 5, to bob"}), "x.y: note \"pay 5, to bob\""),
            (json!({"note": "say \"hi\""}), "x.y: note \"say \\\"hi\\\"\""),
            (json!({"amount": "5"}), "x.y: amount \"5\""),
            (json!({"amount": 5.5, "ok": true, "gone": null}), "x.y: amount 5.5, gone null, ok true"),
            (json!({"url": "https://a.example/x"}), "x.y: url https[:]//a[.]example/x"),
            (json!({"to": "evil.com?x@y"}), "x.y: to evil[.]com?x@y"),
            (json!({"to": "+19005550100"}), "x.y: to \"+1900[5550]100\""),
            (json!({"evil.com": "label.pdf"}), "x.y: evil[.]com label.pdf"),
            (json!({"rate": 1e-6, "amount": 1e20}), "x.y: amount 100000000000000000000, rate 0.000001"),
            (json!({"to": "a\u{202e}b"}), "x.y: to \"a<U+202E>b\""),
            (json!({"to": "\u{430}cme@example.com"}), "x.y: to \"<U+0430>cme@example[.]com\""),
            (json!({"to": ["\u{430}@b.example"]}), "x.y: to [\"<U+0430>@b[.]example\"]"),
        ] {
            assert_eq!(headline("x.y", &payload), expected);
        }
    }

    #[test]
    fn a_headline_has_at_most_140_characters_and_says_what_it_leaves_out() {
        let padded = json!({
            "a": "x".repeat(60_000), "b": "\u{200b}\u{200c}".repeat(900), "amount": 7,
            "k".repeat(500): 1, "c": ["y".repeat(900), "z".repeat(900)], "deep": {"to": "q".repeat(900)},
        });
        for action in [
            "x",
            "www.a.co.a.co.a.co.a.co.a.co.a.co.a.co",
            "long.action.name.that.goes.on.and.on.and.on.and.on.and.on.and.on.and.on.and.on",
        ] {
            let line = headline(action, &padded);
            assert!(line.chars().count() <= 140, "{line}");
            assert!(line.contains(": amount 7, "), "{line}");
            assert!(line.ends_with(" more"), "{line}");
        }
    }

    #[test]
    fn the_first_fact_is_always_told() {
        let mut payload: serde_json::Map<_, _> = (0..9000).map(|n| (format!("{n}"), json!(n))).collect();
        payload.insert(format!("amount.{}", "a.bc".repeat(20)), json!("d.ef".repeat(100)));
        let line = headline(&"long.action.".repeat(20), &Value::Object(payload));
        assert!(line.contains(": amount") && line.ends_with(", +9,000 more"), "{line}");
        assert!(line.chars().count() <= 140, "{line}");
    }

    #[test]
    fn the_headline_does_not_depend_on_key_order() {
        let one: Value = serde_json::from_str(r#"{"b":1,"a":2,"to":"x"}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"to":"x","a":2,"b":1}"#).unwrap();
        assert_eq!(headline("x", &one), headline("x", &other));
    }

    #[test]
    fn a_message_lists_the_payload_line_by_line() {
        let payload = json!({
            "amount": 5, "to": ["a@b.example", "\u{430}@d.example"], "meta": {"note": "x\ny", "link": "http://e.example"}, "no": "", "e": {},
        });
        let expected = "amount: 5\nto:\n  1. a@b[.]example\n  2. <U+0430>@d[.]example\ne: {}\nmeta:\n  link: http[:]//e[.]example\n  note: x / y\nno: (empty text)\n";
        assert_eq!(payload_text(&payload), expected);
    }

    #[test]
    fn a_huge_payload_makes_a_short_message() {
        let many: serde_json::Map<_, _> =
            (0..5000).map(|n| (format!("k{n:04}"), json!("v".repeat(500)))).collect();
        let text = payload_text(&Value::Object(many));
        assert!(text.len() < 4000, "{}", text.len());
        assert!(text.ends_with(" more lines; the page shows everything)\n"));
        assert!(text.contains("(... 380 characters not shown ...)"));
    }
}
