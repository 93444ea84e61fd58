//! The facts of a payload, the most telling first: a line of them, and the few that a page shows beside its title.
//!
//! No HTML, and none of the agent's own words.

use serde_json::{Map, Value};

use super::fields::{is_amount, is_currency, is_lookalike, is_text, rank};
use super::money::amount;
use super::money::currency_of;
use super::path::FieldPath;
use super::text::{elided, grouped, marked, plain};
use super::title::{Title, TitlePiece, brief};

const ACTION_CHARS: usize = 48;
const NAME_CHARS: usize = 26;
const VALUE_CHARS: usize = 48;
/// More facts than this never fit a line.
const MOST_FACTS: usize = 10;
/// Lists longer than this are counted, not walked.
const WALKED_ITEMS: usize = 3;
/// Deeper fields are counted, not named.
const WALKED_LEVELS: usize = 5;

/// One field, and how telling it is.
#[derive(Clone, Debug)]
struct Fact<'p> {
    /// The keys that lead to it.
    keys: Vec<&'p str>,
    value: &'p Value,
    /// The currency beside it, where it is an amount.
    currency: Option<&'p str>,
    rank: u8,
}

/// The facts that a page shows beside its title, at most so many: the most telling that the title does not tell.
///
/// Texts to read, attachments and long lists are not facts: they are shown by themselves.
pub fn top_facts(payload: &Value, told: &[FieldPath], most: usize) -> Vec<FieldPath> {
    let survey = Survey::of(payload);
    let is_short = |value: &Value| match value {
        Value::Array(items) => {
            items.iter().all(|item| !item.is_object() && !item.is_array()) && items.len() <= WALKED_ITEMS
        }
        Value::Object(_) | Value::Null => false,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    survey
        .best
        .iter()
        .filter(|fact| {
            is_short(fact.value) && !is_text(fact.keys.last().copied().unwrap_or_default(), fact.value)
        })
        // What is in a list belongs to its line, or to its attachment.
        .filter(|fact| !fact.keys.iter().any(|key| key.bytes().all(|byte| byte.is_ascii_digit())))
        .map(|fact| FieldPath::of(&fact.keys))
        .filter(|path| !told.iter().any(|told| told.overlaps(path)))
        .take(most)
        .collect()
}

/// The action's name and as many facts as fit; the first one is told however short its value must become.
///
/// The shortest line there is when nothing fits.
pub(super) fn facts_line(action: &str, payload: &Value, fits: impl Fn(&str) -> bool) -> Title {
    let survey = Survey::of(payload);
    let mut title = Title { pieces: Vec::new(), told: Vec::new() };
    for room in rooms(&survey) {
        title = room.title(action, &survey);
        if fits(&title.line()) {
            break;
        }
    }
    title
}

/// How much of everything a line tells.
struct Room {
    facts: usize,
    value_chars: usize,
    name_chars: usize,
    action_chars: usize,
}

/// From much to little: fewer facts first, then shorter values.
fn rooms(survey: &Survey<'_>) -> Vec<Room> {
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
    fn title(&self, action: &str, survey: &Survey<'_>) -> Title {
        let mut title = Title {
            pieces: vec![TitlePiece::Words(elided(&plain(action), self.action_chars))],
            told: Vec::new(),
        };
        let mut separator = ": ";
        for fact in survey.best.iter().take(self.facts) {
            let name: Vec<String> = fact.keys.iter().map(|key| plain(key)).collect();
            let name = elided(&name.join("/"), self.name_chars);
            title.pieces.push(TitlePiece::Words(format!("{separator}{name} ")));
            title.pieces.push(TitlePiece::Value(fact.worded(self.value_chars)));
            title.told.push(FieldPath::of(&fact.keys));
            separator = ", ";
        }
        let untold = survey.seen - self.facts.min(survey.best.len());
        if survey.seen == 0 {
            title.pieces.push(TitlePiece::Words(": no details".to_owned()));
        } else if untold > 0 {
            title.pieces.push(TitlePiece::Words(format!("{separator}+{} more", grouped(untold))));
        }
        title
    }
}

impl Fact<'_> {
    fn worded(&self, most: usize) -> String {
        let key = self.keys.last().copied().unwrap_or_default();
        if let Some(code) = self.currency
            && let Some(figures) = amount(key, self.value, code)
        {
            return format!("{figures} {code}");
        }
        let words = brief(key, self.value, most);
        // Where a value could pass for the next fact, marks say how far it goes.
        let is_text = self.value.is_string() || self.value.is_array();
        let could_mislead = is_text && (words.contains(", ") || words.contains(": ") || words.contains('’'));
        if could_mislead { format!("‘{}’", words.replace('’', "'")) } else { words }
    }
}

/// The most telling facts of a payload, kept sorted while it is walked.
struct Survey<'p> {
    best: Vec<Fact<'p>>,
    seen: usize,
}

impl<'p> Survey<'p> {
    fn of(payload: &'p Value) -> Self {
        let mut survey = Self { best: Vec::new(), seen: 0 };
        survey.walk(payload, &mut Vec::new(), None);
        survey
    }

    fn walk(&mut self, value: &'p Value, path: &mut Vec<&'p str>, currency: Option<&'p str>) {
        match value {
            Value::Object(object) if !object.is_empty() && path.len() < WALKED_LEVELS => {
                self.fields(object, path);
            }
            Value::Array(items)
                if items.len() <= WALKED_ITEMS
                    && path.len() < WALKED_LEVELS
                    && items.iter().any(Value::is_object) =>
            {
                for (item, position) in items.iter().zip(["0", "1", "2"]) {
                    path.push(position);
                    self.walk(item, path, None);
                    path.pop();
                }
            }
            _ if path.is_empty() => {}
            _ => self.note(value, path, currency),
        }
    }

