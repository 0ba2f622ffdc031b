//! A group commit of one worker: writes complete -> data sync -> index commit -> waiters hear "durable".
//!
//! The order is the whole point. Each stage starts only when the one before has completed for everything in the round;
//! nothing is linked or overlapped. Appending goes on meanwhile, into the next round.

use gdd_uring::io::FileId;

use crate::ids::{ChunkHash, ContainerId};
use crate::index::{Batch, ChunkEntry, ContainerRow};
use crate::planted::{self, Bug};

use super::append::{Retired, RoundPlan};

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for its writes.
    Writing,
    /// Waiting for its data syncs.
    Syncing,
    /// Waiting for the index.
    Committing,
}

/// See the module.
#[derive(Debug)]
pub struct Round {
    number: u64,
    stage: Stage,
    writes_left: usize,
    syncs_left: usize,
    files: Vec<FileId>,
    rows: Vec<(ContainerId, ContainerRow)>,
    /// Sealed containers, to be closed at the end.
    pub retired: Vec<Retired>,
    /// Chunks that become durable with this round.
    pub entries: Vec<(ChunkHash, ChunkEntry)>,
    /// Of those, chunks whose old copy is suspect.
    healed: Vec<ChunkHash>,
    /// Streams that wait for it.
    pub waiters: Vec<u64>,
}

impl Round {
    /// A round over everything appended so far, of which `writes_in_flight` writes are not complete.
    #[must_use]
    pub fn new(
        plan: RoundPlan,
        writes_in_flight: usize,
        entries: Vec<(ChunkHash, ChunkEntry)>,
        healed: Vec<ChunkHash>,
        waiters: Vec<u64>,
    ) -> Self {
        Self {
            number: plan.number,
            stage: Stage::Writing,
            writes_left: writes_in_flight,
            syncs_left: 0,
            files: plan.files,
            rows: plan.rows,
            retired: plan.retired,
            entries,
            healed,
            waiters,
        }
    }

    /// A write of round `number` completed.
    pub fn write_done(&mut self, number: u64) {
        if number <= self.number {
            let early = planted::has(Bug::IndexBeforeData);
            assert!(self.stage == Stage::Writing || early, "a sync starts only after its writes");
            self.writes_left -= 1;
        }
    }

    /// A data sync completed.
    pub fn sync_done(&mut self) {
        assert_eq!(self.stage, Stage::Syncing, "a sync completes while its round waits for it");
        self.syncs_left -= 1;
    }

    /// The files to sync, once every write of the round is complete.
    pub fn start_sync(&mut self) -> Option<Vec<FileId>> {
        let early = planted::has(Bug::IndexBeforeData);
        if self.stage != Stage::Writing || (self.writes_left > 0 && !early) {
            return None;
        }
        if early || planted::has(Bug::AckBeforeSync) {
            self.files.clear();
        }
        self.stage = Stage::Syncing;
        self.syncs_left = self.files.len();
        Some(std::mem::take(&mut self.files))
    }

    /// What to commit to the index, once every sync of the round is complete.
    pub fn start_commit(&mut self) -> Option<Batch> {
        if self.stage != Stage::Syncing || self.syncs_left > 0 {
            return None;
        }
        self.stage = Stage::Committing;
        Some(Batch {
            chunks: self.entries.clone(),
            containers: std::mem::take(&mut self.rows),
            removed_suspects: std::mem::take(&mut self.healed),
            ..Batch::default()
        })
    }
}
