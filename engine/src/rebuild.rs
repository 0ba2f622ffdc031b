//! Makes the index anew from containers and recipes alone.
//!
//! The index is a cache: every record names its chunk, every container its records, every recipe its stream. So a lost
//! or damaged index costs time, never data. Sealed containers are read by their footers only; open ones are walked
//! whole, and what lies behind damage in them is found record by record: such a container is not filled or cut any
//! more, the vacuum empties it.
//!
//! # Crash consistency
//! The new index grows beside the old one and takes its name only when it is complete and durable; the old one is kept
//! as `index.old-N`. Until then nothing has changed. The next opening for writing runs recovery, as after a crash.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gdd_uring::io::{self, FileId, Io, Open};

use crate::container::{salvage, scan, tail};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::format::container::ContainerHeader;
use crate::format::footer::DirectoryEntry;
use crate::format::{HEADER_SIZE, Place, StoreId};
use crate::ids::{ContainerId, Epoch};
use crate::index::rocks::RocksIndex;
use crate::index::{Batch, ChunkEntry, ContainerRow, ContainerState, Index, Status};
use crate::options::{Access, Options};
use crate::paths::{self, Paths};
use crate::progress::Progress;
use crate::{recipe, store, superblocks};

/// An epoch file that is made anew says so much more than the youngest file there is: ids that were given out to files
/// that are gone are not given out again.
const EPOCH_MARGIN: u32 = 1000;

/// What a rebuild did. Fields are only ever added.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Rebuilt {
    /// Containers read.
    pub containers: u64,
    /// Those of them without a usable footer, which were walked whole.
    pub containers_walked: u64,
    /// Those of them with damage in the middle, or whose header is damaged.
    pub containers_salvaged: u64,
    /// Records found; a chunk that is stored twice counts twice.
    pub chunks: u64,
    /// Streams found.
    pub streams: u64,
    /// Those of them whose recipe cannot be read in any copy: they stay listed, and the vacuum frees nothing, until
    /// they are set aside or given up.
    pub streams_unreadable: Vec<String>,
    /// Bytes of the containers.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// The same per GB of containers.
    pub seconds_per_gigabyte: f64,
    /// What an operator should know: damage, what was left out, where the old index lies.
    pub notes: Vec<String>,
}

/// Make the index of the store in `dir` anew.
///
/// # Errors
/// No store, another process, or the disk failed. Damage is no error: it is in the notes.
pub fn rebuild_index(dir: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Rebuilt> {
    let started = Instant::now();
    let paths = Paths::new(dir);
    if !paths.superblocks().iter().any(|path| path.exists()) {
        return Err(Error::NotAStore { path: dir.to_owned(), why: "it has no file gdd.store".to_owned() });
    }
    let _lock = store::lock(&paths, Access::ReadWrite)?;
    let source = store::probe_io(dir, Access::ReadWrite, options)?;
    let mut io = source.open().map_err(Error::io("open an I/O ring for", dir))?;
    let (superblock, _) = superblocks::read(io.as_mut(), &paths)?;
    let fresh = paths.root().join("index.new");
    remove_tree(&fresh)?;
    let index = RocksIndex::create(&fresh, superblock.store, options.budget().index)?;
    let mut rebuild = Rebuild {
        io: io.as_mut(),
        paths: &paths,
        store: superblock.store,
        index: &index,
        rebuilt: Rebuilt::default(),
        epoch_last: Epoch(0),
        progress,
        total: 0,
    };
    rebuild.containers()?;
    rebuild.streams()?;
    rebuild.epoch()?;
    let mut rebuilt = rebuild.rebuilt;
    index.close()?;
    drop(index);
    swap(io.as_mut(), &paths, &fresh, &mut rebuilt)?;
    Filter::discard(&paths.filter())?;
    rebuilt.seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people needs no more than 53 bits")]
    let gigabytes = rebuilt.bytes as f64 / 1e9;
    rebuilt.seconds_per_gigabyte = if gigabytes > 0.0 { rebuilt.seconds / gigabytes } else { 0.0 };
    Ok(rebuilt)
}

/// Make the epoch file of the store in `dir` anew, if it is lost or damaged. Returns what an operator should know.
///
/// # Errors
/// No store, another process, or the disk failed.
pub fn write_epoch(dir: &Path, options: &Options) -> Result<Option<String>> {
    let paths = Paths::new(dir);
    let _lock = store::lock(&paths, Access::ReadWrite)?;
    let source = store::probe_io(dir, Access::ReadWrite, options)?;
    let mut io = source.open().map_err(Error::io("open an I/O ring for", dir))?;
    let (superblock, _) = superblocks::read(io.as_mut(), &paths)?;
    renew_epoch(io.as_mut(), &paths, superblock.store, Epoch(0))
}

struct Rebuild<'a> {
    io: &'a mut dyn Io,
    paths: &'a Paths,
    store: StoreId,
    index: &'a dyn Index,
    rebuilt: Rebuilt,
    /// The youngest epoch that any file was made in.
    epoch_last: Epoch,
    progress: &'a mut dyn FnMut(Progress),
    total: u64,
}