    fn fields(&mut self, object: &'p Map<String, Value>, path: &mut Vec<&'p str>) {
        let currency = currency_of(object);
        // An amount says its currency itself; then the currency is no fact of its own.
        let says_it = |(key, value): (&String, &Value)| {
            currency.is_some_and(|(_, code)| is_amount(key) && amount(key, value, code).is_some())
        };
        let is_said = object.iter().any(says_it);
        // Sorted here too: a map that keeps the sender's order must not change the words.
        let mut fields: Vec<_> = object.iter().collect();
        fields.sort_unstable_by_key(|&(key, _)| key);
        for (key, value) in fields {
            if is_said && is_currency(key) && currency.is_some_and(|(known, _)| known == key) {
                continue;
            }
            let code = currency.map(|(_, code)| code).filter(|_| is_amount(key));
            path.push(key);
            self.walk(value, path, code);
            path.pop();
        }
    }

    fn note(&mut self, value: &'p Value, path: &[&'p str], currency: Option<&'p str>) {
        self.seen += 1;
        let rank = rank(path.last().copied().unwrap_or_default(), value);
        let fact = Fact { keys: path.to_vec(), value, currency, rank };
        let place_of = |fact: &Fact<'_>| (place(fact.rank, fact.keys.len()), fact.keys.join("/"));
        let at = self.best.partition_point(|other| place_of(other) <= place_of(&fact));
        if at < MOST_FACTS {
            self.best.insert(at, fact);
            self.best.truncate(MOST_FACTS);
        }
    }
}

/// What comes first: an amount and its currency stay together, before amounts further down.
fn place(rank: u8, depth: usize) -> (u8, usize, u8) {
    (rank.max(1), depth, rank)
}

/// An address with its lookalike characters named: a message has no room to warn beside it.
pub(super) fn unmasked(text: &str) -> String {
    text.chars()
        .map(|character| if is_lookalike(character) { marked(character) } else { character.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::title::TITLE_CHARS;
    use super::*;

    fn headline(action: &str, payload: &Value) -> String {
        facts_line(action, payload, |line| line.chars().count() <= TITLE_CHARS).line()
    }

    #[test]
    fn a_line_of_facts_follows_the_payload() {
        for (payload, expected) in [
            (json!({}), "x.y: no details"),
            (
                json!({"transfer": {"amount": 5, "currency": "EUR", "to": "a@b.example"}}),
                "x.y: transfer/amount 5.00 EUR, transfer/to a@b[.]example",
            ),
            (json!({"items": [1, 2, 3, 4]}), "x.y: items ‘1, 2 and 2 more’"),
            (json!({"items": [{}, {}, {}, {}]}), "x.y: items 4 items"),
            (json!({"payments": [{"amount": 9}]}), "x.y: payments/0/amount 9"),
            (json!({"note": "pay 5, to bob"}), "x.y: note ‘pay 5, to bob’"),
            (json!({"note": "pay 5’, to bob"}), "x.y: note ‘pay 5', to bob’"),
            (json!({"note": "say \"hi\""}), "x.y: note say \"hi\""),
            (json!({"amount": "5"}), "x.y: amount 5"),
            (json!({"amount": 5.5, "ok": true, "gone": null}), "x.y: amount 5.5, gone (none), ok yes"),
            (json!({"url": "https://a.example/x"}), "x.y: url https[:]//a[.]example/x"),
            (json!({"to": "evil.com?x@y"}), "x.y: to evil[.]com?x@y"),
            (json!({"to": "+19005550100"}), "x.y: to +1900[5550]100"),
            (json!({"evil.com": "label.pdf"}), "x.y: evil[.]com label.pdf"),
            (json!({"rate": 1e-6, "amount": 123_456}), "x.y: amount 123,456, rate 0.000001"),
            (json!({"to": "a\u{202e}b"}), "x.y: to a<U+202E>b"),
            (json!({"to": "\u{430}cme@example.com"}), "x.y: to <U+0430>cme@example[.]com"),
            (json!({"to": ["\u{430}@b.example"]}), "x.y: to <U+0430>@b[.]example"),
        ] {
            assert_eq!(headline("x.y", &payload), expected);
        }
    }

    #[test]
    fn a_line_has_at_most_140_characters_and_says_what_it_leaves_out() {
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
        let mut payload: Map<_, _> = (0..9000).map(|n| (format!("{n}"), json!(n))).collect();
        payload.insert(format!("amount.{}", "a.bc".repeat(20)), json!("d.ef".repeat(100)));
        let line = headline(&"long.action.".repeat(20), &Value::Object(payload));
        assert!(line.contains(": amount") && line.ends_with(", +9,000 more"), "{line}");
        assert!(line.chars().count() <= 140, "{line}");
    }

    #[test]
    fn the_line_does_not_depend_on_key_order() {
        let one: Value = serde_json::from_str(r#"{"b":1,"a":2,"to":"x"}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"to":"x","a":2,"b":1}"#).unwrap();
        assert_eq!(headline("x", &one), headline("x", &other));
    }

    #[test]
    fn the_facts_beside_a_title_are_those_that_it_does_not_tell() {
        let payload = json!({
            "amount": 5, "currency": "EUR", "to": "ACME", "iban": "DE89370400440532013000", "invoice": "INV-7",
            "body": "Dear all", "lines": [{}, {}, {}, {}], "zeta": 1,
        });
        let told = [FieldPath::parse("payload.amount").unwrap(), FieldPath::parse("payload.to").unwrap()];
        let facts: Vec<_> = top_facts(&payload, &told, 3).iter().map(ToString::to_string).collect();
        assert_eq!(facts, ["payload.iban", "payload.invoice", "payload.zeta"]);
    }
}
