//! Many seeds on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Outcome, Weather, run};

/// Violations that one thread collects: enough to see whether they are all alike.
const VIOLATIONS_MAX: usize = 10;

/// A seed that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// Its weather.
    pub weather: Weather,
    /// What was violated.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}: {}", self.weather, self.seed, self.what)
    }
}

/// What many runs did.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Sums over the runs, by weather.
    pub outcomes: [Outcome; Weather::ALL.len()],
    /// Runs.
    pub runs: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Threads that ran.
    pub threads: usize,
    /// The runs that did not hold, in no order.
    pub violations: Vec<Violation>,
}

/// Threads for simulations: one per core.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Run one seed; an assertion that fails is a violation like any other.
///
/// # Errors
/// What was violated.
pub fn judge(seed: u64, weather: Weather) -> Result<Outcome, Violation> {
    let judged = catch_unwind(AssertUnwindSafe(|| run(seed, weather)));
    let judged = judged.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("an assertion failed: {}", text.unwrap_or_default()))
    });
    judged.map_err(|what| Violation { seed, weather, what })
}

/// Run seeds `0..count` spread evenly over all weathers. Stops after some violations.
#[must_use]
pub fn sweep(count: u64) -> Sweep {
    let weathers = Weather::ALL.len() as u64;
    let (next, started, threads) = (AtomicU64::new(0), Instant::now(), threads());
    let total = Mutex::new(Sweep { threads, ..Sweep::default() });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Sweep::default();
                loop {
                    // Only uniqueness matters; nothing is published by it.
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let place = usize::try_from(number % weathers).expect("there are a few weathers");
                    mine.runs += 1;
                    match judge(number / weathers, Weather::ALL[place]) {
                        Ok(outcome) => mine.outcomes[place].merge(&outcome),
                        Err(violation) => {
                            mine.violations.push(violation);
                            if mine.violations.len() >= VIOLATIONS_MAX {
                                next.store(count, Ordering::Relaxed);
                            }
                        }
                    }
                }
                total.lock().unwrap_or_else(PoisonError::into_inner).merge(mine);
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.elapsed = started.elapsed();
    total
}

impl Sweep {
    fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.outcomes.iter_mut().zip(&other.outcomes) {
            mine.merge(theirs);
        }
        self.runs += other.runs;
        self.violations.extend(other.violations);
    }

    /// Runs per second of all threads together.
    #[must_use]
    pub fn runs_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let runs = self.runs as f64;
        runs / self.elapsed.as_secs_f64()
    }
}

impl std::fmt::Display for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, seconds) = (self.runs_per_second(), self.elapsed.as_secs_f64());
        writeln!(
            f,
            "{} seeds in {seconds:.1} s, {rate:.0} per second on {} threads",
            self.runs, self.threads
        )?;
        for (weather, outcome) in Weather::ALL.iter().zip(&self.outcomes) {
            writeln!(
                f,
                "{weather:?}: {} operations, {} syncs, {} streams acknowledged, {} compared, {} vacuums \
                 freed {}, {} scrubs, {} refusals\n  {}",
                outcome.operations,
                outcome.syncs,
                outcome.acknowledged,
                outcome.compared,
                outcome.vacuums,
                outcome.freed,
                outcome.scrubs,
                outcome.refused,
                outcome.hits
            )?;
        }
        Ok(())
    }
}
