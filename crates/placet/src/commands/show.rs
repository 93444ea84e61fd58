//! `placet show` and `placet cancel`: one request, by its name.

use std::fmt::Write as _;

use placet_core::audit::AuditEntry;
use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_core::policy::{ClientRole, Policy};
use placet_core::request::Request;
use placet_gate::ports::Store;
use placet_gate::{ApprovalView, Error};
use serde_json::{Value, json};

use crate::api::{Api, Withdrawn};
use crate::cli::{Globals, OneRequest};
use crate::console::{Style, harmless, note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::text::clock_time;

/// Shows a request with its history: who asked, who was asked, who said what, and when.
pub(crate) async fn run(globals: &Globals, options: OneRequest) -> Result<Exit, Failure> {
    let id = parse(&options.request_id)?;
    if let Some(api) = at_an_address(globals, &options).await? {
        let approval = api.get(id.as_str()).await?;
        print(&if globals.json {
            super::pretty(&json!({ "approval": approval }))
        } else {
            super::request::describe(&approval)
        });
        return Ok(Exit::Done);
    }
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    let policy = local.policy().await?;
    let request = find(local.store.as_ref(), &policy, options.client.as_deref(), &id).await?;
    let history = local.store.audit_of(request.asked().approval_id.as_str()).await?;
    let base_url = local.gate.base_url(&policy);
    let approval = placet_http::wire::approval(&ApprovalView::of(&request, None, &base_url));
    if globals.json {
        let payload = request.asked().shown(request.state().payload(request.asked()));
        print(&super::pretty(&json!({ "approval": approval, "payload": payload, "history": history })));
        return Ok(Exit::Done);
    }
    let mut text = super::request::describe(&approval);
    let style = Style::of_stdout();
    let _ = writeln!(text, "  {}  {}", style.dim("client  "), harmless(request.asked().client.as_str()));
    let _ = writeln!(text, "  {}  “{}”", style.dim("summary "), harmless(request.asked().shown_summary()));
    let _ = writeln!(text, "\n{}", style.bold("history"));
    for entry in &history {
        let _ = writeln!(text, "  {}", line(entry));
    }
    print(&text);
    Ok(Exit::Done)
}

fn line(entry: &AuditEntry) -> String {
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let event = word(json!(entry.event));
    let channel = word(json!(entry.channel));
    let detail = entry.detail.as_deref().map_or_else(String::new, |detail| format!(": {}", harmless(detail)));
    format!("{}  {event} by {} ({channel}){detail}", clock_time(entry.timestamp), harmless(&entry.actor))
}

/// Withdraws a request: as the operator in the gate's folder, as its client at an address. Refused if it has ended.
pub(crate) async fn cancel(globals: &Globals, options: OneRequest) -> Result<Exit, Failure> {
    let id = parse(&options.request_id)?;
    if let Some(api) = at_an_address(globals, &options).await? {
        return match api.cancel(id.as_str()).await? {
            Withdrawn::Now(approval) => Ok(withdrawn(globals, &approval)),
            Withdrawn::HadEnded(approval) => Ok(had_ended(globals, &id, &approval)),
            Withdrawn::Unknown => Err(Failure::refused(format!("this client has no request `{id}`"))),
        };
    }
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    let policy = local.policy().await?;
    let request = find(local.store.as_ref(), &policy, options.client.as_deref(), &id).await?;
    let base_url = local.gate.base_url(&policy);
    let shape = |request: &Request| placet_http::wire::approval(&ApprovalView::of(request, None, &base_url));
    match local.gate.cancel_by_operator(&request.asked().client, &id).await {
        Ok(request) => {
            super::say_who_will_tell(&local.folder);
            Ok(withdrawn(globals, &shape(&request)))
        }
        Err(Error::Ended(request)) => Ok(had_ended(globals, &id, &shape(&request))),
        Err(Error::Refused(refusal)) => Err(Failure::refused(refusal.to_string())),
        Err(Error::Fault(fault)) => Err(fault.into()),
    }
}

fn withdrawn(globals: &Globals, approval: &Value) -> Exit {
    print(&if globals.json { super::pretty(approval) } else { super::request::describe(approval) });
    Exit::Done
}

fn had_ended(globals: &Globals, id: &RequestId, approval: &Value) -> Exit {
    if globals.json {
        print(&super::pretty(approval));
    } else {
        note(&format!("the request {id} had already ended"));
        print(&super::request::describe(approval));
    }
    Exit::Refused
}

fn parse(text: &str) -> Result<RequestId, Failure> {
    RequestId::parse(text).map_err(|error| Failure::usage(format!("`{text}`: a request id {error}")))
}

/// The gate at an address, if one is meant.
async fn at_an_address(globals: &Globals, options: &OneRequest) -> Result<Option<Api>, Failure> {
    match super::address(globals, false)? {
        Some(url) => Ok(Some(super::api_at(url, globals, options.client.as_deref()).await?.0)),
        None => Ok(None),
    }
}

/// The request of that name: of the named client, or of the only one that has one.
pub(super) async fn find(
    store: &dyn Store,
    policy: &Policy,
    client: Option<&str>,
    id: &RequestId,
) -> Result<Request, Failure> {
    let clients: Vec<ClientId> = if let Some(client) = client {
        // A client that has left the policy may be named: its requests are still there.
        vec![super::client::parse_id(client)?]
    } else {
        let asking = policy.clients.iter().filter(|client| client.has(ClientRole::Requester));
        asking.map(|client| client.id.clone()).collect()
    };
    let mut found = Vec::new();
    for client in &clients {
        found.extend(store.load(RequestKey::of(client, id)).await?);
    }
    let names: Vec<String> = found.iter().map(|request| request.asked().client.to_string()).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(Failure::usage(format!("several clients have a request `{id}`"))
            .advise(format!("name one with --client: {}", names.join(", ")))),
        (None, _) => Err(Failure::refused(format!("there is no request `{id}`"))
            .with_code("no_such_request")
            .advise("`placet list` shows the last ones; --client names a client that has left the policy")),
    }
}
