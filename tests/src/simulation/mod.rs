//! A whole store on a simulated disk: put, get, remove, close, crash, recover, in an order that one seed decides.
//!
//! The engine is the product's own; only the disk, the clock and the index's storage are simulated, and its tasks are
//! stepped instead of running on threads. The oracle is a map of the streams that were acknowledged.
//!
//! # What must hold, whatever the seed
//! - Every image that a crash leaves opens.
//! - A stream that was acknowledged and not removed comes back byte for byte.
//! - A stream that was being stored or removed at the crash is there whole or not at all.
//! - With damage at rest: the exact bytes or an error, never other bytes.

mod cut_index;
mod model;

use std::path::Path;
use std::sync::Arc;

use gdd_engine::error::Error;
use gdd_engine::format::StoreId;
use gdd_engine::format::superblock::Settings;
use gdd_engine::get::{Get, Shelf};
use gdd_engine::index::simulated::SimulatedIndex;
use gdd_engine::ingest::Put;
use gdd_engine::opening::{self, Opening};
use gdd_engine::options::{Options, Trust};
use gdd_engine::paths::Paths;
use gdd_engine::stepped::{self, Steps};
use gdd_engine::{core::Core, superblocks};
use gdd_uring::io::IoSource;
use gdd_uring::sim::{Faults, Rng, SimDisk};

pub use model::Model;

use cut_index::CutIndex;

const ROOT: &str = "/store";

/// What a run is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Power cuts only: nothing acknowledged may be lost.
    PowerCuts,
    /// Power cuts, and writes and syncs that fail: nothing acknowledged may be lost.
    Errors,
    /// A disk that damages what it holds: exact bytes or an error.
    Rot,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Power cuts.
    pub cuts: u64,
    /// Streams acknowledged.
    pub acknowledged: u64,
    /// Streams read back and compared.
    pub compared: u64,
}

/// Run one seed.
///
/// # Errors
/// What was violated, in words.
pub fn run(seed: u64, weather: Weather) -> Result<Outcome, String> {
    let mut world = World::new(seed, weather)?;
    for life in 0..3 {
        world.live(life == 2)?;
    }
    Ok(world.outcome)
}

struct World {
    random: Rng,
    weather: Weather,
    disk: SimDisk,
    index: Arc<SimulatedIndex>,
    model: Model,
    outcome: Outcome,
}

