//! Where mail programs, phones, chats and terminals make links of plain text, and how they are kept from it.
//!
//! Brackets around one sign or a few digits: visible, easy to read past, and undone by hand where that is wanted.
//! Only what some program would link is touched: `label.pdf`, `1.4.2` and `19.50` stay as they are.

use std::sync::LazyLock;

use super::characters::is_word_part;

/// Top-level domains (IANA's root zone, 2026), sorted by bytes, without those in Punycode.
///
/// `pay` is left out: nobody can register a name under it, and `invoice.pay` is what actions are called.
static TOP_LEVEL_DOMAINS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("tlds.txt").split_whitespace().collect());

/// Schemes that are links without `//`, as mail programs and phones know them.
const BARE_SCHEMES: [&str; 50] = [
    "bitcoin",
    "blob",
    "callto",
    "chrome",
    "cid",
    "data",
    "ethereum",
    "facetime",
    "file",
    "ftp",
    "ftps",
    "geo",
    "git",
    "gopher",
    "http",
    "https",
    "imap",
    "intent",
    "irc",
    "itms",
    "javascript",
    "ldap",
    "lightning",
    "magnet",
    "mailto",
    "mid",
    "mms",
    "nntp",
    "sftp",
    "sip",
    "sips",
    "skype",
    "sms",
    "smsto",
    "spotify",
    "ssh",
    "tel",
    "telnet",
    "tg",
    "urn",
    "vbscript",
    "viber",
    "vnc",
    "webcal",
    "whatsapp",
    "ws",
    "wss",
    "xmpp",
    "ymsgr",
    "zoommtg",
];

/// The name that needs no dot to be linked.
const LOCALHOST: &str = "localhost";

/// So few digits no phone offers to call.
const SHORTEST_PHONE: usize = 7;

/// Whose habits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linker {
    /// Mail programs, text messages, terminals.
    Text,
    /// Chats: `@name`, `#tag` and `/command` are links as well.
    Chat,
}

/// One line of plain text in which nothing is left that becomes a link. A line that was broken before stays as it is.
pub(super) fn broken(line: &str, linker: Linker) -> String {
    let mut line = line.to_owned();
    // What is cut apart can in turn look like a number that the whole did not.
    for _ in 0..5 {
        match broken_once(&line, linker) {
            Some(again) => line = again,
            None => break,
        }
    }
    line
}

/// The line with brackets; none where it stays as it is.
fn broken_once(line: &str, linker: Linker) -> Option<String> {
    let signs = Signs::of(line);
    if !signs.any() {
        return None;
    }
    let mut breaker = Breaker::over(line);
    // Programs differ in what they take `ａ` and `İ` for: letters of the name before them, or its end.
    let readings = [strictly as fn(char) -> char, generously];
    for reading in readings.into_iter().take(if line.is_ascii() { 1 } else { 2 }) {
        breaker.read_as(reading);
        if signs.dot {
            breaker.break_domains();
            breaker.break_odd_hosts();
        }
        if signs.colon {
            breaker.break_schemes();
        }
        if signs.root {
            breaker.break_roots();
        }
        if signs.localhost {
            breaker.break_localhost();
        }
        if signs.root && linker == Linker::Chat {
            breaker.break_chat_signs();
        }
    }
    if signs.digits {
        breaker.break_phones();
    }
    breaker.is_changed().then(|| breaker.spelled())
}

/// Which signs a line has that links are made of: without them, looking closer finds nothing.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one sign, and every combination of them is possible"
)]
struct Signs {
    dot: bool,
    colon: bool,
    /// Of `//`, `\\`, `@` and, in a chat, `#`.
    root: bool,
    localhost: bool,
    /// As many as the shortest number that a phone offers to call.
    digits: bool,
}

