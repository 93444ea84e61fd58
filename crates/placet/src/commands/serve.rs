//! `placet serve`: the local gate, until Ctrl-C.

use std::io::IsTerminal as _;
use std::path::Path;

use placet_gate::Installed;
use placet_gate::ports::Clock as _;
use tokio::signal::unix::SignalKind;

use crate::cli::{Globals, Serve};
use crate::clock::SystemClock;
use crate::console::{Lossy, print};
use crate::failure::{Exit, Failure};
use crate::local::{LocalGate, Voices};
use crate::mail::Mailer;
use crate::serve::{Options, PolicySource, start};
use crate::signals::{Signals, catch};
use crate::text::span;

/// How far records may lie in the future before the clock is called wrong, in milliseconds.
pub(super) const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// Serves until it is told to end.
pub(crate) async fn run(globals: &Globals, options: Serve) -> Result<Exit, Failure> {
    if globals.url.is_some() {
        return Err(Failure::usage("--url is for a gate that runs; this starts one")
            .advise("say where with --listen"));
    }
    // Before anything else: from here on a signal ends the gate cleanly, however early it comes.
    let mut signals = Signals::catch()?;
    let mut hangup = catch(SignalKind::hangup())?;
    if options.new_keyring {
        super::keys::make_anew(globals).await?;
    }
    let terminal = Lossy::start("placet-terminal", std::io::stdout())
        .map_err(|error| Failure::fault(format!("the terminal's thread cannot be started: {error}")))?;
    // A link is its reviewer's alone: it must not end in a log file or in a journal.
    let for_people = std::io::stdout().is_terminal().then(|| terminal.clone());
    let running = start(Options {
        data: globals.data().to_owned(),
        policy: globals.policy.clone().map(PolicySource::File),
        listen: options.listen,
        public_url: options.public_url,
        keep_alive_seconds: options.keep_alive_seconds,
        voices: Voices { terminal: for_people, mailer: Mailer::from_environment()?, events: None },
        metrics: options.metrics,
        demo_chat: None,
    })
    .await?;
    warn_of_the_clock(&running.local).await;
    warn_of_an_old_keyring(&running.local).await;
    print(&format!("ready {}\n", running.url));
    if let Some(url) = &running.metrics_url {
        print(&format!("metrics {url}\n"));
    }
    loop {
        tokio::select! {
            _ = signals.next() => break,
            _ = hangup.recv() => reread(&running.local, globals.policy.as_deref()).await,
        }
    }
    // Whoever asks twice does not want to wait.
    tokio::select! {
        () = running.stop() => {}
        _ = signals.next() => {}
    }
    terminal.drain(std::time::Duration::from_millis(200));
    Ok(Exit::Done)
}

/// Deadlines are moments of this machine's clock: one that is behind its own records lets them pass late.
async fn warn_of_the_clock(local: &LocalGate) {
    match local.store.newest_record().await {
        Ok(Some(newest)) => {
            let behind = newest.millis_since(SystemClock.now());
            if behind > CLOCK_TOLERANCE_MS {
                tracing::warn!(
                    behind.seconds = behind / 1000,
                    "the clock is {} behind the newest record: deadlines pass late; set the clock",
                    span(behind)
                );
            }
        }
        Ok(None) => {}
        Err(fault) => tracing::error!(error = fault.chain(), "the newest record cannot be read"),
    }
}

async fn warn_of_an_old_keyring(local: &LocalGate) {
    match super::keys::older_than_recorded(&local.keys.held(), &local.store).await {
        Ok(Some(recorded)) => tracing::error!(
            epoch = local.keys.held().current.number,
            "the keyring is older than the records, which tell of epoch {recorded}: secrets, links and tokens of that epoch are void; put the newer keyring back"
        ),
        Ok(None) => {}
        Err(fault) => tracing::error!(error = fault.chain(), "the records of rotations cannot be read"),
    }
}

/// SIGHUP: what is followed anyway is read now, and what was found is said.
async fn reread(local: &LocalGate, file: Option<&Path>) {
    if let Err(fault) = local.keys.reread_if_changed() {
        tracing::error!(error = fault.chain(), "the keyring cannot be read again; it stays as it is");
    }
    let read = match file {
        Some(file) => local.install(Some(file)).await,
        None => local.policy().await.map(|_| None),
    };
    match read {
        Ok(Some(Installed::New(version))) => {
            tracing::info!(
                policy.version = version,
                "told to read the policy again: a changed one is in force"
            );
        }
        Ok(Some(Installed::Same(version))) => {
            tracing::info!(policy.version = version, "told to read the policy again: it has not changed");
        }
        Ok(None) => tracing::info!("told to read the policy again: the installed one is in force"),
        Err(failure) => {
            tracing::error!(error = %failure, "told to read the policy again: it has faults, and stays as it is");
        }
    }
}
