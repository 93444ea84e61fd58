//! The `placet` command: the local gate, and the operator's hand.
//!
//! What is decided, and how, is `placet-core`'s and `placet-gate`'s; here are the parts of one machine (folder, keys,
//! timers, files, terminal) and one file a verb under `commands`.

#[cfg(not(unix))]
compile_error!("placet runs on Linux and macOS; on Windows, run it in WSL or in a container");

mod api;
mod backup;
mod channel_file;
mod cli;
mod clock;
mod commands;
mod console;
mod events;
mod failure;
mod files;
mod folder;
mod health;
mod invocation;
mod keys;
mod local;
mod logs;
mod mail;
mod mail_channel;
mod mcp;
mod metrics;
mod operator;
mod pages;
mod press_limit;
mod proxy;
mod scheduler;
mod serve;
mod server;
mod signals;
mod text;
mod trial;
mod trust;

use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command};
use crate::failure::{Exit, Failure};

/// Threads that answer requests: SQLite has one writer, and people are slow.
const WORKERS: usize = 2;

/// How long what still runs in the background may hold up the end.
const END_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_a_command(error),
    };
    let json = cli.globals.json;
    let log = logs::start(match cli.command {
        Command::Serve(_) | Command::Testgate(_) => tracing::Level::INFO,
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
            report(&failure, json);
            ExitCode::from(failure.code())
        }
    }
}

/// With `--json` a program reads standard output, whether the command did what it was asked or not.
fn report(failure: &Failure, json: bool) {
    if json {
        console::print(&format!("{:#}\n", failure.to_json()));
    } else {
        console::note(&failure.to_string());
    }
}

/// What clap says of a command line that it cannot read; `--help` and `--version` come this way too.
fn not_a_command(mut error: clap::Error) -> ExitCode {
    keep_hidden(&mut error);
    let json = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json");
    if !error.use_stderr() || !json {
        // A reader that has gone is no fault.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.render().to_string();
    let text = text.trim().trim_start_matches("error: ");
    let (message, advice) = text.split_once("\n\n").unwrap_or((text, ""));
    let failure = Failure::usage(message.trim());
    let advice = advice.trim();
    report(&if advice.is_empty() { failure } else { failure.advise(advice) }, true);
    ExitCode::from(2)
}

/// A tip names no command that the help does not name.
fn keep_hidden(error: &mut clap::Error) {
    let Some(ContextValue::Strings(tips)) = error.get(ContextKind::SuggestedSubcommand) else { return };
    let command = Cli::command();
    let is_hidden = |tip: &&String| command.find_subcommand(tip).is_some_and(clap::Command::is_hide_set);
    let shown: Vec<String> = tips.iter().filter(|tip| !is_hidden(tip)).cloned().collect();
    if shown.is_empty() {
        error.remove(ContextKind::SuggestedSubcommand);
    } else {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(shown));
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
