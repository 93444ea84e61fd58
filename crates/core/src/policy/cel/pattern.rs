//! Patterns of `matches`: the part of RE2 (which CEL names) that `regex-lite` matches alike.
//!
//! A pattern is read here before it is compiled. What the two read differently is written in the way that both read
//! alike, or refused; what would cost too much is refused. <https://github.com/google/re2/wiki/Syntax>

use std::fmt::Write as _;

use regex_lite::{Regex, RegexBuilder};

use super::super::EvalError;
use super::budget::Budget;

/// The largest count of `{n}`, and of counts inside counts, multiplied.
const MAX_COUNT: usize = 200;
/// The most single-character steps that a pattern may have once counts are written out.
const MAX_WEIGHT: usize = 1000;
/// The deepest groups.
const MAX_DEPTH: usize = 20;

/// A pattern that means what RE2 says.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// How many states the matcher may hold: its cost for each byte of a text.
    weight: usize,
    ignores_case: bool,
    has_word_boundary: bool,
}

impl Pattern {
    /// Reads a pattern. `Err` says why it cannot be used, in words.
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        let read = Reader::new(pattern).read()?;
        let regex = RegexBuilder::new(&read.pattern)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| format!("the pattern cannot be read: {error}"))?;
        Ok(Self {
            regex,
            weight: read.weight + 1,
            ignores_case: read.ignores_case,
            has_word_boundary: read.has_word_boundary,
        })
    }

    /// Whether it is found anywhere in the text.
    pub(super) fn is_found_in(&self, text: &str, budget: &Budget) -> Result<bool, EvalError> {
        budget.spend(1 + (text.len() + 1).saturating_mul(self.weight) / 2)?;
        // The only two letters beyond ASCII that are another case of an ASCII letter: the Kelvin sign and the long s.
        if self.ignores_case && text.contains(['\u{212a}', '\u{17f}']) {
            if self.has_word_boundary {
                return Err(EvalError::Unreadable);
            }
            return Ok(self.regex.is_match(&text.replace('\u{212a}', "k").replace('\u{17f}', "s")));
        }
        Ok(self.regex.is_match(text))
    }
}

/// What one reading of a pattern found.
struct Read {
    pattern: String,
    weight: usize,
    ignores_case: bool,
    has_word_boundary: bool,
}

struct Reader<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    out: String,
    ignores_case: bool,
    has_word_boundary: bool,
    only_ascii: bool,
}

/// What a group weighs so far, and the last thing in it.
struct Level {
    done: usize,
    last: Option<usize>,
    largest_count: usize,
    last_count: usize,
}

impl Level {
    const EMPTY: Self = Self { done: 0, last: None, largest_count: 1, last_count: 1 };

    fn push(&mut self, weight: usize, count: usize) {
        self.done += self.last.take().unwrap_or(0);
        self.largest_count = self.largest_count.max(self.last_count);
        self.last = Some(weight);
        self.last_count = count;
    }

    fn total(&self) -> usize {
        self.done + self.last.unwrap_or(0)
    }

    fn count(&self) -> usize {
        self.largest_count.max(self.last_count)
    }
}

impl<'p> Reader<'p> {
    fn new(pattern: &'p str) -> Self {
        Self {
            rest: pattern.chars().peekable(),
            out: String::new(),
            ignores_case: false,
            has_word_boundary: false,
            only_ascii: pattern.is_ascii(),
        }
    }

    fn read(mut self) -> Result<Read, String> {
        let mut levels = vec![Level::EMPTY];
        let mut at_start = true;
        // Whether the last thing was a repetition, which cannot be repeated again.
        let mut repeated = false;
        while let Some(c) = self.rest.next() {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else { break };
            let was_start = std::mem::replace(&mut at_start, false);
            match c {
                '*' | '+' | '?' | '{' => {
                    self.repetition(c, level, repeated)?;
                    repeated = true;
                    continue;
                }
                '(' => {
                    if depth > MAX_DEPTH {
                        return Err(format!("the pattern has groups more than {MAX_DEPTH} deep"));
                    }
                    if self.open_group(was_start)? {
                        levels.push(Level::EMPTY);
                    } else {
                        at_start = was_start;
                    }
                }
                ')' => {
                    let Some(group) = levels.pop() else { break };
                    let Some(outer) = levels.last_mut() else {
                        return Err("`)` without its `(`; write `\\)` for the character".into());
                    };
                    outer.push(group.total() + 1, group.count());
                    self.out.push(')');
                }
                '|' => {
                    level.push(1, 1);
                    // Nothing stands before a repetition that follows.
                    level.done += level.last.take().unwrap_or(0);
                    self.out.push('|');
                }
                '[' => {
                    let weight = self.class()?;
                    level.push(weight, 1);
                }
                '\\' => {
                    let is_assertion = self.escape()?;
                    level.push(1, 1);
                    if is_assertion {
                        repeated = true;
                        continue;
                    }
                }
                '^' | '$' => {
                    level.push(1, 1);
                    self.out.push(c);
                    repeated = true;
                    continue;
                }
                ']' | '}' => {
                    return Err(format!("`{c}` without its beginning; write `\\{c}` for the character"));
                }
                _ => {
                    level.push(1, 1);
                    self.out.push(c);
                }
            }
            repeated = false;
        }
        let (Some(level), true) = (levels.pop(), levels.is_empty()) else {
            return Err("`(` without its `)`".into());
        };
        if level.total() > MAX_WEIGHT {
            return Err(format!(
                "the pattern is too large: its counts make it longer than {MAX_WEIGHT} characters"
            ));
        }
        if self.ignores_case && !self.only_ascii {
            return Err(
                "`(?i)` ignores the case of ASCII letters only, so the pattern may hold no other letters; \
                        write both cases, such as `[üÜ]`"
                    .into(),
            );
        }
        Ok(Read {
            pattern: self.out,
            weight: level.total(),
            ignores_case: self.ignores_case,
            has_word_boundary: self.has_word_boundary,
        })
    }