impl Rebuild<'_> {
    fn containers(&mut self) -> Result<()> {
        let directory = self.paths.containers();
        let entries = self.io.list(&directory).map_err(Error::io("list", &directory))?;
        self.total = entries.iter().map(|entry| entry.size).sum();
        // By id, so oldest first: of a chunk that is stored twice, the younger record wins.
        for entry in entries {
            let Some(id) = paths::container_of(&entry.name) else { continue };
            match self.container(id, entry.size) {
                Ok(()) => {}
                Err(error @ (Error::Corrupt { .. } | Error::Version { .. })) => {
                    self.rebuilt.notes.push(format!("left out: {error}"));
                }
                Err(error) => return Err(error),
            }
            self.rebuilt.bytes += entry.size;
            let (done, total) = (self.rebuilt.bytes, Some(self.total));
            (self.progress)(Progress { stage: "read", done, total });
        }
        Ok(())
    }

    fn container(&mut self, id: ContainerId, len: u64) -> Result<()> {
        let path = self.paths.container(id);
        let file = self.io.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        let read = self.read(file, &path, id, len);
        self.io.close(file);
        let Some((row, entries)) = read? else { return Ok(()) };
        self.rebuilt.containers += 1;
        self.rebuilt.chunks += entries.len() as u64;
        let chunks = entries
            .iter()
            .map(|entry| (entry.hash, ChunkEntry::new(id, entry, Status::Live, self.epoch_last)))
            .collect();
        self.index.commit(Batch { chunks, containers: vec![(id, row)], ..Batch::default() })
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
        let block = io::read_at(self.io, file, 0, HEADER_SIZE).map_err(Error::io("read", path))?;
        let place = Place::new(path, 0);
        let header = match ContainerHeader::decode(&block, place) {
            Ok(header) => {
                header.expect(self.store, id, place)?; // One of another store is left out.
                Some(header)
            }
            Err(error @ Error::Version { .. }) => return Err(error),
            Err(error) => {
                self.rebuilt.notes.push(error.to_string());
                None
            }
        };
        let capacity = header.as_ref().map_or(len, |header| header.capacity);
        match self.by_footer(file, path, id, len, capacity) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Corrupt { .. } | Error::Version { .. }) => {
                self.by_walk(file, path, id, (header.is_some(), len))
            }
            Err(error) => Err(error),
        }
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
        let mut row = ContainerRow {
            state: ContainerState::Open,
            durable_len: HEADER_SIZE as u64,
            batch_seq: 0,
            record_count: 0,
            chain: [0; 32],
            capacity: len,
            raw_bytes: 0,
            stored_bytes: 0,
        };
        let mut entries = Vec::new();
        if has_header {
            let scanned = scan::scan(self.io, file, path, self.store, id, &mut |_| Ok(()))?;
            row = ContainerRow {
                durable_len: scanned.end,
                batch_seq: scanned.batch_count,
                chain: scanned.chain,
                capacity: scanned.header.capacity,
                ..row
            };
            entries = scanned.entries;
        }
        let behind = salvage::salvage(self.io, file, path, id, row.durable_len)?;
        if !behind.is_empty() {
            self.rebuilt.containers_salvaged += 1;
            let (found, end) = (behind.len(), row.durable_len);
            let place = path.display();
            self.rebuilt.notes.push(format!("{place}: {found} records lie behind damage at byte {end}"));
            // As it is: recovery would cut off what it does not understand.
            (row.state, row.durable_len) = (ContainerState::Draining, len);
            entries.extend(behind);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        row.record_count = count(&entries);
        row.raw_bytes = entries.iter().map(|entry| u64::from(entry.raw_len)).sum();
        row.stored_bytes = entries.iter().map(|entry| u64::from(entry.stored_len)).sum();
        Ok(Some((row, entries)))
    }

    fn streams(&mut self) -> Result<()> {
        let recipe::set::Rows { rows, unreadable, notes } =
            recipe::set::rows(self.io, &self.paths.recipes(), self.store)?;
        self.rebuilt.notes.extend(notes);
        self.rebuilt.streams = rows.len() as u64;
        self.rebuilt.streams_unreadable = unreadable;
        self.epoch_last = rows.iter().map(|row| row.created_epoch).fold(self.epoch_last, Epoch::max);
        self.index.commit(Batch { recipes: rows, ..Batch::default() })
    }

    fn epoch(&mut self) -> Result<()> {
        let note = renew_epoch(self.io, self.paths, self.store, self.epoch_last)?;
        self.rebuilt.notes.extend(note);
        Ok(())
    }
}

