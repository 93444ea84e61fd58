//! A payload as rows that a person can read: every field, whatever its size or depth.
//!
//! Everything here is untrusted and stays text: no link, no attribute and no markup is made of it.

use super::text::{LineEnds, VALUE, WHOLE, excerpt, passage, passage_of, revealed};
use maud::{Markup, html};
use placet_core::payload::canonical_text;
use placet_core::words::FieldPath;
use placet_core::words::fields::{
    Weight, is_amount, is_attachment, is_text, label, label_is_the_key, lookalikes, ordered, weight,
};
use placet_core::words::money::currency_of;
use placet_core::words::money::{amount, iban};
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
/// A table has so many columns and lines at most; else a list is shown item by item.
const COLUMNS: usize = 4;
const LINES: usize = 100;
/// Longer values need more room than a column has.
const CELL_CHARS: usize = 40;
/// How deep texts to read are looked for.
const TEXT_LEVELS: usize = 3;

/// The few facts beside a title: a row each.
pub(super) fn facts(payload: &Value, paths: &[FieldPath]) -> Markup {
    let mut table = Table { rows_left: ROWS };
    html! {
        dl.facts {
            @for path in paths {
                @if let (Some(value), Some(parent)) = (path.find(payload), path.parent(payload)) {
                    (table.fact(path, value, parent))
                }
            }
        }
    }
}

/// The texts of a payload that people have to read, whole, each with its name; what the title says whole is left out.
pub(super) fn texts(payload: &Value, is_told: impl Fn(&FieldPath, &str) -> bool) -> Markup {
    let mut found = Vec::new();
    find_texts(payload, &mut Vec::new(), &mut found);
    html! {
        @for (path, text) in found.iter().filter(|(path, text)| !is_told(path, text)) {
            section.text {
                h2 { (name(path.last())) }
                div.whole dir="auto" translate="no" { (passage_of(text, LineEnds::Ours, WHOLE)) }
            }
        }
    }
}

