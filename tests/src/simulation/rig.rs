//! One simulated machine: a disk, an index, and the store that is opened on them.

use std::path::Path;
use std::sync::Arc;

use gdd_engine::core::Core;
use gdd_engine::driver::{Patience, Signal};
use gdd_engine::error::{Error, Result};
use gdd_engine::format::StoreId;
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck::{self, Report};
use gdd_engine::get::{Get, Shelf};
use gdd_engine::index::simulated::SimulatedIndex;
use gdd_engine::index::{Batch, Index};
use gdd_engine::ingest::lineage::lineage_of;
use gdd_engine::ingest::{Put, PutOptions, PutSummary};
use gdd_engine::opening::{self, FilterHome, Opening};
use gdd_engine::options::{Options, Rewriting};
use gdd_engine::pace::Rest;
use gdd_engine::paths::Paths;
use gdd_engine::progress::Progress;
use gdd_engine::rebuild::{self, Rebuilt};
use gdd_engine::recall::cache::SegmentCache;
use gdd_engine::scrub::{self, ScrubOptions, ScrubReport};
use gdd_engine::stepped::{self, Steps};
use gdd_engine::vacuum::{self, Caller, VacuumOptions, VacuumReport};
use gdd_engine::{superblocks, suspects};
use gdd_uring::io::IoSource;
use gdd_uring::sim::SimDisk;

use super::cut_index::CutIndex;

pub(super) const ROOT: &str = "/store";

/// Chunks for which the filter has room at first: few, so that it grows in a run.
const FILTER_CAPACITY: u64 = 64;
/// Memory budget in bytes: so little that caches evict.
const MEMORY: u64 = 256 << 10;
/// Bytes of an extent: so few that most streams have seams.
const EXTENT_SIZE: usize = 16 << 10;
/// Bytes of the restore cache, and of one of its buffers: the longest record fits.
const SHELF: (u64, usize) = (256 << 10, 32 << 10);

/// See the module.
pub struct Rig {
    /// The disk.
    pub disk: SimDisk,
    /// The index.
    pub index: Arc<SimulatedIndex>,
    /// What stores that are opened on it store again.
    pub rewriting: Rewriting,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Engine tasks.
    pub workers: usize,
    /// Decides in which order tasks are stepped.
    pub steps_seed: u64,
    /// The index commit in whose middle the power is cut, if it comes to that.
    pub cut_at_commit: u64,
}

/// An open store.
pub struct Open {
    /// Its shared state.
    pub core: Arc<Core>,
    steps: Steps,
    shelf: Shelf,
}

