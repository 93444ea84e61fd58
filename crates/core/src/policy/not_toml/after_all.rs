//! What has the form of TOML, and yet is none: keys that are there twice, dates that no calendar has.

use std::ops::Range;

use super::FormFault;
use super::line::list_like;

/// The fault at the parser's place. Its message tells the kind, and is shown to nobody.
pub(super) fn explain(text: &str, span: Range<usize>, kind: &str) -> FormFault {
    let word = text.get(span.clone()).unwrap_or_default().trim().to_owned();
    if kind.starts_with("duplicate key") {
        return twice(text, span, &word);
    }
    if kind.starts_with("cannot extend") {
        return FormFault::new(
            span,
            format!("`{word}` has a value already, so it cannot have keys of its own"),
        )
        .help("delete one of the two");
    }
    if ["invalid date", "invalid time", "invalid offset"].iter().any(|start| kind.starts_with(start)) {
        return FormFault::new(span, format!("`{word}` is not a date or time of the calendar"))
            .help("write it like `2026-12-20` or `2026-12-20T18:00:00Z`");
    }
    if kind.starts_with("invalid comment") || kind.starts_with("carriage return") {
        return FormFault::new(span, "there is a control character here").help("delete it");
    }
    FormFault::new(span, "this cannot be read as TOML from here on")
        .help("a policy is written in TOML: `placet init` writes one to compare with")
}

fn twice(text: &str, span: Range<usize>, word: &str) -> FormFault {
    let before = text.get(..span.start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let head = before.get(line_start..).unwrap_or_default().trim_start();
    if head.starts_with('[') && head.chars().all(|c| c == '[' || c.is_whitespace()) {
        let fault = FormFault::new(span, format!("the table `{word}` is here a second time"));
        return match list_like(word) {
            Some(list) => {
                fault.help(format!("write `[[{list}]]` with two brackets on each side, above each of them"))
            }
            None => fault.help("put its keys below the first one"),
        };
    }
    // The first one is in the same table: above, down from its name.
    let first = before.lines().enumerate().collect::<Vec<_>>().into_iter().rev();
    let first = first.take_while(|(_, line)| !line.trim_start().starts_with('[')).find(|(_, line)| {
        line.trim_start().strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    });
    let fault = FormFault::new(span, format!("`{word}` is here a second time"));
    match first {
        Some((index, _)) if head.is_empty() => {
            fault.help(format!("it is in line {} already: delete one of the two", index + 1))
        }
        _ => fault.help("delete one of the two"),
    }
}
