//! The simulated index on the power supply of the simulated disk: a power cut ends both, also in the middle of a
//! commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gdd_engine::error::{Error, Result};
use gdd_engine::ids::{ChunkHash, ContainerId, DomainTag};
use gdd_engine::index::simulated::SimulatedIndex;
use gdd_engine::index::{
    Batch, CheckedRow, ChunkEntry, ContainerRow, Index, IndexStatistics, MetaKey, RecipeRow,
};
use gdd_uring::sim::SimDisk;

/// See the module.
pub struct CutIndex {
    index: Arc<SimulatedIndex>,
    disk: SimDisk,
    /// The commit that finds the power gone, counted as [`SimulatedIndex::commit_count`] does.
    cut_at: AtomicU64,
}

impl CutIndex {
    /// `index`, which works as long as `disk` does.
    #[must_use]
    pub fn new(index: Arc<SimulatedIndex>, disk: SimDisk) -> Self {
        Self { index, disk, cut_at: AtomicU64::new(u64::MAX) }
    }

    /// Cut the power in the middle of commit number `commit`: whether it counts, the crash image decides.
    pub fn cut_at(&self, commit: u64) {
        self.cut_at.store(commit, Ordering::Relaxed); // One thread runs a simulation.
    }
}

impl Index for CutIndex {
    fn locate(&self, hashes: &[ChunkHash], out: &mut Vec<Option<ChunkEntry>>) -> Result<()> {
        self.index.locate(hashes, out)
    }

    fn holds(&self, domain: DomainTag, hashes: &[ChunkHash], out: &mut Vec<bool>) -> Result<()> {
        self.index.holds(domain, hashes, out)
    }

    fn suspects(&self) -> Result<Vec<ChunkHash>> {
        self.index.suspects()
    }

    fn checked(&self) -> Result<Vec<(ContainerId, CheckedRow)>> {
        self.index.checked()
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        if self.disk.is_dead() {
            return Err(Error::Index("the power is cut".to_owned()));
        }
        let number = self.index.commit_count();
        if number >= self.cut_at.load(Ordering::Relaxed) {
            self.index.fail_commit(number);
            self.disk.cut_power();
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
