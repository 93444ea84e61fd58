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

    /// How many things were found so far, here or elsewhere.
    pub(super) fn fault_count(&self) -> usize {
        self.faults.count()
    }

    /// A text, or the texts of a list; nothing is said of what is none.
    pub(super) fn texts_of(&self, key: &'static str) -> Vec<&'a str> {
        match self.entries.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(text)) => vec![text],
            Some(DeValue::Array(items)) => items.iter().filter_map(|item| item.get_ref().as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// The item of that list that is this text; all of the list, or the table, where none is.
    pub(super) fn place_of_item(&self, key: &'static str, text: &str) -> Range<usize> {
        let Some(value) = self.entries.get(key) else { return self.span() };
        let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
        let item = items.into_iter().find(|item| item.get_ref().as_str() == Some(text));
        item.map_or_else(|| value.span(), Spanned::span)
    }

    /// A fault of an item of a list.
    pub(super) fn item_fault(&self, key: &'static str, text: &str, message: String, help: Option<String>) {
        self.faults.add_with_help(self.place_of_item(key, text), message, help);
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
                Some(self.list_meant(&node, key, name)),
            );
            return Vec::new();
        }
        node.items().into_iter().filter_map(|item| item.table(name)).collect()
    }

    /// How a list of tables is written that was written as one table.
    fn list_meant(&self, node: &Node<'a, 'f>, key: &str, name: &str) -> String {
        let inner = node.value.as_table().and_then(|table| table.iter().next());
        let word = inner.filter(|(_, value)| value.get_ref().is_table()).map(|(word, _)| word.get_ref());
        match (self.parent_list(), node.raw().trim_start().starts_with('{')) {
            (Some(_), true) => format!("put brackets around it: `{key} = [{{ … }}]`"),
            (Some(list), false) => {
                format!("write `[[{list}.{key}]]` with two brackets on each side, once for {name}")
            }
            (None, true) => format!("write `[[{key}]]` on a line of its own, and the keys below it"),
            (None, false) => match word {
                // `[rules.payments]`
                Some(word) => {
                    let own = if matches!(key, "clients" | "reviewers") { "id" } else { "name" };
                    format!("write `[[{key}]]`, and `{own} = \"{word}\"` below it, once for {name}")
                }
                None => format!("write `[[{key}]]` with two brackets on each side, once for {name}"),
            },
        }
    }

    /// The list of the policy that this table is one of.
    fn parent_list(&self) -> Option<&'static str> {
        LISTS.iter().find(|(_, name, _)| *name == self.name).map(|(list, ..)| *list)
    }
}

/// The lists of tables that a policy has, what one of each is called, and the keys that people put elsewhere.
const LISTS: [(&str, &str, &[&str]); 4] = [
    (
        "clients",
        "a client",
        &["owner", "executors", "queues", "token", "bearer", "rate_per_minute", "max_pending"],
    ),
    (
        "reviewers",
        "a reviewer",
        &[
            "email",
            "phone",
            "slack",
            "telegram",
            "webhook",
            "channels",
            "nudge",
            "quiet",
            "settled_mail",
            "away",
        ],
    ),
    (
        "rules",
        "a rule",
        &[
            "when",
            "decide",
            "stages",
            "approvals",
            "title",
            "mask",
            "editable",
            "confirm",
            "valid_for",
            "examples",
            "owner_may_approve",
            "urgent",
        ],
    ),
    ("alerts", "a way of alerts", &["way", "kinds"]),
];

/// What other programs call a key of ours, by the table that it is in.
const OTHER_WORDS: [(&str, &str, &str); 30] = [
    ("a rule", "if", "when"),
    ("a rule", "condition", "when"),
    ("a rule", "match", "when"),
    ("a rule", "expression", "when"),
    ("a rule", "effect", "decide"),
    ("a rule", "decision", "decide"),
    ("a rule", "action", "when"),
    ("a rule", "id", "name"),
    ("a rule", "approvers", "stages"),
    ("a rule", "reviewers", "stages"),
    ("a rule", "ask", "stages"),
    ("a rule", "quorum", "approvals"),
    ("a rule", "required_approvals", "approvals"),
    ("a rule", "min_approvals", "approvals"),
    ("a rule", "timeout", "stages"),
    ("a rule", "within", "stages"),
    ("a rule", "message", "title"),
    ("a rule", "summary", "title"),
    ("a stage", "timeout", "within"),
    ("a stage", "roles", "ask"),
    ("a stage", "role", "ask"),
    ("a stage", "reviewers", "ask"),
    ("a stage", "approvers", "ask"),
    ("a stage", "for", "within"),
    ("a reviewer", "mail", "email"),
    ("a reviewer", "groups", "roles"),
    ("a reviewer", "teams", "roles"),
    ("a reviewer", "username", "id"),
    ("a time away", "to", "until"),
    ("a time away", "end", "until"),
];

