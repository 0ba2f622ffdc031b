//! The index of the simulator: RocksDB's contract without RocksDB's threads, and with crashes on demand.
//!
//! # Model
//! Commits go to a write-ahead log. With [`Sync::EachCommit`], the contract, a commit is durable when it returns. A
//! crash keeps what is durable and, of the log's rest, some whole batches from its start, chosen by the seed.
//! [`Sync::Never`] is a planted bug: a simulation that does not notice it is blind.
//!
//! The same seed and the same calls give the same answers and the same crash images.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::ids::{ChunkHash, ContainerId, DomainTag};

use super::tables::Tables;
use super::{
    Batch, CheckedRow, ChunkEntry, ContainerRow, Holding, Index, IndexStatistics, MetaKey, RecipeRow,
};

/// When a commit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// When it returns.
    EachCommit,
    /// Nobody knows: a planted bug.
    Never,
}

/// See the module. Clones share nothing but memory that neither changes.
#[derive(Debug)]
pub struct SimulatedIndex {
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    seed: u64,
    sync: Sync,
    visible: Arc<Tables>,
    durable: Arc<Tables>,
    /// Committed or half committed, and not known to be durable.
    log: Vec<Batch>,
    statistics: IndexStatistics,
    fail_commit: Option<u64>,
    fail_locate: Option<u64>,
    locates: u64,
    poison: Option<String>,
}

impl SimulatedIndex {
    /// An empty index; `seed` decides what crashes keep.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Arc::default(), seed, Sync::EachCommit)
    }

    /// An empty index with a planted bug, or without.
    #[must_use]
    pub fn with_sync(seed: u64, sync: Sync) -> Self {
        Self::of(Arc::default(), seed, sync)
    }

    /// One that holds `rows`, durably, before any commit.
    #[must_use]
    pub fn holding(seed: u64, rows: &Batch) -> Self {
        let index = Self::new(seed);
        let mut state = index.state();
        Arc::make_mut(&mut state.visible).apply(rows);
        state.durable = Arc::clone(&state.visible);
        drop(state);
        index
    }

    fn of(tables: Arc<Tables>, seed: u64, sync: Sync) -> Self {
        let state = State {
            seed,
            sync,
            visible: Arc::clone(&tables),
            durable: tables,
            log: Vec::new(),
            statistics: IndexStatistics::default(),
            fail_commit: None,
            fail_locate: None,
            locates: 0,
            poison: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// Let commit number `commit` (from 0, counted since this index was made) fail with an unknown outcome.
    pub fn fail_commit(&self, commit: u64) {
        self.state().fail_commit = Some(commit);
    }

    /// Let lookup number `locate` (calls, from 0) fail once.
    pub fn fail_locate(&self, locate: u64) {
        self.state().fail_locate = Some(locate);
    }

    /// Commits asked for so far, failed ones included.
    #[must_use]
    pub fn commit_count(&self) -> u64 {
        self.state().statistics.commits
    }

    /// What is found after a power cut now; the seed decides about what was not durable. Takes faults away.
    #[must_use]
    pub fn crash_image(&self) -> Self {
        let state = self.state();
        let kept = mix(state.seed, state.statistics.commits) % (state.log.len() as u64 + 1);
        state.image(usize::try_from(kept).expect("it is at most the length of the log"))
    }

    /// Every image that a power cut now may leave.
    #[must_use]
    pub fn crash_images(&self) -> Vec<Self> {
        let state = self.state();
        (0..=state.log.len()).map(|kept| state.image(kept)).collect()
    }

    /// Whether both hold the same rows now.
    #[must_use]
    pub fn same_rows(&self, other: &Self) -> bool {
        let other = Arc::clone(&other.state().visible);
        *self.state().visible == *other
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables(&self) -> Result<Arc<Tables>> {
        let state = self.state();
        state.check()?;
        Ok(Arc::clone(&state.visible))
    }
}

impl Clone for SimulatedIndex {
    fn clone(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()) }
    }
}

impl State {
    fn check(&self) -> Result<()> {
        self.poison.as_ref().map_or(Ok(()), |why| Err(Error::Poisoned(why.clone())))
    }

    fn image(&self, kept: usize) -> SimulatedIndex {
        let mut tables = Arc::clone(&self.durable);
        for batch in &self.log[..kept] {
            Arc::make_mut(&mut tables).apply(batch);
        }
        SimulatedIndex::of(tables, mix(self.seed, u64::MAX), self.sync)
    }
}

impl Index for SimulatedIndex {
    fn locate(&self, hashes: &[ChunkHash], out: &mut Vec<Option<ChunkEntry>>) -> Result<()> {
        out.clear();
        let mut state = self.state();
        state.check()?;
        state.locates += 1;
        if state.fail_locate == Some(state.locates - 1) {
            return Err(Error::Index("injected: the lookup failed".to_owned()));
        }
        out.extend(hashes.iter().map(|hash| state.visible.chunks.get(hash).copied()));
        state.statistics.lookups += hashes.len() as u64;
        state.statistics.hits += out.iter().flatten().count() as u64;
        Ok(())
    }

    fn holds(&self, domain: DomainTag, hashes: &[ChunkHash], out: &mut Vec<bool>) -> Result<()> {
        let tables = self.tables()?;
        out.clear();
        out.extend(hashes.iter().map(|hash| tables.holdings.contains(&Holding { hash: *hash, domain })));
        Ok(())
    }

    fn suspects(&self) -> Result<Vec<ChunkHash>> {
        Ok(self.tables()?.suspects.iter().copied().collect())
    }

