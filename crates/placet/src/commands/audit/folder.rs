//! An exported log as a folder: where each of its files is.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use placet_audit::TileName;
use placet_audit::note::{Checkpoint, NoteProblem, VerifierKey, open_horizon};
use placet_audit::verify::Files;

use crate::failure::Failure;

pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const HORIZON: &str = "horizon";
pub(super) const ENTRIES: &str = "entries.jsonl";
pub(super) const LOG_KEY: &str = "log.vkey";
pub(super) const TOKEN_KEYS: &str = "jwks.json";
pub(super) const TOKEN_KEYS_NOTE: &str = "jwks.note";

/// An export.
pub(super) struct Export(pub(super) PathBuf);

impl Export {
    /// The signed head.
    pub(super) fn checkpoint(&self) -> Result<String, Failure> {
        read_text(&self.0.join(CHECKPOINT)).map_err(|failure| {
            failure.advise(
                "an export that was not finished has no checkpoint; `placet audit export FOLDER` writes one",
            )
        })
    }

    /// The key that the export names.
    pub(super) fn own_key(&self) -> Result<VerifierKey, Failure> {
        let text = read_text(&self.0.join(LOG_KEY))?;
        parse_key(text.trim())
    }

    /// The first entry that must be there, as the log has signed it.
    pub(super) fn first(&self, key: &VerifierKey) -> Result<Result<u64, NoteProblem>, Failure> {
        let path = self.0.join(HORIZON);
        if !path.exists() {
            return Ok(Ok(0));
        }
        Ok(open_horizon(&read_text(&path)?, key))
    }

    /// Whether the key that the export names is that one; one that names none leaves it to whoever verifies.
    pub(super) fn names(&self, key: &VerifierKey) -> Result<bool, Failure> {
        let named = self.file(LOG_KEY)?;
        Ok(named.is_none_or(|named| named.trim_ascii() == key.to_string().as_bytes()))
    }

    /// One of its files; none if it is not there.
    pub(super) fn file(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        read_if_there(&self.0.join(name))
    }

    pub(super) fn tile_path(&self, name: TileName) -> PathBuf {
        self.0.join("tile").join(name.to_string())
    }
}

impl Files for Export {
    type Error = Failure;

    fn tile(&self, name: TileName) -> Result<Option<Vec<u8>>, Failure> {
        read_if_there(&self.tile_path(name))
    }

    fn entries(&self) -> Result<impl Iterator<Item = Result<String, Failure>>, Failure> {
        lines(&self.0.join(ENTRIES))
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("cannot read", path, &error)),
    }
}

/// The lines of a file, of which one at a time is in memory. What is not UTF-8 is a line that no entry is.
pub(super) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String, Failure>> + use<>, Failure> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(|error| Failure::file("cannot read", &path, &error))?;
    let bytes = BufReader::new(file).split(b'\n');
    Ok(bytes.map(move |line| {
        let line = line.map_err(|error| Failure::file("cannot read", &path, &error))?;
        Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
    }))
}

pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::file("cannot read", path, &error))
}

pub(super) fn parse_key(text: &str) -> Result<VerifierKey, Failure> {
    VerifierKey::parse(text).ok_or_else(|| {
        Failure::usage(format!("`{text}` is not a key")).advise(
            "a key looks like placet/log/0123456789abcdef+01234567+…, as `placet audit key` prints it",
        )
    })
}

/// A head that may be older or newer, in a file of its own, in an export, or in a receipt.
pub(super) fn checkpoint_in(path: &Path) -> Result<String, Failure> {
    if path.is_dir() {
        return Export(path.to_owned()).checkpoint();
    }
    let text = read_text(path)?;
    let receipt: Option<placet_audit::Receipt> = serde_json::from_str(&text).ok();
    let proof = receipt.map(|receipt| receipt.proof).unwrap_or(text);
    // A proof ends with the checkpoint that it leads to.
    let checkpoint = match placet_audit::InclusionProof::parse(&proof) {
        Ok(proof) => proof.checkpoint,
        Err(_) => proof,
    };
    if Checkpoint::unverified(&checkpoint).is_none() {
        return Err(Failure::usage(format!("`{}` holds no checkpoint", path.display()))
            .advise("name an older export, its file `checkpoint`, or a receipt"));
    }
    Ok(checkpoint)
}
