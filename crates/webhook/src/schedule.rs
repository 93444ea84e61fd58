//! When to try a callback again, and when to give up.
//!
//! Pure: the time gone by and the random bits are passed in. Who keeps the count is not decided here.

use std::time::Duration;

/// How long after the first try the last one may be.
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

/// The longest `Retry-After` that is honoured.
///
/// A receiver that names a day would otherwise use up every try.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The waits after the first tries; the last one repeats.
///
/// The quick ones are for a caller that is not yet waiting: n8n answers 409 until it has stored the waiting
/// run (within 0.3 s), and 404 for some seconds while it starts.
const WAITS: [Duration; 11] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
    LONGEST_WAIT,
];

const LONGEST_WAIT: Duration = Duration::from_hours(4);

/// Says how long to wait before the next try; `None` means give up.
///
/// `failed` counts the tries so far (0: none yet, so the first is due at once), `since_first` is the time gone by
/// since the first of them. `jitter` is 64 random bits: the wait is spread over 75 % to 125 % of its
/// nominal length, so that callbacks that failed together do not come back together. `retry_after` (what the
/// receiver asked for, capped at [`MAX_RETRY_AFTER`]) can lengthen a wait, never shorten it. The last try is
/// [`GIVE_UP_AFTER`] the first.
pub fn next_attempt(
    failed: u32,
    since_first: Duration,
    retry_after: Option<Duration>,
    jitter: u64,
) -> Option<Duration> {
    if failed == 0 {
        return Some(Duration::ZERO);
    }
    let remaining = GIVE_UP_AFTER.checked_sub(since_first).filter(|left| !left.is_zero())?;
    let nominal =
        usize::try_from(failed - 1).ok().and_then(|index| WAITS.get(index)).copied().unwrap_or(LONGEST_WAIT);
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Some(spread(nominal, jitter).max(asked).min(remaining))
}

/// Between three quarters and five quarters of `wait`.
fn spread(wait: Duration, jitter: u64) -> Duration {
    // Sixteen bits are fine enough, and keep the product exact.
    let share = u32::from(u16::try_from(jitter >> 48).unwrap_or_default());
    wait * 3 / 4 + wait / 2 * share / (1 << 16)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{GIVE_UP_AFTER, MAX_RETRY_AFTER, next_attempt};

    /// The jitter that leaves a wait at its nominal length.
    const MIDDLE: u64 = 1 << 63;

    fn waits(jitter: u64, retry_after: Option<Duration>) -> Vec<Duration> {
        let mut waits = Vec::new();
        let mut elapsed = Duration::ZERO;
        while let Some(wait) = next_attempt(u32::try_from(waits.len()).unwrap(), elapsed, retry_after, jitter)
        {
            elapsed += wait;
            waits.push(wait);
        }
        assert_eq!(elapsed, GIVE_UP_AFTER);
        waits
    }

    #[test]
    fn the_first_try_is_at_once_then_quick_ones_then_ever_slower_ones_for_a_day() {
        let secs = Duration::from_secs;
        let earlier = Duration::from_millis(6_250) + secs(30 + 120 + 600 + 1800 + 3600 * 23);
        let last = GIVE_UP_AFTER.saturating_sub(earlier);
        assert_eq!(
            waits(MIDDLE, None),
            [
                Duration::ZERO,
                Duration::from_millis(50),
                Duration::from_millis(200),
                secs(1),
                secs(5),
                secs(30),
                secs(120),
                secs(600),
                secs(1800),
                secs(3600),
                secs(7200),
                secs(14400),
                secs(14400),
                secs(14400),
                secs(14400),
                secs(14400),
                last,
            ]
        );
    }

    #[test]
    fn jitter_spreads_a_wait_by_a_quarter_each_way() {
        let wait = |jitter| next_attempt(5, Duration::from_secs(7), None, jitter).unwrap();
        assert_eq!(wait(0), Duration::from_millis(22_500));
        assert_eq!(wait(MIDDLE), Duration::from_secs(30));
        assert!(wait(u64::MAX) > Duration::from_millis(37_499));
        assert!(wait(u64::MAX) < Duration::from_millis(37_500));
        for jitter in (0..64).map(|bit| 1 << bit) {
            assert!((wait(0)..=wait(u64::MAX)).contains(&wait(jitter)));
        }
    }

    #[test]
    fn whatever_the_jitter_the_last_try_is_a_day_after_the_first() {
        let tries = [0, MIDDLE, u64::MAX].map(|jitter| waits(jitter, None).len());
        assert_eq!(tries, [19, 17, 15]);
    }

    #[test]
    fn retry_after_lengthens_a_wait_up_to_an_hour_and_never_shortens_one() {
        let wait = |failed, asked| {
            next_attempt(failed, Duration::from_mins(1), Some(Duration::from_secs(asked)), MIDDLE).unwrap()
        };
        assert_eq!(wait(1, 90), Duration::from_secs(90));
        assert_eq!(wait(1, 86_400), MAX_RETRY_AFTER);
        assert_eq!(wait(1, u64::MAX), MAX_RETRY_AFTER);
        assert_eq!(wait(1, 0), Duration::from_millis(50));
        assert_eq!(wait(10, 90), Duration::from_hours(2));
        assert_eq!(waits(MIDDLE, Some(Duration::MAX)).len(), 15);
    }

    #[test]
    fn after_a_day_nothing_more_is_tried() {
        let almost = GIVE_UP_AFTER.saturating_sub(Duration::from_secs(1));
        assert_eq!(next_attempt(12, almost, None, 0), Some(Duration::from_secs(1)));
        assert_eq!(next_attempt(12, GIVE_UP_AFTER, None, 0), None);
        assert_eq!(next_attempt(1, Duration::MAX, None, 0), None);
        assert_eq!(next_attempt(u32::MAX, Duration::ZERO, None, MIDDLE), Some(Duration::from_hours(4)));
    }
}
