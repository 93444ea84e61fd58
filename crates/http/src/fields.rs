//! Reading a JSON body field by field, so that every fault is reported at once.

use std::collections::BTreeMap;

use placet_core::payload::parse_strict;
use placet_core::refusal::{FieldError, Refusal};
use serde_json::{Map, Value};

/// How much metadata a request may carry, keys and values together, in bytes.
const METADATA_BYTES: usize = 8 * 1024;

/// The fields of a body that nobody has asked for yet, and what was wrong with the others.
pub(crate) struct Fields {
    left: Map<String, Value>,
    errors: Vec<FieldError>,
    is_empty: bool,
}

impl Fields {
    /// Reads a JSON object. An empty body is an empty object.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let is_empty = body.is_empty();
        let body = if is_empty { b"{}" } else { body };
        match parse_strict(body) {
            Ok(Value::Object(left)) => Ok(Self { left, errors: Vec::new(), is_empty }),
            Ok(_) => Err(Refusal::field("body", "must be a JSON object")),
            Err(error) => Err(Refusal::field("body", json_fault(body, &error))),
        }
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// A value, if it is there. `null` is not there.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// A string of `least` to `most` characters.
    pub(crate) fn text(&mut self, name: &str, least: usize, most: usize) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if (least..=most).contains(&text.chars().count()) => Some(text),
            _ => {
                let length =
                    if most == usize::MAX { "1 or more".to_owned() } else { format!("{least} to {most}") };
                self.fault(name, format!("must be a string of {length} characters"));
                None
            }
        }
    }

    /// A string that must be there.
    pub(crate) fn required_text(&mut self, name: &str, least: usize, most: usize) -> Option<String> {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.left.remove(name);
            self.fault(name, "is required");
            return None;
        }
        self.text(name, least, most)
    }

    /// A string that `parse` understands.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        text: Option<String>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(&text?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, error.to_string());
                None
            }
        }
    }

    /// A whole number. JSON does not tell 5 from 5.0, so neither does this.
    pub(crate) fn number(&mut self, name: &str, least: u32, most: u32) -> Option<u32> {
        let value = self.take(name)?;
        let number = (least..=most).find_exact(&value);
        if number.is_none() {
            self.fault(name, format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// A JSON object.
    pub(crate) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        if let Value::Object(object) = self.take(name)? {
            return Some(object);
        }
        self.fault(name, "must be a JSON object");
        None
    }

    /// A JSON object, or nothing at all. `null` is neither: whoever sends it may mean something that was lost on the way.
    pub(crate) fn object_or_absent(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.left.remove(name)? {
            Value::Object(object) => Some(object),
            Value::Null => {
                self.fault(name, "must be a JSON object, not null; leave it out if there is none");
                None
            }
            _ => {
                self.fault(name, "must be a JSON object");
                None
            }
        }
    }

    /// A map from strings to strings.
    pub(crate) fn string_map(&mut self, name: &str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let mut bytes = 0;
        for (key, value) in self.object(name).unwrap_or_default() {
            match value {
                Value::String(text) => {
                    bytes += key.len() + text.len();
                    map.insert(key, text);
                }
                _ => self.fault(&format!("{name}.{key}"), "must be a string"),
            }
        }
        if bytes > METADATA_BYTES {
            self.fault(name, format!("must have at most {METADATA_BYTES} bytes in all"));
        }
        map
    }

    /// A list of strings that must be there and not be empty.
    pub(crate) fn required_list<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        each: &str,
    ) -> Vec<T> {
        let Some(Value::Array(items)) = self.take(name) else {
            self.fault(name, format!("must be a list of {each}"));
            return Vec::new();
        };
        if items.is_empty() {
            self.fault(name, format!("must be a list of {each}, and not be empty"));
        }
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_str().and_then(&parse) {
                Some(item) => list.push(item),
                None => self.fault(&format!("{name}[{index}]"), format!("must be one of {each}")),
            }
        }
        list
    }

    /// Takes the faults of a refusal as faults of this body; passes on every other refusal.
    pub(crate) fn absorb<T>(&mut self, result: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Refusal::InvalidRequest(errors)) => {
                self.errors.extend(errors);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Refuses if anything was wrong, or if a field is left that nobody asked for.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        for key in self.left.keys() {
            self.errors.push(FieldError::new(key.clone(), "is not a field of this request"));
        }
        if self.is_empty && !self.errors.is_empty() {
            return Err(Refusal::field("body", "is empty; it must be a JSON object"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Refusal::InvalidRequest(self.errors)) }
    }
}

