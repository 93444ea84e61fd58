//! `examples` of a rule: each must hit its rule, through the function that the gate evaluates with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::wording::alike;
use crate::Timestamp;
use crate::grammar::is_action;
use crate::payload::Payload;
use crate::policy::dead_ends::{self, Tables};
use crate::policy::diagnostic::{Diagnostics, closest};
use crate::policy::toml_tree::Table;
use crate::policy::{ClientRole, Policy, Question, Rule, RuleAction, RuleMatch, Verdict};
use crate::refusal::Refusal;
use crate::words::TitleTemplate;

/// When examples that do not say otherwise are asked: a fixed time, so that a check always finds the same.
const EXAMPLE_NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);

/// An example, with the value that the gate would evaluate.
struct Example<'a> {
    action: &'a str,
    client: String,
    summary: &'a str,
    payload: Value,
    metadata: BTreeMap<String, String>,
    now: Timestamp,
}

pub(super) fn review(tables: &Tables<'_, '_, '_>, policy: &Policy, warnings: &Diagnostics<'_>) {
    for (table, rule) in tables.rules.iter().zip(&policy.rules) {
        check_examples(table, rule, policy, warnings);
    }
    // While something is wrong, what else looks odd may follow from it.
    if !tables.has_faults {
        dead_ends::find(tables, policy, warnings);
    }
}

fn check_examples(rule_table: &Table<'_, '_>, rule: &Rule, policy: &Policy, warnings: &Diagnostics<'_>) {
    for table in rule_table.tables("examples", "an example") {
        let Some(example) = read_example(&table, policy) else { continue };
        let question = Question {
            client: &example.client,
            action: example.action,
            summary: example.summary,
            payload: &example.payload,
            metadata: &example.metadata,
            now: example.now,
        };
        let steps = policy.trace(&question);
        if rule.observes {
            check_observed(&table, rule, &steps);
            warn_of_missing_fields(&table, rule, &example.payload, warnings);
            continue;
        }
        match RuleMatch::of(&steps) {
            Some(hit) if hit.rule.name == rule.name && hit.error.is_none() => {
                warn_of_missing_fields(&table, rule, &example.payload, warnings);
            }
            Some(hit) => {
                let why = hit
                    .error
                    .map_or_else(String::new, |error| format!(", which cannot be evaluated for it: {error}"));
                table.fault(format!(
                    "this example of rule `{}` hits rule `{}`{why}",
                    rule.name, hit.rule.name
                ));
            }
            None => table.fault(format!("this example of rule `{}` hits no rule", rule.name)),
        }
    }
}

/// An example of a rule that only observes must reach it and match it; another rule decides.
fn check_observed(table: &Table<'_, '_>, rule: &Rule, steps: &[(&Rule, Verdict)]) {
    let name = &rule.name;
    match steps.iter().find(|(step, _)| step.name == *name) {
        Some((_, Verdict::True)) => {}
        Some((_, Verdict::False)) => {
            table.fault(format!("this example of rule `{name}`, which only observes, does not match it"));
        }
        Some((_, Verdict::Error(error))) => {
            table.fault(format!("rule `{name}` cannot be evaluated for this example of it: {error}"));
        }
        None => {
            let before = steps.last().map_or("", |(step, _)| step.name.as_str());
            table.fault(format!("this example of rule `{name}` hits rule `{before}` before it is reached"));
        }
    }
}

/// What people would read as "(missing)" is most likely a typing mistake in the title, or in the example.
fn warn_of_missing_fields(table: &Table<'_, '_>, rule: &Rule, payload: &Value, warnings: &Diagnostics<'_>) {
    let named = rule.wording.title.iter().flat_map(TitleTemplate::fields).map(|path| ("the title", path));
    let masked = rule.wording.mask.iter().map(|path| ("`mask`", path));
    let editable = match &rule.action {
        RuleAction::Ask(terms) => terms.editable.as_slice(),
        RuleAction::Decide(_) => &[],
    };
    let editable = editable.iter().map(|path| ("`editable`", path));
    for (what, path) in named.chain(masked).chain(editable) {
        let warn = |message: String, help| warnings.add_with_help(table.span(), message, help);
        match path.find(payload) {
            None => {
                let beside = path.parent(payload).and_then(Value::as_object);
                let help = alike(path.last(), beside.into_iter().flatten().map(|(key, _)| key.as_str()));
                let name = &rule.name;
                warn(
                    format!(
                        "{what} of rule `{name}` names `{path}`, which this example's payload does not have"
                    ),
                    help,
                );
            }
            Some(Value::Null | Value::Array(_) | Value::Object(_)) if what == "`editable`" => warn(
                format!("`{path}` of this example is no text, number or yes and no, so nobody can change it"),
                None,
            ),
            Some(_) => {}
        }
    }
}

/// Reads an example, and refuses what the gate would refuse.
fn read_example<'a>(table: &Table<'a, '_>, policy: &Policy) -> Option<Example<'a>> {
    let action = table.required("action").and_then(|node| {
        let action = node.text()?;
        if !is_action(action) {
            node.fault(format!("`{action}` is not an action; expected a dotted name such as `invoice.pay`"));
            return None;
        }
        Some(action)
    });
    let askers = || policy.clients.iter().filter(|client| client.has(ClientRole::Requester));
    let client = match table.get("client") {
        None => Some(askers().next().map_or_else(|| "example".to_owned(), |client| client.id.to_string())),
        Some(node) => node.text().and_then(|id| {
            if askers().any(|client| client.id.as_str() == id) {
                return Some(id.to_owned());
            }
            let message = format!("`{id}` is not a client with the role `requester`");
            match closest(id, askers().map(|client| client.id.as_str())) {
                Some(meant) => node.fault_with_help(message, format!("did you mean `{meant}`?")),
                None => node.fault(message),
            }
            None
        }),
    };
    let summary = table.get("summary").map_or(Some("an example"), |node| node.words());
    let payload = match table.get("payload") {
        None => Some(Value::Object(serde_json::Map::new())),
        Some(node) => match node.json() {
            Some(Value::Object(object)) => match Payload::new(&object) {
                Ok(payload) => Some(payload.value()),
                Err(Refusal::InvalidRequest(errors)) => {
                    for error in errors {
                        let at = node
                            .inner(error.field.split(['.', '[', ']']).filter(|key| !key.is_empty()).skip(1));
                        at.fault(format!("`{}` {}", error.field, error.message));
                    }
                    None
                }
                Err(refusal) => {
                    node.fault(refusal.to_string());
                    None
                }
            },
            Some(_) => {
                node.fault("expected a table");
                None
            }
            None => None,
        },
    };
    let metadata = match table.get("metadata").map(|node| (node.json(), node)) {
        None => Some(BTreeMap::new()),
        Some((Some(Value::Object(object)), node)) => {
            let texts = object.into_iter().map(|(key, value)| {
                if let Value::String(text) = value {
                    return Some((key, text));
                }
                node.inner([key.as_str()]).fault("metadata holds strings only");
                None
            });
            texts.collect::<Option<_>>()
        }
        Some((_, node)) => {
            node.fault("expected a table of strings");
            None
        }
    };
    let now = table.get("now").map_or(Some(EXAMPLE_NOW), |node| {
        let at = node.json().as_ref().and_then(Value::as_str).and_then(Timestamp::parse);
        if at.is_none() {
            node.fault("expected a time with its zone, such as 2026-12-20T18:00:00Z");
        }
        at
    });
    Some(Example {
        action: action?,
        client: client?,
        summary: summary?,
        payload: payload?,
        metadata: metadata?,
        now: now?,
    })
}
