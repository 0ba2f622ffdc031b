//! The histograms of an open store: each thread records into counters of its own, and whoever asks adds them up.
//!
//! No lock is taken for a record, and nobody who asks holds a thread up. A thread that ends leaves its counters to the
//! next one, so nothing that was counted is lost and memory is bounded by the threads that were there at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::buckets::{self, Buckets};
use super::stage::{Kind, Stage};

/// One thread's counters, by stage.
type Slot = [Buckets; Stage::ALL.len()];

/// What all threads of a store saw since it was opened.
#[derive(Debug, Default)]
pub struct Histograms {
    slots: Mutex<Slots>,
    /// Nothing is recorded meanwhile. `Relaxed`: a record more or less is all that hangs on it.
    paused: AtomicBool,
}

#[derive(Debug, Default)]
struct Slots {
    all: Vec<Arc<Slot>>,
    free: Vec<Arc<Slot>>,
}

/// The times of one stage.
#[derive(Clone, Debug)]
pub struct Times {
    /// Which.
    pub stage: Stage,
    /// In nanoseconds.
    pub histogram: Histogram<u64>,
    /// All times together, in nanoseconds.
    pub sum: u64,
}

/// The percentiles of one stage. Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Records.
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

impl Summary {
    /// Of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
        }
    }
}

impl Histograms {
    /// Counters for one thread.
    #[must_use]
    pub fn recorder(self: &Arc<Self>) -> Recorder {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.free.pop().unwrap_or_else(|| {
            let slot = Arc::new(std::array::from_fn(|_| Buckets::default()));
            slots.all.push(Arc::clone(&slot));
            slot
        });
        Recorder(Some((slot, Arc::clone(self))))
    }

    /// Record from now on, or record nothing: to measure what recording costs.
    pub fn set_recording(&self, on: bool) {
        self.paused.store(!on, Ordering::Relaxed);
    }

    /// The times of a stage so far.
    #[must_use]
    pub fn times(&self, stage: Stage) -> Times {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner).all.clone();
        let (mut histogram, mut sum) = (buckets::empty(), 0);
        for slot in &slots {
            slot[stage as usize].add_to(&mut histogram, &mut sum);
        }
        Times { stage, histogram, sum }
    }

    /// The times of every stage so far, in the order of [`Stage::ALL`].
    #[must_use]
    pub fn all(&self) -> Vec<Times> {
        Stage::ALL.map(|stage| self.times(stage)).into()
    }
}

/// A moment, if anybody wants to know when that was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Since(Option<Duration>);

/// What one thread records with; dropped, its counters go to the next thread.
#[derive(Debug, Default)]
pub struct Recorder(Option<(Arc<Slot>, Arc<Histograms>)>);

impl Recorder {
    /// One that records nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Where it records, unless that is paused.
    fn slot(&self) -> Option<&Slot> {
        let (slot, home) = self.0.as_ref()?;
        (!home.paused.load(Ordering::Relaxed)).then_some(slot)
    }

    /// A stage took `time`.
    pub fn record(&self, stage: Stage, time: Duration) {
        if let Some(slot) = self.slot() {
            slot[stage as usize].record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// A chunk was handed out after `latency`.
    pub fn recalled(&self, kind: Kind, latency: Duration) {
        self.record(kind.stage(), latency);
    }

    /// The moment at which a stage begins. The clock `now` is only looked at when something is recorded.
    #[must_use]
    pub fn begin(&self, now: impl FnOnce() -> Duration) -> Since {
        Since(self.slot().map(|_| now()))
    }

    /// A stage that began at `since` ends now; the next one may begin at the moment that is returned.
    pub fn end(&self, stage: Stage, since: Since, now: impl FnOnce() -> Duration) -> Since {
        let (Some(slot), Some(begun)) = (self.slot(), since.0) else { return Since(None) };
        let now = now();
        let time = now.saturating_sub(begun);
        slot[stage as usize].record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Since(Some(now))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some((slot, home)) = self.0.take() {
            home.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_leave_their_counters_to_others() {
        let shared = Arc::new(Histograms::default());
        for _ in 0..3 {
            // All at once: one that has ended already leaves its counters to the next.
            let recorders: Vec<_> = (1..=4u64).map(|reader| (reader, shared.recorder())).collect();
            std::thread::scope(|scope| {
                for (reader, recorder) in recorders {
                    scope.spawn(move || {
                        for _ in 0..1000 {
                            recorder.recalled(Kind::Cold, Duration::from_micros(reader * 100));
                        }
                    });
                }
            });
        }
        let times = shared.times(Stage::RecallCold);
        let summary = Summary::of(&times.histogram);
        assert_eq!((summary.count, times.sum), (12_000, 3 * 1000 * 1_000_000));
        assert!((199_000..202_000).contains(&summary.p50), "{summary:?}");
        assert!((399_000..403_000).contains(&summary.max), "{summary:?}");
        assert!(shared.times(Stage::RecallCacheHit).histogram.is_empty());
        assert_eq!(shared.slots.lock().unwrap().all.len(), 4, "as many as there were threads at once");
    }

    #[test]
    fn what_is_recorded_shows_at_once() {
        let shared = Arc::new(Histograms::default());
        let recorder = shared.recorder();
        let begun = recorder.begin(|| Duration::from_millis(5));
        let ended = recorder.end(Stage::Sync, begun, || Duration::from_millis(7));
        recorder.end(Stage::Commit, ended, || Duration::from_millis(8));
        assert_eq!(shared.times(Stage::Sync).sum, 2_000_000);
        assert_eq!(shared.times(Stage::Commit).sum, 1_000_000);
    }

    #[test]
    fn a_pause_records_nothing_and_looks_at_no_clock() {
        let shared = Arc::new(Histograms::default());
        let recorder = shared.recorder();
        let begun = recorder.begin(|| Duration::ZERO);
        shared.set_recording(false);
        let clock = || unreachable!("the clock costs something");
        assert!(recorder.begin(clock).0.is_none());
        assert!(recorder.end(Stage::Sync, begun, clock).0.is_none());
        recorder.record(Stage::Sync, Duration::from_secs(1));
        shared.set_recording(true);
        // What began in the pause has no time.
        assert!(recorder.end(Stage::Sync, Since(None), clock).0.is_none());
        assert!(shared.times(Stage::Sync).histogram.is_empty());
        Recorder::off().record(Stage::Sync, Duration::ZERO);
    }
}
