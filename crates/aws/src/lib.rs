//! Placet on AWS. The only crate that knows Secrets Manager, SNS and SQS.
//!
//! - `config`: the environment, read once, with all its faults together.
//! - `connect`: one HTTP client, and the SDK's clients over it. Nothing is called before the first event.
//! - `keys`: the keyring in Secrets Manager; `rotation`: its four steps.
//! - `notify`: reviewers, queues and callbacks; `alerts`: operators.
//! - `errand`: what goes through the deadline queue; `timers` puts it there, `sweeper` takes it out.
//! - `telemetry`: JSON logs, and numbers in CloudWatch's embedded metric format.
//! - `lambda`: a function from its start to its last event; `answer`: what it answers the API.
//! - `operator`: what the operator's command does here (feature `operator`).
//!
//! No rule lives here, and no table's layout: those are `core`'s, `gate`'s and `dynamodb`'s.

mod alerts;
mod answer;
pub mod config;
pub mod connect;
mod errand;
pub mod keys;
pub mod lambda;
mod notify;
#[cfg(feature = "operator")]
pub mod operator;
mod rotation;
mod sweeper;
mod telemetry;
mod timers;

use std::time::{SystemTime, UNIX_EPOCH};

use placet_core::Timestamp;
use placet_gate::ports::Clock;

/// The machine's clock, which AWS keeps right.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
