//! Which definition each tool had when it was approved, kept in one file for each wrapped server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// The pinned definitions of one server's tools.
#[derive(Clone, Debug)]
pub struct Pins {
    file: PathBuf,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    /// Hex SHA-256 of a definition's canonical text, by the tool's name.
    tools: BTreeMap<String, String>,
}

impl Pins {
    /// Those in that file. Fails where it is there and cannot be read: what was approved is then not known.
    pub fn open(file: PathBuf) -> Result<Self, String> {
        let pins = Self { file };
        pins.read()?;
        Ok(pins)
    }

    /// The digest of the definition that was approved, if one was.
    pub(super) fn of(&self, tool: &str) -> Result<Option<String>, String> {
        Ok(self.read()?.remove(tool))
    }

    /// From now on that definition is the approved one.
    pub(super) fn put(&self, tool: &str, digest: &str) -> Result<(), String> {
        let mut tools = self.read()?;
        if tools.get(tool).is_some_and(|pinned| pinned == digest) {
            return Ok(());
        }
        tools.insert(tool.to_owned(), digest.to_owned());
        let text = serde_json::to_vec_pretty(&Stored { version: VERSION, tools })
            .map_err(|error| self.fault(&error))?;
        self.write(&text).map_err(|error| self.fault(&error))
    }

    fn read(&self) -> Result<BTreeMap<String, String>, String> {
        let bytes = match fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.fault(&error)),
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| self.fault(&error))?;
        if stored.version != VERSION {
            return Err(self.fault(&format!("version {} is of a newer placet", stored.version)));
        }
        Ok(stored.tools)
    }

    /// Whole, or not at all.
    fn write(&self, text: &[u8]) -> std::io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.file.with_extension(format!("{}.new", std::process::id()));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)
    }

    fn fault(&self, why: &dyn std::fmt::Display) -> String {
        format!("the tools that were approved, `{}`: {why}", Path::new(&self.file).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_outlives_the_process_and_a_broken_file_is_no_empty_one() {
        let folder = std::env::temp_dir().join(format!("placet-pins-{}", std::process::id()));
        let file = folder.join("deep/fs.json");
        let pins = Pins::open(file.clone()).unwrap();
        assert_eq!(pins.of("write"), Ok(None));
        pins.put("write", "ab").unwrap();
        pins.put("read", "cd").unwrap();
        pins.put("write", "ef").unwrap();
        let again = Pins::open(file.clone()).unwrap();
        assert_eq!((again.of("write"), again.of("read")), (Ok(Some("ef".into())), Ok(Some("cd".into()))));
        for broken in ["", "{}", r#"{"version":2,"tools":{}}"#] {
            fs::write(&file, broken).unwrap();
            assert!(Pins::open(file.clone()).is_err(), "{broken}");
            assert!(pins.put("write", "ab").is_err());
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