impl Rig {
    /// A machine with a new store.
    ///
    /// # Errors
    /// The disk refused: a bug of the simulator.
    pub fn create(seed: u64, settings: &Settings) -> std::result::Result<Self, String> {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(ROOT)).map_err(|error| error.to_string())?;
        let mut io = disk.source().open().map_err(|error| error.to_string())?;
        opening::create(io.as_mut(), &Paths::new(Path::new(ROOT)), StoreId([7; 16]), settings, 0)
            .map_err(|error| format!("create: {error}"))?;
        io.sync_dir(Path::new("/")).map_err(|error| error.to_string())?;
        let new = Batch { meta: vec![suspects::mark(false)], ..Batch::default() };
        let index = SimulatedIndex::holding(seed, &new);
        Ok(Self { disk, index: Arc::new(index), rewriting: Rewriting::OFF })
    }

    /// The machine as a power cut now leaves it; `seed` says which of many possible ones.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        self.disk.cut_power();
        let (disk, index) = (self.disk.crash(seed), Arc::new(self.index.crash_image()));
        Self { disk, index, rewriting: self.rewriting }
    }

    /// The process has ended without closing the store, and all of it is gone; the machine goes on, and another begins.
    pub fn restart(&mut self) {
        self.disk.revive();
        self.index = Arc::new(self.index.crash_image());
    }

    /// Open the store.
    ///
    /// # Errors
    /// As the engine says.
    pub fn open(&self, shape: Shape) -> Result<Open> {
        let source = self.disk.source();
        let mut io = source.open().map_err(Error::io("open", Path::new(ROOT)))?;
        let paths = Paths::new(Path::new(ROOT));
        let (superblock, _) = superblocks::read(io.as_mut(), &paths)?;
        let index = CutIndex::new(Arc::clone(&self.index), self.disk.clone());
        index.cut_at(shape.cut_at_commit);
        let options = Options {
            workers: Some(shape.workers),
            pin: false,
            memory_budget: MEMORY,
            rewriting: self.rewriting,
            ..Options::default()
        };
        let filter = FilterHome::Memory(FILTER_CAPACITY);
        let (source, index) = (Arc::new(source), Arc::new(index));
        let opening = Opening { paths: &paths, superblock, source, index, filter };
        let seed = opening.begin(io.as_mut(), &options, || 0, &mut Vec::new())?;
        let disk = self.disk.clone();
        let idle = move || {
            let _ = disk.skip_idle(); // Whether there was anything to skip to.
        };
        let (core, steps) = stepped::assemble(seed, shape.steps_seed, EXTENT_SIZE, idle)?;
        let cache = Arc::new(SegmentCache::with_buffer_size(SHELF.0, SHELF.1));
        Ok(Open { core, steps, shelf: Shelf { cache, histograms: Arc::default() } })
    }

    /// Make the index anew, with what the old one knows or as if it were lost.
    ///
    /// # Errors
    /// As the engine says.
    pub fn rebuild(&mut self, seed: u64, lost: bool) -> Result<Rebuilt> {
        let mut io = self.disk.source().open().map_err(Error::io("open", Path::new(ROOT)))?;
        let fresh = SimulatedIndex::new(seed);
        let old = (!lost).then_some(self.index.as_ref() as &dyn Index);
        let rebuilt = rebuild::rebuild_simulated(io.as_mut(), &Paths::new(Path::new(ROOT)), &fresh, old)?;
        self.index = Arc::new(fresh);
        Ok(rebuilt)
    }

    /// What a complete check says of the store, which nobody has open.
    ///
    /// # Errors
    /// The disk failed, or there is no readable superblock.
    pub fn fsck(&self) -> Result<Report> {
        let mut io = self.disk.source().open().map_err(Error::io("open", Path::new(ROOT)))?;
        fsck::check_simulated(io.as_mut(), &Paths::new(Path::new(ROOT)), self.index.as_ref(), fsck::LEVEL_MAX)
    }
}

impl Open {
    /// Store a stream, handed over in parts of `part` bytes.
    ///
    /// # Errors
    /// As the engine says.
    pub fn put(&self, name: &str, bytes: &[u8], part: usize) -> Result<PutSummary> {
        let mut put = self.begin_put(name)?;
        for part in bytes.chunks(part) {
            put.write(part)?;
        }
        put.finish()
    }

    /// Store a stream and have it kept from its start on: it is flushed wherever `flushes`, in ascending order, says,
    /// and what that made safe is noted in `kept`.
    ///
    /// # Errors
    /// As the engine says.
    pub fn put_kept(
        &self,
        name: &str,
        bytes: &[u8],
        flushes: &[usize],
        kept: &mut usize,
    ) -> Result<PutSummary> {
        let options = PutOptions { kept: true, ..PutOptions::default() };
        let patience = Box::new(self.steps.clone());
        let mut put = Put::begin_with(Arc::clone(&self.core), name, options, patience)?;
        let mut done = 0;
        for &flush in flushes.iter().filter(|flush| **flush <= bytes.len()) {
            put.write(&bytes[done..flush])?;
            done = flush;
            put.flush()?;
            *kept = flush;
        }
        put.write(&bytes[done..])?;
        put.finish()
    }

    /// Begin to store a stream, of the lineage that its name says.
    ///
    /// # Errors
    /// As the engine says.
    pub fn begin_put(&self, name: &str) -> Result<Put> {
        let lineage = Some(lineage_of(name).to_owned());
        let options = PutOptions { lineage, ..PutOptions::default() };
        Put::begin_with(Arc::clone(&self.core), name, options, Box::new(self.steps.clone()))
    }