impl Signs {
    fn of(line: &str) -> Self {
        if !line.is_ascii() {
            // Other characters are read as these.
            return Self { dot: true, colon: true, root: true, localhost: true, digits: true };
        }
        let mut signs = Self { dot: false, colon: false, root: false, localhost: false, digits: false };
        let mut digits = 0_usize;
        for byte in line.bytes() {
            match byte {
                b'.' => signs.dot = true,
                b':' => signs.colon = true,
                b'/' | b'\\' | b'@' | b'#' => signs.root = true,
                b'0'..=b'9' => digits += 1,
                _ => {}
            }
        }
        signs.digits = digits >= SHORTEST_PHONE;
        signs.localhost = line.to_ascii_lowercase().contains(LOCALHOST);
        signs
    }

    const fn any(&self) -> bool {
        self.dot || self.colon || self.root || self.localhost || self.digits
    }
}

/// A line, how programs read it, and where brackets go.
struct Breaker {
    written: Vec<char>,
    /// As linkers compare.
    read: Vec<char>,
    opens: Vec<bool>,
    closes: Vec<bool>,
}

impl Breaker {
    fn over(line: &str) -> Self {
        let written: Vec<char> = line.chars().collect();
        let none = vec![false; written.len()];
        Self { read: written.clone(), written, opens: none.clone(), closes: none }
    }

    fn read_as(&mut self, reading: fn(char) -> char) {
        self.read = self.written.iter().copied().map(reading).collect();
    }

    fn at(&self, index: usize) -> Option<char> {
        self.read.get(index).copied()
    }

    fn before(&self, index: usize) -> Option<char> {
        index.checked_sub(1).and_then(|index| self.at(index))
    }

    fn is_bracketed(&self, from: usize, to: usize) -> bool {
        self.before(from) == Some('[') && self.at(to) == Some(']')
    }

    fn bracket(&mut self, from: usize, to: usize) {
        if let (Some(open), Some(close)) = (self.opens.get_mut(from), self.closes.get_mut(to)) {
            *open = true;
            *close = true;
        }
    }

    fn is_changed(&self) -> bool {
        self.opens.contains(&true) || self.closes.contains(&true)
    }

    fn spelled(&self) -> String {
        let mut line = String::with_capacity(self.written.len() + 16);
        for ((character, opens), closes) in self.written.iter().zip(&self.opens).zip(&self.closes) {
            if *opens {
                line.push('[');
            }
            line.push(*character);
            if *closes {
                line.push(']');
            }
        }
        line
    }

