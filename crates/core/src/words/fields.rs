//! What a payload's keys mean to a person: their labels, and which of them matter most.
//!
//! A key is a hint from an untrusted program: it may change how a field looks, never whether it is shown.

use serde_json::{Map, Value};

/// Why a field stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// How much.
    Money,
    /// To whom, or to where.
    Address,
    /// It does not.
    Ordinary,
}

const AMOUNTS: [&str; 13] = [
    "amount", "total", "subtotal", "price", "sum", "cost", "fee", "value", "balance", "salary", "budget",
    "refund", "payout",
];
/// How much, but not of money.
const QUANTITIES: [&str; 2] = ["quantity", "discount"];
/// Words that make no money of a key, whatever else it says.
const NO_MONEY: [&str; 14] = [
    "id",
    "ids",
    "count",
    "number",
    "no",
    "percent",
    "pct",
    "percentage",
    "rate",
    "type",
    "quantity",
    "key",
    "code",
    "name",
];
/// Words that may follow the one that says that it is money.
const AMOUNT_TAILS: [&str; 14] = [
    "in", "cent", "cents", "minor", "pence", "units", "unit", "gross", "net", "due", "paid", "eur", "usd",
    "gbp",
];
const CURRENCIES: [&str; 2] = ["currency", "ccy"];
const RECIPIENTS: [&str; 6] = ["to", "recipient", "recipients", "payee", "beneficiary", "destination"];
const ADDRESSES: [&str; 28] = [
    "email",
    "mail",
    "iban",
    "bic",
    "account",
    "phone",
    "wallet",
    "address",
    "addresses",
    "cc",
    "bcc",
    "url",
    "uri",
    "link",
    "host",
    "hostname",
    "domain",
    "ip",
    "endpoint",
    "webhook",
    "path",
    "bucket",
    "database",
    "table",
    "repo",
    "repository",
    "branch",
    "target",
];
const SUBJECTS: [&str; 16] = [
    "environment",
    "env",
    "service",
    "user",
    "customer",
    "vendor",
    "invoice",
    "order",
    "name",
    "title",
    "subject",
    "id",
    "version",
    "customers",
    "description",
    "reference",
];
/// Texts that are themselves what is approved.
const TEXTS: [&str; 18] = [
    "body",
    "text",
    "message",
    "content",
    "html",
    "markdown",
    "comment",
    "post",
    "caption",
    "command",
    "cmd",
    "script",
    "code",
    "query",
    "sql",
    "statement",
    "prompt",
    "patch",
];
const ATTACHMENTS: [&str; 6] = ["attachment", "attachments", "file", "files", "media", "images"];
/// What an object is called by, the best first.
const NAMES: [&str; 10] =
    ["name", "title", "email", "label", "login", "username", "iban", "id", "number", "key"];
const ACRONYMS: [&str; 12] =
    ["id", "url", "uri", "iban", "bic", "ip", "vat", "api", "sql", "cc", "bcc", "sms"];

/// A longer text is one to read, whatever its key.
const TEXT_CHARS: usize = 160;

/// The longest key that gets a label; a longer one is shown as it is.
const LABEL_CHARS: usize = 48;

/// The fields of an object, what matters most first; among equals by key.
pub fn ordered(object: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut fields: Vec<_> =
        object.iter().map(|(key, value)| (rank(key, value), key.as_str(), value)).collect();
    fields.sort_by_key(|&(rank, key, _)| (rank, key));
    fields.into_iter().map(|(_, key, value)| (key, value)).collect()
}

/// How early a field is mentioned: lower is earlier.
pub fn rank(key: &str, value: &Value) -> u8 {
    let words = key_words(key);
    let says = |known: &[&str]| words.iter().any(|word| known.contains(&word.to_ascii_lowercase().as_str()));
    if says(&CURRENCIES) {
        1
    } else if is_amount(key) || QUANTITIES.contains(&key.to_ascii_lowercase().as_str()) {
        0
    } else if says(&RECIPIENTS) {
        2
    } else if says(&ADDRESSES) || value.as_str().is_some_and(looks_like_an_address) {
        3
    } else if says(&SUBJECTS) && !is_text(key, value) {
        4
    } else if is_attachment(key, value) {
        7
    } else if is_text(key, value) {
        6
    } else {
        5
    }
}

