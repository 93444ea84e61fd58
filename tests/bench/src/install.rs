//! What is compared with is installed once, pinned, into the cache that all tests share.

#![expect(clippy::disallowed_methods, reason = "a benchmark finds tools by the environment")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};

/// The Python of an environment with exactly the pinned packages, made anew when these have changed.
pub(crate) fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = cache()?.join(name);
    let (python, stamp) = (folder.join("bin").join("python"), folder.join("installed.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(python);
    }
    eprintln!("installing into {}", folder.display());
    std::fs::create_dir_all(&folder)?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, requirements)?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted))?;
    // Last, so that an installation that broke off is done again.
    std::fs::rename(wanted, stamp)?;
    Ok(python)
}

/// A folder with those files, their packages, and what their script `bundle` makes of them.
pub(crate) fn node(name: &str, sources: &[(&str, &str)]) -> Result<PathBuf> {
    let folder = cache()?.join(name);
    let stamp = folder.join("installed.txt");
    let all: String = sources.iter().map(|(_, text)| *text).collect();
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == all) {
        return Ok(folder);
    }
    eprintln!("installing into {}", folder.display());
    std::fs::create_dir_all(&folder)?;
    for (file, text) in sources {
        std::fs::write(folder.join(file), text)?;
    }
    for arguments in [&["ci", "--silent", "--no-audit", "--no-fund"][..], &["run", "--silent", "bundle"]] {
        run(Command::new("npm").args(arguments).current_dir(&folder))?;
    }
    std::fs::write(stamp, all)?;
    Ok(folder)
}

fn cache() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("PLACET_CACHE") {
        return Ok(cache.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or(home).ok_or_else(|| Failure::bare("`HOME` is not set"))?;
    Ok(cache.join("placet"))
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| Failure::new(format!("`{name}`"), error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{name}`"), status)) }
}