    /// Ends of the stretches of characters that `belongs` takes, as `from..to`.
    fn runs(&self, belongs: impl Fn(char) -> bool) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut start = None;
        for (index, &character) in self.read.iter().chain(std::iter::once(&'\n')).enumerate() {
            match (belongs(character), start) {
                (true, None) => start = Some(index),
                (false, Some(from)) => {
                    runs.push((from, index));
                    start = None;
                }
                _ => {}
            }
        }
        runs
    }

    /// `evil.com`, `www.evil`, `1.2.3.4`, `//intranet.corp`, `x@intranet.corp`, `intranet.corp/path`.
    fn break_domains(&mut self) {
        for (from, to) in self.runs(|character| character == '.' || is_name_part(character)) {
            if self.is_linked(from, to) {
                for index in from..to {
                    let is_inside = self.at(index) == Some('.')
                        && self.before(index).is_some_and(|before| !before.is_whitespace())
                        && index + 1 < to;
                    if is_inside {
                        self.bracket(index, index);
                    }
                }
            }
        }
    }

    fn is_linked(&self, from: usize, to: usize) -> bool {
        let run = self.read.get(from..to).unwrap_or_default();
        let labels: Vec<&[char]> = run.split(|&character| character == '.').collect();
        let mut names = labels.iter().enumerate().filter(|(_, label)| !label.is_empty());
        let Some((first_at, first)) = names.next() else { return false };
        let last = labels.iter().rev().find(|label| !label.is_empty()).copied().unwrap_or_default();
        // A dot that only ends the sentence makes no name.
        let has_dot = labels.iter().skip(first_at + 1).any(|label| !label.is_empty());
        let before = self.before(from);
        let follows = |index: usize| self.at(index).filter(|character| !character.is_whitespace());
        let is_after_text = before.is_some_and(|before| !before.is_whitespace());
        if first_at > 0 && is_after_text && starts_with_top_level_domain(first) {
            return true;
        }
        if !has_dot {
            return false;
        }
        let has_domain = labels.iter().skip(first_at + 1).any(|label| starts_with_top_level_domain(label));
        let is_www = labels.windows(2).any(|pair| {
            let [label, next] = pair else { return false };
            let name =
                label.rsplit(|character| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
            let numbered = name.strip_prefix(['w', 'w', 'w'].as_slice());
            let starts =
                is_text(name, "ftp") || numbered.is_some_and(|rest| rest.iter().all(char::is_ascii_digit));
            starts && !next.is_empty()
        });
        let is_address = labels.windows(4).any(is_address);
        let has_wordy_end = last.iter().filter(|character| character.is_alphabetic()).count() >= 2;
        let after_host_sign = (before == Some('@') && last.iter().any(|character| character.is_alphabetic()))
            || self.is_in_host(from);
        let starts_word = !matches!(before, Some('/' | '\\' | '.'));
        let goes_on = match follows(to) {
            Some('/' | '\\') => true,
            Some(':') => follows(to + 1).is_some_and(|next| next.is_ascii_digit()),
            Some('?' | '#') => follows(to + 1).is_some_and(is_name_part),
            _ => false,
        };
        has_domain || is_www || is_address || after_host_sign || (has_wordy_end && starts_word && goes_on)
    }

    /// `//👍.x` and `x@y~a.b`: after `//` or an `@`, some programs take any signs for a host.
    fn break_odd_hosts(&mut self) {
        for index in 0..self.read.len() {
            let goes_on = self.at(index + 1).is_some_and(|next| next != '.' && !next.is_whitespace());
            let is_dot = self.at(index) == Some('.') && goes_on && !self.is_bracketed(index, index + 1);
            if is_dot && self.is_in_host(index) {
                self.bracket(index, index);
            }
        }
    }

    /// Whether what stands here is still the host after `//`, or after an `@` if more than digits follow that.
    fn is_in_host(&self, from: usize) -> bool {
        let is_slash = |character: Option<char>| matches!(character, Some('/' | '\\'));
        let mut start = from;
        let mut has_letters = false;
        while let Some(before) = self.before(start) {
            if before == '@' && (has_letters || self.at(from + 1).is_some_and(char::is_alphabetic)) {
                return true;
            }
            if before.is_whitespace() || matches!(before, '/' | '\\' | '?' | '#') {
                break;
            }
            has_letters |= before.is_alphabetic();
            start -= 1;
        }
        is_slash(self.before(start)) && start > 0 && is_slash(self.before(start - 1))
    }

    /// `https://`, `anything://`, `mailto:`, `tel:`.
    fn break_schemes(&mut self) {
        for index in 0..self.read.len() {
            let is_colon = self.at(index) == Some(':');
            let Some(next) = self.at(index + 1).filter(|next| is_colon && !next.is_whitespace()) else {
                continue;
            };
            let is_slash = |character: Option<char>| matches!(character, Some('/' | '\\'));
            let before = self.read.get(..index).unwrap_or_default();
            let ends_with_scheme = |belongs: fn(&char) -> bool| {
                let start = before.iter().rposition(|character| !belongs(character)).map_or(0, |at| at + 1);
                let scheme: String = before.get(start..).unwrap_or_default().iter().take(16).collect();
                BARE_SCHEMES.binary_search(&scheme.as_str()).is_ok()
            };
            let is_hierarchical = is_slash(Some(next)) && is_slash(self.at(index + 2));
            if is_hierarchical
                || ends_with_scheme(char::is_ascii_alphanumeric)
                || ends_with_scheme(char::is_ascii_alphabetic)
                || before.ends_with(&['m', 'a', 'i', 'l', 't', 'o'])
            {
                self.bracket(index, index);
            }
        }
    }

    /// `//[::1]/`, `x@[::1]` and `\\server\share`. The names after `//` are broken as domains.
    fn break_roots(&mut self) {
        for index in 0..self.read.len() {
            let (Some(one), Some(two)) = (self.at(index), self.at(index + 1)) else { continue };
            let Some(host) = self.at(index + 2) else { continue };
            let is_v6 = (one, two, host) == ('/', '/', '[') && self.holds_v6(index + 3);
            let is_share =
                (one, two) == ('\\', '\\') && is_name_part(host) && self.before(index) != Some('\\');
            if is_v6 || is_share {
                self.bracket(index, index + 1);
            } else if (one, two) == ('@', '[') && self.holds_v6(index + 2) {
                self.bracket(index, index);
            }
        }
    }

    /// Whether an IPv6 address in brackets may start here. One colon alone is what this module writes.
    fn holds_v6(&self, from: usize) -> bool {
        let content =
            self.read.get(from..).unwrap_or_default().iter().take_while(|&&character| character != ']');
        let (mut length, mut has_colon) = (0, false);
        for character in content.take(48) {
            length += 1;
            has_colon |= *character == ':';
        }
        has_colon && length > 1
    }

    /// `localhost`, which needs no dot to be linked.
    fn break_localhost(&mut self) {
        for index in 0..self.read.len() {
            let end = index + LOCALHOST.len();
            let is_named = self.read.get(index..end).is_some_and(|word| is_text(word, LOCALHOST));
            let stands_alone = self.before(index).is_none_or(|before| !before.is_ascii_alphabetic())
                && self.at(end).is_none_or(|after| !after.is_ascii_alphanumeric());
            if is_named && stands_alone {
                // Brackets around the whole word do not keep every program from it.
                self.bracket(index + "local".len(), end - 1);
            }
        }
    }

    /// `+1 900 555 0199`: every second group of digits in brackets.
    fn break_phones(&mut self) {
        let mut index = 0;
        while index < self.read.len() {
            let Some(number) = self.number_at(index) else {
                index += 1;
                continue;
            };
            if number.is_phone() {
                self.bracket_digits(&number.groups);
            }
            index = number.end.max(index + 1);
        }
    }

    fn bracket_digits(&mut self, groups: &[(usize, usize)]) {
        let is_set_apart = groups.len() > 1 && groups.iter().all(|(from, to)| to - from <= 8);
        if is_set_apart {
            for &(from, to) in groups.iter().skip(1).step_by(2) {
                self.bracket(from, to - 1);
            }
            return;
        }
        for &(from, to) in groups {
            let mut start = from + 4;
            while start < to {
                self.bracket(start, (start + 4).min(to) - 1);
                start += 8;
            }
        }
    }

    /// The longest number with separators that starts here, whatever it means.
    fn number_at(&self, start: usize) -> Option<Number> {
        let has_plus = self.at(start) == Some('+');
        if !has_plus && self.before(start).is_some_and(|before| is_word_part(before) || before == '+') {
            return None;
        }
        let mut number = Number {
            has_plus,
            signs: Vec::new(),
            groups: Vec::new(),
            end: start + 1,
            starts_with_zero: false,
        };
        let mut signs = Vec::new();
        let mut index = start + usize::from(has_plus);
        while let Some(character) = self.at(index) {
            let from = index;
            while self.at(index).is_some_and(|next| next.is_ascii_digit()) {
                index += 1;
            }
            if index > from {
                number.groups.push((from, index));
                number.signs.append(&mut signs);
                number.end = index;
                continue;
            }
            let may_stand_here = character == '(' || !number.groups.is_empty();
            if !may_stand_here || !matches!(character, ' ' | '-' | '.' | '(' | ')') || signs.len() == 3 {
                break;
            }
            signs.push(character);
            index += 1;
        }
        let &(first_from, first_to) = number.groups.first()?;
        if self.is_bracketed(first_from, first_to) {
            number.end = first_to;
            number.groups.clear();
        }
        number.starts_with_zero = self.at(first_from) == Some('0');
        Some(number)
    }

    /// `@name`, `#tag`, `/command`.
    fn break_chat_signs(&mut self) {
        for index in 0..self.read.len() {
            let Some(sign) = self.at(index) else { continue };
            let goes_on = self
                .at(index + 1)
                .is_some_and(|next| is_name_part(next) || !(next.is_ascii() || next.is_whitespace()));
            let is_command = sign == '/' && self.before(index).is_none_or(char::is_whitespace);
            if goes_on && (matches!(sign, '@' | '#') || is_command) {
                self.bracket(index, index);
            }
        }
    }
}

