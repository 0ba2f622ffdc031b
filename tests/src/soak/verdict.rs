//! What the samples of a soak say, with a reason for each verdict.

use super::Sample;
use super::trend::{Robust, Trend};

/// A trend counts if it is above zero at 99 % and comes to more than this share of the mean over the cycles judged:
/// once its caches are full a daemon's memory is so steady that a page more is significant.
const MATTERS: f64 = 0.02;
/// Cycles whose mean is one sample of the daemon's memory: what was freed is given back within some, so what one cycle
/// finds says much of what the next one will, and a test of single ones would take noise for a trend.
const BLOCK: usize = 8;
/// What a thousand more cycles may add to the daemon's memory, at 99 %, as a share of its median.
const THOUSAND_MAX: f64 = 0.05;
/// Cycles of which such a bound can be made: with fewer, noise of 1 % alone comes to more than it.
const THOUSAND_CYCLES: usize = 300;
/// The last third may need this much more disk than the one before, which has the same data.
const GROWTH_MAX: f64 = 1.10;
/// Bytes on disk for each byte needed, in the mean of the last third. Containers of 1 MiB: what is being filled and
/// what is in the pool weigh.
const RATIO_MAX: f64 = 1.30;

/// One thing that was judged.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What.
    pub what: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// The figures.
    pub why: String,
}

/// Judge `samples`, of a run in which the daemon was killed in the first seventh only: by the end of the first third
/// its caches are full.
#[must_use]
pub fn judge(samples: &[Sample]) -> Vec<Verdict> {
    let thirds = samples.len() / 3;
    let calm = &samples[thirds..];
    let (before, last) = (&samples[thirds..samples.len() - thirds], &samples[samples.len() - thirds..]);
    let memory: Vec<f64> = calm.iter().map(|sample| sample.resident).collect();
    vec![
        no_trend("memory of the daemon", &blocks(&memory), &format!("blocks of {BLOCK} cycles")),
        no_leak(&memory),
        no_trend_of("new bytes of a cycle", calm, |sample| sample.new),
        no_trend_of("bytes over the network", calm, |sample| sample.wire),
        no_trend_of("seconds of the restores", calm, |sample| sample.get_seconds),
        growth(before, last),
        ratio(last),
    ]
}

/// Means of [`BLOCK`] samples each; what is left over at the start is left out.
fn blocks(samples: &[f64]) -> Vec<f64> {
    let blocks = samples.rchunks_exact(BLOCK).map(|block| block.iter().sum::<f64>() / BLOCK as f64);
    let mut blocks: Vec<f64> = blocks.collect();
    blocks.reverse();
    blocks
}

fn no_trend_of(what: &'static str, samples: &[Sample], of: fn(&Sample) -> f64) -> Verdict {
    no_trend(what, &samples.iter().map(of).collect::<Vec<_>>(), "cycles")
}

fn no_trend(what: &'static str, values: &[f64], each: &str) -> Verdict {
    let Some(trend) = Trend::of(values) else {
        return Verdict { what, holds: true, why: "too few cycles for a trend".to_owned() };
    };
    let Trend { slope, mean, t, count } = trend;
    let share = slope * count as f64 / mean;
    let holds = !trend.grows() || share <= MATTERS;
    let above = if trend.grows() { "above" } else { "not above" };
    let why = format!(
        "mean {mean:.4e}, slope {slope:.3e}, {above} zero at 99 % (t {t:.2}) over {count} {each}, {:.2} % in all",
        100.0 * share
    );
    Verdict { what, holds, why }
}

/// A bound for longer runs.
fn no_leak(memory: &[f64]) -> Verdict {
    let what = "memory in a thousand cycles";
    let Some(robust) = Robust::of(memory) else {
        return Verdict { what, holds: true, why: "too few cycles for a slope".to_owned() };
    };
    let judged = memory.len() >= THOUSAND_CYCLES;
    let why = format!(
        "median {:.4e}, slope {:.3e} a cycle, not above {:.3e} at 99 % over {} cycles: {:.2} % in a thousand, {}",
        robust.median,
        robust.slope,
        robust.upper,
        robust.count,
        100.0 * robust.in_a_thousand(),
        match judged {
            true => format!("at most {} %", 100.0 * THOUSAND_MAX),
            false => "too few cycles for a verdict".to_owned(),
        }
    );
    Verdict { what, holds: !judged || robust.in_a_thousand() < THOUSAND_MAX, why }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}

fn growth(before: &[Sample], last: &[Sample]) -> Verdict {
    let [before, last] = [before, last].map(|samples| mean(samples, |sample| sample.disk));
    let growth = last / before;
    Verdict {
        what: "growth of the store",
        holds: growth <= GROWTH_MAX,
        why: format!("{:.1} MB, then {:.1} MB in the last third: {growth:.3}", before / 1e6, last / 1e6),
    }
}

fn ratio(last: &[Sample]) -> Verdict {
    let ratio = mean(last, |sample| sample.disk / sample.needed.max(1.0));
    Verdict {
        what: "disk for each needed byte",
        holds: ratio <= RATIO_MAX,
        why: format!("{ratio:.3} in the mean of the last third, at most {RATIO_MAX}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: fn(f64) -> f64, disk: fn(f64) -> f64) -> Vec<Sample> {
        let noise = |at: u32| f64::from(at * 7919 % 101);
        (0..480)
            .map(|at| Sample {
                resident: resident(f64::from(at)) + noise(at),
                disk: disk(f64::from(at)) + noise(at),
                needed: 1e6,
                new: 5000.0 + noise(at),
                wire: 9000.0 + noise(at),
                get_seconds: 1.0 + noise(at) / 1e4,
                ..Sample::default()
            })
            .collect()
    }

    fn failed(samples: &[Sample]) -> Vec<&'static str> {
        judge(samples).into_iter().filter(|verdict| !verdict.holds).map(|verdict| verdict.what).collect()
    }

    #[test]
    fn a_leak_and_a_growing_store_are_seen() {
        assert_eq!(failed(&samples(|_| 1e6, |_| 1.1e6)), Vec::<&str>::new());
        let leak = ["memory of the daemon", "memory in a thousand cycles"];
        assert_eq!(failed(&samples(|at| 1e6 + 1000.0 * at, |_| 1.1e6)), leak);
        assert_eq!(failed(&samples(|at| 1e6 + 1000.0 * at, |_| 1.1e6)[..168]), leak[..1], "in a shorter run");
        assert_eq!(failed(&samples(|at| 1e6 + 55.0 * at, |_| 1.1e6)), leak[1..], "one that takes its time");
        assert_eq!(failed(&samples(|_| 1e6, |at| 0.6e6 + 1e3 * at)), ["growth of the store"]);
        assert_eq!(failed(&samples(|_| 1e6, |_| 1.5e6)), ["disk for each needed byte"]);
    }
}