    /// Let the engine's tasks take so many turns.
    pub fn turn(&self, turns: u64) {
        let (mut steps, signal) = (self.steps.clone(), Signal::default());
        (0..turns).for_each(|_| steps.pause(&signal));
    }

    /// Begin to restore a stream.
    ///
    /// # Errors
    /// As the engine says.
    pub fn begin_get(&self, name: &str) -> Result<Get> {
        Get::begin(&self.core, &self.shelf, name)
    }

    /// Run the vacuum once.
    ///
    /// # Errors
    /// As the engine says.
    pub fn vacuum<'a>(
        &'a self,
        options: &VacuumOptions,
        progress: &'a mut dyn FnMut(Progress),
        rest: &'a mut Rest<'a>,
    ) -> Result<VacuumReport> {
        let patience = || -> Box<dyn Patience> { Box::new(self.steps.clone()) };
        vacuum::run(&self.core, options, Caller { shelf: &self.shelf, patience: &patience, progress, rest })
    }

    /// Check everything once.
    ///
    /// # Errors
    /// As the engine says.
    pub fn scrub<'a>(
        &'a self,
        progress: &'a mut dyn FnMut(Progress),
        rest: &'a mut Rest<'a>,
    ) -> Result<ScrubReport> {
        scrub::run(&self.core, &ScrubOptions::default(), scrub::Caller { progress, rest })
    }

    /// Forget a stream.
    ///
    /// # Errors
    /// As the engine says.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut io = self.core.open_io()?;
        opening::remove(&self.core, io.as_mut(), name).map(drop)
    }

    /// A stream's bytes; nothing when there is no such stream.
    ///
    /// # Errors
    /// As the engine says.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut get = match Get::begin(&self.core, &self.shelf, name) {
            Err(Error::NoSuchStream(_)) => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        while let Some(part) = get.next()? {
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }

    /// Close cleanly.
    ///
    /// # Errors
    /// The store failed earlier or does now: the next opening recovers.
    pub fn close(self) -> Result<()> {
        stepped::stop(&self.core, &self.steps);
        self.core.poison.check()?;
        opening::finish(&self.core)
    }
}

#[cfg(test)]
mod tests {
    use gdd_engine::planted::{Bug, plant};

    use super::*;
    use crate::simulation::model::noise;

    /// Stores a stream in a process that is killed before operation `number`, and opens the store again. How many files
    /// wait in the pool then; nothing when the stream was stored before.
    fn pool_after_kill(number: u64) -> Option<usize> {
        let (chunk_size_min, chunk_size_avg, chunk_size_max) = (256, 1024, 4096);
        let sizes = Settings {
            chunk_size_min,
            chunk_size_avg,
            chunk_size_max,
            container_size: 64 << 10,
            ..Settings::default()
        };
        let mut rig = Rig::create(1, &sizes).unwrap();
        let shape = Shape { workers: 1, steps_seed: 1, cut_at_commit: u64::MAX };
        let open = rig.open(shape).unwrap();
        rig.disk.kill_at(rig.disk.op_count() + number);
        let stored = open.put("stream", &noise(&mut gdd_uring::sim::Rng::new(1), 100_000), 10_000).is_ok();
        drop(open);
        rig.restart();
        rig.open(shape).unwrap();
        let pool = Paths::new(Path::new(ROOT)).pool();
        let waiting = rig.disk.files().iter().filter(|file| file.path.starts_with(&pool)).count();
        (!stored).then_some(waiting)
    }

    fn most_in_pool() -> usize {
        let waiting: Vec<usize> = (1..).map_while(pool_after_kill).collect();
        assert!(waiting.len() > 20, "a stream takes more operations than {}", waiting.len());
        waiting.into_iter().max().unwrap_or_default()
    }

    #[test]
    fn no_file_that_a_crash_left_empty_is_used_again() {
        assert_eq!(most_in_pool(), 0);
        plant(Some(Bug::RecycleEmptied));
        let seen = most_in_pool();
        plant(None);
        assert!(seen > 0, "it would be seen");
    }
}
