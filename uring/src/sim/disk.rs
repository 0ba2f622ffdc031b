//! The handle that tests hold: faults, clock, power, crash images.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::crash::{self, CrashImages};
use super::door::SimSource;
use super::faults::{Faults, Latency, OpKind};
use super::hits::Hits;
use super::names::Tree;
use super::world::World;

/// How long a machine is down after a power cut, on the simulated clock.
const REBOOT: Duration = Duration::from_secs(30);

/// A simulated file system. Clones are the same disk; [`SimDisk::snapshot`] makes another.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk without faults, on which everything follows from `seed` and the order of calls.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// An empty disk with faults.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        Self::from_world(World::new(seed, faults, Tree::default()))
    }

    fn from_world(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// A disk that holds `tree`, in the machine of `world` after a reboot. Only the capacity stays of its faults.
    pub(super) fn restarted(world: &World, tree: Tree, hits: Hits, seed: u64) -> Self {
        let faults = Faults { capacity: world.faults.capacity, ..Faults::default() };
        let mut fresh = World::new(seed, faults, tree);
        fresh.hits = hits;
        fresh.latency = world.latency;
        fresh.clock = world.clock.saturating_add(REBOOT);
        Self::from_world(fresh)
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Doors to this disk.
    #[must_use]
    pub fn source(&self) -> SimSource {
        SimSource::new(self.clone())
    }

    /// Change the faults of the operations to come.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Change what operations cost on the simulated clock.
    pub fn set_latency(&self, latency: Latency) {
        self.world().latency = latency;
    }

    /// Free or take away space: the disk holds this many bytes in all, or any number when `None`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().faults.capacity = bytes;
    }

    /// Bytes that files take now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.world().used * super::image::PAGE as u64
    }

    /// Mount read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        self.world().read_only = read_only;
    }

    /// Switch all faults off for a final audit: no more errors, damage laid over the true bytes is gone, everything is
    /// writable. What was removed, cut or swapped by [`SimDisk::remove`] and its like stays so; what a crash or a
    /// failed sync lost stays lost; and power that was cut stays cut.
    pub fn heal(&self) {
        let mut world = self.world();
        world.faults = Faults::default();
        world.read_only = false;
        for node in &mut world.tree.nodes {
            if let super::names::Node::File(file) = node {
                file.damage = super::damage::Damage::default();
            }
        }
    }

    /// Operations begun so far: every data operation and every call that takes a file or a path.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.world().ops
    }

    /// Operations begun so far, with the power on, that may change what a power cut finds: all but reads and questions.
    #[must_use]
    pub fn change_count(&self) -> u64 {
        self.world().changes
    }

    /// Operations of one kind begun so far.
    #[must_use]
    pub fn count(&self, kind: OpKind) -> u64 {
        self.world().counts[kind as usize]
    }

    /// What went wrong on this disk so far. Those of a crash image start with what the crash itself lost.
    #[must_use]
    pub fn hits(&self) -> Hits {
        self.world().hits
    }

    /// Syncs of data, files and directories begun so far.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        [OpKind::Datasync, OpKind::SyncAll, OpKind::SyncDir].iter().map(|&kind| self.count(kind)).sum()
    }

    /// Cut the power just before operation `number`, counted from 0 as [`SimDisk::op_count`] does: it and everything
    /// after it, and what is in flight then, fails with an error that [`super::is_power_cut`] knows.
    pub fn crash_at(&self, number: u64) {
        let mut world = self.world();
        (world.crash_at, world.kills) = (number, false);
    }

    /// The same, but only the process ends (`kill -9`): every later operation of it fails, what was in flight takes
    /// effect or not, and what was accepted stays visible. [`SimDisk::revive`] starts the next process.
    pub fn kill_at(&self, number: u64) {
        let mut world = self.world();
        (world.crash_at, world.kills) = (number, true);
    }

    /// Whether the process was ended by [`SimDisk::kill_at`].
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.world().killed
    }

    /// Let another process use the disk, after all doors of the last one are dropped.
    pub fn revive(&self) {
        let mut world = self.world();
        (world.killed, world.kills, world.crash_at) = (false, false, u64::MAX);
    }

    /// Cut the power now.
    pub fn cut_power(&self) {
        let mut world = self.world();
        if !world.dead {
            world.cut();
        }
    }

    /// Whether the power was cut, or the process ended: no operation works.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let world = self.world();
        world.dead || world.killed
    }

    /// The disk as a reboot after a power cut at this moment finds it: durable state, and of the rest what `seed`
    /// chooses. This disk stays as it is. The image has no faults but its capacity and the damage at rest; its counters
    /// start at 0.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        crash::by_seed(&self.world(), seed)
    }

    /// All images that a power cut at this moment can leave, if there are at most `limit`; else all combinations of
    /// whole writes, if those are, and samples up to `limit`; else the two extremes, and samples. The test chooses the
    /// limit by the time it has; 1024 is a good one.
    #[must_use]
    pub fn crash_images(&self, limit: u64) -> CrashImages {
        CrashImages::new(self.copy(0), limit)
    }

    /// An independent copy without open doors. What is in flight is accepted and not durable in the copy.
    #[must_use]
    pub fn snapshot(&self, seed: u64) -> Self {
        Self::from_world(self.copy(seed))
    }

    fn copy(&self, seed: u64) -> World {
        let world = self.world();
        let mut tree = world.frozen_tree();
        for node in &mut tree.nodes {
            if let super::names::Node::File(file) = node {
                file.opens = 0;
            }
        }
        let mut copy = World::new(seed, world.faults.clone(), tree);
        (copy.latency, copy.clock, copy.read_only) = (world.latency, world.clock, world.read_only);
        (copy.ops, copy.counts, copy.reaps) = (world.ops, world.counts, world.reaps);
        (copy.hits, copy.changes) = (world.hits, world.changes);
        (copy.dead, copy.crash_at) = (world.dead, world.crash_at);
        (copy.kills, copy.killed) = (world.kills, world.killed);
        copy
    }

    /// The simulated clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.world().clock
    }

    /// Let time pass.
    pub fn advance(&self, time: Duration) {
        self.world().pass(time);
    }

    /// Let time pass until the next operation of any door ends. False when none is under way. For a loop that steps
    /// several state machines and finds that all of them wait.
    #[must_use]
    pub fn skip_idle(&self) -> bool {
        let mut world = self.world();
        let Some(due) = world.next_due(None) else { return false };
        let time = due.saturating_sub(world.clock);
        world.pass(time);
        true
    }

    /// Keep the last `count` lines of what happens from now on; 0, as at the start, keeps none and costs nothing.
    pub fn keep_log(&self, count: usize) {
        self.world().log.keep(count);
    }

    /// The lines kept.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.world().log.lines()
    }

    /// Make a directory and its parents, durably, without counting as an operation: the set-up of a test.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.world().tree.create_dir_all(path)
    }
}
