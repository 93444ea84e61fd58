//! `placet policy …` and `placet client …`.

use super::Deployment;
use crate::text::parse_duration;
use crate::text::parse_moment;
use clap::Args;
use clap::Subcommand;
use placet_core::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Find every fault, with its line
    Check {
        /// The policy [default: --policy]
        file: Option<PathBuf>,
        #[command(flatten)]
        on: Deployment,
    },
    /// Say which rule a request hits, and why
    Explain {
        /// The policy
        file: PathBuf,
        /// The request as JSON, as it would be sent; `-` for standard input
        request: PathBuf,
    },
    /// Say what a policy would have done with what was asked, beside what people decided; installs nothing
    Replay(PolicyReplay),
    /// Print a patch of rules that would pass what people have always approved, with its evidence; applies nothing
    Suggest(PolicySuggest),
    /// Install a policy: in the data folder, where a serving gate takes it up within a second, or on AWS
    Push {
        /// The policy [default: --policy]
        file: Option<PathBuf>,
        #[command(flatten)]
        on: Deployment,
    },
}

#[derive(Args, Debug)]
pub(crate) struct PolicyReplay {
    /// The policy
    pub(crate) file: PathBuf,
    /// From when on: a time back from now such as 90d, or a date such as 2026-01-31
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_since)]
    pub(crate) since: Since,
    /// How many requests each list names, the newest first; the counts are whole in any case
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) list: u32,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Args, Debug)]
pub(crate) struct PolicySuggest {
    /// The policy [default: --policy, or else the one in force]
    pub(crate) file: Option<PathBuf>,
    /// From when on: a time back from now such as 90d, or a date such as 2026-01-31
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_since)]
    pub(crate) since: Since,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

/// A moment, or how long ago it was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    Ago(Duration),
    At(Timestamp),
}

impl Since {
    /// The moment, seen from `now`.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => {
                let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                now.plus_millis(-millis).max(Timestamp::from_millis(0))
            }
            Self::At(moment) => moment,
        }
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    parse_moment(text).map(Since::At).or_else(|_| parse_duration(text).map(Since::Ago)).map_err(|_| {
        format!("`{text}` is neither a time back from now such as 90d or 12h, nor a date such as 2026-01-31")
    })
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Take requests of a client again that a reviewer has paused
    Resume {
        /// The client
        id: String,
        #[command(flatten)]
        on: Deployment,
    },
    /// Print a client's secret, alone on the last line: what to paste into Zapier or n8n
    Secret {
        /// The client
        id: String,
        #[command(flatten)]
        on: Deployment,
    },
}
