//! What one commit changes.

use crate::ids::{ChunkHash, ContainerId};

use super::keys::checked::CheckedRow;
use super::keys::chunk::ChunkEntry;
use super::keys::container::ContainerRow;
use super::keys::holding::Holding;
use super::keys::meta::MetaKey;
use super::keys::recipe::RecipeRow;

/// Rows to remove and rows to put. Removals happen first; of several puts under one key the last one stands.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Chunks to put.
    pub chunks: Vec<(ChunkHash, ChunkEntry)>,
    /// Container rows to put.
    pub containers: Vec<(ContainerId, ContainerRow)>,
    /// Streams to put, each under its name.
    pub recipes: Vec<RecipeRow>,
    /// Values to put.
    pub meta: Vec<(MetaKey, Vec<u8>)>,
    /// Who brought what, to put.
    pub holdings: Vec<Holding>,
    /// Chunks whose stored copy is not to be relied on, to put.
    pub suspects: Vec<ChunkHash>,
    /// What was found in which container, to put.
    pub checked: Vec<(ContainerId, CheckedRow)>,
    /// Chunks to remove.
    pub removed_chunks: Vec<ChunkHash>,
    /// Containers to remove, with what was found in them.
    pub removed_containers: Vec<ContainerId>,
    /// Names of streams to remove.
    pub removed_recipes: Vec<String>,
    /// Chunks that are suspect no more.
    pub removed_suspects: Vec<ChunkHash>,
}

impl Batch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
            && self.containers.is_empty()
            && self.recipes.is_empty()
            && self.meta.is_empty()
            && self.holdings.is_empty()
            && self.suspects.is_empty()
            && self.checked.is_empty()
            && self.removed_suspects.is_empty()
            && self.removed_chunks.is_empty()
            && self.removed_containers.is_empty()
            && self.removed_recipes.is_empty()
    }

    /// Make this batch what committing it and then `later` would do.
    pub fn append(&mut self, later: Self) {
        // Removals come first within a batch, so a row put here and removed later must not be put at all. Removals
        // are few: they are made by single operations, not by ingest.
        if !later.removed_chunks.is_empty() {
            self.chunks.retain(|(hash, _)| !later.removed_chunks.contains(hash));
        }
        if !later.removed_containers.is_empty() {
            self.containers.retain(|(id, _)| !later.removed_containers.contains(id));
            self.checked.retain(|(id, _)| !later.removed_containers.contains(id));
        }
        if !later.removed_recipes.is_empty() {
            self.recipes.retain(|row| !later.removed_recipes.contains(&row.name));
        }
        if !later.removed_suspects.is_empty() {
            self.suspects.retain(|hash| !later.removed_suspects.contains(hash));
        }
        self.removed_suspects.extend(later.removed_suspects);
        self.removed_chunks.extend(later.removed_chunks);
        self.removed_containers.extend(later.removed_containers);
        self.removed_recipes.extend(later.removed_recipes);
        self.chunks.extend(later.chunks);
        self.containers.extend(later.containers);
        self.recipes.extend(later.recipes);
        self.meta.extend(later.meta);
        self.holdings.extend(later.holdings);
        self.suspects.extend(later.suspects);
        self.checked.extend(later.checked);
    }
}
