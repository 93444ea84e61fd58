//! Untrusted text as HTML: hidden characters as visible marks, long text cut in the middle.
//!
//! Nothing here knows what a payload is or what a page looks like; which characters hide is `core`'s to say.

use maud::{Markup, html};
use placet_core::words::characters::{STACKED_MARKS, attaches};
use placet_core::words::text::{Piece, grouped, name, pieces};
use placet_core::words::{Title, TitlePiece};

/// How much of a text is shown before its middle is cut out.
#[derive(Clone, Copy)]
pub(super) struct Most {
    chars: usize,
    lines: usize,
}

/// Of a value among others.
pub(super) const VALUE: Most = Most { chars: 280, lines: 12 };
/// Of a text that is itself what is approved.
pub(super) const WHOLE: Most = Most { chars: placet_core::words::TEXT_CHARS, lines: 200 };

/// A value of a title up to this length moves to the next line rather than break.
const ATOM_CHARS: usize = 40;
const START_CHARS: usize = 140;
const START_LINES: usize = 6;
const END_CHARS: usize = 90;
const END_LINES: usize = 4;

/// Who put the line ends there: the untrusted text, or our own printer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    Theirs,
    Ours,
}

/// Whether any character of the text needs a mark.
pub(super) fn hides_something(text: &str) -> bool {
    pieces(text).iter().any(|piece| matches!(piece, Piece::Hidden { .. }))
}

/// The text with its hidden characters as visible boxes.
pub(super) fn revealed(text: &str, line_ends: LineEnds) -> Markup {
    html! {
        @for piece in pieces(text) {
            @match piece {
                Piece::Plain(plain) => (plain),
                Piece::LineEnds(times) if line_ends == LineEnds::Ours => ("\n".repeat(times)),
                Piece::LineEnds(times) if times <= 2 => {
                    @for _ in 0..times { i.nl aria-hidden="true" { "↵" } "\n" }
                }
                Piece::LineEnds(times) => { mark { "↵ ×" (grouped(times)) } "\n" }
                Piece::Hidden { character, times } => mark { (name(character)) @if times > 1 { " ×" (grouped(times)) } }
            }
        }
    }
}

/// One isolated line of untrusted text, never cut: for what is short by contract.
pub(super) fn line(text: &str) -> Markup {
    html! { bdi { (revealed(text, LineEnds::Theirs)) } }
}

/// A title: its values set apart from the gate's own words, short ones never broken inside.
pub(super) fn titled(title: &Title) -> Markup {
    html! {
        @for piece in &title.pieces {
            @match piece {
                TitlePiece::Words(words) => (words),
                TitlePiece::Value(value) if value.chars().nth(ATOM_CHARS).is_none() => b.atom { bdi { (value) } },
                TitlePiece::Value(value) => b { bdi { (value) } },
            }
        }
    }
}

/// Untrusted text of any length: its start and its end, and all of it on demand.
pub(super) fn passage(text: &str, line_ends: LineEnds) -> Markup {
    passage_of(text, line_ends, VALUE)
}

/// The same, with more or less of it at first.
pub(super) fn passage_of(text: &str, line_ends: LineEnds, most: Most) -> Markup {
    let Some(excerpt) = excerpt(text, most) else {
        return html! { bdi.v { (revealed(text, line_ends)) } };
    };
    html! {
        bdi.v { (revealed(excerpt.start, line_ends)) }
        span.gap { (grouped(excerpt.hidden)) " characters not shown here" }
        bdi.v { (revealed(excerpt.end, line_ends)) }
        details {
            summary { "Show all " (grouped(text.chars().count())) " characters" }
            div.full { bdi.v { (revealed(text, line_ends)) } }
        }
    }
}

/// The two ends of a long text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt<'a> {
    pub(super) start: &'a str,
    /// How many characters lie between the two.
    pub(super) hidden: usize,
    pub(super) end: &'a str,
}

/// Cuts the middle out of a text that is too long to show at a glance.
pub(super) fn excerpt(text: &str, most: Most) -> Option<Excerpt<'_>> {
    if text.chars().nth(most.chars).is_none() && text.matches('\n').nth(most.lines).is_none() {
        return None;
    }
    let by_chars = text.char_indices().nth(START_CHARS).map_or(text.len(), |(at, _)| at);
    let by_lines = text.match_indices('\n').nth(START_LINES - 1).map_or(text.len(), |(at, _)| at);
    let start = text.get(..whole_letters(text, by_chars.min(by_lines)))?;
    let by_chars = text.char_indices().rev().nth(END_CHARS - 1).map_or(0, |(at, _)| at);
    let by_lines = text.rmatch_indices('\n').nth(END_LINES - 1).map_or(0, |(at, found)| at + found.len());
    let end_from = whole_letters(text, by_chars.max(by_lines));
    let hidden = text.get(start.len()..end_from)?.chars().count();
    (hidden > 0).then_some(Excerpt { start, hidden, end: text.get(end_from..)? })
}

