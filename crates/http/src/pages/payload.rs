//! A payload as rows that a person can read: every field, whatever its size or depth.
//!
//! Everything here is untrusted and stays text: no link, no attribute and no markup is made of it.

use super::text::{LineEnds, excerpt, passage, revealed};
use maud::{Markup, html};
use placet_core::payload::canonical_text;
use placet_core::words::fields::{Weight, label, label_is_the_key, lookalikes, ordered, weight};
use placet_core::words::text::grouped;
use serde_json::{Map, Number, Value};

/// Deeper than this, a phone has no width left: JSON text from there on.
const LEVELS: usize = 5;
/// An object shows this many fields before it asks for a tap.
const FIELDS: usize = 40;
/// A list longer than this shows its start and its end.
const ITEMS: usize = 20;
const START_ITEMS: usize = 10;
const END_ITEMS: usize = 3;
/// A longer odd key does not fit beside its value.
const SIDE_CHARS: usize = 24;
/// A page with more rows than this turns slow: JSON text from there on.
const ROWS: usize = 600;

/// The rows of a payload.
pub(super) fn rows(payload: &Value) -> Markup {
    let mut table = Table { rows_left: ROWS };
    match payload {
        Value::Object(fields) if !fields.is_empty() => table.fields(fields, 0),
        Value::Object(_) => html! { p.none { "No details were given." } },
        other => table.value(other, Weight::Ordinary, 0),
    }
}

/// The whole payload as the canonical text that is hashed, none of it left out.
pub(super) fn json(payload: &Value) -> Markup {
    html! { pre.json dir="ltr" { (revealed(&canonical_text(payload), LineEnds::Ours)) } }
}

struct Table {
    rows_left: usize,
}

impl Table {
    fn fields(&mut self, object: &Map<String, Value>, depth: usize) -> Markup {
        let fields = ordered(object);
        let (first, rest) = fields.split_at(if fields.len() > FIELDS + 2 { FIELDS } else { fields.len() });
        html! {
            dl { @for (key, value) in first { (self.field(key, value, depth)) } }
            @if !rest.is_empty() {
                details.more {
                    summary { (grouped(rest.len())) " more fields" }
                    dl { @for (key, value) in rest { (self.field(key, value, depth)) } }
                }
            }
        }
    }

    fn field(&mut self, key: &str, value: &Value, depth: usize) -> Markup {
        let weight = weight(key, value);
        let is_tall = name_is_long(key) || is_tall(value);
        html! {
            div.row.money[weight == Weight::Money].address[weight == Weight::Address].tall[is_tall] {
                dt { (name(key)) }
                dd { (self.value(value, weight, depth)) }
            }
        }
    }

    fn value(&mut self, value: &Value, weight: Weight, depth: usize) -> Markup {
        self.rows_left = self.rows_left.saturating_sub(1);
        match value {
            Value::Null => html! { span.word { "null" } },
            Value::Bool(yes) => html! { span.word { (yes) } },
            Value::Number(number) => digits(number),
            Value::String(text) => string(text, weight),
            Value::Array(items) if items.is_empty() => html! { span.none { "empty list" } },
            Value::Object(fields) if fields.is_empty() => html! { span.none { "empty" } },
            Value::Array(_) | Value::Object(_) if depth >= LEVELS || self.rows_left == 0 => {
                nested_json(value)
            }
            Value::Array(items) => self.items(items, weight, depth),
            Value::Object(fields) => self.fields(fields, depth + 1),
        }
    }

    fn items(&mut self, items: &[Value], weight: Weight, depth: usize) -> Markup {
        let count = items.len();
        if count <= ITEMS {
            return html! { ol { @for item in items { li { (self.value(item, weight, depth + 1)) } } } };
        }
        let (start, rest) = items.split_at(START_ITEMS);
        let (hidden, end) = rest.split_at(rest.len() - END_ITEMS);
        html! {
            ol { @for item in start { li { (self.value(item, weight, depth + 1)) } } }
            span.gap { (grouped(hidden.len())) " items not shown here" }
            ol start=(count - END_ITEMS + 1) { @for item in end { li { (self.value(item, weight, depth + 1)) } } }
            details {
                summary { "Show all " (grouped(count)) " items" }
                div.full { pre.json dir="ltr" { (revealed(&item_lines(items), LineEnds::Ours)) } }
            }
        }
    }
}

