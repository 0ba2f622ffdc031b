//! A check beside streams that are stored, restored and removed, and a vacuum.
//!
//! What would be found falsely, and how it is told apart:
//! - A container that the vacuum frees while it is read: each is read under a reading visit, and the vacuum waits for
//!   those.
//! - Chunks and streams that come while the check goes on: the index is read as of one moment, and what it names is
//!   durable. Containers that are not full are checked as far as that, and those that came later not at all.
//! - A stream that is removed while its recipe is read, or its chunks are looked up: what is found about a stream
//!   counts only if the stream is still there afterwards, because its row goes first.
//! - A chunk that was found bad, and is stored again meanwhile: it is not where it was, so it is not called lost.
//!
//! Left out is what only a store at rest can tell: files that belong to nothing, streams that were not finished, and
//! whether the index lacks nothing of what the directories list. The last is seen for every chunk that a stream needs.

use std::collections::{BTreeMap, HashMap};

use gdd_uring::io::Open;

use super::containers::Found;
use super::{Check, Part};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::footer::DirectoryEntry;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{ChunkEntry, ContainerRow, RecipeRow, RecipeState, Status};
use crate::visits::Purpose;

impl Check<'_> {
    /// The containers that there are when it begins.
    pub(super) fn containers_beside(&mut self, core: &Core) -> Result<()> {
        let rows = self.index.containers()?;
        self.total = (self.level >= 2).then(|| rows.iter().map(|(_, row)| row.durable_len).sum());
        let (mut pointed_here, mut without_directory) = (HashMap::new(), Vec::new());
        for (id, _) in rows {
            self.demand_time()?;
            let _visit = core.visits.begin(Purpose::Reading);
            let Some(row) = core.readable(id)? else { continue };
            self.report.containers += 1;
            if !self.is_present(id, &row)? {
                without_directory.push(id);
                continue;
            }
            if self.level == 0 {
                continue;
            }
            let mut found = Found { id, row, entries: None };
            self.look_at(&mut found)?;
            match found.entries {
                Some(entries) => {
                    pointed_here.insert(id, self.agree_with_index(id, &entries)?);
                    self.records(id, &row, &entries)?;
                }
                None => without_directory.push(id),
            }
        }
        if self.level > 0 {
            self.index_beside(core, &without_directory, &pointed_here)?;
        }
        Ok(())
    }

    /// Whether the file is there, and as long as the index says.
    fn is_present(&mut self, id: ContainerId, row: &ContainerRow) -> Result<bool> {
        let path = self.paths.container(id);
        let len = match self.io.open(&path, Open::Read) {
            Ok(file) => {
                let len = self.io.size(file);
                self.io.close(file);
                len.map_err(Error::io("read the length of", &path))?
            }
            Err(error) => {
                self.report.damage(Part::Container, &path, 0, format!("cannot be opened: {error}"));
                return Ok(false);
            }
        };
        if len < row.durable_len {
            let what = format!("truncated: expected at least {} bytes, found {len}", row.durable_len);
            self.report.damage(Part::Container, &path, len, what);
        }
        Ok(len >= row.durable_len)
    }

    /// The index's entries as of one moment: those in containers without a good directory are checked one by one; of
    /// the others there may be fewer than when the directory was read, and never more.
    fn index_beside(
        &mut self,
        core: &Core,
        without_directory: &[ContainerId],
        pointed_here: &HashMap<ContainerId, u64>,
    ) -> Result<()> {
        let _visit = core.visits.begin(Purpose::Reading);
        let mut grouped: BTreeMap<ContainerId, (ContainerRow, Vec<DirectoryEntry>)> = BTreeMap::new();
        for id in without_directory {
            if let Some(row) = core.readable(*id)? {
                grouped.insert(*id, (row, Vec::new()));
            }
        }
        let mut counts: HashMap<ContainerId, u64> = HashMap::new();
        self.index.for_each_chunk(&mut |hash, entry| {
            if entry.status == Status::Corrupted {
                self.report.bad_chunk(hash, "marked as corrupted".to_owned());
            }
            match grouped.get_mut(&entry.container) {
                Some((_, entries)) => entries.push(entry.directory_entry(hash)),
                None => *counts.entry(entry.container).or_default() += 1,
            }
            Ok(())
        })?;
        for (id, (row, mut entries)) in grouped {
            self.demand_time()?;
            entries.sort_by_key(|entry| entry.offset);
            self.records(id, &row, &entries)?;
        }
        for (id, count) in counts {
            let listed = pointed_here.get(&id).copied();
            let is_lost = match listed {
                Some(listed) => count > listed,
                // One that came later, or that the vacuum has emptied, is no finding.
                None => self.index.container(id)?.is_none() && !core.leaving.has(id),
            };
            if is_lost {
                let what = format!(
                    "{count} index entries point into container {id}, which has {} of them; stop gdd, then run \
                     `gdd rebuild-index`",
                    listed.unwrap_or(0)
                );
                self.report.damage(Part::Index, &self.paths.index(), 0, what);
            }
        }
        Ok(())
    }

    /// Whether a stream was removed since its row was read. Its row says so before anything of it goes.
    pub(super) fn is_gone(&self, row: &RecipeRow) -> Result<bool> {
        if self.beside.is_none() {
            return Ok(false);
        }
        let now = self.index.recipe(&row.name)?;
        Ok(now.is_none_or(|now| now.recipe != row.recipe || now.state != RecipeState::Live))
    }

    /// Whether the copy of the chunk that the index names now is one that was found bad.
    pub(super) fn is_bad(&self, hash: ChunkHash, now: &ChunkEntry) -> bool {
        let elsewhere = self.places.get(&hash).is_some_and(|place| *place != (now.container, now.offset));
        self.report.bad.contains_key(&hash) && !elsewhere
    }

    /// Go on, unless somebody said to stop.
    pub(super) fn demand_time(&mut self) -> Result<()> {
        let go_on = self.beside.as_mut().is_none_or(|beside| (beside.go_on)());
        if go_on { Ok(()) } else { Err(Error::Cancelled) }
    }
}