/// Whether a field holds what is attached to a text.
pub fn is_attachment(key: &str, value: &Value) -> bool {
    let words = key_words(key);
    let names_it = words.last().is_some_and(|word| ATTACHMENTS.contains(&word.to_ascii_lowercase().as_str()));
    names_it && (value.is_array() || value.is_object())
}

/// Whether a field is a text that people have to read: a mail's body, a command. It is shown whole.
pub fn is_text(key: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let words = key_words(key);
    let last = words.last().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    TEXTS.contains(&last.as_str()) || text.contains('\n') || text.chars().nth(TEXT_CHARS).is_some()
}

/// Whether a key names an amount of money: `amount`, `net_total`, `amountInCents`; not `cost_center`, `total_count`.
pub fn is_amount(key: &str) -> bool {
    let words: Vec<String> = key_words(key).iter().map(|word| word.to_ascii_lowercase()).collect();
    if words.iter().any(|word| NO_MONEY.contains(&word.as_str()) || CURRENCIES.contains(&word.as_str())) {
        return false;
    }
    let says_how = |word: &&String| !AMOUNT_TAILS.contains(&word.as_str());
    let what = words.iter().rev().find(says_how);
    what.is_some_and(|word| AMOUNTS.contains(&word.as_str())) || words.iter().any(|word| word == "amount")
}

/// Whether a list under that key is the words of a command.
pub fn is_command(key: &str) -> bool {
    matches!(key.to_ascii_lowercase().as_str(), "argv" | "args" | "command" | "cmd")
}

/// Whether a key names a currency.
pub fn is_currency(key: &str) -> bool {
    key_words(key).iter().any(|word| CURRENCIES.contains(&word.to_ascii_lowercase().as_str()))
}

/// What an object is called, and the key that says so.
pub fn name_of(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let is_name = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty()) || value.is_number();
    NAMES.iter().find_map(|name| {
        let (key, value) =
            object.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && is_name(value))?;
        Some((key.as_str(), value))
    })
}

/// Whether, and why, a field stands out.
pub fn weight(key: &str, value: &Value) -> Weight {
    weight_of_rank(rank(key, value))
}

/// Why a field of that rank stands out.
pub fn weight_of_rank(rank: u8) -> Weight {
    match rank {
        0 | 1 => Weight::Money,
        2 | 3 => Weight::Address,
        _ => Weight::Ordinary,
    }
}

/// A readable label for a key, if the key is made of plain words.
///
/// The true key is the label in lower case or has to be shown beside it: so no two keys of an object look the same.
pub fn label(key: &str) -> Option<String> {
    let is_wordy = key.len() <= LABEL_CHARS
        && key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.'));
    if !is_wordy {
        return None;
    }
    let mut label = String::with_capacity(key.len() + 4);
    for word in key_words(key) {
        let lower = word.to_ascii_lowercase();
        let is_acronym = ACRONYMS.contains(&lower.as_str())
            || (word.len() > 1 && word.chars().all(|character| character.is_ascii_uppercase()));
        if !label.is_empty() {
            label.push(' ');
        }
        match (is_acronym, lower.chars().next()) {
            (true, _) => label.push_str(&lower.to_ascii_uppercase()),
            (false, Some(first)) if label.is_empty() => {
                label.push(first.to_ascii_uppercase());
                label.push_str(lower.get(1..).unwrap_or_default());
            }
            (false, _) => label.push_str(&lower),
        }
    }
    Some(label)
}

/// Whether a label says all that its key says.
pub fn label_is_the_key(label: &str, key: &str) -> bool {
    label.to_ascii_lowercase() == key
}

