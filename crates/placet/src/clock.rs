//! The system's clock.

#![expect(clippy::disallowed_methods, reason = "the clock of the local gate")]

use std::time::{SystemTime, UNIX_EPOCH};

use placet_core::Timestamp;
use placet_gate::ports::Clock;

/// The time of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is no clock; deadlines then never pass, and nothing is approved by them.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
