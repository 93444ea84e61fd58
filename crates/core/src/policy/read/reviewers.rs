//! `[[reviewers]]`: the people who are asked, and when they are away.

use std::collections::BTreeSet;

use url::Url;

use super::clients::callback_host;
use super::{Known, duplicates, is_twice, key_fault, meant, parse_id, read_name};
use crate::grammar::HostPattern;
use crate::id::ReviewerId;
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{Absence, ChannelName, Hours, MAX_WAIT_MS, Reviewer};

/// One of a reviewer's addresses.
type AddressOf = fn(&Reviewer) -> Option<&str>;

pub(super) fn check_reviewers(reviewers: &[(&Table<'_, '_>, Reviewer)], known: &Known<'_>) {
    for (table, id, first) in duplicates(reviewers, |reviewer| Some(reviewer.id.as_str())) {
        key_fault(table, "id", is_twice("reviewer", id, first));
    }
    // One person under two names could be a quorum alone, or approve past the owner's rule.
    let addresses: [(&'static str, AddressOf); 4] = [
        ("email", |reviewer| reviewer.email.as_deref()),
        ("phone", |reviewer| reviewer.phone.as_deref()),
        ("slack", |reviewer| reviewer.slack.as_deref()),
        ("telegram", |reviewer| reviewer.telegram.as_deref()),
    ];
    for (what, address) in addresses {
        for (table, text, _) in duplicates(reviewers, address) {
            key_fault(
                table,
                what,
                format!("{what} `{text}` belongs to two reviewers; one person must not count twice"),
            );
        }
    }
    for (table, reviewer) in reviewers {
        for (node, backup) in backups(table) {
            if backup == reviewer.id.as_str() {
                node.fault(format!("`{backup}` cannot be their own backup"));
            } else if !known.reviewers.contains(backup) {
                let message = format!("backup `{backup}` is not one of the reviewers");
                let others = known.reviewers.iter().copied().filter(|id| *id != reviewer.id.as_str());
                node.fault_at(node.span(), message, meant(backup, others));
            }
        }
    }
}

/// Where each backup of a reviewer is named.
fn backups<'a, 'f>(table: &Table<'a, 'f>) -> Vec<(Node<'a, 'f>, &'a str)> {
    let Some(away) = table.get("away").filter(Node::is_list) else { return Vec::new() };
    let named = away.items().into_iter().filter_map(|item| {
        let node = item.child("backup")?;
        let text = node.maybe_text()?;
        Some((node, text))
    });
    named.collect()
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
    let slack = table.get("slack").and_then(|node| {
        let id = node.words()?;
        if !is_slack_user(id) {
            node.fault_with_help(
                format!("`{id}` is not a user id of Slack, such as \"U012AB3CD\""),
                "in Slack: the person's profile, the three dots, \"Copy member ID\"",
            );
        }
        Some(id.to_owned())
    });
    let telegram = table
        .get("telegram")
        .and_then(|node| node.whole_number(1, MAX_TELEGRAM_USER).map(|id| id.to_string()));
    let callback_hosts = table
        .get("callback_hosts")
        .map_or_else(Vec::new, |node| node.items().iter().filter_map(callback_host).collect());
    let webhook = table.get("webhook").and_then(|node| {
        let url = node.words()?;
        match webhook_url(url, &callback_hosts) {
            Ok(()) => Some(url.to_owned()),
            Err(why) => {
                node.fault(why);
                None
            }
        }
    });
    let nudge_ms = table.get("nudge").and_then(|node| node.duration_ms());
    let quiet =
        table.get("quiet").and_then(|node| Hours::parse(node.text()?).map_err(|why| node.fault(why)).ok());
    let settled_mail = table.get("settled_mail").and_then(|node| {
        let wanted = node.flag()?;
        if wanted && email.is_none() {
            node.fault("`settled_mail` is for reviewers with an `email`, and this one has none");
        }
        Some(wanted)
    });
    let roles = table.get("roles").map_or_else(BTreeSet::new, |node| role_names(&node));
    let away = table.tables("away", "a time away").iter().filter_map(read_away).collect();
    let generation = table.get("generation").map_or(Some(1), |node| node.number(1, u32::MAX));
    let id = id?;
    let name = name.unwrap_or_else(|| id.to_string());
    let mut reviewer = Reviewer {
        id,
        name,
        email,
        phone,
        slack,
        telegram,
        webhook,
        callback_hosts,
        order: Vec::new(),
        nudge_ms,
        quiet,
        settled_mail: settled_mail.unwrap_or(false),
        roles,
        away,
        generation: generation?,
    };
    read_order(table, &mut reviewer);
    Some(reviewer)
}

/// The largest id that Telegram gives a user: its documents promise 52 bits.
/// Source: <https://core.telegram.org/bots/api#user>.
const MAX_TELEGRAM_USER: i64 = (1 << 52) - 1;

/// `U` or `W`, then capitals and digits. Source: <https://api.slack.com/changelog/2016-08-11-user-id-format-changes>.
fn is_slack_user(id: &str) -> bool {
    (2..=32).contains(&id.len())
        && id.starts_with(['U', 'W'])
        && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// `channels`, and what needs it.
fn read_order(table: &Table<'_, '_>, reviewer: &mut Reviewer) {
    if let Some(node) = table.get("channels") {
        let items = node.items();
        if items.is_empty() && node.is_list() {
            node.fault("`channels` needs at least one channel; leave it out to use every address");
        }
        for item in items {
            let Some(word) = item.words() else { continue };
            let Some(channel) = ChannelName::parse(word) else {
                let known = ChannelName::NAMED.map(ChannelName::as_str);
                let meant = closest(word, known);
                let message = format!("`{word}` is not a channel; expected one of {}", known.join(", "));
                match meant {
                    Some(meant) => item.fault_with_help(message, format!("did you mean `{meant}`?")),
                    None => item.fault(message),
                }
                continue;
            };
            if channel != ChannelName::Push && reviewer.address(channel).is_none() {
                item.fault(format!(
                    "`{}` has no `{}`, so `{channel}` cannot reach them",
                    reviewer.id,
                    channel.address_key()
                ));
            } else if reviewer.order.contains(&channel) {
                item.fault(format!("`{channel}` is named twice"));
            } else {
                reviewer.order.push(channel);
            }
        }
    }
    if let Some(nudge_ms) = reviewer.nudge_ms {
        if reviewer.order.len() < 2 {
            key_fault(table, "nudge", "`nudge` tries the next of `channels`: name at least two of them");
        }
        if !(MIN_NUDGE_MS..=MAX_WAIT_MS).contains(&nudge_ms) {
            key_fault(table, "nudge", "`nudge` must be from 1 second to 30 days");
        }
    }
}

/// The shortest `nudge`, in milliseconds.
const MIN_NUDGE_MS: i64 = 1000;

/// https, or a host that `callback_hosts` names. What the name leads to is looked at when something is sent.
pub(super) fn webhook_url(text: &str, callback_hosts: &[HostPattern]) -> Result<(), String> {
    let url = Url::parse(text)
        .map_err(|_| format!("`{text}` is not a URL, such as \"https://hooks.example.com/bob\""))?;
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(format!("`{text}` has no host"));
    };
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("`{}` URLs cannot be called: use https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("a webhook's URL has no user name, password or fragment".to_owned());
    }
    let host = host.to_owned();
    let is_named = callback_hosts.iter().any(|pattern| pattern.covers(&host, port));
    if url.scheme() == "http" && !is_named {
        return Err("plain http is only for hosts named in `callback_hosts` beside it: use https".to_owned());
    }
    Ok(())
}

/// A local part and a host, without what would end a header or hide a second address.
pub(super) fn is_email(text: &str) -> bool {
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
