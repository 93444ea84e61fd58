//! What is wrong, or worth a look, in a policy: where, what, and what was probably meant.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

/// One thing wrong, or worth a look, in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line of the file, from 1.
    pub line: usize,
    /// Column of the line, in characters, from 1.
    pub column: usize,
    /// How many characters are meant, from that column on; at least 1, and never past the line's end.
    pub width: usize,
    /// What, in lower case without a full stop.
    pub message: String,
    /// The line where its table begins, such as `[[rules]]`; none where it is that line itself, or in no table.
    pub table_line: Option<usize>,
    /// What it is in, by kind and name: ``rule `payments` ``; none where it is in no table.
    pub table: Option<String>,
    /// That line of the file; none where the file has no such line.
    pub excerpt: Option<String>,
    /// What to do about it, if that is known.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    /// One line, for logs: `line 3: … (help)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

impl Diagnostic {
    /// A diagnostic of those bytes of the text.
    pub(super) fn new(text: &str, span: Range<usize>, message: String, help: Option<String>) -> Self {
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let excerpt = rest.lines().next().map(str::to_owned);
        let line_end = line_start + excerpt.as_ref().map_or(0, String::len);
        let width = text.get(start..end.min(line_end)).unwrap_or_default().chars().count().max(1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let is_header = |line: &str| line.trim_start().starts_with('[') && line.trim_end().ends_with(']');
        let above: Vec<&str> = before.lines().take(line - 1).collect();
        let header = if excerpt.as_deref().is_some_and(is_header) {
            None
        } else {
            above.iter().rposition(|line| is_header(line)).map(|index| index + 1)
        };
        Self {
            line,
            table_line: header,
            table: None,
            column: text.get(line_start..start).unwrap_or_default().chars().count() + 1,
            width,
            message,
            excerpt,
            help,
        }
    }
}

/// The text of a policy file, or where it is not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, Box<Diagnostic>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        // Up to there it is text; what follows in that line is shown as far as it can be.
        let line = bytes.iter().skip(error.valid_up_to()).position(|byte| *byte == b'\n');
        let end = line.map_or(bytes.len(), |length| error.valid_up_to() + length);
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or(bytes));
        let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0);
        let message = if utf16 {
            "the file is not UTF-8, but probably UTF-16"
        } else {
            "the file is not UTF-8 from here on"
        };
        let at = error.valid_up_to();
        let help = "save it as UTF-8";
        Box::new(Diagnostic::new(&text, at..at + 1, message.into(), Some(help.into())))
    })
}

/// The byte offset itself, or the one before it where a character starts.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// What was found so far, and the text to find lines in.
pub(super) struct Diagnostics<'t> {
    text: &'t str,
    found: RefCell<Vec<(usize, Diagnostic)>>,
}

impl<'t> Diagnostics<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::new(Vec::new()) }
    }

    /// The text of the whole file.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    pub(super) fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.add_with_help(span, message, None);
    }

    pub(super) fn add_with_help(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let start = span.start;
        let diagnostic = Diagnostic::new(self.text, span, message.into(), help);
        self.found.borrow_mut().push((start, diagnostic));
    }

    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Everything found, in the order of the file, each with the name of what it is in.
    pub(super) fn take(self, sections: &Sections) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(start, _)| *start);
        let named = |(start, mut diagnostic): (usize, Diagnostic)| {
            if let Some((at, name)) = sections.around(start) {
                let line =
                    self.text.get(..at).unwrap_or_default().bytes().filter(|byte| *byte == b'\n').count() + 1;
                diagnostic.table_line = (line != diagnostic.line).then_some(line);
                diagnostic.table = Some(name.to_owned());
            }
            diagnostic
        };
        let mut found: Vec<_> = found.into_iter().map(named).collect();
        found.dedup();
        found
    }
}

/// The clients, reviewers, rules, ways of alerts and the report of a file: where each begins, and what it is called.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// In the order of the file.
    begins: Vec<(usize, String)>,
}

impl Sections {
    pub(super) fn of(tree: &Spanned<DeTable<'_>>) -> Self {
        let mut begins = Vec::new();
        let lists = [
            ("clients", "client", "id"),
            ("reviewers", "reviewer", "id"),
            ("rules", "rule", "name"),
            ("alerts", "alert", "name"),
        ];
        for (list, kind, key) in lists {
            let items = tree.get_ref().get(list).and_then(|value| value.get_ref().as_array());
            for (index, item) in items.into_iter().flat_map(|items| items.iter()).enumerate() {
                let name = item.get_ref().as_table().and_then(|table| table.get(key));
                let name = name.and_then(|name| name.get_ref().as_str()).filter(|name| !name.is_empty());
                let name = name.map_or_else(
                    || format!("{kind} {}, which has no {key}", index + 1),
                    |name| format!("{kind} `{name}`"),
                );
                begins.push((item.span().start, name));
            }
        }
        begins
            .extend(tree.get_ref().get("report").map(|table| (table.span().start, "`[report]`".to_owned())));
        begins.sort();
        Self { begins }
    }

