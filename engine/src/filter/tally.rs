//! What the filter was asked and what it answered.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Answer;

/// A counter on its own cache line: all workers count here. `Relaxed`: nobody decides anything by it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicU64);

impl Counter {
    #[inline]
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each way a question can end, so that a question counts once.
#[derive(Debug, Default)]
pub struct Tally {
    new: Counter,
    maybe_hot: Counter,
    maybe_cold: Counter,
    doubtful: Counter,
    false_positives: Counter,
}

impl Tally {
    /// A question was answered.
    #[inline]
    pub fn answered(&self, answer: Answer) {
        match answer {
            Answer::New => self.new.add(1),
            Answer::MaybeHot => self.maybe_hot.add(1),
            Answer::MaybeCold => self.maybe_cold.add(1),
        }
    }

    /// Many questions were answered.
    pub fn answered_many(&self, answers: &[Answer]) {
        let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count() as u64;
        let (new, hot) = (count(Answer::New), count(Answer::MaybeHot));
        self.new.add(new);
        self.maybe_hot.add(hot);
        self.maybe_cold.add(answers.len() as u64 - new - hot);
    }

    /// Questions were answered without looking.
    pub fn doubted(&self, count: u64) {
        self.doubtful.add(count);
    }

    /// The index did not have what the filter thought it might.
    pub fn was_false(&self) {
        self.false_positives.add(1);
    }

    /// The counters so far. Taken one by one: while questions are asked they may differ by the newest few.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        let (new, hot, cold) = (self.new.get(), self.maybe_hot.get(), self.maybe_cold.get());
        Lookups {
            hot_lookups: new + hot + cold,
            hot_hits: hot,
            cold_lookups: new + cold,
            cold_hits: cold,
            index_lookups_saved: new,
            false_positives: self.false_positives.get(),
            doubtful_lookups: self.doubtful.get(),
        }
    }
}

/// Counts since the filter was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lookups {
    /// Questions to the hot filter: all that were looked up.
    pub hot_lookups: u64,
    /// Of those, answered "maybe" by it. Each saved a cold look-up.
    pub hot_hits: u64,
    /// Questions to the cold filter: the rest.
    pub cold_lookups: u64,
    /// Of those, answered "maybe" by it.
    pub cold_hits: u64,
    /// Answered "new": the index need not be asked.
    pub index_lookups_saved: u64,
    /// Answered "maybe", and the index did not have it.
    pub false_positives: u64,
    /// Answered "maybe" without looking, because the filter was being rebuilt.
    pub doubtful_lookups: u64,
}
