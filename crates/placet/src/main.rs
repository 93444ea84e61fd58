//! The `placet` command: the local gate, and the operator's hand.
//!
//! What is decided, and how, is `placet-core`'s and `placet-gate`'s; here are the parts of one machine (folder, keys,
//! timers, files, terminal) and one file a verb under `commands`.

mod api;
mod cli;
mod clock;
mod commands;
mod console;
mod failure;
mod folder;
mod keys;
mod lanes;
mod local;
mod logs;
mod mail;
mod mcp;
mod outbox;
mod serve;
mod server;
mod text;
mod timers;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::failure::{Exit, Failure};

/// Threads that answer requests: SQLite has one writer, and people are slow.
const WORKERS: usize = 2;

/// How long what still runs in the background may hold up the end.
const END_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = logs::start(match cli.command {
        Command::Serve(_) => tracing::Level::INFO,
        _ => tracing::Level::WARN,
    });
    let result = log.and_then(|log| {
        let result = run(cli);
        log.drain(END_TIMEOUT);
        result
    });
    match result {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            console::note(&failure.to_string());
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS.min(cores))
        .enable_all()
        .build()
        .map_err(|error| Failure::fault(format!("the runtime cannot be started: {error}")))?;
    let result = runtime.block_on(commands::run(cli));
    runtime.shutdown_timeout(END_TIMEOUT);
    result
}
