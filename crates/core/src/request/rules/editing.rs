//! Changes a payload in the fields that the rule names, and in nothing else.

use serde_json::{Map, Number, Value};

use crate::id::ReviewerId;
use crate::payload::{Payload, canonical_text, parse_strict};
use crate::policy::ApprovalTerms;
use crate::refusal::{FieldError, Refusal};
use crate::request::{ApprovalRequest, Change, Edit};

/// The longest text that a reviewer types into a field, in characters.
const TEXT_CHARS: usize = 4000;

/// The payload with these edits; `None` where it is what was asked.
///
/// Refuses a field that the rule does not name, that the payload does not have, or a value of another type than the one
/// that was asked: so an edit can change nothing else.
pub(super) fn edited(
    asked: &ApprovalRequest,
    base: &Payload,
    edits: &[Edit],
    by: &ReviewerId,
) -> Result<Option<Change>, Refusal> {
    let editable =
        asked.terms.as_ref().map(|terms: &ApprovalTerms| terms.editable.as_slice()).unwrap_or_default();
    let original = asked.payload.value();
    let mut payload = base.value();
    let mut faults = Vec::new();
    for edit in edits {
        let field = format!("edit:{}", edit.path);
        let Some(path) = editable.iter().find(|path| path.to_string() == edit.path) else {
            faults.push(FieldError::new(field, "is not a field that this rule lets a reviewer change"));
            continue;
        };
        let value =
            path.find(&original).ok_or("is not in the payload").and_then(|asked| typed(asked, &edit.text));
        match (value, path.find_mut(&mut payload)) {
            (Ok(value), Some(place)) => *place = value,
            (Ok(_), None) => faults.push(FieldError::new(field, "is not in the payload")),
            (Err(why), _) => faults.push(FieldError::new(field, why)),
        }
    }
    if !faults.is_empty() {
        return Err(Refusal::InvalidRequest(faults));
    }
    let none = Map::new();
    let payload = Payload::new(payload.as_object().unwrap_or(&none))?;
    if payload == asked.payload {
        return Ok(None);
    }
    let now = payload.value();
    let fields = editable.iter().filter(|path| path.find(&original) != path.find(&now)).cloned().collect();
    Ok(Some(Change { payload_sha256: payload.sha256(), payload, by: by.clone(), fields }))
}

/// The text as a value of the type that was asked.
fn typed(asked: &Value, text: &str) -> Result<Value, &'static str> {
    let text = text.replace("\r\n", "\n");
    match asked {
        Value::String(_) if text.chars().count() > TEXT_CHARS => Err("must have at most 4,000 characters"),
        Value::String(_) => Ok(Value::String(text)),
        Value::Number(_) => number(text.trim()).map(Value::Number),
        Value::Bool(_) => match text.trim() {
            "yes" | "true" => Ok(Value::Bool(true)),
            "no" | "false" => Ok(Value::Bool(false)),
            _ => Err("must be `yes` or `no`"),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => Err("is neither a text, a number nor yes or no"),
    }
}

/// A number as it is written: one that would read back as another is refused, so nobody approves what they did not type.
fn number(text: &str) -> Result<Number, &'static str> {
    /// 2^53 - 1.
    const MOST: f64 = 9_007_199_254_740_991.0;
    const FAULT: &str = "must be a number such as `4500` or `19.90`, without signs between its digits";
    let plain = crate::words::money::decimal_text(&Value::String(text.to_owned())).ok_or(FAULT)?;
    let value = parse_strict(plain.as_bytes()).map_err(|_| FAULT)?;
    let Value::Number(number) = value else { return Err(FAULT) };
    // The payload refuses it too, and says why; here it would be taken for a slip of the finger.
    if number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() > MOST) {
        return Err("is a whole number beyond ±(2^53-1), which not every program reads alike");
    }
    let written = |text: &str| match text.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => text.to_owned(),
    };
    let reads_back = canonical_text(&Value::Number(number.clone()));
    if written(&plain).trim_start_matches('-') == reads_back.trim_start_matches('-') {
        Ok(number)
    } else {
        Err(FAULT)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_too_large_for_every_program_is_refused_for_that_reason() {
        for large in ["9007199254740993", "9007199254740992", "-9007199254740992"] {
            assert!(number(large).unwrap_err().contains("2^53-1"), "{large}");
        }
        assert_eq!(number("9007199254740991").unwrap(), Number::from(9_007_199_254_740_991_i64));
        assert!(number("4500x").unwrap_err().contains("`4500`"));
    }

    #[test]
    fn a_text_has_at_most_4_000_characters_however_many_bytes_they_take() {
        for (characters, fits) in [(3999, true), (4000, true), (4001, false), (9000, false)] {
            let text = "é".repeat(characters);
            assert_eq!(typed(&json!("a"), &text).is_ok(), fits, "{characters}");
        }
    }

    #[test]
    fn a_value_keeps_its_type() {
        for (asked, text, expected) in [
            (json!(5000), "4500", Some(json!(4500))),
            (json!(5000), " 19.90 ", Some(json!(19.9))),
            (json!(5000), "-3", Some(json!(-3))),
            (json!(5000), "4,500", None),
            (json!(5000), "4.500,00", None),
            (json!(5000), "1e3", None),
            (json!(5000), "", None),
            (json!(5000), "0.1000000000000000055", None),
            (json!(5000), "\"5\"", None),
            (json!("a"), "4500", Some(json!("4500"))),
            (json!("a"), "x\r\ny", Some(json!("x\ny"))),
            (json!(false), "yes", Some(json!(true))),
            (json!(false), " true ", Some(json!(true))),
            (json!(true), "false", Some(json!(false))),
            (json!(true), "no", Some(json!(false))),
            (json!(true), "maybe", None),
            (json!(null), "x", None),
            (json!([1]), "[2]", None),
            (json!({"a": 1}), "{}", None),
        ] {
            assert_eq!(typed(&asked, text).ok(), expected, "{asked} {text}");
        }
    }
}
