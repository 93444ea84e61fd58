//! The command line: every word that can be typed, and its help.

#![expect(clippy::disallowed_methods, reason = "the command line reads its environment")]

mod asking;
mod audit;
mod channels;
mod policy;
mod running;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::asking::{Inbox, Link, Mcp, McpCommand, McpWrap, Request, Run, TokenCommand, TokenOf};
pub(crate) use self::audit::{AuditCommand, AuditShow, AuditVerify, TrailFormat};
pub(crate) use self::channels::{
    AlertCommand, AlertSet, ChannelCommand, ChannelSet, ChannelTest, SecretWay, SettableChannel,
};
pub(crate) use self::policy::{ClientCommand, PolicyCommand, PolicyReplay, PolicySuggest};
pub(crate) use self::running::{Demo, Init, Serve, Testgate, Verdict};
use crate::text::parse_duration;

/// Where the data folder is if nobody says.
const DATA: &str = "./placet-data";

const DATA_VARIABLE: &str = "PLACET_DATA";

/// A person approves before a program acts.
///
/// Exit codes: 0 done or approved, 1 refused (rejected, expired, not valid), 2 usage, 3 fault; 129, 130 and 143 where
/// Ctrl-C or SIGTERM ended it.
#[derive(Debug, Parser)]
#[command(name = "placet", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// The data folder [default: ./placet-data]
    #[arg(long, global = true, value_name = "DIR", env = DATA_VARIABLE, hide_env_values = true)]
    data: Option<PathBuf>,
    /// The policy file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The address of a running gate, which is asked as a client; `PLACET_SECRET` is that client's secret
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Print results as JSON, errors included, on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Globals {
    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(DATA))
    }

    /// The data folder, if it was named on the command line itself.
    pub(crate) fn named_data(&self) -> Option<&Path> {
        let from_environment = std::env::var_os(DATA_VARIABLE);
        self.data.as_deref().filter(|path| Some(path.as_os_str()) != from_environment.as_deref())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the main job in one go: ask, decide, verify
    Demo(Demo),
    /// Run the gate on this machine
    Serve(Serve),
    /// Run a gate for tests, steered by JSON lines
    #[command(hide = true)]
    Testgate(Testgate),
    /// Write a commented policy to start from
    Init(Init),
    /// Check, explain or install a policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What belongs to a client
    #[command(subcommand)]
    Client(ClientCommand),
    /// The gate's keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// How reviewers are told: Slack, Telegram, a mail server
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// How operators are alerted: the secrets of the policy's `[[alerts]]`, and a test of each
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Ask for an approval, from a shell or a CI job
    Request(Request),
    /// Run a command once a person has approved exactly this run of it
    Run(Run),
    /// List what waits for a decision
    Inbox(Inbox),
    /// Print a reviewer's link to a request again
    Link(Link),
    /// Be an MCP server for one agent, over standard input and output
    Mcp(Mcp),
    /// Check or use the token of a decision
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show one request, with its history
    Show(OneRequest),
    /// Withdraw a request, as the operator
    Cancel(OneRequest),
    /// List requests, the newest first: what was asked, and how it ended
    List(List),
    /// The audit trail: read it, take it away, prove it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show the numbers of the last days: times, outcomes, troubles, and approvals that were mistakes
    Report(Report),
    /// Copy the data folder with its keyring into one file, while the gate serves
    Backup(Backup),
    /// Make a data folder from a backup
    Restore {
        /// The backup; `-` for standard input
        file: PathBuf,
    },
    /// Check a deployment, and say what is missing
    Doctor {
        /// Write a report for a support question into this file: what was found, versions, sizes, and no secret
        #[arg(long, value_name = "FILE", conflicts_with = "aws")]
        report: Option<PathBuf>,
        /// Also send a real test by every channel of the policy's reviewers, and by every way of alerts, and say what came
        /// of each; exit code 1 if one was refused, if a way is not set up, or if somebody is reached by nothing
        #[arg(long)]
        send: bool,
        /// Send to this reviewer only, and try no way of alerts [default: all of them]
        #[arg(long, value_name = "ID", requires = "send")]
        reviewer: Option<String>,
        #[command(flatten)]
        on: Deployment,
    },
    /// The operator's page
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Print the completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// The command, such as `policy check` [default: placet itself]
        command: Vec<String>,
        /// Write every page into this folder
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        all: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct OneRequest {
    /// The request
    pub(crate) request_id: String,
    /// Whose request [default: whoever has one of that name]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only this client's requests
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Only those with this status
    #[arg(long, value_enum, value_name = "STATUS")]
    pub(crate) status: Option<ListedStatus>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListedStatus {
    Pending,
    Approved,
    Rejected,
    Expired,
    Cancelled,
}

impl ListedStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Report {
    #[command(subcommand)]
    pub(crate) command: Option<ReportCommand>,
    /// How many days, up to now
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) days: u32,
    /// Write the page with charts into this file; `-` for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "link")]
    pub(crate) html: Option<PathBuf>,
    /// Print the link to the page of the last seven whole days instead; whoever has it sees the numbers
    #[arg(long)]
    pub(crate) link: bool,
    /// The auditor who asks, at an address; `PLACET_SECRET` is its secret
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Send the report of the last seven whole days now, by the ways of `[report]` or by one of them, and say what came
    /// of it; exit code 1 if one failed. The week's own report still goes out when its moment comes
    Send {
        /// The way's name in the policy [default: all that `[report]` names]
        name: Option<String>,
        #[command(flatten)]
        on: Deployment,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The file to write; `-` for standard output
    pub(crate) file: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which gate is meant: the one of the data folder, or one on AWS.
#[derive(Args, Debug)]
pub(crate) struct Deployment {
    /// The gate that is deployed on AWS, with the credentials of the environment or the profile
    #[arg(long)]
    pub(crate) aws: bool,
    /// The name of its stack
    #[arg(long, value_name = "NAME", default_value = "placet", requires = "aws")]
    pub(crate) stack: String,
}

impl Deployment {
    /// The gate of the data folder.
    pub(crate) const fn here() -> Self {
        Self { aws: false, stack: String::new() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Print a link to the operator's page, alone on the last line: what waits, what ended, people and their channels,
    /// alerts, the policy's warnings
    Link {
        /// How long the link opens the page, such as 5m or 1h
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_admin_time)]
        valid_for: Duration,
    },
}

/// A time that a link to the operator's page may have: it is a bearer's, so it is short.
fn parse_admin_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time > Duration::from_hours(24) {
        return Err("at most 24h: whoever has the link sees what waits".to_owned());
    }
    Ok(time)
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Begin a new epoch; what was made in the one before it stays valid until the next rotation
    Rotate {
        /// Rotate although what the last rotation left behind is still in use
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        on: Deployment,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in ["placet --data d inbox --json", "placet inbox --json --data d"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.globals.data(), cli.globals.json), (Path::new("d"), true));
        }
    }
}
