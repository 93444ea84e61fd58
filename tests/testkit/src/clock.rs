//! A clock that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use placet_core::Timestamp;
use placet_gate::ports::Clock;

/// A clock that is set by hand, forwards or backwards.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// When tests begin: 2026-11-23, at the beginning of a minute.
    pub const START: Timestamp = Timestamp::from_millis(1_795_392_000_000);

    /// A clock that shows [`FixedClock::START`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Self::START.millis())))
    }

    /// Shows that time.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.millis(), Ordering::SeqCst);
    }

    /// Moves by so many milliseconds; a negative number sets it back.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}
