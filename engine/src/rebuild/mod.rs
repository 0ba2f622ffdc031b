//! Makes the index anew from containers and recipes alone.
//!
//! The index is a cache: every record names its chunk, every container its records, every recipe its stream. So a lost
//! or damaged index costs time, never data. Sealed containers are read by their footers only; open ones are walked
//! whole, and what lies behind damage in them is found record by record: such a container is not filled or cut any
//! more, the vacuum empties it.
//!
//! What the files do not say, the old index does, if it can be read: see `marks`.
//!
//! # Crash consistency
//! The new index grows beside the old one and takes its name only when it is complete and durable; the old one is kept
//! as `index.old-N`. Until then nothing has changed. The next opening for writing runs recovery, as after a crash.

mod choose;
mod containers;
mod marks;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::format::StoreId;
use crate::ids::{ChunkHash, ContainerId, Epoch};
use crate::index::rocks::RocksIndex;
use crate::index::{Batch, Index, MetaKey};
use crate::options::{Access, Options};
use crate::paths::{self, Paths};
use crate::progress::Progress;
use crate::superblocks::EPOCH_MARGIN;
use crate::unchecked::Unchecked;
use crate::{recipe, store, superblocks, suspects};
use marks::Marks;

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
    /// Chunks that were found again in a younger place: of each a copy that is good is used, if there is one.
    pub chunks_twice: u64,
    /// Of those, chunks of which no copy is good: they count as unknown until they are stored again.
    pub chunks_rotten: u64,
    /// Streams found.
    pub streams: u64,
    /// Those of them whose recipe cannot be read in any copy: they stay listed, and the vacuum frees nothing, until
    /// they are set aside or given up.
    pub streams_unreadable: Vec<String>,
    /// Chunks that were known not to be given back, and still are.
    pub suspects: u64,
    /// Containers of which that is not known any more, since the old index could not be read: what they hold counts as
    /// unknown until a scrub has read them.
    pub containers_unchecked: u64,
    /// Bytes of the containers.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// The same per GB of containers.
    pub seconds_per_gigabyte: f64,
    /// Containers that could not be read, or not all of them: nobody is told that something in them is known, and the
    /// vacuum moves what is needed out of them, now or when the disk gives it.
    pub containers_unreadable: u64,
    /// Containers that the old index had and the disk has not: what only they had is lost until it is stored again.
    pub containers_missing: u64,
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
    let old = RocksIndex::open_read_only(&paths.index(), superblock.store, options.budget().index);
    let marks = old.and_then(|old| Ok((Marks::read(&old)?, old)));
    let (known, lost) = marks.map_or_else(|error| (None, Some(error)), |known| (Some(known), None));
    let fresh = paths.root().join("index.new");
    remove_tree(&fresh)?;
    let index = RocksIndex::create(&fresh, superblock.store, options.budget().index)?;
    let asked = known.as_ref().map(|(marks, old)| (marks.clone(), old as &dyn Index));
    let mut rebuilt = fill(io.as_mut(), &paths, (superblock.store, &index), asked, progress)?;
    drop(known);
    if let Some(error) = lost {
        rebuilt.notes.push(format!(
            "which chunks are damaged cannot be told from the old index ({error}): what was stored counts as unknown \
             until a scrub has read it"
        ));
    }
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

/// The same for a store of the simulation, which brings its own disk, an empty index, and the old one if that is left.
///
/// # Errors
/// As [`rebuild_index`].
pub fn rebuild_simulated(
    io: &mut dyn Io,
    paths: &Paths,
    index: &dyn Index,
    old: Option<&dyn Index>,
) -> Result<Rebuilt> {
    let (superblock, _) = superblocks::read(io, paths)?;
    let store = superblock.store;
    let meta = vec![(MetaKey::Store, store.0.to_vec()), suspects::mark(false)];
    index.commit(Batch { meta, ..Batch::default() })?;
    let known = old.map(|old| Ok::<_, Error>((Marks::read(old)?, old))).transpose()?;
    fill(io, paths, (store, index), known, &mut |_| {})
}

