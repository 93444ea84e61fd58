//! The keyring as a file: `DIR/keyring.json`, readable by its owner only, always whole.
//!
//! Its content is replaced by a rename, so readers need no lock; whoever writes holds `DIR/keyring.lock`.

#![expect(clippy::disallowed_methods, reason = "new keys are drawn here")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::chat::ChannelSettings;
use placet_core::keys::{EpochNumber, Keyring, Secret};
use placet_gate::Fault;
use placet_gate::ports::Keys;
use placet_sqlite::has_records;
use zeroize::Zeroizing;

use crate::channel_file::ChannelFile;
use crate::failure::Failure;
use crate::folder::{Folder, KEYRING, is_root};

pub(crate) const LOCK: &str = "keyring.lock";

/// The keyring of a data folder.
pub(crate) struct FileKeys {
    folder: PathBuf,
    held: RwLock<Held>,
    channels: ChannelFile,
}

struct Held {
    keyring: Arc<Keyring>,
    stamp: Stamp,
}

/// Tells one content of the file from another without reading it: every rename brings a new inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// Why a rotation did not happen.
#[derive(Debug)]
pub(crate) enum NotRotated {
    /// The keyring belongs to that user, whose gate could not read one that this process makes.
    BelongsTo(u32),
    /// Somebody else rotated since it was looked at.
    Overtaken,
    /// It could not be read or written.
    Fault(Fault),
}

impl From<Fault> for NotRotated {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl FileKeys {
    /// Opens the folder's keyring; `None` where there is none.
    pub(crate) fn existing(folder: &Path) -> Result<Option<Self>, Fault> {
        match read(folder) {
            Ok(held) => Ok(Some(Self::of(folder, held))),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(trouble.into_fault()),
        }
    }

    /// Opens the folder's keyring; makes one where there is none.
    ///
    /// Only where nothing was ever recorded, or the operator says so: all links and secrets come from the keyring.
    /// `epoch` is its first epoch's number: higher than any that records tell of.
    pub(crate) fn open_or_make(folder: &Path, epoch: EpochNumber, now: Timestamp) -> Result<Self, Fault> {
        if let Some(keys) = Self::existing(folder)? {
            return Ok(keys);
        }
        let _lock = lock(folder)?;
        // Another process may have been faster.
        if let Some(keys) = Self::existing(folder)? {
            return Ok(keys);
        }
        let mut first = Keyring::first(random_secret()?, random_secret()?, now);
        first.current.number = epoch;
        write(folder, &first)?;
        let held = read(folder).map_err(Trouble::into_fault)?;
        Ok(Self::of(folder, held))
    }

    fn of(folder: &Path, held: Held) -> Self {
        Self { folder: folder.to_owned(), held: RwLock::new(held), channels: ChannelFile::of(folder) }
    }

    /// The channels that are set up in this folder.
    pub(crate) const fn channel_file(&self) -> &ChannelFile {
        &self.channels
    }

    /// The keyring as it was read last.
    pub(crate) fn held(&self) -> Arc<Keyring> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).keyring)
    }

    /// Begins the epoch after that one. Of those who rotate at the same time, one does.
    pub(crate) fn rotate(&self, seen: EpochNumber, now: Timestamp) -> Result<Arc<Keyring>, NotRotated> {
        let owner = fs::metadata(self.folder.join(KEYRING)).map(|file| file.uid()).unwrap_or_default();
        if !is_root() && owner != rustix::process::geteuid().as_raw() {
            return Err(NotRotated::BelongsTo(owner));
        }
        let _lock = lock(&self.folder)?;
        let present = read(&self.folder).map_err(Trouble::into_fault)?;
        // What the caller found out about the present epoch must still be so: two rotations end what was made before.
        if present.keyring.current.number != seen {
            return Err(NotRotated::Overtaken);
        }
        write(&self.folder, &present.keyring.rotated(random_secret()?, random_secret()?, now))?;
        self.reread()?;
        Ok(self.held())
    }

    /// Makes the key that pushes are signed with, where there is none yet. `true` if this made it.
    ///
    /// Of those who make it at the same time, one does: devices subscribe with it, and none may be bound to a lost one.
    pub(crate) fn make_push_key(&self) -> Result<bool, Fault> {
        if self.held().push.is_some() {
            return Ok(false);
        }
        let _lock = lock(&self.folder)?;
        let present = read(&self.folder).map_err(Trouble::into_fault)?;
        if present.keyring.push.is_none() {
            let key = placet_delivery::push::new_key()
                .ok_or(Fault::bare("the system's random source failed: there is no key for push"))?;
            write(&self.folder, &Keyring { push: Some(key), ..Keyring::clone(&present.keyring) })?;
        }
        self.reread()?;
        Ok(present.keyring.push.is_none())
    }

    /// Reads the file again if it is another one than the one that was read. `true` if what is held came from it.
    pub(crate) fn reread_if_changed(&self) -> Result<bool, Fault> {
        let stamp = fs::metadata(self.folder.join(KEYRING))
            .map(|metadata| Stamp::of(&metadata))
            .map_err(|error| Fault::new("the keyring cannot be found", error))?;
        if stamp == self.held.read().unwrap_or_else(PoisonError::into_inner).stamp {
            return Ok(false);
        }
        let is_taken = self.reread()?;
        let epoch = self.held().current.number;
        if is_taken {
            tracing::info!(epoch, "the keyring was changed, and read again");
        } else {
            tracing::warn!(
                epoch,
                "`keyring.json` is of an earlier epoch than the keyring in use, which stays until the gate is restarted"
            );
        }
        Ok(is_taken)
    }

    /// Reads the file. `false` if it is of an earlier epoch than what is held, which stays.
    fn reread(&self) -> Result<bool, Fault> {
        let fresh = read(&self.folder).map_err(Trouble::into_fault)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // Of two readers, the one who read first must not write last.
        let is_taken = fresh.keyring.current.number >= held.keyring.current.number;
        if is_taken {
            *held = fresh;
        } else {
            // An old copy was put back: it is looked at once.
            held.stamp = fresh.stamp;
        }
        Ok(is_taken)
    }
}