    fn checked(&self) -> Result<Vec<(ContainerId, CheckedRow)>> {
        Ok(self.tables()?.checked.iter().map(|(id, row)| (*id, *row)).collect())
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let mut state = self.state();
        state.check()?;
        let number = state.statistics.commits;
        state.statistics.commits += 1;
        if state.fail_commit == Some(number) {
            let why = "injected: the commit failed".to_owned();
            state.log.push(batch);
            state.poison = Some(why.clone());
            return Err(Error::Index(why));
        }
        state.statistics.chunks_committed += batch.chunks.len() as u64;
        Arc::make_mut(&mut state.visible).apply(&batch);
        match state.sync {
            Sync::EachCommit => Arc::make_mut(&mut state.durable).apply(&batch),
            Sync::Never => state.log.push(batch),
        }
        Ok(())
    }

    fn containers(&self) -> Result<Vec<(ContainerId, ContainerRow)>> {
        Ok(self.tables()?.containers.iter().map(|(id, row)| (*id, *row)).collect())
    }

    fn container(&self, id: ContainerId) -> Result<Option<ContainerRow>> {
        Ok(self.tables()?.containers.get(&id).copied())
    }

    fn recipes(&self) -> Result<Vec<RecipeRow>> {
        Ok(self.tables()?.recipes.values().cloned().collect())
    }

    fn recipe(&self, name: &str) -> Result<Option<RecipeRow>> {
        Ok(self.tables()?.recipes.get(name).cloned())
    }

    fn for_each_chunk(&self, visit: &mut dyn FnMut(ChunkHash, ChunkEntry) -> Result<()>) -> Result<()> {
        self.tables()?.chunks.iter().try_for_each(|(hash, entry)| visit(*hash, *entry))
    }

    fn chunk_count_estimate(&self) -> Result<u64> {
        Ok(self.tables()?.chunks.len() as u64)
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>> {
        Ok(self.tables()?.meta.get(&key).cloned())
    }

    fn statistics(&self) -> IndexStatistics {
        self.state().statistics
    }

    fn close(&self) -> Result<()> {
        let mut state = self.state();
        state.check()?;
        state.durable = Arc::clone(&state.visible);
        state.log.clear();
        state.poison = Some("the index is closed".to_owned());
        Ok(())
    }
}

/// SplitMix64's output function: spreads a seed and a counter over all bits.
fn mix(seed: u64, count: u64) -> u64 {
    let mut word = seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{batch_of, contents, locates};
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        super::super::conformance::check(&SimulatedIndex::new(1));
    }

    #[test]
    fn a_commit_survives_every_crash_after_it_returned() {
        let index = SimulatedIndex::new(1);
        index.commit(batch_of(&[1, 2])).unwrap();
        for image in index.crash_images() {
            assert!(locates(&image, 1) && locates(&image, 2));
        }
    }

    #[test]
    fn a_crash_during_a_commit_keeps_all_of_it_or_nothing() {
        let mut kept_count = 0;
        for seed in 0..100 {
            let index = SimulatedIndex::new(seed);
            index.commit(batch_of(&[1])).unwrap();
            index.fail_commit(1);
            assert!(index.commit(batch_of(&[2, 3])).is_err());
            let image = index.crash_image();
            assert!(locates(&image, 1), "seed {seed}");
            assert_eq!(locates(&image, 2), locates(&image, 3), "seed {seed}");
            assert!(image.same_rows(&index.crash_image()), "one seed, one image");
            kept_count += u32::from(locates(&image, 2));
            assert_eq!(index.crash_images().len(), 2);
        }
        assert!((20..80).contains(&kept_count), "both outcomes are common, not {kept_count} of 100");
    }

    #[test]
    fn after_a_failed_commit_everything_is_refused() {
        let index = SimulatedIndex::new(1);
        index.fail_commit(0);
        assert!(index.commit(batch_of(&[1])).is_err());
        assert!(matches!(index.commit(batch_of(&[1])), Err(Error::Poisoned(_))));
        assert!(matches!(index.locate(&[], &mut Vec::new()), Err(Error::Poisoned(_))));
        assert!(matches!(index.recipes(), Err(Error::Poisoned(_))));
        assert!(index.crash_image().recipes().is_ok(), "a reopen heals");
    }

    #[test]
    fn an_injected_lookup_failure_happens_once() {
        let index = SimulatedIndex::new(1);
        index.fail_locate(1);
        let mut out = Vec::new();
        assert!(index.locate(&[], &mut out).is_ok());
        assert!(index.locate(&[], &mut out).is_err());
        assert!(index.locate(&[], &mut out).is_ok());
    }

    #[test]
    fn the_planted_bug_loses_commits() {
        let lost = (0..100).filter(|&seed| {
            let index = SimulatedIndex::with_sync(seed, Sync::Never);
            index.commit(batch_of(&[1])).unwrap();
            index.commit(batch_of(&[2])).unwrap();
            let image = index.crash_image();
            assert!(!locates(&image, 2) || locates(&image, 1), "the log is kept from its start");
            !locates(&image, 2)
        });
        assert!(lost.count() > 20);
    }

    #[test]
    fn a_clone_is_independent() {
        let index = SimulatedIndex::new(1);
        index.commit(batch_of(&[1])).unwrap();
        let clone = index.clone();
        index.commit(batch_of(&[2])).unwrap();
        assert!(locates(&clone, 1) && !locates(&clone, 2));
        assert_ne!(contents(&clone), contents(&index));
    }
}
