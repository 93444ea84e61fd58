//! The data folder: who may look into it, and what tells that a gate serves from it.

#![expect(clippy::disallowed_methods, reason = "names of temporary files are drawn here")]

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Mode;

use crate::failure::Failure;

/// The keyring's name in the data folder.
pub(crate) const KEYRING: &str = "keyring.json";

/// Where a serving gate can be reached, while it serves.
pub(crate) const URL_FILE: &str = "gate.url";

/// The address that links and tokens of this folder name, where it is not the policy's `issuer`.
const PUBLIC_URL_FILE: &str = "public.url";

/// Locked by the one gate that serves from the folder; the system lets go of it when the process dies. Says whose it is.
pub(crate) const SERVING_LOCK: &str = "serving.lock";

/// How long a gate that starts waits for the lock: whoever only asks whether one serves holds it for a moment.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(1);
const CLAIM_STEP: Duration = Duration::from_millis(10);

/// The database's name in the folder.
pub(crate) const DATABASE: &str = "gate.db";

/// An opened data folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The right to serve from a folder: one process has it at a time.
pub(crate) struct Claim {
    folder: Folder,
    lock: File,
}

/// The sign that a gate serves from a folder; taken away when this is dropped.
pub(crate) struct Serving {
    folder: Folder,
    url: String,
    _lock: File,
}

/// The gate that serves from a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedBy {
    /// Where it can be reached; none while it starts.
    pub(crate) url: Option<String>,
    /// Its process id.
    pub(crate) process: Option<u32>,
}

impl Folder {
    /// Opens the folder, and makes it, for its owner alone, where it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        // Links, payloads and keys are in here: whatever this process writes is for its owner.
        rustix::process::umask(Mode::from_raw_mode(0o077));
        let folder = Self::at(path);
        for wanted in [folder.path.clone(), folder.outbox(), folder.queues()] {
            if wanted.is_dir() {
                continue;
            }
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&wanted);
            made.and_then(|()| folder.give_to_owner(&wanted)).map_err(|error| {
                Failure::file("the data folder cannot be made:", &wanted, &error)
                    .advise("name another one with --data DIR, or set PLACET_DATA")
            })?;
        }
        folder.prepare_database()?;
        Ok(folder)
    }

    /// Makes the empty database where root would, but somebody else serves.
    fn prepare_database(&self) -> Result<(), Failure> {
        let path = self.database();
        if !is_root() || self.owner().is_none_or(|owner| owner.user == 0) || path.exists() {
            return Ok(());
        }
        self.private_file(DATABASE)
            .map(drop)
            .map_err(|error| Failure::file("the database cannot be made:", &path, &error))
    }

    /// Whom what is in the folder belongs to: the user whose gate serves from it.
    ///
    /// That is the database's owner, or else the keyring's: the folder itself may be a volume that belongs to root.
    pub(crate) fn owner(&self) -> Option<Owner> {
        let of = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            Some(Owner { user: metadata.uid(), group: metadata.gid() })
        };
        [self.database(), self.path.join(KEYRING)]
            .iter()
            .filter_map(|path| of(path))
            .find(|owner| owner.user != 0)
            .or_else(|| of(&self.path))
    }

    /// Gives what root has just made to the folder's owner, whose gate could not read it otherwise.
    pub(crate) fn give_to_owner(&self, made: &Path) -> io::Result<()> {
        let Some(owner) = self.owner().filter(|owner| is_root() && owner.user != 0) else { return Ok(()) };
        std::os::unix::fs::lchown(made, Some(owner.user), Some(owner.group))
    }

    /// Opens a file of the folder to write, for its owner alone, and makes it where it is missing.
    pub(crate) fn private_file(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        let is_new = !path.exists();
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path)?;
        if is_new {
            self.give_to_owner(&path)?;
        }
        Ok(file)
    }

    /// The folder at that path, as it is.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Opens the folder, if it is there.
    pub(crate) fn existing(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Self::open(path);
        }
        Err(Failure::refused(format!("there is no data folder `{}`", path.display())).with_code("no_data_folder").advise(
            "start a gate there with `placet serve --policy placet.toml`, or name the folder with --data DIR",
        ))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Writes a small file and takes it away again: fails where the disk is full or the folder closed.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        let probe = self.path.join(format!(".probe.{}", std::process::id()));
        let written = fs::write(&probe, [0; 512]);
        let removed = fs::remove_file(&probe);
        written.and(removed)
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

    /// Takes the right to serve from here. Refused, with who has it, while another gate serves.
    pub(crate) fn claim(&self) -> Result<Claim, Failure> {
        let path = self.path.join(SERVING_LOCK);
        let begun = Instant::now();
        let mut lock =
            self.private_file(SERVING_LOCK).map_err(|error| Failure::file("cannot lock", &path, &error))?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < CLAIM_TIMEOUT => {
                    std::thread::sleep(CLAIM_STEP);
                }
                Err(TryLockError::WouldBlock) => return Err(self.taken()),
                Err(TryLockError::Error(error)) => return Err(Failure::file("cannot lock", &path, &error)),
            }
        }
        // What a dead gate has left here is not ours. Nobody reads it while the lock is held and it is empty.
        let _ = fs::remove_file(self.path.join(URL_FILE));
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|error| Failure::file("cannot write", &path, &error))?;
        Ok(Claim { folder: self.clone(), lock })
    }

    fn taken(&self) -> Failure {
        let by = self.served_by();
        let process = by
            .as_ref()
            .and_then(|by| by.process)
            .map_or_else(String::new, |process| format!(" (process {process})"));
        let place = by
            .and_then(|by| by.url)
            .map_or_else(|| ", which is still starting".to_owned(), |url| format!(" at {url}"));
        Failure::refused(format!("another gate{process} serves from `{}`{place}", self.path.display()))
            .with_code("folder_in_use")
            .advise("one gate serves a folder: end that one first, or name another folder with --data DIR")
    }

    /// Where a gate serves from this folder, if one does: a file that a dead one left behind does not count.
    pub(crate) fn served_at(&self) -> Option<String> {
        self.served_by()?.url
    }

    /// The gate that serves from this folder, if one does.
    pub(crate) fn served_by(&self) -> Option<ServedBy> {
        let path = self.path.join(SERVING_LOCK);
        // Shared: two who ask at the same moment must not take each other for a gate.
        match File::open(&path).ok()?.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(ServedBy {
                url: read_line(&self.path.join(URL_FILE)),
                process: read_line(&path).and_then(|text| text.parse().ok()),
            }),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

/// A user and their group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: u32,
    /// The group.
    pub(crate) group: u32,
}

