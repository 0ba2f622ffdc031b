//! A set of chunks that says "perhaps" too often and "no" never wrongly: what the vacuum marks as needed.
//!
//! One block a chunk, as in the filters (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters",
//! 2007): 16 bits a chunk, of which 8 are set. About one chunk in a thousand that nobody needs is kept for nothing;
//! none that somebody needs is missed.

use super::block::{BLOCK_BYTES, Line, Probe};
use crate::ids::ChunkHash;

/// Bytes for each chunk.
const BYTES_PER_CHUNK: usize = 2;
/// Bits set for each.
const PROBES: u32 = 8;

/// See the module.
pub struct ChunkSet {
    lines: Vec<Line>,
}

impl ChunkSet {
    /// An empty set with room for `chunks`. More may be put in; then it says "perhaps" more often.
    #[must_use]
    pub fn new(chunks: u64) -> Self {
        let chunks = usize::try_from(chunks).unwrap_or(usize::MAX / BYTES_PER_CHUNK);
        let lines = (chunks * BYTES_PER_CHUNK).div_ceil(BLOCK_BYTES).max(1);
        Self { lines: std::iter::repeat_with(Line::default).take(lines).collect() }
    }

    /// Put a chunk in.
    pub fn insert(&self, hash: &ChunkHash) {
        let probe = Probe::of(hash);
        probe.put_in(&self.lines[probe.block(self.lines.len())].0, PROBES);
    }

    /// Whether it may have been put in.
    #[must_use]
    pub fn may_have(&self, hash: &ChunkHash) -> bool {
        let probe = Probe::of(hash);
        probe.is_in(&self.lines[probe.block(self.lines.len())].0, PROBES)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        (self.lines.len() * BLOCK_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_nothing_and_seldom_errs() {
        let set = ChunkSet::new(20_000);
        let hash = |number: u32| ChunkHash::of(&number.to_le_bytes());
        (0..20_000).for_each(|number| set.insert(&hash(number)));
        assert!((0..20_000).all(|number| set.may_have(&hash(number))));
        let wrong = (20_000..120_000).filter(|number| set.may_have(&hash(*number))).count();
        assert!(wrong < 400, "{wrong} of 100 000: expected about 100");
        assert_eq!(set.memory_bytes(), 40_000);
    }

    #[test]
    fn an_empty_one_has_nothing() {
        assert!(!ChunkSet::new(0).may_have(&ChunkHash::of(b"x")));
    }
}
