//! Scrub: reads every container from end to end and checks all that it says of itself, so that rot is found while the
//! data can still be had elsewhere.
//!
//! ```text
//! containers, least recently checked first -> header, footer -> every record: header, CRC-32, BLAKE3
//! -> what is bad and needed: written down as suspect -> the container: written down as checked
//! last: both copies of every recipe
//! ```
//!
//! A suspect chunk counts as unknown from then on, so the next backup of the same data stores it anew, which heals
//! every stream that needs it. A damaged copy of a recipe is written anew from the other one. Nothing else is repaired
//! or removed here: the damaged container stays as evidence.
//!
//! # Invariants
//! - What is written down survives a crash before the next container is begun: a run goes on where the last one ended.
//! - Damage is never an error of the run; a failure that says nothing about the data (no memory, no descriptors) is
//!   one, and marks nothing.

pub mod blame;
mod recipes;
mod report;
mod sweep;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gdd_uring::io::Io;

use crate::core::{Alone, Core};
use crate::error::{Error, Result};
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{Batch, CheckedRow, ContainerRow, ContainerState, MetaKey};
use crate::pace::{Pace, Rest};
use crate::progress::Progress;
pub use report::{BadChunk, ScrubReport};

/// How much, and how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes a second, at most, that are read; none is no limit.
    pub rate: Option<u64>,
    /// Leave out what was checked within this time.
    pub older_than: Duration,
}

/// Who runs it: whom it tells, and who may stop it.
pub struct Caller<'a> {
    /// Hears how far it is.
    pub progress: &'a mut dyn FnMut(Progress),
    /// Waits, and says when to stop.
    pub rest: &'a mut Rest<'a>,
}

/// One run.
struct Scrub<'a> {
    core: &'a Core,
    io: Box<dyn Io>,
    progress: &'a mut dyn FnMut(Progress),
    pace: Pace<'a>,
    report: ScrubReport,
    total: u64,
    /// Containers whose directory cannot be read: the index says what should be in them.
    without_directory: HashMap<ContainerId, (ContainerRow, String)>,
}

/// Check all containers that are due. Told to stop, it says so in its report; the next run goes on from there.
///
/// # Errors
/// Another run is on its way, or something failed that says nothing about the data.
pub fn run(core: &Core, options: &ScrubOptions, caller: Caller<'_>) -> Result<ScrubReport> {
    core.poison.check()?;
    let _alone = Alone::begin(&core.scrubbing, "a scrub")?;
    let started = Instant::now();
    let mut scrub = Scrub {
        core,
        io: core.open_io()?,
        progress: caller.progress,
        pace: Pace::new(options.rate, caller.rest),
        report: ScrubReport::default(),
        total: 0,
        without_directory: HashMap::new(),
    };
    match scrub.pass(options.older_than.as_secs()) {
        Err(Error::Cancelled) => scrub.report.cancelled = true,
        other => other?,
    }
    scrub.report.chunks_suspect = core.suspects.count() as u64;
    scrub.report.seconds = started.elapsed().as_secs_f64();
    Ok(scrub.report)
}

impl Scrub<'_> {
    fn pass(&mut self, older_than: u64) -> Result<()> {
        let due = self.due(older_than)?;
        self.total = due.iter().map(|(_, row)| row.durable_len).sum();
        self.tell();
        for (id, _) in due {
            self.pace.check()?;
            self.container(id)?;
            self.tell();
        }
        self.by_index()?;
        self.recipes()?;
        let now = self.core.unix_seconds().to_le_bytes().to_vec();
        let marked = self.core.index.meta(MetaKey::Unchecked)?.is_some_and(|mark| !mark.is_empty());
        let all = marked.then(|| (MetaKey::Unchecked, Vec::new()));
        let meta = [(MetaKey::Scrubbed, now)].into_iter().chain(all);
        self.commit(Batch { meta: meta.collect(), ..Batch::default() })?;
        self.core.unchecked.clear();
        Ok(())
    }

    /// Containers to check, those first that were never checked or longest ago.
    fn due(&mut self, older_than: u64) -> Result<Vec<(ContainerId, ContainerRow)>> {
        let checked: HashMap<ContainerId, CheckedRow> = self.core.index.checked()?.into_iter().collect();
        let when = |id: &ContainerId| checked.get(id).map_or(0, |row| row.unix);
        let now = self.core.unix_seconds();
        let mut due = self.core.index.containers()?;
        due.retain(|(id, row)| match row.state {
            ContainerState::Free => false,
            ContainerState::Quarantined => {
                self.report.containers_quarantined += 1;
                false
            }
            // One that was checked after now was so by a clock that ran ahead.
            _ if (1..=now).contains(&when(id)) && when(id).saturating_add(older_than) > now => {
                self.report.containers_recent += 1;
                false
            }
            _ => true,
        });
        due.sort_by_key(|(id, _)| (when(id), *id));
        Ok(due)
    }

    /// What was found in a container, durably: first what it means for the chunks, then that it was checked.
    fn note(&mut self, id: ContainerId, bad: Vec<ChunkHash>, wrong: u64) -> Result<()> {
        self.core.suspects.note_all(bad).inspect_err(|error| self.core.poison.set(error))?;
        let row =
            CheckedRow { unix: self.core.unix_seconds(), bad: u32::try_from(wrong).unwrap_or(u32::MAX) };
        self.report.containers += 1;
        if wrong > 0 {
            self.report.containers_damaged += 1;
            self.core.note_damaged(id);
        }
        self.commit(Batch { checked: vec![(id, row)], ..Batch::default() })?;
        self.core.unchecked.checked(id);
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.core.poison.check()?;
        self.core.index.commit(batch).inspect_err(|error| self.core.poison.set(error))
    }

    fn tell(&mut self) {
        let done = self.report.bytes_read.min(self.total);
        (self.progress)(Progress { stage: "scrub", done, total: Some(self.total) });
    }
}
