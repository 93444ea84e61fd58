//! JSON-RPC lines: how they are read, and the answers that the wrapper gives by itself.

use placet_core::payload::parse_strict;
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
    let value = parse_strict(line)
        .map_err(|why| Unreadable(error(&Value::Null, -32700, &format!("the message is not JSON: {why}"))))?;
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
            r#"{"method":"ping","method":"tools/call","id":1}"#,
            r#"{"method":"ping","\u006dethod":"tools/call","id":1}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
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
