//! Opening a store for writing: make what is on disk whole again before anybody is served.
//!
//! A store that was closed cleanly needs nothing. After a crash, open containers may hold batches that no index entry
//! names, and names may be half made. What was acknowledged is always below a durable watermark; what lies above one is
//! adopted where it is good and cut off where it is not.
//!
//! # Invariants
//! - Below the watermark, anything wrong is *damage*: it is reported, nothing is cut off, and what the container held
//!   counts as unknown from now on, so that the next backup stores it again.
//! - A place that cannot be read is damage wherever it is: no crash leaves one. It costs what lies there, and does not
//!   keep the store from opening; the container is neither filled, cut nor reused.
//! - A container is never filled further after a crash: its good part is sealed.
//! - What is adopted is written again first: a sync that failed may have left it in a cache only.
//! - Every repair is durable before the index names it; recovery that crashes is simply run again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use gdd_uring::io::{self, FileId, Io, Open};

use crate::container::free;
use crate::container::prepare::{Contents, Prepared};
use crate::container::scan::{self, Scanned};
use crate::container::writer::Writer;
use crate::container::{salvage, tail};
use crate::error::{Error, Result};
use crate::format::{Place, StoreId};
use crate::ids::{ChunkHash, ContainerId, Epoch};
use crate::index::{Batch, CheckedRow, ChunkEntry, ContainerRow, ContainerState, Index, MetaKey, Status};
use crate::paths::{self, Paths, TEMPORARY_EXTENSION};
use crate::planted::{self, Bug};
use crate::progress::Gauge;
use crate::suspects;

/// Bytes of a tail that are written again at once.
const REWRITE_SIZE: u64 = 4 << 20;

/// What recovery found and did.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Containers that are missing, or shorter than their watermark.
    pub damaged: HashSet<ContainerId>,
    /// Containers that a vacuum has begun to empty, or that are quarantined.
    pub leaving: Vec<ContainerId>,
    /// Unsealed containers of a clean closing, to be filled further.
    pub begun: Vec<(ContainerId, ContainerRow)>,
    /// Chunks adopted from tails.
    pub adopted: u64,
    /// One sentence for each thing that an operator should know.
    pub notes: Vec<String>,
}

/// What recovery works on.
pub struct Recovery<'a> {
    /// The disk.
    pub io: &'a mut dyn Io,
    /// Names in the store.
    pub paths: &'a Paths,
    /// The store's identity.
    pub store: StoreId,
    /// This opening.
    pub epoch: Epoch,
    /// The index.
    pub index: &'a dyn Index,
    /// Shows how far it is.
    pub gauge: &'a Gauge,
}

