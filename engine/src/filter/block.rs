//! One 64-byte block of a filter: a cache line in which all bits of an item lie.
//!
//! Chunk hashes are uniformly distributed, so their words are used as they are: word 0 chooses the worker, word 1 the
//! block, words 2 and 3 the bits. Different words, so that the chunks of one worker spread over all blocks.
//!
//! # Memory order
//! Bits are set and read `Relaxed`. A bit once set is never cleared in a cold layer, and whoever must see an item
//! (the thread that learns of its insertion through a mailbox, a lock or a join) is ordered after the insertion by
//! that; coherence does the rest. Threads not so ordered may miss it; a chunk belongs to one worker, so none of them
//! asks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::ChunkHash;

/// Words in a block.
pub const WORDS: usize = 8;

/// Bytes in a block: a cache line.
pub const BLOCK_BYTES: usize = WORDS * size_of::<u64>();

/// The words of a block.
pub type Block = [AtomicU64; WORDS];

/// Bits of a hash word that choose one of a block word's 64 bits.
const CHOICE_BITS: usize = 6;
const _: () = assert!(WORDS * CHOICE_BITS <= 64);

/// A block in memory, on its own cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Line(pub Block);
const _: () = assert!(size_of::<Line>() == BLOCK_BYTES);

/// Where a chunk's bits lie.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    place: u64,
    first: u64,
    second: u64,
}

impl Probe {
    /// The bits of `hash`.
    #[must_use]
    #[inline]
    pub fn of(hash: &ChunkHash) -> Self {
        Self { place: hash.word(1), first: hash.word(2), second: hash.word(3) }
    }

    /// The block, of `blocks`, that they are in.
    #[must_use]
    #[inline]
    pub fn block(self, blocks: usize) -> usize {
        let scaled = u128::from(self.place) * blocks as u128;
        #[expect(clippy::cast_possible_truncation, reason = "less than `blocks`, which is a usize")]
        let block = (scaled >> 64) as usize;
        block
    }

    /// Its bits in word `word`, as they are in memory: blocks are little-endian on disk, and disk and memory are one.
    #[inline]
    fn mask(self, word: usize, probes: u32) -> u64 {
        let choice = |bits: u64| (bits >> (word * CHOICE_BITS)) & 63;
        let twice = u64::from(WORDS + word < probes as usize);
        ((1 << choice(self.first)) | (twice << choice(self.second))).to_le()
    }

    /// Whether the block may hold the item, judged by its first word alone: a cheap test, without a branch.
    #[inline]
    pub fn touches(self, block: &Block, probes: u32) -> bool {
        self.mask(0, probes) & !block[0].load(Ordering::Relaxed) == 0
    }

    /// Whether all bits of the item are set.
    #[inline]
    pub fn is_in(self, block: &Block, probes: u32) -> bool {
        let missing = (0..WORDS).fold(0, |missing, word| {
            // All words, always: there is no branch to mispredict.
            missing | (self.mask(word, probes) & !block[word].load(Ordering::Relaxed))
        });
        missing == 0
    }

    /// Set all bits of the item. Returns whether any was unset.
    #[inline]
    pub fn put_in(self, block: &Block, probes: u32) -> bool {
        let mut fresh = false;
        for (word, bits) in block.iter().enumerate() {
            let mask = self.mask(word, probes);
            if bits.load(Ordering::Relaxed) & mask != mask {
                fresh |= bits.fetch_or(mask, Ordering::Relaxed) & mask != mask;
            }
        }
        fresh
    }

    /// As [`Probe::put_in`], without locked instructions: a bit that another thread sets in the same
    /// word at the same moment may be lost. Only for a filter that may forget.
    #[inline]
    pub fn put_loosely(self, block: &Block, probes: u32) -> bool {
        let mut fresh = false;
        for (word, bits) in block.iter().enumerate() {
            let (mask, before) = (self.mask(word, probes), bits.load(Ordering::Relaxed));
            if before & mask != mask {
                fresh = true;
                bits.store(before | mask, Ordering::Relaxed);
            }
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(number: u64) -> Probe {
        Probe::of(&ChunkHash::of(&number.to_le_bytes()))
    }

    fn bits_of(line: &Line) -> u32 {
        line.0.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }

    #[test]
    fn an_item_sets_its_bits_once() {
        for probes in 8..=16 {
            let line = Line::default();
            assert!(!probe(1).is_in(&line.0, probes) && !probe(1).touches(&line.0, probes));
            assert!(probe(1).put_in(&line.0, probes));
            assert!((8..=probes).contains(&bits_of(&line)), "two bits of a word may coincide");
            assert!(!probe(1).put_in(&line.0, probes));
            assert!(probe(1).is_in(&line.0, probes) && probe(1).touches(&line.0, probes));
            assert!(!probe(2).is_in(&line.0, probes));
        }
    }

    #[test]
    fn every_bit_of_every_word_is_used_equally() {
        let mut counts = [[0u32; 64]; WORDS];
        for number in 0..64_000 {
            for (word, counts) in counts.iter_mut().enumerate() {
                let mask = u64::from_le(probe(number).mask(word, 8));
                counts[mask.trailing_zeros() as usize] += 1;
            }
        }
        for count in counts.as_flattened() {
            assert!((800..1200).contains(count), "{count}: expected 1000 +- 6 standard deviations of 32");
        }
    }

    #[test]
    fn threads_that_set_bits_of_one_block_lose_none() {
        let lines: Vec<Line> = (0..20_000).map(|_| Line::default()).collect();
        let at: [std::sync::atomic::AtomicUsize; 2] = Default::default();
        std::thread::scope(|scope| {
            for me in 0..2 {
                let (lines, at) = (&lines, &at);
                let items: Vec<Probe> = (0..8).map(|item| probe(item * 2 + me as u64)).collect();
                scope.spawn(move || {
                    for (place, line) in lines.iter().enumerate() {
                        at[me].store(place, Ordering::Relaxed);
                        let mut spins = 0u32;
                        while at[1 - me].load(Ordering::Relaxed) < place {
                            // Both at the same block, or nothing is tested; but they may have one core only.
                            spins += 1;
                            if spins.is_multiple_of(1000) {
                                std::thread::yield_now()
                            } else {
                                std::hint::spin_loop()
                            }
                        }
                        items.iter().for_each(|item| assert!(item.put_in(&line.0, 16)));
                    }
                    at[me].store(usize::MAX, Ordering::Relaxed);
                });
            }
        });
        for (place, line) in lines.iter().enumerate() {
            assert!((0..16).all(|item| probe(item).is_in(&line.0, 16)), "a bit of block {place} is lost");
        }
    }

    #[test]
    fn chunks_of_one_worker_spread_over_all_blocks() {
        let mut seen = [0u32; 16];
        for hash in
            (0..40_000u64).map(|n| ChunkHash::of(&n.to_le_bytes())).filter(|hash| hash.prefix() % 4 == 3)
        {
            seen[Probe::of(&hash).block(16)] += 1;
        }
        assert!(seen.iter().all(|count| (450..800).contains(count)), "{seen:?}");
    }
}