/// How a key is written that needs more than its name to be understood.
fn written(key: &str) -> &'static str {
    match key {
        "when" => "`when = 'action == \"refund.create\"'`",
        "decide" => "`decide = \"approve\"` or `decide = \"reject\"`",
        "stages" => "`stages = [{ ask = [\"finance\"], within = \"1h\" }]`",
        "ask" => "`ask = [\"finance\"]` with roles of reviewers",
        "within" => "`within = \"1h\"`",
        _ => "",
    }
}

impl Table<'_, '_> {
    /// What was meant by a key that this table does not have.
    fn key_meant(&self, word: &str, known: &BTreeSet<&'static str>) -> String {
        let other = OTHER_WORDS.iter().find(|(table, other, _)| *table == self.name && *other == word);
        if let Some((.., key)) = other {
            return match written(key) {
                "" => format!("write `{key}` for it"),
                written => format!("write {written}"),
            };
        }
        let is_list =
            LISTS.iter().find(|(list, ..)| list.trim_end_matches('s') == word && known.contains(list));
        let near = is_list.map(|(list, ..)| *list).or_else(|| closest(word, known.iter().copied()));
        if let Some(meant) = near {
            let is_table = self.entries.get(word).is_some_and(|value| {
                value.get_ref().is_table()
                    || value
                        .get_ref()
                        .as_array()
                        .is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()))
            });
            let is_top = self.parent_list().is_none() && LISTS.iter().any(|(list, ..)| *list == meant);
            return if is_top && is_table {
                format!("did you mean `[[{meant}]]`?")
            } else {
                format!("did you mean `{meant}`?")
            };
        }
        if let Some((list, name, _)) =
            LISTS.iter().find(|(_, name, keys)| *name != self.name && keys.contains(&word))
        {
            let is_table = self
                .entries
                .get(word)
                .is_some_and(|value| value.get_ref().is_table() || value.get_ref().is_array());
            return if self.name == "the policy" && is_table && matches!(word, "stages" | "away" | "examples")
            {
                format!("it belongs to {name}: write `[[{list}.{word}]]` below its `[[{list}]]`")
            } else {
                format!("it belongs to {name}: put it below a `[[{list}]]`")
            };
        }
        let keys: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
        format!("expected one of {}", keys.join(", "))
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
            let help = self.key_meant(word, &known);
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

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
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
        let message = format!("expected {what}, but this is {found}");
        match self.meant_for(what) {
            Some(help) => self.fault_with_help(message, help),
            None => self.fault(message),
        }
        None
    }

    /// The same value as it should have been written, where it can be.
    fn meant_for(&self, what: &str) -> Option<String> {
        let raw = self.raw();
        let is_short = !raw.contains('\n') && raw.len() < 60;
        let text = self.value.as_str().map(str::trim);
        match (what, self.value) {
            ("a string", DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_)) => {
                Some(format!("write `\"{raw}\"`"))
            }
            ("a string", DeValue::Array(items)) if items.len() == 1 && is_short => {
                Some(format!("write `{}`", raw.trim_start_matches('[').trim_end_matches(']').trim()))
            }
            ("a list", DeValue::String(_)) if is_short => {
                // Several in one text, as in `"alice, bob"`.
                let words = text?.split(',').map(|word| format!("\"{}\"", word.trim())).collect::<Vec<_>>();
                Some(format!("write `[{}]`", words.join(", ")))
            }
            ("a list", DeValue::Integer(_)) => Some(format!("write `[{raw}]`")),
            ("true or false", DeValue::String(_)) => match text?.to_lowercase().as_str() {
                "true" | "yes" | "on" => Some("write `true`".to_owned()),
                "false" | "no" | "off" => Some("write `false`".to_owned()),
                _ => None,
            },
            ("true or false", DeValue::Integer(_)) => Some("write `true` or `false`".to_owned()),
            ("a whole number", DeValue::String(_)) => {
                let number: i64 = text?.parse().ok()?;
                Some(format!("write `{number}`, without quotation marks"))
            }
            ("a table", DeValue::String(_)) => Some("write `{ key = \"value\" }`".to_owned()),
            ("a date such as 2026-12-20", DeValue::String(_)) => {
                let day = text?;
                let is_day =
                    DeValue::parse(day).is_ok_and(|value| matches!(value.get_ref(), DeValue::Datetime(_)));
                is_day.then(|| format!("write `{day}`, without quotation marks"))
            }
            _ => None,
        }
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

    /// The value at those keys in it, as far down as they lead.
    pub(super) fn inner<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Node<'a, 'f> {
        let mut node = self.clone();
        for key in keys {
            let Some(next) = node.child(key) else { break };
            node = next;
        }
        node
    }

    /// The value of that key, or the item at that place; nothing is said where there is none.
    pub(super) fn child(&self, key: &str) -> Option<Node<'a, 'f>> {
        let next = match self.value {
            DeValue::Table(table) => table.get(key),
            DeValue::Array(items) => key.parse().ok().and_then(|place: usize| items.get(place)),
            _ => None,
        }?;
        Some(Node { value: next.get_ref(), span: next.span(), faults: self.faults })
    }

    /// The text that it is; nothing is said where it is none.
    pub(super) fn maybe_text(&self) -> Option<&'a str> {
        self.value.as_str()
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
