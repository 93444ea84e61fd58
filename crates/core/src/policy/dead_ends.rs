//! Dead ends of a policy that can be read: rules that nothing reaches, quorums that cannot come together, stages that
//! nobody may answer, people and programs that no rule keeps apart.
//!
//! They are warnings: each works for somebody, or at some time.

use std::collections::BTreeSet;
use std::ops::Range;

use super::diagnostic::Diagnostics;
use super::toml_tree::Table;
use super::{ApprovalTerms, Assignees, ChannelName, Client, ClientRole, Policy, Reviewer, Rule, RuleAction};
use crate::Timestamp;
use crate::id::ReviewerId;
use crate::time::DAY_MS;

/// Where the parts of a policy are in its file, in its order.
pub(super) struct Tables<'t, 'a, 'f> {
    pub(super) clients: &'t [Table<'a, 'f>],
    pub(super) reviewers: &'t [Table<'a, 'f>],
    pub(super) rules: &'t [Table<'a, 'f>],
    /// Whether any of them has faults.
    pub(super) has_faults: bool,
}

/// Where that key's value is; the table itself where it has none.
fn place(table: &Table<'_, '_>, key: &'static str) -> Range<usize> {
    table.get(key).map_or_else(|| table.span(), |node| node.span())
}

/// Finds them all.
pub(super) fn find(tables: &Tables<'_, '_, '_>, policy: &Policy, warnings: &Diagnostics<'_>) {
    programs(tables, policy, warnings);
    people(tables, policy, warnings);
    unreachable_rules(tables, policy, warnings);
    for (table, rule) in tables.rules.iter().zip(&policy.rules) {
        if let RuleAction::Ask(terms) = &rule.action {
            quorum(table, rule, terms, policy, warnings);
            stages(table, terms, policy, warnings);
        }
    }
    if policy.rules.is_empty() {
        warnings.add(0..0, "there are no rules: every request is rejected");
    }
}

fn programs(tables: &Tables<'_, '_, '_>, policy: &Policy, warnings: &Diagnostics<'_>) {
    for (table, client) in tables.clients.iter().zip(&policy.clients) {
        let id = &client.id;
        if client.owner.is_none() {
            let help = Some("add `owner = \"…\"` with the reviewer whose program it is".to_owned());
            if client.has(ClientRole::Requester) {
                let message = format!(
                    "client `{id}` has no owner, so nobody is kept from approving what their own program asks"
                );
                warnings.add_with_help(place(table, "id"), message, help);
            } else if client.has(ClientRole::Decider) {
                let message = format!(
                    "decider `{id}` has no owner, so nobody is kept from deciding through it what they ask themselves"
                );
                warnings.add_with_help(place(table, "id"), message, help);
            }
        }
        if client.has(ClientRole::Executor)
            && !policy.clients.iter().any(|other| other.executors.contains(id))
        {
            let message = format!("no client names `{id}` as one of its executors, so it can redeem nothing");
            let help = Some(format!("add `executors = [\"{id}\"]` to the client that asks"));
            warnings.add_with_help(place(table, "id"), message, help);
        }
        let used: BTreeSet<&str> = stages_of(policy)
            .filter_map(|assignees| match assignees {
                Assignees::Queue(queue) => Some(queue.as_str()),
                Assignees::Roles(_) => None,
            })
            .collect();
        for queue in client.queues.iter().filter(|queue| !used.contains(queue.as_str())) {
            warnings.add(
                table.place_of_item("queues", queue),
                format!("no rule has a stage with the queue `{queue}`"),
            );
        }
    }
    if !policy.clients.iter().any(|client| client.has(ClientRole::Requester)) {
        warnings.add(0..0, "no client has the role `requester`, so nobody can ask");
    }
}

fn stages_of(policy: &Policy) -> impl Iterator<Item = &Assignees> {
    policy.rules.iter().flat_map(|rule| match &rule.action {
        RuleAction::Ask(terms) => terms.stages.iter().map(|stage| &stage.assignees).collect(),
        RuleAction::Decide(_) => Vec::new(),
    })
}

fn people(tables: &Tables<'_, '_, '_>, policy: &Policy, warnings: &Diagnostics<'_>) {
    for (table, reviewer) in tables.reviewers.iter().zip(&policy.reviewers) {
        if reviewer.phone.is_some() && reviewer.email.is_none() {
            let message = format!(
                "`{}` is reached by text message only, which a gate in AWS can send and a gate on one machine cannot",
                reviewer.id
            );
            warnings.add_with_help(place(table, "phone"), message, Some("add `email`".into()));
        }
        if reviewer.order == [ChannelName::Push] {
            let message = format!(
                "`{}` is told by push only: by nothing, until they have switched it on on a device",
                reviewer.id
            );
            warnings.add_with_help(
                place(table, "channels"),
                message,
                Some("name another channel after it, such as \"email\"".into()),
            );
        }
    }
}

fn unreachable_rules(tables: &Tables<'_, '_, '_>, policy: &Policy, warnings: &Diagnostics<'_>) {
    for (index, (table, rule)) in tables.rules.iter().zip(&policy.rules).enumerate() {
        // What only observes keeps nothing from the rules after it.
        let earlier = policy.rules.iter().take(index).filter(|before| !before.observes);
        let source = |rule: &'_ Rule| rule.when.as_ref().map(|condition| words(condition.source()));
        let own = source(rule);
        for before in earlier {
            let why = match source(before) {
                None => "matches everything",
                Some(text) if text == "true" => "matches everything",
                Some(text) if Some(&text) == own.as_ref() => "has the same condition",
                Some(_) => continue,
            };
            let message = format!(
                "rule `{}` is never reached: rule `{}` comes before it and {why}",
                rule.name, before.name
            );
            warnings.add(place(table, "name"), message);
            break;
        }
    }
}

