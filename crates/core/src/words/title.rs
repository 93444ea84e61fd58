//! The title: what will be done, in one line of the gate's own words, made from the payload that is hashed.
//!
//! A rule can say it (`title`); else it is made from action and payload. Values are shown as people write them: money,
//! account numbers, plain words, without quotes. No HTML here, and none of the agent's own words.

use serde_json::Value;

use super::fields::{self, Weight, lookalikes};
use super::headline::{facts_line, unmasked};
use super::money::{amount, currency_of, decimal_text, grouped_decimal, iban};
use super::path::FieldPath;
use super::phrase::phrase;
use super::template::{Part, TitleTemplate};
use super::text::{elided, grouped, plain, unlinked};

/// The longest title, in characters: with a link it still fits one subject or two text messages.
pub const TITLE_CHARS: usize = 140;
/// How long one value may be, from much to little, until the title fits.
const VALUE_CHARS: [usize; 7] = [100, 72, 48, 32, 20, 12, 8];
/// Lists name so many of their items.
const NAMED_ITEMS: usize = 2;

/// A title, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// In order; together they are the line.
    pub pieces: Vec<TitlePiece>,
    /// The fields that it tells, so that they need not be told again beside it.
    pub told: Vec<FieldPath>,
}

/// A piece of a title. Hidden characters are named in it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TitlePiece {
    /// The words of the policy, or of the gate.
    Words(String),
    /// What the payload says there.
    Value(String),
}

impl TitlePiece {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::Words(text) | Self::Value(text) => text,
        }
    }
}

impl Title {
    /// The title of a payload: by the rule's template, or the gate's own words for that action.
    ///
    /// `payload` is what people may see of it: secrets are masked already.
    pub fn of(template: Option<&TitleTemplate>, action: &str, payload: &Value) -> Self {
        Self::that_fits(template, action, payload, |line| line.chars().count() <= TITLE_CHARS)
    }

    /// The same, with values so short that the line fits; the shortest there is when none does.
    pub(super) fn that_fits(
        template: Option<&TitleTemplate>,
        action: &str,
        payload: &Value,
        fits: impl Fn(&str) -> bool,
    ) -> Self {
        let own;
        let parts = match template {
            Some(template) => &template.parts,
            None => match phrase(action, payload) {
                Some(parts) => {
                    own = parts;
                    &own
                }
                None => return facts_line(action, payload, fits),
            },
        };
        let mut title = Self { pieces: Vec::new(), told: Vec::new() };
        for value_chars in VALUE_CHARS {
            title = worded(parts, payload, value_chars);
            if fits(&title.line()) {
                break;
            }
        }
        title
    }

    /// One line of plain text for a message: nothing in it becomes a link.
    pub fn line(&self) -> String {
        unlinked(&self.on_page())
    }

    /// One line of plain text for a page of the gate's own, where nothing becomes a link by itself.
    pub fn on_page(&self) -> String {
        self.pieces.iter().map(TitlePiece::text).collect()
    }
}

/// The parts with their values, none longer than that.
fn worded(parts: &[Part], payload: &Value, value_chars: usize) -> Title {
    let mut title = Title { pieces: Vec::new(), told: Vec::new() };
    let mut rest = parts;
    while let Some((part, after)) = rest.split_first() {
        rest = after;
        let path = match part {
            Part::Words(words) => {
                title.pieces.push(TitlePiece::Words(plain(words)));
                continue;
            }
            Part::Field(path) => path,
        };
        let value = path.find(payload);
        title.told.push(path.clone());
        // An amount beside its currency, in either order, is money: said once.
        let neighbour = match rest {
            [Part::Words(gap), Part::Field(next), after @ ..] if gap.trim().is_empty() => Some((next, after)),
            [Part::Field(next), after @ ..] => Some((next, after)),
            _ => None,
        };
        if let Some((next, after)) = neighbour
            && let Some(money) = money(path, next, payload).or_else(|| money(next, path, payload))
        {
            title.told.push(next.clone());
            title.pieces.push(TitlePiece::Value(money));
            rest = after;
            continue;
        }
        let text = match value {
            None => "(missing)".to_owned(),
            Some(value) => {
                let said_elsewhere = |currency: &FieldPath| parts.contains(&Part::Field(currency.clone()));
                match currency_beside(path, payload) {
                    Some(currency) if fields::is_amount(path.last()) => {
                        let code = currency.find(payload).and_then(Value::as_str).unwrap_or_default();
                        let figures = amount(path.last(), value, code);
                        let is_said = said_elsewhere(&currency);
                        match figures {
                            Some(figures) if is_said => figures,
                            Some(figures) => {
                                title.told.push(currency);
                                format!("{figures} {code}")
                            }
                            None => brief(path.last(), value, value_chars),
                        }
                    }
                    _ => brief(path.last(), value, value_chars),
                }
            }
        };
        title.pieces.push(TitlePiece::Value(text));
    }
    title
}

