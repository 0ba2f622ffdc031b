//! Small scripts, cut at every operation and at every index commit, with every image that the cut can leave.
//!
//! Random seeds find what nobody thought of; this proves that nothing is left of what somebody did think of (as ACE in
//! Mohan et al., "Finding Crash-Consistency Bugs with Bounded Black-Box Crash Testing", OSDI 2018). Where the sectors
//! that are not synced have more combinations than the limit, whole writes are enumerated if these fit, and the rest
//! are seeded samples; such points are counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use gdd_engine::format::superblock::Settings;
use gdd_engine::options::Rewriting;
use gdd_uring::sim::Rng;

use super::rig::{Open, Rig, Shape};
use super::sweep::threads;

/// Images of one crash point, at most, and how many of them also go on working, or crash again while they recover.
const IMAGES_MAX: u64 = 1 << 10;
/// One image in so many is cut again in the middle of its recovery, and recovered again.
const CUT_AGAIN_ONE_IN: u64 = 8;
/// One image in so many goes on: it stores a stream, is closed, and checked.
const GOES_ON_ONE_IN: u64 = 16;

/// One step of a script.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Store a stream made of these blocks, each with a number that says its bytes, and a length.
    Put(&'static str, &'static [(u64, usize)]),
    /// The same, and have its first so many bytes kept before the rest is written.
    PutKept(&'static str, &'static [(u64, usize)], usize),
    /// Remove a stream.
    Remove(&'static str),
    /// Close cleanly and open again.
    Reopen,
    /// End the process without closing, and open again.
    Kill,
}

/// A script.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    /// Engine tasks.
    pub workers: usize,
    /// What it does.
    pub steps: &'static [Step],
}

/// What a script's crash points and images came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Crash points: moments at which the power can go, that leave something else than the moment before.
    pub points: u64,
    /// Those of them of which every image was tried, sector by sector.
    pub points_exhaustive: u64,
    /// Images tried.
    pub images: u64,
    /// Images that were cut again in the middle of their recovery.
    pub cut_again: u64,
    /// Images that went on working.
    pub went_on: u64,
}

impl Tally {
    /// Take in another.
    pub fn merge(&mut self, other: &Self) {
        self.points += other.points;
        self.points_exhaustive += other.points_exhaustive;
        self.images += other.images;
        self.cut_again += other.cut_again;
        self.went_on += other.went_on;
    }
}

/// When the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Before an operation of the disk.
    Operation(u64),
    /// In the middle of a commit of the index.
    Commit(u64),
}

/// What each stream may be after a crash: nothing, or these bytes.
type Allowed = BTreeMap<&'static str, Vec<Option<Vec<u8>>>>;

/// A machine on which a script was played, up to a power cut or to its end.
struct Scene {
    rig: Rig,
    allowed: Allowed,
}