/// Moves a cut behind what belongs to the letter before it.
fn whole_letters(text: &str, cut: usize) -> usize {
    let tail = text.get(cut..).unwrap_or_default();
    cut + tail
        .chars()
        .take(STACKED_MARKS)
        .take_while(|&character| attaches(character))
        .map(char::len_utf8)
        .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        revealed(text, LineEnds::Theirs).into_string()
    }

    #[test]
    fn markup_in_text_is_only_text() {
        assert_eq!(html(r#"<script>x("&')</script>"#), "&lt;script&gt;x(&quot;&amp;')&lt;/script&gt;");
    }

    #[test]
    fn every_kind_of_hidden_character_is_revealed() {
        for hidden in [
            '\0',
            '\u{7}',
            '\u{1b}',
            '\r',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{2003}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{202f}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fffc}',
            '\u{e0041}',
            '\u{e0101}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            let code = format!("U+{:04X}", u32::from(hidden));
            assert_eq!(html(&format!("a{hidden}b")), format!("a<mark>{code}</mark>b"));
            assert_eq!(placet_core::words::text::plain(&format!("a{hidden}b")), format!("a<{code}>b"));
        }
    }

    #[test]
    fn ordinary_text_of_many_scripts_is_left_alone() {
        for text in [
            "Grüße, naïve café",
            "Ωμέγα",
            "שלום",
            "مرحبا",
            "日本語 テスト",
            "한국어",
            "ไทย",
            "e\u{301}a\u{308}",
            "✓ € £",
        ] {
            assert_eq!(html(text), text);
        }
    }

    #[test]
    fn emoji_keep_their_joiners_but_smuggled_selectors_do_not_hide() {
        for text in ["👩\u{200d}👧", "❤\u{fe0f}", "1\u{fe0f}\u{20e3}", "👍🏽", "🏳\u{fe0f}\u{200d}🌈"]
        {
            assert_eq!(html(text), text);
        }
        assert_eq!(html("❤\u{fe0f}\u{fe0f}"), "❤\u{fe0f}<mark>U+FE0F</mark>");
        assert_eq!(html("a\u{200d}b"), "a<mark>U+200D</mark>b");
    }

    #[test]
    fn runs_are_counted_instead_of_repeated() {
        assert_eq!(html(&format!("a{}b", "\u{200b}".repeat(1234))), "a<mark>U+200B ×1,234</mark>b");
        assert_eq!(html(&format!("a{}b", " ".repeat(40))), "a<mark>space ×40</mark>b");
        assert_eq!(html(&format!("a{}b", "\n".repeat(40))), "a<mark>↵ ×40</mark>\nb");
        assert_eq!(html("a\r\nb"), "a<i class=\"nl\" aria-hidden=\"true\">↵</i>\nb");
    }

    #[test]
    fn marks_stacked_on_a_letter_end_at_three() {
        assert_eq!(
            html(&format!("o{}", "\u{301}".repeat(5))),
            "o\u{301}\u{301}\u{301}<mark>U+0301 ×2</mark>"
        );
        assert_eq!(html("\u{301}"), "<mark>U+0301</mark>");
    }

    #[test]
    fn long_text_shows_both_ends_and_says_how_much_lies_between() {
        let text = format!("START{}END", "x".repeat(1000));
        let cut = excerpt(&text, VALUE).unwrap();
        assert!(cut.start.starts_with("START") && cut.end.ends_with("END"));
        assert_eq!(cut.hidden, 1008 - START_CHARS - END_CHARS);
        let page = passage(&text, LineEnds::Theirs).into_string();
        assert!(page.contains("778 characters not shown here"));
        assert!(page.contains("<summary>Show all 1,008 characters</summary>"));
        assert!(page.contains(&text));
    }

    #[test]
    fn a_text_that_is_approved_is_shown_whole() {
        let most = format!("{}END", "x".repeat(3997));
        assert_eq!(excerpt(&most, WHOLE), None);
        assert!(excerpt(&format!("{most}."), WHOLE).is_some());
        assert!(!passage_of(&most, LineEnds::Ours, WHOLE).into_string().contains("not shown here"));
    }

    #[test]
    fn many_short_lines_are_long_too() {
        let text = format!("first{}last", "\n".repeat(100));
        let cut = excerpt(&text, VALUE).unwrap();
        assert!(cut.start.starts_with("first") && cut.end.ends_with("last"));
        assert_eq!(excerpt("short", VALUE), None);
    }
}
