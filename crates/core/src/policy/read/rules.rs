//! `[[rules]]`: a condition, and what it decides or whom it asks.

use std::ops::Range;

use super::stages::read_terms;
use super::wording::{check_paths, read_wording};
use super::{Known, Strictness, read_name};
use crate::policy::cel::Findings;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{Decision, MAX_WAIT_MS, Reviewer, Rule, RuleAction, VALID_FOR_SECONDS};

pub(super) fn read_rule(
    table: &Table<'_, '_>,
    reviewers: &[Reviewer],
    known: &Known<'_>,
    warnings: &Diagnostics<'_>,
    strictness: Strictness,
) -> Option<Rule> {
    let name = match table.required("name") {
        Some(_) => read_name(table),
        None => None,
    };
    let when = match table.get("when") {
        None => Some((None, Findings::default())),
        Some(node) => node.text().and_then(|source| match (strictness.condition)(source) {
            Ok((condition, findings)) => Some((Some(condition), findings)),
            Err(faults) => {
                for fault in faults {
                    let span = node.place_of(source, fault.span);
                    node.fault_at(span, fault.message, fault.help);
                }
                None
            }
        }),
    };
    let valid_for_seconds = table.get("valid_for").map_or(Some(VALID_FOR_SECONDS), |node| {
        let seconds = node.duration_ms()? / 1000;
        if !(1..=MAX_WAIT_MS / 1000).contains(&seconds) {
            node.fault("`valid_for` must be from 1 second to 30 days");
            return None;
        }
        Some(seconds)
    });
    table.refuse(
        "on_timeout",
        "`on_timeout` no longer exists: silence never approves, and a request that nobody answers expires",
        "remove it; if a program should answer when people do not, put a queue as the last stage and let that program \
         answer under its own name",
    );
    let observes = table.get("mode").map_or(Some(false), |node| observes(&node));
    let wording = read_wording(table);
    let decide = table.get("decide").map(|node| decision(&node));
    let stages = table.get("stages");
    let action = match (decide, stages) {
        (Some(_), Some(stages)) => {
            stages.fault("a rule has either `decide` or `stages`, not both");
            None
        }
        (Some(decision), None) => decision.map(RuleAction::Decide),
        (None, Some(stages)) => read_terms(table, &stages, reviewers, known).map(RuleAction::Ask),
        (None, None) => {
            table.fault_with_help(
                "a rule needs `decide` or `stages`",
                "write `decide = \"approve\"`, `decide = \"reject\"`, or the stages that it asks",
            );
            None
        }
    };
    for key in [
        "approvals",
        "owner_may_approve",
        "urgent",
        "preview",
        "notify",
        "confirm",
        "editable",
        "alert_after",
    ] {
        // Read here in any case, so that a typo elsewhere in the rule lists every key that it could have been.
        let node = table.get(key);
        if let (Some(RuleAction::Decide(_)), Some(node)) = (&action, node) {
            node.fault(format!("`{key}` means nothing in a rule that decides alone"));
        }
    }
    // Looked at when all rules are known.
    let _ = table.get("examples");
    let (name, (when, findings), action) = (name?, when?, action?);
    let (valid_for_seconds, wording, observes) = (valid_for_seconds?, wording?, observes?);
    check_paths(table, &wording, &action);
    if let Some(node) = table.get("when") {
        warn_of_condition(&node, &findings, &action, warnings);
    }
    if observes {
        let message = format!("rule `{name}` only observes: what it matches, the rules after it decide");
        let place = table.get("mode").map_or_else(|| table.span(), |node| node.span());
        warnings.add_with_help(place, message, Some("remove `mode` to put it in force".into()));
    }
    if when.is_none() && !observes && matches!(action, RuleAction::Decide(Decision::Approve)) {
        let message = format!("rule `{name}` approves everything that reaches it");
        warnings.add_with_help(table.span(), message, Some("add `when` with a condition".into()));
    }
    Some(Rule { name, when, observes, action, valid_for_seconds, wording })
}

fn warn_of_condition(
    node: &Node<'_, '_>,
    findings: &Findings,
    action: &RuleAction,
    warnings: &Diagnostics<'_>,
) {
    let source = node.text().unwrap_or_default();
    let place = |span: &Range<usize>| node.place_of(source, span.clone());
    for warning in &findings.warnings {
        warnings.add_with_help(place(&warning.span), &*warning.message, warning.help.clone());
    }
    if !matches!(action, RuleAction::Decide(Decision::Approve)) {
        return;
    }
    for bound in findings.bounds.values() {
        let path = &bound.shown;
        let (missing, help) = match (bound.lower, bound.upper) {
            (false, true) => {
                ("smallest", format!("add `{path} > 0`, or whatever is the least that makes sense"))
            }
            (true, false) => ("largest", format!("add `{path} <= …`")),
            (true, true) | (false, false) => continue,
        };
        warnings.add_with_help(
            place(&bound.span),
            format!("this rule approves, but `{path}` has no {missing} value"),
            Some(help),
        );
    }
    let money = findings.bounds.iter().find(|(path, _)| is_money(path));
    let names_currency = findings.paths.iter().any(|path| path.to_lowercase().contains("currency"));
    if let Some((_, bound)) = money
        && !names_currency
    {
        let path = &bound.shown;
        let beside = path.rsplit_once('.').map_or("payload", |(beside, _)| beside);
        warnings.add_with_help(
            place(&bound.span),
            format!("this rule approves `{path}` in any currency"),
            Some(format!("if the payload names one, add `{beside}.currency == \"EUR\"`")),
        );
    }
}

/// Whether a field is named like money.
fn is_money(path: &str) -> bool {
    const WORDS: [&str; 9] = ["amount", "total", "price", "sum", "cost", "fee", "value", "balance", "refund"];
    let name = path.rsplit('.').next().unwrap_or(path).to_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a rule's `mode` says that it only observes.
fn observes(node: &Node<'_, '_>) -> Option<bool> {
    match node.text()? {
        "enforce" => Some(false),
        "observe" => Some(true),
        other => {
            node.fault(format!("expected \"enforce\" or \"observe\", not `{other}`"));
            None
        }
    }
}

fn decision(node: &Node<'_, '_>) -> Option<Decision> {
    let text = node.text()?;
    let decision = Decision::parse(text);
    if decision.is_none() {
        node.fault(format!("expected \"approve\" or \"reject\", not `{text}`"));
    }
    decision
}
