//! An open store without threads, for unit tests: every task is stepped by a seeded loop.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gdd_uring::io::IoSource;
use gdd_uring::probe::{self, Mode};

use crate::commit::CommitDesk;
use crate::container::prepare::PrepareDesk;
use crate::core::{Core, Seed};
use crate::driver::{Patience, Signal, Task, Turn};
use crate::filter::{Filter, FilterConfig};
use crate::format::StoreId;
use crate::format::superblock::Settings;
use crate::ids::Epoch;
use crate::index::Index;
use crate::options::Budget;
use crate::paths::Paths;
use crate::poison::Poison;
use crate::shard::counters::Counters;

/// Steps tasks in an order that a seed decides.
pub struct Stepper {
    tasks: Vec<Box<dyn Task>>,
    state: u64,
}

impl Stepper {
    pub fn new(seed: u64, tasks: Vec<Box<dyn Task>>) -> Self {
        Self { tasks, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// One turn of a random task.
    pub fn step(&mut self) {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        if self.tasks.is_empty() {
            return;
        }
        let at = usize::try_from(self.state % self.tasks.len() as u64).unwrap();
        if self.tasks[at].turn() == Turn::Stopped {
            self.tasks.swap_remove(at);
        }
    }

    /// Step until every task has stopped.
    pub fn run_out(&mut self) {
        for _ in 0..10_000_000 {
            if self.tasks.is_empty() {
                return;
            }
            self.step();
        }
        panic!("the tasks do not stop");
    }
}

/// Patience that steps the tasks.
#[derive(Clone)]
pub struct Step(pub Rc<RefCell<Stepper>>);

impl Patience for Step {
    fn pause(&mut self, _: &Signal) {
        self.0.borrow_mut().step();
    }
}

/// A store of `workers` workers on a real directory, with an index of choice.
pub fn stepped(
    root: &Path,
    settings: Settings,
    index: Arc<dyn Index>,
    epoch: Epoch,
    workers: usize,
    seed: u64,
) -> (Arc<Core>, Step) {
    let source: Arc<dyn IoSource> = probe::probe(root, Mode::Auto, false).unwrap();
    let paths = Paths::new(root);
    for directory in [paths.containers(), paths.pool(), paths.recipes()] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let store = StoreId([7; 16]);
    let (filter, _) =
        Filter::open(None, FilterConfig { first_capacity: 10_000, ..FilterConfig::new(store, epoch) })
            .unwrap();
    filter.begin_rebuild();
    index
        .for_each_chunk(&mut |hash, _| {
            filter.insert_from_index(&hash);
            Ok(())
        })
        .unwrap();
    filter.finish_rebuild();
    let parts = Seed {
        paths,
        store,
        settings,
        epoch,
        index,
        filter: Arc::new(filter),
        source,
        damaged: Arc::new(HashSet::new()),
        begun: Vec::new(),
        workers,
        budget: Budget::of(64 << 20),
        poison: Poison::default(),
        prepare: PrepareDesk::default(),
        commit: CommitDesk::default(),
        stop: Arc::new(AtomicBool::new(false)),
        unix_seconds: || 0,
    };
    assemble(parts, seed)
}

/// The tasks of `parts`, stepped.
pub fn assemble(parts: Seed, seed: u64) -> (Arc<Core>, Step) {
    let counters: Vec<Arc<Counters>> = (0..parts.workers).map(|_| Arc::default()).collect();
    let mut tasks: Vec<Box<dyn Task>> = vec![Box::new(parts.committer())];
    tasks.push(Box::new(parts.preparer(parts.source.open().unwrap())));
    let mut doors = Vec::new();
    for (number, counters) in counters.iter().enumerate() {
        let (shard, door) = parts.shard(number, parts.source.open().unwrap(), Arc::clone(counters)).unwrap();
        tasks.push(Box::new(shard));
        doors.push(door);
    }
    let core = Arc::new(Core::new(parts, doors, counters).unwrap());
    (core, Step(Rc::new(RefCell::new(Stepper::new(seed, tasks)))))
}
