//! What asks a gate and acts on its answer: `request`, `run`, `token`, `mcp`, and what shows an inbox.

use super::Deployment;
use crate::text::parse_duration;
use clap::Args;
use clap::Subcommand;
use std::path::PathBuf;
use std::time::Duration;

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
pub(crate) struct Practice {
    /// Who practises: the link is for them alone
    #[arg(value_name = "REVIEWER")]
    pub(crate) reviewer: String,
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
