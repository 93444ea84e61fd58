//! Amounts of money, other numbers, and account numbers, as people write them.
//!
//! No digit is rounded away and none is made up: `5000` EUR reads `5,000.00 EUR`, `0.125` EUR reads `0.125 EUR`.

use serde_json::{Map, Value};

use super::fields::{is_currency, key_words};
use crate::payload::canonical_text;

/// Codes of ISO 4217 (2026), without those of metals, funds and tests.
const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
    CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG \
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK \
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD \
    SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UYW UZS VED VES \
    VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";
const NO_MINOR_UNIT: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const THOUSANDTHS: &str = "BHD IQD JOD KWD LYD OMR TND";
const TEN_THOUSANDTHS: &str = "CLF UYW";

/// Keys that say that an amount is counted in the currency's smallest unit.
const MINOR_UNITS: [&str; 7] = ["cent", "cents", "minor", "pence", "penny", "subunit", "subunits"];

/// Longer numbers are not money; they are shown as they are.
const MOST_DIGITS: usize = 24;

/// How many decimals an amount in that currency has, if it is a code of ISO 4217, in capitals.
pub fn minor_units(code: &str) -> Option<usize> {
    let is_in = |list: &str| list.split(' ').any(|known| known == code);
    if !is_in(CODES) {
        None
    } else if is_in(NO_MINOR_UNIT) {
        Some(0)
    } else if is_in(THOUSANDTHS) {
        Some(3)
    } else if is_in(TEN_THOUSANDTHS) {
        Some(4)
    } else {
        Some(2)
    }
}

/// The amount of a field in that currency, without the code: `5,000.00`.
///
/// None where the value is no plain decimal number (a JSON number, or a text such as `"19.90"`).
pub fn amount(key: &str, value: &Value, code: &str) -> Option<String> {
    let decimals = minor_units(code)?;
    let text = decimal_text(value)?;
    let counts_minor_units =
        key_words(key).iter().any(|word| MINOR_UNITS.contains(&word.to_ascii_lowercase().as_str()));
    let text = if counts_minor_units { shifted(&text, decimals)? } else { text };
    Some(grouped_decimal(&text, decimals))
}

/// A plain decimal number as text, if the value is one.
pub fn decimal_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(_) => canonical_text(value),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let has_one_spelling = whole == "0" || !whole.starts_with('0');
    (is_number(whole) && is_number(fraction) && has_one_spelling && text.len() <= MOST_DIGITS).then_some(text)
}

/// The decimal point that many places to the left: 1250 cents are 12.50.
fn shifted(text: &str, places: usize) -> Option<String> {
    if text.contains('.') {
        return None;
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A plain decimal number with its thousands set apart, and at least so many decimals.
pub fn grouped_decimal(text: &str, least_decimals: usize) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut line = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            line.push(',');
        }
        line.push(digit);
    }
    if !fraction.is_empty() || least_decimals > 0 {
        line.push('.');
        line.push_str(fraction);
        line.extend(std::iter::repeat_n('0', least_decimals.saturating_sub(fraction.len())));
    }
    line
}

/// An account number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iban {
    /// In groups of four, as on paper.
    pub grouped: String,
    /// Whether its check digits fit (ISO 13616, modulo 97).
    pub is_consistent: bool,
}

/// The text as an IBAN, if it has the form of one.
pub fn iban(text: &str) -> Option<Iban> {
    let bare: String = text.chars().filter(|character| *character != ' ').collect();
    let bytes = bare.as_bytes();
    let has_form = (15..=34).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        && bytes.iter().take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_digit)
        // A name in capitals has no digits further on.
        && bytes.iter().skip(4).filter(|byte| byte.is_ascii_digit()).count() >= 6;
    if !has_form || text.starts_with(' ') || text.ends_with(' ') {
        return None;
    }
    let mut grouped = String::with_capacity(bare.len() + 9);
    for (index, character) in bare.chars().enumerate() {
        if index > 0 && index.is_multiple_of(4) {
            grouped.push(' ');
        }
        grouped.push(character);
    }
    let turned = bare.chars().skip(4).chain(bare.chars().take(4));
    let remainder = turned.fold(0_u32, |remainder, character| {
        let value = character.to_digit(36).unwrap_or_default();
        (if value < 10 { remainder * 10 + value } else { remainder * 100 + value }) % 97
    });
    Some(Iban { grouped, is_consistent: remainder == 1 })
}

