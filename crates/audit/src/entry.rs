//! An audit entry as it was stored, by whichever version, and the leaf that it is in the log.

use std::collections::BTreeMap;

use placet_core::payload::sha256_hex;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::merkle::{Hash, leaf_hash};

/// The longest leaf: a bundle of entries has two bytes for its length.
pub const LEAF_LIMIT_BYTES: usize = 65_535;

/// An audit entry as it was stored: a JSON object with its own hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry(String);

impl StoredEntry {
    /// Takes an entry's JSON.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The JSON.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Its fields; none if it is not a JSON object.
    pub fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Its leaf in the log: canonical JSON (RFC 8785) without the field `hash`. `None` if it is not a JSON object.
    pub fn leaf(&self) -> Option<Vec<u8>> {
        leaf_bytes(&self.0)
    }

    /// The hash of its leaf.
    pub fn leaf_hash(&self) -> Option<Hash> {
        self.leaf().map(|leaf| leaf_hash(&leaf))
    }
}

/// The leaf of an entry's JSON: canonical JSON (RFC 8785) without the field `hash`. `None` if it is not a JSON object.
pub fn leaf_bytes(entry: &str) -> Option<Vec<u8>> {
    quick(entry).or_else(|| {
        let mut fields: Map<String, Value> = serde_json::from_str(entry).ok()?;
        fields.remove("hash");
        Some(serde_json_canonicalizer::to_string(&fields).ok()?.into_bytes())
    })
}

/// The leaf of an entry as this program writes them: values in canonical form, and a hash that is right.
///
/// That the hash is right is what proves that the values were canonical; it is a fifth of the work.
fn quick(entry: &str) -> Option<Vec<u8>> {
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(entry).ok()?;
    let hash = fields.get("hash")?.get().trim_matches('"');
    let mut leaf = String::with_capacity(entry.len());
    for (name, value) in fields.iter().filter(|(name, _)| **name != "hash") {
        // Names are sorted as UTF-16 (RFC 8785, section 3.2.3); for ASCII that is the order of the bytes.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        leaf.push_str(if leaf.is_empty() { "{\"" } else { ",\"" });
        leaf.push_str(name);
        leaf.push_str("\":");
        leaf.push_str(value.get());
    }
    leaf.push('}');
    (sha256_hex(leaf.as_bytes()) == hash).then(|| leaf.into_bytes())
}

#[cfg(test)]
mod tests {
    use placet_core::audit::stored_hash;

    use super::*;

    #[test]
    fn the_leaf_is_what_the_hash_covers_however_the_entry_is_written() {
        let fields = r#""seq":1,"actor":"Zoë \"q\"","approved":false,"later":{"b":1.0,"a":[1e3]}"#;
        let hash = stored_hash(&format!("{{{fields}}}")).unwrap();
        let leaf = r#"{"actor":"Zoë \"q\"","approved":false,"later":{"a":[1000],"b":1},"seq":1}"#;
        for text in [
            format!(r#"{{{fields},"hash":"{hash}"}}"#),
            format!(r#"{{"hash":"{hash}", {fields}}}"#),
            format!(r#"{{"hash":"wrong",{fields}}}"#),
            format!("{{{fields}}}"),
        ] {
            assert_eq!(leaf_bytes(&text).map(|leaf| String::from_utf8(leaf).unwrap()).as_deref(), Some(leaf));
        }
        for text in ["", "[]", "7", "{", r#"{"a":1}x"#] {
            assert_eq!(leaf_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn an_entry_that_was_written_in_canonical_values_takes_the_quick_way() {
        let unsealed = r#"{"action":"a","seq":1,"detail":"é\n"}"#;
        let hash = stored_hash(unsealed).unwrap();
        let text = format!(r#"{{"seq":1,"detail":"é\n","hash":"{hash}","action":"a"}}"#);
        assert_eq!(
            String::from_utf8(quick(&text).unwrap()).unwrap(),
            r#"{"action":"a","detail":"é\n","seq":1}"#
        );
        assert_eq!(quick(&text.replace("\"seq\":1", "\"seq\":2")), None);
    }
}