/// Opens the keyring of a folder. Makes the first one where nothing was ever recorded; refuses where records have lost
/// theirs: with a new keyring every client's secret, every link and every token of theirs would be void.
pub(crate) fn open(folder: &Folder, now: Timestamp) -> Result<FileKeys, Failure> {
    if let Some(keys) = FileKeys::existing(folder.path())? {
        return Ok(keys);
    }
    if has_records(&folder.database())? {
        return Err(lost(folder.path()));
    }
    Ok(FileKeys::open_or_make(folder.path(), 1, now)?)
}

/// The keyring is lost.
pub(crate) fn lost(folder: &Path) -> Failure {
    Failure::refused(format!(
        "`{}` is missing, and the records beside it were made with its keys",
        folder.join(KEYRING).display()
    ))
    .with_code("keyring_missing")
    .advise(
        "put it back from your backup (`placet restore`), or begin anew with `placet serve --new-keyring`:\n\
         then every client's secret, every link and every token of before is void",
    )
}

#[async_trait]
impl Keys for FileKeys {
    /// Costs one stat, unless the file is another one. What is minted after a rotation must not be of the epoch before:
    /// the next rotation, which asks only what is older than the last one, would end it.
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault> {
        // `follow_files` tells of a trouble, once; the gate goes on with what it holds.
        drop(self.reread_if_changed());
        Ok(self.held())
    }

    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault> {
        self.reread_if_changed()?;
        Ok(self.held())
    }

    async fn channels(&self) -> Result<Arc<ChannelSettings>, Fault> {
        self.channels.read()
    }
}

enum Trouble {
    Missing,
    Unreadable(io::Error),
    NotAKeyring(serde_json::Error),
}

impl Trouble {
    fn into_fault(self) -> Fault {
        match self {
            Self::Missing => Fault::bare("the keyring has gone: put `keyring.json` back from your backup"),
            Self::Unreadable(error) => Fault::new("the keyring cannot be read", error),
            Self::NotAKeyring(error) => Fault::new("`keyring.json` is not a keyring", error),
        }
    }
}

impl Stamp {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

fn read(folder: &Path) -> Result<Held, Trouble> {
    let file = File::open(folder.join(KEYRING)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Unreadable(error),
    })?;
    let stamp = Stamp::of(&file.metadata().map_err(Trouble::Unreadable)?);
    let text = Zeroizing::new(io::read_to_string(file).map_err(Trouble::Unreadable)?);
    let keyring = serde_json::from_str(&text).map_err(Trouble::NotAKeyring)?;
    Ok(Held { keyring: Arc::new(keyring), stamp })
}

/// Keeps everybody from changing the keyring until it is dropped, or its process dies.
pub(crate) fn lock(folder: &Path) -> Result<File, Fault> {
    Folder::at(folder)
        .private_file(LOCK)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| Fault::new("the keyring's lock cannot be taken", error))
}

/// Replaces the file. It is on the disk when this returns: a secret that was shown must never be lost.
fn write(folder: &Path, keyring: &Keyring) -> Result<(), Fault> {
    let fault = |error: io::Error| Fault::new("the keyring cannot be written", error);
    let text = serde_json::to_string_pretty(keyring)
        .map(Zeroizing::new)
        .map_err(|error| Fault::new("the keyring cannot be written", error))?;
    let unfinished = folder.join("keyring.json.unfinished");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished).map_err(fault)?;
    file.write_all(text.as_bytes()).map_err(fault)?;
    // A gate that runs as another user must go on reading it, also when root rotates.
    Folder::at(folder).give_to_owner(&unfinished).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    fs::rename(&unfinished, folder.join(KEYRING)).map_err(fault)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)
}

