//! The path of a field in a payload, as a policy writes it: `payload.to`, `payload.lines.0.amount`.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A field of a payload, by the keys that lead to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    segments: Vec<String>,
}

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with `payload.`.
    #[error("must begin with `payload.`: only what is hashed can be named")]
    NotPayload,
    /// Two dots in a row, or one at the end.
    #[error("has an empty key")]
    EmptyKey,
    /// A key with a sign that a path does not know.
    #[error("has a key with `{0}` in it; keys are joined by dots, and places in a list are numbers from 0")]
    OddKey(char),
    /// More keys than a payload nests.
    #[error("is too long")]
    TooLong,
}

/// More keys than this no path has.
const MOST_KEYS: usize = 32;

impl FieldPath {
    /// Reads `payload.a.b`.
    ///
    /// # Errors
    /// Where it does not begin with `payload.`, or a key is empty or has one of ``{}[]()"'`*`` or a space in it.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        let keys = text.strip_prefix("payload.").ok_or(PathFault::NotPayload)?;
        let segments: Vec<String> = keys.split('.').map(str::to_owned).collect();
        for segment in &segments {
            if segment.is_empty() {
                return Err(PathFault::EmptyKey);
            }
            let odd = |character: &char| {
                "{}[]()\"'`*,;".contains(*character) || character.is_whitespace() || character.is_control()
            };
            if let Some(odd) = segment.chars().find(odd) {
                return Err(PathFault::OddKey(odd));
            }
        }
        if segments.len() > MOST_KEYS {
            return Err(PathFault::TooLong);
        }
        Ok(Self { segments })
    }

    /// A path by its keys.
    pub(super) fn of(keys: &[&str]) -> Self {
        Self { segments: keys.iter().map(|&key| key.to_owned()).collect() }
    }

    /// A path by its keys, whatever is in them.
    pub fn from_keys(keys: &[String]) -> Self {
        Self { segments: keys.to_vec() }
    }

    /// The keys, in order.
    pub fn keys(&self) -> &[String] {
        &self.segments
    }

    /// The last key.
    pub fn last(&self) -> &str {
        self.segments.last().map_or("", String::as_str)
    }

    /// The value there, if the payload has one.
    pub fn find<'v>(&self, payload: &'v Value) -> Option<&'v Value> {
        self.segments.iter().try_fold(payload, |value, key| child(value, key))
    }

    /// What the value is in: the object or list.
    pub fn parent<'v>(&self, payload: &'v Value) -> Option<&'v Value> {
        let (_, keys) = self.segments.split_last()?;
        keys.iter().try_fold(payload, |value, key| child(value, key))
    }

    /// The value there, to be changed.
    pub fn find_mut<'v>(&self, payload: &'v mut Value) -> Option<&'v mut Value> {
        self.segments.iter().try_fold(payload, |value, key| match value {
            Value::Object(fields) => fields.get_mut(key),
            Value::Array(items) => items.get_mut(place(key)?),
            _ => None,
        })
    }

    /// A field beside this one.
    pub(super) fn beside(&self, key: &str) -> Self {
        let mut segments = self.segments.clone();
        segments.pop();
        segments.push(key.to_owned());
        Self { segments }
    }

    /// Whether one of the two leads through the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.segments.iter().zip(&other.segments).all(|(one, other)| one == other)
    }
}

fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(key),
        Value::Array(items) => items.get(place(key)?),
        _ => None,
    }
}

fn place(key: &str) -> Option<usize> {
    key.bytes().all(|byte| byte.is_ascii_digit()).then(|| key.parse().ok()).flatten()
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload")?;
        self.segments.iter().try_for_each(|segment| write!(f, ".{segment}"))
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_finds_fields_of_objects_and_lists() {
        let payload = json!({"a": {"b-c": [1, {"d": 2}]}, "0": "zero"});
        for (path, expected) in [
            ("payload.a.b-c.0", Some(json!(1))),
            ("payload.a.b-c.1.d", Some(json!(2))),
            ("payload.0", Some(json!("zero"))),
            ("payload.a.b-c.2", None),
            ("payload.a.x", None),
            ("payload.0.y", None),
        ] {
            let read = FieldPath::parse(path).unwrap();
            assert_eq!(read.find(&payload), expected.as_ref(), "{path}");
            assert_eq!(read.to_string(), path);
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (text, fault) in [
            ("amount", PathFault::NotPayload),
            ("payload", PathFault::NotPayload),
            ("payload.", PathFault::EmptyKey),
            ("payload.a..b", PathFault::EmptyKey),
            ("payload.a b", PathFault::OddKey(' ')),
            ("payload.a[0]", PathFault::OddKey('[')),
            ("payload.*", PathFault::OddKey('*')),
        ] {
            assert_eq!(FieldPath::parse(text), Err(fault), "{text}");
        }
    }
}
