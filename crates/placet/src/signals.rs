//! What a process has of whoever started it: Ctrl-C and SIGTERM, caught from a command's first moment on, and the mask of
//! files.
//!
//! The system ends a process by itself at these signals, except process 1 of a container: that one must do it.

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};

/// What ends a command, caught since this was made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Catches Ctrl-C and SIGTERM from now on.
    pub(crate) fn catch() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: None,
        })
    }

    /// Catches those and the end of the terminal, unless that is to be ignored (`nohup`).
    pub(crate) fn catch_with_hangup() -> Result<Self, Failure> {
        let hangup = if is_ignored(SignalKind::hangup()) { None } else { Some(catch(SignalKind::hangup())?) };
        Ok(Self { hangup, ..Self::catch()? })
    }

    /// Waits for the next one; says how a command that it ends, ends.
    pub(crate) async fn next(&mut self) -> Exit {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
            _ = hangup => Exit::HungUp,
        }
    }
}

/// Whether whoever started this process had it ignore that signal, as far as the system tells (Linux: proc(5)).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Elsewhere a command that `nohup` started must not be ended by what it was started against.
    mask.is_none_or(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

/// Catches one signal from now on.
pub(crate) fn catch(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::fault(format!("signals cannot be caught: {error}")))
}

/// Ends this process at the first signal: for commands that have nothing to take back.
///
/// They may be reading a pipe or a large file on this thread, so nothing waits for them.
pub(crate) fn end_at_once() -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    tokio::spawn(async move {
        let exit = signals.next().await;
        std::process::exit(exit.code().into());
    });
    Ok(())
}

/// The mask of new files that this process was started with. A data folder's files are for their owner alone, and opening one
/// sets another mask; a program that is started from here is to have the one that it would have had without.
pub(crate) struct Mask(Mode);

impl Mask {
    /// As it is now.
    pub(crate) fn remember() -> Self {
        let mask = umask(Mode::from_raw_mode(0o077));
        umask(mask);
        Self(mask)
    }

    /// Sets it again.
    pub(crate) fn restore(&self) {
        umask(self.0);
    }
}
