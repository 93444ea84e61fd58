//! A gate over a data folder: its parts put together, for the server and for commands.

use std::path::Path;
use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::policy::{Diagnostic, Policy, decode};
use placet_delivery::alert::LogAlerts;
use placet_delivery::{
    AlertMail, AlertWays, Channels, Push, ReviewerWebhook, Slack, Telegram, Webhooks, Worker,
};
use placet_gate::ports::{Clock, Dispatcher, Metrics, NoopMetrics, Store};
use placet_gate::{Gate, Installed, Ports, Settings};
use placet_http::wire;
use placet_sqlite::SqliteStore;
use placet_webhook::Sender;

use crate::clock::SystemClock;
use crate::console::Lossy;
use crate::failure::Failure;
use crate::files::{OutboxFiles, QueueFiles, Terminal};
use crate::folder::Folder;
use crate::health::Health;
use crate::keys::FileKeys;
use crate::mail::Mailer;
use crate::mail_channel::MailChannel;
use crate::scheduler::LeaveForServe;

/// A gate and the parts that the command line also uses by themselves.
#[derive(Clone)]
pub(crate) struct LocalGate {
    /// The use cases.
    pub(crate) gate: Arc<Gate>,
    /// Its store.
    pub(crate) store: Arc<SqliteStore>,
    /// Its keys.
    pub(crate) keys: Arc<FileKeys>,
    /// Its folder.
    pub(crate) folder: Folder,
    /// What this process has seen of its channels and alerts.
    pub(crate) health: Arc<Health>,
}

/// Who a gate tells, beside the files in its folder.
#[derive(Default)]
pub(crate) struct Voices {
    /// The terminal.
    pub(crate) terminal: Option<Lossy>,
    /// Mail.
    pub(crate) mailer: Option<Mailer>,
    /// The program that started this gate for its tests.
    pub(crate) events: Option<crate::events::Events>,
}

/// A data folder's store and keys, before there is a gate over them.
pub(crate) struct Parts {
    folder: Folder,
    clock: Arc<SystemClock>,
    store: Arc<SqliteStore>,
    keys: Arc<FileKeys>,
}

impl Parts {
    /// Opens them; makes them where they are missing.
    pub(crate) fn open(folder: Folder) -> Result<Self, Failure> {
        let clock = Arc::new(SystemClock);
        let keys = Arc::new(crate::keys::open(&folder, clock.now())?);
        let database = folder.database();
        let store = SqliteStore::open(&database, Arc::clone(&clock) as Arc<dyn Clock>).map_err(|fault| {
            Failure::from(fault)
                .advise(format!("the database is `{}`; `placet doctor` says more", database.display()))
        })?;
        Ok(Self { folder, clock, store: Arc::new(store), keys })
    }

    /// The text of the policy that was installed last.
    pub(crate) async fn installed_policy(&self) -> Result<Option<String>, Failure> {
        Ok(self.store.policy().await?.map(|policy| policy.text))
    }

    /// The store.
    pub(crate) fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// The keys.
    pub(crate) fn keys(&self) -> &FileKeys {
        &self.keys
    }

    /// Puts a gate together. `public_url` overrides the policy's `issuer`.
    pub(crate) fn gate(
        self,
        public_url: Option<String>,
        dispatcher: Arc<dyn Dispatcher>,
        metrics: Arc<dyn Metrics>,
    ) -> LocalGate {
        let ports = Ports {
            store: Arc::clone(&self.store) as _,
            dispatcher,
            keys: Arc::clone(&self.keys) as _,
            clock: self.clock,
            metrics,
        };
        // Whoever holds this gate calls `reload_policy`.
        let settings = Settings { public_url, ..Settings::default() };
        let gate = Arc::new(Gate::new(ports, settings));
        let health = Arc::new(Health::new());
        LocalGate { gate, store: self.store, keys: self.keys, folder: self.folder, health }
    }
}

impl LocalGate {
    /// A gate for one command. It tells nobody: what it commits, a serving gate sends.
    pub(crate) fn for_command(folder: Folder) -> Result<Self, Failure> {
        let public_url = folder.public_url();
        Ok(Parts::open(folder)?.gate(public_url, Arc::new(LeaveForServe), Arc::new(NoopMetrics)))
    }

