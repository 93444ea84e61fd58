//! The local gate as a running thing: started, kept up to date with its files, and ended cleanly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use placet_core::policy::Policy;
use placet_gate::ports::{Clock as _, Metrics, NoopMetrics};
use placet_gate::{Gate, Installed};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::SystemClock;
use crate::demo_chat::DemoChat;
use crate::failure::Failure;
use crate::files::prune;
use crate::folder::{Folder, Serving};
use crate::local::{LocalGate, Parts, Voices, broken_policy, no_policy, read_policy_file, refuse_ways};
use crate::scheduler::{LocalDispatcher, Scheduler};
use crate::server;

/// How often files are looked at: the policy's, the keyring, and what other processes installed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a changed policy file must stay as it is before it is put in force.
const SETTLE: Duration = Duration::from_millis(100);

/// How often what is long over is forgotten, and how much of it at a time.
const PURGE_EVERY: Duration = Duration::from_hours(1);
const PURGE_LIMIT: usize = 256;

/// How long an ended request is kept, in milliseconds: 90 days. Its audit entries stay.
const KEEP_ENDED_MS: i64 = 90 * placet_core::time::DAY_MS;

/// How long messages in flight may still take at the end. What is left goes out at the next start.
const QUIET_TIMEOUT: Duration = Duration::from_secs(1);

/// What a gate is started with.
pub(crate) struct Options {
    /// Its data folder.
    pub(crate) data: PathBuf,
    /// Its policy file; none where an installed policy is used.
    pub(crate) policy: Option<PolicySource>,
    /// Where it listens.
    pub(crate) listen: String,
    /// What links and `iss` say, instead of the policy's `issuer`.
    pub(crate) public_url: Option<String>,
    /// How long an idle connection is kept.
    pub(crate) keep_alive_seconds: u32,
    /// Who it tells, beside the files in its folder.
    pub(crate) voices: Voices,
    /// Where it serves its numbers, if it does.
    pub(crate) metrics: Option<String>,
    /// The chat of a demo, and its page.
    pub(crate) demo_chat: Option<Arc<DemoChat>>,
}

/// Where a policy comes from.
pub(crate) enum PolicySource {
    /// A file, which is followed.
    File(PathBuf),
    /// A text, for demos and tests.
    Text(String),
}

/// A gate that serves.
pub(crate) struct Running {
    /// The gate and its parts.
    pub(crate) local: LocalGate,
    /// Where it listens, as this machine reaches it.
    pub(crate) url: String,
    /// Where its numbers are, if they are served.
    pub(crate) metrics_url: Option<String>,
    dispatcher: Arc<LocalDispatcher>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
    _serving: Serving,
}

