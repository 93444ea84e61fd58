//! What happens at a gate, as JSON lines for the program that started it: `placet testgate`.
//!
//! The serving gate knows nothing of this: it tells one channel, one alert sink and one queue more.

use std::io::Write as _;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use async_trait::async_trait;
use placet_delivery::alert::{AlertNotice, AlertSink};
use placet_delivery::{Channel, Notification, Queues, SendOutcome};
use placet_gate::Fault;
use serde_json::{Value, json};

use crate::files::QueueFiles;

/// Writes objects to standard output, one a line. Nothing is left out, and a slow reader holds nobody up.
#[derive(Clone)]
pub(crate) struct Events(Sender<Line>);

enum Line {
    Object(Value),
    Drained(SyncSender<()>),
}

impl Events {
    /// Starts the thread that writes.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (lines, inbox) = channel();
        std::thread::Builder::new().name("placet-events".into()).spawn(move || {
            for line in inbox {
                match line {
                    Line::Object(object) => {
                        let mut out = std::io::stdout().lock();
                        // A reader that has gone is noticed by the end of standard input.
                        let _ = writeln!(out, "{object}");
                        let _ = out.flush();
                    }
                    Line::Drained(done) => {
                        let _ = done.try_send(());
                    }
                }
            }
        })?;
        Ok(Self(lines))
    }

    /// Writes that object as the next line.
    pub(crate) fn say(&self, object: Value) {
        let _ = self.0.send(Line::Object(object));
    }

    /// Waits until everything so far is written, but not longer than that.
    pub(crate) fn drain(&self, at_most: Duration) {
        let (done, waits) = sync_channel(1);
        if self.0.send(Line::Drained(done)).is_ok() {
            let _ = waits.recv_timeout(at_most);
        }
    }
}

/// Registered under the name of every channel, behind the one that sends: what is told here was delivered.
#[async_trait]
impl Channel for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        self.say(json!({
            "event": "notified",
            "message_id": notification.id,
            "approval_id": notification.approval_id.as_str(),
            "stage": notification.stage,
            "reviewer": notification.reviewer.as_str(),
            "channel": notification.channel,
            "subject": notification.subject,
            "text": notification.text,
            "url": notification.url,
        }));
        SendOutcome::Delivered(None)
    }
}

#[async_trait]
impl AlertSink for Events {
    async fn alert(&self, notice: &AlertNotice) -> Result<(), String> {
        self.say(json!({ "event": "alert", "kind": notice.kind, "text": notice.text() }));
        Ok(())
    }
}

/// The queues' files, each of which is an event too.
pub(crate) struct AnnouncedQueues {
    pub(crate) files: QueueFiles,
    pub(crate) events: Events,
}

#[async_trait]
impl Queues for AnnouncedQueues {
    async fn publish(&self, queue: &str, name: &str, body: &str) -> Result<(), Fault> {
        self.files.publish(queue, name, body).await?;
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        self.events.say(json!({ "event": "queued", "message_id": name, "queue": queue, "body": body }));
        Ok(())
    }
}
