//! How long to wait before the next try of what is not a callback: doubling, up to a minute.

/// The longest wait between two tries, in milliseconds.
const LONGEST_MS: i64 = 60_000;

/// The wait after that many failed tries, in milliseconds.
pub(crate) fn wait_ms(failed: u32) -> i64 {
    1000_i64.saturating_mul(1 << failed.min(10)).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::wait_ms;

    #[test]
    fn waits_double_up_to_a_minute() {
        assert_eq!([1, 2, 3, 6, 99].map(wait_ms), [2000, 4000, 8000, 60_000, 60_000]);
    }
}