fn random_secret() -> Result<Secret, Fault> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Fault::new("the system's random source failed", error))?;
    Ok(Secret::new(*bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::folder::Scratch;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn the_first_opener_makes_the_keyring_and_the_next_one_reads_it() {
        let scratch = Scratch::new("keys").unwrap();
        let first = FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        let second = FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        assert_eq!(first.held().current.master.expose(), second.held().current.master.expose());
        let mode = fs::metadata(scratch.path().join(KEYRING)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_keyring_that_is_missing_is_made_only_where_that_is_asked_for() {
        let scratch = Scratch::new("keys").unwrap();
        assert!(FileKeys::existing(scratch.path()).unwrap().is_none());
        assert!(!scratch.path().join(KEYRING).exists());
        let made = FileKeys::open_or_make(scratch.path(), 7, NOW).unwrap();
        assert_eq!(made.held().current.number, 7);
        assert!(FileKeys::existing(scratch.path()).unwrap().is_some());
    }

    #[test]
    fn the_key_of_pushes_is_made_once_and_stays_through_rotations() {
        let scratch = Scratch::new("keys").unwrap();
        let open = || FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        assert!(open().held().push.is_none());
        let makers: Vec<bool> = std::thread::scope(|scope| {
            let making: Vec<_> = (0..8).map(|_| scope.spawn(|| open().make_push_key().unwrap())).collect();
            making.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(makers.iter().filter(|is_maker| **is_maker).count(), 1);
        let public = |keys: &FileKeys| keys.held().push.as_ref().map(|key| key.public.clone());
        let first = public(&open());
        assert!(first.is_some());
        open().rotate(1, NOW).unwrap();
        let rotated = open();
        assert_eq!((rotated.held().current.number, public(&rotated)), (2, first));
        assert!(!rotated.make_push_key().unwrap());
        let mode = fs::metadata(scratch.path().join(KEYRING)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_rotation_by_another_process_is_noticed_by_whoever_mints_next() {
        let scratch = Scratch::new("keys").unwrap();
        let gate = FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        assert!(!gate.reread_if_changed().unwrap());
        let operator = FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        let rotated = operator.rotate(1, NOW.plus_millis(1)).unwrap();
        assert_eq!(gate.keyring().await.unwrap().current.number, 2);
        assert!(!gate.reread_if_changed().unwrap());
        assert_eq!(gate.held().current.master.expose(), rotated.current.master.expose());
        assert_eq!(gate.held().epochs().map(|epoch| epoch.number).collect::<Vec<_>>(), [2, 1]);
        fs::remove_file(scratch.path().join(KEYRING)).unwrap();
        assert_eq!(gate.keyring().await.unwrap().current.number, 2, "it goes on with what it holds");
        assert!(gate.refreshed().await.is_err());
    }

    #[test]
    fn an_old_copy_that_was_put_back_is_looked_at_once_and_never_used() {
        let scratch = Scratch::new("keys").unwrap();
        let gate = FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        let copy = fs::read(scratch.path().join(KEYRING)).unwrap();
        gate.rotate(1, NOW).unwrap();
        fs::write(scratch.path().join(KEYRING), copy).unwrap();
        let before = gate.held.read().unwrap().stamp;
        assert!(!gate.reread_if_changed().unwrap());
        assert_eq!(gate.held().current.number, 2);
        let seen = gate.held.read().unwrap().stamp;
        assert_ne!(seen, before);
        assert_eq!(seen, Stamp::of(&fs::metadata(scratch.path().join(KEYRING)).unwrap()));
    }

    #[test]
    fn a_damaged_keyring_is_reported_and_never_replaced() {
        let scratch = Scratch::new("keys").unwrap();
        fs::write(scratch.path().join(KEYRING), "{").unwrap();
        let fault = FileKeys::open_or_make(scratch.path(), 1, NOW).err().unwrap();
        assert!(fault.chain().starts_with("`keyring.json` is not a keyring"), "{}", fault.chain());
        assert_eq!(fs::read_to_string(scratch.path().join(KEYRING)).unwrap(), "{");
    }

    #[test]
    fn of_rotations_at_the_same_time_one_counts() {
        let scratch = Scratch::new("keys").unwrap();
        let open = || FileKeys::open_or_make(scratch.path(), 1, NOW).unwrap();
        open();
        let done: Vec<bool> = std::thread::scope(|scope| {
            let rotating: Vec<_> = (0..8).map(|_| scope.spawn(|| open().rotate(1, NOW).is_ok())).collect();
            rotating.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(done.iter().filter(|done| **done).count(), 1);
        assert_eq!(open().held().current.number, 2);
        assert!(matches!(open().rotate(1, NOW), Err(NotRotated::Overtaken)));
    }
}
