//! `[[clients]]`: the programs that ask, execute, answer and read.

use std::collections::BTreeSet;

use super::{Known, duplicates, is_twice, key_fault, meant, parse_id, queue_name, read_name};
use crate::grammar::HostPattern;
use crate::id::{ClientId, ReviewerId};
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{Client, ClientRole};
use crate::token::TokenKind;

pub(super) fn check_clients(clients: &[(&Table<'_, '_>, Client)], known: &Known<'_>) {
    for (table, id, first) in duplicates(clients, |client| Some(client.id.as_str())) {
        key_fault(table, "id", is_twice("client", id, first));
    }
    for (table, client) in clients {
        if let Some(owner) = &client.owner
            && !known.reviewers.contains(owner.as_str())
        {
            let message = format!("owner `{owner}` of client `{}` is not one of the reviewers", client.id);
            let help = meant(owner.as_str(), known.reviewers.iter().copied());
            table.item_fault("owner", owner.as_str(), message, help);
        }
        for executor in &client.executors {
            let id = executor.as_str();
            match clients.iter().find(|(_, other)| other.id == *executor) {
                Some((_, other)) if other.has(ClientRole::Executor) => {}
                Some(_) => {
                    let message = format!("client `{id}` does not have the role `executor`");
                    let help = Some(format!("add `\"executor\"` to the `roles` of client `{id}`"));
                    table.item_fault("executors", id, message, help);
                }
                None if known.clients.contains(id) => {}
                None => {
                    let message = format!("executor `{id}` is not one of the clients");
                    table.item_fault("executors", id, message, meant(id, known.clients.iter().copied()));
                }
            }
        }
    }
}

pub(super) fn read_client(table: &Table<'_, '_>) -> Option<Client> {
    let id = table.required("id").and_then(|node| parse_id(&node, ClientId::parse));
    let name = read_name(table);
    let roles = table.get("roles").map_or_else(
        || BTreeSet::from([ClientRole::Requester]),
        |node| node.items().iter().filter_map(client_role).collect(),
    );
    if roles.contains(&ClientRole::Requester) && roles.contains(&ClientRole::Decider) {
        key_fault(
            table,
            "roles",
            "a client is never both `requester` and `decider`: it could approve what it asks",
        );
    }
    let owner = table.get("owner").and_then(|node| parse_id(&node, ReviewerId::parse));
    let executors = table.get("executors").map_or_else(BTreeSet::new, |node| {
        if !roles.contains(&ClientRole::Requester) {
            node.fault("`executors` means nothing for a client without the role `requester`");
        }
        node.items().iter().filter_map(|item| parse_id(item, ClientId::parse)).collect()
    });
    let decides = roles.contains(&ClientRole::Decider);
    let queues = read_queues(table, decides);
    let token = table.get("token").and_then(|node| match node.text()? {
        "EdDSA" => Some(TokenKind::EdDsa),
        "HS256" => Some(TokenKind::Hs256),
        other => {
            node.fault(format!("expected \"EdDSA\" or \"HS256\", not `{other}`"));
            None
        }
    });
    let callback_hosts = table
        .get("callback_hosts")
        .map_or_else(Vec::new, |node| node.items().iter().filter_map(callback_host).collect());
    let rate_per_minute = table.get("rate_per_minute").map_or(Some(60), |node| node.number(1, 1_000_000));
    let max_pending = table.get("max_pending").map_or(Some(200), |node| node.number(1, 1_000_000));
    let bearer = table.get("bearer").map_or(Some(false), |node| node.flag());
    let generation = table.get("generation").map_or(Some(1), |node| node.number(1, u32::MAX));
    let id = id?;
    Some(Client {
        name: name.unwrap_or_else(|| id.to_string()),
        id,
        roles,
        owner,
        executors,
        queues,
        token: token.unwrap_or(TokenKind::EdDsa),
        callback_hosts,
        rate_per_minute: rate_per_minute?,
        max_pending: max_pending?,
        bearer: bearer?,
        generation: generation?,
    })
}

/// The queues that a decider answers for.
fn read_queues(table: &Table<'_, '_>, decides: bool) -> BTreeSet<String> {
    if let Some(node) = table.get("queues") {
        let items = node.items();
        if !decides {
            node.fault("`queues` means nothing for a client without the role `decider`");
        } else if items.is_empty() && node.is_list() {
            node.fault("a decider needs at least one queue");
        }
        return items.iter().filter_map(queue_name).collect();
    }
    if decides {
        let help = "add `queues = [\"backup\"]` with the queues that it answers for";
        match table.get("roles") {
            Some(node) => node.fault_with_help("a decider needs `queues`", help),
            None => table.fault_with_help("a decider needs `queues`", help),
        }
    }
    BTreeSet::new()
}

fn client_role(node: &Node<'_, '_>) -> Option<ClientRole> {
    let text = node.text()?;
    let role = ClientRole::ALL.into_iter().find(|role| role.as_str() == text);
    if role.is_none() {
        let words: Vec<_> = ClientRole::ALL.iter().map(|role| role.as_str()).collect();
        let message = format!("`{text}` is not a role of a client");
        match closest(text, words.iter().copied()) {
            Some(meant) => node.fault_with_help(message, format!("did you mean `{meant}`?")),
            None => node.fault_with_help(message, format!("expected one of `{}`", words.join("`, `"))),
        }
    }
    role
}

pub(super) fn callback_host(node: &Node<'_, '_>) -> Option<HostPattern> {
    HostPattern::parse(node.words()?).map_err(|why| node.fault(why)).ok()
}
