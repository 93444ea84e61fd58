//! A data folder as one file, and back.
//!
//! A backup is a tar archive, readable by its owner only, that any `tar` can open: first `placet-backup.json`, which
//! names every file with its length and SHA-256, then the files. The database in it is a copy of one moment; the keyring
//! is one that knows all the epochs of that moment, because nobody can rotate while the copy is made.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use placet_core::Timestamp;
use placet_core::keys::Keyring;
use placet_core::payload::hex;
use placet_sqlite::{check_database, copy_database};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::folder::{Folder, SERVING_LOCK, URL_FILE};
use crate::keys;

/// The first entry of a backup.
const MANIFEST: &str = "placet-backup.json";

/// The version of this layout.
const FORMAT: u32 = 1;

/// A tar is of such blocks, and ends with two empty ones (POSIX.1, `ustar`).
const BLOCK_BYTES: u64 = 512;

/// The most that is read of a manifest, in bytes.
const MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// How a half-made copy of the database, and a half-restored folder, are called.
const COPY: &str = ".backup.db";
const RESTORING: &str = ".restoring";

/// What a file system puts into a new volume by itself.
const OF_THE_VOLUME: &str = "lost+found";

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of the layout.
    format: u32,
    /// The version of placet that made it.
    placet: String,
    /// When.
    #[serde(with = "placet_core::time::rfc3339")]
    pub(crate) made_at: Timestamp,
    /// Every file, by its path in the data folder.
    files: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// How many files are in it.
    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    /// How many bytes they have.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|entry| entry.bytes).sum()
    }
}

/// Writes a folder into `to`, while a gate may be serving from it.
pub(crate) fn write(folder: &Folder, now: Timestamp, to: impl Write) -> Result<Manifest, Failure> {
    let path = folder.path();
    if !folder.database().exists() {
        return Err(Failure::refused(format!(
            "there is no gate in `{}`: nothing to back up",
            path.display()
        ))
        .advise("name its data folder with --data DIR"));
    }
    if !path.join(crate::folder::KEYRING).exists() {
        return Err(keys::lost(path));
    }
    // Until this is dropped nobody rotates: database and keyring are of one time.
    let _lock = keys::lock(path)?;
    let copy = TakenAway(path.join(COPY));
    let _ = fs::remove_file(&copy.0);
    copy_database(&folder.database(), &copy.0)?;

    let mut sources = vec![(crate::folder::DATABASE.to_owned(), copy.0.clone())];
    collect(path, Path::new(""), &mut sources)
        .map_err(|error| Failure::file("cannot read the data folder", path, &error))?;
    let mut manifest = Manifest {
        format: FORMAT,
        placet: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now,
        files: BTreeMap::new(),
    };
    let mut kept = Vec::new();
    for (name, source) in sources {
        match digest(&source) {
            Ok(entry) => {
                manifest.files.insert(name.clone(), entry);
                kept.push((name, source));
            }
            // A letter that was pruned meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("cannot read", &source, &error)),
        }
    }
    archive(&manifest, &kept, now, to)?;
    Ok(manifest)
}

fn archive(
    manifest: &Manifest,
    files: &[(String, PathBuf)],
    now: Timestamp,
    to: impl Write,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::fault(format!("the backup cannot be written: {error}"));
    let mut archive = tar::Builder::new(to);
    let seconds = u64::try_from(now.millis() / 1000).unwrap_or(0);
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|error| Failure::fault(format!("the backup cannot be written: {error}")))?;
    let mut put = |name: &str, bytes: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_mtime(seconds);
        header.set_size(bytes);
        archive.append_data(&mut header, name, content)
    };
    put(MANIFEST, text.len() as u64, &mut text.as_slice()).map_err(failed)?;
    for (name, source) in files {
        let Some(entry) = manifest.files.get(name) else { continue };
        let file = File::open(source).map_err(|error| Failure::file("cannot read", source, &error))?;
        // Files here are replaced, never changed; should one be, the restore finds another digest.
        put(name, entry.bytes, &mut file.take(entry.bytes)).map_err(failed)?;
    }
    archive.into_inner().and_then(|mut to| to.flush()).map_err(failed)
}

