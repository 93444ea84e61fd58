//! What the tools take, read with some patience for how models write: a payload may come as the text of one object, and
//! whole seconds as `600.0`. What clients are told of it is in `definitions`.

use placet_core::payload::parse_strict;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What `request_approval` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestApproval {
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    pub(crate) summary: String,
    pub(crate) action: String,
    #[serde(deserialize_with = "object")]
    pub(crate) payload: Map<String, Value>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) timeout_seconds: Option<u64>,
}

/// What `wait_for_approval` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitForApproval {
    pub(crate) request_id: String,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) wait_seconds: Option<u64>,
}

/// What `verify_token` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyToken {
    pub(crate) token: String,
    #[serde(default, deserialize_with = "some_object")]
    pub(crate) payload: Option<Map<String, Value>>,
}

/// An object, or a text that is one.
fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let value = match Value::deserialize(from)? {
        Value::String(text) => parse_strict(text.as_bytes()).map_err(D::Error::custom)?,
        value => value,
    };
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(D::Error::custom("payload must be a JSON object")),
    }
}

/// A null is not one that was left out: it would be compared with nothing.
fn some_object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Map<String, Value>>, D::Error> {
    object(from).map(Some)
}

/// Whole seconds, however they are written; a null is one that was left out.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(from)?;
    let text = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let whole = text.trim_end_matches('0').strip_suffix('.').unwrap_or(&text);
    whole.parse().map(Some).map_err(|_| D::Error::custom("seconds are a whole number, such as 600"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_models_write_is_read_and_what_has_two_readings_is_not() {
        let read = |payload: Value, seconds: Value| {
            let asked =
                json!({ "summary": "s", "action": "a.b", "payload": payload, "timeout_seconds": seconds });
            serde_json::from_value::<RequestApproval>(asked)
                .map(|asked| (asked.payload.len(), asked.timeout_seconds))
                .ok()
        };
        for (seconds, expected) in [
            (json!(600), Some(600)),
            (json!(600.0), Some(600)),
            (json!("600"), Some(600)),
            (json!(0), Some(0)),
            (Value::Null, None),
        ] {
            assert_eq!(read(json!({"a": 1}), seconds.clone()), Some((1, expected)), "{seconds}");
        }
        for seconds in [json!(1.5), json!(-1), json!("soon"), json!([]), json!(true)] {
            assert_eq!(read(json!({}), seconds.clone()), None, "{seconds}");
        }
        assert_eq!(read(json!(r#"{"a": 1, "b": 2}"#), Value::Null), Some((2, None)));
        for payload in
            [json!(r#"{"a":1,"a":2}"#), json!("[]"), json!(""), json!([1]), Value::Null, json!("{} {}")]
        {
            assert_eq!(read(payload.clone(), Value::Null), None, "{payload}");
        }
        let verify = |payload: Value| {
            serde_json::from_value::<VerifyToken>(json!({ "token": "t", "payload": payload }))
        };
        assert!(verify(json!({})).is_ok() && verify(Value::Null).is_err());
    }

    #[test]
    fn what_the_schemas_name_is_what_is_read() {
        let full = [
            json!({ "request_id": "r", "summary": "s", "action": "a.b", "payload": {}, "timeout_seconds": 1 }),
            json!({ "token": "t", "payload": {} }),
            json!({ "request_id": "r", "wait_seconds": 1 }),
        ];
        let read: [fn(Value) -> bool; 3] = [
            |value| serde_json::from_value::<RequestApproval>(value).is_ok(),
            |value| serde_json::from_value::<VerifyToken>(value).is_ok(),
            |value| serde_json::from_value::<WaitForApproval>(value).is_ok(),
        ];
        for ((tool, full), read) in crate::definitions::asking().iter().zip(full).zip(read) {
            let schema = &tool["inputSchema"];
            let named = schema["properties"].as_object().unwrap();
            assert!(named.keys().eq(full.as_object().unwrap().keys()), "{tool}");
            assert!(read(full.clone()), "{full}");
            let required: Vec<_> =
                schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            for name in named.keys() {
                let mut without = full.clone();
                without.as_object_mut().unwrap().remove(name);
                assert_eq!(read(without), !required.contains(&name.as_str()), "{name}");
            }
            let mut more = full;
            more["more"] = json!(1);
            assert!(!read(more));
        }
    }
}
