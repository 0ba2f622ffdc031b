//! Data that is the same on every machine and in every run: a function of a seed.

use gdd_engine::ids::ChunkHash;
use gdd_kernels::Params;

const KIB: u32 = 1 << 10;

/// Chunk sizes that are measured, each with its name: the default, and what suits large files that change little.
#[must_use]
pub fn chunk_sizes() -> [(&'static str, Params); 2] {
    let large = Params { min: 16 * KIB, avg: 64 * KIB, max: 256 * KIB };
    [("4-16-64 KiB", Params::default()), ("16-64-256 KiB", large)]
}

/// One number of the sequence of `seed` (splitmix64, Steele et al. 2014): well mixed, and quick to make.
#[must_use]
pub fn number(seed: u64, place: u64) -> u64 {
    let state = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Bytes that nothing can compress or deduplicate.
#[must_use]
pub fn random(seed: u64, size: usize) -> Vec<u8> {
    let mut data = vec![0; size.next_multiple_of(8)];
    for (word, place) in data.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *word = number(seed, place).to_le_bytes();
    }
    data.truncate(size);
    data
}

/// Hash number `place`: spread evenly, as BLAKE3's are, without hashing anything. Distinct from all others.
#[must_use]
pub fn hash(place: u64) -> ChunkHash {
    let mut hash = ChunkHash([0; 32]);
    for (word, part) in hash.0.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *word = number(place, part).to_le_bytes();
    }
    hash
}

/// Hashes number `first..first + count`.
#[must_use]
pub fn hashes(first: u64, count: usize) -> Vec<ChunkHash> {
    (first..).take(count).map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_seed_names_its_bytes() {
        assert_eq!(random(1, 1001), random(1, 1001));
        assert_eq!(random(1, 1001)[..500], random(1, 500));
        assert_ne!(random(1, 1001), random(2, 1001));
    }

    #[test]
    fn hashes_are_distinct() {
        let words: HashSet<u64> = hashes(5, 10_000).iter().map(ChunkHash::prefix).collect();
        assert_eq!(words.len(), 10_000);
    }
}
