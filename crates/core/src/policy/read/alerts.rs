//! `[[alerts]]`: the ways by which operators are told.

use super::clients::callback_host;
use super::reviewers::{is_email, webhook_url};
use super::{duplicates, is_twice, key_fault};
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{ALERT_KINDS, AlertWay, WayKind};

/// The most characters of a way's name: it is part of the ids of messages.
const NAME_CHARS: usize = 40;

/// The most ways: each alert is one message by each of them.
const MOST_WAYS: usize = 20;

/// The most addresses of one way.
const MOST_ADDRESSES: usize = 20;

pub(super) fn check_ways(ways: &[(&Table<'_, '_>, AlertWay)]) {
    for (table, name, first) in duplicates(ways, |way| Some(way.name.as_str())) {
        key_fault(table, "name", is_twice("the way of alerts", name, first));
    }
    if let Some((table, _)) = ways.get(MOST_WAYS) {
        key_fault(
            table,
            "name",
            format!("a policy has at most {MOST_WAYS} ways of alerts; this is one too many"),
        );
    }
}

pub(super) fn read_way(table: &Table<'_, '_>) -> Option<AlertWay> {
    let name = table.required("name").and_then(|node| way_name(&node));
    let word = table.required("way").and_then(|node| way_word(&node));
    let to = table.get("to");
    let url = table.get("url");
    let hosts = table.get("callback_hosts");
    let kinds = table.get("kinds").and_then(|node| read_kinds(&node));
    let word = word?;
    for (key, node, of) in
        [("to", &to, "mail"), ("url", &url, "webhook"), ("callback_hosts", &hosts, "webhook")]
    {
        if let Some(node) = node.as_ref().filter(|_| word != of) {
            match (key, word) {
                ("url", "slack" | "pagerduty") => node.fault_with_help(
                    format!("the address of a {word} way is a secret, which does not belong in the policy"),
                    "remove it here, and give it to `placet alert set NAME`",
                ),
                _ => node.fault(format!("`{key}` means nothing for a {word} way: it belongs to {of}")),
            }
        }
    }
    let kind = match word {
        "sns" => WayKind::Sns,
        "slack" => WayKind::Slack,
        "pagerduty" => WayKind::PagerDuty,
        "mail" => WayKind::Mail(if let Some(node) = to {
            addresses(&node)
        } else {
            table.fault_with_help(
                "a mail way needs the key `to`",
                "write the addresses that are mailed, such as `to = [\"ops@example.com\"]`",
            );
            Vec::new()
        }),
        _ => {
            let callback_hosts =
                hosts.map_or_else(Vec::new, |node| node.items().iter().filter_map(callback_host).collect());
            let url = match url {
                None => None,
                Some(node) => {
                    let text = node.words()?;
                    webhook_url(text, &callback_hosts).map_err(|why| node.fault(why)).ok()?;
                    Some(text.to_owned())
                }
            };
            WayKind::Webhook { url, callback_hosts }
        }
    };
    Some(AlertWay { name: name?, kind, kinds })
}

fn way_name(node: &Node<'_, '_>) -> Option<String> {
    let name = node.words()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.len() > NAME_CHARS || !name.bytes().all(fits) {
        node.fault(format!("`{name}` is not a name of a way; expected 1 to {NAME_CHARS} of `A-Za-z0-9_-`"));
        return None;
    }
    Some(name.to_owned())
}

fn way_word(node: &Node<'_, '_>) -> Option<&'static str> {
    let text = node.words()?;
    let known = WayKind::WORDS.into_iter().find(|word| *word == text);
    if known.is_none() {
        not_one_of(node, text, "a way", &WayKind::WORDS);
    }
    known
}

fn not_one_of(node: &Node<'_, '_>, text: &str, what: &str, known: &[&str]) {
    let message = format!("`{text}` is not {what}; expected one of {}", known.join(", "));
    match closest(text, known.iter().copied()) {
        Some(meant) => node.fault_with_help(message, format!("did you mean `{meant}`?")),
        None => node.fault(message),
    }
}

/// The kinds that are named; none where they cannot be read, so that nothing is said to follow from it.
fn read_kinds(node: &Node<'_, '_>) -> Option<Vec<String>> {
    let items = node.items();
    let mut kinds: Vec<String> = Vec::new();
    for item in &items {
        let Some(word) = item.words() else { continue };
        if !ALERT_KINDS.contains(&word) {
            not_one_of(item, word, "a kind of alert", &ALERT_KINDS);
        } else if kinds.iter().any(|kind| kind == word) {
            item.fault(format!("`{word}` is named twice"));
        } else {
            kinds.push(word.to_owned());
        }
    }
    (node.is_list() && kinds.is_empty() == items.is_empty()).then_some(kinds)
}

fn addresses(node: &Node<'_, '_>) -> Vec<String> {
    let items = node.items();
    if node.is_list() && (items.is_empty() || items.len() > MOST_ADDRESSES) {
        node.fault(format!("`to` needs 1 to {MOST_ADDRESSES} mail addresses"));
    }
    let mut found: Vec<String> = Vec::new();
    for item in items {
        let Some(text) = item.words() else { continue };
        if !is_email(text) {
            item.fault(format!("`{text}` is not an email address"));
        } else if found.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            item.fault(format!("`{text}` is named twice"));
        } else {
            found.push(text.to_owned());
        }
    }
    found
}