/// A field as people write it, an amount with the currency beside it; texts up to 200 characters.
pub fn field_in_words(path: &FieldPath, payload: &Value) -> String {
    let title = worded(&[Part::Field(path.clone())], payload, 200);
    title.pieces.iter().map(TitlePiece::text).collect()
}

/// An amount and its currency as money.
fn money(amount_at: &FieldPath, currency_at: &FieldPath, payload: &Value) -> Option<String> {
    let code = currency_at.find(payload)?.as_str()?;
    let figures = amount(amount_at.last(), amount_at.find(payload)?, code)?;
    Some(format!("{figures} {code}"))
}

/// The field beside an amount that names its currency.
pub(super) fn currency_beside(amount_at: &FieldPath, payload: &Value) -> Option<FieldPath> {
    let fields = amount_at.parent(payload)?.as_object()?;
    let (key, _) = currency_of(fields)?;
    Some(amount_at.beside(key))
}

/// A value in few characters, as people write it.
pub fn brief(key: &str, value: &Value, most: usize) -> String {
    match value {
        Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        Value::String(text) => match iban(text) {
            Some(iban) => iban.grouped,
            None if is_plain_money(key, value) => grouped_decimal(text, 0),
            None => elided(&shown(key, text), most),
        },
        Value::Number(_) if is_plain_money(key, value) => {
            decimal_text(value).map_or_else(String::new, |text| grouped_decimal(&text, 0))
        }
        Value::Array(items)
            if fields::is_command(key) && !items.is_empty() && items.iter().all(Value::is_string) =>
        {
            let words = items.iter().filter_map(Value::as_str).map(as_argument).collect::<Vec<_>>();
            elided(&plain(&words.join(" ")), most)
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(is_leaf) => {
            let named = if items.len() == NAMED_ITEMS + 1 { items.len() } else { NAMED_ITEMS };
            let room = most / named.min(items.len()).max(1);
            let mut words: Vec<String> =
                items.iter().take(named).map(|item| brief(key, item, room)).collect();
            let rest = items.len().saturating_sub(named);
            if rest > 0 {
                words.push(format!("{} more", grouped(rest)));
            }
            joined(&words)
        }
        Value::Array(items) if items.is_empty() => "nothing".to_owned(),
        Value::Array(items) if items.len() == 1 => "1 item".to_owned(),
        Value::Array(items) => format!("{} items", grouped(items.len())),
        Value::Object(fields) => fields::name_of(fields).map_or_else(
            || match fields.len() {
                1 => "1 field".to_owned(),
                count => format!("{} fields", grouped(count)),
            },
            |(key, name)| brief(key, name, most),
        ),
        Value::Null => "(none)".to_owned(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(_) => crate::payload::canonical_text(value),
    }
}

/// A text whose hidden characters are named; in an address, lookalikes too: a message has no room to warn beside it.
fn shown(key: &str, text: &str) -> String {
    let is_address = fields::weight(key, &Value::String(text.to_owned())) == Weight::Address;
    if is_address && !lookalikes(text).is_empty() { plain(&unmasked(text)) } else { plain(text) }
}

/// An argument as a shell would need it: what has spaces or signs in it stands in quotes.
fn as_argument(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.chars().all(|character| character.is_alphanumeric() || "-_./:=@%+,~".contains(character));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Whether a value is a number of something: an amount, not an id.
fn is_plain_money(key: &str, value: &Value) -> bool {
    fields::is_amount(key) && decimal_text(value).is_some()
}

const fn is_leaf(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn titled(template: &str, payload: &Value) -> String {
        Title::of(Some(&TitleTemplate::parse(template).unwrap()), "x.y", payload).line()
    }

    const PAY: &str = "Pay {payload.amount} {payload.currency} to {payload.to}";

    #[test]
    fn an_amount_beside_its_currency_is_money_and_said_once() {
        for (template, payload, expected) in [
            (
                PAY,
                json!({"amount": 5000, "currency": "EUR", "to": "ACME GmbH"}),
                "Pay 5,000.00 EUR to ACME GmbH",
            ),
            (PAY, json!({"amount": 5000, "currency": "JPY", "to": "ACME"}), "Pay 5,000 JPY to ACME"),
            (PAY, json!({"amount": 5000, "currency": "KWD", "to": "ACME"}), "Pay 5,000.000 KWD to ACME"),
            (PAY, json!({"amount": "19.9", "currency": "USD", "to": "ACME"}), "Pay 19.90 USD to ACME"),
            (PAY, json!({"amount": 0.125, "currency": "USD", "to": "ACME"}), "Pay 0.125 USD to ACME"),
            (PAY, json!({"amount": 5000, "currency": "points", "to": "ACME"}), "Pay 5,000 points to ACME"),
            (PAY, json!({"amount": "all", "currency": "EUR", "to": "ACME"}), "Pay all EUR to ACME"),
            (PAY, json!({"amount": 5000}), "Pay 5,000 (missing) to (missing)"),
            ("{payload.currency} {payload.amount}", json!({"amount": 5, "currency": "EUR"}), "5.00 EUR"),
            ("{payload.currency}{payload.amount}!", json!({"amount": 5, "currency": "EUR"}), "5.00 EUR!"),
            ("Pay {payload.amount}", json!({"amount": 5, "currency": "EUR"}), "Pay 5.00 EUR"),
            (
                "Pay {payload.amount} in {payload.currency}",
                json!({"amount": 5, "currency": "EUR"}),
                "Pay 5.00 in EUR",
            ),
            (
                "Pay {payload.p.amount}",
                json!({"p": {"amount": 5, "currency": "EUR"}, "currency": "USD"}),
                "Pay 5.00 EUR",
            ),
            ("Invoice {payload.id}", json!({"id": 4711, "currency": "EUR"}), "Invoice 4711"),
            ("Pay {payload.amount}", json!({"amount": 1_250_000}), "Pay 1,250,000"),
        ] {
            assert_eq!(titled(template, &payload), expected);
        }
    }

    #[test]
    fn account_numbers_are_grouped_and_lists_are_read_out() {
        for (value, expected) in [
            (json!("DE89370400440532013000"), "To DE89 3704 0044 0532 0130 00"),
            (json!(["a", "b"]), "To a and b"),
            (json!(["a", "b", "c"]), "To a, b and c"),
            (json!(["a", "b", "c", "d", "e"]), "To a, b and 3 more"),
            (json!({"name": "ACME", "iban": "DE89370400440532013000"}), "To ACME"),
            (json!({"x": 1, "y": 2}), "To 2 fields"),
            (json!([{"x": 1}, {"x": 1}]), "To 2 items"),
            (json!([]), "To nothing"),
            (json!(null), "To (none)"),
            (json!(""), "To (empty)"),
            (json!("5"), "To 5"),
            (json!(true), "To yes"),
            (json!("say \"hi\""), "To say \"hi\""),
        ] {
            assert_eq!(titled("To {payload.to}", &json!({"to": value})), expected);
        }
    }

    #[test]
    fn nothing_that_hides_or_links_gets_into_a_title() {
        for (value, expected) in [
            ("a\u{202e}b", "To a<U+202E>b"),
            ("a\nb", "To a / b"),
            ("evil.com", "To evil[.]com"),
            ("\u{430}cme@example.com", "To <U+0430>cme@example[.]com"),
        ] {
            assert_eq!(titled("To {payload.to}", &json!({"to": value})), expected);
        }
        assert_eq!(titled("{payload.a}{payload.b}", &json!({"a": "evil", "b": ".com"})), "evil[.]com");
    }

    #[test]
    fn a_long_value_is_cut_in_the_middle_and_a_number_never() {
        let payload = json!({"amount": 9_007_199_254_740_991_i64, "currency": "EUR", "to": "x".repeat(500)});
        let line = titled(PAY, &payload);
        assert!(line.chars().count() <= TITLE_CHARS, "{line}");
        assert!(
            line.starts_with("Pay 9,007,199,254,740,991.00 EUR to xxx") && line.contains("xx…xx"),
            "{line}"
        );
    }
}
