//! Counts of one worker, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::Recorder;

/// A number that one thread raises and others read. Relaxed: nothing else is ordered by it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Add `count`.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a worker did since the store was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Chunks found among those not yet durable, or in a container directory.
    pub near_hits: Counter,
    /// Chunks that the index was asked for.
    pub index_lookups: Counter,
    /// Container directories read.
    pub directories_loaded: Counter,
    /// Chunks appended.
    pub appended: Counter,
    /// Group commits.
    pub rounds: Counter,
    /// Turns that had to wait for a batch buffer: the device is the limit.
    pub waits_for_device: Counter,
    /// How long its stages take; nothing is recorded by default.
    pub stages: Recorder,
}