/// The one field of an object that names a currency by its code.
pub fn currency_of(fields: &Map<String, Value>) -> Option<(&str, &str)> {
    let mut found = fields.iter().filter_map(|(key, value)| {
        let code = value.as_str().filter(|code| is_currency(key) && minor_units(code).is_some())?;
        Some((key.as_str(), code))
    });
    let first = found.next()?;
    // Two of them (of the account, of the payment): which one is meant cannot be known.
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_amount_has_the_decimals_of_its_currency_and_loses_none() {
        for (value, code, expected) in [
            (json!(5000), "EUR", Some("5,000.00")),
            (json!(5000), "JPY", Some("5,000")),
            (json!(5000), "KWD", Some("5,000.000")),
            (json!(5000), "CLF", Some("5,000.0000")),
            (json!(12.5), "EUR", Some("12.50")),
            (json!(0.125), "EUR", Some("0.125")),
            (json!(1_234_567.891), "USD", Some("1,234,567.891")),
            (json!(12.5), "JPY", Some("12.5")),
            (json!(-20), "GBP", Some("-20.00")),
            (json!(0), "CHF", Some("0.00")),
            (json!(999), "EUR", Some("999.00")),
            (json!("5000.0"), "EUR", Some("5,000.00")),
            (json!("19.90"), "EUR", Some("19.90")),
            (json!("007"), "EUR", None),
            (json!("1,000"), "EUR", None),
            (json!("1e3"), "EUR", None),
            (json!(1e-7), "EUR", None),
            (json!(true), "EUR", None),
            (json!(5000), "eur", None),
            (json!(5000), "EURO", None),
            (json!(5000), "XYZ", None),
            (json!(5000), "", None),
        ] {
            assert_eq!(amount("amount", &value, code).as_deref(), expected, "{value} {code}");
        }
    }

    #[test]
    fn an_amount_that_counts_cents_is_not_read_as_a_hundred_times_as_much() {
        for (key, value, code, expected) in [
            ("amount_cents", json!(500_000), "EUR", Some("5,000.00")),
            ("amountInCents", json!(5), "EUR", Some("0.05")),
            ("amount_minor", json!(-1250), "KWD", Some("-1.250")),
            ("minor_amount", json!(500), "JPY", Some("500")),
            ("amount_cents", json!(12.5), "EUR", None),
        ] {
            assert_eq!(amount(key, &value, code).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn every_code_is_one_of_three_capitals_and_listed_once() {
        let codes: Vec<_> = CODES.split_whitespace().collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
        for code in codes {
            assert!(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()), "{code}");
            assert!(minor_units(code).is_some(), "{code}");
        }
        for code in [NO_MINOR_UNIT, THOUSANDTHS, TEN_THOUSANDTHS].into_iter().flat_map(|list| list.split(' '))
        {
            assert_ne!(minor_units(code), Some(2), "{code}");
        }
    }

    #[test]
    fn account_numbers_are_grouped_and_checked() {
        let good = Iban { grouped: "DE89 3704 0044 0532 0130 00".to_owned(), is_consistent: true };
        assert_eq!(iban("DE89370400440532013000"), Some(good.clone()));
        assert_eq!(iban("DE89 3704 0044 0532 0130 00"), Some(good));
        assert!(iban("GB82WEST12345698765432").unwrap().is_consistent);
        assert!(!iban("DE88370400440532013000").unwrap().is_consistent);
        for other in ["ACMEGMBHBERLINAG", "DE89", "de89370400440532013000", "", "INVOICE2026000000001"] {
            assert_eq!(iban(other), None, "{other}");
        }
    }
}
