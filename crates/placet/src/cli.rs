//! The command line: every word that can be typed, and its help.

#![expect(clippy::disallowed_methods, reason = "the command line reads its environment")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use placet_core::Timestamp;

use crate::text::{parse_duration, parse_moment};

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
pub(crate) struct Report {
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

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The file to write; `-` for standard output
    pub(crate) file: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last entries, or print all of them as JSON Lines or CSV
    Show(AuditShow),
    /// Write the whole log into a folder that needs no gate to be verified
    Export {
        /// The folder, which must not exist yet or be empty
        folder: PathBuf,
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

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Decide as the sample reviewer, by posting the review page's form
    #[arg(long, value_enum)]
    pub(crate) decide: Option<Verdict>,
    /// Where the demo's gate listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    Approve,
    Reject,
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8484")]
    pub(crate) listen: String,
    /// The address that links and tokens name, if it is not the policy's `issuer`
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// How long an idle connection is kept; longer than a proxy in front reuses one
    #[arg(long, value_name = "SECONDS", env = "PLACET_KEEP_ALIVE_SECONDS", default_value_t = crate::server::KEEP_ALIVE_SECONDS,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) keep_alive_seconds: u32,
    /// Where to serve metrics for Prometheus, apart from the gate; port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<String>,
    /// Make a new keyring beside records whose keyring is lost; all secrets and links of before are void
    #[arg(long)]
    pub(crate) new_keyring: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Testgate {
    /// Where to listen; port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// The address that links and tokens name, if it is not the policy's `issuer`
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The file to write [default: placet.toml]
    pub(crate) file: Option<PathBuf>,
    /// Write the commented sample, and ask nothing; elsewhere than on a terminal it is written in any case
    #[arg(long)]
    pub(crate) sample: bool,
    /// Overwrite a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Find every fault, with its line
    Check {
        /// The policy [default: --policy]
        file: Option<PathBuf>,
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
    /// Print a client's secret, alone on the last line: what to paste into Zapier or n8n
    Secret {
        /// The client
        id: String,
        #[command(flatten)]
        on: Deployment,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// Set a channel's secrets, from a prompt or from standard input; counts at once
    Set(ChannelSet),
    /// Send a reviewer a real message
    Test(ChannelTest),
    /// Say which channels are set
    List {
        #[command(flatten)]
        on: Deployment,
    },
    /// Take a channel's secrets away
    Remove {
        /// The channel
        #[arg(value_enum)]
        channel: SettableChannel,
        #[command(flatten)]
        on: Deployment,
    },
    /// Print the secret that a reviewer's webhook is signed with, alone on the last line
    Secret {
        /// The reviewer
        reviewer: String,
        #[command(flatten)]
        on: Deployment,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SettableChannel {
    Slack,
    Telegram,
    Smtp,
}

impl SettableChannel {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Telegram => "telegram",
            Self::Smtp => "smtp",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ChannelSet {
    /// The channel
    #[arg(value_enum)]
    pub(crate) channel: SettableChannel,
    /// Slack: the app's id (A…); presses of another app are refused
    #[arg(long, value_name = "ID")]
    pub(crate) app_id: Option<String>,
    /// Another address of the chat's API, such as that of a Bot API server of your own
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub(crate) api_url: Option<String>,
    /// Set it without asking the channel's server first
    #[arg(long)]
    pub(crate) unchecked: bool,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

/// An http or https address without a slash at the end.
fn api_url(text: &str) -> Result<String, String> {
    placet_core::grammar::base_url(text.trim_end_matches('/')).map(str::to_owned)
}

#[derive(Args, Debug)]
pub(crate) struct ChannelTest {
    /// The channel: slack, telegram, push, webhook, sms or email
    pub(crate) channel: String,
    /// Who gets the message
    #[arg(long, value_name = "ID")]
    pub(crate) reviewer: String,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Send a test by every way of alerts, or by one, and say what came of it; exit code 1 if one failed
    Test {
        /// The way's name in the policy [default: all of them]
        name: Option<String>,
        #[command(flatten)]
        on: Deployment,
    },
    /// Set what a way is sent with, from a prompt or from standard input; counts at once
    Set(AlertSet),
    /// Say which ways the policy names, and whether their secrets are set
    List {
        #[command(flatten)]
        on: Deployment,
    },
    /// Take a way's secret away
    Remove {
        /// The way's name
        name: String,
        #[command(flatten)]
        on: Deployment,
    },
    /// Print the secret that a webhook way is signed with, alone on the last line
    Secret {
        /// The way's name
        name: String,
        #[command(flatten)]
        on: Deployment,
    },
}

#[derive(Args, Debug)]
pub(crate) struct AlertSet {
    /// The way's name in the policy
    pub(crate) name: String,
    /// What it is [default: what the policy says]
    #[arg(long, value_enum)]
    pub(crate) way: Option<SecretWay>,
    /// Another address of the Events API, such as `https://events.eu.pagerduty.com`
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub(crate) api_url: Option<String>,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SecretWay {
    /// An incoming webhook of Slack: its URL
    Slack,
    /// An integration of the Events API, version 2: its key
    Pagerduty,
    /// A webhook whose URL holds a token
    Webhook,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Print a link to the operator's page, alone on the last line: what waits, what ended, people, the policy's warnings
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

#[derive(Args, Debug)]
pub(crate) struct Request {
    /// Dotted name of what will be done
    #[arg(long, value_name = "NAME")]
    pub(crate) action: String,
    /// What the reviewer is told, in your words
    #[arg(long, value_name = "TEXT")]
    pub(crate) summary: String,
    /// A JSON object that says exactly what will be done; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Who asks [default: the only client that may]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Your name for the request: asking again under it asks nobody twice [default: a new one]
    #[arg(long, value_name = "ID")]
    #[expect(clippy::struct_field_names, reason = "the API's own word")]
    pub(crate) request_id: Option<String>,
    /// How long to wait for an answer at most, such as 90s, 10m, 1h; the rule may say less
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Wait for the decision; the exit code says which. Ctrl-C and SIGTERM withdraw the request
    #[arg(long)]
    pub(crate) wait: bool,
    /// Leave the request open when Ctrl-C or SIGTERM ends the waiting
    #[arg(long, requires = "wait")]
    pub(crate) keep: bool,
}

/// Asks about exactly these words in this folder, with the digests of the files that they name; waits; redeems; runs it.
///
/// Files are the program, those that an argument names, and those of --file. They are read again right before the
/// command starts: what has changed is not run. What comes over standard input, and the environment, are no part of the
/// question. The command gets the terminal, the signals and the exit code to itself; without an approval the exit code is 1.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Dotted name of what will be done, such as deploy.production
    #[arg(long, value_name = "NAME")]
    pub(crate) action: String,
    /// What the reviewer is told, in your words [default: the command]
    #[arg(long, value_name = "TEXT")]
    pub(crate) summary: Option<String>,
    /// A file, or a folder, whose content is approved as well; may be repeated
    #[arg(long = "file", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Something else that the policy or the reviewer should know, such as environment=production; may be repeated
    #[arg(long = "fact", value_name = "NAME=VALUE")]
    pub(crate) facts: Vec<String>,
    /// Who asks [default: the only client that may]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Your name for this run: the same run again joins the question, and never runs twice [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// How long to wait for an answer at most, such as 90s, 10m, 1h; the rule may say less
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Inbox {
    /// Only what waits for this reviewer, with their links
    #[arg(long, value_name = "ID")]
    pub(crate) reviewer: Option<String>,
    /// Print the link of that reviewer's inbox instead: for them alone
    #[arg(long, requires = "reviewer")]
    pub(crate) link: bool,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Args, Debug)]
pub(crate) struct Link {
    /// The request
    pub(crate) request_id: String,
    /// Whose request [default: the only client that may ask]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Whose link
    #[arg(long, value_name = "ID")]
    pub(crate) reviewer: String,
    #[command(flatten)]
    pub(crate) on: Deployment,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Mcp {
    /// Who asks [default: the only client that may]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Offer `permission_prompt` as well, for Claude Code's --permission-prompt-tool
    #[arg(long)]
    pub(crate) permission_prompt: bool,
    #[command(subcommand)]
    pub(crate) command: Option<McpCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Start an MCP server, and stand before its tools: each call is asked of the gate first
    Wrap(McpWrap),
}

/// The policy sees each call as the action `mcp.NAME.TOOL`, with the payload `{server, tool, arguments, definition_sha256}`.
///
/// What it approves is redeemed and called; for the rest a person is asked, and the call waits. A tool whose definition has
/// changed since it was approved is the action `mcp-changed.NAME.TOOL`. Everything but calls of tools passes unchanged:
/// resources, prompts and completions are not gated. Give secrets with --env-file, and not to the agent: then the tools
/// can be reached through here alone.
#[derive(Args, Debug)]
pub(crate) struct McpWrap {
    /// Who asks [default: the only client that may]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// The server's name in actions [default: from its command]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Variables for the server alone, as NAME=VALUE lines; may be repeated
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// How long a question waits at most, such as 10m; the rule may say less
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// When a call that nobody has answered returns "still waiting"; most clients give up on one after 60 seconds
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = parse_duration)]
    pub(crate) answer_after: Duration,
    /// Where the approved definitions of the tools are kept [default: in the data folder, or in ~/.local/state/placet/mcp]
    #[arg(long, value_name = "FILE")]
    pub(crate) pins: Option<PathBuf>,
    /// The server's command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Check a token: signature, time, payload, and the gate's own record
    Verify {
        /// The token; `-` for standard input
        token: String,
        #[command(flatten)]
        of: TokenOf,
    },
    /// Use a token, which works once
    Redeem {
        /// The token; `-` for standard input
        token: String,
        #[command(flatten)]
        of: TokenOf,
        /// Who uses it: the run, or the machine; the same name again is a retry
        #[arg(long, visible_alias = "redeemed-by", value_name = "NAME")]
        by: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TokenOf {
    /// The payload that is about to be used; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Who asked [default: whom the token names]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
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
