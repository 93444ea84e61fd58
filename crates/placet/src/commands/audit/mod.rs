//! `placet audit`: the trail as one reads it, takes it away, and checks it without a gate.

mod export;
mod folder;
mod show;
mod verify;
mod witness;

use placet_core::id::RequestId;
use placet_gate::{Error, Gate};
use serde_json::json;

use super::Opened;
use crate::api::{Api, Transport};
use crate::cli::{AuditCommand, Deployment, Globals};
use crate::console::print;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;

pub(crate) async fn run(globals: &Globals, command: AuditCommand) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Show(options) => show::run(globals, options).await,
        AuditCommand::Export { folder, auditor, on } => {
            export::run(globals, &folder, auditor.as_deref(), &on).await
        }
        AuditCommand::Verify(options) => verify::run(globals, &options),
        AuditCommand::Receipt { request_id, client, on } => {
            receipt(globals, &request_id, client.as_deref(), &on).await
        }
        AuditCommand::Key { on } => key(globals, &on).await,
        AuditCommand::Witness { folder, state, name } => {
            witness::run(globals, &folder, &state, name.as_deref())
        }
        AuditCommand::Prune { older_than } => prune(globals, older_than).await,
    }
}

/// Prints a request's receipt.
async fn receipt(
    globals: &Globals,
    request_id: &str,
    client: Option<&str>,
    on: &Deployment,
) -> Result<Exit, Failure> {
    let id = RequestId::parse(request_id)
        .map_err(|error| Failure::usage(format!("`{request_id}`: a request id {error}")))?;
    if let Some(url) = super::address(globals, on.aws)? {
        let (api, _) = super::api_at(url, globals, client).await?;
        let answer = api.call(http::Method::GET, &format!("/v1/requests/{id}/receipt"), None).await?;
        print(&super::pretty(&answer.accept()?));
        return Ok(Exit::Done);
    }
    let opened = Opened::of(globals, on).await?;
    let request = super::show::find(opened.store.as_ref(), &opened.policy, client, &id).await?;
    // No gate may be serving from this folder, so nobody else seals.
    if !on.aws {
        seal_all(&opened.gate).await?;
    }
    let receipt = opened.gate.receipt_for_operator(&request, &opened.policy).await.map_err(refused)?;
    print(&super::pretty(&json!(receipt)));
    Ok(Exit::Done)
}

/// Prints the log's public key.
async fn key(globals: &Globals, on: &Deployment) -> Result<Exit, Failure> {
    let key = match (&globals.url, on.aws) {
        // Anyone may read it: no secret is needed.
        (Some(url), false) => {
            let anyone = Api::new(Transport::network(url)?, "anyone", "");
            folder::parse_key(anyone.read("/v1/log/key").await?.body.trim())?.to_string()
        }
        (None, _) | (Some(_), true) => Opened::of(globals, on).await?.gate.log_key().await?.to_string(),
    };
    print(&if globals.json { super::pretty(&json!({ "log_key": key })) } else { format!("{key}\n") });
    Ok(Exit::Done)
}

/// Takes away the entries that are past their retention. Their hashes stay.
async fn prune(globals: &Globals, older_than: std::time::Duration) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    seal_all(&local.gate).await?;
    let millis = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
    let (taken, horizon) = local.store.prune(local.now().plus_millis(millis.saturating_neg())).await?;
    print(&if globals.json {
        super::pretty(&json!({ "removed": taken, "min_index": horizon }))
    } else {
        format!(
            "{taken} entries were removed; from entry {horizon} on the trail is whole, and every hash is kept\n"
        )
    });
    Ok(Exit::Done)
}

async fn seal_all(gate: &Gate) -> Result<(), Failure> {
    while gate.seal().await?.more {}
    Ok(())
}

fn refused(error: Error) -> Failure {
    match error {
        Error::Refused(refusal) => Failure::refused(refusal.to_string()).with_code(refusal.code()),
        Error::Ended(_) => Failure::refused("the request has ended"),
        Error::Fault(fault) => fault.into(),
    }
}
