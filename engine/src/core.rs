//! What every part of an open store shares, and how its tasks are made from it.
//!
//! The same parts run on threads ([`crate::store`]) and stepped by a seed (simulation): only who calls `turn` differs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gdd_kernels::Params;
use gdd_uring::io::{Io, IoSource};

use crate::commit::{CommitDesk, Committer};
use crate::compress::Compressor;
use crate::container::doubts::Doubts;
use crate::container::prepare::{Plan, PrepareDesk, Preparer};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::format::StoreId;
use crate::format::recipe::{ChunkParams, name_problem};
use crate::format::superblock::Settings;
use crate::ids::{ContainerId, Epoch, RecipeId};
use crate::index::{ContainerRow, ContainerState, Index};
use crate::leaving::Leaving;
use crate::limits::{CHUNK_SIZE_MAX, EXTENT_SIZE, UNCOMMITTED_BYTES_MAX};
use crate::options::{Budget, Rewriting};
use crate::paths::Paths;
use crate::poison::Poison;
use crate::shard::append::{Appender, Sizes};
use crate::shard::counters::Counters;
use crate::shard::known::{Known, Sources};
use crate::shard::mailbox::Door;
use crate::shard::{Parts, Shard};
use crate::suspects::Suspects;
use crate::tuner::Ladder;
use crate::unchecked::Unchecked;
use crate::visits::Visits;

/// What the tasks of one opening are made from. Cheap to clone.
#[derive(Clone)]
pub struct Seed {
    /// Names in the store.
    pub paths: Paths,
    /// The store's identity.
    pub store: StoreId,
    /// What it was created with.
    pub settings: Settings,
    /// This opening.
    pub epoch: Epoch,
    /// The index.
    pub index: Arc<dyn Index>,
    /// The filter in front of it.
    pub filter: Arc<Filter>,
    /// The disk.
    pub source: Arc<dyn IoSource>,
    /// Containers that recovery found missing or short.
    pub damaged: Arc<HashSet<ContainerId>>,
    /// Chunks that this process could not give back.
    pub suspects: Suspects,
    /// Containers that nobody has checked since the index was made anew.
    pub unchecked: Unchecked,
    /// Containers that are being emptied.
    pub leaving: Leaving,
    /// How much of what is known is stored again.
    pub rewriting: Rewriting,
    /// Who stores and who reads.
    pub visits: Visits,
    /// Containers that the last opening left unsealed and whole.
    pub begun: Vec<(ContainerId, ContainerRow)>,
    /// Engine threads.
    pub workers: usize,
    /// Memory.
    pub budget: Budget,
    /// The store's first failure.
    pub poison: Poison,
    /// Where containers are ordered.
    pub prepare: PrepareDesk,
    /// Where commits are ordered.
    pub commit: CommitDesk,
    /// Raised when the store closes.
    pub stop: Arc<AtomicBool>,
    /// Wall-clock seconds since 1970, for people only; the simulator's is fixed.
    pub unix_seconds: fn() -> u64,
}

impl Seed {
    /// The sets of chunk sizes that streams may be cut with.
    #[must_use]
    pub fn ladder(&self) -> Ladder {
        let Settings { chunk_size_min: min, chunk_size_avg: avg, chunk_size_max: max, .. } = self.settings;
        let most = CHUNK_SIZE_MAX.min(self.settings.container_size / 4);
        Ladder::new(ChunkParams { min, avg, max }, u32::try_from(most).expect("a chunk size fits 32 bits"))
    }

    /// Bytes of the longest chunk that may come.
    pub(crate) fn largest_chunk_size(&self) -> u32 {
        if self.settings.tuner { self.ladder().largest().max } else { self.settings.chunk_size_max }
    }

    /// Make worker `number`, with its own door to the disk.
    ///
    /// # Errors
    /// The compression setting is not usable.
    pub fn shard(
        &self,
        number: usize,
        mut io: Box<dyn Io>,
        counters: Arc<Counters>,
    ) -> Result<(Shard, Door)> {
        let door = Door::new(io.waker());
        let sources = Sources {
            paths: self.paths.clone(),
            store: self.store,
            index: Arc::clone(&self.index),
            filter: Arc::clone(&self.filter),
            damaged: Arc::clone(&self.damaged),
            suspects: self.suspects.clone(),
            unchecked: self.unchecked.clone(),
            leaving: self.leaving.clone(),
            doubts: self.doubts(),
            locality_budget: self.budget.locality / self.workers,
        };
        let waker = io.waker();
        let appender = Appender::new(
            number,
            self.store,
            self.paths.clone(),
            Sizes {
                chunk_max: self.largest_chunk_size(),
                container: self.settings.container_size,
                memory: self.budget.batches / self.workers,
            },
            self.prepare.clone(),
            io.as_mut(),
        );
        let parts = Parts {
            io,
            door: door.clone(),
            compressor: Compressor::new(self.settings.compression)?,
            known: Known::new(number, self.workers, sources, Arc::clone(&counters)),
            appender,
            commit: self.commit.attach(move || waker.wake()),
            poison: self.poison.clone(),
            counters,
            epoch: self.epoch,
            uncommitted_max: UNCOMMITTED_BYTES_MAX.min(4 * self.settings.container_size),
            stop: Arc::clone(&self.stop),
        };
        Ok((Shard::new(parts), door))
    }

    /// Make the committer.
    #[must_use]
    pub fn committer(&self) -> Committer {
        Committer::new(self.commit.clone(), self.workers, Arc::clone(&self.index), self.poison.clone())
    }

