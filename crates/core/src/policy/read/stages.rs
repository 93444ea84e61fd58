//! The stages of a rule that asks: whom, for how long, and within which hours.

use super::wording::read_paths;
use super::{key_fault, queue_name};
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{
    ApprovalTerms, Assignees, Client, ClientRole, Hours, MAX_WAIT_MS, Notify, Reviewer, Stage,
};

pub(super) fn read_terms(
    table: &Table<'_, '_>,
    stages: &Node<'_, '_>,
    reviewers: &[Reviewer],
    clients: &[Client],
) -> Option<ApprovalTerms> {
    let approvals = table.get("approvals").map_or(Some(1), |node| node.number(1, 100));
    let owner_may_approve = table.get("owner_may_approve").map_or(Some(false), |node| node.flag());
    let urgent = table.get("urgent").map_or(Some(false), |node| node.flag());
    let notify = table.get("notify").map_or(Some(Notify::All), |node| read_notify(&node))?;
    let confirm = table.get("confirm").map_or(Some(false), |node| node.flag());
    let editable = read_paths(table, "editable");
    let alert_after = table.get("alert_after");
    let items = stages.items();
    if items.is_empty() {
        stages.fault("a rule that asks needs at least one stage");
        return None;
    }
    let read: Vec<Stage> =
        items.iter().filter_map(|item| read_stage(item, reviewers, clients, notify)).collect();
    if read
        .iter()
        .try_fold(0_i64, |sum, stage| sum.checked_add(stage.within_ms))
        .is_none_or(|ms| ms > MAX_WAIT_MS)
    {
        stages.fault("the stages together may take at most 30 days");
    }
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
    let has_queue = read.iter().any(|stage| matches!(stage.assignees, Assignees::Queue(_)));
    if people < approvals as usize && !has_queue {
        let message = format!("the rule needs {approvals} approvals, but its stages have {people} reviewers");
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

fn read_notify(node: &Node<'_, '_>) -> Option<Notify> {
    let text = node.text()?;
    let notify = Notify::parse(text);
    if notify.is_none() {
        node.fault(format!("expected \"all\" or \"rotate\", not `{text}`"));
    }
    notify
}

fn read_stage(
    node: &Node<'_, '_>,
    reviewers: &[Reviewer],
    clients: &[Client],
    notify: Notify,
) -> Option<Stage> {
    let table = node.table("a stage")?;
    let within_ms = table.required("within").and_then(|node| node.duration_ms());
    let hours = table.get("hours").map(|node| {
        let text = node.text()?;
        Hours::parse(text).map_err(|why| node.fault(why)).ok()
    });
    let assignees = match (table.get("ask"), table.get("queue")) {
        (Some(node), None) => {
            let items = node.items();
            if items.is_empty() {
                node.fault("`ask` needs at least one role");
            }
            let mut roles = Vec::new();
            for item in &items {
                let Some(role) = item.words() else { continue };
                if !reviewers.iter().any(|reviewer| reviewer.roles.contains(role)) {
                    let known = reviewers.iter().flat_map(|reviewer| &reviewer.roles).map(String::as_str);
                    let message = format!("no reviewer has the role `{role}`");
                    match closest(role, known) {
                        Some(meant) => item.fault_with_help(message, format!("did you mean `{meant}`?")),
                        None => item.fault(message),
                    }
                }
                roles.push(role.to_owned());
            }
            Some(Assignees::Roles(roles))
        }
        (None, Some(node)) => {
            let name = queue_name(&node)?;
            if !clients.iter().any(|client| client.has(ClientRole::Decider) && client.queues.contains(&name))
            {
                node.fault_with_help(
                    format!("nobody can answer from the queue `{name}`"),
                    format!("give a client `roles = [\"decider\"]` and `queues = [\"{name}\"]`"),
                );
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
