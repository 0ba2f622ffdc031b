//! Chunks that could not be given back: until they are stored again, they count as unknown.
//!
//! Without this, the next backup of data whose only copy has rotted would find it "known", store nothing, and succeed.
//! The suspicion is this process's: `gdd fsck`, which reads everything, does not depend on it, and neither does what a
//! restore says.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::ChunkHash;

/// Shared by all that read and write one open store.
#[derive(Clone, Debug, Default)]
pub struct Suspects(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether there are any: the usual answer costs one load.
    any: AtomicBool,
    chunks: RwLock<HashSet<ChunkHash>>,
}

impl Suspects {
    /// A chunk could not be given back.
    pub fn note(&self, hash: ChunkHash) {
        if self.0.chunks.write().unwrap_or_else(PoisonError::into_inner).insert(hash) {
            tracing::info!("chunk {hash} cannot be given back; it is stored again when it comes again");
        }
        self.0.any.store(true, Ordering::Release);
    }

    /// Whether it could not.
    #[must_use]
    pub fn has(&self, hash: &ChunkHash) -> bool {
        self.0.any.load(Ordering::Acquire)
            && self.0.chunks.read().unwrap_or_else(PoisonError::into_inner).contains(hash)
    }

    /// It was stored again.
    pub fn clear(&self, hash: &ChunkHash) {
        if self.has(hash) {
            self.0.chunks.write().unwrap_or_else(PoisonError::into_inner).remove(hash);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.chunks.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_suspect_until_they_are_stored_again() {
        let (suspects, hash) = (Suspects::default(), ChunkHash::of(b"rotten"));
        assert!(!suspects.has(&hash));
        suspects.note(hash);
        assert!(suspects.has(&hash) && !suspects.has(&ChunkHash::of(b"good")));
        assert_eq!(suspects.clone().count(), 1);
        suspects.clear(&hash);
        assert!(!suspects.has(&hash) && suspects.count() == 0);
    }
}
