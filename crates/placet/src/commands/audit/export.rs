//! `placet audit export`: the whole log as a folder that needs no gate to be verified.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_audit::{TileName, csv};
use placet_gate::ports::TrailQuery;
use serde_json::json;

use super::Opened;
use super::folder::{CHECKPOINT, ENTRIES, Export, HORIZON, LOG_KEY, TOKEN_KEYS, TOKEN_KEYS_NOTE};
use crate::cli::{Deployment, Globals};
use crate::console::print;
use crate::failure::{Exit, Failure};

/// How many entries are in memory at once.
const PAGE: usize = 1000;

pub(super) async fn run(globals: &Globals, folder: &Path, on: &Deployment) -> Result<Exit, Failure> {
    let opened = Opened::of(globals, on).await?;
    let is_used = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || folder.is_file() {
        return Err(Failure::usage(format!("`{}` is not empty", folder.display()))
            .advise("name a folder that does not exist yet"));
    }
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("cannot make", folder, &error))?;
    // What was recorded until now is part of the export. On AWS the sweep alone seals, every minute.
    if !on.aws {
        super::seal_all(&opened.gate).await?;
    }
    let head = opened.store.log_head().await?;
    let export = Export(folder.to_owned());
    write_entries(&opened, &export, head.min_index, head.leaves).await?;
    for name in TileName::all(head.leaves, head.min_index) {
        let tile = opened.gate.tile(&head, name).await?;
        let tile = tile.ok_or_else(|| Failure::fault(format!("tile/{name} is missing from the log")))?;
        let path = export.tile_path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Failure::file("cannot make", parent, &error))?;
        }
        write(&path, &tile)?;
    }
    let keys: Vec<_> = opened
        .gate
        .public_keys()
        .await?
        .into_iter()
        .map(|(kid, key)| {
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": URL_SAFE_NO_PAD.encode(key)})
        })
        .collect();
    let jwks = super::super::pretty(&json!({ "keys": keys }));
    write(&folder.join(TOKEN_KEYS), jwks.as_bytes())?;
    let note = opened.gate.sign_token_keys(&head, jwks.as_bytes()).await?;
    write(&folder.join(TOKEN_KEYS_NOTE), note.as_bytes())?;
    let key = opened.gate.log_key().await?;
    write(&folder.join(LOG_KEY), format!("{key}\n").as_bytes())?;
    write(&folder.join(HORIZON), opened.gate.sign_horizon(&head).await?.as_bytes())?;
    // The checkpoint comes last: an export that was broken off has none, and is not taken for a whole one.
    write(&folder.join(CHECKPOINT), opened.gate.sign_head(&head).await?.as_bytes())?;
    print(&if globals.json {
        super::super::pretty(&json!({
            "folder": folder.display().to_string(), "size": head.leaves, "first": head.min_index,
            "log_key": key.to_string(),
        }))
    } else {
        format!(
            "{} entries of the log {} are in {}\ncheck them with: placet audit verify {}\n",
            head.leaves - head.min_index,
            key.name(),
            folder.display(),
            folder.display()
        )
    });
    Ok(Exit::Done)
}

async fn write_entries(opened: &Opened, export: &Export, first: u64, end: u64) -> Result<(), Failure> {
    let path = export.0.join(ENTRIES);
    let failed = |error: std::io::Error| Failure::file("cannot write", &path, &error);
    let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
    let mut from = first;
    while from < end {
        let limit = usize::try_from(end - from).unwrap_or(PAGE).min(PAGE);
        let page = opened.store.trail(&TrailQuery { from, limit, since: None, until: None }).await?;
        for placed in page.entries {
            if placed.index != from {
                return Err(Failure::fault(format!("entry {from} is missing from the trail")));
            }
            file.write_all(csv::json_line(&placed.entry.fields()).as_bytes()).map_err(failed)?;
            from += 1;
        }
        if page.next.is_none() && from < end {
            return Err(Failure::fault(format!("entry {from} is missing from the trail")));
        }
    }
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::file("cannot write", path, &error))
}
