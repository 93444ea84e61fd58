//! How long to wait before the next try of what is not a callback: doubling, up to a minute, or as long as the medium
//! says, within reason.

/// The longest wait between two tries, in milliseconds.
const LONGEST_MS: i64 = 60_000;

/// The wait after that many failed tries, in milliseconds.
pub(crate) fn wait_ms(failed: u32) -> i64 {
    1000_i64.saturating_mul(1 << failed.min(10)).min(LONGEST_MS)
}

/// The longest wait that a medium may ask for, in milliseconds.
pub(crate) const LONGEST_ASKED_MS: i64 = 15 * 60_000;

/// After how many failed tries to tell a reviewer or a queue the next channel takes over and operators are alerted.
pub(crate) const ALERT_AFTER: u32 = 3;

/// When and as which try a message comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// How many tries have failed by then.
    pub(crate) attempt: u32,
    /// In how many milliseconds.
    pub(crate) in_ms: i64,
}

impl Again {
    /// After one more failure of a message that has failed so often before.
    pub(crate) fn after_failure(failed_before: u32) -> Self {
        let attempt = failed_before.saturating_add(1);
        Self { attempt, in_ms: wait_ms(attempt) }
    }

    /// As the medium asks, where `left_ms` is left until it is too late to tell.
    ///
    /// A wait counts like a failure: a medium that always asks for one never tells anybody. Who asks for more than there
    /// is has failed often enough at once; it is tried again meanwhile, in case it did not mean it.
    pub(crate) fn as_asked(failed_before: u32, asked_ms: i64, left_ms: Option<i64>) -> Self {
        let attempt = failed_before.saturating_add(1);
        let left_ms = left_ms.unwrap_or(i64::MAX);
        if asked_ms < left_ms && asked_ms <= LONGEST_ASKED_MS {
            return Self { attempt, in_ms: asked_ms.max(1000).min(left_ms) };
        }
        let in_ms = LONGEST_ASKED_MS.min(left_ms / 2).max(1000);
        Self { attempt: attempt.max(ALERT_AFTER), in_ms }
    }

    /// The same, for what will not get better by waiting.
    pub(crate) fn at_last(self) -> Self {
        Self { attempt: self.attempt.max(ALERT_AFTER), ..self }
    }

    /// Whether it has failed so often that somebody must hear of it.
    pub(crate) const fn is_enough(self) -> bool {
        self.attempt >= ALERT_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_and_is_no_longer_than_there_is_time() {
        let again = |failed, asked, left| {
            let again = Again::as_asked(failed, asked, left);
            (again.attempt, again.in_ms)
        };
        assert_eq!(again(0, 5000, Some(600_000)), (1, 5000));
        assert_eq!(again(1, 0, None), (2, 1000));
        assert_eq!(again(0, 900_000, None), (1, 900_000));
        assert_eq!(again(0, i64::MAX, None), (3, 900_000));
        assert_eq!(again(0, 700_000, Some(600_000)), (3, 300_000));
        assert_eq!(again(7, i64::MAX, Some(1)), (8, 1000));
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        assert_eq!([1, 2, 3, 6, 99].map(wait_ms), [2000, 4000, 8000, 60_000, 60_000]);
    }
}
