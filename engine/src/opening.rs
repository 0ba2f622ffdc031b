//! The steps of opening a store for writing and of closing it, without threads: the simulator takes them too.
//!
//! New epoch, durable -> recovery -> filter -> marked as in use, durable. Closing marks it as closed cleanly; only then
//! does the next opening skip recovery.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use gdd_uring::io::{Io, IoSource};

use crate::commit::CommitDesk;
use crate::container::prepare::PrepareDesk;
use crate::core::{Core, Seed};
use crate::error::{Error, Result};
use crate::filter::{Filter, FilterConfig, Opened};
use crate::format::StoreId;
use crate::format::superblock::{Settings, Superblock};
use crate::ids::Epoch;
use crate::index::{Batch, Index, MetaKey, RecipeRow, RecipeState};
use crate::leaving::Leaving;
use crate::options::Options;
use crate::paths::{FREE_EXTENSION, Paths, container_of};
use crate::poison::Poison;
use crate::recipe;
use crate::recover::{Recovered, Recovery};
use crate::superblocks;
use crate::suspects::Suspects;
use crate::unchecked::Unchecked;

/// The value of [`MetaKey::CleanEpoch`] says which opening was closed cleanly.
fn clean_mark(epoch: Epoch) -> Vec<u8> {
    epoch.0.to_le_bytes().to_vec()
}

/// What an opening for writing starts from; the simulator brings its own disk and index.
pub struct Opening<'a> {
    /// Names in the store.
    pub paths: &'a Paths,
    /// What the store is.
    pub superblock: Superblock,
    /// The disk.
    pub source: Arc<dyn IoSource>,
    /// The index, open.
    pub index: Arc<dyn Index>,
    /// Where the cold filter lies.
    pub filter: FilterHome,
}

/// Where the cold filter lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterHome {
    /// In this directory.
    Directory(PathBuf),
    /// In memory, with room for this many chunks at first, hot and cold: for a simulation, whose stores are small.
    Memory(u64),
}

impl Opening<'_> {
    /// The epoch of the last opening: that of the epoch file, or the youngest of anything there is, if the file is an
    /// older one. Its ids were given out, and giving them out again would write over what they name.
    fn last_epoch(&self, io: &mut dyn Io, notes: &mut Vec<String>) -> Result<Epoch> {
        let noted = superblocks::read_epoch(io, self.paths, self.superblock.store)?;
        let directory = self.paths.containers();
        let files = io.list(&directory).map_err(Error::io("list", &directory))?;
        let files = files.iter().filter_map(|entry| container_of(&entry.name)).map(|id| id.epoch());
        let rows = self.index.containers()?.into_iter().map(|(id, _)| id.epoch());
        let recipes = self.index.recipes()?.into_iter().map(|row| row.recipe);
        let listed = recipe::set::list(io, &self.paths.recipes())?;
        let recipes = recipes.chain(listed.recipes.into_keys()).chain(listed.journals);
        let ids = files.chain(rows).chain(recipes.map(|recipe| recipe.epoch()));
        let last = ids.fold(noted, Epoch::max);
        if last > noted {
            let (path, said, found) = (self.paths.epoch(), noted.0, last.0);
            notes.push(format!(
                "{} is an old one: it says {said}, and there is something of epoch {found}; it is written anew",
                path.display()
            ));
        }
        Ok(last)
    }

    /// New epoch, recovery, filter, and the mark that the store is in use.
    ///
    /// # Errors
    /// The disk or the index failed.
    pub fn begin(
        self,
        io: &mut dyn Io,
        options: &Options,
        unix_seconds: fn() -> u64,
        notes: &mut Vec<String>,
    ) -> Result<Seed> {
        let last = self.last_epoch(io, notes)?;
        let Superblock { store, settings, .. } = self.superblock;
        let epoch =
            Epoch(last.0.checked_add(1).ok_or_else(|| Error::Invalid("epochs are used up".to_owned()))?);
        superblocks::write_epoch(io, self.paths, store, epoch)?;
        let clean = last.0 == 0 || self.index.meta(MetaKey::CleanEpoch)? == Some(clean_mark(last));
        let (index, gauge) = (self.index.as_ref(), &options.gauge);
        let mut recovery = Recovery { io, paths: self.paths, store, epoch, index, gauge };
        let Recovered { damaged, leaving, begun, adopted, notes: found } = recovery.run(clean)?;
        gauge.begin("recipes", None);
        recipe::recover::recover(io, &self.paths.recipes(), store, self.index.as_ref(), clean, notes)?;
        if !clean {
            notes.push(format!("the store was not closed cleanly: recovery adopted {adopted} chunks"));
        }
        notes.extend(found);
        gauge.begin("filter", None);
        let filter = open_filter(&self.filter, (store, epoch), &settings, self.index.as_ref(), clean, notes)?;
        let mark = Batch { meta: vec![(MetaKey::CleanEpoch, Vec::new())], ..Batch::default() };
        self.index.commit(mark)?;
        let suspects = Suspects::of(Arc::clone(&self.index))?;
        if suspects.count() > 0 {
            let count = suspects.count();
            notes.push(format!("{count} chunks are damaged and are stored again when they come again"));
        }
        let unchecked = Unchecked::of(self.index.as_ref())?;
        if suspects.count() + unchecked.count() + damaged.len() > 0 {
            suspects.raise()?;
        }
        if unchecked.count() > 0 {
            let count = unchecked.count();
            notes.push(format!(
                "{count} containers were not checked since the index was made anew: what they hold is stored again \
                 when it comes again, until `gdd scrub` has read them"
            ));
        }
        Ok(Seed {
            paths: self.paths.clone(),
            store,
            settings,
            epoch,
            index: self.index,
            filter,
            source: self.source,
            damaged: Arc::new(damaged),
            suspects,
            unchecked,
            leaving: Leaving::of(leaving),
            rewriting: options.rewriting,
            visits: Default::default(),
            begun,
            workers: options.workers(),
            budget: options.budget(),
            poison: Poison::default(),
            prepare: PrepareDesk::default(),
            commit: CommitDesk::default(),
            stop: Arc::new(AtomicBool::new(false)),
            unix_seconds,
        })
    }
}

