//! Untrusted text made safe to read: hidden characters named, long lines cut in the middle.
//!
//! Plain text only; the pages draw the same pieces as HTML. What hides is `characters`' to say, what links is `links`'.

use std::fmt::Write as _;

use super::characters::Sight;
use super::links::{Linker, broken};

/// Wider gaps than this inside a line push text out of sight.
const WIDE_GAP: usize = 7;
/// Indented code is legitimate, up to here.
const WIDE_INDENT: usize = 23;

/// A stretch of untrusted text, by how it may be shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that shows itself.
    Plain(&'a str),
    /// So many line ends.
    LineEnds(usize),
    /// A character that would not be seen, so many times.
    Hidden {
        /// Which.
        character: char,
        /// How often in a row.
        times: usize,
    },
}

/// Splits text into what shows itself and what must be shown by a mark.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut sight = Sight::default();
    let mut plain_from = 0;
    let mut starts_line = true;
    let mut at = 0;
    while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at + character.len_utf8()..).unwrap_or_default();
        let next = rest.chars().next();
        let repeated = || 1 + rest.chars().take_while(|&other| other == character).count();
        let (mark, consumed) = if character == '\n' || (character == '\r' && next == Some('\n')) {
            let run = line_end_run(text.get(at..).unwrap_or_default());
            sight.restart();
            (Some(Piece::LineEnds(run.times)), run.bytes)
        } else if character == ' ' {
            sight.shows(character, next);
            let run = repeated();
            let widest = if starts_line { WIDE_INDENT } else { WIDE_GAP };
            ((run > widest).then_some(Piece::Hidden { character, times: run }), run)
        } else if sight.shows(character, next) {
            (None, character.len_utf8())
        } else {
            let times = repeated();
            (Some(Piece::Hidden { character, times }), times * character.len_utf8())
        };
        starts_line = matches!(mark, Some(Piece::LineEnds(_)));
        if let Some(mark) = mark {
            push_plain(&mut pieces, text, plain_from, at);
            pieces.push(mark);
            plain_from = at + consumed;
        }
        at += consumed;
    }
    push_plain(&mut pieces, text, plain_from, text.len());
    pieces
}

fn push_plain<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str, from: usize, to: usize) {
    if let Some(plain) = text.get(from..to).filter(|plain| !plain.is_empty()) {
        pieces.push(Piece::Plain(plain));
    }
}

struct LineEndRun {
    times: usize,
    bytes: usize,
}

fn line_end_run(text: &str) -> LineEndRun {
    let mut run = LineEndRun { times: 0, bytes: 0 };
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\r\n")) {
        run.times += 1;
        run.bytes += rest.len() - after.len();
        rest = after;
    }
    run
}

/// One line of plain text, hidden characters named. For what no program turns into links by itself.
pub fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => line.push_str(plain),
            Piece::LineEnds(_) => line.push_str(" / "),
            Piece::Hidden { character, times } => {
                let mark = match times {
                    1 => marked(character),
                    _ => format!("<{} x{}>", name(character), grouped(times)),
                };
                line.push_str(&mark);
            }
        }
    }
    line
}

/// Text of several lines for a terminal: line ends and indentation stay, whatever hides or steers is named.
pub fn plain_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => lines.push_str(plain),
            Piece::LineEnds(times) => lines.extend(std::iter::repeat_n('\n', times)),
            Piece::Hidden { character: ' ', times } => lines.extend(std::iter::repeat_n(' ', times)),
            Piece::Hidden { character, times } => {
                lines.extend(std::iter::repeat_n(marked(character), times.min(9)));
            }
        }
    }
    lines
}

/// One line of untrusted text for a mail, a text or a terminal: hidden characters named, and nothing left to link.
///
/// `https://a.example.com` becomes `https[:]//a[.]example[.]com`. What no program would link stays as it is.
pub fn unlinked(text: &str) -> String {
    broken(&plain(text), Linker::Text)
}

/// The same for a chat, where `@name`, `#tag` and `/command` are links too.
pub fn unlinked_in_chat(text: &str) -> String {
    broken(&plain(text), Linker::Chat)
}

/// JSON text with each character that hides as `\u....`: programs read the same value, a terminal shows what is there.
///
/// `json` is JSON, compact or indented, whose control characters are escaped already.
pub fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for piece in pieces(json) {
        match piece {
            Piece::Plain(plain) => escaped.push_str(plain),
            Piece::LineEnds(times) => escaped.extend(std::iter::repeat_n('\n', times)),
            // Outside of strings spaces indent; inside they are what they are.
            Piece::Hidden { character: ' ', times } => escaped.extend(std::iter::repeat_n(' ', times)),
            Piece::Hidden { character, times } => {
                for _ in 0..times {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        // Writing to a string does not fail.
                        let _ = write!(escaped, "\\u{unit:04x}");
                    }
                }
            }
        }
    }
    escaped
}

