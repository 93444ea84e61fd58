//! Walking a TOML document so that every fault is found, each with its place.
//!
//! Knows TOML only; what the tables mean is in `read`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, closest};
use crate::grammar;

/// One value, and where it is.
#[derive(Clone)]
pub(super) struct Node<'a, 'f> {
    value: &'a DeValue<'a>,
    span: Range<usize>,
    faults: &'f Diagnostics<'f>,
}

/// One table. When it is dropped, the keys that nobody asked for are faults.
pub(super) struct Table<'a, 'f> {
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    faults: &'f Diagnostics<'f>,
    name: &'static str,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a, 'f> Table<'a, 'f> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>, faults: &'f Diagnostics<'f>) -> Self {
        Self { entries: table.get_ref(), span: 0..0, faults, name: "the policy", known: RefCell::default() }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(self.span(), message);
    }

    pub(super) fn fault_with_help(&self, message: impl Into<String>, help: impl Into<String>) {
        self.faults.add_with_help(self.span(), message, Some(help.into()));
    }

    /// Whether anything was found so far, here or elsewhere.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Node<'a, 'f>> {
        self.known.borrow_mut().insert(key);
        self.entries.get(key).map(|value| Node {
            value: value.get_ref(),
            span: value.span(),
            faults: self.faults,
        })
    }

    /// Where a key that must not be there is: it gets a diagnostic of its own.
    pub(super) fn refuse(&self, key: &'static str, message: impl Into<String>, help: impl Into<String>) {
        if let Some((name, _)) = self.entries.iter().find(|(name, _)| name.get_ref() == key) {
            self.faults.add_with_help(name.span(), message, Some(help.into()));
            // Known, so that it is told once; dropped from the list of what could be written.
            self.known.borrow_mut().insert(key);
        }
    }

    pub(super) fn required(&self, key: &'static str) -> Option<Node<'a, 'f>> {
        let node = self.get(key);
        if node.is_none() {
            self.fault(format!("{} needs the key `{key}`", self.name));
        }
        node
    }

    /// The tables of an array of tables; none where the key is missing.
    pub(super) fn tables(&self, key: &'static str, name: &'static str) -> Vec<Table<'a, 'f>> {
        let Some(node) = self.get(key) else { return Vec::new() };
        if node.value.is_table() {
            node.faults.add_with_help(
                node.span.clone(),
                format!("`{key}` must be a list of tables, but this is one table"),
                Some(format!("write `[[{key}]]` with two brackets on each side, once for {name}")),
            );
            return Vec::new();
        }
        node.items().into_iter().filter_map(|item| item.table(name)).collect()
    }
}

impl Drop for Table<'_, '_> {
    fn drop(&mut self) {
        let known = self.known.borrow();
        for key in self.entries.keys() {
            let word = key.get_ref().as_ref();
            if known.contains(word) {
                continue;
            }
            let keys: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
            let help = closest(word, known.iter().copied()).map_or_else(
                || format!("expected one of {}", keys.join(", ")),
                |meant| format!("did you mean `{meant}`?"),
            );
            self.faults.add_with_help(key.span(), format!("{} has no key `{word}`", self.name), Some(help));
        }
    }
}

impl<'a, 'f> Node<'a, 'f> {
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where a part of its text is in the file: the part itself where the text is written as it is, else all of it.
    pub(super) fn place_of(&self, text: &str, part: Range<usize>) -> Range<usize> {
        match self.raw().find(text).filter(|_| !text.is_empty()) {
            Some(at) => {
                let start = self.span.start + at;
                start + part.start..start + part.end
            }
            None => self.span(),
        }
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(self.span(), message);
    }

    pub(super) fn fault_with_help(&self, message: impl Into<String>, help: impl Into<String>) {
        self.faults.add_with_help(self.span(), message, Some(help.into()));
    }

    /// A fault of a part of this value, in bytes of the whole file.
    pub(super) fn fault_at(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.faults.add_with_help(span, message, help);
    }

