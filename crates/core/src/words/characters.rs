//! The one rule for what a reader can see: which characters show themselves, by Unicode general category.
//!
//! Pages, letters, texts, the terminal and the command's JSON all go by it. It knows nothing of HTML or of links.

use unicode_general_category::{GeneralCategory as Category, get_general_category};

/// How many marks that fit any letter may stand on one letter.
pub const STACKED_MARKS: usize = 3;
/// How many marks of a script of their own may stand on one letter: some Burmese and Tibetan syllables need as many.
const STACKED_SCRIPT_MARKS: usize = 5;

/// Decides character by character whether a text shows itself, in the order of the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    previous: Option<char>,
    stacked: usize,
}

impl Sight {
    /// Whether `character`, which follows what was asked before, is seen as itself. `next` is what comes after it.
    pub fn shows(&mut self, character: char, next: Option<char>) -> bool {
        if character.is_ascii() {
            *self = Self { previous: Some(character), stacked: 0 };
            return !character.is_ascii_control();
        }
        let category = get_general_category(character);
        let is_mark = matches!(category, Category::NonspacingMark | Category::EnclosingMark);
        self.stacked = match character {
            _ if is_mark => self.stacked + 1,
            '\u{200c}' | '\u{200d}' => self.stacked,
            _ => 0,
        };
        let shown = match character {
            '\u{fe0e}' | '\u{fe0f}' => self.previous.is_some_and(|base| match base {
                '0'..='9' | '#' | '*' => next == Some('\u{20e3}'),
                _ => is_pictograph(base),
            }),
            '\u{200c}' | '\u{200d}' => joins(self.previous, character, next),
            _ if is_mark => !is_blank(character) && self.carries(character),
            _ => !is_hidden_category(category) && !is_blank(character),
        };
        self.previous = Some(character);
        shown
    }

    /// Starts anew, as after a line end.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Whether the letter before can carry one more mark.
    fn carries(self, mark: char) -> bool {
        let Some(base) = self.previous else { return false };
        if mark == '\u{20e3}' {
            return base == '\u{fe0f}' || is_keycap_base(base);
        }
        if !is_general_mark(mark) {
            return self.stacked <= STACKED_SCRIPT_MARKS && (is_letter_or_mark(base) || is_joiner(base));
        }
        // On digits and signs a stroke only serves to strike out, or to turn `=` into `≠`.
        self.stacked <= STACKED_MARKS && is_letter_or_mark(base)
    }
}

/// Whether a text shows nothing: it has only spaces, and characters that are not seen as themselves.
pub fn shows_nothing(text: &str) -> bool {
    let mut sight = Sight::default();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if sight.shows(character, rest.peek().copied()) && !character.is_whitespace() {
            return false;
        }
    }
    true
}

/// Whether a character belongs to the one before it: a mark, a joiner or a selector.
pub fn attaches(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
        || matches!(
            get_general_category(character),
            Category::NonspacingMark | Category::EnclosingMark | Category::SpacingMark
        )
}

/// Whether a character is part of a word in some script: a letter, a digit or a mark.
pub(super) fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || attaches(character)
}

const fn is_hidden_category(category: Category) -> bool {
    matches!(
        category,
        Category::Control
            | Category::Format
            | Category::PrivateUse
            | Category::Surrogate
            | Category::Unassigned
            | Category::LineSeparator
            | Category::ParagraphSeparator
            // Every space but the plain one: it would pass for a plain one, or for nothing.
            | Category::SpaceSeparator
    )
}

/// Characters that are letters, marks or signs by category and yet paint nothing.
fn is_blank(character: char) -> bool {
    matches!(
        u32::from(character),
        0x034f            // combining grapheme joiner
            | 0x115f | 0x1160 | 0x3164 | 0xffa0 // Hangul fillers
            | 0x17b4 | 0x17b5 // Khmer inherent vowels
            | 0x180b..=0x180f // Mongolian selectors
            | 0x2800      // Braille blank
            | 0xfe00..=0xfe0f // variation selectors
            | 0xfffc      // object replacement
            | 0x16fe4     // Khitan filler
            | 0x1d159     // musical null notehead
            | 0xe0100..=0xe01ef // variation selectors
    )
}