/// Put everything into `index` that the files say.
fn fill(
    io: &mut dyn Io,
    paths: &Paths,
    (store, index): (StoreId, &dyn Index),
    known: Option<(Marks, &dyn Index)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Rebuilt> {
    let (marks, old) = known.unzip();
    let before = old;
    // Where nothing was ever stored twice, nothing is strange.
    let old = old.filter(|_| marks.as_ref().is_some_and(|marks: &Marks| marks.twice()));
    let mut rebuild = Rebuild {
        io,
        paths,
        store,
        index,
        rebuilt: Rebuilt::default(),
        epoch_last: Epoch(0),
        rotten: BTreeSet::new(),
        marks,
        old,
        is_cut_off: false,
        unsure: BTreeSet::new(),
        progress,
        total: 0,
    };
    rebuild.containers()?;
    rebuild.take_over(before)?;
    rebuild.streams()?;
    rebuild.epoch()?;
    rebuild.marks()?;
    Ok(rebuild.rebuilt)
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
    renew_epoch(io.as_mut(), &paths, superblock.store, Epoch(0)).map(|(_, note)| note)
}

struct Rebuild<'a> {
    io: &'a mut dyn Io,
    paths: &'a Paths,
    store: StoreId,
    index: &'a dyn Index,
    rebuilt: Rebuilt,
    /// The youngest epoch that any file was made in; at the end, that of the epoch file.
    epoch_last: Epoch,
    /// Chunks that are stored more than once, and no copy is good.
    rotten: BTreeSet<ChunkHash>,
    /// What the old index knew; nothing if it could not be read.
    marks: Option<Marks>,
    /// The old index, if it is to be asked where it had chunks.
    old: Option<&'a dyn Index>,
    /// The old index could be asked of some containers only.
    is_cut_off: bool,
    /// Containers that are missing or could not be read, or not all of them.
    unsure: BTreeSet<ContainerId>,
    progress: &'a mut dyn FnMut(Progress),
    total: u64,
}

impl Rebuild<'_> {
    /// What is known of the data besides where it is. Last: nothing is on disk then that is younger than the mark.
    fn marks(&mut self) -> Result<()> {
        self.rebuilt.chunks_rotten = self.rotten.len() as u64;
        let mut batch = Batch { suspects: self.rotten.iter().copied().collect(), ..Batch::default() };
        match self.marks.take() {
            Some(marks) => {
                self.rebuilt.suspects = marks.suspects.len() as u64;
                batch.suspects.extend(marks.suspects);
                batch.meta = marks.meta;
                if self.is_cut_off {
                    let checked = self.index.checked()?.into_iter().map(|(id, _)| id);
                    let checked: BTreeSet<ContainerId> = checked.collect();
                    let rows = self.index.containers()?;
                    let unchecked = rows.iter().filter(|(id, _)| !checked.contains(id));
                    self.rebuilt.containers_unchecked = unchecked.count() as u64;
                }
            }
            None => self.rebuilt.containers_unchecked = self.rebuilt.containers,
        }
        if self.rebuilt.containers_unchecked > 0 {
            // And a daemon checks them at once.
            let never = 0_u64.to_le_bytes().to_vec();
            let mark = Unchecked::mark(self.epoch_last);
            batch.meta.retain(|(key, _)| ![MetaKey::Unchecked, MetaKey::Scrubbed].contains(key));
            batch.meta.extend([(MetaKey::Unchecked, mark), (MetaKey::Scrubbed, never)]);
        }
        // Every list was read: that settles it, whatever the old index said.
        let doubts = self.rebuilt.containers_unreadable
            + self.rebuilt.containers_missing
            + self.rebuilt.containers_unchecked;
        let twice = self.rebuilt.chunks_twice + doubts > 0 || !batch.suspects.is_empty();
        batch.meta.retain(|(key, _)| *key != MetaKey::Twice);
        batch.meta.push(suspects::mark(twice));
        self.index.commit(batch)
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
        let (epoch, note) = renew_epoch(self.io, self.paths, self.store, self.epoch_last)?;
        self.epoch_last = epoch;
        self.rebuilt.notes.extend(note);
        Ok(())
    }
}

/// A lost or damaged epoch file is made anew, above `last` and every epoch that any file was made in. Returns what it
/// says now, and what an operator should know if it was.
///
/// # Errors
/// The disk failed.
fn renew_epoch(
    io: &mut dyn Io,
    paths: &Paths,
    store: StoreId,
    last: Epoch,
) -> Result<(Epoch, Option<String>)> {
    match superblocks::read_epoch(io, paths, store) {
        Ok(epoch) if epoch >= last => return Ok((epoch, None)),
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
    Ok((epoch, Some(format!("the epoch file was made anew with epoch {}", epoch.0))))
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
