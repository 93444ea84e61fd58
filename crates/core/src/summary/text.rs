//! Untrusted text made safe to read: hidden characters named, links broken, long lines cut in the middle.
//!
//! Plain text only; the pages draw the same pieces as HTML.

/// Marks stacked on one letter beyond this many would paint over their neighbours.
pub const STACKED_MARKS: usize = 3;
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
    let mut plain_from = 0;
    let mut previous = None;
    let mut stacked = 0;
    let mut at = 0;
    while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let after = at + character.len_utf8();
        let rest = text.get(after..).unwrap_or_default();
        let next = rest.chars().next();
        stacked = if is_stacking(character) { stacked + 1 } else { 0 };
        let (mark, consumed) = if character == '\n' || (character == '\r' && next == Some('\n')) {
            let run = line_end_run(text.get(at..).unwrap_or_default());
            (Some(Piece::LineEnds(run.times)), run.bytes)
        } else if character == ' ' {
            let times = 1 + rest.chars().take_while(|&other| other == ' ').count();
            let widest = if matches!(previous, None | Some('\n')) { WIDE_INDENT } else { WIDE_GAP };
            ((times > widest).then_some(Piece::Hidden { character, times }), times)
        } else if shows_itself(previous, character, next, stacked) {
            (None, character.len_utf8())
        } else {
            let times = 1 + rest.chars().take_while(|&other| other == character).count();
            (Some(Piece::Hidden { character, times }), times * character.len_utf8())
        };
        previous = match mark {
            Some(Piece::LineEnds(_)) => Some('\n'),
            _ => Some(character),
        };
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

/// Whether a character is seen as itself where it stands.
fn shows_itself(previous: Option<char>, character: char, next: Option<char>, stacked: usize) -> bool {
    match character {
        // Emoji are spelled with joiners and selectors; anywhere else those carry hidden text.
        '\u{fe0e}' | '\u{fe0f}' => match previous {
            Some('0'..='9' | '#' | '*') => next == Some('\u{20e3}'),
            Some(base) => is_pictograph(base),
            None => false,
        },
        '\u{200d}' => {
            previous.is_some_and(|base| base == '\u{fe0f}' || is_pictograph(base))
                && next.is_some_and(is_pictograph)
        }
        _ if is_stacking(character) => {
            stacked <= STACKED_MARKS && previous.is_some_and(|base| !base.is_whitespace() && !is_unseen(base))
        }
        _ => !is_unseen(character),
    }
}

/// Controls, direction overrides, blanks that are not a space, fillers, selectors, tags, private use.
fn is_unseen(character: char) -> bool {
    // A keycap is digit, selector, frame: its selector must not make the frame look orphaned.
    if character == '\u{fe0f}' {
        return false;
    }
    character.is_control()
        || matches!(
            u32::from(character),
            0x00a0 | 0x00ad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x1680 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
                | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x2800 | 0x3000 | 0x3164 | 0xe000..=0xf8ff
                | 0xfdd0..=0xfdef | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffc | 0xfffe | 0xffff
                | 0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0x1fffe | 0x1ffff | 0xe0000..
        )
}

/// Whether a character paints over the one before it.
pub fn is_stacking(character: char) -> bool {
    matches!(
        u32::from(character),
        0x0300..=0x034e | 0x0350..=0x036f | 0x0483..=0x0489 | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f
    )
}

fn is_pictograph(character: char) -> bool {
    matches!(
        u32::from(character),
        0xa9 | 0xae | 0x203c | 0x2049 | 0x2122 | 0x2139 | 0x2190..=0x21ff | 0x2300..=0x23ff | 0x24c2
            | 0x25a0..=0x27bf | 0x2900..=0x297f | 0x2b00..=0x2bff | 0x3030 | 0x303d | 0x3297 | 0x3299
            | 0x1f000..=0x1faff
    )
}

/// One line of plain text for messages, hidden characters named.
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

/// One line of untrusted text for an email or SMS, which no mail program turns into a link.
///
/// Hidden characters are named, `https://a.example` becomes `https[:]//a[.]example`; email addresses stay as they are.
pub fn unlinked(text: &str) -> String {
    let line = plain(text);
    let mut broken = String::with_capacity(line.len());
    let mut from = 0;
    for (at, space) in line.match_indices(char::is_whitespace) {
        push_unlinked(&mut broken, line.get(from..at).unwrap_or_default());
        broken.push_str(space);
        from = at + space.len();
    }
    push_unlinked(&mut broken, line.get(from..).unwrap_or_default());
    broken
}

fn push_unlinked(broken: &mut String, word: &str) {
    let is_email = word.matches('@').count() == 1 && !word.contains("://") && !word.contains('/');
    if is_email {
        broken.push_str(word);
        return;
    }
    let mut rest = word;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            ':' if after.starts_with("//") => broken.push_str("[:]"),
            '.' | '。' | '．' | '｡' if starts_a_domain_label(after) => broken.push_str("[.]"),
            _ => broken.push(character),
        }
        rest = after;
    }
}

fn starts_a_domain_label(text: &str) -> bool {
    let mut label = text.chars();
    label.next().is_some_and(char::is_alphabetic)
        && label.next().is_some_and(|next| next.is_alphanumeric() || next == '-')
}

/// Cuts the middle out of a plain line, so that it has at most `most` characters.
pub fn elided(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(3);
    let tail = kept / 3;
    let head = kept - tail;
    text.chars().take(head).chain("...".chars()).chain(text.chars().skip(length - tail)).collect()
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
    fn nothing_in_a_message_becomes_a_link() {
        assert_eq!(
            unlinked("see https://evil.example/x?a=b.c now"),
            "see https[:]//evil[.]example/x?a=b.c now"
        );
        assert_eq!(unlinked("www.evil.com, evil.com"), "www[.]evil[.]com, evil[.]com");
        assert_eq!(unlinked("19.50 to acme@example.com"), "19.50 to acme@example.com");
        assert_eq!(unlinked("https://a@evil.com"), "https[:]//a@evil[.]com");
        assert_eq!(unlinked("a\nb\u{202e}c"), "a / b<U+202E>c");
    }

    #[test]
    fn a_plain_line_is_cut_in_the_middle() {
        assert_eq!(elided("abcdefghijklmnop", 12), "abcdef...nop");
        assert_eq!(elided("abc", 12), "abc");
    }
}
