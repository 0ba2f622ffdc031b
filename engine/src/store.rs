//! A store: the one thing that users of this crate open, and the threads behind it.
//!
//! Opening for writing: lock -> superblock -> new epoch, durable -> index -> recovery -> filter -> marked as in use,
//! durable -> threads. Closing is the reverse; only a store whose every task ended well is marked as closed cleanly.

mod timed;
mod upkeep;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use gdd_uring::abort::AbortOnPanic;
use gdd_uring::io::{Io, IoSource, unix_seconds};
use gdd_uring::lock::{Lock, LockError};
use gdd_uring::probe::{self, TRIAL_PREFIX};

use crate::ballast;
use crate::core::{Core, Seed};
use crate::driver::{self, Patience};
use crate::error::{Error, Result};
use crate::filter::{Filter, FilterConfig};
use crate::format::StoreId;
use crate::format::superblock::{Settings, Superblock};
use crate::get::{self, Get, Shelf};
use crate::ids::Epoch;
use crate::index::rocks::RocksIndex;
use crate::index::{ContainerRow, ContainerState, Index, RecipeRow, RecipeState};
use crate::ingest::named::NamedPut;
use crate::ingest::{Put, PutOptions};
use crate::leaving::Leaving;
use crate::observe::Histograms;
use crate::opening::{self, FilterHome, Opening};
use crate::options::{Access, Options, Trust};
use crate::paths::Paths;
use crate::recall::Recall;
use crate::recall::cache::CacheStats;
use crate::shard::counters::Counters;
use crate::shard::mailbox::Door;
use crate::stats::{self, Stats};
use crate::superblocks;
use crate::suspects::Suspects;
use timed::Timed;

/// An open store. Share it between threads by reference.
pub struct Store {
    core: Arc<Core>,
    access: Access,
    threads: Vec<JoinHandle<()>>,
    shelf: Shelf,
    notes: Vec<String>,
    is_short: bool,
    closed: bool,
    /// Last: released after everything else is gone.
    _lock: Lock,
}

impl Store {
    /// Create a store in `dir`, which must be empty or absent.
    ///
    /// # Errors
    /// The directory is in use, the settings are unusable, or the disk refused.
    pub fn init(dir: &Path, settings: &Settings, options: &Options) -> Result<StoreId> {
        let store = opening::new_store_id()?;
        Self::init_as(dir, settings, options, store).map(|()| store)
    }

    /// The same with the identity of another store, to take its place when it is lost: what refers to that store, as
    /// Bacula's volumes do in bothsides mode, then refers to this one.
    ///
    /// # Errors
    /// As [`Store::init`].
    pub fn init_as(dir: &Path, settings: &Settings, options: &Options, store: StoreId) -> Result<()> {
        if let Some(problem) = settings.problem() {
            return Err(Error::Invalid(problem));
        }
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let paths = Paths::new(dir);
        if let Some(why) = occupied(&paths)? {
            return Err(Error::Invalid(why));
        }
        let source = probe_io(dir, Access::ReadWrite, options)?;
        let _lock = lock(&paths, Access::ReadWrite)?;
        let mut io = open_io(source.as_ref(), dir)?;
        RocksIndex::create(&paths.index(), store, options.budget().index)?.close()?;
        opening::create(io.as_mut(), &paths, store, settings, unix_seconds())
    }