    /// A repetition of the last thing.
    fn repetition(&mut self, c: char, level: &mut Level, repeated: bool) -> Result<(), String> {
        if repeated {
            return Err(format!("`{c}` repeats what is repeated already; put that into a group"));
        }
        if level.last.is_none() {
            let written = if c == '{' { "`{` without a count" } else { "a repetition" };
            return Err(format!("{written} needs something before it; write `\\{c}` for the character"));
        }
        let count = if c == '{' { self.count()? } else { 1 };
        if c != '{' {
            self.out.push(c);
        }
        level.last = level.last.map(|weight| weight.saturating_mul(count.max(1)));
        level.last_count = level.last_count.saturating_mul(count.max(1));
        if level.last_count > MAX_COUNT {
            return Err(format!(
                "the counts in the pattern, multiplied where one is inside another, go beyond {MAX_COUNT}"
            ));
        }
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        Ok(())
    }

    /// What follows `{`: `n}`, `n,}` or `n,m}`. Returns how many copies it makes.
    fn count(&mut self) -> Result<usize, String> {
        const SHAPE: &str =
            "`{` begins a count such as `{2}`, `{2,}` or `{2,5}`; write `\\{` for the character";
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(c) if c.is_ascii_digit() || c == ',' => text.push(c),
                _ => return Err(SHAPE.into()),
            }
        }
        let number = |digits: &str| {
            let digits = (1..=4).contains(&digits.len()).then_some(digits);
            digits.and_then(|digits| digits.parse::<usize>().ok()).ok_or_else(|| SHAPE.to_owned())
        };
        let copies = match text.split_once(',') {
            None => number(&text)?,
            Some((least, "")) => number(least)? + 1,
            Some((least, most)) => {
                let (least, most) = (number(least)?, number(most)?);
                if least > most {
                    return Err("a count's first number is larger than its second".into());
                }
                most
            }
        };
        if copies > MAX_COUNT {
            return Err(format!("a count may be {MAX_COUNT} at most"));
        }
        self.out.push('{');
        self.out.push_str(&text);
        self.out.push('}');
        Ok(copies)
    }

    /// What follows `(`. Returns whether a group was opened; flags for the whole pattern open none.
    fn open_group(&mut self, at_start: bool) -> Result<bool, String> {
        const SHAPE: &str =
            "after `(?`, a pattern may have `:`, `P<name>`, or flags of `i`, `m`, `s` and `U`";
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(true);
        }
        self.out.push('?');
        let mut negative = false;
        let mut flags = String::new();
        loop {
            match self.rest.next() {
                Some(':') => {
                    self.out.push(':');
                    return Ok(true);
                }
                Some(')') if !flags.is_empty() => {
                    self.out.push(')');
                    return Ok(false);
                }
                Some('P') if flags.is_empty() && self.rest.next_if_eq(&'<').is_some() => {
                    self.out.push_str("P<");
                    while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                        self.out.push(c);
                    }
                    return match self.rest.next() {
                        Some('>') => {
                            self.out.push('>');
                            Ok(true)
                        }
                        _ => Err(SHAPE.into()),
                    };
                }
                Some('-') if !negative => {
                    negative = true;
                    flags.push('-');
                    self.out.push('-');
                }
                Some('i') => {
                    if !at_start || negative || self.rest.clone().take_while(|c| *c != ')').any(|c| c == ':')
                    {
                        return Err(
                            "`i` can only be set for the whole pattern: write `(?i)` at its start".into()
                        );
                    }
                    self.ignores_case = true;
                    flags.push('i');
                    self.out.push('i');
                }
                Some(c @ ('m' | 's' | 'U')) => {
                    flags.push(c);
                    self.out.push(c);
                }
                _ => return Err(SHAPE.into()),
            }
        }
    }

    /// What follows `\` outside of a class. Returns whether it is a place rather than a character.
    fn escape(&mut self) -> Result<bool, String> {
        let Some(c) = self.rest.next() else { return Err("the pattern ends with a lone `\\`".into()) };
        match c {
            // RE2's blanks are without the vertical tab.
            's' => self.out.push_str("[\\t\\n\\f\\r ]"),
            'S' => self.out.push_str("[^\\t\\n\\f\\r ]"),
            'd' | 'D' | 'w' | 'W' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' | 'B' => {
                if self.rest.peek() == Some(&'{') {
                    return Err("`\\b` cannot be followed by `{`".into());
                }
                self.has_word_boundary = true;
                self.out.push('\\');
                self.out.push(c);
                return Ok(true);
            }
            'A' | 'z' => {
                self.out.push('\\');
                self.out.push(c);
                return Ok(true);
            }
            _ => {
                let c = self.escaped_character(c)?;
                self.push_literal(c);
            }
        }
        Ok(false)
    }

    /// The character that an escape means.
    fn escaped_character(&mut self, c: char) -> Result<char, String> {
        Ok(match c {
            'a' => '\u{7}',
            'f' => '\u{c}',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\u{b}',
            'x' => {
                let mut digits = String::new();
                if self.rest.next_if_eq(&'{').is_some() {
                    while let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) {
                        digits.push(digit);
                    }
                    if self.rest.next() != Some('}') {
                        return Err("`\\x{` needs hexadecimal digits and `}`".into());
                    }
                } else {
                    for _ in 0..2 {
                        digits.extend(self.rest.next_if(char::is_ascii_hexdigit));
                    }
                    if digits.len() != 2 {
                        return Err("`\\x` needs two hexadecimal digits, or `{…}`".into());
                    }
                }
                let character = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                let character = character.ok_or("`\\x` names no character")?;
                self.only_ascii &= character.is_ascii();
                character
            }
            _ if c.is_ascii_punctuation() => c,
            'p' | 'P' => return Err("classes of Unicode (`\\p`) cannot be used; list the characters".into()),
            _ => return Err(format!("`\\{c}` means nothing in a pattern")),
        })
    }

    fn push_literal(&mut self, c: char) {
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            self.out.push('\\');
            self.out.push(c);
        } else if c.is_ascii_control() {
            let _ = write!(self.out, "\\x{:02X}", u32::from(c));
        } else {
            self.out.push(c);
        }
    }

    /// A class, after its `[`. Returns its weight.
    fn class(&mut self) -> Result<usize, String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        let mut weight = 1;
        loop {
            let Some(c) = self.rest.next() else { return Err("`[` without its `]`".into()) };
            let item = match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(weight);
                }
                '[' if self.rest.peek() == Some(&':') => {
                    self.posix_class()?;
                    None
                }
                '\\' => {
                    let Some(c) = self.rest.next() else { return Err("`[` without its `]`".into()) };
                    match c {
                        's' => {
                            self.out.push_str("\\t\\n\\f\\r ");
                            None
                        }
                        'S' | 'D' | 'W' => {
                            return Err(format!("`\\{c}` cannot be used inside `[…]`; use `[^…]`"));
                        }
                        'd' | 'w' => {
                            self.out.push('\\');
                            self.out.push(c);
                            None
                        }
                        _ => Some(self.escaped_character(c)?),
                    }
                }
                _ => Some(c),
            };
            weight += 1;
            first = false;
            let Some(from) = item else { continue };
            self.push_literal(from);
            if self.rest.peek() != Some(&'-') {
                continue;
            }
            self.rest.next();
            match self.rest.next() {
                // A dash at the end is itself.
                Some(']') => {
                    self.out.push_str("\\-]");
                    return Ok(weight + 1);
                }
                Some('[') if self.rest.peek() == Some(&':') => {
                    return Err("a range needs two characters".into());
                }
                Some(c) => {
                    let until = match c {
                        '\\' => match self.rest.next() {
                            Some('d' | 'w' | 's' | 'D' | 'W' | 'S') | None => {
                                return Err("a range needs two characters".into());
                            }
                            Some(c) => self.escaped_character(c)?,
                        },
                        _ => c,
                    };
                    if until < from {
                        return Err(format!("the range `{from}-{until}` runs backwards"));
                    }
                    self.out.push('-');
                    self.push_literal(until);
                    if self.rest.peek() == Some(&'-') && self.rest.clone().nth(1) != Some(']') {
                        return Err(
                            "a range cannot go on with another `-`; write `\\-` for the character".into()
                        );
                    }
                }
                None => return Err("`[` without its `]`".into()),
            }
        }
    }

    /// A class such as `[:alpha:]`, after its `[`.
    fn posix_class(&mut self) -> Result<(), String> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        self.rest.next();
        let negative = self.rest.next_if_eq(&'^').is_some();
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(char::is_ascii_lowercase) {
            name.push(c);
        }
        if !NAMES.contains(&name.as_str()) || self.rest.next() != Some(':') || self.rest.next() != Some(']') {
            return Err(format!("`[:{name}` is not a class; expected one of {}", NAMES.join(", ")));
        }
        self.out.push_str(if negative { "[:^" } else { "[:" });
        self.out.push_str(&name);
        self.out.push_str(":]");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
