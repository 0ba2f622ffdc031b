//! What a domain that sees only its own chunks may be told to be known: what somebody of it has brought.
//!
//! # Invariants
//! - A chunk counts as brought when its bytes came and hashed to its name, not when somebody named it.
//! - A chunk that the domain has not brought is not even asked for: neither an answer nor the time that it takes says
//!   whether the store has it.

use std::collections::HashSet;
use std::sync::Arc;

use super::front::StreamChunk;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{ChunkHash, DomainTag};
use crate::index::{Batch, Holding};

/// Chunks that are remembered before they are written to the index: a commit of 0.75 MB.
const FRESH_MAX: usize = 1 << 14;

/// See the module. One for each stream; the rows are the domain's.
pub(super) struct Holder {
    core: Arc<Core>,
    domain: DomainTag,
    /// Brought and not in the index yet. The hashes are of bytes that came, so nobody chooses them freely.
    fresh: HashSet<ChunkHash>,
    held: Vec<bool>,
}

impl Holder {
    pub fn new(core: Arc<Core>, domain: DomainTag) -> Self {
        Self { core, domain, fresh: HashSet::new(), held: Vec::new() }
    }

    /// For each of `chunks`, whether the domain has brought it.
    pub fn has(&mut self, chunks: &[StreamChunk]) -> Result<Vec<bool>> {
        let hashes: Vec<ChunkHash> = chunks.iter().map(|chunk| chunk.hash).collect();
        self.core.index.holds(self.domain, &hashes, &mut self.held)?;
        let pairs = hashes.iter().zip(&self.held);
        Ok(pairs.map(|(hash, held)| *held || self.fresh.contains(hash)).collect())
    }

    /// The domain has brought `hash`.
    pub fn add(&mut self, hash: ChunkHash) -> Result<()> {
        self.fresh.insert(hash);
        if self.fresh.len() < FRESH_MAX { Ok(()) } else { self.save() }
    }

    /// Write what is not written.
    pub fn save(&mut self) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let domain = self.domain;
        let holdings = self.fresh.drain().map(|hash| Holding { hash, domain }).collect();
        let batch = Batch { holdings, ..Batch::default() };
        self.core.index.commit(batch).inspect_err(|error| self.core.poison.set(error))
    }
}