    /// Open the store in `dir`.
    ///
    /// # Errors
    /// No store, a newer format, another process, a damaged index (the message names the remedy), or the disk refused.
    pub fn open(dir: &Path, access: Access, options: &Options) -> Result<Self> {
        let paths = Paths::new(dir);
        if !paths.superblocks().iter().any(|path| path.exists()) {
            let why = "it has no file gdd.store".to_owned();
            return Err(Error::NotAStore { path: dir.to_owned(), why });
        }
        let lock = lock(&paths, access)?;
        // A store of a newer format is refused before anything is written, and testing the disk writes.
        let (superblock, note) = {
            let reading = probe_io(dir, Access::ReadOnly, options)?;
            superblocks::read(open_io(reading.as_ref(), dir)?.as_mut(), &paths)?
        };
        let mut notes: Vec<String> = note.into_iter().collect();
        let rotten = !notes.is_empty();
        let mut is_short = false;
        if access == Access::ReadWrite {
            let container_size = superblock.settings.container_size;
            let given_up = ballast::give_up_if_full(&paths, container_size);
            let given_up = given_up.map_err(Error::io("free the ballast of", dir))?;
            is_short = given_up.is_some();
            notes.extend(given_up);
        }
        let source = probe_io(dir, access, options)?;
        let mut io = open_io(source.as_ref(), dir)?;
        if access == Access::ReadWrite && rotten {
            superblocks::write(io.as_mut(), &paths, &superblock)?;
            notes.push("the superblock was written anew from its good copy".to_owned());
        }
        let budget = options.budget();
        let seed = match access {
            Access::ReadOnly => read_only_seed(&paths, superblock, source, options)?,
            Access::ReadWrite => {
                let index = RocksIndex::open(&paths.index(), superblock.store, budget.index)?;
                let filter = FilterHome::Directory(paths.filter());
                let opening = Opening { paths: &paths, superblock, source, index: Arc::new(index), filter };
                opening.begin(io.as_mut(), options, unix_seconds, &mut notes)?
            }
        };
        for note in &notes {
            tracing::warn!("{note}");
        }
        drop(io);
        let mut store = Self {
            core: Arc::new(Core::new(seed, Vec::new(), Vec::new())?),
            access,
            threads: Vec::new(),
            shelf: Shelf::new(budget.segments, options.trust),
            notes,
            is_short,
            closed: false,
            _lock: lock,
        };
        if access == Access::ReadWrite {
            store.start(options.pin)?;
        }
        Ok(store)
    }

