//! Lines: tables' names, keys and what is between a key and its value.

use super::{FormFault, LISTS, Look, Step, is_bare, is_typographic, quoted};
use crate::policy::diagnostic::closest;

/// What helps whoever wrote another language.
const START: &str = "a policy is written in TOML: `placet init` writes one to start from";

impl Look<'_> {
    /// What the file is, where it is none of ours as a whole.
    pub(super) fn kind_of_file(&self) -> Step {
        let text = self.text.trim_start();
        let kind = match text.chars().next() {
            Some('{') => "JSON",
            Some('<') if !text.starts_with("<<<<<<<") => "HTML or XML",
            Some('`') if text.starts_with("```") => "Markdown",
            Some('-') if text.starts_with("---") => "YAML",
            _ => return Ok(()),
        };
        let start = self.text.len() - text.len();
        let end = start + text.lines().next().map_or(1, str::len);
        Err(FormFault::new(start..end, format!("this is {kind}, not TOML")).help(START))
    }

    /// One line, or what a value needs of more.
    pub(super) fn statement(&mut self) -> Step {
        self.skip_blanks();
        if self.at_end_of_line() {
            self.end_line();
            return Ok(());
        }
        self.odd_character()?;
        self.line_of_another_language()?;
        if self.peek() == Some('[') {
            self.header()?;
        } else {
            let key = self.key(None)?;
            self.value(&key, None)?;
            self.after_value(&key)?;
        }
        self.end_line();
        Ok(())
    }

    fn line_of_another_language(&self) -> Step {
        let line = self.line().trim_end();
        let whole = self.at..self.at + line.len();
        let fault = |length: usize, message: &str, help: &str| {
            Err(FormFault::new(self.at..self.at + length, message).help(help))
        };
        if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
            return fault(
                7,
                "this is a mark of a merge that was not finished",
                "keep one of the two versions, and delete the marks",
            );
        }
        // A key may begin with a hyphen.
        if line.split_once('=').is_some_and(|(key, _)| is_bare(key.trim())) {
            return Ok(());
        }
        if let Some(mark) = ["//", "/*", "--", ";"].into_iter().find(|mark| line.starts_with(mark)) {
            return fault(
                mark.len(),
                &format!("`{mark}` does not begin a comment here"),
                "comments begin with `#`",
            );
        }
        if line == "-" || line.starts_with("- ") {
            return fault(
                1,
                "`-` begins an item of a list in YAML, but this is TOML",
                "write `[[rules]]` above each rule, and its keys below it as `key = value`",
            );
        }
        if line.starts_with("```") {
            return fault(3, "this is Markdown, not TOML", "delete the line");
        }
        let first = line.split_whitespace().next().unwrap_or_default();
        if line.ends_with('{') && !line.contains('=') && is_bare(first) {
            return Err(FormFault::new(whole, "TOML has no blocks in braces").help(format!(
                "write `[[{}]]`, and its keys below it as `key = value`",
                list_like(first).unwrap_or("rules")
            )));
        }
        if let Some(closing @ (']' | '}' | ')' | ',')) = line.chars().next() {
            let message = if closing == ',' {
                "there is nothing before this comma".to_owned()
            } else {
                format!("this `{closing}` closes nothing")
            };
            return fault(1, &message, "delete it, or look whether a line above ends too early");
        }
        Ok(())
    }

    /// `[name]` or `[[name]]`.
    fn header(&mut self) -> Step {
        let start = self.at;
        let line = self.words_of_line();
        let is_list = self.starts("[[");
        self.take(if is_list { 2 } else { 1 });
        let inside = self.slice(&(self.at..line.end));
        let name = inside.split(']').next().unwrap_or_default().trim();
        let close = if is_list { "]]" } else { "]" };
        // What the file should say, as far as it can be known.
        let meant = {
            let bare: String =
                name.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).collect();
            let list = list_like(&bare).unwrap_or(&bare);
            if is_list || LISTS.contains(&list) { format!("[[{list}]]") } else { format!("[{list}]") }
        };
        let fault = |message: &str, help: String| Err(FormFault::new(start..line.end, message).help(help));
        if name.is_empty() {
            return fault(
                "this table has no name",
                "write `[[clients]]`, `[[reviewers]]` or `[[rules]]`".to_owned(),
            );
        }
        if !inside.contains(']') {
            return fault("the name of this table is not closed", format!("write `{meant}`"));
        }
        if !name.split('.').all(|part| is_bare(part.trim()) || is_quoted(part.trim())) {
            let help = match name.split_once([' ', ':']) {
                Some((_, rest)) if meant.len() > 4 => format!(
                    "write `{meant}`, and `name = {}` below it",
                    quoted(rest.trim().trim_matches('"'))
                ),
                _ => format!("write `{meant}`"),
            };
            return fault("this is not a table's name", help);
        }
        let after = inside.find(']').unwrap_or_default();
        self.take(after);
        let closers = self.rest().chars().take_while(|c| *c == ']').count();
        if closers != close.len() {
            return fault("the brackets around this table's name do not match", format!("write `{meant}`"));
        }
        self.take(closers);
        self.skip_blanks();
        if !self.at_end_of_line() {
            self.odd_character()?;
            return Err(FormFault::new(self.words_of_line(), "only a comment may follow a table's name")
                .help("put this on a line of its own"));
        }
        Ok(())
    }

    /// A key and the `=` after it. Returns the key.
    pub(super) fn key(&mut self, inside: Option<char>) -> Step<String> {
        let start = self.at;
        loop {
            if let Some(quote @ ('"' | '\'')) = self.peek() {
                let line = self.line();
                let end = line.get(1..).and_then(|rest| rest.find(quote));
                let Some(end) = end else {
                    return Err(FormFault::new(self.words_of_line(), "this text is not closed")
                        .help(format!("end it with `{quote}`")));
                };
                self.take(end + 2);
            } else {
                let word = self.rest().split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
                let length = word.into_iter().next().map_or(0, str::len);
                if length == 0 {
                    return Err(self.no_key(start));
                }
                self.take(length);
            }
            self.skip_blanks();
            if self.peek() != Some('.') {
                break;
            }
            self.take(1);
            self.skip_blanks();
        }
        let key = self.slice(&(start..self.at)).trim().to_owned();
        if inside.is_some() {
            self.skip_lines()?;
        }
        self.equals_sign(&key, start)?;
        Ok(key)
    }

    fn no_key(&self, start: usize) -> FormFault {
        if let Err(odd) = self.odd_character() {
            return odd;
        }
        let line = self.slice(&(start..self.words_of_line().end));
        if line.starts_with(is_typographic) {
            return FormFault::new(self.here(), "this is a typographic quotation mark")
                .help("keys need no quotation marks");
        }
        let span = start..start + line.len();
        if line.contains('=') {
            let key = line.split('=').next().unwrap_or_default().trim();
            return FormFault::new(start..start + key.len().max(1), format!("`{key}` is not a key"))
                .help("a key has letters without accents, digits, `_` and `-`");
        }
        FormFault::new(span, "this line is neither `key = value` nor `[[table]]`").help(START)
    }

    fn equals_sign(&mut self, key: &str, start: usize) -> Step {
        let before = start..start + key.len();
        if self.peek() == Some('=') {
            let sign = self.at;
            self.take(1);
            if let Some(second @ ('=' | '>' | '~')) = self.peek() {
                return Err(FormFault::new(
                    sign..sign + 2,
                    format!("between a key and its value is one `=`, not `={second}`"),
                )
                .help(format!("write `{key} = …`")));
            }
            return Ok(());
        }
        self.odd_character()?;
        let words = self.words_of_line();
        let rest = self.slice(&words);
        if self.peek() == Some(':') {
            let value = rest.get(1..).unwrap_or_default().trim().trim_end_matches(',');
            let is_walrus = rest.starts_with(":=");
            let sign = self.at..self.at + if is_walrus { 2 } else { 1 };
            let message = format!("between a key and its value is `=`, not `{}`", self.slice(&sign));
            let list = list_like(key);
            // In JSON the line goes on behind the value.
            let value = if key.starts_with('"') && !value.is_empty() { "{" } else { value };
            let help = match (value, list) {
                ("", Some(list)) => {
                    format!("write `[[{list}]]`, once for each, and its keys below it as `key = value`")
                }
                ("", None) | ("[" | "{", _) => format!("write `{} = …`", key.trim_matches('"')),
                (value, _) => format!(
                    "write `{} = {}`",
                    key.trim_matches('"'),
                    as_value(value.trim_start_matches('=').trim())
                ),
            };
            return Err(FormFault::new(sign, message).help(help));
        }
        if rest.is_empty() || matches!(self.peek(), Some(',' | '}' | ']')) {
            let help = match list_like(key) {
                Some(list) => format!("a table begins with `[[{list}]]`"),
                None => format!("write `{key} = …`"),
            };
            return Err(FormFault::new(before, format!("`{key}` has no value")).help(help));
        }
        let (left, right) =
            rest.split_once('=').map_or((rest, None), |(left, right)| (left.trim(), Some(right.trim())));
        let words: Vec<&str> = left.split_whitespace().collect();
        if right.is_some() && words.iter().all(|word| is_bare(word)) {
            let together = format!("{key}_{}", words.join("_"));
            return Err(FormFault::new(start..self.at + left.len(), "a key has no spaces")
                .help(format!("write `{together} = …`")));
        }
        if right.is_none()
            && (rest.starts_with(['"', '\'', '[', '{'])
                || rest.starts_with(is_typographic)
                || words.len() == 1 && !rest.starts_with(['@', '*', '/']))
        {
            return Err(FormFault::new(before, format!("there is no `=` between `{key}` and its value"))
                .help(format!("write `{key} = {}`", as_value(rest))));
        }
        Err(FormFault::new(
            start..self.words_of_line().end,
            "this line is neither `key = value` nor `[[table]]`",
        )
        .help(START))
    }
}

/// The list of tables that a word is nearly the name of.
pub(super) fn list_like(word: &str) -> Option<&'static str> {
    LISTS.into_iter().find(|list| list.trim_end_matches('s') == word).or_else(|| closest(word, LISTS))
}

fn is_quoted(part: &str) -> bool {
    part.len() > 1 && ['"', '\''].iter().any(|quote| part.starts_with(*quote) && part.ends_with(*quote))
}

/// What was written for a value, as TOML writes it.
pub(super) fn as_value(text: &str) -> String {
    let text = text.trim();
    let is_written = text.starts_with(['"', '\'', '[', '{']) || toml::de::DeValue::parse(text).is_ok();
    if is_written { text.to_owned() } else { quoted(text) }
}
