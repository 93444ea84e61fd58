//! `placet backup` and `placet restore`.

use std::io::IsTerminal as _;
use std::path::Path;

use placet_gate::ports::Clock as _;
use serde_json::json;

use crate::backup::{self, Unfinished};
use crate::cli::{Backup, Globals};
use crate::clock::SystemClock;
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::text::clock_time;

/// Standard input or output.
const STANDARD: &str = "-";

/// Writes the folder into one file.
pub(crate) fn write(globals: &Globals, options: &Backup) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let folder = Folder::existing(globals.data())?;
    let now = SystemClock.now();
    let file = &options.file;
    if file == Path::new(STANDARD) {
        let out = std::io::stdout();
        if out.is_terminal() {
            return Err(Failure::usage("a backup holds all keys: it is not written to a terminal")
                .advise("name a file, or pipe it on: placet backup - | age -r … > placet.tar.age"));
        }
        backup::write(&folder, now, out.lock())?;
        return Ok(Exit::Done);
    }
    if file.exists() && !options.force {
        return Err(Failure::refused(format!("`{}` is there already", file.display()))
            .with_code("file_exists")
            .advise("name another file, or overwrite it with --force"));
    }
    if is_inside(file, folder.path()) {
        return Err(Failure::usage(format!("`{}` is inside the data folder", file.display()))
            .advise("a backup belongs on another disk, or on another machine"));
    }
    let unfinished = Unfinished::beside(file)?;
    let manifest = backup::write(&folder, now, unfinished.writer())?;
    unfinished.finish()?;
    if globals.json {
        print(&super::pretty(&json!({
            "file": file,
            "made_at": manifest.made_at.to_string(),
            "files": manifest.count(),
            "bytes": manifest.bytes(),
        })));
    } else {
        print(&format!(
            "{} is written: {} files, {} bytes. It holds all keys: keep it as you keep them.\n",
            file.display(),
            manifest.count(),
            manifest.bytes()
        ));
    }
    Ok(Exit::Done)
}

fn is_inside(file: &Path, folder: &Path) -> bool {
    let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    match (parent.canonicalize(), folder.canonicalize()) {
        (Ok(parent), Ok(folder)) => parent.starts_with(folder),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Makes a data folder from a backup.
pub(crate) fn restore(globals: &Globals, file: &Path) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let path = globals.data();
    let manifest = if file == Path::new(STANDARD) {
        backup::restore(path, std::io::stdin().lock())?
    } else {
        let from = std::fs::File::open(file).map_err(|error| Failure::file("cannot read", file, &error))?;
        backup::restore(path, std::io::BufReader::with_capacity(256 * 1024, from))?
    };
    let made_at = clock_time(manifest.made_at);
    note(&format!(
        "What was asked, decided or redeemed after {made_at} is not in it: a token that was redeemed since then could be redeemed again.\n\
         Never serve the old folder and this one at the same time."
    ));
    if globals.json {
        print(&super::pretty(&json!({
            "data": path,
            "made_at": manifest.made_at.to_string(),
            "files": manifest.count(),
            "bytes": manifest.bytes(),
        })));
    } else {
        print(&format!(
            "{} is as it was at {made_at}. Next:\n\n  placet doctor --data {0}\n  placet serve --data {0} --policy placet.toml\n",
            path.display()
        ));
    }
    Ok(Exit::Done)
}
