//! Some lives of one store, one after another, in an order and with accidents that one seed decides.

use gdd_engine::error::Error;
use gdd_engine::format::codec::Compression;
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck::{Finding, Severity};
use gdd_engine::options::Rewriting;
use gdd_engine::vacuum::VacuumOptions;
use gdd_uring::sim::{Fault, Faults, Hit, OpKind, Rng};

use super::model::Doubt;
use super::rig::{Open, Rig, Shape};
use super::shift::Shift;
use super::weather::Weather;
use super::{Model, Outcome};

/// Lives of a run. In the last the machine works, and so must everything else.
const LIVES: u32 = 3;

/// Operations, at most, after which the power is cut while a store is opened.
const CUT_OPENING_WITHIN: u64 = 60;
/// The same for a store that is in use.
const CUT_WORK_WITHIN: u64 = 200;

/// Operations of one kind, at most, after which it is cut while a store is opened, and while it is in use.
const CUT_OPENING_AT: u64 = 3;
const CUT_WORK_AT: u64 = 8;
/// Commits of the index, at most, in one of which it is cut.
const CUT_COMMIT_WITHIN: u64 = 8;

/// The operations before which cuts matter most.
const CUT_BEFORE: [OpKind; 14] = [
    OpKind::Write,
    OpKind::Write,
    OpKind::Write,
    OpKind::Datasync,
    OpKind::Datasync,
    OpKind::Datasync,
    OpKind::Datasync,
    OpKind::SyncAll,
    OpKind::SyncDir,
    OpKind::SyncDir,
    OpKind::Rename,
    OpKind::Create,
    OpKind::Truncate,
    OpKind::Unlink,
];

/// Whether `found` is a part that may be left of a stream that was to be kept: a prefix of it, and no less than what
/// the store has answered for.
fn is_kept(found: &[u8], after: Option<&[u8]>, least: Option<usize>) -> bool {
    least.is_some_and(|least| found.len() >= least) && after.is_some_and(|after| after.starts_with(found))
}

/// One seed in so many has a store with slices, and versions to be stored in it.
const SLICES_ONE_IN: u64 = 4;

/// One seed in so many stores known chunks again: all that it would for a disk whose seeks are dear, since streams are
/// short and containers small.
const REWRITES_ONE_IN: u64 = 4;
const REWRITING: Rewriting = Rewriting { percent: 100, window: 32 << 10, seek: 12 << 10 };

/// Runs of the vacuum, at most, until nothing is left to free.
const TIDY_RUNS_MAX: u32 = 10;

/// See the module.
pub struct World {
    random: Rng,
    weather: Weather,
    rig: Rig,
    /// Faults of this life, a planned cut aside.
    faults: Faults,
    /// The last process was killed: what it wrote last is in the page cache, and only there.
    killed: bool,
    model: Model,
    outcome: Outcome,
    /// Log lines of the disks of earlier lives; nothing unless they are kept.
    log: Option<Vec<String>>,
}