/// An open store.
struct Open {
    core: Arc<Core>,
    steps: Steps,
    shelf: Shelf,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Result<Self, String> {
        let mut random = Rng::new(seed);
        let (min, avg, max) = [(64, 256, 1024), (256, 1024, 4096), (512, 2048, 8192)][random.index(3)];
        let settings = Settings {
            chunk_size_min: min,
            chunk_size_avg: avg,
            chunk_size_max: max,
            container_size: [64, 128, 256][random.index(3)] << 10,
            ..Settings::default()
        };
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(ROOT)).map_err(|error| error.to_string())?;
        let mut io = disk.source().open().map_err(|error| error.to_string())?;
        opening::create(io.as_mut(), &Paths::new(Path::new(ROOT)), StoreId([7; 16]), &settings, 0)
            .map_err(|error| format!("create: {error}"))?;
        io.sync_dir(Path::new("/")).map_err(|error| error.to_string())?;
        let index = Arc::new(SimulatedIndex::new(seed));
        Ok(Self { model: Model::new(&mut random), random, weather, disk, index, outcome: Outcome::default() })
    }

    /// One life of the store: open, work, end one way or another.
    fn live(&mut self, last: bool) -> Result<(), String> {
        if self.weather != Weather::Rot {
            self.disk.set_faults(Faults::default());
        }
        self.disk.crash_at(u64::MAX); // A cut that an earlier life did not live to see.
        let open = match self.open() {
            Ok(open) => open,
            Err(_) if self.weather == Weather::Rot => return Ok(()), // It says what is damaged, and serves nothing.
            Err(error) => return Err(format!("a store does not open: {error}")),
        };
        self.settle(&open)?;
        self.compare(&open)?;
        if last {
            self.work(&open)?; // Liveness: with a disk that works, everything works.
            self.close(open);
            return Ok(());
        }
        self.spoil();
        let worked = self.work(&open);
        let cut = self.disk.is_dead();
        if worked.is_ok() && !cut && self.random.coin() {
            self.close(open);
        } else {
            drop(open);
        }
        if self.disk.is_dead() || self.random.coin() {
            self.disk.cut_power();
            self.outcome.cuts += 1;
            self.disk = self.disk.crash(self.random.bits());
            self.index = Arc::new(self.index.crash_image());
        }
        worked
    }

    /// What will go wrong in this life.
    fn spoil(&mut self) {
        let here = self.disk.op_count();
        match self.weather {
            Weather::PowerCuts => {}
            Weather::Errors => {
                let faults = Faults {
                    write_error: 2000,
                    sync_error: 5000,
                    fsyncgate: true,
                    short: 20_000,
                    late: 200_000,
                    ..Faults::default()
                };
                self.disk.set_faults(faults);
            }
            Weather::Rot => {
                let faults =
                    Faults { bit_flip: 1000, misdirected_write: 1000, lost_write: 500, ..Faults::default() };
                self.disk.set_faults(faults);
            }
        }
        if self.random.chance(800_000) {
            self.disk.crash_at(here + 1 + self.random.below(400));
        }
    }

    fn open(&mut self) -> Result<Open, Error> {
        let source = self.disk.source();
        let mut io = source.open().map_err(Error::io("open", Path::new(ROOT)))?;
        let paths = Paths::new(Path::new(ROOT));
        let (superblock, _) = superblocks::read(io.as_mut(), &paths)?;
        let index = Arc::new(CutIndex::new(Arc::clone(&self.index), self.disk.clone()));
        let workers = 1 + self.random.index(3);
        let options =
            Options { workers: Some(workers), pin: false, memory_budget: 32 << 20, ..Options::default() };
        let opening = Opening { paths: &paths, superblock, source: Arc::new(source), index, filter: None };
        let seed = opening.begin(io.as_mut(), &options, || 0, &mut Vec::new())?;
        let disk = self.disk.clone();
        let idle = move || {
            let _ = disk.skip_idle(); // Whether there was anything to skip to.
        };
        let (core, steps) = stepped::assemble(seed, self.random.bits(), idle)?;
        Ok(Open { core, steps, shelf: Shelf::new(1 << 20, Trust::Hash) })
    }

    fn close(&mut self, open: Open) {
        stepped::stop(&open.core, &open.steps);
        if open.core.poison.check().is_ok() {
            let _ = opening::finish(&open.core); // A failure here is a crash: the next opening recovers.
        }
    }

    /// A few operations; ends early when the power is cut or the store has failed.
    fn work(&mut self, open: &Open) -> Result<(), String> {
        for _ in 0..1 + self.random.below(4) {
            if self.random.chance(200_000) && self.model.any(&mut self.random).is_some() {
                self.remove(open);
            } else {
                self.put(open)?;
            }
            if self.disk.is_dead() || open.core.poison.why().is_some() {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, open: &Open) -> Result<(), String> {
        let (name, bytes) = self.model.invent(&mut self.random);
        self.model.doubt(&name, Some(bytes.clone()));
        let stored =
            Put::begin(Arc::clone(&open.core), &name, Box::new(open.steps.clone())).and_then(|mut put| {
                for part in bytes.chunks(1 + self.random.index(60_000)) {
                    put.write(part)?;
                }
                put.finish()
            });
        match stored {
            Ok(summary) => {
                self.outcome.acknowledged += 1;
                self.model.acknowledge(&name, Some(bytes));
                let expected = self.model.len(&name);
                (summary.bytes == expected)
                    .then_some(())
                    .ok_or_else(|| format!("{name}: {} bytes", summary.bytes))
            }
            Err(_) if self.disk.is_dead() || self.weather != Weather::PowerCuts => Ok(()),
            Err(error) => Err(format!("a put fails on a disk that works: {error}")),
        }
    }

    fn remove(&mut self, open: &Open) {
        let Some(name) = self.model.any(&mut self.random) else { return };
        self.model.doubt(&name, None);
        let Ok(mut io) = open.core.open_io() else { return };
        if opening::remove(&open.core, io.as_mut(), &name).is_ok() {
            self.model.acknowledge(&name, None);
        }
    }

    /// Streams in doubt after a crash are there whole, or not at all; from now on that is what counts.
    fn settle(&mut self, open: &Open) -> Result<(), String> {
        for (name, before, after) in self.model.doubts() {
            let found = self.read(open, &name);
            let settled = match (found, self.weather) {
                (Ok(found), _) if found == after || found == before => found,
                (Ok(found), _) => {
                    return Err(format!("{name} has {:?} bytes after a crash", found.map(|b| b.len())));
                }
                (Err(_), Weather::Rot) => None,
                (Err(error), _) => return Err(format!("{name} cannot be read after a crash: {error}")),
            };
            self.model.acknowledge(&name, settled);
        }
        Ok(())
    }

    /// Every acknowledged stream comes back.
    fn compare(&mut self, open: &Open) -> Result<(), String> {
        for (name, bytes) in self.model.streams() {
            self.outcome.compared += 1;
            match self.read(open, &name) {
                Ok(Some(found)) if found == bytes => {}
                Ok(Some(found)) => {
                    return Err(format!("{name} has wrong bytes: {} of {}", found.len(), bytes.len()));
                }
                Ok(None) | Err(_) if self.weather == Weather::Rot => {}
                Ok(None) => return Err(format!("{name} was acknowledged and is gone")),
                Err(error) => return Err(format!("{name} was acknowledged and cannot be read: {error}")),
            }
        }
        Ok(())
    }

    fn read(&self, open: &Open, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut get = match Get::begin(&open.core, &open.shelf, name) {
            Err(Error::NoSuchStream(_)) => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        while let Some(part) = get.next()? {
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }
}
