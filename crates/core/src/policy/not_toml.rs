//! Why a file cannot be read as TOML, in words for whoever wrote it: the first place, what is there, what was meant.
//!
//! The parser says only whether a file is TOML. What its writer meant is found here, by a look at the text that knows the
//! mistakes of people who come from YAML, JSON, a word processor or a shell.

mod after_all;
mod line;
mod value;

use std::ops::Range;

use toml::de::Error;

/// The lists of tables that a policy has.
const LISTS: [&str; 4] = ["clients", "reviewers", "rules", "alerts"];

/// What is wrong with the form of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormFault {
    /// Where, in bytes of the file.
    pub(super) span: Range<usize>,
    /// What: lower case, no full stop.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

impl FormFault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// A step of the look: it goes on, or has found what is wrong.
type Step<T = ()> = Result<T, FormFault>;

/// The one fault of a file that the parser refused. What follows it in the file may follow from it, so nothing more is said.
pub(super) fn explain(text: &str, errors: &[Error]) -> FormFault {
    let first = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start));
    let told = first.and_then(Error::span).unwrap_or(0..0);
    // What is found behind the parser's place is another fault than the one that it met first.
    match look(text) {
        Err(fault) if fault.span.start <= told.end.max(told.start + 1) => fault,
        _ => after_all::explain(text, told, first.map_or("", Error::message)),
    }
}

/// Looks through the whole file.
fn look(text: &str) -> Step {
    let mut look = Look { text, at: 0 };
    look.kind_of_file()?;
    while look.at < text.len() {
        look.statement()?;
    }
    Ok(())
}

/// A place in the text.
struct Look<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Look<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn starts(&self, mark: &str) -> bool {
        self.rest().starts_with(mark)
    }

    fn take(&mut self, length: usize) {
        self.at += length;
    }

    /// The rest of the line, without what ends it.
    fn line(&self) -> &'t str {
        self.rest().split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }

    /// From here to the end of the line, without blanks around it and without a comment.
    fn words_of_line(&self) -> Range<usize> {
        let line = self.line().split('#').next().unwrap_or_default();
        let start = self.at + (line.len() - line.trim_start().len());
        start..start.max(self.at + line.trim_end().len())
    }

    fn slice(&self, span: &Range<usize>) -> &'t str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// One character from here on.
    fn here(&self) -> Range<usize> {
        self.at..self.at + self.peek().map_or(0, char::len_utf8)
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.take(rest.len() - rest.trim_start_matches([' ', '\t']).len());
    }

    /// Whether the line ends here, but for a comment.
    fn at_end_of_line(&self) -> bool {
        matches!(self.peek(), None | Some('\n' | '#')) || self.starts("\r\n")
    }

    /// Goes past the end of the line, and past its comment.
    fn end_line(&mut self) {
        let line = self.rest().split_inclusive('\n').next().unwrap_or_default();
        self.take(line.len());
    }

    /// Blanks, ends of lines and comments, as they may be inside of brackets. Says whether a line began.
    fn skip_lines(&mut self) -> Step<bool> {
        let mut is_new = false;
        loop {
            self.skip_blanks();
            if self.at >= self.text.len() || !self.at_end_of_line() {
                self.odd_character()?;
                return Ok(is_new);
            }
            self.end_line();
            is_new = true;
        }
    }

    /// A character that looks like another one, or like none.
    fn odd_character(&self) -> Step {
        let Some(c) = self.peek() else { return Ok(()) };
        let code = format!("U+{:04X}", u32::from(c));
        let told = match c {
            '\r' if !self.starts("\r\n") => (
                "a line ends here with a carriage return alone".to_owned(),
                "save the file with the line ends of Unix or Windows",
            ),
            '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' | '\u{202a}'..='\u{202e}' => {
                (format!("there is an invisible character here ({code})"), "delete it")
            }
            c if c.is_whitespace() && !c.is_ascii() => {
                (format!("this is not a plain space but another blank ({code})"), "type a space instead")
            }
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' => {
                (format!("there is a control character here ({code})"), "delete it")
            }
            _ => return Ok(()),
        };
        Err(FormFault::new(self.here(), told.0).help(told.1))
    }
}

/// Whether a character is a quotation mark of a word processor.
const fn is_typographic(c: char) -> bool {
    matches!(c, '“' | '”' | '„' | '‟' | '‘' | '’' | '‚' | '‛' | '«' | '»' | '‹' | '›' | '″' | '＂')
}

/// A text as TOML writes it, in the quotation marks that need no escapes.
fn quoted(text: &str) -> String {
    let text = text.trim_matches(is_typographic);
    match (text.contains('"') || text.contains('\\'), text.contains('\'')) {
        (false, _) => format!("\"{text}\""),
        (true, false) => format!("'{text}'"),
        (true, true) => format!("'''{text}'''"),
    }
}

/// Whether a key can be written as it is.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
