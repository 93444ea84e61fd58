//! The stages of a rule that asks: whom, for how long, and within which hours.

use super::wording::read_paths;
use super::{Known, count, key_fault, meant, queue_name};
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{ApprovalTerms, Assignees, Hours, MAX_WAIT_MS, Notify, Reviewer, Stage};

pub(super) fn read_terms(
    table: &Table<'_, '_>,
    stages: &Node<'_, '_>,
    reviewers: &[Reviewer],
    known: &Known<'_>,
) -> Option<ApprovalTerms> {
    let approvals = table.get("approvals").map_or(Some(1), |node| node.number(1, 100));
    let owner_may_approve = table.get("owner_may_approve").map_or(Some(false), |node| node.flag());
    let urgent = table.get("urgent").map_or(Some(false), |node| node.flag());
    let notify = table.get("notify").map_or(Some(Notify::All), |node| read_notify(&node))?;
    let confirm = table.get("confirm").map_or(Some(false), |node| node.flag());
    let editable = read_paths(table, "editable");
    let alert_after = table.get("alert_after");
    if stages.is_table() {
        let is_inline = stages.raw().trim_start().starts_with('{');
        let help = if is_inline {
            "put brackets around it: `stages = [{ … }]`"
        } else {
            "write `[[rules.stages]]` with two brackets on each side, once for a stage"
        };
        stages.fault_with_help("`stages` must be a list of tables, but this is one table", help);
        return None;
    }
    let items = stages.items();
    if items.is_empty() && stages.is_list() {
        stages.fault_with_help(
            "a rule that asks needs at least one stage",
            "write `stages = [{ ask = [\"finance\"], within = \"1h\" }]`",
        );
    }
    if items.is_empty() {
        return None;
    }
    let faults_before = table.fault_count();
    let read: Vec<Stage> = items.iter().filter_map(|item| read_stage(item, known, notify)).collect();
    if read
        .iter()
        .try_fold(0_i64, |sum, stage| sum.checked_add(stage.within_ms))
        .is_none_or(|ms| ms > MAX_WAIT_MS)
    {
        stages.fault("the stages together may take at most 30 days");
    }
    // Where a stage or a reviewer has a fault, that is why too few are counted.
    let is_unsure = table.fault_count() > faults_before || !known.are_complete;
    let total_ms: i64 = read.iter().map(|stage| stage.within_ms).fold(0, i64::saturating_add);
    let alert_after_ms = match alert_after {
        None => None,
        Some(node) => {
            let ms = node.duration_ms()?;
            if read.len() == items.len() && ms >= total_ms {
                node.fault_with_help(
                    "`alert_after` is not shorter than the stages together, so it would never be heard of",
                    "an expired request is an alert in any case",
                );
            }
            Some(ms)
        }
    };
    let approvals = approvals?;
    (read.len() == items.len()).then_some(())?;
    let asks = |reviewer: &&Reviewer| {
        read.iter()
            .any(|stage| matches!(&stage.assignees, Assignees::Roles(roles) if reviewer.has_any(roles)))
    };
    let people = reviewers.iter().filter(asks).count();
    let people = if is_unsure { usize::MAX } else { people };
    let has_queue = read.iter().any(|stage| matches!(stage.assignees, Assignees::Queue(_)));
    if people < approvals as usize && !has_queue {
        let needed = count(approvals as usize, "approval");
        let message = match people {
            0 => format!("the rule needs {needed}, but its stages ask no reviewer"),
            people => {
                format!("the rule needs {needed}, but its stages ask only {}", count(people, "reviewer"))
            }
        };
        key_fault(table, "approvals", message);
    }
    Some(ApprovalTerms {
        approvals,
        stages: read,
        owner_may_approve: owner_may_approve?,
        urgent: urgent?,
        confirm: confirm?,
        editable: editable?,
        alert_after_ms,
    })
}

/// Whom a stage meant that asks by a word which is nobody's role.
fn role_meant(role: &str, known: &Known<'_>) -> Option<String> {
    let person = role.trim_start_matches('@');
    if known.reviewers.contains(person) {
        return Some(format!(
            "`{person}` is a reviewer, and a stage asks by roles: give them a role, such as `roles = [\"{person}\"]`"
        ));
    }
    if known.roles.is_empty() {
        return Some(format!("give it to a reviewer: `roles = [\"{person}\"]`"));
    }
    meant(person, known.roles.iter().copied())
}

fn read_notify(node: &Node<'_, '_>) -> Option<Notify> {
    let text = node.text()?;
    let notify = Notify::parse(text);
    if notify.is_none() {
        node.fault(format!("expected \"all\" or \"rotate\", not `{text}`"));
    }
    notify
}

fn read_stage(node: &Node<'_, '_>, known: &Known<'_>, notify: Notify) -> Option<Stage> {
    let table = node.table("a stage")?;
    let within_ms = table.required("within").and_then(|node| node.duration_ms());
    let hours = table.get("hours").map(|node| {
        let text = node.text()?;
        Hours::parse(text).map_err(|why| node.fault(why)).ok()
    });
    let assignees = match (table.get("ask"), table.get("queue")) {
        (Some(node), None) => {
            let items = node.items();
            if items.is_empty() && node.is_list() {
                node.fault("`ask` needs at least one role");
            }
            let mut roles = Vec::new();
            for item in &items {
                let Some(role) = item.words() else { continue };
                if !known.roles.contains(role) {
                    item.fault_at(
                        item.span(),
                        format!("no reviewer has the role `{role}`"),
                        role_meant(role, known),
                    );
                }
                roles.push(role.to_owned());
            }
            Some(Assignees::Roles(roles))
        }
        (None, Some(node)) => {
            let name = queue_name(&node)?;
            if !known.queues.contains(name.as_str()) {
                let meant = closest(&name, known.queues.iter().copied()).map_or_else(
                    || format!("give a client `roles = [\"decider\"]` and `queues = [\"{name}\"]`"),
                    |meant| format!("did you mean `{meant}`?"),
                );
                node.fault_with_help(format!("nobody can answer from the queue `{name}`"), meant);
            }
            Some(Assignees::Queue(name))
        }
        (Some(_), Some(node)) => {
            node.fault("a stage has either `ask = [roles]` or `queue = \"name\"`, not both");
            None
        }
        (None, None) => {
            table.fault("a stage needs `ask = [roles]` or `queue = \"name\"`");
            None
        }
    };
    let hours = match hours {
        Some(hours) => Some(hours?),
        None => None,
    };
    let notify = match table.get("notify") {
        Some(node) => {
            if matches!(assignees, Some(Assignees::Queue(_))) {
                node.fault("`notify` means nothing for a queue");
            }
            read_notify(&node)?
        }
        None => notify,
    };
    Some(Stage { assignees: assignees?, within_ms: within_ms?, hours, notify })
}
