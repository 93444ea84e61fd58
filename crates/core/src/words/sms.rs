//! A text message: the title, who asks, and the link, whole and on a line of its own.
//!
//! Nothing before the link can become one, so it stays the only link of the text.

use super::text::{elided_in_ascii, unlinked};
use super::{LetterFacts, May, Title};

/// Septets of one text in the GSM alphabet, and of each part of a longer one (3GPP TS 23.038 and 23.040).
const GSM_SINGLE: usize = 160;
const GSM_PART: usize = 153;
/// UTF-16 units of one text in UCS-2, and of each part of a longer one.
const UCS2_SINGLE: usize = 70;
const UCS2_PART: usize = 67;
/// With less room than this for words, a text takes another part.
const LEAST_WORDS: usize = 40;

/// The GSM default alphabet, one septet each.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿\
                   abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension table, two septets each.
const GSM_EXTENSION: &str = "^{}\\[~]|€";

/// The words of a text: what will be done, who asks, and the reviewer's link.
///
/// One segment where the GSM alphabet is enough; two, in UCS-2, where it is not. The link is never cut.
pub fn sms(facts: &LetterFacts<'_>) -> String {
    let purpose = match facts.may {
        May::Decide => "asks:",
        May::RejectOnly => "asks (you can only reject):",
    };
    let client = elided_in_ascii(&unlinked(facts.client), 24);
    // The sign of what was cut out is not in the GSM alphabet.
    let with =
        |title: &str| format!("{}\n{client} {purpose}\n{}", title.replace('\u{2026}', "..."), facts.url);
    // Whether the words need UCS-2 shows only when they are chosen; fewer words may need it less.
    let title = Title::that_fits(facts.title, facts.action, facts.payload, |title| fits(facts, &with(title)));
    let line = title.line();
    let whole = with(&line);
    if fits(facts, &whole) {
        return whole;
    }
    // A rule's own words can be longer than a text: what is left out then is their middle.
    let longest = line.chars().count();
    (0..longest)
        .rev()
        .map(|most| with(&elided_in_ascii(&line, most)))
        .find(|text| fits(facts, text))
        .unwrap_or_else(|| with(""))
}

/// Whether a text is no longer than it may be.
fn fits(facts: &LetterFacts<'_>, text: &str) -> bool {
    let (units, room) = match septets(text) {
        Some(septets) => (septets, capacity(facts.url, GSM_SINGLE, GSM_PART, 1)),
        None => (text.encode_utf16().count(), capacity(facts.url, UCS2_SINGLE, UCS2_PART, 2)),
    };
    units <= room
}

/// How many septets a text takes, if the GSM alphabet has all its characters.
fn septets(text: &str) -> Option<usize> {
    text.chars()
        .map(|character| match character {
            _ if GSM.contains(character) => Some(1),
            _ if GSM_EXTENSION.contains(character) => Some(2),
            _ => None,
        })
        .sum()
}

/// Units of as few parts as hold the link and some words.
fn capacity(url: &str, single: usize, part: usize, least_parts: usize) -> usize {
    let wanted = url.chars().count() + LEAST_WORDS;
    if least_parts == 1 && wanted <= single {
        return single;
    }
    wanted.div_ceil(part).max(least_parts).max(2) * part
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::facts;
    use super::*;

    const SHORT_URL: &str = "https://gate.example.com/r/7Oc3qJhFGg2UcqgUZTmC4l3ulr9DFQDNque81gWprAQ91";

    fn text_of(payload: &Value, url: &str) -> String {
        sms(&LetterFacts { payload, url, ..facts(payload) })
    }

    #[test]
    fn a_text_in_the_gsm_alphabet_is_one_segment_with_the_title_first_and_the_whole_link() {
        let text = text_of(&json!({"amount": 5000, "currency": "EUR", "to": "Müller & Söhne"}), SHORT_URL);
        assert_eq!(text, format!("Pay 5,000.00 EUR to Müller & Söhne\nn8n asks:\n{SHORT_URL}"));
        assert!(septets(&text).unwrap() <= 160);
    }

    #[test]
    fn long_words_are_left_out_and_the_link_never_is() {
        for url in [
            SHORT_URL,
            super::super::tests::URL,
            &format!("https://{}.example.com/r/{}", "long".repeat(30), "x".repeat(45)),
        ] {
            for value in
                ["x".repeat(900), "a.co ".repeat(50), "€{}[]~^|".repeat(40), "“ő” 発注 🎉".repeat(40)]
            {
                let text =
                    text_of(&json!({"amount": 5000, "currency": "EUR", "to": value, "note": value}), url);
                assert!(text.ends_with(&format!("\nn8n asks:\n{url}")), "{text}");
                assert!(text.starts_with("Pay 5,000.00 EUR to "), "{text}");
                assert!(!text.contains('?'), "{text}");
                let (units, most) = match septets(&text) {
                    Some(septets) => (septets, if url.len() <= 120 { 160 } else { 306 }),
                    None => (text.encode_utf16().count(), if url.len() <= 94 { 134 } else { 268 }),
                };
                assert!(units <= most, "{units} units: {text}");
            }
        }
    }

    #[test]
    fn what_the_gsm_alphabet_lacks_is_written_in_ucs2_in_two_segments() {
        for name in ["山田太郎", "Иван Петров", "Łódź", "Nguyễn"] {
            let text = text_of(&json!({"to": name}), SHORT_URL);
            assert!(text.contains(name), "{text}");
            assert!(septets(&text).is_none() && text.encode_utf16().count() <= 134);
        }
    }

    #[test]
    fn the_extension_table_costs_two_septets() {
        assert_eq!(septets("a€[]\né"), Some(9));
        assert_eq!(septets("ő"), None);
        assert_eq!((GSM.chars().count(), GSM_EXTENSION.chars().count()), (127, 9));
    }

    #[test]
    fn a_payload_puts_no_link_into_a_text() {
        for value in ["evil.com?x@y", "1.2.3.4/r/abc", "tel:+19005550100", "mailto:a@evil.com"] {
            let text = text_of(&json!({"to": value}), SHORT_URL);
            assert!(text.ends_with(&format!("\n{SHORT_URL}")) && !text.contains(value), "{text}");
        }
    }

    #[test]
    fn the_owner_reads_that_only_no_is_theirs_to_say() {
        let payload = json!({"to": "x"});
        let text = sms(&LetterFacts { may: May::RejectOnly, ..facts(&payload) });
        assert!(text.contains("\nn8n asks (you can only reject):\n"), "{text}");
    }
}
