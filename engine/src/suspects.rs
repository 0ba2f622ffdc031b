//! Chunks that could not be given back: until they are stored again, they count as unknown.
//!
//! Without this, the next backup of data whose only copy has rotted would find it "known", store nothing, and succeed.
//! The suspicion is written down in the index, so that it outlives the process; it goes with the commit that makes the
//! new copy durable. `gdd fsck`, which reads everything, does not depend on it, and neither does what a restore says.
//!
//! A chunk that is stored again lies in two containers, and the directory of the first lists it still. If that were
//! believed, the chunk would count as known when the vacuum has freed the second. So that there may be two copies is
//! written down first, as in [`crate::ingest::rewrite`]: from then on directories are compared with the index.
//!
//! # Invariants
//! - No chunk is suspect before the flag is raised, here and in the index.
//! - A chunk that is stored again is unsuspected here before its new copy is durable, and in the index not before.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::Result;
use crate::ids::ChunkHash;
use crate::index::{Batch, Index, MetaKey};

/// Shared by all that read and write one open store.
#[derive(Clone, Default)]
pub struct Suspects(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Where they are written down; not, in a store that is open for reading only.
    index: Option<Arc<dyn Index>>,
    /// Whether there are any: the usual answer costs one load.
    any: AtomicBool,
    chunks: RwLock<HashSet<ChunkHash>>,
    /// Whether chunks may lie in two containers; partner: [`crate::shard::known`].
    twice: AtomicBool,
}

impl Suspects {
    /// Those that were written down in `index`, and the ones to come.
    ///
    /// # Errors
    /// The index failed.
    pub fn of(index: Arc<dyn Index>) -> Result<Self> {
        let chunks: HashSet<ChunkHash> = index.suspects()?.into_iter().collect();
        let any = AtomicBool::new(!chunks.is_empty());
        let twice = AtomicBool::new(may_be_twice(index.as_ref())?);
        Ok(Self(Arc::new(Inner { index: Some(index), any, chunks: RwLock::new(chunks), twice })))
    }

    /// Those that were written down in `index`; the ones to come are not.
    ///
    /// # Errors
    /// The index failed.
    pub fn known_to(index: &dyn Index) -> Result<Self> {
        let chunks: HashSet<ChunkHash> = index.suspects()?.into_iter().collect();
        let any = AtomicBool::new(!chunks.is_empty());
        let twice = AtomicBool::new(may_be_twice(index)?);
        Ok(Self(Arc::new(Inner { index: None, any, chunks: RwLock::new(chunks), twice })))
    }

    /// A chunk could not be given back. It counts as unknown from here on, and after the next opening.
    pub fn note(&self, hash: ChunkHash) {
        // Whoever asked for the chunk hears an error that says why.
        if let Err(error) = self.note_all(vec![hash]) {
            tracing::warn!("that chunk {hash} is suspect was not written down: {error}");
        }
    }

    /// The same of several, in one commit.
    ///
    /// # Errors
    /// They count as unknown in this opening; the index could not write it down for the next.
    pub fn note_all(&self, mut hashes: Vec<ChunkHash>) -> Result<()> {
        let raised = self.raise();
        let mut chunks = self.0.chunks.write().unwrap_or_else(PoisonError::into_inner);
        hashes.retain(|hash| chunks.insert(*hash));
        drop(chunks);
        if hashes.is_empty() {
            return raised;
        }
        self.0.any.store(true, Ordering::Release);
        for hash in &hashes {
            tracing::info!("chunk {hash} cannot be given back; it is stored again when it comes again");
        }
        let Some(index) = &self.0.index else { return raised };
        raised.and_then(|()| index.commit(Batch { suspects: hashes, ..Batch::default() }))
    }

    /// What is stored may be stored again, beside what there is of it: no directory is believed from here on without
    /// the index.
    ///
    /// # Errors
    /// None is believed in this opening; the index could not write it down for the next.
    pub fn raise(&self) -> Result<()> {
        if self.twice() {
            return Ok(());
        }
        let noted = self
            .0
            .index
            .as_ref()
            .map_or(Ok(()), |index| index.commit(Batch { meta: vec![mark(true)], ..Batch::default() }));
        self.0.twice.store(true, Ordering::Release);
        noted
    }

    /// All of them, in no order.
    #[must_use]
    pub fn list(&self) -> HashSet<ChunkHash> {
        self.0.chunks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether chunks may lie in two containers, of which the index names one.
    #[must_use]
    pub fn twice(&self) -> bool {
        self.0.twice.load(Ordering::Acquire)
    }

    /// Whether it could not.
    #[must_use]
    pub fn has(&self, hash: &ChunkHash) -> bool {
        self.0.any.load(Ordering::Acquire)
            && self.0.chunks.read().unwrap_or_else(PoisonError::into_inner).contains(hash)
    }

    /// It was stored again; whether it was suspect.
    pub fn clear(&self, hash: &ChunkHash) -> bool {
        self.has(hash) && self.0.chunks.write().unwrap_or_else(PoisonError::into_inner).remove(hash)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.chunks.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Whether chunks may lie in two containers, as `index` says. One that does not say is of a gdd that did not note it.
///
/// # Errors
/// The index failed.
pub fn may_be_twice(index: &dyn Index) -> Result<bool> {
    Ok(index.meta(MetaKey::Twice)? != Some(mark(false).1))
}

/// The row that says so, or that none does, as in a new store.
#[must_use]
pub fn mark(twice: bool) -> (MetaKey, Vec<u8>) {
    (MetaKey::Twice, vec![u8::from(twice)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_does_not_say_may_have_chunks_twice() {
        let index = crate::index::simulated::SimulatedIndex::new(1);
        assert!(may_be_twice(&index).unwrap());
        for twice in [false, true] {
            index.commit(Batch { meta: vec![mark(twice)], ..Batch::default() }).unwrap();
            assert_eq!(may_be_twice(&index).unwrap(), twice);
        }
    }

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
