//! Is something growing? A straight line through the samples, and how sure its slope is.

/// A line through samples, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Change with each sample.
    pub slope: f64,
    /// Mean of the samples.
    pub mean: f64,
    /// The slope in units of its standard error: Student's t with two degrees of freedom less than there are samples.
    pub t: f64,
    /// Samples.
    pub count: usize,
}

impl Trend {
    /// Through `samples`, one after another. Nothing of fewer than four.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let count = samples.len();
        if count < 4 {
            return None;
        }
        let n = count as f64;
        let (middle, mean) = ((n - 1.0) / 2.0, samples.iter().sum::<f64>() / n);
        let numbered = || samples.iter().enumerate().map(|(at, value)| (at as f64 - middle, value - mean));
        let spread: f64 = numbered().map(|(x, _)| x * x).sum();
        let slope = numbered().map(|(x, y)| x * y).sum::<f64>() / spread;
        let left: f64 = numbered().map(|(x, y)| (y - slope * x).powi(2)).sum();
        let error = (left / (n - 2.0) / spread).sqrt();
        let t = if error > 0.0 { slope / error } else { slope.signum() * f64::INFINITY };
        Some(Self { slope, mean, t: if slope == 0.0 { 0.0 } else { t }, count })
    }

    /// Whether the slope is above zero, at 99 % (one-sided).
    #[must_use]
    pub fn grows(&self) -> bool {
        self.t > limit(self.count - 2)
    }

    /// Whether it is below zero, at 99 %.
    #[must_use]
    pub fn shrinks(&self) -> bool {
        -self.t > limit(self.count - 2)
    }
}

/// A slope that outliers and steps hardly move, and between which bounds it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Robust {
    /// Change with each sample: the median of the slopes of all pairs (Theil 1950).
    pub slope: f64,
    /// The slope is not above this, at 99 % (Sen 1968: from Kendall's variance, without the correction for ties, which
    /// would only narrow it).
    pub upper: f64,
    /// Median of the samples.
    pub median: f64,
    /// Samples.
    pub count: usize,
}

impl Robust {
    /// Of `samples`, one after another. Nothing of fewer than four.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let count = samples.len();
        if count < 4 {
            return None;
        }
        let later = |at: usize| samples[at + 1..].iter().enumerate().map(move |(by, value)| (by + 1, value));
        let pairs = samples
            .iter()
            .enumerate()
            .flat_map(|(at, value)| later(at).map(move |(by, other)| (other - value) / by as f64));
        let mut slopes: Vec<f64> = pairs.collect();
        slopes.sort_by(f64::total_cmp);
        let n = count as f64;
        let spread = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        let rank = f64::midpoint(slopes.len() as f64, 2.326_347_874 * spread);
        let upper = slopes.iter().enumerate().find(|(at, _)| *at as f64 >= rank);
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            slope: slopes[slopes.len() / 2],
            upper: upper.map_or(slopes[slopes.len() - 1], |(_, slope)| *slope),
            median: sorted[count / 2],
            count,
        })
    }

    /// How much is gained in a thousand samples at most, as a share of the median.
    #[must_use]
    pub fn in_a_thousand(&self) -> f64 {
        1000.0 * self.upper / self.median
    }
}

/// The 99 % quantile of Student's t, from the normal one (Abramowitz and Stegun, 26.7.5); within 1 % from 5 degrees of
/// freedom on.
fn limit(freedom: usize) -> f64 {
    let (z, v) = (2.326_347_874_f64, freedom as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / v + second / v.powi(2) + third / v.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn noisy(slope: f64) -> Vec<f64> {
        let mut random = Random::new(7);
        (0..100).map(|at| 1000.0 + slope * f64::from(at) + (random.below(200) as f64 - 100.0)).collect()
    }

    #[test]
    fn a_slope_stands_out_of_noise_or_not() {
        let [flat, up, down] = [0.0, 1.0, -1.0].map(|slope| Trend::of(&noisy(slope)).unwrap());
        assert!(!flat.grows() && !flat.shrinks(), "{flat:?}");
        assert!(up.grows() && !up.shrinks() && (up.slope - 1.0).abs() < 0.5, "{up:?}");
        assert!(down.shrinks() && !down.grows(), "{down:?}");
    }

    #[test]
    fn a_robust_slope_is_bounded_from_above_and_outliers_do_not_move_it() {
        let [flat, up] = [0.0, 1.0].map(|slope| Robust::of(&noisy(slope)).unwrap());
        assert!(flat.upper > 0.0 && flat.upper < 1.0 && flat.slope.abs() < 0.5, "{flat:?}");
        assert!(up.upper > 1.0 && up.upper < 2.0 && (up.slope - 1.0).abs() < 0.5, "{up:?}");
        let mut spoilt = vec![5.0; 60];
        spoilt[59] = 1e9;
        let spoilt = Robust::of(&spoilt).unwrap();
        assert_eq!((spoilt.slope, spoilt.upper, spoilt.median), (0.0, 0.0, 5.0));
    }

    #[test]
    fn exact_lines_and_few_samples() {
        assert!(Trend::of(&[1.0, 2.0, 3.0]).is_none());
        assert!(Trend::of(&[1.0, 2.0, 3.0, 4.0]).unwrap().grows());
        assert!(!Trend::of(&[5.0; 10]).unwrap().grows());
    }

    #[test]
    fn the_limit_is_that_of_the_tables() {
        for (freedom, expected) in [(5, 3.365), (10, 2.764), (30, 2.457), (120, 2.358)] {
            assert!((limit(freedom) - expected).abs() < 0.035, "{freedom}: {}", limit(freedom));
        }
    }
}
