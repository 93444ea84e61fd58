//! How sure a share is: Wilson's interval, and when there is too little to say anything.

use serde::Serialize;

/// Below so many cases a rate says nothing, and none is given.
pub const ENOUGH: u32 = 30;

/// The 97.5th percentile of the normal distribution: an interval of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// A share of cases, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// How many were wrong.
    pub wrong: u32,
    /// Of how many.
    pub of: u32,
    /// There are fewer than [`ENOUGH`] cases: then no rate is given.
    pub too_few: bool,
    /// `wrong / of`.
    pub rate: Option<f64>,
    /// The lower end of the interval.
    pub low: Option<f64>,
    /// The upper end of the interval.
    pub high: Option<f64>,
}

impl Estimate {
    /// Of `of` cases, `wrong` were wrong.
    pub fn of(wrong: u32, of: u32) -> Self {
        if of < ENOUGH {
            return Self { wrong, of, too_few: true, rate: None, low: None, high: None };
        }
        let (low, high) = wilson(wrong, of);
        let rate = f64::from(wrong) / f64::from(of);
        Self { wrong, of, too_few: false, rate: Some(rate), low: Some(low), high: Some(high) }
    }
}

/// Wilson's score interval of 95 % for `hits` of `of`, which must not be 0.
///
/// Source: E. B. Wilson, 1927, doi:10.1080/01621459.1927.10502953. It stays within 0 and 1, and is honest for rare events.
fn wilson(hits: u32, of: u32) -> (f64, f64) {
    let (hits, n) = (f64::from(hits), f64::from(of));
    let share = hits / n;
    let z2 = Z * Z;
    let scale = 1.0 + z2 / n;
    let centre = (share + z2 / (2.0 * n)) / scale;
    let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / scale;
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 5e-5
    }

    /// Newcombe's worked examples (Statistics in Medicine 17, 1998, table I): 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    #[test]
    fn the_interval_is_the_published_one() {
        for (hits, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (found_low, found_high) = wilson(hits, of);
            assert!(
                close(found_low, low) && close(found_high, high),
                "{hits}/{of}: {found_low} {found_high}"
            );
        }
    }

    #[test]
    fn below_thirty_nothing_is_claimed() {
        let few = Estimate::of(29, 29);
        assert_eq!((few.too_few, few.rate, few.low, few.high), (true, None, None, None));
        let none = Estimate::of(0, 0);
        assert!(none.too_few);
        let enough = Estimate::of(3, 30);
        assert_eq!((enough.too_few, enough.rate), (false, Some(0.1)));
    }

    /// Reviewers whose true rate of mistakes is known: the interval must hold it in 95 % of the runs, on average over
    /// rates. (For one rate and one size, Wilson's coverage swings a few points about 95 %.)
    #[test]
    fn the_interval_holds_the_truth_in_95_of_100_runs() {
        // SplitMix64 (Steele, Lea, Flood 2014): the same runs every time.
        let mut seed = 20_261_126_u64;
        let mut uniform = move || -> f64 {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = seed;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            f64::from(u32::try_from((x ^ (x >> 31)) >> 32).unwrap()) / 4_294_967_296.0
        };
        let mut held = 0;
        for run in 0..1000 {
            let truth = uniform() * 0.5;
            let size = 30 + run % 470;
            let wrong = (0..size).filter(|_| uniform() < truth).count();
            let estimate = Estimate::of(u32::try_from(wrong).unwrap(), size);
            held += u32::from(estimate.low.unwrap() <= truth && truth <= estimate.high.unwrap());
        }
        // Four standard errors about 950: sqrt(1000 × 0.95 × 0.05) = 6.9.
        assert!((922..=978).contains(&held), "{held}");
    }
}
