//! What lies on the disk: the folder, its files and their owner, the space that is left, the keyring, the database.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use placet_gate::ports::Clock as _;
use rusqlite::{Connection, OpenFlags};

use super::{Findings, one_line};
use crate::clock::SystemClock;
use crate::folder::Folder;
use crate::keys;
use crate::local::Parts;
use crate::text::span;

/// Free bytes below which the disk is nearly full, and full.
const LITTLE_SPACE: u64 = 256 * 1024 * 1024;
const NO_SPACE: u64 = 16 * 1024 * 1024;

/// How many files are looked at for their owner and mode, and how many are named.
const FILES_LOOKED_AT: usize = 10_000;
const FILES_NAMED: usize = 3;

pub(super) fn check_access(folder: &Folder, found: &mut Findings) {
    let path = folder.path();
    match folder.check_writable() {
        Ok(()) => found.ok(format!("the data folder `{}` can be written", path.display())),
        Err(error) => {
            found.fail(format!("the data folder `{}` cannot be written: {error}", path.display()));
        }
    }
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        found.warn(format!(
            "others on this machine can look into the data folder (mode {mode:o}): chmod 700 {}",
            path.display()
        ));
    }
}

/// Everything here must be its owner's alone, and of one owner: a file of root's is one that the gate cannot read.
pub(super) fn check_files(folder: &Folder, found: &mut Findings) {
    let Some(owner) = folder.owner() else { return };
    let (mut foreign, mut open) = (Vec::new(), Vec::new());
    let mut folders = vec![folder.path().to_owned()];
    let mut looked_at = 0_usize;
    while let Some(place) = folders.pop() {
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            looked_at = looked_at.saturating_add(1);
            let Ok(metadata) = entry.metadata() else { continue };
            if looked_at > FILES_LOOKED_AT || entry.file_name() == "lost+found" {
                continue;
            }
            if metadata.uid() != owner.user {
                foreign.push(entry.path());
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.permissions().mode() & 0o077 != 0
                && entry.file_name() != crate::folder::KEYRING
            {
                open.push(entry.path());
            }
        }
    }
    if !foreign.is_empty() {
        found.fail(format!(
            "{} not belong to user {}, whose gate this is, and may not be readable for it: chown -R {}:{} {}",
            named(&foreign, "does", "do"),
            owner.user,
            owner.user,
            owner.group,
            folder.path().display()
        ));
    }
    let me = rustix::process::geteuid().as_raw();
    if me != owner.user && me != 0 {
        found.warn(format!(
            "the folder is user {}'s, and you are user {me}: run this as the user of the gate",
            owner.user
        ));
    }
    if !open.is_empty() {
        found.warn(format!(
            "{} readable for others on this machine: chmod -R go= {}",
            named(&open, "is", "are"),
            folder.path().display()
        ));
    }
}

fn named(paths: &[PathBuf], one: &str, many: &str) -> String {
    let names: Vec<String> =
        paths.iter().take(FILES_NAMED).map(|path| format!("`{}`", path.display())).collect();
    let rest = paths.len().saturating_sub(names.len());
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let verb = if paths.len() == 1 { one } else { many };
    format!("{}{rest} {verb}", names.join(", "))
}

pub(super) fn check_space(folder: &Folder, found: &mut Findings) {
    let Ok(disk) = rustix::fs::statvfs(folder.path()) else {
        found.warn("how much space the disk has left cannot be read");
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let mebibytes = free / 1024 / 1024;
    // Some file systems count no files.
    let no_files = disk.f_files > 0 && disk.f_favail == 0;
    if free < NO_SPACE || no_files {
        found.fail(format!("the disk is full ({mebibytes} MiB free): the gate cannot record anything"));
    } else if free < LITTLE_SPACE {
        found.warn(format!("the disk is nearly full: {mebibytes} MiB are free"));
    } else {
        found.ok(format!("the disk has {mebibytes} MiB free"));
    }
}

pub(super) fn check_keyring(folder: &Folder, found: &mut Findings) {
    let path = folder.path();
    let file = path.join(crate::folder::KEYRING);
    let Ok(metadata) = fs::metadata(&file) else {
        // A database that cannot be read is told of where it is looked at.
        if placet_sqlite::has_records(&folder.database()).unwrap_or(false) {
            found.fail(one_line(&keys::lost(path)));
        } else {
            found.warn("there is no keyring yet; it is made when it is first needed");
        }
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o177 != 0 {
        found.fail(format!(
            "the keyring has mode {mode:o}, so others may have read it: chmod 600 {}, and rotate with `placet keys rotate`",
            file.display()
        ));
    } else {
        found.ok(format!("the keyring is for its owner only (mode {mode:o})"));
    }
    let now = SystemClock.now();
    match keys::FileKeys::existing(path) {
        Ok(None) => {}
        Ok(Some(keys)) => {
            let current = keys.held().current.clone();
            let age = now.millis_since(current.created_at);
            if age > 120 * placet_core::time::DAY_MS {
                found.warn(format!("the keys are {} old: `placet keys rotate`", span(age)));
            }
        }
        Err(fault) => found.fail(format!("{}: put it back from your backup", fault.chain())),
    }
}

/// Whether the database is whole, asked read-only: a gate may be serving from it.
pub(super) fn check_database(folder: &Folder, found: &mut Findings) -> Option<Parts> {
    let path = folder.database();
    if !path.exists() {
        found.warn("there is no database yet; a gate makes it when it starts");
        return None;
    }
    let quick_check = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|file| file.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
    match quick_check {
        Ok(result) if result == "ok" => found.ok("the database is whole"),
        Ok(result) => {
            found.fail(format!("the database is damaged ({result}): stop the gate, and restore your backup"));
            return None;
        }
        Err(error) => {
            found.fail(format!("the database cannot be read: {error}"));
            return None;
        }
    }
    if !folder.path().join(crate::folder::KEYRING).exists() {
        // That has been told, and here is none to be made.
        return None;
    }
    match Parts::open(folder.clone()) {
        Ok(parts) => Some(parts),
        Err(failure) => {
            found.fail(one_line(&failure));
            None
        }
    }
}