/// All files of the folder but the database, which is copied, and what says who uses the folder now.
fn collect(root: &Path, under: &Path, found: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(under))? {
        let entry = entry?;
        let (path, name) = (under.join(entry.file_name()), entry.file_name());
        let (Some(text), Some(name)) = (path.to_str(), name.to_str()) else { continue };
        // Beginning with a dot: what is not finished.
        let of_the_moment = [SERVING_LOCK, URL_FILE, keys::LOCK, OF_THE_VOLUME].contains(&name)
            || name.starts_with('.')
            || name.ends_with(".unfinished")
            || name.starts_with(crate::folder::DATABASE);
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && name != OF_THE_VOLUME {
            collect(root, &path, found)?;
        } else if kind.is_file() && !of_the_moment {
            found.push((text.to_owned(), entry.path()));
        }
    }
    Ok(())
}

fn digest(path: &Path) -> io::Result<Entry> {
    let mut counted = Digesting { to: io::sink(), hash: Sha256::new(), bytes: 0 };
    io::copy(&mut File::open(path)?, &mut counted)?;
    Ok(counted.entry())
}

/// Passes bytes on, and knows how many there were and their digest.
struct Digesting<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Digesting<W> {
    fn entry(self) -> Entry {
        Entry { bytes: self.bytes, sha256: hex(&self.hash.finalize()) }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file, or a folder, that is gone when this is dropped.
struct TakenAway(PathBuf);

impl Drop for TakenAway {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A backup that is being written to a file: there under its name only when it is whole and on the disk.
pub(crate) struct Unfinished {
    file: File,
    path: TakenAway,
    target: PathBuf,
}

impl Unfinished {
    /// Begins beside `target`, for its owner only. What an earlier one that was killed has left there is overwritten.
    pub(crate) fn beside(target: &Path) -> Result<Self, Failure> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let path = target.with_file_name(name);
        let failed = |error: io::Error| Failure::file("cannot write", &path, &error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::refused(format!(
                    "another backup is being written to `{}`",
                    target.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o600)))
            .map_err(failed)?;
        Ok(Self { file, path: TakenAway(path), target: target.to_owned() })
    }

    /// Where to write.
    pub(crate) fn writer(&self) -> io::BufWriter<&File> {
        io::BufWriter::with_capacity(256 * 1024, &self.file)
    }

    /// Puts it in place.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::file("cannot write", &self.target, &error);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path.0, &self.target).map_err(failed)?;
        let parent = self.target.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
    }
}

/// Makes the folder at `path` from a backup. Refused where anything is there; leaves nothing behind where it fails.
pub(crate) fn restore(path: &Path, from: impl Read) -> Result<Manifest, Failure> {
    let failed = |error: io::Error| Failure::file("cannot restore into", path, &error);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Some(by) = Folder::at(path).served_by() {
        let place = by.url.map_or_else(String::new, |url| format!(" at {url}"));
        return Err(Failure::refused(format!("a gate serves from `{}`{place}", path.display()))
            .advise("restore into a new folder: name one with --data DIR"));
    }
    let existed = path.is_dir();
    if existed && !is_empty(path).map_err(failed)? {
        return Err(Failure::refused(format!("`{}` is not empty: nothing is overwritten", path.display()))
            .advise("name a new folder with --data DIR, or move that one away"));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let work = TakenAway(path.join(RESTORING));
    DirBuilder::new().mode(0o700).create(&work.0).map_err(failed)?;
    let result = unpack(&work.0, from).and_then(|manifest| {
        check(&work.0, &manifest)?;
        move_in(&work.0, path).map_err(failed)?;
        Ok(manifest)
    });
    drop(work);
    if result.is_err() && !existed {
        let _ = fs::remove_dir(path);
    }
    result
}

fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != OF_THE_VOLUME {
            return Ok(false);
        }
    }
    Ok(true)
}

fn damaged(what: impl std::fmt::Display) -> Failure {
    Failure::refused(format!("the backup is damaged: {what}"))
        .with_code("backup_damaged")
        .advise("take another one; nothing was restored")
}