fn bytes_of(blocks: &[(u64, usize)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (seed, len) in blocks {
        let mut random = Rng::new(*seed);
        bytes.extend((0..len.div_ceil(8)).flat_map(|_| random.bits().to_le_bytes()).take(*len));
    }
    bytes
}

fn settings() -> Settings {
    Settings {
        chunk_size_min: 64,
        chunk_size_avg: 256,
        chunk_size_max: 1024,
        container_size: 64 << 10,
        ..Settings::default()
    }
}

impl Script {
    fn shape(&self, cut_at_commit: u64) -> Shape {
        Shape { workers: self.workers, steps_seed: 1, cut_at_commit }
    }

    /// Play the script until the power goes.
    fn play(&self, cut: Option<Cut>) -> Result<Scene, String> {
        let rig = Rig::create(1, &settings())?;
        let mut commit = u64::MAX;
        match cut {
            Some(Cut::Operation(number)) => rig.disk.crash_at(number),
            Some(Cut::Commit(number)) => commit = number,
            None => {}
        }
        let mut scene = Scene { rig, allowed: Allowed::new() };
        let mut open = None;
        for step in [Step::Reopen].iter().chain(self.steps) {
            match scene.step(*step, &mut open, self.shape(commit)) {
                Ok(()) => {}
                Err(_) if scene.rig.disk.is_dead() => break,
                Err(error) => {
                    return Err(format!("{}: {step:?} fails on a disk that works: {error}", self.name));
                }
            }
        }
        Ok(scene)
    }

    /// The moments at which the power can go. An operation that changes nothing leaves what the one before it left.
    fn cuts(&self) -> Result<Vec<Cut>, String> {
        let whole = self.play(None)?;
        let first = Rig::create(1, &settings())?.disk.op_count();
        let operations = (first..=whole.rig.disk.op_count()).map(Cut::Operation);
        let all = operations.chain((0..whole.rig.index.commit_count()).map(Cut::Commit));
        let (mut cuts, mut seen) = (Vec::new(), BTreeSet::new());
        for cut in all {
            if seen.insert(self.play(Some(cut))?.fingerprint(cut)) {
                cuts.push(cut);
            }
        }
        Ok(cuts)
    }

    /// Try every image of every crash point.
    ///
    /// # Errors
    /// The first violation that was met, in words.
    pub fn run(&self) -> Result<Tally, String> {
        let cuts = self.cuts()?;
        let next = AtomicU64::new(0);
        let total: Mutex<Result<Tally, String>> = Mutex::new(Ok(Tally::default()));
        std::thread::scope(|scope| {
            for _ in 0..threads() {
                scope.spawn(|| {
                    // Only uniqueness matters; nothing is published by it.
                    while let Some(cut) =
                        usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|at| cuts.get(at))
                    {
                        let done = self.try_cut(*cut);
                        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                        match (&mut *total, done) {
                            (Ok(tally), Ok(more)) => tally.merge(&more),
                            (Ok(_), Err(what)) => {
                                *total = Err(format!("{}, {cut:?}: {what}", self.name));
                            }
                            (Err(_), _) => break,
                        }
                    }
                });
            }
        });
        total.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_cut(&self, cut: Cut) -> Result<Tally, String> {
        let scene = self.play(Some(cut))?;
        let mut tally = Tally::default();
        scene.rig.disk.cut_power();
        tally.points = 1;
        let indexes = scene.rig.index.crash_images();
        let disks = scene.rig.disk.crash_images(IMAGES_MAX);
        tally.points_exhaustive = u64::from(disks.is_exhaustive());
        for disk in disks {
            for index in &indexes {
                let disk = if indexes.len() > 1 { disk.snapshot(1) } else { disk.clone() };
                let rig = Rig { disk, index: index.clone().into(), rewriting: Rewriting::OFF };
                self.try_image(rig, &scene.allowed, &mut tally)
                    .map_err(|what| format!("image {}: {what}", tally.images))?;
                tally.images += 1;
            }
        }
        Ok(tally)
    }

    /// One image opens, also after another cut, gives back what it must, and goes on.
    fn try_image(&self, mut rig: Rig, allowed: &Allowed, tally: &mut Tally) -> Result<(), String> {
        let mut random = Rng::new(tally.images);
        if random.below(CUT_AGAIN_ONE_IN) == 0 {
            rig.disk.crash_at(1 + random.below(40));
            drop(rig.open(self.shape(u64::MAX)));
            rig = rig.crash(random.bits());
            tally.cut_again += 1;
        }
        let open = rig.open(self.shape(u64::MAX)).map_err(|error| format!("it does not open: {error}"))?;
        expect_allowed(&open, allowed)?;
        if random.below(GOES_ON_ONE_IN) > 0 {
            return Ok(());
        }
        tally.went_on += 1;
        let bytes = bytes_of(&[(1, 700), (90, 700)]);
        let after = open.put("after", &bytes, 300).and_then(|_| open.read("after"));
        if after.as_ref().ok() != Some(&Some(bytes)) {
            return Err(format!("a stream stored afterwards does not come back: {:?}", after.err()));
        }
        expect_allowed(&open, allowed)?;
        open.close().map_err(|error| format!("it does not close: {error}"))?;
        let report = rig.fsck().map_err(|error| format!("it cannot be checked: {error}"))?;
        if report.damage_count > 0 {
            return Err(format!("a check finds damage: {:?}", report.findings));
        }
        Ok(())
    }
}

fn expect_allowed(open: &Open, allowed: &Allowed) -> Result<(), String> {
    for (name, allowed) in allowed {
        let found = open.read(name).map_err(|error| format!("{name} cannot be read: {error}"))?;
        if !allowed.contains(&found) {
            let lens: Vec<_> = allowed.iter().map(|bytes| bytes.as_ref().map(Vec::len)).collect();
            return Err(format!("{name} has {:?} bytes, not one of {lens:?}", found.map(|b| b.len())));
        }
    }
    Ok(())
}

/// What tells two moments apart: operations that change the disk, commits of the index, and what is allowed. Of two
/// with the same, the later leaves only images that the earlier leaves too: in between, reads changed nothing, and a
/// sync that ended only took choices away.
type Fingerprint = (bool, u64, u64, Vec<usize>);

impl Scene {
    fn fingerprint(&self, cut: Cut) -> Fingerprint {
        let allowed = self.allowed.values().map(Vec::len).collect();
        let in_commit = matches!(cut, Cut::Commit(_));
        (in_commit, self.rig.disk.change_count(), self.rig.index.commit_count(), allowed)
    }

    fn step(&mut self, step: Step, open: &mut Option<Open>, shape: Shape) -> Result<(), String> {
        let text = |error: gdd_engine::error::Error| error.to_string();
        match (step, open.take()) {
            (Step::Reopen | Step::Kill, now) => {
                match (step, now) {
                    (Step::Reopen, Some(now)) => now.close().map_err(text)?,
                    (_, now) => drop(now),
                }
                *open = Some(self.rig.open(shape).map_err(text)?);
            }
            (Step::Put(name, blocks), Some(now)) => {
                let bytes = bytes_of(blocks);
                self.allowed.entry(name).or_insert_with(|| vec![None]).push(Some(bytes.clone()));
                now.put(name, &bytes, 1000).map_err(text)?;
                self.allowed.insert(name, vec![Some(bytes)]);
                *open = Some(now);
            }
            (Step::PutKept(name, blocks, flush), Some(now)) => {
                let bytes = bytes_of(blocks);
                let (part, whole) = (Some(bytes[..flush].to_vec()), Some(bytes.clone()));
                let allowed = self.allowed.entry(name).or_insert_with(|| vec![None]);
                allowed.extend([part.clone(), whole.clone()]);
                let mut kept = 0;
                let stored = now.put_kept(name, &bytes, &[flush], &mut kept).map_err(text);
                if kept == flush {
                    self.allowed.insert(name, vec![part, whole.clone()]);
                }
                stored?;
                self.allowed.insert(name, vec![whole]);
                *open = Some(now);
            }
            (Step::Remove(name), Some(now)) => {
                self.allowed.entry(name).or_default().push(None);
                now.remove(name).map_err(text)?;
                self.allowed.insert(name, vec![None]);
                *open = Some(now);
            }
            (_, None) => return Err("the store is not open".to_owned()),
        }
        Ok(())
    }
}
