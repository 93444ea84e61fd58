//! The payload: strict JSON in, RFC 8785 canonical text and its SHA-256 out.
//!
//! What two programs could read differently is refused here (duplicate keys, whole numbers that not every program holds
//! exactly, however they are spelled), so that one digest never stands for two meanings.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::refusal::{FieldError, Refusal};

/// The largest payload, as canonical text, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The largest whole number that every JSON reader holds exactly (RFC 7493, section 2.2).
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The JSON of what will be done, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Box<str>);

impl Payload {
    /// Takes a JSON object that [`parse_strict`] has read.
    ///
    /// Refuses whole numbers outside ±(2^53−1) in every spelling, naming each, and more than [`MAX_BYTES`] of canonical text.
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

    /// A payload whose canonical text a store has kept.
    pub(crate) fn from_canonical(text: &str) -> Self {
        Self(text.into())
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
            // Beyond 2^53 a double is whole, so `1E30` and thirty digits are the same number here, and both are refused.
            let exact = number.as_f64().is_some_and(|n| n.abs() <= MAX_SAFE_INTEGER);
            if !exact {
                faults.push(FieldError::new(
                    path.clone(),
                    "is a whole number beyond ±(2^53-1), which not every program reads alike; send it as a string",
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
                return Err(serde::de::Error::custom(format!("the key `{key}` appears twice in one object")));
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
        // As `sha256sum` says of that text.
        assert_eq!(a.sha256(), "82e9f35fc10d8246482da0cf74de747020520c9d01472fcbbde2c132fe4f563b");
    }

    #[test]
    fn every_kind_of_value_is_read_as_what_it_is() {
        let text =
            r#"{"yes":true,"no":false,"none":null,"up":7,"down":-7,"half":0.5,"text":"é","list":[[],{}]}"#;
        let known: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse_strict(text.as_bytes()).unwrap(), known);
    }

    const TOO_LARGE: &str =
        "is a whole number beyond ±(2^53-1), which not every program reads alike; send it as a string";

    #[test]
    fn a_whole_number_that_not_every_program_holds_is_refused_however_it_is_spelled() {
        for text in [
            "9007199254740992",
            "-9007199254740992",
            "9007199254740993",
            "9007199254740993.0",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "100000000000000000001",
            "123456789012345678901234567890",
            "-123456789012345678901234567890.000",
            "1E30",
            "1e+16",
            "-1e16",
            "0.1e17",
            "10000000000000000000000000000000e-1",
            "1.7976931348623157e308",
        ] {
            let refused = payload(&format!(r#"{{"n":{text}}}"#));
            assert_eq!(refused, Err(Refusal::field("payload.n", TOO_LARGE)), "{text}");
        }
        for text in ["1e400", "-1e400", "1e309", &"9".repeat(400)] {
            assert!(parse_strict(text.as_bytes()).is_err(), "{text}");
        }
        for (text, canonical) in [
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991", "-9007199254740991"),
            ("9007199254740991.0", "9007199254740991"),
            ("9.007199254740991e15", "9007199254740991"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1.5", "1.5"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e400", "0"),
            ("1e-400", "0"),
            ("1e-7", "1e-7"),
            ("0.000001", "0.000001"),
        ] {
            let taken = payload(&format!(r#"{{"n":{text}}}"#)).unwrap();
            assert_eq!(taken.as_str(), format!(r#"{{"n":{canonical}}}"#), "{text}");
        }
        let deep = payload(r#"{"a":{"ids":[1,9007199254740993,{"b":1e20}]},"c":-1e17}"#);
        let fields = ["payload.a.ids[1]", "payload.a.ids[2].b", "payload.c"];
        let told = fields.map(|field| FieldError::new(field, TOO_LARGE)).to_vec();
        assert_eq!(deep, Err(Refusal::InvalidRequest(told)));
    }

    /// Appendix B of RFC 8785: doubles by their bits, and how they are written.
    #[test]
    fn numbers_are_written_as_rfc_8785_says() {
        for (bits, text) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let number: f64 = f64::from_bits(bits);
            assert_eq!(serde_json_canonicalizer::to_string(&number).unwrap(), text);
            let read = parse_strict(text.as_bytes()).unwrap();
            // Read back from its text, it is the same double (whatever the sign of zero).
            assert!(read.as_f64() == Some(number), "{text}");
            assert_eq!(
                payload(&format!(r#"{{"n":{text}}}"#)).is_ok(),
                number.abs() < 9_007_199_254_740_992.0,
                "{text}"
            );
        }
    }

    /// After the cases of `JSONTestSuite` (by Nicolas Seriot): what must be taken, what must not, and what we decided
    /// where the standard leaves it open.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn json_is_read_as_its_standard_says() {
        for text in [
            "[]",
            "[[]   ]",
            "[\"\"]",
            "[\"a\"]",
            "[false]",
            "[null, 1, \"1\", {}]",
            " [1]",
            "[1,null,null,2]",
            "[2] ",
            "[0e+1]",
            "[0e1]",
            "[ 4]",
            "[-0.000000000001]",
            "[20e1]",
            "[-0]",
            "[-123]",
            "[123e45]",
            "[1E-2]",
            "[1e+2]",
            "[123.456e78]",
            "{\"asd\":\"sdf\"}",
            "{}",
            "{\"\":0}",
            "{\"foo\\u0000bar\": 42}",
            "{\n\"a\": \"b\"\n}",
            "[\"\\u0060\\u012a\\u12AB\"]",
            "[\"\\uD801\\udc37\"]",
            "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
            "[\"\\\\u0000\"]",
            "[\"a/*b*/c/*d//e\"]",
            "[\"\\uDBFF\\uDFFF\"]",
            "[\"\u{10ffff}\"]",
            "[\"\u{2028}\"]",
            "[\"\u{7f}\"]",
            "false",
            "42",
            "-0.1",
            "null",
            "\"asd\"",
            "true",
            "\"\"",
            "[true]",
            "\t[\r\n]\r\n",
            "{\"a\":[]}",
            "[\"\\u0000\"]",
            "[\"\\uFFFF\"]",
            "[\"\u{feff}\"]",
        ] {
            assert!(parse_strict(text.as_bytes()).is_ok(), "{text}");
        }
        for text in [
            "",
            " ",
            "[1 true]",
            "[\"\": 1]",
            "[\"\"],",
            "[,1]",
            "[1,,2]",
            "[\"x\",,]",
            "[\"x\"]]",
            "[\"\",]",
            "[\"x\"",
            "[x",
            "[3[4]]",
            "[:1]",
            "[,]",
            "[-]",
            "[   , \"\"]",
            "[1,]",
            "[1,,]",
            "[*]",
            "[\"\",\n4\n,1,",
            "[fals]",
            "[nul]",
            "[tru]",
            "[1",
            "[-01]",
            "[-1.0.]",
            "[-2.]",
            "[.-1]",
            "[.2e-3]",
            "[++1234]",
            "[+1]",
            "[+Inf]",
            "[-NaN]",
            "[-foo]",
            "[- 1]",
            "[-012]",
            "[-.123]",
            "[0.1.2]",
            "[0.3e+]",
            "[0.e1]",
            "[0e]",
            "[0e+]",
            "[0E]",
            "[1.0e+]",
            "[1eE2]",
            "[1 000.0]",
            "[2.e3]",
            "[9.e+]",
            "[Inf]",
            "[Infinity]",
            "[NaN]",
            "[012]",
            "[0x1]",
            "[0x42]",
            "[1+2]",
            "[1.]",
            "[１]",
            "[2.]",
            "{\"x\", null}",
            "{\"x\"::\"b\"}",
            "{\"a\":\"a\" 123}",
            "{key: 'value'}",
            "{\"a\" b}",
            "{:\"b\"}",
            "{\"a\" \"b\"}",
            "{\"a\":",
            "{\"a\"",
            "{1:1}",
            "{9999E9999:1}",
            "{null:null}",
            "{\"id\":0,,,,,}",
            "{'a':0}",
            "{\"id\":0,}",
            "{\"a\":\"b\"}/**/",
            "{\"a\":\"b\"}//",
            "{\"a\":\"b\",,\"c\":\"d\"}",
            "{a: \"b\"}",
            "{\"a\":\"a",
            "{ \"foo\" : \"bar\", \"a\" }",
            "{\"a\":\"b\"}#",
            "[\"\\uD800\\\"]",
            "[\"\\uD800\\u\"]",
            "[\"\\uD800\\u1x\"]",
            "[é]",
            "[\"\\x00\"]",
            "[\"\\\\\\\"]",
            "[\"\\\t\"]",
            "[\"\\a\"]",
            "[\"\\u00A\"]",
            "[\"\\uqqqq\"]",
            "[\"\n\"]",
            "[\"\t\"]",
            "[\"\u{0}\"]",
            "\"\\UA66D\"",
            "['a']",
            "\"",
            "\\u0020\"asd\"",
            "<.>",
            "[<null>]",
            "[1]x",
            "[1]]",
            "aå",
            "[True]",
            "{\"x\": true,",
            "[][]",
            "]",
            "{]",
            "[}",
            "[1,\n1\n,1",
            "*",
            "1]",
            "2@",
            "{}}",
            "{\"\":",
            "{\"a\":/*comment*/\"b\"}",
            "{\"a\": true} \"x\"",
            "['",
            "[\"",
            "{",
            "{,",
            "{[",
            "[{",
            "[\u{a0}]",
            "[\u{2060}]",
            "[\u{c}]",
            "\u{feff}{}",
            "\u{1}",
            "[\"\\u{41}\"]",
            // Open in the standard, and refused: half of a pair, a number out of range, too deep.
            "[\"\\uD800\"]",
            "[\"\\uDd1e\\uD834\"]",
            "[\"\\ud800abc\"]",
            "[1e9999]",
            "[-1e9999]",
            "[0.4e00669999999999]",
        ] {
            assert!(parse_strict(text.as_bytes()).is_err(), "{text:?}");
        }
        for bytes in [
            &b"[\"\xff\"]"[..],
            b"[\"\xe0\xff\"]",
            b"[\"\xc0\xaf\"]",
            b"[\"\xed\xa0\x80\"]",
            b"[\"\xf4\xbf\xbf\xbf\"]",
            b"[\xff]",
            b"{\"\xb9\":\"0\",}",
            b"\xff\xfe[\x00\"\x00",
            b"\x00[\x00\"",
            b"[\"\xe6\x97\xa5\xd1\"]",
        ] {
            assert!(parse_strict(bytes).is_err(), "{bytes:?}");
        }
        for (text, told) in [
            (r#"{"amount":1,"amount":1000}"#, "`amount` appears twice"),
            (r#"{"a":[{"b":1,"c":2,"b":1}]}"#, "`b` appears twice"),
            (r#"{"a":1,"\u0061":1}"#, "`a` appears twice"),
        ] {
            let error = parse_strict(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(parse_strict(r#"{"a":1,"A":1,"å":2,"a\u030a":2}"#.as_bytes()).is_ok());
    }

    #[test]
    fn the_deepest_payload_is_read_on_the_smallest_stack() {
        for depth in [1, 60, 120, 127, 128, 100_000] {
            let work = move || {
                let text = format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
                let objects = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
                (payload(&text).is_ok(), payload(&objects).map(|payload| payload.value().is_object()))
            };
            let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap();
            let (lists, objects) = thread.join().unwrap();
            assert_eq!((lists, objects.is_ok()), (depth < 127, depth < 128), "{depth}");
        }
    }

    #[test]
    fn the_limit_is_64_kib_of_canonical_text() {
        let fits = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES - 8));
        assert_eq!((payload(&fits).unwrap().as_str().len(), MAX_BYTES), (65_536, 65_536));
        let over = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES - 7));
        assert_eq!(payload(&over), Err(Refusal::PayloadTooLarge { what: "payload", limit_bytes: MAX_BYTES }));
    }
}
