//! The payload: strict JSON in, RFC 8785 canonical text and its SHA-256 out.
//!
//! What two programs could read differently is refused here (duplicate keys, integers that a double cannot hold), so
//! that one digest never stands for two meanings.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::refusal::{FieldError, Refusal};

/// The largest payload, as canonical text, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The largest integer that every JSON reader holds exactly (RFC 7493, section 2.2).
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// The JSON of what will be done, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Box<str>);

impl Payload {
    /// Takes a JSON object that [`parse_strict`] has read.
    ///
    /// Refuses integers outside ±(2^53−1), naming each, and more than [`MAX_BYTES`] of canonical text.
    pub fn new(object: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut faults = Vec::new();
        for (key, value) in object {
            check_numbers(value, &mut format!("payload.{key}"), &mut faults);
        }
        if !faults.is_empty() {
            return Err(Refusal::InvalidRequest(faults));
        }
        let text = serde_json_canonicalizer::to_string(object)
            .map_err(|_| Refusal::field("payload", "has no canonical form (RFC 8785)"))?;
        if text.len() > MAX_BYTES {
            return Err(Refusal::PayloadTooLarge { what: "payload", limit_bytes: MAX_BYTES });
        }
        Ok(Self(text.into()))
    }

    /// The canonical text (RFC 8785).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON value again.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Lower-case hex SHA-256 of the canonical text.
    pub fn sha256(&self) -> String {
        sha256_hex(self.0.as_bytes())
    }
}

/// A part of a payload as the canonical text has it: `1e-6` is `0.000001`, keys in their order, no spaces.
pub fn canonical_text(value: &Value) -> String {
    // Only what JSON cannot say has no canonical form, and a `Value` holds none of it.
    serde_json_canonicalizer::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn check_numbers(value: &Value, path: &mut String, faults: &mut Vec<FieldError>) {
    match value {
        Value::Number(number) => {
            let exact = match (number.as_i64(), number.as_u64()) {
                (Some(n), _) => n.abs_diff(0) <= MAX_SAFE_INTEGER.unsigned_abs(),
                (None, Some(_)) => false,
                (None, None) => true,
            };
            if !exact {
                faults.push(FieldError::new(
                    path.clone(),
                    "is an integer beyond 2^53-1, which not every program reads alike; send it as a string",
                ));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let length = path.len();
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
                check_numbers(item, path, faults);
                path.truncate(length);
            }
        }
        Value::Object(object) => {
            for (key, item) in object {
                let length = path.len();
                path.push('.');
                path.push_str(key);
                check_numbers(item, path, faults);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Reads JSON as [`serde_json`] does, but refuses an object that names a key twice.
///
/// Programs differ in which of two equal keys they believe, so a reviewer could be shown one and the executor run the
/// other.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict)?;
            if object.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("the key `{key}` stands twice in one object")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Result<Payload, Refusal> {
        let Ok(Value::Object(object)) = parse_strict(text.as_bytes()) else {
            return Err(Refusal::field("payload", "not an object"));
        };
        Payload::new(&object)
    }

    #[test]
    fn key_order_and_number_spelling_do_not_change_the_digest() {
        let a = payload(r#"{"b": 20.0, "a": [1e2, "\u00e9"]}"#).unwrap();
        let b = payload(r#"{"a":[100,"é"],"b":20}"#).unwrap();
        assert_eq!(a.as_str(), r#"{"a":[100,"é"],"b":20}"#);
        assert_eq!(a.sha256(), b.sha256());
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        assert!(parse_strict(br#"{"amount":1,"amount":1000}"#).is_err());
        assert_eq!(
            payload(r#"{"a":{"ids":[1,9007199254740993]}}"#),
            Err(Refusal::field(
                "payload.a.ids[1]",
                "is an integer beyond 2^53-1, which not every program reads alike; send it as a string"
            ))
        );
        assert!(payload(r#"{"a":-9007199254740991}"#).is_ok());
        assert!(payload(r#"{"a":18446744073709551615}"#).is_err());
    }

    #[test]
    fn the_limit_is_64_kib_of_canonical_text() {
        let fits = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES - 8));
        assert_eq!(payload(&fits).unwrap().as_str().len(), MAX_BYTES);
        let over = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES - 7));
        assert_eq!(payload(&over), Err(Refusal::PayloadTooLarge { what: "payload", limit_bytes: MAX_BYTES }));
    }
}