/// Starts a gate. It serves when this returns.
pub(crate) async fn start(options: Options) -> Result<Running, Failure> {
    server::raise_file_limit();
    let folder = Folder::open(&options.data)?;
    let claim = folder.claim()?;
    // The port comes first: a second gate by mistake must not install a policy before it fails.
    let listener = server::listen(&options.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::fault(format!("the listener has no address: {error}")))?;
    let url = server::local_url(address);
    let metrics_listener = match &options.metrics {
        Some(address) => Some(server::listen(address).await?),
        None => None,
    };
    let parts = Parts::open(folder.clone())?;
    let (file, text) = match options.policy {
        Some(PolicySource::File(file)) => {
            let text = read_policy_file(&file)?;
            (Some(file), Some(text))
        }
        Some(PolicySource::Text(text)) => (None, Some(text)),
        None => (None, None),
    };
    let in_force = match &text {
        Some(text) => text.clone(),
        None => parts.installed_policy().await?.ok_or_else(|| no_policy(folder.path()))?,
    };
    let public_url = public_url(options.public_url.as_deref(), &in_force, &url)?;
    let (dispatcher, queues) = LocalDispatcher::new();
    let numbers = metrics_listener.as_ref().map(|_| Arc::new(crate::metrics::Numbers::new()));
    let metrics: Arc<dyn Metrics> = match &numbers {
        Some(numbers) => Arc::clone(numbers) as _,
        None => Arc::new(NoopMetrics),
    };
    let local = parts.gate(public_url.clone(), Arc::clone(&dispatcher) as _, metrics);
    let worker = local.worker(options.voices, crate::trust::webhook_sender()?);
    let (scheduler, deliveries) =
        Scheduler::start(worker, Arc::clone(&dispatcher), queues).map_err(|error| {
            Failure::fault(format!("the thread for notifications cannot be started: {error}"))
        })?;
    if let Some(text) = &text {
        let named = file.as_deref().unwrap_or(Path::new("built in"));
        if let Ok(policy) = Policy::read(text) {
            refuse_ways(named, &policy)?;
        }
        match local.gate.install_policy(text, "operator").await? {
            Ok(installed) => say_installed(&installed, text),
            Err(diagnostics) => return Err(broken_policy(named, &diagnostics)),
        }
    }
    let policy = local.policy().await?;
    local.make_keys_for(&policy)?;
    folder.remember_public_url(public_url.as_deref())?;
    tracing::info!(
        url,
        public.url = local.gate.base_url(&policy),
        data = %folder.path().display(),
        "the gate serves"
    );
    if !address.ip().is_loopback() && local.gate.base_url(&policy).starts_with("http://") {
        tracing::warn!(
            "the gate listens beyond this machine, but its public address is not https: links and tokens could be read on the way; see --public-url"
        );
    }

    let (stop, stopped) = watch::channel(false);
    let limits = server::Limits::of_this_machine(options.keep_alive_seconds);
    let mut metrics_url = None;
    if let (Some(listener), Some(numbers)) = (metrics_listener, &numbers) {
        let address = listener
            .local_addr()
            .map_err(|error| Failure::fault(format!("the listener has no address: {error}")))?;
        metrics_url = Some(format!("{}/metrics", server::local_url(address)));
        let app = crate::metrics::app(numbers);
        tokio::spawn(server::serve(listener, app, limits.clone(), stopped.clone()));
    }
    let app = crate::pages::app(&local);
    let app = match &options.demo_chat {
        Some(chat) => crate::demo_chat::beside(app, Arc::clone(chat)),
        None => app,
    };
    let server = tokio::spawn(server::serve(listener, app, limits, stopped));
    let serving = claim.serve_at(&url)?;
    let background = vec![
        deliveries,
        tokio::spawn(async move { scheduler.run().await }),
        tokio::spawn(crate::scheduler::seal(Arc::clone(&local.gate))),
        tokio::spawn(follow_files(&local, file.map(|file| Followed::new(file, text)))),
        tokio::spawn(purge(&local)),
    ];
    Ok(Running { local, url, metrics_url, dispatcher, stop, server, background, _serving: serving })
}

impl Running {
    /// Ends the gate: no new requests, running ones finish, letters go out.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.server.await;
        self.dispatcher.quiet(QUIET_TIMEOUT).await;
        for task in &self.background {
            task.abort();
        }
        tracing::info!("the gate has ended");
    }
}

/// The address that overrides the policy's `issuer`: the one that is asked for, or where there is no `issuer`, the
/// listener's, so that links of a gate on one machine can be opened.
fn public_url(wanted: Option<&str>, policy: &str, listens_at: &str) -> Result<Option<String>, Failure> {
    if let Some(url) = wanted {
        return check_public_url(url).map(Some);
    }
    // A policy with faults fails where it is installed.
    let issuer = Policy::read(policy).ok().and_then(|policy| policy.issuer);
    Ok(if issuer.is_some() { None } else { Some(listens_at.to_owned()) })
}

fn check_public_url(text: &str) -> Result<String, Failure> {
    let fault = || {
        Failure::usage(format!("`{text}` is not a public address"))
            .advise("write it as https://gate.example.com, without a path that ends in a slash")
    };
    let trimmed = text.trim_end_matches('/');
    let url = url::Url::parse(trimmed).map_err(|_| fault())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !plain {
        return Err(fault());
    }
    Ok(trimmed.to_owned())
}

