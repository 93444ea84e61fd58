//! Measured times and their percentiles.

use std::time::Duration;

/// Times of one kind of thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Adds all of another round.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The times below which `permille` of 1000 are (nearest rank), in the order asked for. Zero where there are none.
    pub(crate) fn permilles<const N: usize>(&self, asked: [usize; N]) -> [Duration; N] {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        asked.map(|permille| {
            let rank = (sorted.len() * permille).div_ceil(1000);
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        })
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// The middle one of a few numbers (of an even count, the upper of the two). Zero where there are none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let ms = Duration::from_millis;
        let samples: Samples = (1..=200).rev().map(ms).collect();
        assert_eq!(samples.permilles([500, 950, 990, 1000]), [ms(100), ms(190), ms(198), ms(200)]);
        assert_eq!(Samples::from_iter([ms(7)]).permilles([500, 990]), [ms(7), ms(7)]);
        assert_eq!(Samples::default().permilles([500]), [Duration::ZERO]);
    }

    #[test]
    fn the_median_does_not_care_for_order() {
        assert!((median(&[9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
