//! `placet list`: what was asked, and how it ended.

use placet_core::request::Request;
use placet_gate::ports::{StoreQuery, View};
use serde_json::{Value, json};

use super::Opened;
use crate::cli::{Globals, List, ListedStatus};
use crate::console::{harmless, print};
use crate::failure::{Exit, Failure};
use crate::text::{clock_time, shorten, table};

/// Lists requests, the newest first: of all clients, or of one.
pub(crate) async fn run(globals: &Globals, options: List) -> Result<Exit, Failure> {
    let status = options.status.map(ListedStatus::as_str);
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    if let Some(url) = super::address(globals).filter(|_| !options.on.aws) {
        let (api, _) = super::api_at(url, globals, options.client.as_deref()).await?;
        return Ok(show(globals, &api.list(status, limit).await?));
    }
    let Opened { gate, store, policy } = Opened::of(globals, &options.on).await?;
    let clients = match &options.client {
        Some(client) => vec![super::known_client(client, &policy)?.id.clone()],
        None => policy.clients.iter().map(|client| client.id.clone()).collect(),
    };
    let mut found: Vec<Request> = Vec::new();
    for client in clients {
        let query = StoreQuery { client, status: status.map(str::to_owned), limit, before: None };
        found.extend(store.list(&query).await?);
    }
    // An approval's id is a ULID: the newest sorts last.
    found.sort_by(|a, b| b.asked.approval_id.as_str().cmp(a.asked.approval_id.as_str()));
    found.truncate(limit);
    let base_url = gate.base_url(&policy);
    let approvals: Vec<Value> = found
        .iter()
        .map(|request| placet_http::wire::approval(&View { request, token: None, base_url: &base_url }))
        .collect();
    Ok(show(globals, &approvals))
}

fn show(globals: &Globals, approvals: &[Value]) -> Exit {
    if globals.json {
        print(&super::pretty(&json!({ "requests": approvals })));
        return Exit::Done;
    }
    if approvals.is_empty() {
        print("nothing was asked\n");
        return Exit::Done;
    }
    let heading =
        ["ASKED", "REQUEST", "CLIENT", "ACTION", "STATUS", "BY", "SUMMARY"].map(str::to_owned).to_vec();
    let rows = approvals.iter().map(|approval| {
        let text = |key: &str| harmless(super::request::text(approval, key));
        vec![
            super::request::time(approval, "created_at").map(clock_time).unwrap_or_default(),
            text("request_id"),
            text("client"),
            text("action"),
            text("status"),
            shorten(&super::request::deciders(approval), 30),
            shorten(&text("summary"), 50),
        ]
    });
    print(&table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()));
    Exit::Done
}
