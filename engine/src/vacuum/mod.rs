//! The vacuum: finds what no stream needs any more, moves the rest out of its way, and frees whole containers.
//!
//! ```text
//! containers that left before and that no older stream relies on -> mark what streams need -> move, verify, free
//! -> survey: dead share of every container -> over the limit: leaves from now on -> mark again -> move, verify, free
//! ```
//!
//! It works beside streams that are stored and restored, and never makes them wait. What it cannot finish now, because
//! an older stream is still open, the next run finishes. A crash at any point loses nothing: see RACES.md, where each
//! pair of what may happen at once stands with its test.
//!
//! # Invariants
//! - A container leaves (durably), and only then is asked who may rely on it; only when they are all done are the
//!   streams read that need something of it; and only what is moved, durable and found elsewhere is forgotten here.
//! - A stream that cannot be read stops the run: nobody knows what it needs.
//! - A container in which something needed cannot be read is never freed: it is quarantined. When nobody needs it any
//!   more, because all of it was stored anew, its file goes to `quarantine/`; a damaged file is never recycled.
//! - A container lists more than the index looks for in it. What a stream may need of that, and what lies nowhere else
//!   that can be relied on, is stored anew too. One whose list cannot be read is kept while any stream misses a chunk.

mod drain;
mod report;
mod roots;
mod survey;

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use gdd_uring::io::Io;

use crate::core::{Alone, Core};
use crate::driver::Patience;
use crate::error::{Error, Result};
use crate::get::Shelf;
use crate::ids::ContainerId;
use crate::index::{Batch, ContainerRow, ContainerState, MetaKey};
use crate::pace::{Pace, Rest};
use crate::planted::{self, Bug};
use crate::progress::Progress;
use crate::visits::Purpose;
pub use report::VacuumReport;
use roots::Needed;

/// How much, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VacuumOptions {
    /// A container is emptied when more than this share of its bytes is needed by nobody: 0 to 1. Less frees more, and
    /// moves more for it.
    pub dead_share: f64,
    /// Bytes a second, at most, that are read to be moved; none is no limit.
    pub rate: Option<u64>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Only empty containers in which something is damaged: for a repair, which frees nothing else.
    pub broken_only: bool,
}

impl VacuumOptions {
    /// At 0.05, what is kept for nothing is at most a twentieth of what is needed, whatever was removed.
    pub const DEAD_SHARE_DEFAULT: f64 = 0.05;
}

impl Default for VacuumOptions {
    fn default() -> Self {
        Self { dead_share: Self::DEAD_SHARE_DEFAULT, rate: None, dry_run: false, broken_only: false }
    }
}

/// Who runs it: how it waits, whom it tells, and who may stop it.
pub struct Caller<'a> {
    /// Room for what is read to be moved.
    pub shelf: &'a Shelf,
    /// Makes patience for one who waits for the workers.
    pub patience: &'a dyn Fn() -> Box<dyn Patience>,
    /// Hears how far it is.
    pub progress: &'a mut dyn FnMut(Progress),
    /// Waits, and says when to stop.
    pub rest: &'a mut Rest<'a>,
}

/// One run.
struct Vacuum<'a> {
    core: &'a Core,
    io: Box<dyn Io>,
    shelf: &'a Shelf,
    patience: &'a dyn Fn() -> Box<dyn Patience>,
    progress: &'a mut dyn FnMut(Progress),
    pace: Pace<'a>,
    needed: Needed,
    report: VacuumReport,
    /// Containers in which something is damaged.
    broken: HashSet<ContainerId>,
    /// Whether streams name chunks that the index looks for nowhere, once that was asked.
    misses: Option<bool>,
    /// Bytes of each container that streams need.
    live: BTreeMap<ContainerId, u64>,
    /// Bytes of containers to move in this run, as far as known.
    to_move: u64,
}

/// Run once. Told to stop, it says so in its report; the next run goes on from there.
///
/// # Errors
/// A stream's recipe is damaged in both copies, another run is on its way, or the store failed. Nothing needed is lost.
pub fn run(core: &Core, options: &VacuumOptions, caller: Caller<'_>) -> Result<VacuumReport> {
    if !(0.0..1.0).contains(&options.dead_share) {
        let share = options.dead_share;
        return Err(Error::Invalid(format!("a dead share of {share} is not between 0 and 1")));
    }
    core.poison.check()?;
    let _alone = Alone::begin(&core.vacuuming, "a vacuum")?;
    let started = Instant::now();
    let needed = Needed::new(core.index.chunk_count_estimate()?);
    let report =
        VacuumReport { dry_run: options.dry_run, memory_bytes: needed.memory_bytes(), ..Default::default() };
    let mut vacuum = Vacuum {
        core,
        io: core.open_io()?,
        shelf: caller.shelf,
        patience: caller.patience,
        progress: caller.progress,
        pace: Pace::new(options.rate, caller.rest),
        needed,
        report,
        broken: HashSet::new(),
        misses: None,
        live: BTreeMap::new(),
        to_move: 0,
    };
    match vacuum.cycle(options) {
        Err(Error::Cancelled) => vacuum.report.cancelled = true,
        other => other?,
    }
    if !options.dry_run && !vacuum.report.cancelled {
        let now = core.unix_seconds().to_le_bytes().to_vec();
        vacuum.commit(Batch { meta: vec![(MetaKey::Vacuumed, now)], ..Batch::default() })?;
    }
    vacuum.report.seconds = started.elapsed().as_secs_f64();
    Ok(vacuum.report)
}

