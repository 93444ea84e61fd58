//! The data folder: who may look into it, and what tells that a gate serves from it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::failure::Failure;

/// Where a serving gate can be reached, while it serves.
const URL_FILE: &str = "gate.url";

/// The address that links and tokens of this folder name, where it is not the policy's `issuer`.
const PUBLIC_URL_FILE: &str = "public.url";

/// Held, shared, by every gate that serves from the folder; the system lets go of it when the process dies.
const SERVING_LOCK: &str = "serving.lock";

/// An opened data folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The sign that a gate serves from a folder; taken away when this is dropped.
pub(crate) struct Serving {
    folder: Folder,
    url: String,
    _lock: File,
}

impl Folder {
    /// Opens the folder, and makes it, for its owner alone, where it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        // Links, payloads and keys are in here: whatever this process writes is for its owner.
        rustix::process::umask(Mode::from_raw_mode(0o077));
        let folder = Self { path: path.to_owned() };
        for wanted in [folder.path.clone(), folder.outbox(), folder.queues()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&wanted).map_err(|error| {
                Failure::file("the data folder cannot be made:", &wanted, &error)
                    .advise("name another one with --data DIR, or set PLACET_DATA")
            })?;
        }
        Ok(folder)
    }

    /// Opens the folder, if it is there.
    pub(crate) fn existing(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Self::open(path);
        }
        Err(Failure::refused(format!("there is no data folder `{}`", path.display())).advise(
            "start a gate there with `placet serve --policy placet.toml`, or name the folder with --data DIR",
        ))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("gate.db")
    }

    /// Where letters to reviewers go.
    pub(crate) fn outbox(&self) -> PathBuf {
        self.path.join("outbox")
    }

    /// Where requests for other systems go.
    pub(crate) fn queues(&self) -> PathBuf {
        self.path.join("queue")
    }

    /// The address that links of this folder name, if a gate has said it.
    pub(crate) fn public_url(&self) -> Option<String> {
        read_line(&self.path.join(PUBLIC_URL_FILE))
    }

    /// Remembers that address for commands that make links while no gate serves; `None` leaves it to the policy.
    pub(crate) fn remember_public_url(&self, url: Option<&str>) -> Result<(), Failure> {
        let path = self.path.join(PUBLIC_URL_FILE);
        match url {
            Some(url) => replace(&path, format!("{url}\n").as_bytes())
                .map_err(|error| Failure::file("cannot write", &path, &error)),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Failure::file("cannot remove", &path, &error))
                }
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }

    /// Says that a gate serves from here, at that address.
    pub(crate) fn serve_at(&self, url: &str) -> Result<Serving, Failure> {
        let lock = self
            .serving_lock()
            .and_then(|lock| lock.lock_shared().map(|()| lock))
            .map_err(|error| Failure::file("cannot lock", &self.path.join(SERVING_LOCK), &error))?;
        let path = self.path.join(URL_FILE);
        replace(&path, format!("{url}\n").as_bytes())
            .map_err(|error| Failure::file("cannot write", &path, &error))?;
        Ok(Serving { folder: self.clone(), url: url.to_owned(), _lock: lock })
    }

    /// Where a gate serves from this folder, if one does: a file that a dead one left behind does not count.
    pub(crate) fn served_at(&self) -> Option<String> {
        match self.serving_lock().ok()?.try_lock() {
            Err(TryLockError::WouldBlock) => read_line(&self.path.join(URL_FILE)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    fn serving_lock(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.join(SERVING_LOCK))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let path = self.folder.path.join(URL_FILE);
        // Another gate may serve from here by now.
        if read_line(&path).as_deref() == Some(&self.url) {
            let _ = fs::remove_file(path);
        }
    }
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Puts a whole file in place of what is there: readers see the old one or the new one.
///
/// Not synced: what is written this way can be written again after the machine has died.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let unfinished = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    drop(file);
    fs::rename(&unfinished, path)
}

/// A folder that is gone when this is dropped: for demos, trials and tests.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one among the system's temporary files.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let path = std::env::temp_dir().join(format!("placet-{name}-{:016x}", u64::from_le_bytes(bytes)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_known_to_serve_while_it_does_and_not_by_what_a_dead_one_left() {
        let scratch = Scratch::new("folder").unwrap();
        let folder = Folder::open(&scratch.path().join("data")).unwrap();
        assert_eq!(folder.served_at(), None);
        let serving = folder.serve_at("http://127.0.0.1:1").unwrap();
        assert_eq!(folder.served_at().as_deref(), Some("http://127.0.0.1:1"));
        drop(serving);
        assert!(!folder.path().join(URL_FILE).exists());
        fs::write(folder.path().join(URL_FILE), "http://127.0.0.1:2").unwrap();
        assert_eq!(folder.served_at(), None);
    }
}
