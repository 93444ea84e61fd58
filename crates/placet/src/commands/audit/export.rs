//! `placet audit export`: the whole log as a folder that needs no gate to be verified.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_audit::note::{Checkpoint, NoteProblem, VerifierKey, open_horizon};
use placet_audit::{TileName, csv};
use placet_gate::ports::{LogHead, TrailQuery};
use serde_json::json;

use super::Opened;
use super::folder::{CHECKPOINT, ENTRIES, Export, HORIZON, LOG_KEY, TOKEN_KEYS, TOKEN_KEYS_NOTE, parse_key};
use crate::api::Api;
use crate::cli::{Deployment, Globals};
use crate::console::print;
use crate::failure::{Exit, Failure};

/// How many entries are in memory at once.
const PAGE: usize = 1000;

/// Where the log is.
enum Source {
    /// In a store that is at hand.
    Here(Opened),
    /// At an address, for an auditor.
    At(Api),
}

/// What is exported: the log as it was at one moment.
struct Head {
    size: u64,
    /// From where on the trail is whole.
    first: u64,
    checkpoint: String,
    horizon: String,
    key: VerifierKey,
    /// In a store that is at hand.
    stored: LogHead,
}

pub(super) async fn run(
    globals: &Globals,
    folder: &Path,
    auditor: Option<&str>,
    on: &Deployment,
) -> Result<Exit, Failure> {
    let source = match super::super::address(globals, on.aws)? {
        Some(url) => Source::At(super::super::api_at(url, globals, auditor).await?.0),
        None => Source::Here(Opened::of(globals, on).await?),
    };
    let is_used = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || folder.is_file() {
        return Err(Failure::usage(format!("`{}` is not empty", folder.display()))
            .advise("name a folder that does not exist yet"));
    }
    // What was recorded until now is part of the export. A gate that serves seals by itself, the one on AWS every minute.
    if let Source::Here(opened) = &source
        && !on.aws
    {
        super::seal_all(&opened.gate).await?;
    }
    let head = source.head().await?;
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("cannot make", folder, &error))?;
    let export = Export(folder.to_owned());
    source.write_entries(&export, &head).await?;
    for name in TileName::all(head.size, head.first) {
        let tile = source.tile(&head, name).await?;
        let path = export.tile_path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Failure::file("cannot make", parent, &error))?;
        }
        write(&path, &tile)?;
    }
    // What an address says of the keys of tokens is signed by nobody, so it would prove no token.
    if let Source::Here(opened) = &source {
        write_token_keys(opened, folder, &head.stored).await?;
    }
    write(&folder.join(LOG_KEY), format!("{}\n", head.key).as_bytes())?;
    write(&folder.join(HORIZON), head.horizon.as_bytes())?;
    // The checkpoint comes last: an export that was broken off has none, and is not taken for a whole one.
    write(&folder.join(CHECKPOINT), head.checkpoint.as_bytes())?;
    print(&if globals.json {
        super::super::pretty(&json!({
            "folder": folder.display().to_string(), "size": head.size, "first": head.first,
            "log_key": head.key.to_string(),
        }))
    } else {
        format!(
            "{} entries of the log {} are in {}\ncheck them with: placet audit verify {}\n",
            head.size - head.first,
            head.key.name(),
            folder.display(),
            folder.display()
        )
    });
    Ok(Exit::Done)
}

impl Source {
    async fn head(&self) -> Result<Head, Failure> {
        match self {
            Self::Here(opened) => {
                let stored = opened.store.log_head().await?;
                Ok(Head {
                    size: stored.leaves,
                    first: stored.min_index,
                    checkpoint: opened.gate.sign_head(&stored).await?,
                    horizon: opened.gate.sign_horizon(&stored).await?,
                    key: opened.gate.log_key().await?,
                    stored,
                })
            }
            Self::At(api) => {
                let key = parse_key(api.read("/v1/log/key").await?.body.trim())?;
                let checkpoint = api.read("/v1/log/checkpoint").await?.body;
                let horizon = api.read("/v1/log/horizon").await?.body;
                let size = Checkpoint::open(&checkpoint, &key).map_err(unsigned)?.size;
                let first = open_horizon(&horizon, &key).map_err(unsigned)?.min(size);
                Ok(Head { size, first, checkpoint, horizon, key, stored: LogHead::default() })
            }
        }
    }

    async fn write_entries(&self, export: &Export, head: &Head) -> Result<(), Failure> {
        let path = export.0.join(ENTRIES);
        let failed = |error: std::io::Error| Failure::file("cannot write", &path, &error);
        let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
        let mut from = head.first;
        while from < head.size {
            let limit = usize::try_from(head.size - from).unwrap_or(PAGE).min(PAGE);
            let lines = self.entries(from, limit).await?;
            if lines.is_empty() {
                return Err(missing(from));
            }
            for line in lines {
                file.write_all(line.as_bytes()).map_err(failed)?;
                from += 1;
            }
        }
        file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)
    }

    /// The lines of entries from that one on, without a gap: at least one, and at most so many.
    async fn entries(&self, from: u64, limit: usize) -> Result<Vec<String>, Failure> {
        match self {
            Self::Here(opened) => {
                let page = opened.store.trail(&TrailQuery { from, limit, since: None, until: None }).await?;
                let mut lines = Vec::new();
                for (index, placed) in (from..).zip(page.entries) {
                    if placed.index != index {
                        return Err(missing(index));
                    }
                    lines.push(csv::json_line(&placed.entry.fields()));
                }
                Ok(lines)
            }
            // Where an entry is missing, all that follow come one too early, and the last cannot be there: `verify` says
            // which one it is.
            Self::At(api) => {
                let answer = api.read(&format!("/v1/audit?cursor={from}&limit={limit}")).await?;
                Ok(answer.body.split_inclusive('\n').take(limit).map(str::to_owned).collect())
            }
        }
    }

    async fn tile(&self, head: &Head, name: TileName) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Here(opened) => {
                let tile = opened.gate.tile(&head.stored, name).await?;
                tile.ok_or_else(|| Failure::fault(format!("tile/{name} is missing from the log")))
            }
            Self::At(api) => Ok(api.read(&format!("/v1/log/tile/{name}")).await?.bytes.to_vec()),
        }
    }
}

/// The keys of tokens as a JWKS, and what the log signs of it.
async fn write_token_keys(opened: &Opened, folder: &Path, head: &LogHead) -> Result<(), Failure> {
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
    let note = opened.gate.sign_token_keys(head, jwks.as_bytes()).await?;
    write(&folder.join(TOKEN_KEYS_NOTE), note.as_bytes())
}

fn missing(index: u64) -> Failure {
    Failure::fault(format!("entry {index} is missing from the trail"))
}

fn unsigned(problem: NoteProblem) -> Failure {
    Failure::fault(format!("what the gate says of its log is not signed by its log: {problem}"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::file("cannot write", path, &error))
}