fn unpack(work: &Path, from: impl Read) -> Result<Manifest, Failure> {
    let not_one =
        || Failure::refused("this is not a backup of placet's").advise("`placet backup FILE` makes one");
    let mut archive = tar::Archive::new(Counted { from, bytes: 0 });
    let mut entries = archive.entries().map_err(|_| not_one())?;
    let first = entries.next().and_then(Result::ok).ok_or_else(not_one)?;
    let mut end = first.raw_file_position().saturating_add(first.size());
    if first.path().map_err(|_| not_one())?.as_ref() != Path::new(MANIFEST) {
        return Err(not_one());
    }
    let mut text = Vec::new();
    first.take(MANIFEST_BYTES).read_to_end(&mut text).map_err(damaged)?;
    let manifest: Manifest = read_manifest(&text)?;
    let mut missing = manifest.files.clone();
    for entry in entries {
        let mut entry = entry.map_err(damaged)?;
        end = entry.raw_file_position().saturating_add(entry.size());
        let path = entry.path().map_err(damaged)?.into_owned();
        let name = path.to_str().unwrap_or_default().to_owned();
        let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        let expected =
            missing.remove(&name).filter(|_| stays_inside && entry.header().entry_type().is_file());
        let Some(expected) = expected else {
            return Err(damaged(format!("`{}` does not belong in it", path.display())));
        };
        let target = work.join(&path);
        let failed = |error: io::Error| Failure::file("cannot write", &target, &error);
        if let Some(parent) = target.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        }
        let to = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&target).map_err(failed)?;
        let mut counted = Digesting { to, hash: Sha256::new(), bytes: 0 };
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = entry.read(&mut buffer).map_err(damaged)?;
            if count == 0 {
                break;
            }
            counted.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed)?;
        }
        counted.to.sync_all().map_err(failed)?;
        if counted.entry() != expected {
            return Err(damaged(format!("`{name}` is not as it was written")));
        }
    }
    if let Some(name) = missing.keys().next() {
        return Err(damaged(format!("`{name}` is missing")));
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    if rest.bytes != end.next_multiple_of(BLOCK_BYTES).saturating_add(2 * BLOCK_BYTES) {
        return Err(damaged("it does not end where it was written to end"));
    }
    Ok(manifest)
}

/// Counts what is read.
struct Counted<R> {
    from: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }
}

fn read_manifest(text: &[u8]) -> Result<Manifest, Failure> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let version: Versioned = serde_json::from_slice(text).map_err(damaged)?;
    if version.format != FORMAT {
        return Err(Failure::refused(format!(
            "the backup has format {}, which this version of placet cannot read",
            version.format
        ))
        .advise("restore it with the version of placet that made it, or a newer one"));
    }
    serde_json::from_slice(text).map_err(damaged)
}

/// Whether a gate could serve from what was unpacked.
fn check(work: &Path, manifest: &Manifest) -> Result<(), Failure> {
    for name in [crate::folder::DATABASE, crate::folder::KEYRING] {
        if !manifest.files.contains_key(name) {
            return Err(damaged(format!("it has no `{name}`")));
        }
    }
    let text = zeroize::Zeroizing::new(fs::read(work.join(crate::folder::KEYRING)).map_err(damaged)?);
    serde_json::from_slice::<Keyring>(&text).map_err(|_| damaged("its keyring cannot be read"))?;
    check_database(&work.join(crate::folder::DATABASE)).map_err(|fault| damaged(fault.chain()))
}

/// Moves what was unpacked into the folder; the database last, so that a folder with one has everything.
fn move_in(work: &Path, folder: &Path) -> io::Result<()> {
    let mut names: Vec<_> =
        fs::read_dir(work)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    // What looking into the database left.
    names.retain(|name| !name.to_string_lossy().starts_with("gate.db-"));
    names.sort_by_key(|name| name == crate::folder::DATABASE);
    for name in names {
        let target = folder.join(&name);
        give_all(&Folder::at(folder), &work.join(&name))?;
        fs::rename(work.join(&name), &target)?;
    }
    File::open(folder)?.sync_all()
}

