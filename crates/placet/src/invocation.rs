//! One run of a command, as a person is asked about it: its words, its place, and what its files hold.
//!
//! It is read before the question and again right before the command starts; the two must be equal.

#![expect(clippy::disallowed_methods, reason = "a command is found by the environment's PATH")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use placet_core::payload::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// Files in one question, at most: a person could not look at more, and the payload is limited to 64 KiB.
const MOST_FILES: usize = 400;

/// A command that is about to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// The words, the command's own name first.
    pub(crate) argv: Vec<String>,
    /// The file that is executed, with its whole path.
    pub(crate) program: PathBuf,
    directory: String,
    /// The digests of what the files hold, by the names that they were given.
    files: BTreeMap<String, String>,
    facts: BTreeMap<String, String>,
}

impl Invocation {
    /// Reads it: finds the program, and takes the digest of every file that is named.
    ///
    /// A file is named by `--file`, or by an argument that is the path of one (`x.yaml`, `--values=x.yaml`, `@body.json`).
    pub(crate) fn read(command: &[OsString], named: &[PathBuf], facts: &[String]) -> Result<Self, Failure> {
        let argv =
            command.iter().map(|word| utf8(word.clone(), "an argument")).collect::<Result<Vec<_>, _>>()?;
        let name = argv.first().ok_or_else(|| Failure::usage("no command is named"))?;
        let directory = std::env::current_dir()
            .map_err(|error| Failure::fault(format!("the working directory cannot be read: {error}")))?;
        let program = find(name, &directory)?;
        let mut files = BTreeMap::new();
        let path = utf8(program.clone().into_os_string(), "the path of the program")?;
        files.insert(path, digest(&program)?);
        for word in argv.iter().skip(1) {
            for candidate in candidates(word) {
                if fs::metadata(candidate).is_ok_and(|found| found.is_file()) {
                    add(candidate, Path::new(candidate), &mut files)?;
                }
            }
        }
        for path in named {
            let name = utf8(path.clone().into_os_string(), "the path of a file")?;
            add_named(&name, path, &mut files)?;
        }
        Ok(Self {
            argv,
            program,
            directory: utf8(directory.into_os_string(), "the path of the working directory")?,
            files,
            facts: read_facts(facts)?,
        })
    }

    /// The words as one line that a shell would read as them.
    pub(crate) fn line(&self) -> String {
        self.argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// What is approved.
    pub(crate) fn payload(&self) -> Value {
        let mut payload = json!({
            "command": self.line(),
            "argv": self.argv,
            "program": self.program.to_string_lossy(),
            "directory": self.directory,
            "files": self.files,
        });
        if let (false, Some(payload)) = (self.facts.is_empty(), payload.as_object_mut()) {
            payload.insert("facts".into(), json!(self.facts));
        }
        payload
    }

    /// Arguments that name folders: what those hold is no part of the question, unless `--file` names them.
    pub(crate) fn folders(&self) -> Vec<&str> {
        let names = self.argv.iter().skip(1).flat_map(|word| candidates(word));
        let mut folders: Vec<&str> = names.filter(|name| Path::new(name).is_dir()).collect();
        folders.retain(|name| !self.files.keys().any(|file| file.starts_with(&format!("{name}/"))));
        folders.dedup();
        folders
    }

    /// In what it differs from how it was `asked`, in words.
    pub(crate) fn changes_since(&self, asked: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.directory != asked.directory {
            changes.push("the working directory has moved".to_owned());
        }
        if self.program != asked.program {
            changes
                .push(format!("`{}` is another program now", asked.argv.first().map_or("", String::as_str)));
        }
        for (name, digest) in &asked.files {
            match self.files.get(name) {
                Some(now) if now == digest => {}
                Some(_) => changes.push(format!("`{name}` has changed")),
                None => changes.push(format!("`{name}` has gone")),
            }
        }
        let new = self.files.keys().filter(|name| !asked.files.contains_key(*name));
        changes.extend(new.map(|name| format!("`{name}` is a file now")));
        changes
    }
}

/// What an argument may name: itself, what follows its `=`, and what follows an `@`.
fn candidates(word: &str) -> impl Iterator<Item = &str> {
    let value = word.split_once('=').map(|(_, value)| value);
    let parts = [Some(word), value].into_iter().flatten();
    parts
        .flat_map(|part| [Some(part), part.strip_prefix('@')].into_iter().flatten())
        .filter(|part| !part.is_empty())
}

fn add(name: &str, path: &Path, files: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    if files.len() >= MOST_FILES && !files.contains_key(name) {
        return Err(Failure::usage(format!("more than {MOST_FILES} files are named"))
            .advise("put them into one archive, and name that"));
    }
    files.insert(name.to_owned(), digest(path)?);
    Ok(())
}

/// Adds a file, or every file in a folder and below it.
fn add_named(name: &str, path: &Path, files: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let fault = |error: std::io::Error| Failure::file("cannot read", path, &error);
    let found = fs::metadata(path).map_err(fault)?;
    if found.is_file() {
        return add(name, path, files);
    }
    if !found.is_dir() {
        return Err(Failure::usage(format!("`{name}` is neither a file nor a folder")));
    }
    for entry in fs::read_dir(path).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        // A link to a folder could lead back to itself.
        let kind = fs::symlink_metadata(entry.path()).map_err(fault)?;
        if kind.is_symlink() && entry.path().is_dir() {
            return Err(Failure::usage(format!("`{}` is a link to a folder", entry.path().display()))
                .advise("name that folder with --file as well, or leave the link out"));
        }
        let inner = utf8(entry.file_name(), "the path of a file")?;
        add_named(&format!("{}/{inner}", name.trim_end_matches('/')), &entry.path(), files)?;
    }
    Ok(())
}