/// What the parser's words begin with, and ours.
const JSON_FAULTS: [(&str, &str); 12] = [
    ("number out of range", "the number is larger than a double can hold; send it as a string"),
    ("invalid number", "a number is not written as JSON writes numbers"),
    ("trailing comma", "there is a comma after the last item"),
    ("trailing characters", "something follows after the end of the JSON"),
    ("control character", "a text holds a control character (such as a line break) that is not escaped"),
    ("invalid escape", "a text holds a backslash that begins no escape of JSON"),
    ("lone leading surrogate", "a text holds half a surrogate pair"),
    ("unexpected end of hex escape", "a text holds half a surrogate pair"),
    ("invalid unicode code point", "a text holds half a surrogate pair"),
    ("recursion limit exceeded", "it is nested more than 127 levels deep"),
    ("key must be a string", "a key is not in double quotes"),
    ("expected ident", "a word is neither `true`, `false` nor `null`"),
];

/// What is wrong with a body that is not JSON, and where, for somebody who did not write a parser.
///
/// The parser's own words are matched by what they begin with; those of a later version that are not known here are
/// passed on as they are.
fn json_fault(body: &[u8], error: &serde_json::Error) -> String {
    if let Err(error) = std::str::from_utf8(body) {
        return format!("is not UTF-8: the byte at offset {} belongs to no character", error.valid_up_to());
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return "begins with a byte order mark, which JSON does not allow; send it without".to_owned();
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let at = format!("line {}, column {}", error.line(), error.column());
    if error.is_eof() {
        return format!("is not valid JSON: it ends too early, at {at}");
    }
    if error.is_data() {
        // What `parse_strict` itself refuses: a key that comes twice, a number that no double holds.
        return format!("is JSON that programs read differently: {said} ({at})");
    }
    let words =
        JSON_FAULTS.iter().find(|(theirs, _)| said.starts_with(theirs)).map_or(said, |(_, ours)| *ours);
    let words = if words == "expected value" { "a value was expected here" } else { words };
    format!("is not valid JSON: {words} ({at})")
}

trait FindExact {
    fn find_exact(&self, value: &Value) -> Option<u32>;
}

impl FindExact for std::ops::RangeInclusive<u32> {
    fn find_exact(&self, value: &Value) -> Option<u32> {
        let number = value.as_u64().or_else(|| {
            let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
            // Exact: a whole double within the range of `u32` has the same decimal digits.
            format!("{number:.0}").parse().ok()
        })?;
        u32::try_from(number).ok().filter(|number| self.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_reported_at_once() {
        let mut fields = Fields::read(br#"{"a":5,"n":1.5,"m":{"k":1,"l":"x"},"z":1}"#).unwrap();
        fields.required_text("a", 1, 3);
        fields.required_text("b", 1, 3);
        fields.number("n", 0, 25);
        fields.string_map("m");
        let Err(Refusal::InvalidRequest(errors)) = fields.finish() else { panic!("taken") };
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["a", "b", "n", "m.k", "z"]);
    }

    #[test]
    fn an_empty_body_is_called_empty_where_something_is_missing() {
        let mut fields = Fields::read(b"").unwrap();
        fields.required_text("a", 1, 3);
        assert_eq!(fields.finish(), Err(Refusal::field("body", "is empty; it must be a JSON object")));
        assert_eq!(Fields::read(b"").unwrap().finish(), Ok(()));
    }

    #[test]
    fn each_fault_of_json_has_its_own_words_and_its_place() {
        let message = |body: &[u8]| match Fields::read(body).map(|_| ()) {
            Err(Refusal::InvalidRequest(errors)) => errors[0].message.clone(),
            other => panic!("{other:?}"),
        };
        let rows: [(&[u8], &str); 17] = [
            (b"{\"a\":1,\n \"a\":2}", "is JSON that programs read differently: the key `a`"),
            (
                b"{\"a\":1e999}",
                "is not valid JSON: the number is larger than a double can hold; send it as a string (line 1, ",
            ),
            (b"{\"a\":", "is not valid JSON: it ends too early, at line 1, column 5"),
            (
                b"{\"a\":\n 01}",
                "is not valid JSON: a number is not written as JSON writes numbers (line 2, column 3)",
            ),
            (b"{\"a\":1,}", "is not valid JSON: there is a comma after the last item (line 1, column 8)"),
            (b"{} {}", "is not valid JSON: something follows after the end of the JSON (line 1, column 4)"),
            (b"{\"a\":\"\n\"}", "is not valid JSON: a text holds a control character"),
            (b"{\"a\":\"\\x\"}", "is not valid JSON: a text holds a backslash"),
            (b"{\"a\":\"\\ud800\"}", "is not valid JSON: a text holds half a surrogate pair"),
            (b"{\"a\":\"\\udc00\"}", "is not valid JSON: a text holds half a surrogate pair"),
            (b"{\"a\":\"\\ud800\\n\"}", "is not valid JSON: a text holds half a surrogate pair"),
            (b"{a:1}", "is not valid JSON: a key is not in double quotes (line 1, column 2)"),
            (b"{\"a\":nul}", "is not valid JSON: a word is neither `true`, `false` nor `null`"),
            (b"{\"a\":NaN}", "is not valid JSON: a value was expected here (line 1, column 6)"),
            (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
            (b"{\"a\":\"\xff\"}", "is not UTF-8: the byte at offset 6 "),
            (b"{'a':1}", "is not valid JSON: a key is not in double quotes"),
        ];
        let others: Vec<_> = rows
            .iter()
            .filter(|(body, words)| !message(body).starts_with(words))
            .map(|(body, _)| (String::from_utf8_lossy(body), message(body)))
            .collect();
        assert!(others.is_empty(), "{others:#?}");
        let deep = [b"{\"a\":".as_slice(), &[b'['; 200]].concat();
        assert!(message(&deep).starts_with("is not valid JSON: it is nested more than 127 levels deep"));
    }

    #[test]
    fn texts_are_measured_in_characters() {
        let read = |text: &str| {
            let mut fields = Fields::read(serde_json::json!({"t": text}).to_string().as_bytes()).unwrap();
            fields.required_text("t", 1, 3)
        };
        for text in ["\u{1f600}\u{1f600}\u{1f600}", "\u{e9}\u{e9}\u{e9}", "e\u{301}x"] {
            assert_eq!(read(text).as_deref(), Some(text));
            assert_eq!(read(&format!("{text}x")), None);
        }
    }

    #[test]
    fn null_is_not_the_same_as_left_out_where_that_matters() {
        let mut fields = Fields::read(br#"{"a":null,"b":null}"#).unwrap();
        assert_eq!(
            (fields.object("a"), fields.object_or_absent("b"), fields.object_or_absent("c")),
            (None, None, None)
        );
        let Err(Refusal::InvalidRequest(errors)) = fields.finish() else { panic!("taken") };
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_whole_number_may_be_spelled_as_a_double() {
        for (text, number) in
            [("5", Some(5)), ("5.0", Some(5)), ("26", None), ("-1", None), ("4.5", None), ("1e9", None)]
        {
            let mut fields = Fields::read(format!(r#"{{"n":{text}}}"#).as_bytes()).unwrap();
            assert_eq!(fields.number("n", 0, 25), number, "{text}");
        }
    }
}
