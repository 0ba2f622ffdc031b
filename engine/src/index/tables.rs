//! The index's contents in memory: what the simulated index holds, and what every index must equal.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChunkHash, ContainerId};

use super::{Batch, CheckedRow, ChunkEntry, ContainerRow, Holding, MetaKey, RecipeRow};

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    pub chunks: BTreeMap<ChunkHash, ChunkEntry>,
    pub containers: BTreeMap<ContainerId, ContainerRow>,
    pub recipes: BTreeMap<String, RecipeRow>,
    pub meta: BTreeMap<MetaKey, Vec<u8>>,
    pub holdings: BTreeSet<Holding>,
    pub suspects: BTreeSet<ChunkHash>,
    pub checked: BTreeMap<ContainerId, CheckedRow>,
}

impl Tables {
    /// Remove, then put.
    pub fn apply(&mut self, batch: &Batch) {
        for hash in &batch.removed_chunks {
            self.chunks.remove(hash);
        }
        for id in &batch.removed_containers {
            self.containers.remove(id);
            self.checked.remove(id);
        }
        for name in &batch.removed_recipes {
            self.recipes.remove(name);
        }
        for hash in &batch.removed_suspects {
            self.suspects.remove(hash);
        }
        self.chunks.extend(batch.chunks.iter().copied());
        self.containers.extend(batch.containers.iter().copied());
        self.recipes.extend(batch.recipes.iter().map(|row| (row.name.clone(), row.clone())));
        self.meta.extend(batch.meta.iter().cloned());
        self.holdings.extend(batch.holdings.iter().copied());
        self.suspects.extend(batch.suspects.iter().copied());
        self.checked.extend(batch.checked.iter().copied());
    }
}
