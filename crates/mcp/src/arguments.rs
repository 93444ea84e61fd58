//! What the tools take: schemas that every client understands, read with some patience for how models write.
//!
//! Schemas name one type each, without formats and unions, which some clients refuse. A payload may come as the text of one
//! object, and whole seconds as `600.0`.

use placet_core::payload::parse_strict;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What `request_approval` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_defaults)]
pub(crate) struct RequestApproval {
    /// Leave it out, or name the request yourself with 1 to 128 of `A-Za-z0-9._:-` (not `.` or `..`): the same question again under the same
    /// name asks nobody twice.
    #[serde(default)]
    #[schemars(with = "String", title = "Request id")]
    pub(crate) request_id: Option<String>,
    /// What the person is told, in your words, at most 500 characters.
    #[schemars(title = "Summary")]
    pub(crate) summary: String,
    /// Dotted name of what will be done, such as `payment.send`.
    #[schemars(title = "Action")]
    pub(crate) action: String,
    /// Exactly what will be done, as an object: the token is good for this and for nothing else.
    #[serde(deserialize_with = "object")]
    #[schemars(schema_with = "any_object", title = "Payload")]
    pub(crate) payload: Map<String, Value>,
    /// After so many seconds without an answer the request expires; the policy may say less.
    #[serde(default, deserialize_with = "seconds")]
    #[schemars(schema_with = "whole_number", title = "Timeout in seconds")]
    pub(crate) timeout_seconds: Option<u64>,
}

/// What `wait_for_approval` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_defaults)]
pub(crate) struct WaitForApproval {
    /// The `request_id` that `request_approval` returned.
    #[schemars(title = "Request id")]
    pub(crate) request_id: String,
    /// How long to wait at most, in seconds, 0 to 45; 3 if left out. Call again while it is `pending`.
    #[serde(default, deserialize_with = "seconds")]
    #[schemars(schema_with = "wait", title = "Wait in seconds")]
    pub(crate) wait_seconds: Option<u64>,
}

/// What `verify_token` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_defaults)]
pub(crate) struct VerifyToken {
    /// The token of an approval.
    #[schemars(title = "Token")]
    pub(crate) token: String,
    /// The payload that is about to be used, to compare with the one that was approved.
    #[serde(default, deserialize_with = "some_object")]
    #[schemars(schema_with = "any_object", title = "Payload")]
    pub(crate) payload: Option<Map<String, Value>>,
}

/// What may be left out is not required; that its value is then none needs no word that clients read differently.
fn without_defaults(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        property.remove("default");
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": true })
}

fn whole_number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 0 })
}

fn wait(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "maximum": 45 })
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
    fn schemas_are_plain() {
        for schema in [
            schemars::schema_for!(RequestApproval),
            schemars::schema_for!(WaitForApproval),
            schemars::schema_for!(VerifyToken),
        ] {
            let schema = schema.to_value();
            let properties = schema["properties"].as_object().unwrap();
            for (name, property) in properties {
                let property = property.as_object().unwrap();
                assert!(
                    property["type"].is_string() && property["title"].is_string(),
                    "{name}: {property:?}"
                );
                assert!(property["description"].is_string(), "{name}: {property:?}");
                for odd in ["format", "anyOf", "oneOf", "$ref", "default"] {
                    assert!(!property.contains_key(odd), "{name}: {property:?}");
                }
            }
            assert!(schema.get("$defs").is_none());
        }
        let schema = schemars::schema_for!(RequestApproval).to_value();
        assert_eq!(schema["required"], json!(["summary", "action", "payload"]));
    }
}
