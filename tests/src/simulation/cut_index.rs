//! The simulated index on the power supply of the simulated disk: a power cut ends both.

use std::sync::Arc;

use gdd_engine::error::{Error, Result};
use gdd_engine::ids::{ChunkHash, ContainerId};
use gdd_engine::index::simulated::SimulatedIndex;
use gdd_engine::index::{Batch, ChunkEntry, ContainerRow, Index, IndexStatistics, MetaKey, RecipeRow};
use gdd_uring::sim::SimDisk;

/// See the module.
pub struct CutIndex {
    index: Arc<SimulatedIndex>,
    disk: SimDisk,
}

impl CutIndex {
    /// `index`, which works as long as `disk` does.
    #[must_use]
    pub fn new(index: Arc<SimulatedIndex>, disk: SimDisk) -> Self {
        Self { index, disk }
    }
}

impl Index for CutIndex {
    fn locate(&self, hashes: &[ChunkHash], out: &mut Vec<Option<ChunkEntry>>) -> Result<()> {
        self.index.locate(hashes, out)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        if self.disk.is_dead() {
            return Err(Error::Index("the power is cut".to_owned()));
        }
        self.index.commit(batch)
    }

    fn containers(&self) -> Result<Vec<(ContainerId, ContainerRow)>> {
        self.index.containers()
    }

    fn container(&self, id: ContainerId) -> Result<Option<ContainerRow>> {
        self.index.container(id)
    }

    fn recipes(&self) -> Result<Vec<RecipeRow>> {
        self.index.recipes()
    }

    fn recipe(&self, name: &str) -> Result<Option<RecipeRow>> {
        self.index.recipe(name)
    }

    fn for_each_chunk(&self, visit: &mut dyn FnMut(ChunkHash, ChunkEntry) -> Result<()>) -> Result<()> {
        self.index.for_each_chunk(visit)
    }

    fn chunk_count_estimate(&self) -> Result<u64> {
        self.index.chunk_count_estimate()
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>> {
        self.index.meta(key)
    }

    fn statistics(&self) -> IndexStatistics {
        self.index.statistics()
    }

    fn close(&self) -> Result<()> {
        self.index.close()
    }
}