/// A lost or damaged epoch file is made anew, above `last` and every epoch that any file was made in. Returns what an
/// operator should know, if so.
///
/// # Errors
/// The disk failed.
fn renew_epoch(io: &mut dyn Io, paths: &Paths, store: StoreId, last: Epoch) -> Result<Option<String>> {
    match superblocks::read_epoch(io, paths, store) {
        Ok(epoch) if epoch >= last => return Ok(None),
        Ok(_) | Err(Error::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    let directory = paths.containers();
    let containers = io.list(&directory).map_err(Error::io("list", &directory))?;
    let containers = containers.iter().filter_map(|entry| paths::container_of(&entry.name));
    let recipes = recipe::set::list(io, &paths.recipes())?.recipes;
    let recipes = recipes.keys().map(|recipe| recipe.epoch());
    let last = containers.map(|id| id.epoch()).chain(recipes).fold(last, Epoch::max);
    let epoch = Epoch(last.0.saturating_add(EPOCH_MARGIN));
    superblocks::write_epoch(io, paths, store, epoch)?;
    Ok(Some(format!("the epoch file was made anew with epoch {}", epoch.0)))
}

fn count(entries: &[DirectoryEntry]) -> u32 {
    u32::try_from(entries.len()).expect("a container holds fewer than 2^32 records")
}

/// Put the new index in the old one's place; the old one is kept.
fn swap(io: &mut dyn Io, paths: &Paths, fresh: &Path, rebuilt: &mut Rebuilt) -> Result<()> {
    let current = paths.index();
    if current.exists() {
        let kept = free_name(paths.root());
        io.rename(&current, &kept).map_err(Error::io("rename", &current))?;
        rebuilt.notes.push(format!("the old index was kept as {}", kept.display()));
    }
    io.rename(fresh, &current).map_err(Error::io("rename", fresh))?;
    io.sync_dir(paths.root()).map_err(Error::io("sync", paths.root()))
}

fn free_name(root: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let name = root.join(format!("index.old-{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
