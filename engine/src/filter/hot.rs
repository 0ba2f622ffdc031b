//! The hot filter: recent chunks, in memory, two generations.
//!
//! It spares the look-ups in the cold layers, which are larger than any cache. It forgets on purpose: what it misses,
//! the cold filter still has, so a race here costs one cold look-up and never an answer.
//!
//! # Invariants
//! - The generations' blocks for an item lie side by side: one cache miss (and the adjacent-line prefetch) for both.
//! - When the current generation is full, the other is cleared and becomes current. Only full generations are
//!   cleared, so at least `capacity / 2` recent items are always there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::block::{Line, Probe};
use super::sizing::{self, Shape};

/// Items added, on its own cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count(AtomicU64);

/// See the module.
#[derive(Debug)]
pub struct Hot {
    pairs: Box<[[Line; 2]]>,
    shape: Shape,
    /// Items after which a generation is full.
    generation_capacity: u64,
    /// The generation that takes new items: 0 or 1. `Relaxed`: who sees the old one adds there, which is harmless.
    current: AtomicUsize,
    items: [Count; 2],
    rotating: Mutex<()>,
}

impl Hot {
    /// A hot filter of `capacity` items in both generations, with its share of the rate `total`.
    #[must_use]
    pub fn new(capacity: u64, total: f64) -> Self {
        let generation_capacity = (capacity / 2).max(1);
        let shape = Shape::of(generation_capacity, sizing::hot_rate(total));
        let pairs = (0..shape.blocks).map(|_| Default::default()).collect();
        Self {
            pairs,
            shape,
            generation_capacity,
            current: AtomicUsize::new(0),
            items: Default::default(),
            rotating: Mutex::new(()),
        }
    }

    /// Whether the item was probably added lately.
    #[inline]
    pub fn contains(&self, probe: Probe) -> bool {
        let [even, odd] = self.pair(probe);
        probe.is_in(&even.0, self.shape.probes) | probe.is_in(&odd.0, self.shape.probes)
    }

    /// As [`Hot::contains`], judged by one word of each generation.
    #[inline]
    pub fn touches(&self, probe: Probe) -> bool {
        let [even, odd] = self.pair(probe);
        probe.touches(&even.0, self.shape.probes) | probe.touches(&odd.0, self.shape.probes)
    }

    /// Add an item.
    #[inline]
    pub fn insert(&self, probe: Probe) {
        let current = self.current.load(Ordering::Relaxed) & 1;
        if probe.put_loosely(&self.pair(probe)[current].0, self.shape.probes) {
            let before = self.items[current].0.fetch_add(1, Ordering::Relaxed);
            if before + 1 >= self.generation_capacity {
                self.rotate(current);
            }
        }
    }

    /// Clear the older generation and make it current; meanwhile others go on with the full one.
    #[cold]
    fn rotate(&self, full: usize) {
        let Ok(_rotating) = self.rotating.try_lock() else { return };
        if self.current.load(Ordering::Relaxed) != full {
            return; // Someone was faster.
        }
        let oldest = 1 - full;
        for word in self.pairs.iter().flat_map(|pair| &pair[oldest].0) {
            word.store(0, Ordering::Relaxed);
        }
        self.items[oldest].0.store(0, Ordering::Relaxed);
        self.current.store(oldest, Ordering::Relaxed);
    }

    #[inline]
    fn pair(&self, probe: Probe) -> &[Line; 2] {
        &self.pairs[probe.block(self.pairs.len())]
    }

    /// Bytes of both generations.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        2 * self.shape.bytes()
    }

    /// The false-positive rate that both generations have now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.items.iter().map(|items| self.shape.rate_with(items.0.load(Ordering::Relaxed))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChunkHash;

    fn probe(number: u64) -> Probe {
        Probe::of(&ChunkHash::of(&number.to_le_bytes()))
    }

    #[test]
    fn recent_items_are_there_and_old_ones_go() {
        let hot = Hot::new(2000, 0.001);
        for number in 0..50_000u64 {
            hot.insert(probe(number));
            assert!(hot.contains(probe(number)) && hot.touches(probe(number)));
            if number >= 1000 {
                assert!(hot.contains(probe(number - 900)), "{number}: half the capacity is kept");
            }
        }
        let old = (0..40_000).filter(|number| hot.contains(probe(*number))).count();
        assert!(old < 60, "{old} of 40000 old items are left; the rate allows 5");
        assert!(hot.rate() <= 0.001 / 8.0, "{}", hot.rate());
    }

    #[test]
    fn repeats_do_not_rotate() {
        let hot = Hot::new(200, 0.001);
        hot.insert(probe(0));
        for _ in 0..10 {
            for number in 1..50 {
                hot.insert(probe(number));
            }
        }
        assert!(hot.contains(probe(0)));
    }

    #[test]
    fn threads_that_rotate_at_once_leave_it_usable() {
        let hot = Hot::new(64, 0.001);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let hot = &hot;
                scope.spawn(move || (0..20_000).for_each(|n| hot.insert(probe(thread << 32 | n))));
            }
        });
        hot.insert(probe(1 << 40));
        assert!(hot.contains(probe(1 << 40)));
        assert!(hot.rate() < 0.01, "generations stay near their capacity: {}", hot.rate());
    }
}