    /// What that place is in, and where that begins.
    fn around(&self, at: usize) -> Option<(usize, &str)> {
        let (begin, name) = self.begins.iter().rfind(|(begin, _)| *begin <= at)?;
        Some((*begin, name))
    }
}

/// The candidate that a misspelt word was probably meant to be, if one is close.
pub(super) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = if word.chars().count() < 4 { 1 } else { word.chars().count() / 3 };
    candidates
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many single-character edits (insert, drop, replace, swap neighbours) lead from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let cell = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (cell(&last, column) + usize::from(a != b))
                .min(cell(&last, column + 1) + 1)
                .min(cell(&next, column) + 1);
            let swapped =
                column > 0 && row > 0 && from.get(row - 1) == Some(b) && to.get(column - 1) == Some(a);
            if swapped {
                best = best.min(cell(&before_last, column - 1) + 1);
            }
            next.push(best);
        }
        before_last = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_knows_where_its_table_begins() {
        let text = "a = 1\n[[rules]]\nname = \"x\"\nstages = [\n  { ask = [\"a\"] },\n]\n";
        let table_line = |part: &str| {
            let at = text.find(part).unwrap();
            Diagnostic::new(text, at..at + 1, String::new(), None).table_line
        };
        assert_eq!((table_line("a = 1"), table_line("[[rules"), table_line("name")), (None, None, Some(2)));
        assert_eq!(table_line("ask"), Some(2));
    }

    #[test]
    fn a_diagnostic_points_at_characters_of_one_line() {
        let text = "a = 1\nname = \"Müller\" # x\n";
        let at = text.find("\"M").unwrap();
        let diagnostic = Diagnostic::new(text, at..at + "\"Müller\"".len(), "m".into(), Some("h".into()));
        assert_eq!((diagnostic.line, diagnostic.column, diagnostic.width), (2, 8, 8));
        assert_eq!(diagnostic.excerpt.as_deref(), Some("name = \"Müller\" # x"));
        assert_eq!(diagnostic.to_string(), "line 2: m (h)");
        // A span over several lines is marked on its first; one beyond the end, or inside a character, is pulled back.
        let table = Diagnostic::new(text, 0..text.len(), "m".into(), None);
        assert_eq!((table.line, table.column, table.width), (1, 1, 5));
        let end = Diagnostic::new(text, 999..1000, "m".into(), None);
        assert_eq!((end.line, end.column, end.width, end.excerpt), (3, 1, 1, None));
        let umlaut = text.find('ü').unwrap() + 1;
        assert_eq!(Diagnostic::new(text, umlaut..umlaut, "m".into(), None).column, 10);
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_told_its_place() {
        assert_eq!(decode("näme = 1".as_bytes()).unwrap(), "näme = 1");
        assert_eq!(decode(b"\xef\xbb\xbfname = 1").unwrap(), "name = 1");
        let diagnostic = decode(b"a = 1\nb = \"M\xfcller\"\nc = 2").unwrap_err();
        assert_eq!((diagnostic.line, diagnostic.column, diagnostic.width), (2, 7, 1));
        assert_eq!(diagnostic.excerpt.as_deref(), Some("b = \"M\u{fffd}ller\""));
        assert_eq!(diagnostic.message, "the file is not UTF-8 from here on");
        let utf16: Vec<u8> = "\u{feff}a = 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(decode(&utf16).unwrap_err().message.contains("probably UTF-16"));
    }

    #[test]
    fn a_word_that_is_nearly_right_is_recognised() {
        let keys = ["rate_per_minute", "roles", "owner", "ask", "action", "payload"];
        for (word, meant) in [
            ("rate_per_minit", Some("rate_per_minute")),
            ("role", Some("roles")),
            ("acton", Some("action")),
            ("Action", Some("action")),
            ("aks", Some("ask")),
            ("payolad", Some("payload")),
            ("frobnicate", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, keys), meant, "{word}");
        }
        for (from, to, edits) in [("", "abc", 3), ("abc", "", 3), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