impl World {
    /// A new store in a new world. `logged` keeps what happens to the disk.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new(seed: u64, weather: Weather, logged: bool) -> Result<Self, String> {
        let mut random = Rng::new(seed);
        let (min, avg, max) = [(64, 256, 1024), (256, 1024, 4096), (512, 2048, 8192)][random.index(3)];
        let compression = if random.below(4) == 0 { Compression::Lz4 } else { Compression::None };
        let settings = Settings {
            chunk_size_min: min,
            chunk_size_avg: avg,
            chunk_size_max: max,
            container_size: [64, 128, 256][random.index(3)] << 10,
            compression,
            slices: seed % SLICES_ONE_IN == SLICES_ONE_IN - 1,
            ..Settings::default()
        };
        let (mut rig, model) = (Rig::create(seed, &settings)?, Model::new(&mut random, settings.slices));
        if seed % REWRITES_ONE_IN == 1 {
            rig.rewriting = REWRITING;
        }
        let log = logged.then(Vec::new);
        let faults = Faults::default();
        let world =
            Self { random, weather, rig, faults, killed: false, model, outcome: Outcome::default(), log };
        world.keep_log();
        Ok(world)
    }

    /// Live to the end.
    ///
    /// # Errors
    /// What was violated, in words.
    pub fn run(&mut self) -> Result<Outcome, String> {
        let lived = (1..=LIVES).try_for_each(|life| self.live(life == LIVES));
        self.turn_page();
        lived.map(|()| self.outcome)
    }

    /// What happened to the disks, if that was kept.
    pub fn take_log(&mut self) -> Vec<String> {
        self.log.take().unwrap_or_default()
    }

    fn keep_log(&self) {
        if self.log.is_some() {
            self.rig.disk.keep_log(usize::MAX);
        }
    }

    /// The disk goes, or is about to: count what happened on it.
    fn turn_page(&mut self) {
        let disk = &self.rig.disk;
        self.outcome.hits.merge(&disk.hits());
        self.outcome.operations += disk.op_count();
        self.outcome.syncs += disk.sync_count();
        if let Some(log) = &mut self.log {
            log.extend(disk.log());
        }
    }

    /// The power goes, unless it has gone already, and comes back.
    fn crash(&mut self) {
        self.rig.disk.cut_power();
        self.turn_page();
        self.rig = self.rig.crash(self.random.bits());
        self.keep_log();
    }

    /// Whether a directory sync failed. That ends the journal of a file system like ext4: it is read-only until the
    /// machine restarts, and nobody comes to rely on names that it cannot make durable.
    fn journal_ended(&self) -> bool {
        self.rig.disk.hits().of(Hit::DirSyncError) > 0
    }

    /// The next process begins, on the machine as it is or after a power cut.
    fn restart(&mut self) {
        self.killed = self.rig.disk.is_killed();
        let off = self.rig.disk.is_dead() && !self.rig.disk.is_killed();
        if off || self.journal_ended() || self.random.coin() {
            self.crash();
        } else {
            self.rig.restart();
        }
    }

    /// One life of the store: open, work, end one way or another.
    fn live(&mut self, last: bool) -> Result<(), String> {
        if !self.weather.rots() || last {
            self.faults = Faults::default();
            self.rig.disk.set_faults(Faults::default());
        }
        let Some(mut open) = self.open(last)? else { return Ok(()) };
        let one_in = if self.killed { 2 } else { 8 };
        if !last && self.random.below(one_in) == 0 {
            // The power goes when recovery is just done: what it has found must be as durable as what it says.
            drop(open);
            self.crash();
            let Some(again) = self.open(last)? else { return Ok(()) };
            open = again;
        }
        if self.weather.fails() {
            self.faults = Faults::default();
            self.forget_cut(); // What is read now must come.
        }
        self.settle(&open)?;
        self.compare(&open)?;
        if self.weather.vacuums() && self.random.coin() {
            self.sound(&open)?;
            if self.rig.disk.is_dead() {
                drop(open); // At a commit that was to be cut.
                self.restart();
                return Ok(());
            }
        }
        if last {
            return self.end(open);
        }
        self.faults = self.weather.faults(&mut self.random, &self.rig.disk);
        self.rig.disk.set_faults(self.faults.clone());
        if self.random.chance(800_000) {
            self.plan_cut(CUT_WORK_WITHIN, CUT_WORK_AT);
        }
        if self.weather.fails() && self.random.below(8) == 0 {
            self.rig.index.fail_commit(self.rig.index.commit_count() + self.random.below(8));
        }
        self.work(&open)?;
        let failed = open.core.poison.why().is_some();
        if self.random.coin() && !failed && !self.rig.disk.is_dead() {
            let _ = open.close(); // A failure here is a crash: the next opening recovers.
        } else {
            drop(open);
        }
        self.restart();
        Ok(())
    }

    /// The last life's work, on a machine that works: everything must, and a full check must agree with what reads say.
    fn end(&mut self, open: Open) -> Result<(), String> {
        self.work(&open)?;
        if self.weather.vacuums() {
            self.tidy(&open)?;
        }
        let unreadable = self.compare(&open)?;
        let closed = open.close();
        if self.weather.rots() {
            let Ok(report) = self.rig.fsck() else { return Ok(()) }; // It says why it cannot check.
            let named = |name: &String| report.streams_affected.iter().any(|stream| stream.name == *name);
            return match unreadable.iter().find(|name| !named(name)) {
                Some(name) => Err(format!("{name} cannot be read, and a check does not name it: {report:?}")),
                None => Ok(()),
            };
        }
        closed.map_err(|error| format!("a store does not close on a disk that works: {error}"))?;
        let report = self.rig.fsck().map_err(|error| format!("a check fails: {error}"))?;
        // A copy of a recipe that recovery could not write anew, on a disk that failed, is noted and stays missing.
        let borne = |finding: &&Finding| self.weather.fails() && finding.file.starts_with("/store/recipes");
        let mut harm = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
        if let Some(finding) = harm.find(|finding| !borne(finding)) {
            return Err(format!("a check finds damage: {finding:?}"));
        }
        if !report.streams_affected.is_empty() {
            return Err(format!("a check finds streams affected: {:?}", report.streams_affected));
        }
        Ok(())
    }

    /// With nobody else at work, the vacuum frees what it can, and comes to an end: moving fills and seals containers
    /// that held dead chunks themselves, so it takes some runs.
    fn tidy(&mut self, open: &Open) -> Result<(), String> {
        let options = VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() };
        for _ in 0..TIDY_RUNS_MAX {
            let ran = open.vacuum(&options, &mut |_| {}, &mut |_| true);
            let report = match ran {
                Ok(report) => report,
                Err(_) if self.weather.rots() => return Ok(()),
                Err(error) => return Err(format!("a vacuum fails on a disk that works: {error}")),
            };
            self.outcome.vacuums += 1;
            self.outcome.freed += report.freed_containers;
            if report.waiting_bytes > 0 && !self.weather.rots() {
                return Err(format!("a vacuum waits for nobody: {report:?}"));
            }
            if report.chosen == 0 {
                return self.sound(open);
            }
        }
        Err("a vacuum comes to no end".to_owned())
    }

    /// A scrub of a disk that works, and did all the time, finds nothing.
    fn sound(&mut self, open: &Open) -> Result<(), String> {
        let ran = open.scrub(&mut |_| {}, &mut |_| true);
        self.outcome.scrubs += 1;
        match ran {
            _ if self.weather.rots() || self.rig.disk.is_dead() => Ok(()),
            Ok(report) if !report.is_damaged() || self.weather.fails() => Ok(()),
            Ok(report) => Err(format!("a scrub finds damage on a disk that works: {report:?}")),
            Err(error) => Err(format!("a scrub fails on a disk that works: {error}")),
        }
    }

    /// Cut the power, or end the process, soon: before any of the next `within` operations; or, since the moments that
    /// matter are few among them, before one of the next `at` operations of a kind that changes something.
    fn plan_cut(&mut self, within: u64, at: u64) {
        let disk = &self.rig.disk;
        let soon = disk.op_count() + 1 + self.random.below(within);
        let (kill, anywhere) = (self.random.below(3) == 0, self.random.below(3) == 0);
        if anywhere && kill {
            disk.kill_at(soon);
        } else if anywhere {
            disk.crash_at(soon);
        } else {
            let fault = if kill { Fault::Kill } else { Fault::PowerCut };
            let kind = CUT_BEFORE[self.random.index(CUT_BEFORE.len())];
            let number = disk.count(kind) + self.random.below(at);
            disk.set_faults(self.faults.clone().plan(Some(kind), number, false, fault));
        }
    }

    fn forget_cut(&mut self) {
        self.rig.disk.crash_at(u64::MAX);
        self.rig.disk.set_faults(self.faults.clone());
    }

    /// How the store is opened next. `calm`: no commit of the index is cut.
    fn shape(&mut self, calm: bool) -> Shape {
        let cut = !calm && self.random.below(6) == 0;
        // A vacuum commits more often than recovery.
        let within = self.random.below(CUT_COMMIT_WITHIN * if self.weather.vacuums() { 4 } else { 1 });
        let cut_at_commit = if cut { self.rig.index.commit_count() + within } else { u64::MAX };
        Shape { workers: 1 + self.random.index(3), steps_seed: self.random.bits(), cut_at_commit }
    }

    /// Open, at times with power cuts and failures in the middle: recovery that breaks off is simply run again. Nothing
    /// when a damaged store says so, and serves nothing.
    fn open(&mut self, last: bool) -> Result<Option<Open>, String> {
        for trial in 0..3 {
            let calm = last || trial == 2;
            if self.weather.fails() {
                self.faults = Faults::default();
                if !calm && self.random.below(6) == 0 {
                    self.faults = self.weather.faults(&mut self.random, &self.rig.disk);
                }
            }
            let may_fail = self.faults != Faults::default();
            self.forget_cut(); // One that an earlier life did not live to see.
            if !calm && self.random.below(4) == 0 {
                self.plan_cut(CUT_OPENING_WITHIN, CUT_OPENING_AT);
            }
            let shape = self.shape(calm);
            let opened = self.rig.open(shape);
            self.outcome.refused += u64::from(opened.is_err());
            self.forget_cut();
            if self.rig.disk.is_dead() {
                drop(opened);
                self.restart();
                continue;
            }
            match opened {
                Ok(open) if self.journal_ended() => {
                    drop(open);
                    self.restart();
                }
                Ok(open) => return Ok(Some(open)),
                Err(error) if self.weather.rots() => match self.mend(&error)? {
                    true => continue,
                    false => return Ok(None),
                },
                Err(_) if may_fail && !calm => self.restart(),
                Err(error) => return Err(format!("a store does not open: {error}")),
            }
        }
        if self.weather.rots() {
            return Ok(None); // What says what the store is was damaged again and again.
        }
        Err("the last opening was calm".to_owned())
    }

    /// A damaged store that does not open: it may for want of the blocks that say what it is, of which there are two
    /// copies, and of the one that counts its openings, which a rebuild of the index makes anew. Whatever else is
    /// damaged must not keep it from opening. Returns whether there is something to open now.
    fn mend(&mut self, error: &Error) -> Result<bool, String> {
        let why = error.to_string();
        if why.contains("/store/gdd.store") {
            return Ok(false);
        }
        if !why.contains("/store/epoch") {
            return Err(format!("a store does not open for damage that should not keep it from that: {why}"));
        }
        let (seed, lost) = (self.random.bits(), self.random.coin());
        match self.rig.rebuild(seed, lost) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("/store/gdd.store") => Ok(false),
            Err(error) => Err(format!("the index of a damaged store cannot be made anew: {error}")),
        }
    }

    /// A few operations; ends early when the power is cut or the store has failed.
    fn work(&mut self, open: &Open) -> Result<(), String> {
        if self.weather.vacuums() && self.random.below(4) > 0 {
            let state = (&mut self.random, &mut self.model, &mut self.outcome);
            return Shift::new(state, self.weather, &self.rig.disk, open).run();
        }
        let count = if self.model.twins_most() { 12 } else { 4 };
        for _ in 0..1 + self.random.below(count) {
            if self.random.chance(200_000) && self.model.any(&mut self.random).is_some() {
                self.remove(open);
            } else {
                self.put(open)?;
            }
            if self.rig.disk.is_dead() || open.core.poison.why().is_some() {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, open: &Open) -> Result<(), String> {
        let (name, bytes) = self.model.invent(&mut self.random);
        self.model.doubt(&name, Some(bytes.clone()));
        let stored = if self.random.below(8) == 0 {
            let mut flushes = [0; 3].map(|_| self.random.index(bytes.len() + 1));
            flushes.sort_unstable();
            let mut kept = 0;
            let stored = open.put_kept(&name, &bytes, &flushes, &mut kept);
            if stored.is_err() {
                self.model.keep(&name, kept);
            }
            stored
        } else {
            open.put(&name, &bytes, 1 + self.random.index(60_000))
        };
        self.outcome.refused += u64::from(stored.is_err());
        match stored {
            Ok(summary) => {
                self.outcome.acknowledged += 1;
                self.model.acknowledge(&name, Some(bytes));
                let expected = self.model.len(&name);
                let right = summary.bytes == expected;
                right.then_some(()).ok_or_else(|| format!("{name}: {} bytes", summary.bytes))
            }
            Err(_) if self.rig.disk.is_dead() || !self.weather.is_kind() => Ok(()),
            Err(error) => Err(format!("a put fails on a disk that works: {error}")),
        }
    }

    fn remove(&mut self, open: &Open) {
        let Some(name) = self.model.any(&mut self.random) else { return };
        self.model.doubt(&name, None);
        match open.remove(&name) {
            Ok(()) => self.model.acknowledge(&name, None),
            Err(_) => self.outcome.refused += 1,
        }
    }

    /// Streams in doubt after a crash are there whole, or not at all; from now on that is what counts.
    fn settle(&mut self, open: &Open) -> Result<(), String> {
        for Doubt { name, before, after, least } in self.model.doubts() {
            // What the store has answered for may be what rotted.
            let least = least.map(|least| if self.weather.rots() { 0 } else { least });
            let settled = match (open.read(&name), self.weather) {
                (Ok(found), _) if found == after || (found == before && least == Some(0)) => found,
                (Ok(Some(found)), _) if is_kept(&found, after.as_deref(), least) => Some(found),
                (Ok(found), _) if found == before && least.is_none() => found,
                (Ok(found), _) => {
                    return Err(format!("{name} has {:?} bytes after a crash", found.map(|b| b.len())));
                }
                (Err(_), weather) if weather.rots() => None,
                (Err(error), _) => return Err(format!("{name} cannot be read after a crash: {error}")),
            };
            self.model.acknowledge(&name, settled);
        }
        Ok(())
    }

    /// Every acknowledged stream comes back. The names of those that do not, where the weather allows that.
    fn compare(&mut self, open: &Open) -> Result<Vec<String>, String> {
        let mut unreadable = Vec::new();
        for (name, bytes) in self.model.streams() {
            self.outcome.compared += 1;
            let read = open.read(&name);
            self.outcome.refused += u64::from(read.is_err());
            match read {
                Ok(Some(found)) if found == bytes => {}
                Ok(Some(found)) => {
                    return Err(format!("{name} has wrong bytes: {} of {}", found.len(), bytes.len()));
                }
                Err(_) if self.weather.rots() => unreadable.push(name),
                Ok(None) if self.weather.rots() => {}
                Ok(None) => return Err(format!("{name} was acknowledged and is gone")),
                Err(error) => return Err(format!("{name} was acknowledged and cannot be read: {error}")),
            }
        }
        Ok(unreadable)
    }
}
