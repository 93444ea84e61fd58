//! When a call is tried again, and for how long: the table that `patience.py` and `patience.ts` of the agents' packages are.
//!
//! | what comes back                       | tried again                      | for how long                   |
//! | ------------------------------------- | -------------------------------- | ------------------------------ |
//! | no answer: refused, reset, too slow   | after 0.2 s, 0.4 s … 5 s         | the patience from the first one |
//! | 408, 425, 500, 502, 504 and other 5xx | the same                         | the same                       |
//! | 429, 503 with `Retry-After`           | when it says, and a little later | ten times the patience         |
//! | any other answer                      | never                            |                                |

#![expect(clippy::disallowed_methods, reason = "pauses are drawn by chance, and `Retry-After` may be a date")]

use std::time::{Duration, Instant, SystemTime};

/// How long a gate that is away is tried again, if nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_mins(1);

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const BUSY_FACTOR: u32 = 10;

/// Whether an answer says that the gate is away or busy, and not that the call is wrong.
pub const fn is_tried_again(status: u16) -> bool {
    status >= 500 || matches!(status, 408 | 425 | 429)
}

/// The wait that `Retry-After` asks for (RFC 9110, section 10.2.3: seconds, or a date).
pub fn retry_after(header: &str) -> Option<Duration> {
    retry_after_at(header, SystemTime::now())
}

fn retry_after_at(header: &str, now: SystemTime) -> Option<Duration> {
    let text = header.trim();
    if (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// The pauses of one call.
#[derive(Clone, Debug)]
pub struct Patience {
    limit: Duration,
    since: Option<Instant>,
    away_since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// For a gate that may be away for so long.
    pub const fn new(limit: Duration) -> Self {
        Self { limit, since: None, away_since: None, pause: FIRST_PAUSE }
    }

    /// How long to pause before the next try; none: give up. `told` is what `Retry-After` says.
    pub fn pause(&mut self, now: Instant, told: Option<Duration>) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let (pause, spent, limit) = match told {
            None => {
                let away = *self.away_since.get_or_insert(now);
                (self.pause, now.duration_since(away), self.limit)
            }
            // Whoever says when to come back is there: this is no outage. Not all are to come back at once.
            Some(told) => {
                self.away_since = None;
                let pause = told.max(FIRST_PAUSE).saturating_add(by_chance(self.pause));
                (pause, now.duration_since(since), self.limit.saturating_mul(BUSY_FACTOR))
            }
        };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (spent.saturating_add(pause) < limit).then_some(pause)
    }
}

/// Some part of it. Where the system has no random bits, none of it.
fn by_chance(most: Duration) -> Duration {
    let mut bytes = [0; 2];
    let _ = getrandom::fill(&mut bytes);
    most * u32::from(u16::from_le_bytes(bytes)) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_table_is_the_one_of_the_agents_packages() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/patience.json");
        let table: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let numbers = |key: &str| -> Vec<u16> { serde_json::from_value(table[key].clone()).unwrap() };
        assert!(numbers("tried_again").into_iter().all(is_tried_again));
        assert!(!numbers("final").into_iter().any(is_tried_again));
        let now = UNIX_EPOCH + Duration::from_secs(table["now"].as_u64().unwrap());
        for row in table["retry_after"].as_array().unwrap() {
            let read = retry_after_at(row["text"].as_str().unwrap(), now).map(|wait| wait.as_secs());
            assert_eq!(read, row["seconds"].as_u64(), "{row}");
        }
    }

    #[test]
    fn a_gate_that_is_away_is_tried_for_a_minute_and_a_busy_one_for_ten() {
        let begun = Instant::now();
        let all = |told: Option<Duration>| {
            let (mut patience, mut now, mut pauses) = (Patience::new(PATIENCE), begun, Vec::new());
            while let Some(pause) = patience.pause(now, told) {
                now += pause;
                pauses.push(pause.as_millis());
            }
            (pauses, now.duration_since(begun).as_secs())
        };
        let (pauses, spent) = all(None);
        assert_eq!(pauses[..7], [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!((54..60).contains(&spent), "{spent}");
        let (pauses, spent) = all(Some(Duration::from_secs(30)));
        assert!(pauses.iter().all(|pause| (30_000..=35_000).contains(pause)), "{pauses:?}");
        assert!((500..600).contains(&spent), "{spent}");
    }
}
