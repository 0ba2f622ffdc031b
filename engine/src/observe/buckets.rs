//! A histogram that one thread fills while others read it: logarithmic buckets of atomic counters.
//!
//! HdrHistogram's layout (Gil Tene) with 128 buckets to each power of two, so a value is known to 0.8 %. The library's
//! own histogram needs exclusive access to be read; here a reader adds up what is there, and nobody waits for anybody.
//!
//! # Invariants
//! - Counters only rise. `Relaxed`: nothing is ordered by them, and a reader may miss the newest few.
//! - A value is always shown as the same one, the highest of its bucket: what was read earlier can be subtracted from
//!   what is read later.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// Longest time that is told apart from longer ones, in nanoseconds: a minute.
pub const NS_MAX: u64 = 60_000_000_000;

/// Digits kept by the library's histograms that are made of these: more than there are here.
const DIGITS: u8 = 3;

/// Buckets to each power of two, as a power of two.
const BITS: u32 = 7;
/// Buckets in all.
const COUNT: usize = index_of(NS_MAX) + 1;

/// An empty histogram of the library, for nanoseconds.
#[must_use]
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NS_MAX, DIGITS).expect("the bounds are in order")
}

/// See the module. 30 KB once something was recorded.
#[derive(Debug, Default)]
pub struct Buckets {
    counts: OnceLock<Box<[AtomicU64]>>,
    sum: AtomicU64,
}

impl Buckets {
    /// Count a time in nanoseconds. What is too long counts as the longest.
    pub fn record(&self, nanoseconds: u64) {
        let value = nanoseconds.min(NS_MAX);
        let counts = self.counts.get_or_init(|| (0..COUNT).map(|_| AtomicU64::new(0)).collect());
        counts[index_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Add what was counted to `whole` and the sum of all times to `sum`.
    pub fn add_to(&self, whole: &mut Histogram<u64>, sum: &mut u64) {
        let Some(counts) = self.counts.get() else { return };
        *sum += self.sum.load(Ordering::Relaxed);
        for (index, count) in counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                whole.saturating_record_n(highest_of(index), count);
            }
        }
    }
}

/// The bucket of a value.
#[expect(clippy::cast_possible_truncation, reason = "64 powers of two with 128 buckets each")]
const fn index_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    (((shift as u64) << BITS) + (value >> shift)) as usize
}

/// The highest value of a bucket: what was recorded there was no longer.
const fn highest_of(index: usize) -> u64 {
    let index = index as u64;
    let first = 1 << (BITS + 1); // Below, each value has a bucket of its own.
    if index < first {
        return index;
    }
    let shift = (index >> BITS) - 1;
    let part = index - (shift << BITS);
    ((part + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_are_narrow() {
        let mut last = 0;
        for index in 1..COUNT {
            let highest = highest_of(index);
            assert_eq!((index_of(highest), index_of(last + 1)), (index, index), "bucket {index} has no hole");
            assert!((highest - last) * 128 <= highest.max(128), "{last}..{highest} is wider than 0.8 %");
            last = highest;
        }
        assert!(last >= NS_MAX);
    }

    #[test]
    fn what_is_read_is_what_was_recorded() {
        let buckets = Buckets::default();
        let (mut whole, mut sum) = (empty(), 0);
        buckets.add_to(&mut whole, &mut sum);
        assert!(whole.is_empty());
        let mut exact = empty();
        for value in (0..2000).map(|n: u64| n * n * 31 + 5) {
            buckets.record(value);
            exact.record(value).unwrap();
        }
        buckets.add_to(&mut whole, &mut sum);
        assert_eq!((whole.len(), sum), (2000, (0..2000).map(|n: u64| n * n * 31 + 5).sum()));
        for quantile in [0.1, 0.5, 0.9, 0.99, 1.0] {
            let [found, wanted] =
                [&whole, &exact].map(|histogram| histogram.value_at_quantile(quantile).cast_signed());
            assert!((found - wanted).abs() <= wanted / 100, "{quantile}: {found} {wanted}");
        }
        let earlier = whole.clone();
        buckets.record(u64::MAX);
        whole.reset();
        buckets.add_to(&mut whole, &mut sum);
        assert!(whole.max() >= NS_MAX, "what is too long counts as the longest");
        whole.subtract(&earlier).unwrap();
        assert_eq!(whole.len(), 1);
    }
}
