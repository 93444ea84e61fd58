//! What the local gate leaves in its folder: one JSON file for each message to a reviewer, one for each queue message.

#![expect(clippy::disallowed_methods, reason = "the age of files is compared with the clock")]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use placet_core::words::escaped_json;
use placet_delivery::{Channel, Notification, Queues, SendOutcome};
use placet_gate::Fault;
use serde::Serialize;

use crate::console::{Lossy, harmless};
use crate::folder::{Folder, replace};

/// How long files of messages and queues are kept: longer than any request can wait.
const KEEP_FILES: Duration = Duration::from_hours(31 * 24);

/// Writes each message to a reviewer into `outbox/`, whatever its channel.
pub(crate) struct OutboxFiles(pub(crate) PathBuf);

/// One message as a file.
#[derive(Serialize)]
struct NotificationFile<'a> {
    reviewer: &'a str,
    channel: &'a str,
    subject: &'a str,
    text: &'a str,
    url: &'a str,
}

#[async_trait]
impl Channel for OutboxFiles {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let name = format!(
            "{}.{}.{}.{}.json",
            notification.approval_id, notification.stage, notification.reviewer, notification.channel
        );
        let json = serde_json::to_string(&NotificationFile {
            reviewer: notification.reviewer.as_str(),
            channel: &notification.channel,
            subject: &notification.subject,
            text: &notification.text,
            url: &notification.url,
        });
        let Ok(json) = json else {
            return SendOutcome::Unreachable("a message cannot be written as JSON".into());
        };
        let content = format!("{}\n", escaped_json(&json));
        // Not synced. The outbox row goes only after this, so the death of the process loses nothing; after the death of
        // the machine, the reviewer's inbox and `placet link` still have what was asked.
        match replace(&self.0.join(name), content.as_bytes()) {
            Ok(()) => SendOutcome::Delivered(None),
            Err(error) => SendOutcome::Retry(format!("a message cannot be put into the outbox: {error}")),
        }
    }
}

/// Prints the link of a reviewer who has no address, where there is a terminal to print to.
pub(crate) struct Terminal(pub(crate) Option<Lossy>);

#[async_trait]
impl Channel for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        if let Some(terminal) = &self.0 {
            terminal.put(format!(
                "\nto {}: {}\n  {}\n",
                notification.reviewer,
                harmless(&notification.subject),
                notification.url
            ));
        }
        SendOutcome::Delivered(None)
    }
}

/// Queues as folders: `queues/<name>/`.
pub(crate) struct QueueFiles {
    pub(crate) folder: PathBuf,
    pub(crate) terminal: Option<Lossy>,
}

#[async_trait]
impl Queues for QueueFiles {
    async fn publish(&self, queue: &str, name: &str, body: &str) -> Result<(), Fault> {
        let folder = self.folder.join(queue);
        std::fs::create_dir_all(&folder)
            .and_then(|()| replace(&folder.join(format!("{name}.json")), escaped_json(body).as_bytes()))
            .map_err(|error| Fault::new("a request cannot be put into its queue", error))?;
        if let Some(terminal) = &self.terminal {
            terminal.put(format!("\nqueue {queue}: a request waits there\n"));
        }
        Ok(())
    }
}

/// Removes files of messages and queues that nobody can answer any more.
pub(crate) fn prune(folder: &Folder) {
    let queues = std::fs::read_dir(folder.queues()).into_iter().flatten().flatten().map(|entry| entry.path());
    for place in queues.chain([folder.outbox()]) {
        prune_files(&place);
    }
}

fn prune_files(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let age = entry
            .metadata()
            .ok()
            .filter(std::fs::Metadata::is_file)
            .and_then(|metadata| SystemTime::now().duration_since(metadata.modified().ok()?).ok());
        if age.is_some_and(|age| age > KEEP_FILES) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