/// Whether a joiner does what it is for: emoji of several parts, and letters of scripts whose shapes depend on it.
fn joins(previous: Option<char>, joiner: char, next: Option<char>) -> bool {
    let Some(before) = previous else { return false };
    let is_emoji_sequence = joiner == '\u{200d}'
        && (before == '\u{fe0f}' || is_pictograph(before))
        && next.is_some_and(is_pictograph);
    let in_brahmic = is_brahmic(before)
        && (is_virama(before) || (next.is_some_and(is_virama) && is_letter_or_mark(before)))
        && next.is_none_or(|after| !is_joiner(after));
    let in_cursive = is_cursive(before)
        && is_letter_or_mark(before)
        && match (joiner, next) {
            ('\u{200c}', next) => next.is_some_and(|after| is_cursive(after) && is_letter_or_mark(after)),
            // Between two letters that join anyway it would change nothing but the bytes.
            (_, next) => next.is_none_or(|after| !is_letter_or_mark(after) && !is_joiner(after)),
        };
    is_emoji_sequence || in_brahmic || in_cursive
}

const fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

const fn is_keycap_base(character: char) -> bool {
    matches!(character, '0'..='9' | '#' | '*')
}

fn is_letter_or_mark(character: char) -> bool {
    matches!(
        get_general_category(character),
        Category::UppercaseLetter
            | Category::LowercaseLetter
            | Category::TitlecaseLetter
            | Category::ModifierLetter
            | Category::OtherLetter
            | Category::NonspacingMark
            | Category::SpacingMark
            | Category::EnclosingMark
    ) && !is_blank(character)
}

/// Marks for letters of any script; the others belong to one script.
const fn is_general_mark(character: char) -> bool {
    matches!(
        character as u32,
        0x0300..=0x036f | 0x0483..=0x0489 | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f
    )
}

/// Scripts written from right to left, and Mongolian, whose letters join.
const fn is_cursive(character: char) -> bool {
    matches!(
        character as u32,
        0x0600..=0x07ff | 0x0840..=0x08ff | 0x1800..=0x18af | 0xfb50..=0xfdff | 0xfe70..=0xfeff | 0x1e900..=0x1e95f
    )
}

/// Scripts of India and around it.
const fn is_brahmic(character: char) -> bool {
    matches!(character as u32, 0x0900..=0x0dff | 0x1000..=0x109f | 0x1780..=0x17ff | 0xa8e0..=0xa8ff)
}

const fn is_virama(character: char) -> bool {
    matches!(
        character as u32,
        0x094d
            | 0x09cd
            | 0x0a4d
            | 0x0acd
            | 0x0b4d
            | 0x0bcd
            | 0x0c4d
            | 0x0ccd
            | 0x0d3b
            | 0x0d3c
            | 0x0d4d
            | 0x0dca
            | 0x1039
            | 0x103a
            | 0x17d2
    )
}

