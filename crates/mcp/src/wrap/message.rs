//! JSON-RPC lines: how they are read, and the answers that the wrapper gives by itself.

use std::cell::RefCell;
use std::fmt;

use placet_core::payload::parse_strict;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

/// The longest line that is read of the client, in bytes. The gate takes much smaller payloads.
pub(super) const CLIENT_LINE_BYTES: usize = 8 * 1024 * 1024;

/// The longest line that is read of the server, in bytes.
pub(super) const SERVER_LINE_BYTES: usize = 256 * 1024 * 1024;

/// The keys of a request's `_meta` since the revision of 2026-07-28, in which there are no sessions.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// The extension by which a result may be a task.
pub(super) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A line of the client that is not passed on, and the answer to it.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable(pub(super) Value);

/// Reads a line of the client.
///
/// What two programs could read differently is not passed on: keys that are named twice, several messages in one. What
/// is passed on is the value as it was read here, written anew, so that the server reads what the gate was asked about.
pub(super) fn read(line: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    if line.len() > CLIENT_LINE_BYTES {
        return Err(Unreadable(error(&Value::Null, -32600, "the message is too long")));
    }
    let value = parse_strict(line).map_err(|why| unreadable(line, &why))?;
    let Value::Object(message) = value else {
        return Err(Unreadable(error(&Value::Null, -32600, "one message a line, as an object")));
    };
    let id = message.get("id").cloned().unwrap_or(Value::Null);
    if message.get("method").is_some_and(|method| !method.is_string()) {
        return Err(Unreadable(error(&id, -32600, "`method` is not a text")));
    }
    let names_a_request = message.contains_key("method") && message.contains_key("id");
    if names_a_request && !matches!(id, Value::String(_) | Value::Number(_)) {
        return Err(Unreadable(error(&Value::Null, -32600, "`id` is neither a text nor a number")));
    }
    Ok(message)
}

/// The answer to a line that cannot be read as one value.
///
/// Where the line is a request all the same, and only what is in it has no single reading, the answer names the request:
/// whoever sent it would wait for one in vain.
fn unreadable(line: &[u8], why: &serde_json::Error) -> Unreadable {
    let Some(id) = id_of_request(line) else {
        return Unreadable(error(&Value::Null, -32700, &format!("the message is not JSON: {why}")));
    };
    let place = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(line);
    let _ = Walk(&place).deserialize(&mut reader);
    let place = place.into_inner();
    let code = if place.first().is_some_and(|first| first == "params") { -32602 } else { -32600 };
    let said = why.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let said = if said.starts_with("number out of range") {
        "holds a number that is larger than a double can hold; send it as a text".to_owned()
    } else {
        format!("cannot be read: {said}")
    };
    Unreadable(error(&id, code, &format!("`{}` {said}", place.join("."))))
}

/// The id of a line that is one request, whatever its other members hold. None where it is named twice.
fn id_of_request(line: &[u8]) -> Option<Value> {
    struct Outline;
    impl<'de> Visitor<'de> for Outline {
        type Value = Option<Value>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a message")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Option<Value>, A::Error> {
            let (mut ids, mut has_method) = (Vec::new(), false);
            while let Some(name) = members.next_key::<String>()? {
                if name == "id" {
                    ids.push(members.next_value::<Value>()?);
                } else {
                    has_method |= name == "method";
                    members.next_value::<IgnoredAny>()?;
                }
            }
            let only = if ids.len() == 1 { ids.pop() } else { None };
            Ok(only.filter(|id| has_method && matches!(id, Value::String(_) | Value::Number(_))))
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(line);
    let id = reader.deserialize_map(Outline).ok()?;
    reader.end().ok()?;
    id
}

/// Reads JSON up to its first fault; the names that lead there are left in the list.
#[derive(Clone, Copy)]
struct Walk<'p>(&'p RefCell<Vec<String>>);

impl Walk<'_> {
    fn enter(self, name: String) {
        self.0.borrow_mut().push(name);
    }

    fn leave(self) {
        self.0.borrow_mut().pop();
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        loop {
            self.enter(index.to_string());
            let item = items.next_element_seed(self)?;
            self.leave();
            if item.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = std::collections::HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            self.enter(name.clone());
            if !names.insert(name) {
                return Err(serde::de::Error::custom("twice"));
            }
            members.next_value_seed(self)?;
            self.leave();
        }
        Ok(())
    }
}

/// A message as one line.
pub(super) fn line(message: &Value) -> Vec<u8> {
    // Some readers of lines end one at these, too; in JSON they stand only in texts, where they may be escaped.
    let mut text = message.to_string();
    if text.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        for (character, escape) in [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")] {
            text = text.replace(character, escape);
        }
    }
    text.push('\n');
    text.into_bytes()
}

