use proptest::prelude::*;
use regex_lite::Regex;

use super::*;

fn text(line: &str) -> String {
    broken(line, Linker::Text)
}

#[test]
fn the_tables_are_sorted() {
    assert!(TOP_LEVEL_DOMAINS.is_sorted() && TOP_LEVEL_DOMAINS.len() > 1400);
    assert!(BARE_SCHEMES.is_sorted());
    assert!(["com", "zip", "de", "рф", "中国"].iter().all(|known| TOP_LEVEL_DOMAINS.contains(known)));
}

#[test]
fn what_programs_link_is_broken() {
    for (line, expected) in [
        ("see https://evil.com/x?a=b.c now", "see https[:]//evil[.]com/x?a=b.c now"),
        ("HTTPS://EVIL.COM", "HTTPS[:]//EVIL[.]COM"),
        ("https://localhost/x", "https[:]//local[host]/x"),
        ("http://[::1]/x", "http[:][//][::1]/x"),
        ("//evil.internal //1.2", "//evil[.]internal //1[.]2"),
        ("https://👍.x/a.pdf //$^x.y.z", "https[:]//👍[.]x/a.pdf //$^x[.]y[.]z"),
        ("evil.comａ localhostİ 0.comａmailto:x", "evil[.]comａ local[host]İ 0[.]comａmailto[:]x"),
        ("x@y~a.b é5mailto:x ß2localhost", "x@y~a[.]b é5mailto[:]x ß2local[host]"),
        ("https:\\\\evil.com", "https[:][\\\\]evil[.]com"),
        ("www.evil.com, evil.com", "www[.]evil[.]com, evil[.]com"),
        ("www.evil", "www[.]evil"),
        ("evil.com?x@y", "evil[.]com?x@y"),
        ("evil.com,a@b", "evil[.]com,a@b"),
        ("evil.com#a@b", "evil[.]com#a@b"),
        ("https://a@evil.com", "https[:]//a@evil[.]com"),
        ("https://bank.com@evil.com", "https[:]//bank[.]com@evil[.]com"),
        ("1.2.3.4/r/abc", "1[.]2[.]3[.]4/r/abc"),
        ("at 10.0.0.1", "at 10[.]0[.]0[.]1"),
        ("acme@example.com", "acme@example[.]com"),
        ("a@corp.internal", "a@corp[.]internal"),
        ("x@localhost", "x@local[host]"),
        ("mailto:a@evil.com?subject=x", "mailto[:]a@evil[.]com?subject=x"),
        ("tel:+19005550100", "tel[:]+1900[5550]100"),
        ("javascript:alert(1)", "javascript[:]alert(1)"),
        ("custom-app://open", "custom-app[:]//open"),
        ("evil。com evil．com evil｡com evil․com", "evil[。]com evil[．]com evil[｡]com evil[․]com"),
        ("ｅｖｉｌ．ｃｏｍ", "ｅｖｉｌ[．]ｃｏｍ"),
        ("пример.рф xn--e1a.xn--p1ai", "пример[.]рф xn--e1a[.]xn--p1ai"),
        ("evil.com的 evil.com-x i❤.ws", "evil[.]com的 evil[.]com-x i❤[.]ws"),
        ("intranet.corp/login intranet.corp:8080", "intranet[.]corp/login intranet[.]corp:8080"),
        ("(evil.com) <evil.com> \"evil.com\"", "(evil[.]com) <evil[.]com> \"evil[.]com\""),
        ("\\\\server\\share", "[\\\\]server\\share"),
        ("+1 900 555 0199", "+1 [900] 555 [0199]"),
        ("(900) 555-0199", "(900) [555]-0199"),
        ("1-900-555-0199", "1-[900]-555-[0199]"),
        ("01 23 45 67 89", "01 [23] 45 [67] 89"),
        ("0049 30 1234567", "0049 [30] 1234567"),
        ("01715550100", "0171[5550]100"),
        ("main.py", "main[.]py"),
    ] {
        assert_eq!(text(line), expected);
        assert_eq!(text(expected), expected, "a second time");
    }
}

