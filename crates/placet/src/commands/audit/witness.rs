//! `placet audit witness`: somebody else's key signs which history it has seen, so that nobody can be shown another.
//!
//! The witness keeps the last head that it has signed, and signs a new one only if the log has grown from that.

#![expect(
    clippy::disallowed_methods,
    reason = "a witness's key is drawn here, and its clock is the machine's"
)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use placet_audit::note::{self, Checkpoint, Signer};
use placet_audit::verify::{self, Seen};
use serde_json::json;
use zeroize::Zeroizing;

use super::folder::{Export, LOG_KEY, parse_key, read_text};
use crate::cli::Globals;
use crate::console::print;
use crate::failure::{Exit, Failure};

const KEY: &str = "witness.key";
const PUBLIC_KEY: &str = "witness.vkey";
const SIGNED: &str = "checkpoint";
const NAME: &str = "placet/witness";

pub(super) fn run(
    globals: &Globals,
    folder: &Path,
    state: &Path,
    name: Option<&str>,
) -> Result<Exit, Failure> {
    let export = Export(folder.to_owned());
    std::fs::create_dir_all(state).map_err(|error| Failure::file("cannot make", state, &error))?;
    let (name, secret) = own_key(state, name)?;
    let log_key = pinned_key(&export, state)?;
    let refused = |message: String| {
        print(&if globals.json {
            super::super::pretty(&json!({ "valid": false, "message": message }))
        } else {
            format!("not signed: {message}\n")
        });
        Ok(Exit::Refused)
    };
    let note = export.checkpoint()?;
    let checkpoint = match Checkpoint::open(&note, &log_key) {
        Ok(checkpoint) => checkpoint,
        Err(problem) => return refused(format!("the checkpoint: {problem}")),
    };
    let first = match export.first(&log_key)? {
        Ok(first) => first,
        Err(problem) => return refused(format!("the horizon: {problem}")),
    };
    let last = state.join(SIGNED);
    let seen = if last.exists() {
        let before = Checkpoint::open(&read_text(&last)?, &log_key)
            .map_err(|problem| Failure::fault(format!("`{}`: {problem}", last.display())))?;
        Some(Seen { checkpoint: before, leaves: Vec::new() })
    } else {
        None
    };
    if let Err(finding) = verify::export(&export, &checkpoint, first, seen.as_ref())? {
        return refused(finding.to_string());
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let signer = Signer::witness(&name, secret, time).ok_or_else(|| {
        Failure::usage(format!("`{name}` cannot be a witness's name"))
            .advise("spaces and `+` are not allowed in it")
    })?;
    // The log's own text alone is cosigned, without other witnesses' lines.
    let cosigned =
        note::cosign(&note, &[&signer]).ok_or_else(|| Failure::fault("the checkpoint cannot be read"))?;
    // What is signed is remembered first: a witness that forgot could sign another history.
    write(&last, &cosigned)?;
    let vkey = signer.key().to_string();
    write(&state.join(PUBLIC_KEY), &format!("{vkey}\n"))?;
    print(&if globals.json {
        super::super::pretty(&json!({
            "valid": true, "size": checkpoint.size, "checkpoint": cosigned, "witness_key": vkey, "time": time,
        }))
    } else {
        cosigned
    });
    Ok(Exit::Done)
}

/// The witness's name and key; made at the first run, readable by its owner alone.
fn own_key(state: &Path, name: Option<&str>) -> Result<(String, SigningKey), Failure> {
    let path = state.join(KEY);
    if !path.exists() {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| Failure::fault(format!("the system has no randomness: {error}")))?;
        let text = Zeroizing::new(format!("{} {}\n", name.unwrap_or(NAME), STANDARD.encode(*seed)));
        write(&path, &text)?;
    }
    let text = Zeroizing::new(read_text(&path)?);
    let parsed = text.trim().split_once(' ').and_then(|(name, seed)| {
        let seed: [u8; 32] = STANDARD.decode(seed).ok()?.try_into().ok()?;
        Some((name.to_owned(), SigningKey::from_bytes(&seed)))
    });
    let (known, key) = parsed.ok_or_else(|| Failure::fault(format!("`{}` holds no key", path.display())))?;
    match name {
        Some(name) if name != known => Err(Failure::usage(format!("this witness is called `{known}`"))
            .advise("another name needs another --state folder")),
        Some(_) | None => Ok((known, key)),
    }
}

/// The log's key: the export's own at the first run, and the same one ever after.
fn pinned_key(export: &Export, state: &Path) -> Result<note::VerifierKey, Failure> {
    let path = state.join(LOG_KEY);
    if path.exists() {
        return parse_key(read_text(&path)?.trim());
    }
    let key = export.own_key()?;
    write(&path, &format!("{key}\n"))?;
    Ok(key)
}

/// Writes a file that only its owner can read, whole or not at all, and waits for the disk.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let unfinished = path.with_extension("unfinished");
    let write = || {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|error| Failure::file("cannot write", path, &error))
}