/// An answer that says what is wrong with a request.
pub(super) fn error(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// A request's `_meta`.
pub(super) fn meta(params: &Map<String, Value>) -> Option<&Map<String, Value>> {
    params.get("_meta").and_then(Value::as_object)
}

/// Whether the request is of a revision without sessions, whose results say of which type they are.
pub(super) fn is_modern(params: &Map<String, Value>) -> bool {
    meta(params).is_some_and(|meta| meta.contains_key(VERSION_KEY))
}

/// Whether whoever sent this takes a task for a result.
pub(super) fn takes_tasks(params: &Map<String, Value>) -> bool {
    let capabilities = meta(params).and_then(|meta| meta.get(CAPABILITIES_KEY));
    capabilities.and_then(|own| own.get("extensions")).is_some_and(|all| all.get(TASKS).is_some())
}

/// The `_meta` for a request of the wrapper's own on behalf of that one: what says which revision, and who asks.
///
/// No progress, and no tasks: whoever asked has its answer already, or is to get it from here.
pub(super) fn own_meta(params: &Map<String, Value>) -> Option<Value> {
    let mut meta = meta(params)?.clone();
    meta.remove("progressToken");
    if let Some(Value::Object(extensions)) =
        meta.get_mut(CAPABILITIES_KEY).and_then(|own| own.get_mut("extensions"))
    {
        extensions.remove(TASKS);
    }
    Some(Value::Object(meta))
}

/// A result, in the form of the request's revision.
pub(super) fn result(id: &Value, modern: bool, mut result: Value) -> Value {
    if let (true, Some(result)) = (modern, result.as_object_mut()) {
        result.entry("resultType").or_insert_with(|| "complete".into());
    }
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// What a model is told of a call that was not made.
pub(super) fn not_done(why: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": why }], "isError": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_two_readings_is_not_read() {
        let code = |line: &str| {
            read(line.as_bytes()).err().map(|unreadable| unreadable.0["error"]["code"].as_i64().unwrap())
        };
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), None);
        for bad in [
            r#"{"id":1,"id":2,"method":"tools/call"}"#,
            r#"{"id":1,"\u0069d":1,"method":"tools/call"}"#,
            r#"{"id":1,"result":{"a":1,"a":2}}"#,
            "{} {}",
            "{\"a\":\"\u{1}\"}",
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
            "\u{feff}{}",
            "",
        ] {
            assert_eq!(code(bad), Some(-32700), "{bad}");
        }
        for bad in [
            r#"[{"method":"tools/call","id":1}]"#,
            "1",
            "null",
            r#"{"method":["tools/call"],"id":1}"#,
            r#"{"method":"tools/call","id":null}"#,
            r#"{"method":"tools/call","id":{}}"#,
        ] {
            assert_eq!(code(bad), Some(-32600), "{bad}");
        }
        assert_eq!(read(&vec![b' '; CLIENT_LINE_BYTES + 1]).err().unwrap().0["error"]["code"], -32600);
    }

    #[test]
    fn a_request_whose_content_cannot_be_read_is_answered_by_its_id() {
        for (line, id, code, field) in [
            (
                r#"{"id":10,"method":"tools/call","params":{"arguments":{"amount":1,"amount":2}}}"#,
                json!(10),
                -32602,
                "`params.arguments.amount` ",
            ),
            (
                r#"{"id":"x","method":"tools/call","params":{"arguments":{"l":[1,{"n":1e400}]}}}"#,
                json!("x"),
                -32602,
                "`params.arguments.l.1.n` ",
            ),
            (
                r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
                json!(1),
                -32602,
                "`params.name` ",
            ),
            (r#"{"params":{"s":"\ud800"},"id":1,"method":"tools/call"}"#, json!(1), -32602, "`params.s` "),
            (r#"{"method":"ping","method":"tools/call","id":1}"#, json!(1), -32600, "`method` "),
            (r#"{"method":"ping","\u006dethod":"tools/call","id":1}"#, json!(1), -32600, "`method` "),
        ] {
            let answer = read(line.as_bytes()).unwrap_err().0;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{line}");
            let said = answer["error"]["message"].as_str().unwrap();
            assert!(said.starts_with(field), "{line}: {said}");
        }
    }

    #[test]
    fn a_message_is_one_line_for_every_reader_of_lines() {
        let raw = "{\"x\":\r{\"id\":1,\"method\":\"tools/call\"}\r,\"s\":\"a\u{2028}b\u{85}c\\r\\n\"}";
        let message = Value::Object(read(raw.as_bytes()).unwrap());
        let text = String::from_utf8(line(&message)).unwrap();
        assert_eq!(text.matches(['\n', '\r', '\u{2028}', '\u{85}']).count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), message);
    }

    #[test]
    fn a_request_of_the_wrappers_own_asks_for_neither_progress_nor_tasks() {
        let params = json!({ "_meta": {
            "progressToken": 1, VERSION_KEY: "2026-07-28",
            CAPABILITIES_KEY: { "sampling": {}, "extensions": { TASKS: {}, "other": {} } },
        } });
        let params = params.as_object().unwrap();
        assert!(is_modern(params) && takes_tasks(params));
        let own = own_meta(params).unwrap();
        assert_eq!(
            own,
            json!({ VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: { "sampling": {}, "extensions": { "other": {} } } })
        );
        let legacy = json!({ "_meta": { "progressToken": 1 } });
        let legacy = legacy.as_object().unwrap();
        assert!(!is_modern(legacy) && !takes_tasks(legacy));
    }
}