/// Digits with the signs between them.
struct Number {
    has_plus: bool,
    starts_with_zero: bool,
    signs: Vec<char>,
    groups: Vec<(usize, usize)>,
    end: usize,
}

impl Number {
    /// Whether a phone would offer to call it: not a date, an amount, a version or a plain number.
    fn is_phone(&self) -> bool {
        let lengths: Vec<usize> = self.groups.iter().map(|(from, to)| to - from).collect();
        let digits: usize = lengths.iter().sum();
        if self.has_plus {
            return digits >= SHORTEST_PHONE;
        }
        let [first, rest @ ..] = lengths.as_slice() else { return false };
        if rest.is_empty() {
            return self.starts_with_zero && (10..=18).contains(first);
        }
        let has_parentheses = self.signs.contains(&'(');
        let is_date = matches!(lengths.as_slice(), [4, 2, 2, ..] | [2, 2, 4, ..]);
        let is_amount = !has_parentheses && *first <= 3 && rest.iter().all(|&length| length == 3);
        let is_version = self.signs.contains(&'.') && (rest.len() < 2 || lengths.contains(&1));
        let is_grouped = match rest {
            [second] => (*first, *second) == (3, 4) || self.starts_with_zero || has_parentheses,
            _ => rest.iter().all(|&length| length > 1),
        };
        (SHORTEST_PHONE..=15).contains(&digits) && is_grouped && !is_date && !is_amount && !is_version
    }
}