/// Make the files of a new store; the superblock comes last, so that a crash leaves no half-made store.
///
/// # Errors
/// The disk refused.
pub fn create(
    io: &mut dyn Io,
    paths: &Paths,
    store: StoreId,
    settings: &Settings,
    created_unix: u64,
) -> Result<()> {
    let directories = [paths.filter(), paths.containers(), paths.pool(), paths.recipes()];
    for directory in directories.iter().chain(&recipe::set::directories(&paths.recipes())) {
        io.create_dir(directory).map_err(Error::io("create", directory))?;
    }
    io.sync_dir(&paths.recipes()).map_err(Error::io("sync", &paths.recipes()))?;
    superblocks::write_epoch(io, paths, store, Epoch(0))?;
    superblocks::write(io, paths, &Superblock { store, created_unix, settings: settings.clone() })
}

/// An identity for a new store.
///
/// # Errors
/// The system gives no random numbers.
pub fn new_store_id() -> Result<StoreId> {
    let mut store = [0; 16];
    getrandom::fill(&mut store).map_err(|error| Error::Invalid(format!("no random numbers: {error}")))?;
    Ok(StoreId(store))
}

/// Mark a store whose tasks have ended as closed cleanly.
///
/// # Errors
/// The index or the filter failed.
pub fn finish(core: &Core) -> Result<()> {
    pool_unused(core)?;
    let epoch = core.epoch.max(Epoch(core.epoch_raised.load(Ordering::Acquire)));
    // If the kernel has lost a page of it, something that is stored was taken for new, and lies there twice.
    core.filter.flush_and_mark_clean(epoch).inspect_err(|_| drop(core.suspects.raise()))?;
    let mark = Batch { meta: vec![(MetaKey::CleanEpoch, clean_mark(epoch))], ..Batch::default() };
    core.index.commit(mark)
}

/// Containers that were made ahead and never used go to the pool, for the next opening. Everything that was appended is
/// committed by now, so a container without a row is empty.
fn pool_unused(core: &Core) -> Result<()> {
    let mut io = core.open_io()?;
    let (directory, pool) = (core.paths.containers(), core.paths.pool());
    let mut moved = false;
    for entry in io.list(&directory).map_err(Error::io("list", &directory))? {
        let Some(id) = container_of(&entry.name) else { continue };
        // Somebody may have put another one there.
        if id.epoch() == core.epoch && core.index.container(id)?.is_none() {
            let (path, target) = (directory.join(&entry.name), pool.join(format!("{id}.{FREE_EXTENSION}")));
            io.rename(&path, &target).map_err(Error::io("rename", &path))?;
            moved = true;
        }
    }
    if moved {
        io.sync_dir(&pool).map_err(Error::io("sync", &pool))?;
        io.sync_dir(&directory).map_err(Error::io("sync", &directory))?;
    }
    Ok(())
}

/// Forget a stream: marked, then removed, then forgotten, so that a crash never leaves a name without a recipe.
///
/// # Errors
/// There is none of that name, or the store failed.
pub fn remove(core: &Core, io: &mut dyn Io, name: &str) -> Result<RecipeRow> {
    core.poison.check()?;
    let _alone = core.removing.lock().unwrap_or_else(PoisonError::into_inner);
    let row = core.index.recipe(name)?.filter(|row| row.state == RecipeState::Live);
    let row = row.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
    let marked = RecipeRow { state: RecipeState::Deleting, ..row.clone() };
    core.index.commit(Batch { recipes: vec![marked], ..Batch::default() })?;
    recipe::set::remove(io, &core.paths.recipes(), row.recipe)?;
    core.index.commit(Batch { removed_recipes: vec![name.to_owned()], ..Batch::default() })?;
    Ok(row)
}

fn open_filter(
    home: &FilterHome,
    (store, epoch): (StoreId, Epoch),
    settings: &Settings,
    index: &dyn Index,
    clean: bool,
    notes: &mut Vec<String>,
) -> Result<Arc<Filter>> {
    let room = index.chunk_count_estimate()? / 4 * 5;
    let mut config = FilterConfig { fpr_ppm: settings.filter_fpr_ppm, ..FilterConfig::new(store, epoch) };
    let dir = match home {
        FilterHome::Directory(dir) => {
            config.first_capacity = room.max(FilterConfig::FIRST_CAPACITY_DEFAULT);
            Some(dir.as_path())
        }
        FilterHome::Memory(capacity) => {
            (config.first_capacity, config.hot_capacity) = (*capacity, *capacity);
            None
        }
    };
    let (filter, opened) = Filter::open(dir, config)?;
    let why = match opened {
        Opened::Clean if clean => return Ok(Arc::new(filter)),
        Opened::Clean => "the store was not closed cleanly".to_owned(),
        Opened::Rebuild { why } => why,
    };
    filter.begin_rebuild();
    let mut count = 0_u64;
    index.for_each_chunk(&mut |hash, _| {
        filter.insert_from_index(&hash);
        count += 1;
        Ok(())
    })?;
    filter.finish_rebuild();
    if count > 0 {
        notes.push(format!("the filter was rebuilt from {count} index entries: {why}"));
    }
    Ok(Arc::new(filter))
}
