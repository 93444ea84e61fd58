//! A rule's `title`: words with fields of the payload in them, `Pay {payload.amount} {payload.currency} to {payload.to}`.
//!
//! Reading it only; how values are worded is `title`'s.

use std::ops::Range;

use super::path::{FieldPath, PathFault};

/// The most words of its own that a title has, in characters: the rest is for the values.
const MOST_WORDS: usize = 100;
/// More fields than this make no title.
const MOST_FIELDS: usize = 12;

/// A title with the fields that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TitleTemplate {
    source: String,
    pub(super) parts: Vec<Part>,
}

/// A part of a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Words of the policy, or of the gate.
    Words(String),
    /// A field of the payload.
    Field(FieldPath),
}

/// What is wrong with a title, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFault {
    /// In bytes of the title.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl TitleTemplate {
    /// Reads a title. `{{` and `}}` are braces of its own.
    ///
    /// # Errors
    /// Every fault of it, each with its place.
    pub fn parse(source: &str) -> Result<Self, Vec<TemplateFault>> {
        let mut reader =
            Reader { source, at: 0, parts: Vec::new(), words: String::new(), faults: Vec::new() };
        reader.read();
        let Reader { parts, mut faults, .. } = reader;
        let mut whole = |message: &str, help: Option<&str>| {
            faults.push(TemplateFault {
                span: 0..source.len(),
                message: message.to_owned(),
                help: help.map(str::to_owned),
            });
        };
        let words: usize = parts.iter().map(Part::words_length).sum();
        let fields = parts.iter().filter(|part| matches!(part, Part::Field(_))).count();
        if source.trim().is_empty() {
            whole("a title must not be empty", None);
        } else if words > MOST_WORDS {
            whole(
                "a title has at most 100 characters of its own",
                Some("it is the largest line on a phone, and the subject of a mail"),
            );
        } else if fields > MOST_FIELDS {
            whole("a title names at most 12 fields", None);
        }
        if source.contains(char::is_control) {
            whole("a title is one line, without control characters", None);
        }
        if faults.is_empty() { Ok(Self { source: source.to_owned(), parts }) } else { Err(faults) }
    }

    /// As the policy wrote it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The fields that it names, in order.
    pub fn fields(&self) -> impl Iterator<Item = &FieldPath> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(path) => Some(path),
            Part::Words(_) => None,
        })
    }
}

impl Part {
    fn words_length(&self) -> usize {
        match self {
            Self::Words(words) => words.chars().count(),
            Self::Field(_) => 0,
        }
    }
}

