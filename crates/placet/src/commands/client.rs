//! `placet client secret`: what to paste into the program that asks; and the end of a client's pause.

use placet_core::id::ClientId;
use placet_core::keys::Keyring;
use placet_core::policy::{Client, Policy};
use serde_json::json;

use super::Opened;
use crate::cli::{Deployment, Globals};
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::{Parts, broken_policy, read_policy_file};

/// Prints a client's secret, alone on the last line.
pub(crate) async fn secret(globals: &Globals, id: &str) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let id = parse_id(id)?;
    let parts = Parts::open(Folder::open(globals.data())?)?;
    let text = match &globals.policy {
        Some(file) => {
            let text = read_policy_file(file)?;
            Policy::read(&text).map_err(|diagnostics| broken_policy(file, &diagnostics))?;
            Some(text)
        }
        None => parts.installed_policy().await?,
    };
    let client = match text.as_deref().map(Policy::read) {
        Some(Ok(policy)) => Some(super::known_client(id.as_str(), &policy)?.clone()),
        Some(Err(_)) | None => None,
    };
    show(globals, &id, client.as_ref(), &parts.keys().held());
    Ok(Exit::Done)
}

/// Lifts every pause of a client.
pub(crate) async fn resume(globals: &Globals, id: &str, on: &Deployment) -> Result<Exit, Failure> {
    let id = parse_id(id)?;
    let opened = Opened::of(globals, on).await?;
    let client = super::known_client(id.as_str(), &opened.policy)?;
    let lifted = opened.gate.resume(&client.id).await?;
    if globals.json {
        let pauses: Vec<_> = lifted
            .iter()
            .map(|pause| {
                json!({
                    "by": pause.by.as_str(),
                    "from": pause.from.to_string(),
                    "until": pause.until.to_string(),
                })
            })
            .collect();
        print(&super::pretty(&json!({ "client": id.as_str(), "lifted": pauses })));
        return Ok(Exit::Done);
    }
    if lifted.is_empty() {
        print(&format!("{id} is not paused\n"));
        return Ok(Exit::Done);
    }
    let by: Vec<&str> = lifted.iter().map(|pause| pause.by.as_str()).collect();
    print(&format!("{id} is no longer paused; {} had paused it\n", by.join(" and ")));
    Ok(Exit::Done)
}

/// Prints the secret of that client, as the policy has it, if there is one.
pub(super) fn show(globals: &Globals, id: &ClientId, client: Option<&Client>, keyring: &Keyring) {
    if client.is_none() {
        note("no policy is installed yet: this is the secret that a client of this id will have");
    }
    let generation = client.map_or(1, |client| client.generation);
    let secret = keyring.current.client_secret(id, generation);
    let epoch = keyring.current.number;
    if globals.json {
        let value = json!({
            "client": id.as_str(),
            "secret": secret.expose(),
            "epoch": epoch,
            "generation": generation,
        });
        print(&super::pretty(&value));
        return;
    }
    let bearer = if client.is_some_and(|client| client.bearer) {
        format!("As a bearer key: `Authorization: Bearer {id}.` and the secret, without a space.\n")
    } else {
        String::new()
    };
    print(&format!(
        "Secret of client {id} (epoch {epoch}). Keep it like a password; the gate can print it again.\n{bearer}{}\n",
        secret.expose()
    ));
}

/// Reads a client's id from the command line.
pub(super) fn parse_id(id: &str) -> Result<ClientId, Failure> {
    ClientId::parse(id).map_err(|error| Failure::usage(format!("`{id}`: a client's id {error}")))
}