/// Whether something in a payload could deceive whoever does not look at all of it: letters that look like others in an
/// address, a text whose middle is not shown.
pub(super) fn needs_a_look(payload: &Value) -> bool {
    match payload {
        Value::Object(fields) => fields.iter().any(|(key, value)| match value {
            Value::String(text) => {
                excerpt(text, WHOLE).is_some()
                    || (weight(key, value) == Weight::Address && !lookalikes(text).is_empty())
                    || iban(text).is_some_and(|iban| !iban.is_consistent)
            }
            other => needs_a_look(other),
        }),
        Value::Array(items) => items.iter().any(needs_a_look),
        Value::String(text) => excerpt(text, WHOLE).is_some(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What is attached to the texts, after them.
pub(super) fn attachments(payload: &Value) -> Markup {
    let Value::Object(fields) = payload else { return html! {} };
    let mut table = Table { rows_left: ROWS };
    html! {
        @for (key, value) in ordered(fields).into_iter().filter(|(key, value)| is_attachment(key, value)) {
            section.text {
                h2 { (name(key)) }
                div.payload translate="no" { (table.value(value, Weight::Ordinary, 1)) }
            }
        }
    }
}

fn find_texts<'v>(value: &'v Value, keys: &mut Vec<String>, found: &mut Vec<(FieldPath, &'v str)>) {
    let Value::Object(fields) = value else { return };
    for (key, value) in ordered(fields) {
        keys.push(key.to_owned());
        if let Value::String(text) = value
            && is_text(key, value)
        {
            found.push((FieldPath::from_keys(keys), text));
        } else if keys.len() < TEXT_LEVELS {
            find_texts(value, keys, found);
        }
        keys.pop();
    }
}

/// A list that is shown by itself.
pub(super) struct Lines<'p> {
    /// Its key.
    pub(super) key: &'p str,
    /// How many lines it has.
    pub(super) count: usize,
    pub(super) table: Markup,
}

/// The list that a payload is about, line by line, where a table can show it.
pub(super) fn lines(payload: &Value) -> Option<Lines<'_>> {
    let fields = payload.as_object()?.iter().filter(|(key, value)| !is_attachment(key, value));
    let mut lists = fields.filter_map(|(key, value)| {
        let items = value.as_array().filter(|items| items.len() > 1)?;
        Some(Lines { key, count: items.len(), table: tabled(items)? })
    });
    let found = lists.next()?;
    lists.next().is_none().then_some(found)
}

/// A list of objects with the same few short fields, as a table.
fn tabled(items: &[Value]) -> Option<Markup> {
    let first = items.first()?.as_object()?;
    if items.len() > LINES || first.is_empty() {
        return None;
    }
    let is_cell = |value: &Value| match value {
        Value::String(text) => text.chars().nth(CELL_CHARS).is_none() && !text.contains('\n'),
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let rows: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    let same = |row: &&Map<String, Value>| {
        row.len() == first.len() && row.iter().all(|(key, value)| first.contains_key(key) && is_cell(value))
    };
    if rows.len() != items.len() || !rows.iter().all(same) {
        return None;
    }
    // A currency that all amounts say needs no column of its own.
    let said = |row: &&Map<String, Value>| {
        let (currency, code) = currency_of(row)?;
        row.iter()
            .any(|(key, value)| is_amount(key) && amount(key, value, code).is_some())
            .then(|| currency.to_owned())
    };
    let said: Vec<Option<String>> = rows.iter().map(said).collect();
    let hidden =
        said.first().cloned().flatten().filter(|first| said.iter().all(|key| key.as_ref() == Some(first)));
    let columns: Vec<&str> = ordered(first)
        .into_iter()
        .map(|(key, _)| key)
        .filter(|key| hidden.as_deref() != Some(*key))
        .collect();
    if columns.len() > COLUMNS {
        return None;
    }
    let mut table = Table { rows_left: ROWS };
    Some(html! {
        div.wide {
            table {
                thead { tr { @for key in &columns { th scope="col" .right[is_amount(key)] { (name(key)) } } } }
                tbody {
                    @for row in &rows {
                        tr {
                            @for key in &columns {
                                @if let Some(value) = row.get(*key) { td.right[is_amount(key)] { (table.worded(key, value, row, 1)) } }
                            }
                        }
                    }
                }
            }
        }
    })
}

/// The rows of a payload.
///
/// But for the list that [`lines`] shows.
pub(super) fn rows_beside(payload: &Value, shown: Option<&str>) -> Markup {
    let mut table = Table { rows_left: ROWS };
    match payload {
        Value::Object(fields) if shown.is_some() => {
            let rest = fields.iter().filter(|(key, _)| Some(key.as_str()) != shown);
            let rest: Map<String, Value> = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
            html! {
                @if !rest.is_empty() { (table.fields(&rest, 0)) }
                p.hint { (name(shown.unwrap_or_default())) ": the lines above." }
            }
        }
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
        let said = said_currency(object);
        let fields: Vec<_> = ordered(object).into_iter().filter(|(key, _)| said != Some(*key)).collect();
        let (first, rest) = fields.split_at(if fields.len() > FIELDS + 2 { FIELDS } else { fields.len() });
        html! {
            dl { @for (key, value) in first { (self.field(key, value, object, depth)) } }
            @if !rest.is_empty() {
                details.more {
                    summary { (grouped(rest.len())) " more fields" }
                    dl { @for (key, value) in rest { (self.field(key, value, object, depth)) } }
                }
            }
        }
    }

    fn field(&mut self, key: &str, value: &Value, object: &Map<String, Value>, depth: usize) -> Markup {
        let weight = weight(key, value);
        let is_tall = name_is_long(key) || is_tall(value);
        html! {
            div.row.money[weight == Weight::Money].address[weight == Weight::Address].tall[is_tall] {
                dt { (name(key)) }
                dd { (self.worded(key, value, object, depth)) }
            }
        }
    }

    fn fact(&mut self, path: &FieldPath, value: &Value, parent: &Value) -> Markup {
        let key = path.last();
        let none = Map::new();
        let object = parent.as_object().unwrap_or(&none);
        let weight = weight(key, value);
        html! {
            div.row.money[weight == Weight::Money].address[weight == Weight::Address] {
                dt {
                    @for outer in path.keys().iter().rev().skip(1).rev() { (short_name(outer)) " " }
                    (short_name(key))
                }
                dd { (self.worded(key, value, object, 1)) }
            }
        }
    }

    /// A value as people write it: an amount with the currency beside it, said once; an account number in groups.
    fn worded(&mut self, key: &str, value: &Value, object: &Map<String, Value>, depth: usize) -> Markup {
        if is_amount(key)
            && let Some((_, code)) = currency_of(object)
            && let Some(figures) = amount(key, value, code)
        {
            self.rows_left = self.rows_left.saturating_sub(1);
            return html! { span.num { (figures) " " (code) } };
        }
        if let Value::String(text) = value
            && is_text(key, value)
        {
            return html! { (passage_of(text, LineEnds::Theirs, WHOLE)) };
        }
        if let Some(iban) = value.as_str().and_then(iban) {
            self.rows_left = self.rows_left.saturating_sub(1);
            return html! {
                bdi.v.iban { @for group in iban.grouped.split(' ') { span { (group) } } }
                @if !iban.is_consistent { p.beware { "The check digits of this account number are wrong." } }
            };
        }
        self.value(value, weight(key, value), depth)
    }

    fn value(&mut self, value: &Value, weight: Weight, depth: usize) -> Markup {
        self.rows_left = self.rows_left.saturating_sub(1);
        match value {
            Value::Null => html! { span.none { "none" } },
            Value::Bool(yes) => html! { span.word { @if *yes { "yes" } @else { "no" } } },
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
        if let Some(table) = tabled(items) {
            self.rows_left = self.rows_left.saturating_sub(count);
            return table;
        }
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

/// The currency of an object that its amounts say already.
fn said_currency(object: &Map<String, Value>) -> Option<&str> {
    let (key, code) = currency_of(object)?;
    object.iter().any(|(key, value)| is_amount(key) && amount(key, value, code).is_some()).then_some(key)
}

/// A key beside the title, where the exact one would only take room: the details have it.
pub(super) fn short_name(key: &str) -> Markup {
    match label(key) {
        Some(label) => html! { (label) },
        None => name(key),
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
        Value::String(text) => excerpt(text, VALUE).is_some(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn string(text: &str, weight: Weight) -> Markup {
    if text.is_empty() {
        return html! { span.none { "empty text" } };
    }
    let has_outer_spaces = text.starts_with(' ') || text.ends_with(' ');
    let alike = if weight == Weight::Address { lookalikes(text) } else { Vec::new() };
    html! {
        (passage(text, LineEnds::Theirs))
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
        rows_beside(payload, None).into_string()
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