const fn is_pictograph(character: char) -> bool {
    matches!(
        character as u32,
        0xa9 | 0xae | 0x203c | 0x2049 | 0x2122 | 0x2139 | 0x2190..=0x21ff | 0x2300..=0x23ff | 0x24c2
            | 0x25a0..=0x27bf | 0x2900..=0x297f | 0x2b00..=0x2bff | 0x3030 | 0x303d | 0x3297 | 0x3299
            | 0x1f000..=0x1faff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters of a text that do not show themselves.
    fn hidden(text: &str) -> Vec<char> {
        let mut sight = Sight::default();
        let mut rest = text.chars().peekable();
        let mut found = Vec::new();
        while let Some(character) = rest.next() {
            if !sight.shows(character, rest.peek().copied()) {
                found.push(character);
            }
        }
        found
    }

    #[test]
    fn every_control_format_private_unassigned_or_blank_character_is_hidden() {
        let near = ('\0'..'\u{20000}').chain('\u{e0000}'..'\u{e0400}');
        // The planes beyond are unassigned or private as a whole: samples are enough.
        let far = ('\u{20000}'..=char::MAX).step_by(97);
        let mut count = 0;
        for character in near.chain(far).filter(|&character| character != ' ' && !is_joiner(character)) {
            if is_hidden_category(get_general_category(character)) || is_blank(character) {
                assert_eq!(hidden(&format!("a{character}b")), [character], "{:04X}", u32::from(character));
                count += 1;
            }
        }
        assert!(count > 10_000, "{count}");
        for named in
            "\u{70f}\u{110bd}\u{16fe4}\u{e0041}\u{61c}\u{2028}\u{3164}\u{115f}\u{85}\u{9b}\u{13430}".chars()
        {
            assert_eq!(hidden(&format!("a{named}b")), [named], "{:04X}", u32::from(named));
        }
        for joiner in ['\u{200c}', '\u{200d}'] {
            assert_eq!(hidden(&format!("a{joiner}b")), [joiner]);
        }
    }

    #[test]
    fn words_of_many_scripts_show_themselves() {
        for text in [
            "Grüße, naïve café e\u{301} a\u{308}",
            "Ωμέγα Ђорђе Ղևոնդ ქართული",
            "שָׁלוֹם",
            "مُحَمَّد",
            "می\u{200c}خواهم",
            "ه\u{200d} ",
            "क्षत्रिय क्\u{200d}ष क्\u{200c}ष",
            "ন\u{9cd}\u{200d} র\u{200d}\u{9cd}য",
            "ശ്രീ ന\u{d4d}\u{200d}",
            "ශ\u{dca}\u{200d}ර\u{dd3}",
            "ไทย ที่นี่ ពាក្យ မြို့ ခွို့ བསྒྲུབས",
            "日本語 ｶﾞ 한국어 株式会社",
            "Việt Nam e\u{302}\u{301}",
            "✓ € £ ½ №",
        ] {
            assert_eq!(hidden(text), Vec::<char>::new(), "{text}");
        }
    }

    #[test]
    fn a_text_of_hidden_characters_and_spaces_shows_nothing() {
        for text in [
            "",
            " \t\n",
            "\u{200b}\u{a0}",
            "\u{3164} \u{2800}",
            "\u{200d}",
            "\u{e000}",
            "\u{e0041}",
            "\u{16fe4}",
            "\u{301}",
            "\u{fe0f}",
            "\u{fff9}\u{85}",
            "\u{378}",
        ] {
            assert!(shows_nothing(text), "{text:?}");
        }
        for text in ["x", " \u{200b}.", "é", "日", "👍🏽", "\u{200f}שָׁלוֹם"] {
            assert!(!shows_nothing(text), "{text:?}");
        }
    }

    #[test]
    fn emoji_show_themselves() {
        for text in [
            "👩\u{200d}👧",
            "❤\u{fe0f}",
            "❤\u{fe0f}\u{200d}🔥",
            "1\u{fe0f}\u{20e3}",
            "👍🏽",
            "🏳\u{fe0f}\u{200d}🌈",
            "👩🏽\u{200d}💻",
            "🇩🇪",
        ] {
            assert_eq!(hidden(text), Vec::<char>::new(), "{text}");
        }
    }

    #[test]
    fn what_makes_emoji_and_scripts_readable_does_not_smuggle() {
        assert_eq!(hidden("❤\u{fe0f}\u{fe0f}"), ['\u{fe0f}']);
        assert_eq!(hidden("a\u{fe0f}b1\u{fe0f}2"), ['\u{fe0f}', '\u{fe0f}']);
        assert_eq!(hidden("ب\u{200d}ب"), ['\u{200d}']);
        assert_eq!(hidden("می\u{200c}\u{200c}خ"), ['\u{200c}', '\u{200c}']);
        assert_eq!(hidden("क\u{200d}क"), ['\u{200d}']);
        assert_eq!(hidden("क\u{94d}\u{200d}\u{200d}ष"), ['\u{200d}', '\u{200d}']);
        assert_eq!(hidden("👩\u{200d}a"), ['\u{200d}']);
        assert_eq!(hidden("葛\u{e0100}"), ['\u{e0100}']);
    }

    #[test]
    fn marks_end_at_a_small_number_and_stand_on_letters_only() {
        for mark in ['\u{301}', '\u{336}', '\u{20dd}', '\u{489}', '\u{1dc4}'] {
            assert_eq!(hidden(&format!("o{}", mark.to_string().repeat(40))).len(), 37);
            assert_eq!(hidden(&mark.to_string()), [mark]);
            assert_eq!(hidden(&format!("5{mark}0")), [mark]);
            assert_eq!(hidden(&format!("a {mark}")), [mark]);
        }
        for mark in ['\u{e47}', '\u{5b0}', '\u{64b}', '\u{f74}', '\u{1e94a}'] {
            assert_eq!(hidden(&format!("ก{}", mark.to_string().repeat(40))).len(), 35);
        }
        assert_eq!(hidden("5\u{20e3}"), Vec::<char>::new());
    }
}
