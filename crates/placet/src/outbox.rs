//! Who is told on one machine: files in the outbox and in queues, the terminal, mail, and callbacks.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use placet_core::words::escaped_json;
use placet_gate::Fault;
use placet_gate::alert::Alert;
use placet_gate::ports::{DeliveryOutcome, Notification, Notify, Post, Via, View};
use placet_http::{callbacks, wire};
use placet_webhook::{Options, Sender, Target};
use serde::Serialize;

use crate::console::{Lossy, harmless};
use crate::folder::{Folder, replace};
use crate::lanes::Lanes;
use crate::mail::Mailer;

/// How long files of letters and queues are kept: longer than any request can wait.
const KEEP_FILES: Duration = Duration::from_hours(31 * 24);

/// Tells people and programs from one machine.
pub(crate) struct LocalNotify {
    outbox: PathBuf,
    queues: PathBuf,
    terminal: Option<Lossy>,
    mailer: Option<Mailer>,
    sender: Sender,
    lanes: Lanes,
}

/// One letter as a file.
#[derive(Serialize)]
struct LetterFile<'a> {
    reviewer: &'a str,
    channel: &'a str,
    subject: &'a str,
    text: &'a str,
    url: &'a str,
}

impl LocalNotify {
    /// Tells by the folder's files, and by the terminal and by mail where they are given.
    pub(crate) fn new(folder: &Folder, terminal: Option<Lossy>, mailer: Option<Mailer>) -> Self {
        Self {
            outbox: folder.outbox(),
            queues: folder.queues(),
            terminal,
            mailer,
            sender: Sender::new(Options::default()),
            lanes: Lanes::default(),
        }
    }
}

#[async_trait]
impl Notify for LocalNotify {
    async fn tell(&self, letter: &Notification) -> Result<(), Fault> {
        let name = format!(
            "{}.{}.{}.{}.json",
            letter.approval_id,
            letter.stage,
            letter.reviewer,
            letter.channel.as_str()
        );
        let json = serde_json::to_string(&LetterFile {
            reviewer: letter.reviewer.as_str(),
            channel: letter.channel.as_str(),
            subject: &letter.subject,
            text: &letter.text,
            url: &letter.url,
        })
        .map_err(|error| Fault::new("a letter cannot be written as JSON", error))?;
        let content = format!("{}\n", escaped_json(&json));
        // Not synced. The message is forgotten only after this, so the death of the process loses nothing; after the
        // death of the machine, the reviewer's inbox and `placet link` still have what was asked.
        replace(&self.outbox.join(name), content.as_bytes())
            .map_err(|error| Fault::new("a letter cannot be put into the outbox", error))?;
        if let Some(terminal) = &self.terminal {
            terminal.put(letter_lines(letter));
        }
        if let (Some(mailer), Via::Email, Some(address)) = (&self.mailer, letter.channel, &letter.address) {
            mailer.send(letter, address).await?;
        }
        Ok(())
    }

    async fn publish(&self, queue: &str, stage: usize, view: &View<'_>) -> Result<(), Fault> {
        let folder = self.queues.join(queue);
        let asked = &view.request.asked;
        let path = folder.join(format!("{}.{}.json", asked.approval_id, stage.saturating_add(1)));
        let content = escaped_json(&wire::queue_message(stage, view).to_string());
        std::fs::create_dir_all(&folder)
            .and_then(|()| replace(&path, content.as_bytes()))
            .map_err(|error| Fault::new("a request cannot be put into its queue", error))?;
        if let Some(terminal) = &self.terminal {
            terminal.put(format!("\nqueue {queue}: {} of {} waits there\n", asked.request_id, asked.client));
        }
        Ok(())
    }

    async fn post(&self, post: &Post<'_>) -> DeliveryOutcome {
        // What cannot be posted to anyway needs no lane.
        let lane = Target::parse(post.url, post.callback_hosts).ok().map(|target| {
            let (host, at_port) = target.host_and_port();
            format!("{host}:{at_port}")
        });
        let mut pass = None;
        if let Some(lane) = &lane {
            pass = self.lanes.enter(lane).await;
            if pass.is_none() {
                let reason = format!("`{lane}` is too slow for the callbacks that wait for it");
                return callbacks::again(post, None, reason);
            }
        }
        let posted = callbacks::post(&self.sender, post).await;
        drop(pass);
        posted
    }

    async fn alert(&self, alert: &Alert) {
        match alert {
            Alert::Expired { client, request_id } => tracing::warn!(
                alert = "expired",
                client.id = %client,
                request.id = %request_id,
                "nobody answered in time: a request has expired"
            ),
            Alert::CallbackGivenUp { approval_id, client, reason } => tracing::warn!(
                alert = "callback_given_up",
                client.id = %client,
                approval.id = %approval_id,
                reason,
                "a callback was given up"
            ),
            Alert::KeysRotated { epoch } => {
                tracing::warn!(alert = "keys_rotated", epoch, "the keys were rotated");
            }
            Alert::RotationFailed { step, reason } => {
                tracing::error!(alert = "rotation_failed", step, reason, "the keys could not be rotated");
            }
            Alert::OldSecret { client } => tracing::warn!(
                alert = "old_secret",
                client.id = %client,
                "a client still uses its secret from before the rotation: give it the new one"
            ),
            Alert::BadSignatures { count } => tracing::warn!(
                alert = "bad_signatures",
                count,
                "many requests with a wrong signature within a minute"
            ),
            Alert::ReviewerNotTold { approval_id, attempt } => tracing::warn!(
                alert = "reviewer_not_told",
                approval.id = %approval_id,
                attempt,
                "a reviewer could not be told; it is tried again"
            ),
        }
    }

    fn check_url(&self, url: &str, callback_hosts: &[String]) -> Result<(), String> {
        callbacks::check_url(url, callback_hosts)
    }
}

fn letter_lines(letter: &Notification) -> String {
    format!(
        "\nto {} ({}): {}\n  {}\n",
        letter.reviewer,
        letter.channel.as_str(),
        harmless(&letter.subject),
        letter.url
    )
}

/// Removes files of letters and queues that nobody can answer any more.
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
