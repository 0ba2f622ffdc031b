//! Recall latencies by kind, recorded by each reader on its own and merged now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest latency that is told apart from longer ones, in nanoseconds: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Digits kept of each latency.
const DIGITS: u8 = 3;

/// A reader merges what it recorded after so many chunks, so that somebody who watches sees a long restore move.
const MERGE_EVERY: u32 = 1 << 16;

/// How a chunk was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In the cache.
    CacheHit,
    /// Brought by read-ahead before it was asked for.
    ReadAhead,
    /// By waiting for the disk.
    Cold,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::CacheHit, Self::ReadAhead, Self::Cold];

    /// Its name in tables and file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CacheHit => "cache_hit",
            Self::ReadAhead => "read_ahead",
            Self::Cold => "cold",
        }
    }
}

/// One histogram per kind. Nanoseconds.
#[derive(Clone, Debug)]
struct Set([Histogram<u64>; 3]);

impl Set {
    fn new() -> Self {
        let one = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are in order");
        Self([one(), one(), one()])
    }

    /// Histograms that start small and grow with what they see: for a reader that may have little to say.
    fn growing() -> Self {
        let one = || {
            let mut one = Histogram::new(DIGITS).expect("so few digits are possible");
            one.auto(true);
            one
        };
        Self([one(), one(), one()])
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0).filter(|(_, theirs)| !theirs.is_empty()) {
            mine.add(theirs).expect("what was recorded is within the bounds");
        }
    }
}

/// The percentiles of one kind. Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// How the chunks were found.
    pub kind: Kind,
    /// Chunks.
    pub count: u64,
    /// Half were no slower.
    pub p50: u64,
    /// Nine in ten were no slower.
    pub p90: u64,
    /// 99 in a hundred were no slower.
    pub p99: u64,
    /// 999 in a thousand were no slower.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
    /// Mean.
    pub mean: f64,
}

/// What all readers of a store saw.
#[derive(Debug)]
pub struct RecallHistograms(Mutex<Set>);

impl Default for RecallHistograms {
    fn default() -> Self {
        Self(Mutex::new(Set::new()))
    }
}

impl RecallHistograms {
    /// The histogram of a kind so far, in nanoseconds.
    #[must_use]
    pub fn histogram(&self, kind: Kind) -> Histogram<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0[kind as usize].clone()
    }

    /// The percentiles of a kind so far.
    #[must_use]
    pub fn summary(&self, kind: Kind) -> Summary {
        let histogram = self.histogram(kind);
        Summary {
            kind,
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
        }
    }
}

/// One reader's own histograms; merged into the shared ones every so often, and when dropped.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<RecallHistograms>,
    own: Set,
    unmerged: u32,
}

impl Recorder {
    /// A recorder for one thread.
    #[must_use]
    pub fn new(shared: Arc<RecallHistograms>) -> Self {
        Self { shared, own: Set::growing(), unmerged: 0 }
    }

    /// A chunk was handed out after `latency`.
    pub fn record(&mut self, kind: Kind, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let own = &mut self.own.0[kind as usize];
        own.record(nanoseconds.clamp(1, LATENCY_NS_MAX)).expect("a histogram that grows takes every value");
        self.unmerged += 1;
        if self.unmerged >= MERGE_EVERY {
            self.merge();
        }
    }

    /// Show what was recorded.
    pub fn merge(&mut self) {
        if self.unmerged == 0 {
            return;
        }
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).merge(&self.own);
        self.own.0.iter_mut().for_each(Histogram::reset);
        self.unmerged = 0;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.merge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorders_add_up_when_they_are_dropped() {
        let shared = Arc::new(RecallHistograms::default());
        std::thread::scope(|scope| {
            for reader in 1..=4u64 {
                let mut recorder = Recorder::new(Arc::clone(&shared));
                scope.spawn(move || {
                    for _ in 0..1000 {
                        recorder.record(Kind::Cold, Duration::from_micros(reader * 100));
                    }
                });
            }
        });
        let summary = shared.summary(Kind::Cold);
        assert_eq!(summary.count, 4000);
        assert!((199_000..202_000).contains(&summary.p50), "{summary:?}");
        assert!((399_000..402_000).contains(&summary.max), "{summary:?}");
        assert_eq!(shared.summary(Kind::CacheHit).count, 0);
    }

    #[test]
    fn a_long_restore_shows_before_it_ends() {
        let shared = Arc::new(RecallHistograms::default());
        let mut recorder = Recorder::new(Arc::clone(&shared));
        (0..MERGE_EVERY).for_each(|_| recorder.record(Kind::ReadAhead, Duration::ZERO));
        assert_eq!(shared.summary(Kind::ReadAhead).count, u64::from(MERGE_EVERY));
        recorder.record(Kind::ReadAhead, Duration::from_secs(100_000));
        recorder.merge();
        assert!(
            shared.summary(Kind::ReadAhead).max >= LATENCY_NS_MAX,
            "what is too long counts as the longest"
        );
    }
}
