//! A whole store on a simulated disk: put, get, remove, vacuum, close, crash, recover, in an order that one seed
//! decides.
//!
//! The engine is the product's own; only the disk, the clock and the index's storage are simulated, and its tasks are
//! stepped instead of running on threads. The oracle is a map of the streams that were acknowledged.
//!
//! # What must hold, whatever the seed
//! - Every image that a crash leaves opens, also when the power goes again while it is being recovered.
//! - A stream that was acknowledged and not removed comes back byte for byte.
//! - A stream that was being stored or removed at the crash is there whole or not at all.
//! - In the end, on a machine that works, everything works, and a full check finds nothing.
//! - With damage at rest: the exact bytes or an error, never other bytes; and a full check names what cannot be read.

pub mod bursts;
mod cut_index;
mod model;
mod rig;
pub mod scripts;
pub mod sectors;
mod shift;
pub mod sweep;
mod weather;
mod world;

use gdd_uring::sim::Hits;

pub use model::Model;
pub use weather::Weather;

use world::World;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong on its disks, power cuts among it.
    pub hits: Hits,
    /// Operations of its disks.
    pub operations: u64,
    /// Those of them that make something durable.
    pub syncs: u64,
    /// Openings, puts, removals and reads that failed: somebody noticed.
    pub refused: u64,
    /// Streams acknowledged.
    pub acknowledged: u64,
    /// Streams read back and compared.
    pub compared: u64,
    /// Runs of the vacuum.
    pub vacuums: u64,
    /// Runs of the scrub.
    pub scrubs: u64,
    /// Containers that they freed.
    pub freed: u64,
}

impl Outcome {
    /// Take in what another run did.
    pub fn merge(&mut self, other: &Self) {
        self.hits.merge(&other.hits);
        self.operations += other.operations;
        self.syncs += other.syncs;
        self.refused += other.refused;
        self.acknowledged += other.acknowledged;
        self.compared += other.compared;
        self.vacuums += other.vacuums;
        self.freed += other.freed;
        self.scrubs += other.scrubs;
    }
}

/// Run one seed.
///
/// # Errors
/// What was violated, in words.
pub fn run(seed: u64, weather: Weather) -> Result<Outcome, String> {
    World::new(seed, weather, false)?.run()
}

/// Run one seed, and say what happened to its disks, line by line, also when it does not hold.
pub fn run_logged(seed: u64, weather: Weather) -> (Result<Outcome, String>, Vec<String>) {
    match World::new(seed, weather, true) {
        Ok(mut world) => (world.run(), world.take_log()),
        Err(what) => (Err(what), Vec::new()),
    }
}