/// ASCII letters in lower case, everything else as it is.
fn strictly(character: char) -> char {
    character.to_ascii_lowercase()
}

/// As browsers read a host: full-width forms and other dots as ASCII, all letters in lower case.
fn generously(character: char) -> char {
    let narrow = match character {
        '\u{3002}' | '\u{ff61}' | '\u{2024}' | '\u{fe52}' => '.',
        '\u{fe55}' => ':',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        other => other,
    };
    narrow.to_lowercase().next().unwrap_or(narrow)
}

fn is_name_part(character: char) -> bool {
    is_word_part(character) || matches!(character, '-' | '_')
}

fn is_text(label: &[char], text: &str) -> bool {
    label.iter().copied().eq(text.chars())
}

/// Whether four labels hold an IPv4 address, whatever stands right before or after it.
fn is_address(four: &[&[char]]) -> bool {
    let [first, second, third, last] = four else { return false };
    let is_octet = |label: &[char]| {
        let text: String = label.iter().collect();
        text.len() <= 3 && text.parse::<u8>().is_ok()
    };
    first.last().is_some_and(char::is_ascii_digit)
        && is_octet(second)
        && is_octet(third)
        && last.first().is_some_and(char::is_ascii_digit)
}

/// Whether a label is a top-level domain, or would be one to a program that stops at the first other character.
fn starts_with_top_level_domain(label: &[char]) -> bool {
    let known = |prefix: &[char]| {
        if prefix.len() < 2 {
            return false;
        }
        let prefix: String = prefix.iter().collect();
        TOP_LEVEL_DOMAINS.binary_search(&prefix.as_str()).is_ok()
    };
    let ends = |belongs: fn(char) -> bool| {
        label.iter().position(|&character| !belongs(character)).unwrap_or(label.len())
    };
    let is_known_to = |end: usize| label.get(..end).is_some_and(known);
    label.starts_with(&['x', 'n', '-', '-'])
        || is_known_to(ends(is_word_part))
        || is_known_to(ends(|character| character.is_ascii_alphabetic()))
        // Scripts without spaces: a program may stop anywhere.
        || (label.first().is_some_and(|first| !first.is_ascii()) && (1..label.len().min(24)).any(is_known_to))
}

#[cfg(test)]
mod tests;