/// A key: readable, and as it truly is where that differs.
fn name(key: &str) -> Markup {
    match label(key) {
        Some(label) if label_is_the_key(&label, key) => html! { (label) },
        Some(label) => html! { (label) " " code { (key) } },
        None if key.is_empty() => html! { span.none { "empty key" } },
        None => html! { code { (passage(key, LineEnds::Theirs)) } },
    }
}

fn name_is_long(key: &str) -> bool {
    label(key).is_none() && key.chars().nth(SIDE_CHARS).is_some()
}

/// Whether a value needs the whole width, below its key.
fn is_tall(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => excerpt(text).is_some(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn string(text: &str, weight: Weight) -> Markup {
    if text.is_empty() {
        return html! { span.none { "empty text" } };
    }
    let reads_as_another_type = matches!(text, "null" | "true" | "false") || text.parse::<f64>().is_ok();
    let has_outer_spaces = text.starts_with(' ') || text.ends_with(' ');
    let alike = if weight == Weight::Address { lookalikes(text) } else { Vec::new() };
    html! {
        (passage(text, LineEnds::Theirs))
        @if reads_as_another_type { " " span.tag { "text" } }
        @if has_outer_spaces { " " span.tag { "starts or ends with a space" } }
        @if !alike.is_empty() {
            p.beware {
                "Look closely. These characters look like others: "
                @for (index, letter) in alike.iter().take(4).enumerate() {
                    @if index > 0 { ", " }
                    bdi { (letter) } " (U+" (format!("{:04X}", u32::from(*letter))) ")"
                }
                @if alike.len() > 4 { ", …" }
            }
        }
    }
}

/// A number with its digits set apart by style, so that what is copied is the number itself.
pub(super) fn digits(number: &Number) -> Markup {
    let text = canonical_text(&Value::Number(number.clone()));
    let sign = usize::from(text.starts_with('-'));
    let whole_digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    let whole_end = sign + whole_digits;
    let mut at = sign + if whole_digits < 5 { whole_digits } else { (whole_digits - 1) % 3 + 1 };
    let mut groups = vec![text.get(..at).unwrap_or_default()];
    while at < whole_end {
        groups.extend(text.get(at..at + 3));
        at += 3;
    }
    html! {
        span.num {
            @for (index, group) in groups.iter().enumerate() {
                @if index == 0 { (group) } @else { i { (group) } }
            }
            (text.get(whole_end..).unwrap_or_default())
        }
    }
}

fn nested_json(value: &Value) -> Markup {
    html! { div.json dir="ltr" { (passage(&canonical_text(value), LineEnds::Ours)) } }
}

fn item_lines(items: &[Value]) -> String {
    items.iter().map(canonical_text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(payload: &Value) -> String {
        rows(payload).into_string()
    }

    /// What a person can read on the page, all details open.
    fn readable(page: &str) -> String {
        let mut text = String::new();
        let mut in_tag = false;
        for character in page.chars() {
            match character {
                '<' => in_tag = true,
                '>' => in_tag = false,
                other if !in_tag => text.push(other),
                _ => {}
            }
        }
        text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    #[test]
    fn keys_and_values_are_only_text() {
        let evil = "\"><script>alert(1)</script><a href=\"https://evil.example\">x</a>";
        let page = page(&json!({evil: evil, "url": "https://evil.example", "n": {evil: [evil]}}));
        assert!(!page.contains("<script") && !page.contains("<a") && !page.contains("href=\""));
        assert!(readable(&page).contains(evil));
    }

    #[test]
    fn money_and_addresses_stand_out_and_come_first() {
        let page = page(&json!({"memo": "m", "recipient_email": "a@b.example", "amount": 1_250_000.5}));
        let expected = concat!(
            "<dl><div class=\"row money\"><dt>Amount</dt><dd><span class=\"num\">1<i>250</i><i>000</i>.5</span></dd></div>",
            "<div class=\"row address\"><dt>Recipient email <code>recipient_email</code></dt>",
            "<dd><bdi class=\"v\">a@b.example</bdi></dd></div>",
            "<div class=\"row\"><dt>Memo</dt><dd><bdi class=\"v\">m</bdi></dd></div></dl>",
        );
        assert_eq!(page, expected);
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("0", "0"),
            ("-7", "-7"),
            ("1234", "1234"),
            ("12345", "12345"),
            ("-123456", "-123456"),
            ("1234567.25", "1234567.25"),
            ("0.1", "0.1"),
            ("5.0", "5"),
            ("1e-6", "0.000001"),
            ("1e20", "100000000000000000000"),
            ("1e300", "1e+300"),
            ("9007199254740991", "9007199254740991"),
        ] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(readable(&digits(&number).into_string()), expected);
        }
        assert!(digits(&Number::from(123_456)).into_string().contains("123<i>456</i>"));
    }

    #[test]
    fn the_json_is_the_text_that_is_hashed() {
        let payload: Value =
            serde_json::from_str(r#"{"b": 1e-6, "a": [5.0, "x"], "c": {"z": null, "y": 1E3}}"#).unwrap();
        let text = readable(&json(&payload).into_string());
        assert_eq!(text, r#"{"a":[5,"x"],"b":0.000001,"c":{"y":1000,"z":null}}"#);
        assert_eq!(text, placet_core::payload::Payload::new(payload.as_object().unwrap()).unwrap().as_str());
    }

    #[test]
    fn what_could_be_mistaken_is_tagged() {
        assert!(page(&json!({"a": "5"})).contains("<span class=\"tag\">text</span>"));
        assert!(page(&json!({"a": "x "})).contains("starts or ends with a space"));
        assert!(page(&json!({"to": "\u{430}cme@example.com"})).contains("(U+0430)"));
        assert!(page(&json!({"a": ""})).contains("empty text"));
        assert!(page(&json!({"a": [], "b": {}, "c": null})).contains("empty list"));
    }

    #[test]
    fn padding_hides_nothing() {
        let payload = json!({"note": format!("{}SECRET{}", "x".repeat(30_000), "y".repeat(30_000))});
        let page = page(&payload);
        assert!(page.contains("<summary>Show all 60,006 characters</summary>"));
        assert!(page.contains("SECRET"));
    }

    #[test]
    fn every_leaf_of_a_big_payload_is_reachable() {
        let wide: Map<String, Value> =
            (0..1500).map(|n| (format!("key{n}"), json!(format!("leaf{n}.")))).collect();
        let deep = (0..100).fold(json!("bottom"), |inner, n| json!({format!("level{n}"): inner}));
        let list: Vec<Value> = (0..2000).map(|n| json!({"id": format!("item{n}.")})).collect();
        let text = readable(&page(&json!({"wide": wide, "deep": deep, "list": list})));
        assert!((0..1500).all(|n| text.contains(&format!("leaf{n}."))));
        assert!((0..2000).all(|n| text.contains(&format!("item{n}."))));
        let text = text.to_ascii_lowercase();
        assert!((0..100).all(|n| text.contains(&format!("level{n}"))) && text.contains("bottom"));
    }

    #[test]
    fn the_worst_64_kib_still_make_a_page_of_bounded_size() {
        let nest = |inner: Value| (0..98).fold(inner, |inner, _| json!([inner]));
        for payload in [
            json!({"a": vec![0; 32_000]}),
            json!({"a": nest(json!(vec![0; 32_000]))}),
            json!({"a": (0..6_000).map(|_| json!([0])).collect::<Vec<_>>()}),
            json!({"a": "\u{200b}\u{200c}".repeat(10_000)}),
            json!({"a": "\n \n".repeat(20_000)}),
            Value::Object((0..6_000).map(|n| (n.to_string(), json!({"a": 1}))).collect()),
        ] {
            let size = page(&payload).len() + json(&payload).into_string().len();
            assert!(size < 3_000_000, "{size}");
        }
    }
}