/// A condition's words, however it is broken into lines.
fn words(source: &str) -> String {
    source.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The reviewers whom any stage asks, whether or not they are away.
fn everybody<'p>(terms: &ApprovalTerms, policy: &'p Policy) -> Vec<&'p Reviewer> {
    let asks = |reviewer: &&Reviewer| {
        terms
            .stages
            .iter()
            .any(|stage| matches!(&stage.assignees, Assignees::Roles(roles) if reviewer.has_any(roles)))
    };
    policy.reviewers.iter().filter(asks).collect()
}

fn has_queue(terms: &ApprovalTerms) -> bool {
    terms.stages.iter().any(|stage| matches!(stage.assignees, Assignees::Queue(_)))
}

/// Clients whose owner may not approve what they ask, with that owner.
fn barred<'p>(terms: &ApprovalTerms, policy: &'p Policy) -> Vec<(&'p Client, &'p ReviewerId)> {
    let requesters = policy.clients.iter().filter(|client| client.has(ClientRole::Requester));
    requesters
        .filter(|_| !terms.owner_may_approve)
        .filter_map(|client| Some((client, client.owner.as_ref()?)))
        .collect()
}

fn quorum(
    table: &Table<'_, '_>,
    rule: &Rule,
    terms: &ApprovalTerms,
    policy: &Policy,
    warnings: &Diagnostics<'_>,
) {
    if has_queue(terms) {
        return;
    }
    let needed = terms.approvals as usize;
    let at = || place(table, if table.get("approvals").is_some() { "approvals" } else { "stages" });
    let everybody = everybody(terms, policy);
    let approvals = count(needed, "approval");
    // The owner of the asking client does not count.
    let barred = barred(terms, policy);
    let stuck: Vec<_> = barred
        .iter()
        .filter(|(_, owner)| everybody.iter().filter(|reviewer| reviewer.id != **owner).count() < needed)
        .collect();
    for (client, owner) in &stuck {
        let message = format!(
            "the rule needs {approvals}, which requests of `{}` can never get: `{owner}` owns that client and does not \
             count",
            client.id
        );
        let help = Some("ask more people, or set `owner_may_approve = true` if that is meant".to_owned());
        warnings.add_with_help(at(), message, help);
    }
    // Nor does anybody who is away, and who stands in for several counts once.
    let roles: Vec<String> = terms
        .stages
        .iter()
        .flat_map(|stage| match &stage.assignees {
            Assignees::Roles(roles) => roles.as_slice(),
            Assignees::Queue(_) => &[],
        })
        .cloned()
        .collect();
    let days: BTreeSet<i64> =
        policy.reviewers.iter().flat_map(|reviewer| &reviewer.away).map(|away| away.from_day).collect();
    for day in days {
        let present = policy.asked(&roles, Timestamp::from_millis(day * DAY_MS));
        let fewest = barred
            .iter()
            .map(|(_, owner)| present.iter().filter(|asked| asked.reviewer != **owner).count())
            .min()
            .unwrap_or(present.len())
            .min(present.len());
        let was_enough = |here: usize| here >= needed;
        if !was_enough(fewest) && stuck.is_empty() {
            let at_day = Timestamp::from_millis(day * DAY_MS).to_string();
            let date = at_day.split('T').next().unwrap_or_default();
            let message = format!(
                "rule `{}` needs {approvals}, but from {date} on only {} of its reviewers or their stand-ins can give \
                 one",
                rule.name,
                match fewest {
                    0 => "none".to_owned(),
                    some => some.to_string(),
                }
            );
            warnings.add_with_help(at(), message, Some("name another backup, or ask more people".into()));
        }
    }
}

fn stages(table: &Table<'_, '_>, terms: &ApprovalTerms, policy: &Policy, warnings: &Diagnostics<'_>) {
    let Some(node) = table.get("stages") else { return };
    let barred = barred(terms, policy);
    for (item, stage) in node.items().iter().zip(&terms.stages) {
        match &stage.assignees {
            Assignees::Queue(queue) => {
                if terms.approvals > 1 {
                    let message = format!(
                        "one answer from the queue `{queue}` decides alone, although the rule needs {} approvals",
                        terms.approvals
                    );
                    warnings.add(item.span(), message);
                }
                for (client, owner) in &barred {
                    let mut deciders = policy.clients.iter().filter(|client| client.queues.contains(queue));
                    if deciders.all(|decider| decider.owner.as_ref() == Some(*owner)) {
                        let message = format!(
                            "nobody can approve requests of `{}` from the queue `{queue}`: `{owner}` owns both programs",
                            client.id
                        );
                        warnings.add(item.span(), message);
                    }
                }
            }
            Assignees::Roles(roles) => {
                // A single stage that nobody may answer has been told already, as a quorum that cannot come together.
                for (client, owner) in barred.iter().filter(|_| terms.stages.len() > 1) {
                    let mut asked = policy.reviewers.iter().filter(|reviewer| reviewer.has_any(roles));
                    if asked.all(|reviewer| reviewer.id == **owner) {
                        let message = format!(
                            "this stage asks nobody but `{owner}`, who owns client `{}` and may not approve its requests: \
                             for them the stage is passed over",
                            client.id
                        );
                        warnings.add(item.span(), message);
                    }
                }
            }
        }
    }
    if terms.stages.iter().all(|stage| stage.hours.is_some()) {
        let message = "every stage has hours: a request outside of them has nobody to ask, and is rejected";
        warnings.add_with_help(node.span(), message, Some("add a last stage without hours".into()));
    }
}

pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