/// Lower-case hex SHA-256 of what a file holds.
fn digest(path: &Path) -> Result<String, Failure> {
    let fault = |error: std::io::Error| Failure::file("cannot read", path, &error);
    let mut file = File::open(path).map_err(fault)?;
    let (mut hasher, mut block) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let count = file.read(&mut block).map_err(fault)?;
        match block.get(..count) {
            Some(read) if count > 0 => hasher.update(read),
            _ => return Ok(hex(&hasher.finalize())),
        }
    }
}

/// The program that a shell would start (POSIX, XCU 2.9.1.4).
fn find(name: &str, directory: &Path) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = if name.contains('/') {
        vec![directory.join(name)]
    } else {
        std::env::split_paths(&path).map(|folder| directory.join(folder).join(name)).collect()
    };
    let is_file = |place: &&PathBuf| fs::metadata(place).is_ok_and(|found| found.is_file());
    let runs =
        |place: &&PathBuf| fs::metadata(place).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    match places.iter().filter(is_file).find(runs) {
        Some(program) => Ok(program.clone()),
        None if places.iter().any(|place| place.exists()) => {
            Err(Failure::usage(format!("`{name}` cannot be executed")).exiting_with(126))
        }
        None => Err(Failure::usage(format!("`{name}`: command not found")).exiting_with(127)),
    }
}

fn read_facts(facts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut read = BTreeMap::new();
    for fact in facts {
        let Some((name, value)) = fact.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::usage(format!("`{fact}` is not a fact"))
                .advise("write it as NAME=VALUE, such as environment=production"));
        };
        if read.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("the fact `{name}` is given twice")));
        }
    }
    Ok(read)
}

/// A person has to be able to read it, and JSON to hold it.
fn utf8(text: OsString, what: &str) -> Result<String, Failure> {
    text.into_string()
        .map_err(|text| Failure::usage(format!("{what} is not UTF-8: `{}`", text.to_string_lossy())))
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_its_words() {
        assert_eq!(quoted("kubectl"), "kubectl");
        assert_eq!(quoted("a b; rm -rf ~"), "'a b; rm -rf ~'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }

    #[test]
    fn an_argument_may_name_a_file_in_three_ways() {
        let all = |word| candidates(word).collect::<Vec<_>>();
        assert_eq!(all("x.yaml"), ["x.yaml"]);
        assert_eq!(all("--values=x.yaml"), ["--values=x.yaml", "x.yaml"]);
        assert_eq!(all("@body.json"), ["@body.json", "body.json"]);
        assert_eq!(all("data=@body.json"), ["data=@body.json", "@body.json", "body.json"]);
        assert_eq!(all("a="), ["a="]);
    }

    #[test]
    fn a_fact_has_a_name_and_is_given_once() {
        let read = |facts: &[&str]| read_facts(&facts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read(&["a=b=c"]).unwrap(), BTreeMap::from([("a".to_owned(), "b=c".to_owned())]));
        for bad in [&["a"][..], &["=b"], &["a=1", "a=2"]] {
            assert_eq!(read(bad).unwrap_err().code(), 2, "{bad:?}");
        }
    }
}