/// Gives everything there to whom the folder belongs: root may restore for the user whose gate it is.
fn give_all(folder: &Folder, path: &Path) -> io::Result<()> {
    folder.give_to_owner(path)?;
    if !path.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        give_all(folder, &entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use placet_sqlite::SqliteStore;

    use super::*;
    use crate::clock::SystemClock;
    use crate::folder::Scratch;
    use crate::keys::FileKeys;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A folder with a gate's files and one letter, and a backup of it.
    fn backed_up(scratch: &Scratch) -> (Folder, Vec<u8>) {
        let folder = Folder::open(&scratch.path().join("data")).unwrap();
        FileKeys::open_or_make(folder.path(), 1, NOW).unwrap();
        drop(SqliteStore::open(&folder.database(), Arc::new(SystemClock)).unwrap());
        fs::write(folder.outbox().join("letter.json"), "{}").unwrap();
        fs::write(folder.path().join("channels.json"), "{\"slack\": 1}").unwrap();
        let mut bytes = Vec::new();
        let manifest = write(&folder, NOW, &mut bytes).unwrap();
        assert_eq!(manifest.count(), 4);
        (folder, bytes)
    }

    #[test]
    fn what_was_backed_up_is_restored_and_nothing_of_the_moment_with_it() {
        let scratch = Scratch::new("backup").unwrap();
        let (folder, bytes) = backed_up(&scratch);
        let _serving = folder.claim().unwrap();
        let mut again = Vec::new();
        write(&folder, NOW, &mut again).unwrap();
        assert_eq!(bytes.len(), again.len());
        assert!(!folder.path().join(COPY).exists());
        let target = scratch.path().join("restored");
        restore(&target, again.as_slice()).unwrap();
        let mut names: Vec<_> = fs::read_dir(&target)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["channels.json", "gate.db", "keyring.json", "outbox"]);
        assert_eq!(
            fs::read(target.join(crate::folder::KEYRING)).unwrap(),
            fs::read(folder.path().join(crate::folder::KEYRING)).unwrap()
        );
    }

    #[test]
    fn a_backup_that_is_not_whole_restores_nothing() {
        let scratch = Scratch::new("backup").unwrap();
        let (_, bytes) = backed_up(&scratch);
        let target = scratch.path().join("restored");
        let refused = |bytes: &[u8]| {
            let failure = restore(&target, bytes).unwrap_err();
            assert!(!target.exists(), "{failure}");
            assert_eq!(failure.code(), 1, "{failure}");
            failure.to_string()
        };
        assert!(refused(b"").contains("not a backup"));
        assert!(refused(&[b'x'; 4096]).contains("not a backup"));
        for cut in [bytes.len() / 4, bytes.len() / 2, bytes.len() - 2048, bytes.len() - 512, bytes.len() - 1]
        {
            refused(&bytes[..cut]);
        }
        for more in [&[0_u8][..], b"x", &[0; 512], &[0; 1024]] {
            refused(&[&bytes[..], more].concat());
        }
        let letter = bytes.windows(10).position(|part| part == b"{\"slack\": ").unwrap();
        let mut changed = bytes.clone();
        changed[letter + 10] = b'2';
        assert!(refused(&changed).contains("`channels.json` is not as it was written"));
        let format = bytes.windows(11).position(|part| part == b"\"format\": 1").unwrap();
        let mut newer = bytes.clone();
        newer[format + 10] = b'2';
        assert!(refused(&newer).contains("format 2"));
        restore(&target, bytes.as_slice()).unwrap();
    }

    #[test]
    fn no_name_in_a_backup_leads_out_of_the_folder() {
        let scratch = Scratch::new("backup").unwrap();
        let content = b"x";
        let entry = Entry { bytes: 1, sha256: hex(&Sha256::digest(content)) };
        let manifest = Manifest {
            format: FORMAT,
            placet: String::new(),
            made_at: NOW,
            files: BTreeMap::from([("../out".to_owned(), entry)]),
        };
        let text = serde_json::to_vec(&manifest).unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in [(MANIFEST, text.as_slice()), ("../out", content)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            // `set_path` would refuse it, as `tar` does.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, content).unwrap();
        }
        let bytes = archive.into_inner().unwrap();
        let failure = restore(&scratch.path().join("data"), bytes.as_slice()).unwrap_err();
        assert!(failure.to_string().contains("does not belong in it"), "{failure}");
        assert!(!scratch.path().join("out").exists());
    }

    #[test]
    fn what_a_killed_backup_left_is_overwritten_and_two_at_once_are_refused() {
        let scratch = Scratch::new("backup").unwrap();
        let target = scratch.path().join("gate.tar");
        let left = scratch.path().join("gate.tar.unfinished");
        fs::write(&left, "half of a backup").unwrap();
        let first = Unfinished::beside(&target).unwrap();
        assert_eq!(fs::metadata(&left).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Unfinished::beside(&target).err().unwrap().to_string().contains("another backup"));
        first.writer().write_all(b"whole").unwrap();
        first.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert!(!left.exists());
    }

    #[test]
    fn nothing_is_restored_over_what_is_there() {
        let scratch = Scratch::new("backup").unwrap();
        let (folder, bytes) = backed_up(&scratch);
        let failure = restore(folder.path(), bytes.as_slice()).unwrap_err();
        assert!(failure.to_string().contains("is not empty"), "{failure}");
        let _serving = folder.claim().unwrap().serve_at("http://127.0.0.1:1").unwrap();
        let failure = restore(folder.path(), bytes.as_slice()).unwrap_err();
        assert!(failure.to_string().contains("serves from"), "{failure}");
    }
}
