//! Placet on AWS. The only crate that knows Secrets Manager, SNS and SQS.
//!
//! - `config`: the environment, read once, with all its faults together; one struct a function.
//! - `connect`: one HTTP client, and the SDK's clients over it. Nothing is called before the first event.
//! - `lambda`: a function from its start to its last event; `event`: what the API hands it; `answer`: what it answers.
//! - `functions`: what `request`, `decide` and `timeout-sweep` are put together from (feature `gate`).
//! - `mcp`: MCP beside what clients call.
//! - `keyring`: how the keyring lies in its secret; `channel_secret`: what channels need, in another; `keys`: the gate's
//!   port over both; `rotation`: the keyring's four steps.
//! - `channels`: how reviewers, queues and operators are told (feature `deliver`).
//! - `signed_json`: one call of an AWS API without its SDK; `ses_event`: what SES tells of a mail (feature `deliver`).
//! - `deadline_queue`, `job`: what is handed to `timeout-sweep`; `dispatcher` puts it there, `sweeper` takes it out.
//! - `telemetry`: JSON logs, and numbers in CloudWatch's embedded metric format.
//! - `operator`: what the operator's command does here (feature `operator`).
//!
//! No rule lives here, and no table's layout: those are `core`'s, `gate`'s and `dynamodb`'s.

#[cfg(feature = "gate")]
mod answer;
#[cfg(feature = "gate")]
mod channel_secret;
#[cfg(feature = "deliver")]
mod channels;
pub mod config;
pub mod connect;
mod deadline_queue;
#[cfg(feature = "gate")]
mod dispatcher;
#[cfg(feature = "gate")]
mod event;
#[cfg(feature = "gate")]
pub mod functions;
#[cfg(feature = "gate")]
mod job;
mod keyring;
#[cfg(feature = "gate")]
pub mod keys;
mod lambda;
#[cfg(feature = "gate")]
mod mcp;
#[cfg(feature = "operator")]
pub mod operator;
pub mod rotation;
mod rotation_job;
#[cfg(feature = "deliver")]
mod ses_event;
#[cfg(feature = "deliver")]
mod signed_json;
#[cfg(feature = "deliver")]
mod sweeper;
mod telemetry;

use std::time::{SystemTime, UNIX_EPOCH};

use placet_core::Timestamp;

/// The machine's clock, which AWS keeps right.
#[expect(clippy::disallowed_methods, reason = "the one place where a function reads the clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The machine's clock, as the gate's port.
#[cfg(feature = "gate")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "gate")]
impl placet_gate::ports::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }
}
