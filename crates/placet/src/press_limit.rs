//! How often a button that sends something may be pressed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After how long the same button works again.
const SAME_AFTER: Duration = Duration::from_secs(10);

/// How many presses of all buttons are taken, and within which time.
const PRESSES: usize = 10;
const WITHIN: Duration = Duration::from_mins(1);

/// The presses of the last minute.
#[derive(Default)]
pub(crate) struct PressLimit(Mutex<VecDeque<(Instant, String)>>);

impl PressLimit {
    /// Takes a press of that button; or says after how many seconds it will be taken.
    pub(crate) fn refuses(&self, button: &str) -> Option<u64> {
        self.refuses_at(button, Instant::now())
    }

    fn refuses_at(&self, button: &str, now: Instant) -> Option<u64> {
        let mut presses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        presses.retain(|(at, _)| now.duration_since(*at) < WITHIN);
        let last = presses.iter().rev().find(|(_, pressed)| pressed == button);
        let same = last.map(|(at, _)| SAME_AFTER.saturating_sub(now.duration_since(*at)));
        let full = presses.front().filter(|_| presses.len() >= PRESSES);
        let full = full.map(|(at, _)| WITHIN.saturating_sub(now.duration_since(*at)));
        let wait = same.max(full).filter(|wait| !wait.is_zero());
        if wait.is_none() {
            presses.push_back((now, button.to_owned()));
        }
        wait.map(|wait| wait.as_secs().saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_works_again_after_ten_seconds_and_all_together_ten_times_a_minute() {
        let limit = PressLimit::default();
        let start = Instant::now();
        let press = |button: &str, second: u64| limit.refuses_at(button, start + Duration::from_secs(second));
        assert_eq!(press("bob/email", 0), None);
        assert_eq!(press("bob/email", 0), Some(11));
        assert_eq!(press("bob/email", 9), Some(2));
        assert_eq!(press("bob/slack", 9), None, "another button");
        assert_eq!(press("bob/email", 10), None);
        for number in 3..PRESSES {
            assert_eq!(press(&format!("way/{number}"), 11), None);
        }
        assert_eq!(press("way/new", 12), Some(49), "ten within a minute");
        assert_eq!(press("way/new", 60), None, "the first is long enough ago");
        assert_eq!(press("way/newer", 60), Some(10));
    }
}