impl Claim {
    /// Says that the gate can be reached at that address.
    pub(crate) fn serve_at(self, url: &str) -> Result<Serving, Failure> {
        let path = self.folder.path.join(URL_FILE);
        replace(&path, format!("{url}\n").as_bytes())
            .map_err(|error| Failure::file("cannot write", &path, &error))?;
        Ok(Serving { folder: self.folder, url: url.to_owned(), _lock: self.lock })
    }
}

/// Whether this process may give files to others.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
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
    // Root writes for the user whose folder it is.
    if let Some(parent) = path.parent().filter(|_| is_root()) {
        let owner = fs::metadata(parent)?;
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
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
        assert_eq!(folder.served_by(), None);
        let claim = folder.claim().unwrap();
        let process = Some(std::process::id());
        assert_eq!(folder.served_by(), Some(ServedBy { url: None, process }));
        let serving = claim.serve_at("http://127.0.0.1:1").unwrap();
        let url = Some("http://127.0.0.1:1".to_owned());
        assert_eq!(folder.served_by(), Some(ServedBy { url, process }));
        drop(serving);
        assert!(!folder.path().join(URL_FILE).exists());
        fs::write(folder.path().join(URL_FILE), "http://127.0.0.1:2").unwrap();
        fs::write(folder.path().join(SERVING_LOCK), "1\n").unwrap();
        assert_eq!(folder.served_by(), None);
        assert!(folder.claim().is_ok());
    }

    #[test]
    fn a_second_gate_is_refused_with_who_the_first_is() {
        let scratch = Scratch::new("folder").unwrap();
        let folder = Folder::open(&scratch.path().join("data")).unwrap();
        let _first = folder.claim().unwrap().serve_at("http://127.0.0.1:1").unwrap();
        let refused = folder.claim().err().unwrap();
        assert_eq!(refused.code(), 1);
        let said = refused.to_string();
        assert!(said.contains("at http://127.0.0.1:1"), "{said}");
        assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    }

    #[test]
    fn asking_whether_a_gate_serves_keeps_none_from_starting() {
        let scratch = Scratch::new("folder").unwrap();
        let folder = Folder::open(&scratch.path().join("data")).unwrap();
        drop(folder.claim().unwrap());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _ = folder.served_by();
                    }
                });
            }
            for _ in 0..20 {
                drop(folder.claim().unwrap());
            }
        });
    }
}
