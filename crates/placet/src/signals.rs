//! Ctrl-C and SIGTERM, caught from a command's first moment on.
//!
//! The system ends a process by itself at these signals, except process 1 of a container: that one must do it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};

/// Both signals, caught since this was made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> Result<Self, Failure> {
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// Waits for the next one; says how a command that it ends, ends.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
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
