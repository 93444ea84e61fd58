//! Measures Placet on this machine, next to the article's service and the disk's own floor, and prints one table.
//!
//! `cargo run --release -p placet-bench`. Nothing here asserts a time: machines differ, and this one may be busy.

mod approvals;
mod baseline;
mod failure;
mod floor;
mod gate;
mod install;
mod lambda;
mod load;
mod place;
mod process;
mod report;
mod run;
mod samples;
mod server;
mod sign;
mod starts;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A synced append: what the disk alone costs.
    Floor,
    /// The article's service: `FastAPI` on uvicorn, storing nothing.
    Baseline,
    /// Approvals one at a time, through the JSON answer and through the page; time to notify; page weight.
    Approvals,
    /// Complete approvals with many in flight.
    Load,
    /// Requests that policy decides alone.
    Policy,
    /// From the start to the `ready` line.
    Start,
}

/// Measures the gate, the article's baseline and the disk in one run.
#[derive(Debug, Parser)]
#[command(name = "placet-bench", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    other: Option<Other>,
    /// Measure only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds of each measured window, after a warm-up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often each window is measured; rates are the median round's
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How many are in flight where many are
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    in_flight: u32,
    /// A `placet` binary to measure, instead of building one
    #[arg(long, value_name = "FILE")]
    placet: Option<PathBuf>,
    /// Where data folders go; must be on a real disk [default: beside this program, in the target folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

/// What else can be measured.
#[derive(Debug, Subcommand)]
enum Other {
    Lambda(lambda::LambdaOptions),
}

impl Options {
    fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn measures_the_gate(&self) -> bool {
        [Part::Approvals, Part::Load, Part::Policy, Part::Start].iter().any(|part| self.measures(*part))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let measured = match &options.other {
        Some(Other::Lambda(options)) => lambda::run(options),
        None => run::run(&options),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("placet-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