/// Characters that pass for plain ones: `а` in Cyrillic is not `a`.
///
/// Only where the two are mixed: an address all in Greek is honest, and so is `müller@example.de`. In an address that is
/// all of it, because its parts are read as one; in a name, a word: `Москва, ACME` is two honest ones. A word that is read
/// as plain letters from its first to its last (`АСМЕ`) passes for one beside others that are plain.
pub fn lookalikes(text: &str) -> Vec<char> {
    if !text.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for token in text.split_whitespace() {
        let is_address = token.contains('@')
            || token.trim_matches(|character: char| !character.is_alphanumeric()).contains(['.', '/', '\\']);
        let is_plain = token.bytes().any(|byte| byte.is_ascii_alphanumeric());
        let letters =
            |text: &str| text.chars().filter(|character| is_lookalike(*character)).collect::<Vec<_>>();
        if is_address && is_plain {
            found.extend(letters(token));
            continue;
        }
        found.extend(token.chars().filter(|character| {
            is_lookalike(*character) && !is_letter_of_a_script(*character) && *character != '\u{3002}'
        }));
        for word in token.split(|character: char| !character.is_alphanumeric()) {
            let is_mixed = word.bytes().any(|byte| byte.is_ascii_alphanumeric());
            let passes = word.chars().count() > 1
                && word.chars().all(is_read_as_latin)
                && !COMPANY_FORMS.contains(&word);
            if is_mixed || passes {
                found.extend(letters(word));
            }
        }
        // A full stop that a browser takes for a dot, between what would be a host.
        let near: Vec<char> = token.chars().collect();
        let is_dot = near.windows(3).any(|three| match three {
            [before, '\u{3002}', after] => before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric(),
            _ => false,
        });
        found.extend(is_dot.then_some('\u{3002}'));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Russian forms of companies stand before many names, and name nobody themselves.
const COMPANY_FORMS: [&str; 5] = ["АО", "ЗАО", "НАО", "ОАО", "ООО"];

/// Letters of scripts that people write whole words in.
fn is_letter_of_a_script(character: char) -> bool {
    matches!(u32::from(character), 0x0370..=0x058f | 0x1c80..=0x1c8f | 0xa640..=0xa69f)
}

/// Letters of Greek, Cyrillic and Armenian that few tell from plain ones (Unicode's confusables).
fn is_read_as_latin(character: char) -> bool {
    const GREEK: &str = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοναρυικχγϹϲϳ";
    const CYRILLIC: &str = "АВЕЅІЈКМНОРСТУХҮЗӀаеѕіјорсухгԁԛԝһӏүҮ";
    const ARMENIAN: &str = "ՍՕօսոհցգյքղ";
    [GREEK, CYRILLIC, ARMENIAN].iter().any(|letters| letters.contains(character))
}

/// Scripts and signs with shapes like those of ASCII (compare Unicode's confusables).
pub fn is_lookalike(character: char) -> bool {
    matches!(
        u32::from(character),
        0x0131 | 0x0250..=0x02ff | 0x0370..=0x058f | 0x13a0..=0x13ff | 0x1c80..=0x1c8f | 0x1d00..=0x1dbf
            | 0x2010 | 0x2011 | 0x2024 | 0x2044 | 0x2070..=0x209c | 0x2100..=0x218b | 0x2212 | 0x2215 | 0x2236 | 0x29f8
            | 0x2c60..=0x2cff | 0x3002 | 0xa4d0..=0xa4ff | 0xa640..=0xa7ff | 0xab30..=0xabbf | 0xff01..=0xff5e | 0xff61
            | 0x1d400..=0x1d7ff
    )
}

fn looks_like_an_address(text: &str) -> bool {
    if text.len() > 2048 || text.contains(char::is_whitespace) {
        return false;
    }
    let is_email = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let is_phone =
        text.strip_prefix('+').is_some_and(|rest| rest.bytes().filter(u8::is_ascii_digit).count() >= 7);
    let bytes = text.as_bytes();
    let is_iban = (15..=34).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        && bytes.iter().take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_digit);
    is_email || is_phone || is_iban || text.contains("://")
}

/// `recipientEmail_address` → `recipient`, `Email`, `address`.
pub(super) fn key_words(key: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for part in key.split(|character: char| !character.is_alphanumeric()) {
        let mut from = 0;
        let mut previous = None;
        for (at, character) in part.char_indices() {
            let next = part.get(at + character.len_utf8()..).and_then(|rest| rest.chars().next());
            let starts_a_word = character.is_uppercase()
                && (previous.is_some_and(|before: char| !before.is_uppercase())
                    || (previous.is_some() && next.is_some_and(char::is_lowercase)));
            if starts_a_word {
                words.extend(part.get(from..at));
                from = at;
            }
            previous = Some(character);
        }
        words.extend(part.get(from..).filter(|word| !word.is_empty()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_passes_for_plain_letters_is_a_lookalike() {
        for (text, found) in [
            ("Москва, ACME", ""),
            ("АО «Ромашка», ACME GmbH", ""),
            ("Договор с ACME 5", ""),
            ("東京。ACME", ""),
            ("müller@example.de", ""),
            ("АСМЕ GmbH", "АЕМС"),
            ("аррӏе GmbH", "аерӏ"),
            ("ТОУОТА Ltd", "АОТУ"),
            ("ᎪᏟᎷᎬ GmbH", "ᎪᎬᎷᏟ"),
            ("յօհո Ltd", "հյոօ"),
            ("Аcme", "А"),
            ("pаypal.com", "а"),
            ("рауре.com", "аеру"),
            ("paypal。com", "。"),
            ("АСМЕ", ""),
        ] {
            assert_eq!(lookalikes(text).into_iter().collect::<String>(), found, "{text}");
        }
    }

    #[test]
    fn keys_become_labels() {
        for (key, expected) in [
            ("amount", Some("Amount")),
            ("recipient_email", Some("Recipient email")),
            ("accountIBAN", Some("Account IBAN")),
            ("userId", Some("User ID")),
            ("IBANNumber", Some("IBAN number")),
            ("db.table-name", Some("Db table name")),
            ("Größe", None),
            ("a b", None),
            ("", None),
            ("2fa", None),
        ] {
            assert_eq!(label(key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn only_a_key_that_its_label_spells_goes_unshown() {
        assert!(label_is_the_key("Amount", "amount"));
        for key in ["Amount", "AMOUNT", "amount_", "a_b"] {
            assert!(!label_is_the_key(&label(key).unwrap(), key), "{key}");
        }
    }

    #[test]
    fn money_comes_first_then_whom_it_reaches() {
        let payload =
            json!({"zeta": 1, "to": "x", "note": "y", "currency": "EUR", "totalAmount": 3, "invoice_id": 7});
        let keys: Vec<_> = ordered(payload.as_object().unwrap()).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["totalAmount", "currency", "to", "invoice_id", "note", "zeta"]);
    }

    #[test]
    fn an_amount_is_known_by_its_name_and_a_name_that_only_has_the_word_is_none() {
        for key in [
            "amount",
            "amountInCents",
            "net_total",
            "amount_due",
            "total_gross",
            "unitPrice",
            "price_eur",
            "fee",
        ] {
            assert!(is_amount(key), "{key}");
        }
        for key in [
            "cost_center",
            "total_count",
            "price_id",
            "fee_schedule",
            "currency",
            "amount_currency",
            "to",
            "quantity",
        ] {
            assert!(!is_amount(key), "{key}");
        }
    }

    #[test]
    fn an_address_is_known_by_its_shape_under_any_key() {
        for text in ["a@b.example", "+1 555", "+15550100", "https://x.example", "DE89370400440532013000"] {
            let expected = if text.contains(' ') { Weight::Ordinary } else { Weight::Address };
            assert_eq!(weight("x", &json!(text)), expected, "{text}");
        }
    }

    #[test]
    fn letters_that_only_look_plain_are_named() {
        assert_eq!(lookalikes("\u{430}cme@ex\u{430}mple.com"), ['\u{430}']);
        assert_eq!(lookalikes("https://bank.example\u{2215}pay"), ['\u{2215}']);
        for honest in ["acme@example.com", "müller@example.de", "Königstraße 5", "Αθήνα", "株式会社ABC"]
        {
            assert_eq!(lookalikes(honest), Vec::<char>::new(), "{honest}");
        }
    }
}
