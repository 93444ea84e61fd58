//! Values: texts, lists, tables in braces, numbers, and words that are none of them.

use std::ops::Range;

use toml::de::DeValue;

use super::{FormFault, Look, Step, is_bare, is_typographic, quoted};

impl Look<'_> {
    /// A value, behind its `=` or in a list; `inside` is the bracket that it is in.
    pub(super) fn value(&mut self, key: &str, inside: Option<char>) -> Step {
        if inside.is_some() {
            self.skip_lines()?;
        } else {
            self.skip_blanks();
        }
        if self.at_end_of_line() || matches!((inside, self.peek()), (Some(_), Some(',' | '}' | ']'))) {
            let before = self.text.get(..self.at).unwrap_or_default().trim_end();
            let start = before.len().saturating_sub(1);
            return Err(FormFault::new(start..before.len(), format!("`{key}` has no value"))
                .help(format!("write what it is behind the `=`, such as `{key} = \"…\"`")));
        }
        self.odd_character()?;
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.text_value(key, quote, inside),
            Some('[') => self.list(key),
            Some('{') => self.braces(key),
            _ => self.word(inside),
        }
    }

    fn text_value(&mut self, key: &str, quote: char, inside: Option<char>) -> Step {
        let start = self.at;
        let triple: String = [quote; 3].iter().collect();
        let is_long = self.starts(&triple);
        let end: &str = if is_long { &triple } else { triple.get(..1).unwrap_or_default() };
        self.take(end.len());
        let opening = start..self.at;
        loop {
            if self.starts(end) {
                // Up to two more of them belong to the text.
                let run = self.rest().chars().take_while(|c| *c == quote).count();
                self.take(if is_long { run.min(5) } else { 1 });
                break;
            }
            match self.peek() {
                None if is_long => {
                    return Err(FormFault::new(opening, "this text is never closed")
                        .help(format!("end it with `{end}`")));
                }
                None | Some('\n') if !is_long => return Err(self.open_text(start, quote)),
                Some('\\') if quote == '"' => self.escape(is_long)?,
                Some(c) => self.take(c.len_utf8()),
                None => break,
            }
        }
        self.word_after_text(key, start, quote, is_long, inside)
    }

    fn open_text(&self, start: usize, quote: char) -> FormFault {
        let line = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let span = start..start + line.trim_end().len();
        // Only where what follows goes on with it, the text was meant to have several lines.
        let next = self.rest().lines().nth(1).unwrap_or_default().trim();
        let is_key =
            next.split_once('=').is_some_and(|(key, value)| is_bare(key.trim()) && !value.starts_with('='));
        let next_is_line = next.is_empty() || next.starts_with(['[', '#']) || is_key;
        let help = if next_is_line {
            format!("end it with `{quote}`")
        } else {
            "a text of several lines begins and ends with `'''`".to_owned()
        };
        FormFault::new(span, "this text is not closed on its line").help(help)
    }

    fn escape(&mut self, is_long: bool) -> Step {
        let next = self.rest().chars().nth(1);
        let hex = |count: usize| {
            let digits = self.rest().chars().skip(2).take(count).take_while(char::is_ascii_hexdigit).count();
            digits == count
        };
        let is_known = match next {
            Some('b' | 't' | 'n' | 'f' | 'r' | 'e' | '"' | '\\') => true,
            Some('x') => hex(2),
            Some('u') => hex(4),
            Some('U') => hex(8),
            Some('\n' | '\r' | ' ' | '\t') => is_long,
            _ => false,
        };
        let length = 1 + next.map_or(0, char::len_utf8);
        if is_known {
            self.take(length);
            return Ok(());
        }
        let shown = next.filter(|c| !c.is_control()).map_or_else(|| "\\".to_owned(), |c| format!("\\{c}"));
        Err(FormFault::new(
            self.at..self.at + length,
            format!("`{shown}` means nothing in a text with double quotes"),
        )
        .help("put the text into single quotes, where a backslash is only a backslash, or write `\\\\`"))
    }

    /// A text within a text: what follows the closing mark shows that it was not meant to close.
    fn word_after_text(
        &self,
        key: &str,
        start: usize,
        quote: char,
        is_long: bool,
        inside: Option<char>,
    ) -> Step {
        let goes_on = self.peek().is_some_and(|c| c.is_alphanumeric() || "$_-(.!=\"'<>&|".contains(c));
        let far = self.rest().trim_start_matches([' ', '\t']);
        let is_operator =
            ["==", "!=", "&&", "||", "<", ">", "in ", "and ", "or "].iter().any(|sign| far.starts_with(sign));
        if is_long || !(goes_on || is_operator) {
            return Ok(());
        }
        let line = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default().trim_end();
        let last = line.rfind(quote).filter(|last| start + last >= self.at);
        let whole = last.map(|last| line.get(1..last).unwrap_or_default());
        let span = self.at - 1..self.at;
        let fault = FormFault::new(span, "this quotation mark ends the text, but more of it seems to follow");
        Err(match (whole, inside) {
            // Written anew as a whole, where it is one value on one line.
            (Some(whole), None) if !whole.contains("''") => {
                let whole = if quote == '\'' { whole.replace('\'', "\"") } else { whole.to_owned() };
                fault.help(format!("write `{key} = {}`", quoted(&whole)))
            }
            _ if quote == '"' => {
                fault.help("put a text with double quotes in it into single ones: '…\"…\"…'")
            }
            _ => fault.help("a text in single quotes holds double ones only: '…\"…\"…'"),
        })
    }

    fn list(&mut self, key: &str) -> Step {
        let opening = self.here();
        self.take(1);
        let open = |opening: &Range<usize>| {
            FormFault::new(opening.clone(), format!("this `[` of `{key}` is never closed"))
                .help("put a `]` behind its last item")
        };
        loop {
            let is_new_line = self.skip_lines()?;
            match self.peek() {
                Some(']') => {
                    self.take(1);
                    return Ok(());
                }
                None => return Err(open(&opening)),
                _ if is_new_line && self.is_statement() => return Err(open(&opening)),
                Some(',') => {
                    return Err(
                        FormFault::new(self.here(), "there is nothing before this comma").help("delete it")
                    );
                }
                _ => {}
            }
            let item = self.at;
            self.value(key, Some('['))?;
            let is_new_line = self.skip_lines()?;
            match self.peek() {
                Some(',') => self.take(1),
                Some(']') => {}
                None | Some('}') => return Err(open(&opening)),
                _ if is_new_line && self.is_statement() => return Err(open(&opening)),
                Some(sign @ ('=' | ':')) => {
                    return Err(FormFault::new(item..self.at + 1, format!("`{sign}` cannot be in a list"))
                        .help("what has keys is in braces: `[{ key = \"value\" }]`"));
                }
                Some(_) => return Err(self.no_comma("two items of a list")),
            }
        }
    }

    fn braces(&mut self, of: &str) -> Step {
        let opening = self.here();
        self.take(1);
        let open = || {
            FormFault::new(opening.clone(), format!("this `{{` of `{of}` is never closed"))
                .help("put a `}` behind its last value")
        };
        loop {
            self.skip_lines()?;
            match self.peek() {
                Some('}') => {
                    self.take(1);
                    return Ok(());
                }
                None | Some('[' | ']') => return Err(open()),
                Some(',') => {
                    return Err(
                        FormFault::new(self.here(), "there is nothing before this comma").help("delete it")
                    );
                }
                _ => {}
            }
            let key = self.key(Some('{'))?;
            self.value(&key, Some('{'))?;
            self.skip_lines()?;
            match self.peek() {
                Some(',') => self.take(1),
                Some('}') => {}
                None | Some('[' | ']') => return Err(open()),
                Some(_) => return Err(self.no_comma("two keys in braces")),
            }
        }
    }

    fn no_comma(&self, what: &str) -> FormFault {
        let rest = self.line();
        let length = rest.find([',', ']', '}', ' ', '=']).unwrap_or(rest.len()).max(self.here().len());
        FormFault::new(
            self.at..self.at + length,
            format!("a comma is missing before this: it goes between {what}"),
        )
        .help("put a `,` before it")
    }

    /// Whether what begins here is a line of its own: a table's name, or a key with its `=`.
    fn is_statement(&self) -> bool {
        let line = self.line().split('#').next().unwrap_or_default().trim_end();
        let name = line.trim_start_matches('[').trim_end_matches(']').trim();
        let is_header =
            line.starts_with('[') && line.ends_with(']') && name.split('.').all(|part| is_bare(part.trim()));
        let is_header = is_header && DeValue::parse(name).is_err();
        let is_key = line.split_once('=').is_some_and(|(key, _)| is_bare(key.trim()));
        is_header || is_key
    }

    /// A number, a date, true or false; or a word that should be in quotes.
    fn word(&mut self, inside: Option<char>) -> Step {
        let line = self.words_of_line();
        let ends: &[char] = match inside {
            None => &[],
            Some('[') => &[',', ']'],
            Some(_) => &[',', '}'],
        };
        let text = self.slice(&line);
        let end = text.find(ends).unwrap_or(text.len());
        let span = self.at..self.at + text.get(..end).unwrap_or_default().trim_end().len();
        let word = self.slice(&span);
        if DeValue::parse(word).is_ok() {
            self.take(word.len());
            return Ok(());
        }
        Err(no_value(word, span, text))
    }

    /// What follows a value on its line.
    pub(super) fn after_value(&mut self, key: &str) -> Step {
        self.skip_blanks();
        if self.at_end_of_line() {
            return Ok(());
        }
        self.odd_character()?;
        let words = self.words_of_line();
        let rest = self.slice(&words);
        let fault = |length: usize, message: String, help: String| {
            Err(FormFault::new(self.at..self.at + length, message).help(help))
        };
        match self.peek() {
            Some(sign @ (',' | ';')) => {
                fault(1, format!("a line does not end with `{sign}`"), "delete it".to_owned())
            }
            Some(closing @ (']' | '}' | ')')) => {
                fault(1, format!("this `{closing}` closes nothing"), "delete it".to_owned())
            }
            _ => match rest.split_once('=') {
                Some((next, _)) if is_bare(next.trim()) => {
                    let next = next.trim();
                    fault(
                        next.len(),
                        format!("`{next}` needs a line of its own"),
                        format!("put `{next} = …` on the next line"),
                    )
                }
                _ if rest.starts_with("//") => fault(
                    2,
                    "`//` does not begin a comment here".to_owned(),
                    "comments begin with `#`".to_owned(),
                ),
                _ => fault(
                    rest.len(),
                    format!("the value of `{key}` ends before this"),
                    "delete it, or make it part of the value".to_owned(),
                ),
            },
        }
    }
}

