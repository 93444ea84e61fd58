//! `[[reviewers]]`: the people who are asked, and when they are away.

use std::collections::BTreeSet;

use super::{duplicates, key_fault, parse_id, read_name, unknown};
use crate::grammar::HostPattern;
use crate::id::ReviewerId;
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{Absence, Reviewer};

/// One of a reviewer's addresses.
type AddressOf = fn(&Reviewer) -> Option<&str>;

pub(super) fn check_reviewers(reviewers: &[(&Table<'_, '_>, Reviewer)]) {
    for (table, id) in duplicates(reviewers, |reviewer| Some(reviewer.id.as_str())) {
        key_fault(table, "id", format!("reviewer `{id}` is defined twice"));
    }
    // One person under two names could be a quorum alone, or approve past the owner's rule.
    let addresses: [(&'static str, AddressOf); 2] =
        [("email", |reviewer| reviewer.email.as_deref()), ("phone", |reviewer| reviewer.phone.as_deref())];
    for (what, address) in addresses {
        for (table, text) in duplicates(reviewers, address) {
            key_fault(
                table,
                what,
                format!("{what} `{text}` belongs to two reviewers; one person must not count twice"),
            );
        }
    }
    for (table, reviewer) in reviewers {
        for backup in reviewer.away.iter().filter_map(|away| away.backup.as_ref()) {
            if *backup == reviewer.id {
                key_fault(table, "away", format!("`{backup}` cannot be their own backup"));
            } else if !reviewers.iter().any(|(_, other)| other.id == *backup) {
                let meant = closest(backup.as_str(), reviewers.iter().map(|(_, other)| other.id.as_str()));
                unknown(table, "away", format!("backup `{backup}` is not one of the reviewers"), meant);
            }
        }
    }
}

pub(super) fn read_reviewer(table: &Table<'_, '_>) -> Option<Reviewer> {
    let id = table.required("id").and_then(|node| parse_id(&node, ReviewerId::parse));
    let name = read_name(table);
    let email = table.get("email").and_then(|node| {
        let email = node.words()?;
        if !is_email(email) {
            node.fault(format!("`{email}` is not an email address"));
        }
        Some(email.to_owned())
    });
    let phone = table.get("phone").and_then(|node| {
        let phone = node.words()?;
        let digits = phone.strip_prefix('+').unwrap_or_default();
        if !(6..=15).contains(&digits.len())
            || !digits.bytes().all(|b| b.is_ascii_digit())
            || digits.starts_with('0')
        {
            node.fault(format!("`{phone}` is not a phone number in E.164 form, such as \"+15550100\""));
        }
        Some(phone.to_owned())
    });
    let roles = table.get("roles").map_or_else(BTreeSet::new, |node| role_names(&node));
    let away = table.tables("away", "a time away").iter().filter_map(read_away).collect();
    let generation = table.get("generation").map_or(Some(1), |node| node.number(1, u32::MAX));
    let id = id?;
    let name = name.unwrap_or_else(|| id.to_string());
    Some(Reviewer { id, name, email, phone, roles, away, generation: generation? })
}

/// A local part and a host, without what would end a header or hide a second address.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",;:<>()[]\\\"@".contains(c);
    (1..=64).contains(&local.len()) && !local.contains(odd) && !host.contains(odd) && host_only(host)
}

fn host_only(host: &str) -> bool {
    HostPattern::parse(host).is_ok()
}

fn role_names<C: FromIterator<String>>(node: &Node<'_, '_>) -> C {
    node.items().iter().filter_map(Node::words).map(str::to_owned).collect()
}

fn read_away(table: &Table<'_, '_>) -> Option<Absence> {
    let from_day = table.required("from").and_then(|node| node.day());
    let until_day = table.required("until").and_then(|node| node.day());
    let backup = table.get("backup").and_then(|node| parse_id(&node, ReviewerId::parse));
    let away = Absence { from_day: from_day?, until_day: until_day?, backup };
    if away.until_day < away.from_day {
        key_fault(table, "until", "`until` is before `from`");
    }
    Some(away)
}