#[test]
fn what_no_program_links_stays_as_it_is() {
    for line in [
        "invoice.pay: amount 5000, currency EUR",
        "label.pdf report.2026.xlsx src/main.txt /etc/hosts C:\\temp\\a.txt",
        "payment.send refund.create user.delete",
        "19.50 -5 1250000.5 0.000001 1e300 v1.4.2 1.4.2 10.0.19041.1",
        "1 250 000 1.250.000 2026-11-26 26.11.2026 2026-11-26 14:05",
        "2@19.50 @19.50",
        "DE89370400440532013000 9007199254740991 4711/2026 #4711 @bob",
        "end. Next sentence... e.g. this, i.e. that (etc.)",
        "処理しました。次に進みます。",
        "note:hello 12:30 Re: hello a:b",
        "localhosts mylocalhost and/or 50% a@b a & b <U+202E>",
        "invoice-2026-0042317 aefa 05fa 18f3",
    ] {
        assert_eq!(text(line), line);
    }
}

#[test]
fn a_chat_links_names_tags_and_commands_too() {
    assert_eq!(broken("@👍 #❤", Linker::Chat), "[@]👍 [#]❤");
    let line = "@here ask @bob /start #deploy a@b and/or";
    assert_eq!(text(line), line);
    assert_eq!(broken(line, Linker::Chat), "[@]here ask [@]bob [/]start [#]deploy a[@]b and/or");
}

/// More than any program links.
static LIBERAL: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?i)[a-z][a-z0-9+.-]*:(//|\\\\)",
        r"(?i)(^|[^a-z0-9])(mailto|tel|sms|javascript|data|https?|ftp|file|bitcoin|magnet):[^\s]",
        r"(?i)[^\s.。．｡․\[]+[.。．｡․](com|net|org|de|io|co|zip|app|рф|中国|xn--[a-z0-9]+)([^a-z0-9]|$)",
        r"(?i)(^|[^a-z0-9])www[0-9]*\.[a-z0-9]",
        r"(^|[^0-9.])(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}([^0-9.]|$)",
        r"(?i)[^\s@\[\]]+@[a-z0-9-]+\.[a-z]",
        r"(?i)//([^\s/\[]*@)?(localhost([^a-z0-9]|$)|\[[0-9a-f]*:[0-9a-f]*:[0-9a-f:]*\]|[a-z0-9-]+\.[a-z0-9])",
        r"\+([0-9][ ().-]{0,3}){7}",
        r"(^|[\s(,;])\(?[2-9][0-9]{2}\)?[-. ][2-9][0-9]{2}[-. ][0-9]{4}([^0-9]|$)",
    ]
    .iter()
    .map(|pattern| Regex::new(pattern).unwrap())
    .collect()
});

fn parts() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "https://",
        "http:",
        "//",
        ":",
        "mailto:",
        "tel:",
        "javascript:",
        "www.",
        "evil",
        "bank",
        "com",
        "de",
        "io",
        "zip",
        "рф",
        "中国",
        "co",
        "xn--p1ai",
        ".",
        "。",
        "．",
        "｡",
        "․",
        "..",
        "@",
        "?x@y",
        "#",
        "/",
        "\\",
        "\\\\",
        "localhost",
        "[::1]",
        "[",
        "]",
        "[.]",
        "(",
        ")",
        "<",
        ">",
        "\"",
        "'",
        ",",
        " ",
        "-",
        "_",
        "+",
        "1.2.3.4",
        "127.0.0.1",
        "10",
        "255",
        "0",
        "900",
        "555",
        "0199",
        "19005550100",
        "\u{200b}",
        "\u{202e}",
        "\n",
        "\t",
        "é",
        "的",
        "❤",
        "a",
        "pay",
        "invoice",
        ":8080",
        "%2e",
        "&",
        "*",
        "`",
    ])
    .prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![8 => known, 1 => "\\PC{1,4}"], 1..14).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_left_that_even_a_liberal_program_links(line in parts()) {
        let safe = crate::words::unlinked(&line);
        for pattern in LIBERAL.iter() {
            prop_assert!(pattern.find(&safe).is_none(), "{pattern}: {safe}");
        }
        let chat = crate::words::unlinked_in_chat(&line);
        prop_assert!(!chat.split_whitespace().any(|word| word.starts_with(['@', '#']) && word.chars().nth(1).is_some_and(char::is_alphanumeric)), "{chat}");
    }

    #[test]
    fn a_broken_line_stays_as_it_is_and_loses_nothing(line in parts()) {
        let once = text(&line);
        prop_assert_eq!(text(&once), once.clone());
        let without = |text: &str| text.replace(['[', ']'], "");
        prop_assert_eq!(without(&once), without(&line));
    }
}
