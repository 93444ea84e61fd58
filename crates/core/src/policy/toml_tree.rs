//! Walking a TOML document so that every fault is found, each with its line.
//!
//! Knows TOML only; what the tables mean is in `read`.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::Diagnostic;

/// What is wrong so far, and the text to find lines in.
pub(super) struct Faults<'t> {
    text: &'t str,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::new(Vec::new()) }
    }

    pub(super) fn add(&self, at: usize, message: impl Into<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        self.found.borrow_mut().push(Diagnostic { line, message: message.into() });
    }

    /// Everything found, in the order of the file.
    pub(super) fn take(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| diagnostic.line);
        found.dedup();
        found
    }
}

/// One value, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Node<'a, 'f> {
    value: &'a DeValue<'a>,
    pub(super) at: usize,
    faults: &'f Faults<'f>,
}

/// One table. When it is dropped, the keys that nobody asked for are faults.
pub(super) struct Table<'a, 'f> {
    entries: &'a DeTable<'a>,
    pub(super) at: usize,
    faults: &'f Faults<'f>,
    name: &'static str,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a, 'f> Table<'a, 'f> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>, faults: &'f Faults<'f>) -> Self {
        Self { entries: table.get_ref(), at: 0, faults, name: "the policy", known: RefCell::default() }
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(self.at, message);
    }

    pub(super) fn fault_at(&self, at: usize, message: impl Into<String>) {
        self.faults.add(at, message);
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Node<'a, 'f>> {
        self.known.borrow_mut().insert(key);
        self.entries.get(key).map(|value| Node {
            value: value.get_ref(),
            at: value.span().start,
            faults: self.faults,
        })
    }

    pub(super) fn required(&self, key: &'static str) -> Option<Node<'a, 'f>> {
        let node = self.get(key);
        if node.is_none() {
            self.fault(format!("{} has no `{key}`", self.name));
        }
        node
    }

    /// The tables of an array of tables; none where the key is missing.
    pub(super) fn tables(&self, key: &'static str, name: &'static str) -> Vec<Table<'a, 'f>> {
        let items = self.get(key).map(|node| node.items()).unwrap_or_default();
        items.into_iter().filter_map(|item| item.table(name)).collect()
    }
}

impl Drop for Table<'_, '_> {
    fn drop(&mut self) {
        let known = self.known.borrow();
        for key in self.entries.keys() {
            if !known.contains(key.get_ref().as_ref()) {
                let keys: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
                self.faults.add(
                    key.span().start,
                    format!("{} has no key `{}`; there are {}", self.name, key.get_ref(), keys.join(", ")),
                );
            }
        }
    }
}

impl<'a, 'f> Node<'a, 'f> {
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(self.at, message);
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        self.fault(format!("must be {what}, not {}", self.value.type_str()));
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
            self.fault(format!("must be from {least} to {most}"));
        }
        value
    }

    /// A duration such as `90s`, `10m`, `24h` or `7d`, in milliseconds.
    pub(super) fn duration_ms(&self) -> Option<i64> {
        let text = self.text()?;
        let parsed = (|| {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let (number, unit_ms) = match (unit, number.strip_suffix('m')) {
                ("s", Some(number)) => (number, 1),
                ("s", None) => (number, 1000),
                ("m", _) => (number, 60_000),
                ("h", _) => (number, 3_600_000),
                ("d", _) => (number, crate::time::DAY_MS),
                _ => return None,
            };
            number.parse::<i64>().ok().filter(|n| *n > 0)?.checked_mul(unit_ms)
        })();
        if parsed.is_none() {
            self.fault(format!("`{text}` must be a duration such as `90s`, `10m`, `24h` or `7d`"));
        }
        parsed
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
            .map(|item| Node { value: item.get_ref(), at: item.span().start, faults: self.faults })
            .collect()
    }

    pub(super) fn table(&self, name: &'static str) -> Option<Table<'a, 'f>> {
        let Some(table) = self.value.as_table() else { return self.expected("a table") };
        Some(Table { entries: table, at: self.at, faults: self.faults, name, known: RefCell::default() })
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