/// Cuts the middle out of a plain line, so that it has at most `most` characters.
///
/// A character that is named (`<U+200B>`) is kept whole or left out: half a name would say something else.
pub fn elided(text: &str, most: usize) -> String {
    elided_by(text, most, "\u{2026}")
}

/// The same in characters that every alphabet has.
pub fn elided_in_ascii(text: &str, most: usize) -> String {
    elided_by(text, most, "...")
}

fn elided_by(text: &str, most: usize, sign: &str) -> String {
    const NAME: &str = "<U+";
    /// `<U+10FFFF>`.
    const NAME_BYTES: usize = 10;
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(sign.chars().count());
    let tail = kept / 3;
    let byte_at = |count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let name_around = |at: usize| {
        let mut names = text.match_indices(NAME).filter_map(|(start, _)| {
            let length = text.get(start..)?.find('>')? + 1;
            (length <= NAME_BYTES).then_some(start..start + length)
        });
        names.find(|name| name.start < at && at < name.end)
    };
    let (head, tail) = (byte_at(kept - tail), byte_at(length - tail));
    let head = name_around(head).map_or(head, |name| name.start);
    let tail = name_around(tail).map_or(tail, |name| name.end);
    format!("{}{sign}{}", text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default())
}

/// A count with its thousands set apart.
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A character by its code, in plain text.
pub fn marked(character: char) -> String {
    format!("<{}>", name(character))
}

/// A character's name: its code point, or a word.
pub fn name(character: char) -> String {
    match character {
        ' ' => "space".to_owned(),
        '\t' => "tab".to_owned(),
        _ => format!("U+{:04X}", u32::from(character)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_hides_and_links_nothing() {
        assert_eq!(plain("a\nb\u{202e}c"), "a / b<U+202E>c");
        assert_eq!(plain(&format!("a{}b", "\u{200b}".repeat(1234))), "a<U+200B x1,234>b");
        assert_eq!(plain(&format!("a{}b", " ".repeat(40))), "a<space x40>b");
        assert_eq!(plain("a\t\u{1b}[2J\u{9b}b"), "a<tab><U+001B>[2J<U+009B>b");
        assert_eq!(unlinked("see https://evil.com\nnow"), "see https[:]//evil[.]com / now");
        assert_eq!(unlinked_in_chat("@here www.evil.com"), "[@]here www[.]evil[.]com");
    }

    #[test]
    fn lines_keep_their_shape_and_steer_nothing() {
        let text = format!("line 3:\n{}when = x\u{1b}[2J\n\n{}^ here", " ".repeat(30), " ".repeat(40));
        assert_eq!(plain_lines(&text), text.replace('\u{1b}', "<U+001B>"));
    }

    #[test]
    fn json_for_programs_reads_the_same_and_hides_nothing() {
        let nasty: String =
            ('\0'..'\u{250}').chain("\u{202e}\u{2028}\u{e0041}\u{f0000}👍\u{fe0f}".chars()).collect();
        let value = serde_json::json!({ "k\u{200b}": nasty, "n": [1.5, null], "gap": " ".repeat(30) });
        for text in [value.to_string(), format!("{value:#}")] {
            let escaped = escaped_json(&text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
            assert!(!escaped.chars().any(|c| c.is_control() && c != '\n'), "{escaped}");
            assert!(escaped.contains("\\u202e\\u2028\\udb40\\udc41") && escaped.contains('👍'), "{escaped}");
        }
    }

    #[test]
    fn a_plain_line_is_cut_in_the_middle() {
        assert_eq!(elided("abcdefghijklmnop", 12), "abcdefgh…nop");
        assert_eq!(elided_in_ascii("abcdefghijklmnop", 12), "abcdef...nop");
        assert_eq!(elided("abcd<U+200B>efghijklmnop", 12), "abcd…nop");
        assert_eq!(elided("abcdefghijklmnopqrst<U+200B>", 12), "abcdefgh…");
        for cut in 1..8 {
            let text = format!("abcdefghijklmnop<U+200B>{}", "z".repeat(cut));
            let shown = elided(&text, 16);
            assert!(!shown.contains("200B") || shown.contains("<U+200B>"), "{shown}");
        }
        assert_eq!(elided("abc", 12), "abc");
    }
}
