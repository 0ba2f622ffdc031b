//! How many bits a layer needs, and the false-positive rate that it really has.
//!
//! The textbook formula is wrong for a blocked filter: items fall on blocks at random, so some blocks are crowded,
//! and the crowded ones answer most of the false positives. Sized by the textbook, a filter set to 0.1 % gives 0.16
//! %. Here the rate is summed over the distribution of items per block (Putze, Sanders, Singler, "Cache-, Hash- and
//! Space-Efficient Bloom Filters", 2007), and the smallest filter that keeps its rate is searched for.
//!
//! # Invariants
//! - The rates of all layers, however many, and of the hot filter sum to at most the configured rate.

use std::cell::RefCell;
use std::collections::VecDeque;

/// Bits in a word; each probe of an item sets one bit in one word.
const WORD_BITS: f64 = 64.0;

/// Words, and probes at least, in a block.
const WORDS: u32 = 8;

/// Probes per item at most: two in each word of a block.
const PROBES_MAX: u32 = 2 * WORDS;

/// Each layer gets this share of what its predecessor got (Almeida et al., "Scalable Bloom Filters", 2007, advise
/// 0.8 to 0.9): large stores have many layers, and the largest of them should not pay with the tightest rate.
const TIGHTENING: f64 = 0.8;

/// Share of the configured rate that the hot filter may use; the cold layers have the rest.
const HOT_SHARE: f64 = 0.125;

/// Mean items per block beyond which every answer counts as positive; the sum below would underflow.
const LOAD_MAX: f64 = 600.0;

/// Size of a blocked filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 64-byte blocks.
    pub blocks: u64,
    /// Bits set per item: 8 to 16, the first eight in one word each, the others in the first words again.
    pub probes: u32,
}

impl Shape {
    /// The smallest filter that answers falsely for at most `rate` of absent items once it holds `capacity` items.
    #[must_use]
    pub fn of(capacity: u64, rate: f64) -> Self {
        let (load, probes) = best(rate);
        #[expect(clippy::cast_precision_loss, reason = "a rounding error of one block does not matter")]
        let blocks = (capacity as f64 / load).ceil().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and far below 2^53 for any capacity that fits a disk"
        )]
        Self { blocks: blocks as u64, probes }
    }

    /// The false-positive rate of this filter with `items` in it.
    #[must_use]
    pub fn rate_with(self, items: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        rate(items as f64 / self.blocks as f64, self.probes)
    }

    /// Bytes of its bits.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.blocks * 64
    }
}

/// The rate that cold layer `number` (from 0) may have, when all layers together may have `total`.
#[must_use]
pub fn layer_rate(total: f64, number: u32) -> f64 {
    let layers = total * (1.0 - HOT_SHARE);
    layers * (1.0 - TIGHTENING) * TIGHTENING.powf(f64::from(number))
}

/// The rate that each of the two hot generations may have.
#[must_use]
pub fn hot_rate(total: f64) -> f64 {
    total * HOT_SHARE / 2.0
}

/// False-positive rate of a block filter with `load` items per block on average and `probes` bits per item.
///
/// Items per block are Poisson distributed. Given their number, the words of a block are filled independently, so the
/// probability of a false positive is the product over words: exact for one probe in a word, and exact for two.
fn rate(load: f64, probes: u32) -> f64 {
    if load > LOAD_MAX {
        return 1.0;
    }
    let double = i32::try_from(probes - WORDS).expect("at most 8 words have two probes");
    let single = i32::try_from(WORDS).expect("8 fits") - double;
    let miss = 1.0 - 1.0 / WORD_BITS; // Probability that one bit set in a word is not a given one.
    let miss_both = 1.0 - 2.0 / WORD_BITS; // That it is neither of two given ones.
    let mut weight = (-load).exp(); // Poisson probability of `items` items.
    // That it is still clear after `items` items of one bit each; of two; that two bits are, after items of two.
    let (mut clear, mut clear_twice, mut both_clear) = (1.0, 1.0, 1.0);
    let mut items = 0.0;
    let mut sum = 0.0;
    let last = load + 12.0 * load.sqrt() + 40.0;
    while items <= last {
        let one: f64 = 1.0 - clear;
        // A word with two probes: they coincide with probability 1/64.
        let two: f64 = (1.0 - clear_twice) / WORD_BITS + (1.0 - 2.0 * clear_twice + both_clear) * miss;
        sum += weight * one.powi(single) * two.powi(double);
        items += 1.0;
        weight *= load / items;
        clear *= miss;
        clear_twice *= miss * miss;
        both_clear *= miss_both * miss_both;
    }
    sum
}

thread_local! {
    /// The last answers of [`best`]: a process asks for the same few rates whenever it opens a store, and the search
    /// takes most of a millisecond.
    static ANSWERS: RefCell<VecDeque<(u64, (f64, u32))>> = const { RefCell::new(VecDeque::new()) };
}

/// Answers that a thread keeps: more than the layers of a store have rates.
const ANSWERS_MAX: usize = 64;

/// Most items per block on average that keep `target`, with the probes per item that allow it.
fn best(target: f64) -> (f64, u32) {
    ANSWERS.with_borrow_mut(|answers| {
        if let Some((_, answer)) = answers.iter().find(|(bits, _)| *bits == target.to_bits()) {
            return *answer;
        }
        let all = (WORDS..=PROBES_MAX).map(|probes| (load_for(target, probes), probes));
        let answer = all.max_by(|a, b| a.0.total_cmp(&b.0)).expect("there is at least one probe count");
        answers.truncate(ANSWERS_MAX - 1);
        answers.push_front((target.to_bits(), answer));
        answer
    })
}

/// Most items per block on average that keep `target`, by bisection: the rate grows with the load.
fn load_for(target: f64, probes: u32) -> f64 {
    let (mut keeps, mut exceeds) = (0.01, LOAD_MAX);
    for _ in 0..48 {
        let middle = f64::midpoint(keeps, exceeds);
        if rate(middle, probes) <= target { keeps = middle } else { exceeds = middle }
    }
    keeps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_sum_to_more_than_the_whole() {
        let layers: f64 = (0..1000).map(|number| layer_rate(0.001, number)).sum();
        let sum = layers + 2.0 * hot_rate(0.001);
        assert!(sum <= 0.001 * (1.0 + 1e-9) && sum > 0.000_999, "{sum}");
    }

    #[test]
    fn a_shape_keeps_its_rate_and_is_not_larger_than_needed() {
        for target in [1e-2, 1e-3, 1.75e-4, 3e-5, 1e-6] {
            let shape = Shape::of(1_000_000, target);
            assert!(shape.rate_with(1_000_000) <= target);
            assert!(shape.rate_with(1_010_000) > target, "{target}: one percent more items exceed it");
        }
    }

    #[test]
    fn a_blocked_filter_needs_more_than_the_textbook_says() {
        let shape = Shape::of(1_000_000, 1e-3);
        let (bits, textbook) = (shape.bytes() as f64 * 8.0 / 1e6, 14.38);
        assert!(bits > textbook && bits < textbook * 1.15, "{bits}");
    }

    #[test]
    fn an_empty_filter_denies_and_a_flooded_one_affirms() {
        let shape = Shape { blocks: 4, probes: 8 };
        assert!(shape.rate_with(0) < 1e-12);
        assert!(shape.rate_with(1000) > 0.5);
        assert!((shape.rate_with(1_000_000) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_degenerates_at_the_smallest_capacity() {
        let shape = Shape::of(1, 1e-9);
        assert!(shape.blocks >= 1 && (WORDS..=PROBES_MAX).contains(&shape.probes));
    }
}
