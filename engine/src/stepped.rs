//! The store's tasks without threads: stepped by one loop in an order that a seed decides.
//!
//! Any schedule of workers, committer and preparer can so be replayed from its seed. Used by unit tests and by the
//! simulation; the product runs the same tasks on threads ([`crate::store`]).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gdd_uring::sim::Rng;

use crate::core::{Core, Seed};
use crate::driver::{Patience, Signal, Task, Turn};
use crate::error::{Error, Result};
use crate::shard::counters::Counters;

/// Turns without any progress after which the tasks count as hung.
const IDLE_TURNS_MAX: u32 = 100_000;

/// See the module.
pub struct Stepper {
    tasks: Vec<Box<dyn Task>>,
    random: Rng,
    /// Called when a task is idle, to let simulated time pass.
    idle: Box<dyn FnMut()>,
    idle_turns: u32,
}

impl Stepper {
    /// One turn of a random task.
    ///
    /// # Panics
    /// When no task has done anything for very long: a lost wake-up or a deadlock.
    pub fn step(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let at = self.random.index(self.tasks.len());
        match self.tasks[at].turn() {
            Turn::Busy => self.idle_turns = 0,
            Turn::Stopped => drop(self.tasks.swap_remove(at)),
            Turn::Idle => {
                self.idle_turns += 1;
                assert!(self.idle_turns < IDLE_TURNS_MAX, "the tasks make progress");
                (self.idle)();
            }
        }
    }
}

/// Patience that steps the tasks; shared by everybody who waits.
#[derive(Clone)]
pub struct Steps(Rc<RefCell<Stepper>>);

impl Patience for Steps {
    fn pause(&mut self, _: &Signal) {
        self.0.borrow_mut().step();
    }
}

impl Steps {
    /// Step until every task has stopped; the store must have been told to.
    pub fn run_out(&self) {
        while !self.0.borrow().tasks.is_empty() {
            self.0.borrow_mut().step();
        }
    }
}

/// Make the tasks of a store, to be stepped in the order of `seed`; `idle` is called whenever a task has nothing to do.
/// Streams are cut in extents of at most `extent_size` bytes, so that short ones have seams too.
///
/// # Errors
/// The disk refused a door, or the settings are not usable.
pub fn assemble(
    parts: Seed,
    seed: u64,
    extent_size: usize,
    idle: impl FnMut() + 'static,
) -> Result<(Arc<Core>, Steps)> {
    let door = |parts: &Seed| parts.source.open().map_err(Error::io("open", parts.paths.root()));
    let counters: Vec<Arc<Counters>> = (0..parts.workers).map(|_| Arc::default()).collect();
    let mut tasks: Vec<Box<dyn Task>> = vec![Box::new(parts.committer())];
    tasks.push(Box::new(parts.preparer(door(&parts)?)));
    let mut doors = Vec::new();
    for (number, counters) in counters.iter().enumerate() {
        let (shard, door) = parts.shard(number, door(&parts)?, Arc::clone(counters))?;
        tasks.push(Box::new(shard));
        doors.push(door);
    }
    let mut core = Core::new(parts, doors, counters)?;
    core.extent_size = core.extent_size.min(extent_size);
    let core = Arc::new(core);
    let stepper = Stepper { tasks, random: Rng::new(seed), idle: Box::new(idle), idle_turns: 0 };
    Ok((core, Steps(Rc::new(RefCell::new(stepper)))))
}

/// Tell a stepped store to stop, and step until it has.
pub fn stop(core: &Core, steps: &Steps) {
    core.stop.store(true, Ordering::Release);
    core.prepare.close();
    steps.run_out();
}
