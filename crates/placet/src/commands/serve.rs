//! `placet serve`: the local gate, until Ctrl-C.

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Globals, Serve};
use crate::console::{Lossy, print};
use crate::failure::{Exit, Failure};
use crate::local::Voices;
use crate::mail::Mailer;
use crate::serve::{Options, PolicySource, start};

/// Serves until it is told to end.
pub(crate) async fn run(globals: &Globals, options: Serve) -> Result<Exit, Failure> {
    if globals.url.is_some() {
        return Err(Failure::usage("--url is for a gate that runs; this starts one")
            .advise("say where with --listen"));
    }
    // Before anything else: from here on a signal ends the gate cleanly, however early it comes.
    let caught =
        |kind| signal(kind).map_err(|error| Failure::fault(format!("signals cannot be caught: {error}")));
    let (mut interrupt, mut terminate) = (caught(SignalKind::interrupt())?, caught(SignalKind::terminate())?);
    let terminal = Lossy::start("placet-terminal", std::io::stdout())
        .map_err(|error| Failure::fault(format!("the terminal's thread cannot be started: {error}")))?;
    let running = start(Options {
        data: globals.data().to_owned(),
        policy: globals.policy.clone().map(PolicySource::File),
        listen: options.listen,
        public_url: options.public_url,
        keep_alive_seconds: options.keep_alive_seconds,
        voices: Voices { terminal: Some(terminal.clone()), mailer: Mailer::from_environment()? },
    })
    .await?;
    print(&format!("ready {}\n", running.url));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let second = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    // Whoever asks twice does not want to wait.
    tokio::select! {
        () = running.stop() => {}
        () = second => {}
    }
    terminal.drain(std::time::Duration::from_millis(200));
    Ok(Exit::Done)
}