    /// Begin to store a stream. Several threads may store several streams at once.
    ///
    /// # Errors
    /// The store is open for reading only, the name is taken, or the store failed.
    pub fn put(&self, name: &str) -> Result<Put> {
        self.writable()?;
        Put::begin(Arc::clone(&self.core), name, self.patience())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Store::put`]; or the lineage is unusable.
    pub fn put_with(&self, name: &str, options: PutOptions) -> Result<Put> {
        self.writable()?;
        Put::begin_with(Arc::clone(&self.core), name, options, self.patience())
    }

    /// Begin to store a stream that was cut and hashed elsewhere.
    ///
    /// # Errors
    /// As [`Store::put_with`].
    pub fn put_named(&self, name: &str, options: PutOptions) -> Result<NamedPut> {
        self.writable()?;
        NamedPut::begin(Arc::clone(&self.core), name, options, self.patience())
    }

    /// Begin to restore a stream.
    ///
    /// # Errors
    /// There is none of that name, or its recipe is damaged in both copies.
    pub fn get(&self, name: &str) -> Result<Get> {
        Get::begin(&self.core, &self.shelf, name)
    }

    /// Access to single chunks, for the calling thread.
    ///
    /// # Errors
    /// The disk refused.
    pub fn recall(&self) -> Result<Recall> {
        get::recall(&self.core, &self.shelf)
    }

    /// Room for the segments of a service of its own, checked up to `trust`; its times count with the store's.
    #[must_use]
    pub fn another_shelf(&self, trust: Trust) -> Shelf {
        let bytes = self.core.budget.service_segments;
        Shelf { histograms: Arc::clone(&self.shelf.histograms), ..Shelf::new(bytes, trust) }
    }

    /// The cache of segments read for restores by this process.
    #[must_use]
    pub fn cache(&self) -> CacheStats {
        self.shelf.cache.stats()
    }

    /// How long each stage of the work on this store takes, since it was opened.
    #[must_use]
    pub fn histograms(&self) -> &Arc<Histograms> {
        &self.shelf.histograms
    }

    /// The streams that can be restored, by name.
    ///
    /// # Errors
    /// The index failed.
    pub fn list(&self) -> Result<Vec<RecipeRow>> {
        let mut rows = self.core.index.recipes()?;
        rows.retain(|row| row.state == RecipeState::Live);
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// Forget a stream. Its chunks stay until a vacuum finds that nobody else needs them.
    ///
    /// # Errors
    /// There is none of that name, or the store failed.
    pub fn remove(&self, name: &str) -> Result<RecipeRow> {
        self.writable()?;
        let mut io = self.core.open_io()?;
        opening::remove(&self.core, io.as_mut(), name)
    }

    /// What the store holds and how it works.
    ///
    /// # Errors
    /// The index or the disk failed.
    pub fn stats(&self) -> Result<Stats> {
        let core = &self.core;
        let mut io = core.open_io()?;
        let notes = core.source.notes().into_iter().chain(self.notes.iter().cloned()).collect();
        let sources = stats::Sources {
            store: core.store,
            paths: &core.paths,
            settings: &core.settings,
            index: core.index.as_ref(),
            filter: core.filter.stats(),
            counters: &core.counters,
            damaged: core.damaged.len(),
            suspects: core.suspects.count(),
            io: (core.source.mode().to_owned(), notes),
            kernel: gdd_kernels::Chunker::new(core.params).level().to_string(),
        };
        stats::collect(io.as_mut(), sources)
    }

    /// What an operator should know about this opening: repairs, damage, fallbacks.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The shared state, for benches and tests.
    #[must_use]
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Close cleanly: everything appended is made durable, and the next opening needs no recovery.
    ///
    /// # Errors
    /// The store failed earlier, or fails now; the next opening runs recovery.
    pub fn close(mut self) -> Result<()> {
        self.closed = true;
        self.stop();
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        self.core.poison.check()?;
        opening::finish(&self.core)?;
        // The index's log would be replayed up to the first bit that has changed meanwhile, and nobody would hear of
        // the rest. All of it is durable, though: a disk that is full now makes no closing that failed.
        if let Err(error) = self.core.index.close() {
            tracing::warn!("the index is closed with its log: {error}");
        }
        Ok(())
    }

    /// How a stream's thread waits for the workers.
    fn patience(&self) -> Box<dyn Patience> {
        Box::new(Timed::new(self.shelf.histograms.recorder()))
    }

    fn writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::Invalid("the store is open for reading only".to_owned())),
        }
    }

    /// Start the committer, the preparer and the workers.
    fn start(&mut self, pin: bool) -> Result<()> {
        let seed = self.core.seed.clone();
        let (workers, cores) = (seed.workers, core_affinity::get_core_ids().unwrap_or_default());
        let pin = pin && cores.len() >= workers && workers > 1;
        let counted =
            || Arc::new(Counters { stages: self.shelf.histograms.recorder(), ..Counters::default() });
        let counters: Vec<Arc<Counters>> = (0..workers).map(|_| counted()).collect();
        let mut doors = Vec::with_capacity(workers);
        for number in 0..workers {
            let (seed, counters, core) =
                (seed.clone(), Arc::clone(&counters[number]), cores.get(number).copied());
            let (sender, receiver) = mpsc::channel();
            self.spawn(format!("gdd-worker-{number}"), move || {
                if let Some(core) = core.filter(|_| pin) {
                    core_affinity::set_for_current(core);
                }
                worker(&seed, number, counters, &sender);
            })?;
            let door: Result<Door> = receiver.recv().unwrap_or_else(|_| Err(ended("a worker")));
            doors.push(door?);
        }
        let mut committer = seed.committer();
        self.spawn("gdd-committer".to_owned(), move || driver::run(&mut committer))?;
        let preparing = seed.clone();
        self.spawn("gdd-preparer".to_owned(), move || {
            match open_io(preparing.source.as_ref(), preparing.paths.root()) {
                Ok(io) => driver::run(&mut preparing.preparer(io)),
                Err(error) => preparing.poison.set(&error),
            }
        })?;
        self.core = Arc::new(Core::new(seed, doors, counters)?);
        Ok(())
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let _guard = AbortOnPanic;
                body();
            })
            .map_err(Error::io("start a thread for", self.core.paths.root()))?;
        self.threads.push(thread);
        Ok(())
    }

    /// End every task and wait for it.
    fn stop(&mut self) {
        self.core.stop.store(true, Ordering::Release);
        self.core.doors.iter().for_each(Door::wake);
        self.core.prepare.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // One that panics takes the process with it.
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.closed {
            self.stop(); // As after a crash: nothing is marked clean, and the next opening runs recovery.
        }
    }
}

fn worker(seed: &Seed, number: usize, counters: Arc<Counters>, sender: &mpsc::Sender<Result<Door>>) {
    let made =
        open_io(seed.source.as_ref(), seed.paths.root()).and_then(|io| seed.shard(number, io, counters));
    match made {
        Ok((mut shard, door)) => {
            if sender.send(Ok(door)).is_ok() {
                driver::run(&mut shard);
            }
        }
        Err(error) => drop(sender.send(Err(error))),
    }
}

fn read_only_seed(
    paths: &Paths,
    superblock: Superblock,
    source: Arc<dyn IoSource>,
    options: &Options,
) -> Result<Seed> {
    let Superblock { store, settings, .. } = superblock;
    let index: Arc<dyn Index> =
        Arc::new(RocksIndex::open_read_only(&paths.index(), store, options.budget().index)?);
    let is_leaving =
        |row: &ContainerRow| matches!(row.state, ContainerState::Draining | ContainerState::Quarantined);
    let rows = index.containers()?.into_iter().filter(|(_, row)| is_leaving(row));
    let leaving: Vec<_> = rows.map(|(id, _)| id).collect();
    let suspects = Suspects::known_to(index.as_ref())?;
    let (filter, _) = Filter::open_read_only(&paths.filter(), FilterConfig::new(store, Epoch(0)))?;
    Ok(Seed {
        paths: paths.clone(),
        store,
        settings,
        epoch: Epoch(0),
        index,
        filter: Arc::new(filter),
        source,
        damaged: Arc::default(),
        suspects,
        unchecked: Default::default(),
        leaving: Leaving::of(leaving),
        rewriting: options.rewriting,
        visits: Default::default(),
        begun: Vec::new(),
        workers: options.workers(),
        budget: options.budget(),
        poison: Default::default(),
        prepare: Default::default(),
        commit: Default::default(),
        stop: Arc::default(),
        unix_seconds,
    })
}

/// Take the store's lock.
///
/// # Errors
/// `Locked` when another process has it.
pub fn lock(paths: &Paths, access: Access) -> Result<Lock> {
    let path = paths.lock();
    let taken = match access {
        Access::ReadWrite => Lock::exclusive(&path),
        Access::ReadOnly => Lock::shared(&path),
    };
    taken.map_err(|error| match error {
        LockError::Held { holder, .. } => {
            let holder = holder.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            Error::Locked { path: path.clone(), holder }
        }
        LockError::Io { source, .. } => Error::io("lock", &path)(source),
    })
}

/// Why no store can be made here, if so.
fn occupied(paths: &Paths) -> Result<Option<String>> {
    let is_empty = |directory: &Path| match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().all(|entry| {
            // What a killed test of the disk left means nothing.
            entry.file_name().as_encoded_bytes().starts_with(TRIAL_PREFIX.as_bytes())
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("list", directory)(error)),
    };
    let dir = paths.root().display();
    if is_empty(paths.root())? {
        return Ok(None);
    }
    if paths.superblocks().iter().any(|path| path.exists()) {
        return Ok(Some(format!("{dir} is a gdd store already; choose an empty directory")));
    }
    if paths.lock().exists() && is_empty(&paths.containers())? {
        return Ok(Some(format!(
            "{dir} holds what an interrupted `gdd init` has left: empty it, and try again"
        )));
    }
    Ok(Some(format!("{dir} is not empty; choose an empty directory")))
}

/// Find out how to reach the disk.
///
/// # Errors
/// The message names the remedy.
pub fn probe_io(dir: &Path, access: Access, options: &Options) -> Result<Arc<dyn IoSource>> {
    let found = match access {
        Access::ReadWrite => probe::probe(dir, options.io_mode, options.require_direct),
        Access::ReadOnly => probe::probe_read_only(dir, options.io_mode),
    };
    found.map_err(Error::io("test the disk below", dir))
}

fn open_io(source: &dyn IoSource, dir: &Path) -> Result<Box<dyn Io>> {
    source.open().map_err(Error::io("open an I/O ring for", dir))
}

fn ended(what: &str) -> Error {
    Error::Poisoned(format!("{what} ended at its start"))
}
