//! Containers: what their directories list, and where those are lost, what a walk and a search from record to record
//! find.
//!
//! A place that cannot be read is damage of that place, as wrong bytes are. Only what says nothing about the data (no
//! descriptors, no memory, no rights) ends the rebuild.

use std::collections::BTreeSet;
use std::path::Path;

use gdd_uring::io::{self, FileId, Open};

use super::{Marks, Rebuild};
use crate::container::{salvage, scan, tail};
use crate::error::{Error, Result};
use crate::format::container::ContainerHeader;
use crate::format::footer::DirectoryEntry;
use crate::format::{HEADER_SIZE, Place};
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{Batch, CheckedRow, ChunkEntry, ContainerRow, ContainerState, Index};
use crate::paths;
use crate::progress::Progress;

/// Chunks that are looked up and taken over at once.
const TAKEN_OVER: usize = 1024;

impl Rebuild<'_> {
    pub(super) fn containers(&mut self) -> Result<()> {
        let directory = self.paths.containers();
        let entries = self.io.list(&directory).map_err(Error::io("list", &directory))?;
        self.total = entries.iter().map(|entry| entry.size).sum();
        let mut there = BTreeSet::new();
        // By id, so oldest first.
        for entry in entries {
            let Some(id) = paths::container_of(&entry.name) else { continue };
            there.insert(id);
            match self.container(id, entry.size) {
                Ok(()) => {}
                Err(error) if error.is_loss() => {
                    self.rebuilt.notes.push(format!("left out: {error}"));
                    self.leave_out(id, entry.size)?;
                }
                Err(error) => return Err(error),
            }
            self.rebuilt.bytes += entry.size;
            let (done, total) = (self.rebuilt.bytes, Some(self.total));
            (self.progress)(Progress { stage: "read", done, total });
        }
        self.rebuilt.containers_unreadable = self.unsure.len() as u64;
        self.missing(&there)
    }

    /// Containers that the old index knows and that have no file: what it knows of them stays known, so that a scrub
    /// says what is lost, and whom it concerns.
    fn missing(&mut self, there: &BTreeSet<ContainerId>) -> Result<()> {
        let filled = self.marks.iter().flat_map(Marks::filled);
        let missing: Vec<_> = filled.filter(|(id, _)| !there.contains(id)).collect();
        for (id, row) in missing {
            let path = self.paths.container(id);
            self.rebuilt.notes.push(format!(
                "container {} is missing: `gdd scrub` says which streams need what it had, if any do",
                path.display()
            ));
            self.rebuilt.containers_missing += 1;
            self.unsure.insert(id);
            let checked = vec![(id, CheckedRow::MET_DAMAGE)];
            self.index.commit(Batch { containers: vec![(id, row)], checked, ..Batch::default() })?;
        }
        Ok(())
    }

    /// A container that cannot be read is not forgotten: it is kept as it is, and when the disk gives it again, the
    /// vacuum takes what is needed out of it.
    fn leave_out(&mut self, id: ContainerId, len: u64) -> Result<()> {
        self.unsure.insert(id);
        let state = ContainerState::Quarantined;
        let row = ContainerRow { state, durable_len: len, ..ContainerRow::empty(len) };
        self.index.commit(Batch {
            containers: vec![(id, row)],
            checked: vec![(id, CheckedRow::MET_DAMAGE)],
            ..Batch::default()
        })
    }

    /// Chunks that the old index looks for in containers that are missing or could not be read, or not all of them, and
    /// that are found nowhere else.
    pub(super) fn take_over(&mut self, old: Option<&dyn Index>) -> Result<()> {
        let Some(old) = old.filter(|_| !self.unsure.is_empty()) else { return Ok(()) };
        let (mut part, mut failed) = (Vec::with_capacity(TAKEN_OVER), None);
        let read = old.for_each_chunk(&mut |hash, entry| {
            part.extend(self.unsure.contains(&entry.container).then_some((hash, entry)));
            if part.len() >= TAKEN_OVER && failed.is_none() {
                failed = take_part(self.index, &mut part).err();
            }
            Ok(())
        });
        if let Err(error) = read {
            self.rebuilt.notes.push(format!("the old index cannot be read to its end: {error}"));
        }
        failed.map_or(Ok(()), Err)?;
        take_part(self.index, &mut part)
    }

    fn container(&mut self, id: ContainerId, len: u64) -> Result<()> {
        let path = self.paths.container(id);
        let file = self.io.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        let taken = self.take(file, &path, id, len);
        self.io.close(file);
        taken
    }

    fn take(&mut self, file: FileId, path: &Path, id: ContainerId, len: u64) -> Result<()> {
        let Some((mut row, entries)) = self.read(file, path, id, len)? else { return Ok(()) };
        if let Some(state) = self.marks.as_ref().and_then(|marks| marks.leaving.get(&id)) {
            // One that was not full is neither filled nor cut any more.
            row.durable_len = if row.state == ContainerState::Open { len } else { row.durable_len };
            row.state = *state;
        }
        self.rebuilt.containers += 1;
        self.rebuilt.chunks += entries.len() as u64;
        let chunks = self.choose(id, (file, path), &entries)?;
        // Now: the old index may just have ended, and what it says of the container with it.
        let checked = match self.unsure.contains(&id) {
            true => Some((id, CheckedRow::MET_DAMAGE)),
            false => {
                self.marks.as_ref().and_then(|marks| marks.checked.get(&id)).map(|checked| (id, *checked))
            }
        };
        let checked = checked.into_iter().collect();
        self.index.commit(Batch { chunks, containers: vec![(id, row)], checked, ..Batch::default() })
    }

    /// A container's row and records; nothing if it was never used.
    fn read(
        &mut self,
        file: FileId,
        path: &Path,
        id: ContainerId,
        len: u64,
    ) -> Result<Option<(ContainerRow, Vec<DirectoryEntry>)>> {
        self.epoch_last = self.epoch_last.max(id.epoch());
        let place = Place::new(path, 0);
        let block = io::read_at(self.io, file, 0, HEADER_SIZE).map_err(Error::io("read", path));
        let header = match block.and_then(|block| ContainerHeader::decode(&block, place)) {
            Ok(header) => {
                header.expect(self.store, id, place)?; // One of another store is left out.
                Some(header)
            }
            Err(error) if error.is_damage() => {
                self.rebuilt.notes.push(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        let capacity = header.as_ref().map_or(len, |header| header.capacity);
        // Where the old index says that it ends, if it is longer: reserved space may come back behind a footer after a
        // crash, and recovery cuts it off.
        let sealed_at = self.marks.as_ref().and_then(|marks| marks.durable_len(id));
        for end in [Some(len), sealed_at.filter(|end| *end < len)].into_iter().flatten() {
            match self.by_footer(file, path, id, end, capacity) {
                Ok(found) => return Ok(Some(found)),
                Err(error) if error.is_loss() => {}
                Err(error) => return Err(error),
            }
        }
        self.by_walk(file, path, id, (header.is_some(), len))
    }

    fn by_footer(
        &mut self,
        file: FileId,
        path: &Path,
        id: ContainerId,
        end: u64,
        capacity: u64,
    ) -> Result<(ContainerRow, Vec<DirectoryEntry>)> {
        let footer = tail::read(self.io, (file, path), (self.store, id), end, &mut |_| {})?;
        let summary = &footer.summary;
        let row = ContainerRow {
            state: ContainerState::Sealed,
            durable_len: end,
            batch_seq: summary.batch_count,
            record_count: count(&footer.entries),
            chain: summary.chain,
            capacity,
            raw_bytes: summary.raw_bytes,
            stored_bytes: summary.stored_bytes,
        };
        Ok((row, footer.entries))
    }

    fn by_walk(
        &mut self,
        file: FileId,
        path: &Path,
        id: ContainerId,
        (has_header, len): (bool, u64),
    ) -> Result<Option<(ContainerRow, Vec<DirectoryEntry>)>> {
        self.rebuilt.containers_walked += 1;
        let mut row = ContainerRow { durable_len: HEADER_SIZE as u64, ..ContainerRow::empty(len) };
        let (mut entries, mut stop) = (Vec::new(), None);
        if has_header {
            match scan::scan(self.io, file, path, self.store, id, &mut |_| Ok(())) {
                Ok(scanned) => {
                    row = ContainerRow {
                        durable_len: scanned.end,
                        batch_seq: scanned.batch_count,
                        chain: scanned.chain,
                        capacity: scanned.header.capacity,
                        ..row
                    };
                    stop = scanned.is_unreadable_behind().then_some(scanned.stop).flatten();
                    entries = scanned.entries;
                }
                Err(error) if error.is_loss() => stop = Some(error),
                Err(error) => return Err(error),
            }
        }
        let behind = salvage::salvage(self.io, file, path, id, row.durable_len)?;
        let was_durable = self.marks.as_ref().and_then(|marks| marks.durable_len(id));
        if stop.is_some() || !behind.is_empty() || was_durable.is_some_and(|end| end > row.durable_len) {
            self.rebuilt.containers_salvaged += 1;
            self.unsure.insert(id);
            let (found, end, place) = (behind.len(), row.durable_len, path.display());
            let why = stop.map_or_else(String::new, |error| format!(" ({error})"));
            self.rebuilt.notes.push(format!("{place}: {found} records lie behind damage at byte {end}{why}"));
            // As it is: recovery would cut off what it does not understand.
            (row.state, row.durable_len) = (ContainerState::Draining, len);
            entries.extend(behind);
        }
        if entries.is_empty() {
            // No crash leaves one without a header.
            let place = Place::new(path, 0);
            place.require(has_header && !self.unsure.contains(&id), "container", "a record", "none")?;
            return Ok(None);
        }
        row.record_count = count(&entries);
        row.raw_bytes = entries.iter().map(|entry| u64::from(entry.raw_len)).sum();
        row.stored_bytes = entries.iter().map(|entry| u64::from(entry.stored_len)).sum();
        Ok(Some((row, entries)))
    }
}

fn count(entries: &[DirectoryEntry]) -> u32 {
    u32::try_from(entries.len()).expect("a container holds fewer than 2^32 records")
}

/// Take over what is found nowhere else, and leave `part` empty.
fn take_part(index: &dyn Index, part: &mut Vec<(ChunkHash, ChunkEntry)>) -> Result<()> {
    let (hashes, mut found) = (part.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), Vec::new());
    index.locate(&hashes, &mut found)?;
    let chunks = part.drain(..).zip(found).filter(|(_, row)| row.is_none()).map(|(chunk, _)| chunk).collect();
    index.commit(Batch { chunks, ..Batch::default() })
}
