//! `placet list`: what was asked, and how it ended.

use placet_core::request::Status;
use placet_gate::ApprovalView;
use placet_gate::ports::StoreQuery;
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
    if let Some(url) = super::address(globals, options.on.aws)? {
        let (api, _) = super::api_at(url, globals, options.client.as_deref()).await?;
        return Ok(show(globals, &api.list(status, limit).await?));
    }
    let Opened { gate, store, policy } = Opened::of(globals, &options.on).await?;
    let client = match &options.client {
        Some(client) => Some(super::known_client(client, &policy)?.id.clone()),
        None => None,
    };
    let query = StoreQuery { client, status: status.and_then(Status::parse), limit, before: None };
    let found = store.list(&query).await?;
    let base_url = gate.base_url(&policy);
    let approvals: Vec<Value> = found
        .iter()
        .map(|request| placet_http::wire::approval(&ApprovalView::of(request, None, &base_url)))
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
