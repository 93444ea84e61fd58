//! How well a person tells what is wrong from what is right, whatever their leaning to say yes.

use serde::Serialize;

use super::Estimate;

/// Answers to cases of which the truth is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Cases with something wrong in them.
    pub wrong_cases: u32,
    /// Of those, how many were rejected: the hits.
    pub hits: u32,
    /// Cases that were right.
    pub right_cases: u32,
    /// Of those, how many were rejected: the false alarms.
    pub false_alarms: u32,
}

impl Answers {
    /// These and one more: whether something was wrong with the case, and whether it was rejected.
    #[must_use]
    pub const fn with(mut self, was_wrong: bool, was_rejected: bool) -> Self {
        let (cases, rejected) = if was_wrong {
            (&mut self.wrong_cases, &mut self.hits)
        } else {
            (&mut self.right_cases, &mut self.false_alarms)
        };
        *cases = cases.saturating_add(1);
        if was_rejected {
            *rejected = rejected.saturating_add(1);
        }
        self
    }

    /// How many cases were answered.
    pub const fn cases(&self) -> u32 {
        self.wrong_cases.saturating_add(self.right_cases)
    }

    /// Whether the numbers can be those of anybody's answers.
    pub const fn are_possible(&self) -> bool {
        self.hits <= self.wrong_cases && self.false_alarms <= self.right_cases
    }
}

/// Both rates, and the distance between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// Wrong cases that were approved: 1 less the rate of hits.
    pub missed: Estimate,
    /// Right cases that were rejected.
    pub false_alarms: Estimate,
    /// `d_a`, in standard deviations: 0 for somebody who guesses, about 3.3 for 95 % right either way. None as long as
    /// there is no case of one of the two kinds.
    pub d_a: Option<f64>,
}

impl Sensitivity {
    /// What those answers say.
    ///
    /// `d_a` (Simpson and Fitter, 1973, doi:10.1037/h0035203) needs the slope of the receiver's curve, which one yes or no
    /// for each case cannot tell; at a slope of 1 it is d′, and that is what is given. Both rates get Hautus' log-linear
    /// correction (1995, doi:10.3758/BF03203619), so that "all right" is a number too.
    pub fn of(answers: &Answers) -> Self {
        let Answers { wrong_cases, hits, right_cases, false_alarms } = *answers;
        let corrected = |count: u32, of: u32| (f64::from(count) + 0.5) / (f64::from(of) + 1.0);
        let d_a = (wrong_cases > 0 && right_cases > 0)
            .then(|| probit(corrected(hits, wrong_cases)) - probit(corrected(false_alarms, right_cases)));
        Self {
            missed: Estimate::of(wrong_cases.saturating_sub(hits), wrong_cases),
            false_alarms: Estimate::of(false_alarms, right_cases),
            d_a,
        }
    }
}

/// The standard normal quantile of a share between 0 and 1, both left out.
///
/// P. J. Acklam's rational approximation (2003): relative error below 1.2e-9.
fn probit(share: f64) -> f64 {
    const EDGE: f64 = 0.024_25;
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let polynomial = |coefficients: &[f64], at: f64| coefficients.iter().fold(0.0, |sum, c| sum * at + c);
    let tail = |share: f64| {
        let at = (-2.0 * share.ln()).sqrt();
        polynomial(&C, at) / polynomial(&D, at)
    };
    if share < EDGE {
        tail(share)
    } else if share > 1.0 - EDGE {
        -tail(1.0 - share)
    } else {
        let centred = share - 0.5;
        let squared = centred * centred;
        polynomial(&A, squared) * centred / polynomial(&B, squared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles from R's `qnorm`.
    #[test]
    fn the_quantiles_are_the_published_ones() {
        for (share, expected) in [
            (0.5, 0.0),
            (0.6, 0.253_347_103_1),
            (0.9, 1.281_551_565_5),
            (0.975, 1.959_963_984_5),
            (0.99, 2.326_347_874_0),
            (0.001, -3.090_232_306_2),
            (0.02, -2.053_748_910_6),
        ] {
            assert!((probit(share) - expected).abs() < 1e-8, "{share}: {}", probit(share));
            assert!((probit(1.0 - share) + expected).abs() < 1e-8, "{share}");
        }
    }

    fn of(hits: u32, wrong_cases: u32, false_alarms: u32, right_cases: u32) -> Sensitivity {
        Sensitivity::of(&Answers { wrong_cases, hits, right_cases, false_alarms })
    }

    #[test]
    fn who_guesses_has_none_and_who_is_always_right_has_a_number() {
        assert_eq!(of(6, 12, 6, 12).d_a, Some(0.0));
        let perfect = of(6, 6, 0, 6).d_a.unwrap();
        // Twice the quantile of 6.5 / 7.
        assert!((perfect - 2.930_5).abs() < 1e-3, "{perfect}");
        assert!(of(0, 6, 6, 6).d_a.unwrap() < -2.9);
        assert_eq!((of(0, 0, 1, 6).d_a, of(1, 6, 0, 0).d_a), (None, None));
    }

    #[test]
    fn both_rates_are_given_from_thirty_cases_of_a_kind_on() {
        let found = of(24, 30, 3, 29);
        assert_eq!((found.missed.wrong, found.missed.of, found.missed.rate), (6, 30, Some(0.2)));
        assert!(found.false_alarms.too_few && found.false_alarms.rate.is_none());
    }

    #[test]
    fn answers_add_up_by_kind() {
        let answers = [(true, true), (true, false), (false, true), (false, false), (true, true)]
            .into_iter()
            .fold(Answers::default(), |sum, (wrong, rejected)| sum.with(wrong, rejected));
        assert_eq!(answers, Answers { wrong_cases: 3, hits: 2, right_cases: 2, false_alarms: 1 });
        assert!(answers.are_possible() && answers.cases() == 5);
        assert!(!Answers { hits: 4, ..answers }.are_possible());
        assert!(!Answers { false_alarms: 3, ..answers }.are_possible());
    }

    /// Reviewers whose sensitivity is known: each sees the case's evidence with normal noise and rejects above a bound of
    /// their own. Over many rounds the mean must be the truth, wherever the bound lies.
    #[test]
    fn a_known_sensitivity_is_found_again_whatever_the_leaning() {
        let mut draw = crate::practice::Draw::of([17; 16]);
        let mut noise = move || {
            // Box and Muller.
            let mut uniform = || (f64::from(draw.below(1 << 30)) + 0.5) / f64::from(1_u32 << 30);
            (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
        };
        for (truth, bound) in [(0.0, 0.0), (1.0, 0.2), (1.5, 1.2), (2.0, 1.0)] {
            let mut sum = 0.0;
            for _ in 0..400 {
                let mut answers = Answers::default();
                for case in 0..400 {
                    let was_wrong = case % 2 == 0;
                    let evidence = noise() + if was_wrong { truth } else { 0.0 };
                    answers = answers.with(was_wrong, evidence > bound);
                }
                sum += Sensitivity::of(&answers).d_a.unwrap();
            }
            let mean = sum / 400.0;
            assert!((mean - truth).abs() < 0.05, "{truth}: {mean}");
        }
    }
}