/// What a word should have been that is no value.
fn no_value(word: &str, span: Range<usize>, rest: &str) -> FormFault {
    let lower = word.to_lowercase();
    let first = word.chars().next().unwrap_or(' ');
    let fault = |message: String| FormFault::new(span.clone(), message);
    let truth = match lower.as_str() {
        "true" | "yes" | "on" => Some("true"),
        "false" | "no" | "off" => Some("false"),
        _ => None,
    };
    if let Some(truth) = truth {
        return fault(format!("`{word}` is not a value")).help(format!("write `{truth}`"));
    }
    if matches!(lower.as_str(), "null" | "none" | "nil" | "undefined" | "~") {
        return fault(format!("TOML has no `{word}`")).help("leave the key out");
    }
    if is_typographic(first) {
        let start = span.start;
        return FormFault::new(
            start..start + first.len_utf8(),
            format!("`{first}` is a typographic quotation mark"),
        )
        .help(format!("write {} with plain ones", quoted(word)));
    }
    if first == '`' {
        return fault("texts are not in backticks".to_owned())
            .help(format!("write {}", quoted(word.trim_matches('`'))));
    }
    if word.starts_with("${") || word.starts_with("{{") || first == '$' && word.contains('_') {
        return fault(format!("`{word}` is not a value: a policy has no variables"))
            .help("write what it stands for, in quotes");
    }
    if word.starts_with(['|', '>']) && word.len() < 3 {
        return fault(format!("`{word}` begins a text of several lines in YAML, but this is TOML"))
            .help("a text of several lines begins and ends with `'''`");
    }
    let is_duration =
        word.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(|number| number.parse::<u32>().is_ok());
    if is_duration || is_hours(word) {
        return fault(format!("`{word}` needs quotation marks")).help(format!("write {}", quoted(word)));
    }
    if first.is_ascii_digit()
        && word.matches(['-', '.', '/']).count() == 2
        && !word.contains(char::is_alphabetic)
    {
        return fault(format!("`{word}` is not a date of the calendar, as year, month and day"))
            .help("write it like `2026-12-20`");
    }
    let is_number = |c: char| c.is_ascii_digit() || "+-.,_%$€' ".contains(c);
    if word.chars().all(is_number) && word.contains(|c: char| c.is_ascii_digit()) {
        let help = if first == '+' {
            format!("write {}", quoted(word))
        } else {
            "a number has digits and one point: `1250.5`; anything else is a text in quotes".to_owned()
        };
        return fault(format!("`{word}` is not a number")).help(help);
    }
    if first == '@' {
        return fault(format!("`{word}` needs quotation marks"))
            .help(format!("write {}", quoted(word.trim_start_matches('@'))));
    }
    let shown: String = word.chars().take(40).collect();
    let more = if shown.len() < word.len() { "…" } else { "" };
    let message =
        format!("`{shown}{more}` needs quotation marks: only numbers, dates, `true` and `false` go without");
    // A condition has marks of its own, and may hold a comma or a bracket.
    let whole = if word.contains(['"', '\'', '=']) { rest.trim_end() } else { word };
    fault(message).help(format!("write {}", quoted(whole)))
}

/// `22:00-07:00 …`
fn is_hours(word: &str) -> bool {
    word.split_once('-').is_some_and(|(from, _)| from.len() == 5 && from.get(2..3) == Some(":"))
}