    /// Who works off this gate's outbox. Each message is a file as well, whatever its channel.
    pub(crate) fn worker(&self, voices: Voices, sender: Sender) -> Worker {
        let files = || Arc::new(OutboxFiles(self.folder.outbox()));
        let keys = || Arc::clone(&self.keys) as Arc<dyn placet_gate::ports::Keys>;
        let to_reviewers = ReviewerWebhook::new(Arc::clone(&self.gate), sender.clone());
        let mail = Arc::new(MailChannel::new(voices.mailer, keys()));
        let mut channels = Channels::default()
            .with_name("email", files())
            .with(Arc::clone(&mail) as _)
            .with_name("sms", files())
            .with_name("terminal", files())
            .with(Arc::new(Terminal(voices.terminal.clone())))
            // A file says that a message was sent: where a chat refuses it, another channel may be next.
            .with(Arc::new(Slack::new(keys(), sender.clone())))
            .with_name("slack", files())
            .with(Arc::new(Telegram::new(keys(), sender.clone())))
            .with_name("telegram", files())
            .with(Arc::new(Push::new(Arc::clone(&self.gate), sender.clone())))
            .with_name("push", files())
            .with(Arc::new(to_reviewers))
            .with_name("webhook", files())
            .watched_by(Arc::clone(&self.health) as _);
        let mut alerts: Vec<Arc<dyn placet_delivery::alert::AlertSink>> =
            vec![Arc::new(LogAlerts), Arc::clone(&self.health) as _];
        let queues = QueueFiles { folder: self.folder.queues(), terminal: voices.terminal };
        let queues: Arc<dyn placet_delivery::Queues> = match voices.events {
            None => Arc::new(queues),
            Some(events) => {
                channels = channels.with_every(Arc::new(events.clone()));
                alerts.push(Arc::new(events.clone()));
                Arc::new(crate::events::AnnouncedQueues { files: queues, events })
            }
        };
        let parts = placet_delivery::Parts {
            channels,
            queues,
            ways: self.ways(mail, sender.clone()),
            webhooks: Webhooks::new(sender),
            alerts,
            bodies: placet_delivery::Bodies { event: wire::event, queue_item: wire::queue_item },
        };
        Worker::new(Arc::clone(&self.gate), parts)
    }

    /// The ways by which this gate can tell operators.
    pub(crate) fn ways(&self, mail: Arc<dyn AlertMail>, sender: Sender) -> AlertWays {
        AlertWays { gate: Arc::clone(&self.gate), sender, mail, topic: None }
    }

    /// Puts the policy file, if one is given, in force.
    pub(crate) async fn install(&self, file: Option<&Path>) -> Result<Option<Installed>, Failure> {
        let Some(file) = file else { return Ok(None) };
        self.install_text(file, &read_policy_file(file)?).await.map(Some)
    }

    /// Puts that policy in force. `named` is what a report of its faults calls it.
    pub(crate) async fn install_text(&self, named: &Path, text: &str) -> Result<Installed, Failure> {
        match self.gate.install_policy(text, "operator").await? {
            Ok(installed) => Ok(installed),
            Err(diagnostics) => Err(broken_policy(named, &diagnostics)),
        }
    }

    /// The policy in force.
    pub(crate) async fn policy(&self) -> Result<Arc<Policy>, Failure> {
        let policy = self.gate.reload_policy().await?;
        policy.ok_or_else(|| no_policy(self.folder.path()))
    }

    /// Makes this gate's key for push, where the policy in force is the first that needs one.
    pub(crate) fn make_keys_for(&self, policy: &Policy) -> Result<(), Failure> {
        if policy.uses_push() && self.keys.make_push_key()? {
            tracing::info!("a key for push was made");
        }
        Ok(())
    }

    /// The gate's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.gate.now()
    }
}

/// The text of a policy file.
pub(crate) fn read_policy_file(file: &Path) -> Result<String, Failure> {
    decode_policy_file(file)?.map_err(|diagnostic| broken_policy(file, &[*diagnostic]))
}

/// The text of a policy file, or where it is not text.
pub(crate) fn decode_policy_file(file: &Path) -> Result<Result<String, Box<Diagnostic>>, Failure> {
    let bytes = std::fs::read(file).map_err(|error| {
        Failure::file("cannot read the policy", file, &error).advise("`placet init` writes one to start from")
    })?;
    Ok(decode(&bytes).map(str::to_owned))
}

/// A policy that cannot be used, with every fault.
pub(crate) fn broken_policy(file: &Path, diagnostics: &[Diagnostic]) -> Failure {
    let count =
        if diagnostics.len() == 1 { "a fault".to_owned() } else { format!("{} faults", diagnostics.len()) };
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    Failure::refused(format!("the policy `{}` has {count}", file.display()))
        .with_code("policy_faults")
        .advise(lines.join("\n"))
}

/// Refuses a policy that names a way of alerts which a gate on one machine has not got.
pub(crate) fn refuse_ways(file: &Path, policy: &Policy) -> Result<(), Failure> {
    match policy.alerts.iter().find_map(placet_core::policy::AlertWay::fault_on_one_machine) {
        None => Ok(()),
        Some(fault) => Err(Failure::refused(fault).with_code("policy_faults").advise(format!(
            "it is named in `{}`; `placet policy push --aws` installs it on AWS",
            file.display()
        ))),
    }
}

/// There is nothing to decide by.
pub(crate) fn no_policy(folder: &Path) -> Failure {
    Failure::refused(format!("no policy is installed in `{}`", folder.display())).with_code("no_policy").advise(
        "give --policy FILE, or install one with `placet policy push FILE`; `placet init` writes one to start from",
    )
}
