use super::*;

fn found(pattern: &str, text: &str) -> Result<bool, EvalError> {
    let compiled = Pattern::compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
    compiled.is_found_in(text, &Budget::new(1_000_000))
}

#[test]
fn patterns_mean_what_re2_says() {
    for (pattern, text, expected) in [
        ("@example[.]com$", "a@example.com", true),
        ("^asa", "Asa", false),
        ("(?i)^ASA@", "asa@x", true),
        ("(?i)kiss", "\u{212a}I\u{17f}S", true),
        ("kiss", "\u{212a}i\u{17f}s", false),
        ("(?i)[^k]", "\u{212a}", false),
        ("^.sa", "Åsa", true),
        ("^\\w+$", "Åsa", false),
        ("\\d", "٣", false),
        ("\\s", "\u{b}", false),
        ("[\\s]", "\u{b}", false),
        ("\\S", "\u{b}", true),
        ("[[:space:]]", "\u{b}", true),
        ("\\s", "\t", true),
        ("^\\<b\\>$", "<b>", true),
        ("a.c", "a\nc", false),
        ("(?s)a.c", "a\nc", true),
        ("^b", "a\nb", false),
        ("(?m)^b", "a\nb", true),
        ("a$", "a\n", false),
        ("a\\z", "a\n", false),
        ("[^a]", "\n", true),
        ("[]a]", "]", true),
        ("[^]a]", "]", false),
        ("[a&&b]", "&", true),
        ("[a~~b]", "~", true),
        ("[a-]", "-", true),
        ("[-a]", "-", true),
        ("[[a]", "[", true),
        ("^a{2,3}$", "aaaa", false),
        ("^(?:ab){2}$", "abab", true),
        ("\\x41\\x{e5}", "Aå", true),
        ("(?P<year>\\d{4})-\\d\\d", "2026-11", true),
        ("", "anything", true),
        ("a|", "b", true),
        ("\\bfoo\\b", "a foo b", true),
        ("x*?y+?", "y", true),
        ("müller", "Herr müller", true),
        ("[üÜ]", "Ü", true),
    ] {
        assert_eq!(found(pattern, text), Ok(expected), "{pattern} {text:?}");
    }
    // A word's edge beside a letter that is ASCII only when its case is ignored cannot be decided as RE2 does.
    assert_eq!(found("(?i)\\bk", "\u{212a}"), Err(EvalError::Unreadable));
    assert_eq!(found("(?i)\\bk", "K"), Ok(true));
}

#[test]
fn what_re2_reads_differently_or_costs_too_much_is_refused() {
    for (pattern, told) in [
        ("(?i)müller", "ASCII letters only"),
        ("(?i)m\\x{fc}ller", "ASCII letters only"),
        ("(?i)[a-ÿ]", "ASCII letters only"),
        ("a(?i)b", "write `(?i)` at its start"),
        ("(?i:a)b", "write `(?i)` at its start"),
        ("(?-i)a", "write `(?i)` at its start"),
        ("(?x) a", "after `(?`"),
        ("(?u)a", "after `(?`"),
        ("(?=a)", "after `(?`"),
        ("(?<=a)", "after `(?`"),
        ("\\pL", "classes of Unicode"),
        ("\\p{Greek}", "classes of Unicode"),
        ("\\u00e5", "means nothing"),
        ("\\Qa\\E", "means nothing"),
        ("\\1", "means nothing"),
        ("\\Z", "means nothing"),
        ("\\b{start}", "cannot be followed"),
        ("a**", "repeats what is repeated"),
        ("a*+", "repeats what is repeated"),
        ("a{2}{3}", "repeats what is repeated"),
        ("^*", "repeats what is repeated"),
        ("*a", "needs something before it"),
        ("(|*a)", "needs something before it"),
        ("a{", "begins a count"),
        ("a{,3}", "begins a count"),
        ("a{x}", "begins a count"),
        ("{2}", "needs something before it"),
        ("a{3,2}", "first number is larger"),
        ("a{201}", "200 at most"),
        ("a{99999}", "begins a count"),
        ("(a{20}){20}", "multiplied"),
        ("((a{10}b{2}){5}){5}", "multiplied"),
        ("(abcdefghij){101}", "too large"),
        ("a}", "without its beginning"),
        ("a]", "without its beginning"),
        ("(", "without its `)`"),
        ("a)", "without its `(`"),
        ("[a", "without its `]`"),
        ("[", "without its `]`"),
        ("[b-a]", "runs backwards"),
        ("[a-\\d]", "two characters"),
        ("[a-b-c]", "another `-`"),
        ("[\\D]", "inside `[…]`"),
        ("[[:alfa:]]", "is not a class"),
        ("\\", "lone"),
        ("\\x4", "two hexadecimal"),
        ("\\x{110000}", "names no character"),
    ] {
        let why = Pattern::compile(pattern).map(|_| ()).expect_err(pattern);
        assert!(why.contains(told), "{pattern}: {why}");
    }
    assert!(Pattern::compile(&"(".repeat(500)).is_err());
    assert!(Pattern::compile("(a{10}){20}").is_ok());
}

#[test]
fn a_long_text_costs_steps() {
    let pattern = Pattern::compile("(?:a|b|ab){50}c").unwrap();
    let budget = Budget::new(super::super::budget::STEPS);
    assert_eq!(pattern.is_found_in(&"ab".repeat(100), &budget), Ok(false));
    assert_eq!(pattern.is_found_in(&"ab".repeat(30_000), &budget), Err(EvalError::TooManySteps));
}

#[test]
fn no_pattern_panics_and_what_is_taken_compiles() {
    use proptest::prelude::*;
    proptest!(|(pattern in "[\\[\\](){}?*+|^$.\\\\abk0-9,:<>&~é-]{0,24}", text in "[abk]{0,20}")| {
        if let Ok(pattern) = Pattern::compile(&pattern) {
            let _ = pattern.is_found_in(&text, &Budget::new(1_000_000));
        }
    });
}
