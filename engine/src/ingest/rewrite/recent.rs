//! Chunks that the stream had a moment ago: a restore has them in its cache, wherever they lie.

use std::collections::HashSet;

use crate::ids::{ChunkHash, WordHashed};

/// Chunks of a generation; two are remembered. At 16 KiB, 64 MiB each: a quarter of the segments that a restore keeps
/// by default.
const GENERATION: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    now: HashSet<ChunkHash, WordHashed>,
    before: HashSet<ChunkHash, WordHashed>,
}

impl Recent {
    /// Whether the stream had the chunk lately. It has it now.
    pub(super) fn has_or_add(&mut self, hash: &ChunkHash) -> bool {
        if self.now.contains(hash) {
            return true;
        }
        if self.now.len() >= GENERATION {
            self.before = std::mem::take(&mut self.now);
        }
        self.now.insert(*hash);
        self.before.contains(hash)
    }
}
