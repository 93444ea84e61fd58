//! The trail as CSV (RFC 4180) that a spreadsheet can open without running anything.

use serde_json::{Map, Value};

/// The fields that come first in every form of the trail: what an auditor asks for.
pub const FIRST_FIELDS: [&str; 5] = ["request_id", "timestamp", "approved_by", "approved", "token_hash"];

/// The columns, in order. A field that a later version adds is in the JSON Lines form alone.
pub const COLUMNS: [&str; 18] = [
    "request_id",
    "timestamp",
    "approved_by",
    "approved",
    "token_hash",
    "event",
    "actor",
    "channel",
    "client",
    "action",
    "payload_sha256",
    "rule",
    "policy",
    "detail",
    "subject",
    "seq",
    "prev_hash",
    "hash",
];

/// The first line.
pub fn heading() -> String {
    line(COLUMNS.iter().map(|name| (*name).to_owned()))
}

/// One entry's line.
pub fn row(fields: &Map<String, Value>) -> String {
    line(COLUMNS.iter().map(|name| match fields.get(*name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }))
}

/// An entry as one line of JSON: the fields that are asked for first, then the others by name. Nothing is added and
/// nothing left out, so that its hash can be computed from the line.
pub fn json_line(fields: &Map<String, Value>) -> String {
    let first = FIRST_FIELDS.iter().filter_map(|name| fields.get_key_value(*name));
    let others = fields.iter().filter(|(name, _)| !FIRST_FIELDS.contains(&name.as_str()));
    let mut text = String::from("{");
    for (name, value) in first.chain(others) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&Value::String(name.clone()).to_string());
        text.push(':');
        text.push_str(&value.to_string());
    }
    text.push_str("}\n");
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|cell| quoted(&harmless(cell))).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell that no spreadsheet takes for a formula: an apostrophe stands before what could be one.
///
/// Spreadsheets take `=`, `+`, `-` and `@` at the start for one, some also behind white space or in their wide forms
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn harmless(cell: String) -> String {
    let begins = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '|' | '%');
    let first = cell.chars().find(|c| !c.is_whitespace() && !c.is_control());
    let odd_start = cell.starts_with(['\t', '\r', '\n', '\0']);
    if odd_start || first.is_some_and(begins) { format!("'{cell}") } else { cell }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n', ';', '\t', '\'']) || cell.starts_with(' ') || cell.ends_with(' ')
    {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_asked_for_comes_first_and_nothing_is_lost() {
        let entry = json!({"actor": "bob", "approved": true, "later": [1], "request_id": "r1", "hash": "h"});
        let fields = entry.as_object().unwrap();
        assert_eq!(
            json_line(fields),
            "{\"request_id\":\"r1\",\"approved\":true,\"actor\":\"bob\",\"hash\":\"h\",\"later\":[1]}\n"
        );
        assert!(heading().starts_with("request_id,timestamp,approved_by,approved,token_hash,event,"));
        assert_eq!(row(fields), "r1,,,true,,,bob,,,,,,,,,,,h\r\n");
    }

    #[test]
    fn no_cell_is_a_formula_and_no_cell_breaks_its_line() {
        for (detail, cell) in [
            ("=1+1", "'=1+1\""),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0\""),
            (" @SUM(1)", "' @SUM(1)\""),
            ("-2", "'-2\""),
            ("\t=1", "'\t=1\""),
            ("＝1", "'＝1\""),
            ("a\r\n=1", "a\r\n=1\""),
            ("a \"b\", c", "a \"\"b\"\", c\""),
        ] {
            let entry = json!({ "detail": detail });
            let row = row(entry.as_object().unwrap());
            assert!(row.contains(&format!(",\"{cell},")), "{row}");
        }
        assert!(row(json!({"detail": "2026-01-01 at 5"}).as_object().unwrap()).contains(",2026-01-01 at 5,"));
    }
}
