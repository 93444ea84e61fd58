//! What runs a gate here: `demo`, `serve`, `init`.

use clap::Args;
use clap::ValueEnum;
use std::path::PathBuf;

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
