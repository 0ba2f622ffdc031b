//! Whether a change gained anything: rounds of A B B A, judged without believing that noise is well behaved.
//!
//! Disks of virtual machines change by a factor of two within minutes. So both states are measured in turn within each
//! round, in an order that cancels a steady drift, and only ratios within a round count. Their median is the estimate.
//! Its interval comes from the order of the ratios alone (the sign test; Conover, Practical Nonparametric Statistics,
//! 3.2), because their distribution has a long tail that means and variances follow blindly.
//!
//! # Invariants
//! - With the two states equal, a gain or loss is called by chance in at most 1 of 100 judgements ([`CHANCE_MAX`]).
//! - Too few rounds are never a gain.

use serde::Serialize;

/// The share of judgements of equal states that may call a difference.
pub const CHANCE_MAX: f64 = 0.01;
/// Differences below this are not worth a setting, however sure.
pub const RATIO_MIN: f64 = 0.02;

/// Rates of one round in the order in which they were measured: present, other, other, present.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Round(pub [f64; 4]);

impl Round {
    /// How many times as fast the other state was.
    #[must_use]
    pub fn ratio(self) -> f64 {
        let [first, second, third, fourth] = self.0;
        let (present, other) = ((first * fourth).sqrt(), (second * third).sqrt());
        if present > 0.0 && other.is_finite() { other / present } else { 1.0 }
    }
}

/// What the other state did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was faster, beyond noise.
    Gained,
    /// It was slower, beyond noise.
    Lost,
    /// No difference that stands out of the noise.
    Nothing,
}

/// A judgement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What the other state did.
    pub effect: Effect,
    /// Median of the rounds' ratios, other to present.
    pub ratio: f64,
    /// Where the true median lies with a certainty of 99 %; `None` with too few rounds.
    pub interval: Option<(f64, f64)>,
    /// Median rate of the present state, bytes per second.
    pub present: f64,
    /// Median rate of the other state.
    pub other: f64,
    /// How many rounds were faster in the other state.
    pub rounds_faster: usize,
    /// All rounds.
    pub rounds: Vec<Round>,
}

/// Judge rounds.
#[must_use]
pub fn judge(rounds: &[Round]) -> Verdict {
    let mut ratios: Vec<f64> = rounds.iter().map(|round| round.ratio()).collect();
    ratios.sort_by(f64::total_cmp);
    let of = |at: [usize; 2]| median(rounds.iter().flat_map(|round| at.map(|at| round.0[at])).collect());
    let ratio = median(ratios.clone());
    let interval = cut(ratios.len()).map(|cut| (ratios[cut], ratios[ratios.len() - 1 - cut]));
    let effect = match interval {
        Some((least, _)) if least > 1.0 && ratio >= 1.0 + RATIO_MIN => Effect::Gained,
        Some((_, most)) if most < 1.0 && ratio <= 1.0 - RATIO_MIN => Effect::Lost,
        _ => Effect::Nothing,
    };
    let rounds_faster = ratios.iter().filter(|ratio| **ratio > 1.0).count();
    let rounds = rounds.to_vec();
    let (present, other) = (of([0, 3]), of([1, 2]));
    Verdict { effect, ratio, interval, present, other, rounds_faster, rounds }
}

/// How many of the least and of the greatest of `count` ratios lie outside the interval; `None` where even the least
/// and the greatest together are not certain enough.
fn cut(count: usize) -> Option<usize> {
    // Of the binomial distribution: `outside` heads among `count`.
    let mut term = 0.5_f64.powi(i32::try_from(count).ok()?);
    let (mut below, mut outside) = (term, 0);
    if below * 2.0 > CHANCE_MAX {
        return None;
    }
    loop {
        let (done, left) = (u32::try_from(outside + 1).ok()?, u32::try_from(count - outside).ok()?);
        term *= f64::from(left) / f64::from(done);
        below += term;
        if below * 2.0 > CHANCE_MAX {
            return Some(outside);
        }
        outside += 1;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 1.0,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds whose present state has the rate 1 and whose other has these.
    fn rounds(ratios: &[f64]) -> Vec<Round> {
        ratios.iter().map(|ratio| Round([1.0, *ratio, *ratio, 1.0])).collect()
    }

    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        // From a table of the binomial distribution: 2 * P(X <= cut) <= 0.01 < 2 * P(X <= cut + 1).
        let cuts = [(7, None), (8, Some(0)), (10, Some(0)), (11, Some(0)), (12, Some(1)), (20, Some(3))];
        for (count, expected) in cuts {
            assert_eq!(cut(count), expected, "{count}");
        }
    }

    #[test]
    fn a_clear_gain_and_a_clear_loss_are_called() {
        let gained = judge(&rounds(&[1.1; 12]));
        assert_eq!((gained.effect, gained.rounds_faster), (Effect::Gained, 12));
        assert!((gained.ratio - 1.1).abs() < 1e-9 && gained.interval.is_some());
        assert_eq!(judge(&rounds(&[0.9; 12])).effect, Effect::Lost);
        let mut one_bad = vec![1.2; 11];
        one_bad.push(0.1);
        assert_eq!(judge(&rounds(&one_bad)).effect, Effect::Gained, "one round of twelve may be an accident");
        one_bad[0] = 0.9;
        assert_eq!(judge(&rounds(&one_bad)).effect, Effect::Nothing, "two are not");
    }

    #[test]
    fn noise_and_trifles_are_nothing() {
        let noise = [0.7, 1.4, 0.9, 1.2, 1.1, 0.8, 1.3, 1.0, 0.95, 1.05, 1.2, 0.9];
        assert_eq!(judge(&rounds(&noise)).effect, Effect::Nothing);
        assert_eq!(judge(&rounds(&[1.01; 12])).effect, Effect::Nothing, "sure, and not worth it");
        let few = judge(&rounds(&[2.0; 7]));
        assert_eq!((few.effect, few.interval), (Effect::Nothing, None), "seven rounds cannot be sure enough");
        assert_eq!(judge(&[]).effect, Effect::Nothing);
        assert_eq!(judge(&[Round([0.0; 4]); 12]).effect, Effect::Nothing, "nothing moved");
        assert_eq!(judge(&[Round([f64::NAN; 4]); 12]).effect, Effect::Nothing);
    }

    #[test]
    fn a_steady_drift_cancels() {
        let drifting = |start: f64| Round([start, start * 1.1, start * 1.21, start * 1.331]);
        let judged = judge(&[1.0, 2.0, 3.0].map(drifting).repeat(4));
        assert!((judged.ratio - 1.0).abs() < 1e-9, "{judged:?}");
        assert_eq!(judged.effect, Effect::Nothing);
    }
}