struct Reader<'s> {
    source: &'s str,
    at: usize,
    parts: Vec<Part>,
    words: String,
    faults: Vec<TemplateFault>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(rest) = self.source.get(self.at..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                self.words.push_str(rest.get(..1).unwrap_or_default());
                self.at += 2;
            } else if rest.starts_with('{') {
                self.field(rest);
            } else if rest.starts_with('}') {
                self.fault(1, "this `}` closes nothing", Some("write `}}` for a brace of the text"));
            } else {
                let plain = rest.find(['{', '}']).unwrap_or(rest.len());
                self.words.push_str(rest.get(..plain).unwrap_or_default());
                self.at += plain;
            }
        }
        self.end_words();
    }

    fn field(&mut self, rest: &str) {
        let inner = rest.get(1..).unwrap_or_default();
        let end =
            inner.find(['{', '}']).filter(|&end| inner.get(end..).is_some_and(|at| at.starts_with('}')));
        let Some(end) = end else {
            let length = inner.find('{').map_or(rest.len(), |next| next + 1);
            return self.fault(
                length,
                "this `{` is not closed",
                Some("write `{payload.to}`, or `{{` for a brace of the text"),
            );
        };
        let text = inner.get(..end).unwrap_or_default();
        match FieldPath::parse(text) {
            Ok(path) => {
                self.end_words();
                self.parts.push(Part::Field(path));
                self.at += end + 2;
            }
            Err(fault) => {
                let message = format!("`{{{text}}}` {fault}");
                let key = text.trim();
                let could_be = (fault == PathFault::NotPayload
                    && FieldPath::parse(&format!("payload.{key}")).is_ok())
                .then(|| format!("did you mean `{{payload.{key}}}`?"));
                let trimmed = FieldPath::parse(key).is_ok().then(|| format!("write `{{{key}}}`"));
                let indexed = text
                    .contains('[')
                    .then(|| "write `{payload.lines.0.amount}` for the first of a list".to_owned());
                self.fault(end + 2, message, trimmed.or(could_be).or(indexed).as_deref());
            }
        }
    }

    fn end_words(&mut self) {
        if !self.words.is_empty() {
            self.parts.push(Part::Words(std::mem::take(&mut self.words)));
        }
    }

    fn fault(&mut self, length: usize, message: impl Into<String>, help: Option<&str>) {
        self.faults.push(TemplateFault {
            span: self.at..self.at + length,
            message: message.into(),
            help: help.map(str::to_owned),
        });
        self.at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(path: &str) -> Part {
        Part::Field(FieldPath::parse(path).unwrap())
    }

    #[test]
    fn a_title_is_words_and_fields() {
        let title = TitleTemplate::parse("Pay {payload.amount} {payload.a.currency} {{net}}").unwrap();
        assert_eq!(
            title.parts,
            [
                Part::Words("Pay ".into()),
                field("payload.amount"),
                Part::Words(" ".into()),
                field("payload.a.currency"),
                Part::Words(" {net}".into()),
            ]
        );
        assert_eq!(
            title.fields().map(ToString::to_string).collect::<Vec<_>>(),
            ["payload.amount", "payload.a.currency"]
        );
    }

    #[test]
    fn every_fault_is_told_with_its_place_and_a_way_out() {
        for (source, told) in [
            (
                "Pay {amount}",
                vec![(
                    4..12,
                    "`{amount}` must begin with `payload.`",
                    Some("did you mean `{payload.amount}`?"),
                )],
            ),
            ("{ payload.to }", vec![(0..14, "`{ payload.to }` must begin", Some("write `{payload.to}`"))]),
            (
                "{payload.a[0]}",
                vec![(
                    0..14,
                    "`{payload.a[0]}` has a key with `[`",
                    Some("write `{payload.lines.0.amount}` for the first of a list"),
                )],
            ),
            (
                "Pay {payload.to",
                vec![(
                    4..15,
                    "this `{` is not closed",
                    Some("write `{payload.to}`, or `{{` for a brace of the text"),
                )],
            ),
            (
                "Pay } {}",
                vec![
                    (4..5, "this `}` closes nothing", Some("write `}}` for a brace of the text")),
                    (6..8, "`{}` must begin", None),
                ],
            ),
            (
                "{a {payload.to}",
                vec![(
                    0..3,
                    "this `{` is not closed",
                    Some("write `{payload.to}`, or `{{` for a brace of the text"),
                )],
            ),
            (" ", vec![(0..1, "a title must not be empty", None)]),
            ("a\nb", vec![(0..3, "a title is one line", None)]),
            (
                "{client}",
                vec![(
                    0..8,
                    "`{client}` must begin with `payload.`: only what is hashed can be named",
                    Some("did you mean `{payload.client}`?"),
                )],
            ),
        ] {
            let faults = TitleTemplate::parse(source).unwrap_err();
            assert_eq!(faults.len(), told.len(), "{source}: {faults:?}");
            for (fault, (span, message, help)) in faults.iter().zip(told) {
                assert_eq!((fault.span.clone(), fault.help.as_deref()), (span, help), "{source}");
                assert!(fault.message.starts_with(message), "{source}: {}", fault.message);
            }
        }
        assert!(TitleTemplate::parse(&"x".repeat(101)).is_err());
        assert!(TitleTemplate::parse(&"{payload.a}".repeat(13)).is_err());
    }
}
