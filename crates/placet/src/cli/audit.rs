//! `placet audit …`.

use super::Deployment;
use crate::text::parse_duration;
use crate::text::parse_moment;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use placet_core::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last entries, or print all of them as JSON Lines or CSV
    Show(AuditShow),
    /// Write the whole log into a folder that needs no gate to be verified
    Export {
        /// The folder, which must not exist yet or be empty
        folder: PathBuf,
        /// The auditor who asks, at an address; `PLACET_SECRET` is its secret
        #[arg(long, value_name = "ID")]
        auditor: Option<String>,
        #[command(flatten)]
        on: Deployment,
    },
    /// Verify an export, a receipt or a file of entries, without a gate
    Verify(AuditVerify),
    /// Print the receipt of a request that has ended: one file that proves how
    Receipt {
        /// The request
        request_id: String,
        /// Whose request [default: whoever has one of that name]
        #[arg(long, value_name = "ID")]
        client: Option<String>,
        #[command(flatten)]
        on: Deployment,
    },
    /// Print the log's public key, for whoever verifies
    Key {
        #[command(flatten)]
        on: Deployment,
    },
    /// Cosign an export's head with a key of your own, if the log has grown from what you signed last
    Witness {
        /// The export
        folder: PathBuf,
        /// Where the witness keeps its key and what it has signed
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The witness's name [default: placet/witness]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Remove entries that are older than their retention; the log and every receipt still verify
    Prune {
        /// How old they must be, such as 2557d
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        older_than: Duration,
    },
}

#[derive(Args, Debug)]
pub(crate) struct AuditShow {
    /// Only entries recorded then or later: 2026-01-31, or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) since: Option<Timestamp>,
    /// Only entries recorded before then
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) until: Option<Timestamp>,
    /// Only entries about this client's requests
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Only entries about requests under this rule
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Only this reviewer's votes, and approvals that name them
    #[arg(long, value_name = "ID")]
    pub(crate) reviewer: Option<String>,
    /// The auditor who asks, at an address; `PLACET_SECRET` is its secret
    #[arg(long, value_name = "ID")]
    pub(crate) auditor: Option<String>,
    /// The last so many, in the table
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print all of them, the oldest first, in this form
    #[arg(long, value_enum, conflicts_with = "limit")]
    pub(crate) format: Option<TrailFormat>,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrailFormat {
    /// One entry a line, as it was stored
    Jsonl,
    /// For spreadsheets
    Csv,
}

#[derive(Args, Debug)]
pub(crate) struct AuditVerify {
    /// An export's folder, a receipt, or a file of entries (.jsonl)
    pub(crate) path: PathBuf,
    /// An older export, checkpoint or receipt: the log must have grown from it
    #[arg(long, value_name = "OLD_CHECKPOINT")]
    pub(crate) seen: Option<PathBuf>,
    /// The log's public key, as you know it from `placet audit key` [default: the file's own]
    #[arg(long, value_name = "VKEY")]
    pub(crate) key: Option<String>,
    /// The witness that must have cosigned the older checkpoint
    #[arg(long, value_name = "VKEY", requires = "seen")]
    pub(crate) witness: Option<String>,
    /// For a receipt: the payload that must be the one that was asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
}