impl Recovery<'_> {
    /// Bring the containers in order; `clean` says that the last opening was closed.
    ///
    /// # Errors
    /// The disk or the index failed. Damage is no error: it is in the result.
    pub fn run(&mut self, clean: bool) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        let mut rows: BTreeMap<ContainerId, ContainerRow> = self.index.containers()?.into_iter().collect();
        for (id, _) in rows.extract_if(.., |_, row| row.state == ContainerState::Free) {
            free::finish(self.io, self.paths, self.index, id)?;
        }
        let files = self.container_files()?;
        for (id, row) in &rows {
            match files.get(id) {
                Some(len) if *len >= row.durable_len => {}
                Some(len) => {
                    self.note_damage(&mut recovered, *id, &format!("{len} of {} bytes", row.durable_len))
                }
                None => self.note_damage(&mut recovered, *id, "missing"),
            }
        }
        self.gauge.begin("recovery", (!clean).then(|| to_settle(&rows, &files)));
        let checked = self.index.checked()?.into_iter().filter(|(_, checked)| checked.bad > 0);
        let bad: BTreeMap<ContainerId, CheckedRow> = checked.collect();
        for (id, row) in &rows {
            if row.state == ContainerState::Quarantined && row.record_count == 0 && files.contains_key(id) {
                // A disk may give again what it did not.
                self.settle_as(*id, None, true, &mut recovered)?;
                continue;
            }
            if matches!(row.state, ContainerState::Draining | ContainerState::Quarantined) {
                recovered.leaving.push(*id);
            }
            let whole = !recovered.damaged.contains(id);
            let open = row.state == ContainerState::Open && whole;
            // What a scrub has found it has told of each chunk; who comes across damage knows less.
            let sealed = row.state == ContainerState::Sealed && whole;
            let doubted = sealed
                && bad.get(id).is_some_and(|checked| checked.unix == 0)
                && !self.is_listed_again(*id, row)?;
            if doubted || (open && clean && bad.contains_key(id)) {
                self.give_up(*id, row, &mut recovered)?;
            } else if open && clean {
                recovered.begun.push((*id, *row));
            } else if open {
                self.settle(*id, Some(row), &mut recovered)?;
                self.gauge.add(files.get(id).copied().unwrap_or(0));
            }
        }
        if !clean {
            self.trim(&rows, &files, &mut recovered)?;
        }
        // A clean closing leaves none: then somebody has put it there.
        let unknown: BTreeSet<ContainerId> =
            files.keys().filter(|id| !rows.contains_key(id)).copied().collect();
        for id in unknown {
            self.settle(id, None, &mut recovered)?;
            self.gauge.add(files.get(&id).copied().unwrap_or(0));
        }
        Ok(recovered)
    }

    /// A crash between a seal and its truncation leaves reserved space behind the footer, where a rebuild without the
    /// index would not find it.
    fn trim(
        &mut self,
        rows: &BTreeMap<ContainerId, ContainerRow>,
        files: &BTreeMap<ContainerId, u64>,
        recovered: &mut Recovered,
    ) -> Result<()> {
        for (id, row) in rows.iter().filter(|(_, row)| row.state.has_footer()) {
            if files.get(id).is_some_and(|len| *len > row.durable_len) {
                let path = self.paths.container(*id);
                let file = match self.io.open(&path, Open::Write).map_err(Error::io("open", &path)) {
                    Err(error) if error.is_loss() => {
                        self.note_damage(recovered, *id, &error.to_string());
                        continue;
                    }
                    other => other?,
                };
                let trimmed = self.io.truncate(file, row.durable_len).map_err(Error::io("truncate", &path));
                self.io.close(file);
                trimmed?;
            }
        }
        Ok(())
    }

    /// Damage was found in a container that is not full, or it is not known how much: it is not filled further, and the
    /// vacuum empties it.
    fn give_up(&mut self, id: ContainerId, row: &ContainerRow, recovered: &mut Recovered) -> Result<()> {
        let draining = ContainerRow { state: ContainerState::Draining, ..*row };
        self.index.commit(Batch { containers: vec![(id, draining)], ..Batch::default() })?;
        recovered.leaving.push(id);
        Ok(())
    }

    fn note_damage(&self, recovered: &mut Recovered, id: ContainerId, what: &str) {
        let path = self.paths.container(id);
        recovered.notes.push(format!(
            "container {} is damaged ({what}): what it held will be stored again when it is backed up; \
             run `gdd fsck` to see what is affected",
            path.display()
        ));
        recovered.damaged.insert(id);
    }

    /// Names and lengths of the container files; leftovers of unfinished preparations are removed.
    fn container_files(&mut self) -> Result<BTreeMap<ContainerId, u64>> {
        let directory = self.paths.containers();
        let mut files = BTreeMap::new();
        let mut removed = false;
        for entry in self.io.list(&directory).map_err(Error::io("list", &directory))? {
            if entry.name.ends_with(TEMPORARY_EXTENSION) {
                let path = directory.join(&entry.name);
                self.io.unlink(&path).map_err(Error::io("remove", &path))?;
                removed = true;
            } else if let Some(id) = paths::container_of(&entry.name) {
                files.insert(id, entry.size);
            }
        }
        if removed {
            self.io.sync_dir(&directory).map_err(Error::io("sync", &directory))?;
        }
        Ok(files)
    }

    /// Settle a container that was open when the store crashed: adopt its good part, and seal it.
    fn settle(
        &mut self,
        id: ContainerId,
        row: Option<&ContainerRow>,
        recovered: &mut Recovered,
    ) -> Result<()> {
        self.settle_as(id, row, false, recovered)
    }

    /// Whether a container that somebody could not read lists its records again, and nothing else is in doubt.
    fn is_listed_again(&mut self, id: ContainerId, row: &ContainerRow) -> Result<bool> {
        if self.index.meta(MetaKey::Unchecked)?.is_some_and(|mark| !mark.is_empty()) {
            return Ok(false);
        }
        let path = self.paths.container(id);
        let opened = self.io.open(&path, Open::Read).map_err(Error::io("open", &path));
        let footer = opened.and_then(|file| {
            let footer = tail::read(self.io, (file, &path), (self.store, id), row.durable_len, &mut |_| {});
            self.io.close(file);
            footer
        });
        match footer {
            Ok(_) => {
                let never = CheckedRow { unix: 0, bad: 0 };
                self.index.commit(Batch { checked: vec![(id, never)], ..Batch::default() })?;
                Ok(true)
            }
            Err(error) if error.is_loss() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`Recovery::settle`]; of one that `was_unreadable` when its row was made, nothing is cut off or removed.
    fn settle_as(
        &mut self,
        id: ContainerId,
        row: Option<&ContainerRow>,
        was_unreadable: bool,
        recovered: &mut Recovered,
    ) -> Result<()> {
        let path = self.paths.container(id);
        let file = match self.io.open(&path, Open::Write).map_err(Error::io("open", &path)) {
            Err(error) if error.is_loss() => return self.damaged(id, 0, row, &error, recovered),
            other => other?,
        };
        let scanned = scan::scan(self.io, file, &path, self.store, id, &mut |_| Ok(()));
        let settled = scanned
            .and_then(
                |scanned| if row.is_none() { self.compare(file, &path, id, scanned) } else { Ok(scanned) },
            )
            .and_then(|scanned| match was_unreadable {
                true => self.demand_whole(file, &path, id, scanned),
                false => Ok(scanned),
            })
            .and_then(|scanned| self.settle_scanned(id, file, &path, row, scanned, recovered))
            .or_else(|error| if error.is_loss() { Ok(Outcome::Damaged(error)) } else { Err(error) });
        let len = self.io.size(file);
        self.io.close(file);
        match settled? {
            Outcome::Kept => Ok(()),
            Outcome::Empty if was_unreadable => {
                let what = Place::new(&path, 0).refuse("container", "a record", "none");
                self.damaged(id, len.unwrap_or(0), row, &what, recovered)
            }
            Outcome::Empty => self.free(id, row.is_some()),
            Outcome::Damaged(error) => self.damaged(id, len.unwrap_or(0), row, &error, recovered),
        }
    }

    /// Of a container that could not be read: nothing lies behind what was read of it now.
    fn demand_whole(
        &mut self,
        file: FileId,
        path: &Path,
        id: ContainerId,
        scanned: Scanned,
    ) -> Result<Scanned> {
        let behind = salvage::salvage(self.io, file, path, id, scanned.end)?.len();
        Place::new(path, scanned.end).require(behind == 0, "data", "a batch", format!("{behind} records"))?;
        Ok(scanned)
    }

    /// A file without a row may be one that a rebuild could not read, or that somebody has put back. If it has a
    /// footer, no crash has cut it: what is missing of that has rotted.
    fn compare(&mut self, file: FileId, path: &Path, id: ContainerId, scanned: Scanned) -> Result<Scanned> {
        let end = self.io.size(file).map_err(Error::io("read the length of", path))?;
        let footer = match tail::read(self.io, (file, path), (self.store, id), end, &mut |_| {}) {
            Ok(footer) => footer,
            Err(error) if error.is_loss() => return Ok(scanned),
            Err(error) => return Err(error),
        };
        let (listed, found) = (footer.entries.len(), scanned.entries.len());
        let place = Place::new(path, scanned.end);
        place.require(found >= listed, "data", format!("{listed} records"), found)?;
        Ok(scanned)
    }

    /// What a container of `len` bytes holds cannot be told, which is written down: the next opening may find the store
    /// closed in order, and look at nothing. One with a row is as if a scrub had found it: it is on its way out, and
    /// the vacuum moves what is good. One without a row gets one: it would be taken for an empty one when the store
    /// is closed, and written over.
    fn damaged(
        &mut self,
        id: ContainerId,
        len: u64,
        row: Option<&ContainerRow>,
        error: &Error,
        recovered: &mut Recovered,
    ) -> Result<()> {
        self.note_damage(recovered, id, &error.to_string());
        let row = match row {
            Some(row) => ContainerRow { state: ContainerState::Draining, ..*row },
            None => {
                let state = ContainerState::Quarantined;
                ContainerRow { state, durable_len: len, ..ContainerRow::empty(len) }
            }
        };
        let checked = vec![(id, CheckedRow::MET_DAMAGE)];
        self.index.commit(Batch { containers: vec![(id, row)], checked, ..Batch::default() })?;
        recovered.leaving.push(id);
        Ok(())
    }

    fn settle_scanned(
        &mut self,
        id: ContainerId,
        file: FileId,
        path: &Path,
        row: Option<&ContainerRow>,
        scanned: Scanned,
        recovered: &mut Recovered,
    ) -> Result<Outcome> {
        let durable_len = row.map_or(0, |row| row.durable_len);
        // One that could not be read has a row, and what was noted of it goes with that.
        let removed_containers = if row.is_none() { vec![id] } else { Vec::new() };
        if scanned.end < durable_len {
            let expected = format!("good batches up to byte {durable_len}");
            let found = scanned.stop.map_or_else(|| "the end".to_owned(), |error| error.to_string());
            return Ok(Outcome::Damaged(Error::corrupt(path, scanned.end, "data", expected, found)));
        }
        if scanned.entries.is_empty() && !scanned.is_unreadable_behind() {
            return Ok(Outcome::Empty);
        }
        let (adopted, twice) = self.adopt(id, durable_len, &scanned, &recovered.damaged)?;
        self.write_again(file, path, durable_len, scanned.end)?;
        recovered.adopted += adopted.len() as u64;
        let row = if scanned.is_unreadable_behind() {
            self.leave(id, file, path, &scanned, recovered)?
        } else {
            self.seal(id, file, path, scanned)?
        };
        let meta = if twice { vec![suspects::mark(true)] } else { Vec::new() };
        self.index.commit(Batch {
            chunks: adopted,
            removed_containers,
            containers: vec![(id, row)],
            meta,
            ..Batch::default()
        })?;
        Ok(Outcome::Kept)
    }

    /// A container with a place behind its good part that cannot be read stays as it is, for the vacuum to empty.
    fn leave(
        &mut self,
        id: ContainerId,
        file: FileId,
        path: &Path,
        scanned: &Scanned,
        recovered: &mut Recovered,
    ) -> Result<ContainerRow> {
        self.io.sync_all(file).map_err(Error::io("sync", path))?;
        let why = scanned.stop.as_ref().map_or_else(String::new, Error::to_string);
        recovered.notes.push(format!(
            "container {} is kept as it is, and nothing is added to it: {why}; the vacuum empties it",
            path.display()
        ));
        recovered.leaving.push(id);
        // All of the file: what lies behind the last good batch is not cut off.
        let durable_len = self.io.size(file).map_err(Error::io("read the length of", path))?;
        Ok(ContainerRow { state: ContainerState::Draining, durable_len, ..row_of(scanned) })
    }

    /// Write what lies above the watermark once more. The last opening may have ended because a sync failed; what is
    /// read now may then come from a cache that no later sync writes out, and the sync that follows would vouch for
    /// nothing (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
    fn write_again(&mut self, file: FileId, path: &Path, from: u64, to: u64) -> Result<()> {
        let mut at = if planted::has(Bug::AdoptFromCache) { to } else { from };
        while at < to {
            let len = usize::try_from((to - at).min(REWRITE_SIZE)).expect("a window fits memory");
            let bytes = io::read_at(self.io, file, at, len).map_err(Error::io("read", path))?;
            if bytes.len() < len {
                return Err(Error::io("read", path)(std::io::ErrorKind::UnexpectedEof.into()));
            }
            io::write_at(self.io, file, at, bytes).map_err(Error::io("write", path))?;
            at += len as u64;
        }
        Ok(())
    }

    /// Entries for the records above the watermark whose chunk the index does not have, or looks for in a container
    /// that is gone (an index whose log lost its end does, of what the vacuum moved); and whether there are others:
    /// chunks that were being stored again, because their container leaves or for the sake of restores. The directory
    /// lists those as well, so from here on none is believed without the index ([`crate::suspects`]).
    fn adopt(
        &self,
        id: ContainerId,
        durable_len: u64,
        scanned: &Scanned,
        damaged: &HashSet<ContainerId>,
    ) -> Result<(Vec<(ChunkHash, ChunkEntry)>, bool)> {
        let tail = scanned.entries.iter().filter(|entry| u64::from(entry.offset) >= durable_len);
        let tail: Vec<_> = tail.collect();
        let hashes: Vec<ChunkHash> = tail.iter().map(|entry| entry.hash).collect();
        let mut known = Vec::with_capacity(hashes.len());
        self.index.locate(&hashes, &mut known)?;
        let listed = tail.len();
        let unknown = tail.into_iter().zip(known).filter(|(_, known)| {
            known.is_none_or(|row| row.status != Status::Live || damaged.contains(&row.container))
        });
        let adopted: Vec<_> = unknown
            .map(|(entry, _)| (entry.hash, ChunkEntry::new(id, entry, Status::Live, self.epoch)))
            .collect();
        let twice = adopted.len() < listed;
        Ok((adopted, twice))
    }

    /// Write the footer behind the good part, cut the rest off, and make it durable.
    fn seal(&mut self, id: ContainerId, file: FileId, path: &Path, scanned: Scanned) -> Result<ContainerRow> {
        let prepared = Prepared { id, contents: Contents::Begun(row_of(&scanned), scanned.entries) };
        let mut writer = Writer::new(prepared, file, path.to_owned());
        let (offset, footer) = writer.seal(self.store);
        let end = offset + footer.len() as u64;
        io::write_at(self.io, file, offset, footer).map_err(Error::io("write", path))?;
        self.io.truncate(file, end).map_err(Error::io("truncate", path))?;
        self.io.sync_all(file).map_err(Error::io("sync", path))?;
        Ok(writer.row())
    }

    /// An empty container is removed. Not recycled: a write of the process that crashed may still be on its way to it,
    /// since the kernel ends a dead process's ring in its own time (Linux, `io_ring_exit_work`). Its row, if it has
    /// one, goes first: a file without a row is settled again, a row without a file would be damage.
    fn free(&mut self, id: ContainerId, has_row: bool) -> Result<()> {
        if has_row {
            self.index.commit(Batch { removed_containers: vec![id], ..Batch::default() })?;
        }
        if planted::has(Bug::RecycleEmptied) {
            return free::to_pool(self.io, self.paths, id);
        }
        free::remove(self.io, self.paths, id)
    }
}

/// The row of an open container that was walked.
fn row_of(scanned: &Scanned) -> ContainerRow {
    ContainerRow {
        state: ContainerState::Open,
        durable_len: scanned.end,
        batch_seq: scanned.batch_count,
        record_count: u32::try_from(scanned.entries.len())
            .expect("a container holds fewer than 2^32 records"),
        chain: scanned.chain,
        capacity: scanned.header.capacity,
        raw_bytes: scanned.raw_bytes,
        stored_bytes: scanned.stored_bytes,
    }
}

/// Bytes of the files that are read to their end after a crash: of open containers, and of those without a row.
fn to_settle(rows: &BTreeMap<ContainerId, ContainerRow>, files: &BTreeMap<ContainerId, u64>) -> u64 {
    let is_open = |id: &ContainerId| rows.get(id).is_none_or(|row| row.state == ContainerState::Open);
    files.iter().filter(|(id, _)| is_open(id)).map(|(_, len)| len).sum()
}

enum Outcome {
    Kept,
    Empty,
    Damaged(Error),
}