    /// The text of the file from which this value was read.
    pub(super) fn raw(&self) -> &'f str {
        self.faults.text().get(self.span()).unwrap_or_default()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("expected {what}, but this is {found}"));
        None
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str().or_else(|| self.expected("a string"))
    }

    /// A string with something in it.
    pub(super) fn words(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.fault("must not be empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.expected("true or false"))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, least: u32, most: u32) -> Option<u32> {
        let Some(number) = self.value.as_integer() else { return self.expected("a whole number") };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.fault(format!("expected a whole number from {least} to {most}"));
        }
        value
    }

    /// A whole number from `least` to `most`, which may be larger than those of [`Node::number`].
    pub(super) fn whole_number(&self, least: i64, most: i64) -> Option<i64> {
        let Some(number) = self.value.as_integer() else { return self.expected("a whole number") };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.fault(format!("expected a whole number from {least} to {most}"));
        }
        value
    }

    /// A duration such as `90s`, `10m`, `24h` or `7d`, in milliseconds.
    pub(super) fn duration_ms(&self) -> Option<i64> {
        grammar::duration_ms(self.text()?).map_err(|why| self.fault(why)).ok()
    }

    /// A date, as days since 1970-01-01.
    pub(super) fn day(&self) -> Option<i64> {
        let Some(date) = self.value.as_datetime().filter(|d| d.time.is_none()).and_then(|d| d.date) else {
            return self.expected("a date such as 2026-12-20");
        };
        let at = crate::Timestamp::parse(&format!("{date}T00:00:00Z"))?;
        Some(at.day())
    }

    pub(super) fn items(&self) -> Vec<Node<'a, 'f>> {
        let Some(items) = self.value.as_array() else {
            return self.expected::<Vec<Self>>("a list").unwrap_or_default();
        };
        items
            .iter()
            .map(|item| Node { value: item.get_ref(), span: item.span(), faults: self.faults })
            .collect()
    }

    pub(super) fn table(&self, name: &'static str) -> Option<Table<'a, 'f>> {
        let Some(table) = self.value.as_table() else { return self.expected("a table") };
        Some(Table {
            entries: table,
            span: self.span(),
            faults: self.faults,
            name,
            known: RefCell::default(),
        })
    }

    /// The value as JSON, for examples.
    pub(super) fn json(&self) -> Option<Value> {
        to_json(self.value).or_else(|| self.expected("a value that JSON can hold"))
    }
}

fn to_json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => Value::Number(Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| to_json(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, item)| Some((key.get_ref().to_string(), to_json(item.get_ref())?)))
                .collect::<Option<Map<_, _>>>()?,
        ),
    })
}

/// The deepest that tables and lists of a policy may nest. A policy needs six; every parser, and every drop of what it
/// made, walks down one call a level.
const MAX_DEPTH: usize = 40;

/// Where a text nests deeper than a policy may, if it does; found without a parser, before one is let at it.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let starts_with = |at: usize, mark: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
    let (mut at, mut open, mut dots) = (0, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'#' => {
                at += bytes.iter().skip(at).position(|byte| *byte == b'\n').unwrap_or(bytes.len());
                continue;
            }
            b'"' | b'\'' => {
                let triple = [*byte; 3];
                let end: &[u8] = if starts_with(at, &triple) { &triple } else { &triple[..1] };
                at += end.len();
                while at < bytes.len() && !starts_with(at, end) {
                    // A text on one line ends with it, closed or not.
                    if end.len() == 1 && bytes.get(at) == Some(&b'\n') {
                        break;
                    }
                    at += if *byte == b'"' && bytes.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
                at += end.len();
                continue;
            }
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b'.' => dots += 1,
            // A new key begins, or what it is said to be.
            b'=' | b',' | b'\n' => dots = 0,
            _ => {}
        }
        if open + dots > MAX_DEPTH {
            return Some(at);
        }
        at += 1;
    }
    None
}