    /// Where damage is written down that somebody comes across.
    #[must_use]
    pub fn doubts(&self) -> Doubts {
        let (suspects, leaving) = (self.suspects.clone(), self.leaving.clone());
        Doubts { index: Arc::clone(&self.index), suspects, leaving, visits: self.visits.clone() }
    }

    /// Make the preparer.
    #[must_use]
    pub fn preparer(&self, io: Box<dyn Io>) -> Preparer {
        let plan = Plan {
            paths: self.paths.clone(),
            store: self.store,
            epoch: self.epoch,
            capacity: self.settings.container_size,
            begun: self.begun.clone(),
            doubts: self.doubts(),
        };
        Preparer::new(self.prepare.clone(), io, plan)
    }
}

/// An open store's shared state, as its streams see it.
pub struct Core {
    /// What it was made from.
    pub seed: Seed,
    /// How streams are cut.
    pub params: Params,
    /// The workers' doors.
    pub doors: Vec<Door>,
    /// The workers' counts.
    pub counters: Vec<Arc<Counters>>,
    /// Bytes of an extent.
    pub extent_size: usize,
    /// A vacuum is at work.
    pub(crate) vacuuming: AtomicBool,
    /// Held while the recipe of a stream is removed or written anew.
    pub(crate) removing: Mutex<()>,
    /// A scrub is at work.
    pub(crate) scrubbing: AtomicBool,
    /// Containers in which scrubs of this opening have found damage.
    found_damaged: Mutex<HashSet<ContainerId>>,
    recipes_begun: AtomicU32,
    /// The last epoch on disk, if it was raised above this opening's; 0 otherwise.
    pub(crate) epoch_raised: AtomicU32,
    names: Arc<Mutex<HashSet<String>>>,
}

impl std::ops::Deref for Core {
    type Target = Seed;
    fn deref(&self) -> &Seed {
        &self.seed
    }
}

impl Core {
    /// The shared state of a store whose workers stand behind `doors`.
    ///
    /// # Errors
    /// The chunking parameters are not usable.
    pub fn new(seed: Seed, doors: Vec<Door>, counters: Vec<Arc<Counters>>) -> Result<Self> {
        let params = params_of(&seed.settings)?;
        let names = Arc::default();
        let extent_size =
            usize::try_from(EXTENT_SIZE.min(seed.settings.container_size)).expect("an extent fits memory");
        Ok(Self {
            seed,
            params,
            doors,
            counters,
            extent_size,
            vacuuming: AtomicBool::new(false),
            removing: Mutex::default(),
            scrubbing: AtomicBool::new(false),
            found_damaged: Mutex::default(),
            recipes_begun: AtomicU32::new(0),
            epoch_raised: AtomicU32::new(0),
            names,
        })
    }

    /// A door to the disk for the calling thread.
    ///
    /// # Errors
    /// The message names the remedy.
    pub fn open_io(&self) -> Result<Box<dyn Io>> {
        self.source.open().map_err(Error::io("open an I/O ring for", self.paths.root()))
    }

    /// An id for a new recipe.
    pub fn next_recipe(&self) -> RecipeId {
        RecipeId::of(self.epoch, self.recipes_begun.fetch_add(1, Ordering::Relaxed))
    }

    /// Seconds since 1970, for people only.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        (self.seed.unix_seconds)()
    }

    /// A scrub has found damage in a container.
    pub(crate) fn note_damaged(&self, id: ContainerId) {
        self.found_damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// Whether one has, in this opening.
    pub(crate) fn found_damaged(&self, id: ContainerId) -> bool {
        self.found_damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// A container's row, for somebody whose reading visit has begun; nothing when the vacuum may free it while that
    /// lasts: of one that it has emptied, only older visits count.
    ///
    /// # Errors
    /// The index failed.
    pub(crate) fn readable(&self, id: ContainerId) -> Result<Option<ContainerRow>> {
        let emptied = self.leaving.departure(id).is_some_and(|departure| departure.emptied.is_some());
        let row = self.index.container(id)?;
        Ok(row.filter(|row| row.state != ContainerState::Free && !emptied))
    }

    /// Reserve a stream name.
    ///
    /// # Errors
    /// The name is unusable, taken, or being stored by somebody else right now.
    pub fn claim(&self, name: &str) -> Result<NameClaim> {
        if let Some(problem) = name_problem(name) {
            return Err(Error::Invalid(problem));
        }
        let claimed = self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        if !claimed {
            return Err(Error::StreamExists(name.to_owned()));
        }
        let claim = NameClaim { name: name.to_owned(), names: Arc::clone(&self.names) };
        match self.index.recipe(name)? {
            Some(_) => Err(Error::StreamExists(name.to_owned())),
            None => Ok(claim),
        }
    }
}

/// Work on an open store that only one may do at a time; dropped, the next may.
#[derive(Debug)]
pub(crate) struct Alone<'a>(&'a AtomicBool);

impl<'a> Alone<'a> {
    /// Begin `work`, a noun with its article.
    ///
    /// # Errors
    /// [`Error::Busy`]: somebody is at it.
    pub(crate) fn begin(flag: &'a AtomicBool, work: &str) -> Result<Self> {
        if flag.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy(format!("{work} is at work in this store already; wait for it")));
        }
        Ok(Self(flag))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A reserved stream name; dropped, it is free again.
#[derive(Debug)]
pub struct NameClaim {
    name: String,
    names: Arc<Mutex<HashSet<String>>>,
}

impl NameClaim {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for NameClaim {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

fn params_of(settings: &Settings) -> Result<Params> {
    Params::new(settings.chunk_size_min, settings.chunk_size_avg, settings.chunk_size_max)
        .map_err(|error| Error::Invalid(error.to_string()))
}