fn say_installed(installed: &Installed, text: &str) {
    match installed {
        Installed::New(version) => tracing::info!(policy.version = version, "a policy was put in force"),
        Installed::Same(version) => tracing::info!(policy.version = version, "the policy is in force"),
    }
    for warning in Policy::check(text).warnings {
        tracing::warn!(line = warning.line, "the policy: {}", warning.message);
    }
}

fn purge(local: &LocalGate) -> impl Future<Output = ()> + use<> {
    let (store, folder) = (Arc::clone(&local.store), local.folder.clone());
    async move {
        let mut hours = interval(PURGE_EVERY);
        hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            hours.tick().await;
            loop {
                match store.purge(SystemClock.now().plus_millis(-KEEP_ENDED_MS), PURGE_LIMIT).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(fault) => {
                        tracing::error!(
                            error = fault.chain(),
                            "requests that are long over could not be forgotten"
                        );
                        break;
                    }
                }
            }
            let folder = folder.clone();
            let _ = tokio::task::spawn_blocking(move || prune(&folder)).await;
        }
    }
}

/// A policy file whose changes are put in force.
struct Followed {
    file: PathBuf,
    seen: Result<String, String>,
}

impl Followed {
    fn new(file: PathBuf, text: Option<String>) -> Self {
        Self { file, seen: Ok(text.unwrap_or_default()) }
    }

    fn read(&self) -> Result<String, String> {
        let text = std::fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
        if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
    }

    /// Looks at the file, and says everything that is to be said of one content once.
    async fn look(&mut self, gate: &Gate) {
        let found = self.read();
        if found == self.seen {
            return;
        }
        // Whoever writes a file in place leaves it empty, or half of it, for a moment; and half a policy can be valid.
        tokio::time::sleep(SETTLE).await;
        if found != self.read() {
            return;
        }
        match &found {
            Err(error) => {
                tracing::error!(file = %self.file.display(), error, "the policy file cannot be read; the policy stays as it is");
            }
            Ok(text) => match gate.install_policy(text, "operator").await {
                Ok(Ok(installed)) => say_installed(&installed, text),
                Ok(Err(diagnostics)) => {
                    for diagnostic in &diagnostics {
                        tracing::error!(file = %self.file.display(), line = diagnostic.line, "the policy file has a fault: {}", diagnostic.message);
                    }
                    tracing::error!(
                        file = %self.file.display(),
                        faults = diagnostics.len(),
                        "the changed policy file was not put in force; the policy stays as it is"
                    );
                }
                Err(fault) => {
                    tracing::error!(
                        error = fault.chain(),
                        "the changed policy file could not be put in force; it is tried again"
                    );
                    return;
                }
            },
        }
        self.seen = found;
    }
}

fn follow_files(local: &LocalGate, mut followed: Option<Followed>) -> impl Future<Output = ()> + use<> {
    let (gate, keys) = (Arc::clone(&local.gate), Arc::clone(&local.keys));
    async move {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One line when a trouble begins, not one for each look.
        let mut told = None;
        loop {
            looks.tick().await;
            if let Some(followed) = &mut followed {
                followed.look(&gate).await;
            }
            let changed = keys.reread_if_changed();
            let policy = gate.reload_policy().await;
            let trouble = match (policy, changed) {
                (Err(fault), _) | (Ok(_), Err(fault)) => {
                    Some(("policy or keys cannot be read again; they stay as they are", fault))
                }
                (Ok(Some(policy)), Ok(_)) if policy.uses_push() => {
                    let made = keys.make_push_key();
                    made.err().map(|fault| ("there is no key for push: nobody is told by it", fault))
                }
                (Ok(_), Ok(_)) => None,
            };
            if let Some((what, fault)) = &trouble
                && told != Some(*what)
            {
                tracing::error!(error = fault.chain(), "{what}");
            }
            told = trouble.map(|(what, _)| what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_an_http_address_and_loses_its_last_slash() {
        assert_eq!(check_public_url("https://gate.example.com/").unwrap(), "https://gate.example.com");
        for bad in ["gate.example.com", "ftp://x", "https://a/?b", "https://u@a", "https://"] {
            assert!(check_public_url(bad).is_err(), "{bad}");
        }
    }
}
