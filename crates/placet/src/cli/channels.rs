//! `placet channel …` and `placet alert …`: how people and operators are told.

use super::Deployment;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

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
