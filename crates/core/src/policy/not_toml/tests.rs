//! Files that are not TOML, as people write them, and what each is told.

use proptest::prelude::*;
use toml::de::DeTable;

use super::look;
use crate::policy::{Diagnostic, Policy};

const POLICY: &str = r#"[[clients]]
id = "agent"
owner = "bob"

[[reviewers]]
id = "bob"
roles = ["finance"]

[[rules]]
name = "payments"
when = 'action.startsWith("payment.")'
stages = [{ ask = ["finance"], within = "10m" }]
"#;

/// The only fault of a file.
fn fault(text: &str) -> Diagnostic {
    let faults = Policy::read(text).expect_err(text);
    let [fault] = faults.as_slice() else { panic!("{text}\n{faults:#?}") };
    fault.clone()
}

/// What is under the carets, the message and the help.
fn told(text: &str) -> (String, String, String) {
    let fault = fault(text);
    let line = fault.excerpt.unwrap_or_default();
    let marked = line.chars().skip(fault.column - 1).take(fault.width).collect();
    (marked, fault.message, fault.help.unwrap_or_default())
}

#[test]
fn each_mistake_of_form_is_one_fault_with_its_place_and_what_was_meant() {
    let (name, when) = (r#"name = "payments""#, r#"when = 'action.startsWith("payment.")'"#);
    let (roles, stages) = (r#"roles = ["finance"]"#, r#"stages = [{ ask = ["finance"], within = "10m" }]"#);
    let head = "[[rules]]";
    #[rustfmt::skip]
    let rows: &[(&str, &str, &str, &str, &str)] = &[
        (name, "name = \"payments", "\"payments", "this text is not closed on its line", "end it with `\"`"),
        (when, "when = 'a == b &&\n  c == d'", "'a == b &&", "this text is not closed on its line", "a text of several lines begins and ends with `'''`"),
        (when, "when = '''a == b", "'''", "this text is never closed", "end it with `'''`"),
        (name, "name \"payments\"", "name", "there is no `=` between `name` and its value", "write `name = \"payments\"`"),
        (name, "name: \"payments\"", ":", "between a key and its value is `=`, not `:`", "write `name = \"payments\"`"),
        (name, "name: payments", ":", "between a key and its value is `=`, not `:`", "write `name = \"payments\"`"),
        (name, "name == \"payments\"", "==", "between a key and its value is one `=`, not `==`", "write `name = …`"),
        (name, "name = payments", "payments", "`payments` needs quotation marks: only numbers, dates, `true` and `false` go without", "write \"payments\""),
        (name, "name =", "=", "`name` has no value", "write what it is behind the `=`, such as `name = \"…\"`"),
        (name, "name", "name", "`name` has no value", "write `name = …`"),
        (name, "name = “payments”", "“", "`“` is a typographic quotation mark", "write \"payments\" with plain ones"),
        (name, "name\u{a0}= \"payments\"", "\u{a0}", "this is not a plain space but another blank (U+00A0)", "type a space instead"),
        (name, "\u{feff}name = \"payments\"", "\u{feff}", "there is an invisible character here (U+FEFF)", "delete it"),
        (name, "name = \"payments\",", ",", "a line does not end with `,`", "delete it"),
        (name, "name = \"payments\" urgent = true", "urgent", "`urgent` needs a line of its own", "put `urgent = …` on the next line"),
        (name, "name = \"payments\"\nname = \"x\"", "name", "`name` is here a second time", "it is in line 10 already: delete one of the two"),
        (name, "name = \"payments\"\nvalid for = \"1h\"", "valid for", "a key has no spaces", "write `valid_for = …`"),
        (name, "name = \"payments\"\nconfirm = True", "True", "`True` is not a value", "write `true`"),
        (name, "name = \"payments\"\nconfirm = yes", "yes", "`yes` is not a value", "write `true`"),
        (name, "name = \"payments\"\ntitle = null", "null", "TOML has no `null`", "leave the key out"),
        (name, "// payments\nname = \"payments\"", "//", "`//` does not begin a comment here", "comments begin with `#`"),
        (name, "- name: payments", "-", "`-` begins an item of a list in YAML, but this is TOML", "write `[[rules]]` above each rule, and its keys below it as `key = value`"),
        (name, "<<<<<<< HEAD\nname = \"payments\"", "<<<<<<<", "this is a mark of a merge that was not finished", "keep one of the two versions, and delete the marks"),
        (when, "when = \"action == \"payment.send\"\"", "\"", "this quotation mark ends the text, but more of it seems to follow", "write `when = 'action == \"payment.send\"'`"),
        (when, "when = 'action == 'payment.send''", "'", "this quotation mark ends the text, but more of it seems to follow", "write `when = 'action == \"payment.send\"'`"),
        (when, "when = action == \"payment.send\"", "action == \"payment.send\"", "`action == \"payment.send\"` needs quotation marks: only numbers, dates, `true` and `false` go without", "write 'action == \"payment.send\"'"),
        (when, "when = \"payload.to.matches('\\d+')\"", "\\d", "`\\d` means nothing in a text with double quotes", "put the text into single quotes, where a backslash is only a backslash, or write `\\\\`"),
        (roles, "roles = [finance]", "finance", "`finance` needs quotation marks: only numbers, dates, `true` and `false` go without", "write \"finance\""),
        (roles, "roles = [\"finance\"", "[", "this `[` of `roles` is never closed", "put a `]` behind its last item"),
        (roles, "roles = [\"finance\" \"owners\"]", "\"owners\"", "a comma is missing before this: it goes between two items of a list", "put a `,` before it"),
        (roles, "roles = [\"finance\"]]", "]", "this `]` closes nothing", "delete it"),
        (roles, "roles = [\"finance\"]\nphone = +1 555 0100", "+1 555 0100", "`+1 555 0100` is not a number", "write \"+1 555 0100\""),
        (roles, "roles = [\"finance\"]\ntelegram = 123,456", "123,456", "`123,456` is not a number", "a number has digits and one point: `1250.5`; anything else is a text in quotes"),
        (roles, "roles = [\"finance\"]\naway = [{ from = 20.12.2026, until = 2027-01-04 }]", "20.12.2026", "`20.12.2026` is not a date of the calendar, as year, month and day", "write it like `2026-12-20`"),
        (stages, "stages = [{ ask = [\"finance\"], within = 10m }]", "10m", "`10m` needs quotation marks", "write \"10m\""),
        (stages, "stages = [{ \"ask\": [\"finance\"] }]", ":", "between a key and its value is `=`, not `:`", "write `ask = …`"),
        (stages, "stages = [{ ask = [\"finance\"] within = \"1h\" }]", "within", "a comma is missing before this: it goes between two keys in braces", "put a `,` before it"),
        (stages, "stages = [{ ask = [\"finance\"], within = \"1h\" ]", "{", "this `{` of `stages` is never closed", "put a `}` behind its last value"),
        (stages, "stages = [\n  { ask = [\"finance\"], within = \"1h\" },\n[[rules]]\nname = \"x\"", "[", "this `[` of `stages` is never closed", "put a `]` behind its last item"),
        (head, "[[rules]", "[[rules]", "the brackets around this table's name do not match", "write `[[rules]]`"),
        (head, "[[rules", "[[rules", "the name of this table is not closed", "write `[[rules]]`"),
        (head, "[[rule \"payments\"]]", "[[rule \"payments\"]]", "this is not a table's name", "write `[[rules]]`, and `name = \"payments\"` below it"),
        (head, "[[rules]] urgent = true", "urgent = true", "only a comment may follow a table's name", "put this on a line of its own"),
        (head, "[rules]\nname = \"x\"\n[rules]", "rules", "the table `rules` is here a second time", "write `[[rules]]` with two brackets on each side, above each of them"),
        (head, "rules:", ":", "between a key and its value is `=`, not `:`", "write `[[rules]]`, once for each, and its keys below it as `key = value`"),
        (head, "rule payments {", "rule payments {", "TOML has no blocks in braces", "write `[[rules]]`, and its keys below it as `key = value`"),
    ];
    for (from, to, marked, message, help) in rows {
        assert!(POLICY.contains(from), "{from}");
        let text = POLICY.replacen(from, to, 1);
        let found = told(&text);
        assert_eq!(
            (found.0.as_str(), found.1.as_str(), found.2.as_str()),
            (*marked, *message, *help),
            "{to}"
        );
        // The same file from another system: its line ends and its mark are nobody's mistake.
        let windows = text.replace('\n', "\r\n");
        assert_eq!(told(&windows), found, "{to}");
    }
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name() {
    for (text, message) in [
        ("{\n  \"clients\": []\n}\n", "this is JSON, not TOML"),
        ("<!DOCTYPE html>\n<html></html>\n", "this is HTML or XML, not TOML"),
        ("---\nclients: []\n", "this is YAML, not TOML"),
        ("```toml\n[[rules]]\n```\n", "this is Markdown, not TOML"),
        ("* @alice @bob\n/payments/ @finance\n", "this line is neither `key = value` nor `[[table]]`"),
        ("Ask Bob before any payment.\n", "this line is neither `key = value` nor `[[table]]`"),
    ] {
        let (_, told, help) = told(text);
        assert_eq!((told.as_str(), help.contains("placet init")), (message, true), "{text}");
    }
}

#[test]
fn what_the_parser_reads_is_fine_and_what_it_refuses_is_told_once_in_our_words() {
    let parsers = ["expected", "invalid", "unexpected", "literal string", "extra `="];
    proptest!(|(
        at: prop::sample::Index,
        drop in 0_usize..4,
        extra in "([\\[\\]{}=\",'\n:#0-9a-z. “\\\\-]|'''|\"\"\"|\r\n|\t|name = ){0,4}"
    )| {
        let start = at.index(POLICY.len());
        let end = (start + drop).min(POLICY.len());
        let text = format!("{}{extra}{}", &POLICY[..start], &POLICY[end..]);
        let (_, errors) = DeTable::parse_recoverable(&text);
        if errors.is_empty() {
            prop_assert_eq!(look(&text), Ok(()), "{}", text);
        } else {
            let fault = fault(&text);
            prop_assert!(!parsers.iter().any(|word| fault.message.starts_with(word)), "{}", fault);
        }
    });
}
