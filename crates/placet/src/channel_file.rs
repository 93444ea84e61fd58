//! The secrets of channels as a file: `DIR/channels.json`, beside the keyring, readable by its owner only, always whole.
//!
//! Read again whenever it is another file than the one that was read: `placet channel set` counts at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use placet_core::chat::ChannelSettings;
use placet_gate::Fault;
use zeroize::Zeroizing;

use crate::folder::Folder;
use crate::keys::{Stamp, lock};

/// Its name in the data folder.
pub(crate) const CHANNELS: &str = "channels.json";

/// The settings of a data folder's channels.
pub(crate) struct ChannelFile {
    folder: PathBuf,
    held: RwLock<Option<(Stamp, Arc<ChannelSettings>)>>,
}

impl ChannelFile {
    /// Those of that folder. Reads nothing yet.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), held: RwLock::new(None) }
    }

    /// The settings as they are; none are set where there is no file.
    pub(crate) fn read(&self) -> Result<Arc<ChannelSettings>, Fault> {
        let path = self.folder.join(CHANNELS);
        let stamp = match fs::metadata(&path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if let Some((known, settings)) = &*self.held.read().unwrap_or_else(PoisonError::into_inner)
            && *known == stamp
        {
            return Ok(Arc::clone(settings));
        }
        let file = File::open(&path).map_err(unreadable)?;
        let text = Zeroizing::new(io::read_to_string(file).map_err(unreadable)?);
        // The cause is not told: a parser's message can quote what it read.
        let settings: ChannelSettings = serde_json::from_str(&text)
            .map_err(|_| Fault::bare("`channels.json` cannot be read: set the channels anew"))?;
        let settings = Arc::new(settings);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some((stamp, Arc::clone(&settings)));
        Ok(settings)
    }

    /// Changes the settings. Of those who change them at the same time, none is lost. On the disk when this returns.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ChannelSettings)) -> Result<(), Fault> {
        let _lock = lock(&self.folder)?;
        let mut settings = ChannelSettings::clone(&*self.read()?);
        change(&mut settings);
        let fault = |error: io::Error| Fault::new("the channels' secrets cannot be written", error);
        let text = serde_json::to_string_pretty(&settings)
            .map(Zeroizing::new)
            .map_err(|error| Fault::new("the channels' secrets cannot be written", error))?;
        let unfinished = self.folder.join("channels.json.unfinished");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished).map_err(fault)?;
        file.write_all(text.as_bytes()).map_err(fault)?;
        // A gate that runs as another user must be able to read it, also when root sets a channel.
        Folder::at(&self.folder).give_to_owner(&unfinished).map_err(fault)?;
        file.sync_all().map_err(fault)?;
        fs::rename(&unfinished, self.folder.join(CHANNELS)).map_err(fault)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fault)
    }
}

fn unreadable(error: io::Error) -> Fault {
    Fault::new("the channels' secrets cannot be read", error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use placet_core::chat::{SecretText, SmtpSettings};

    use super::*;
    use crate::folder::Scratch;

    fn smtp(url: &str) -> SmtpSettings {
        SmtpSettings { url: SecretText::new(url), from: "gate@example.com".into() }
    }

    #[test]
    fn what_is_set_is_seen_by_whoever_has_read_before_and_by_nobody_else_on_the_machine() {
        let scratch = Scratch::new("channels").unwrap();
        let (gate, operator) = (ChannelFile::of(scratch.path()), ChannelFile::of(scratch.path()));
        assert_eq!(*gate.read().unwrap(), ChannelSettings::default());
        operator.change(|settings| settings.smtp = Some(smtp("smtps://one"))).unwrap();
        assert_eq!(gate.read().unwrap().smtp, Some(smtp("smtps://one")));
        operator.change(|settings| settings.smtp = Some(smtp("smtps://two"))).unwrap();
        assert_eq!(gate.read().unwrap().smtp, Some(smtp("smtps://two")));
        let mode = fs::metadata(scratch.path().join(CHANNELS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_reported_without_its_content_and_never_replaced() {
        let scratch = Scratch::new("channels").unwrap();
        fs::write(scratch.path().join(CHANNELS), "{\"smtp\": \"hunter2\"}").unwrap();
        let file = ChannelFile::of(scratch.path());
        assert!(!file.read().unwrap_err().chain().contains("hunter2"));
        assert!(file.change(|settings| settings.smtp = Some(smtp("x"))).is_err());
        assert!(fs::read_to_string(scratch.path().join(CHANNELS)).unwrap().contains("hunter2"));
    }
}
