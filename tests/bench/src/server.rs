//! A server as its own process: started, waited for until it says it is ready, and stopped by its own process id.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How long a server may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server process. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From before its start to the line that says it serves.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts a server and reads what it says until `ready` finds its address in a line.
    ///
    /// One of `stdout` and `stderr` is read, as `says` tells; the other goes to the file `log`.
    pub(crate) fn start(
        mut command: Command,
        says: Says,
        log: &Path,
        ready: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<Self> {
        let quiet = File::create(log)?;
        match says {
            Says::OnStdout => command.stdout(Stdio::piped()).stderr(quiet),
            Says::OnStderr => command.stdout(quiet).stderr(Stdio::piped()),
        };
        let from = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| Failure::new(format!("`{}`", command.get_program().display()), error))?;
        let said: Box<dyn std::io::Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => Box::new(stdout),
            (None, Some(stderr)) => Box::new(stderr),
            (None, None) => return Err(Failure::bare("a server's output could not be read")),
        };
        let mut said = BufReader::new(said);
        let mut heard = String::new();
        loop {
            let before = heard.len();
            if said.read_line(&mut heard)? == 0 {
                let _ = child.kill();
                let _ = child.wait();
                let logged = std::fs::read_to_string(log).unwrap_or_default();
                return Err(Failure::new("a server ended before it was ready", heard + &logged));
            }
            if let Some(address) = ready(heard.get(before..).unwrap_or_default()) {
                let ready_after = from.elapsed();
                // What it says later must be read, or it would block.
                std::thread::spawn(move || std::io::copy(&mut said.by_ref(), &mut std::io::sink()));
                return Ok(Self { child, address, ready_after });
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C would, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).map_err(std::io::Error::from)?;
        let from = Instant::now();
        while self.child.try_wait()?.is_none() {
            if from.elapsed() > PATIENCE {
                return Err(Failure::bare("a server did not end when it was asked to"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server says that it is ready.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    /// The gate.
    OnStdout,
    /// uvicorn.
    OnStderr,
}