impl Vacuum<'_> {
    fn cycle(&mut self, options: &VacuumOptions) -> Result<()> {
        if planted::has(Bug::RootsBeforeGrace) {
            self.mark()?;
        }
        self.broken = self.broken()?;
        let mut left = self.left()?;
        if options.broken_only {
            self.keep_broken(&mut left)?;
        }
        let ready = self.ready(&left);
        self.mark_after_grace()?;
        let chosen = self.survey(options)?;
        if !options.dry_run {
            self.empty(&left, &ready)?;
        }
        if options.dry_run || chosen.is_empty() {
            return self.look_back();
        }
        self.part_with(&chosen)?;
        let ready = self.ready(&chosen);
        self.mark_after_grace()?;
        self.empty(&chosen, &ready)?;
        self.look_back()
    }

    /// Containers in which something is damaged, as recovery or a scrub found: emptied whatever they hold.
    fn broken(&self) -> Result<HashSet<ContainerId>> {
        let checked = self.core.index.checked()?.into_iter().filter(|(_, row)| row.bad > 0);
        Ok(checked.map(|(id, _)| id).chain(self.core.damaged.iter().copied()).collect())
    }

    fn mark_after_grace(&mut self) -> Result<()> {
        if planted::has(Bug::RootsBeforeGrace) { Ok(()) } else { self.mark() }
    }

    /// Containers that earlier runs have begun to empty.
    fn left(&self) -> Result<BTreeMap<ContainerId, ContainerRow>> {
        let rows = self.core.index.containers()?;
        let begun = [ContainerState::Draining, ContainerState::Quarantined];
        Ok(rows.into_iter().filter(|(_, row)| begun.contains(&row.state)).collect())
    }

    /// Of containers that earlier runs have begun to empty, those in which something is damaged.
    fn keep_broken(&mut self, left: &mut BTreeMap<ContainerId, ContainerRow>) -> Result<()> {
        let begun = left.iter().filter(|(_, row)| row.state == ContainerState::Draining);
        let begun: Vec<_> = begun.map(|(id, row)| (*id, *row)).collect();
        let mut whole = Vec::new();
        for (id, row) in begun {
            if !self.broken.contains(&id) && self.directory(id, &row)?.is_some() {
                whole.push(id);
            }
        }
        left.retain(|id, _| !whole.contains(id));
        Ok(())
    }

    /// Those that no open stream relies on: nobody was told that something in them is known, and has not said yet what
    /// he made of it.
    fn ready(&self, containers: &BTreeMap<ContainerId, ContainerRow>) -> Vec<ContainerId> {
        let (leaving, visits) = (&self.core.leaving, &self.core.visits);
        let ready = containers.keys().copied().filter(|id| {
            let departure = leaving.departure(*id);
            planted::has(Bug::NoGrace)
                || departure.is_some_and(|left| visits.older(Purpose::Storing, left.since) == 0)
        });
        ready.collect()
    }

    /// From here on nobody is told that what is in them is known.
    fn part_with(&mut self, chosen: &BTreeMap<ContainerId, ContainerRow>) -> Result<()> {
        let draining = |row: &ContainerRow| ContainerRow { state: ContainerState::Draining, ..*row };
        let containers = chosen.iter().map(|(id, row)| (*id, draining(row))).collect();
        self.commit(Batch { containers, ..Batch::default() })?;
        for id in chosen.keys() {
            self.core.leaving.add(*id, || self.core.visits.now());
        }
        Ok(())
    }

    /// Move what is needed out of those that are ready, and free them.
    fn empty(&mut self, rows: &BTreeMap<ContainerId, ContainerRow>, ready: &[ContainerId]) -> Result<()> {
        let started = Instant::now();
        self.to_move += ready.iter().map(|id| rows[id].durable_len).sum::<u64>();
        // What needs no room first: on a full disk it makes the room for the others.
        let mut ready: Vec<ContainerId> = ready.to_vec();
        ready.sort_by_key(|id| self.live.get(id).copied().unwrap_or(0));
        for id in ready {
            self.pace.check()?;
            self.drain(id, &rows[&id])?;
        }
        self.report.seconds_moving += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// What is left for another run, and why.
    fn look_back(&mut self) -> Result<()> {
        let (leaving, visits) = (&self.core.leaving, &self.core.visits);
        for (id, row) in self.left()? {
            let Some(departure) = leaving.departure(id) else { continue };
            if departure.emptied.is_some() {
                self.report.waiting_for_readers += 1;
            } else if visits.older(Purpose::Storing, departure.since) > 0 {
                self.report.waiting_for_streams += 1;
            } else if row.state == ContainerState::Quarantined {
                self.report.quarantined.push(id.to_string());
                continue;
            }
            self.report.waiting_bytes += row.durable_len;
        }
        Ok(())
    }

    /// A commit that puts no chunk and removes none: the index takes those from anybody.
    fn commit(&self, batch: Batch) -> Result<()> {
        self.core.poison.check()?;
        self.core.index.commit(batch).inspect_err(|error| self.core.poison.set(error))
    }

    /// Tell whoever watches.
    fn tell(&mut self, stage: &'static str, done: u64, total: Option<u64>) {
        (self.progress)(Progress { stage, done, total });
    }
}
