//! Each daemon of a backup, killed or stopped for a while, at each moment that matters; also while a vacuum or a scrub
//! is at work, and before the index is made anew.
//!
//! Whatever happens to whom: no "Backup OK" without our receipt; a job that says so comes back byte for byte; jobs that
//! were good before stay good; the same job run again is good; nothing of the dead stays in the daemon; and in the end
//! a full check finds nothing.
//!
//! By default a stop takes three seconds, at one moment, and the file daemon dies at two, since Bacula takes a minute
//! to see that; with GDD_TEST_FULL=1 a stop takes a minute, and everything happens at each moment.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use gdd_rig::{Daemon, FileSet, Job, JobResult, Level, Release, Rig, Signal};
use gdd_tests::bacula::{Site, assert_equal};
use gdd_tests::companion::{Upkeep, litter, rebuild_twice};
use gdd_tests::effort;
use gdd_tests::random::Random;

const SMALL_FILES: u32 = 1200;
const SMALL_SIZE: usize = 10_000;
const LARGE_SIZE: usize = 24 << 20;
/// Of the file data; some short pieces of it travel with the volume's own bytes.
const TOTAL: u64 = SMALL_FILES as u64 * SMALL_SIZE as u64 + LARGE_SIZE as u64;
/// How long Bacula gets to send the rest while our daemon is frozen.
const LAST_BYTES: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    File,
    Storage,
    Gdd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Start,
    RandomFile,
    LargeFile,
    Commit,
    /// In the small files, while a vacuum moves chunks.
    Vacuum,
    /// In the small files, while a scrub reads.
    Scrub,
    /// In the small files; before the daemon comes back, a rebuild of the index is killed, and done.
    Rebuild,
}

impl Moment {
    fn upkeep(self) -> Option<Upkeep> {
        match self {
            Self::Vacuum => Some(Upkeep::Vacuum),
            Self::Scrub => Some(Upkeep::Scrub),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Kill,
    Stop(Duration),
}

/// What is done to whom, and when.
#[derive(Clone, Copy, Debug)]
struct Cell {
    victim: Victim,
    moment: Moment,
    how: How,
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Kill => "KILL".to_owned(),
            How::Stop(pause) => format!("STOP {} s", pause.as_secs()),
        };
        write!(out, "{:?} {how} at {:?}", self.victim, self.moment)
    }
}

struct Scene {
    site: Site,
    rig: Rig,
    source: PathBuf,
    random: Random,
    /// The last job that was good.
    good: Option<JobResult>,
}

impl Scene {
    fn new(release: Release, seed: u64) -> Option<Self> {
        let mut site = Site::without_daemon(release)?;
        site.gdd.init_with(&["--container-size", "1m"]);
        site.serve();
        let source = site.folder().join("source");
        build(&source, seed);
        // In this order, so that it is known what comes when.
        let set = FileSet::new("tree").include(&source.join("1-small")).include(&source.join("2-large"));
        let rig = site.bacula().file_set(set).job(Job::backup("tree", "tree"));
        let rig = rig.line(Daemon::File(0), "Maximum Bandwidth Per Job = 12 mb/s");
        let rig = rig.line(Daemon::File(0), "CommCompression = no").start().unwrap();
        Some(Self { site, rig, source, random: Random::new(seed), good: None })
    }

    fn play(&mut self, cell: Cell) {
        let began = Instant::now();
        let upkeep = cell.moment.upkeep().map(|upkeep| {
            litter(&self.site.gdd, &mut self.random);
            upkeep.begin(&self.site.gdd)
        });
        let before = self.site.bytes_in();
        let id = self.rig.submit("tree", Level::Full).unwrap();
        self.wait_for(cell.moment, id, before);
        let frozen = cell.moment == Moment::Commit;
        if frozen {
            self.site.serving().signal(rustix::process::Signal::STOP);
            thread::sleep(LAST_BYTES);
        }
        self.strike(cell);
        if frozen && cell.victim != Victim::Gdd {
            self.site.serving().signal(rustix::process::Signal::CONT);
        }
        match upkeep {
            Some(upkeep) if cell.victim == Victim::Gdd => upkeep.was_killed(&self.site.gdd),
            Some(upkeep) => upkeep.ends_well(),
            None => {}
        }
        let result = self.rig.wait(id).unwrap();
        let ids: Vec<_> = ids_in(&result.log);
        println!(
            "{cell}: job {} after {:.0} s, {} files, {ids:?}",
            result.status,
            began.elapsed().as_secs_f64(),
            result.files
        );
        if result.is_ok() {
            assert!(result.log.contains("[GDD-SD-0200]"), "{cell}: no receipt\n{}", result.log);
            self.restore(&result);
        } else {
            assert!("fEAI".contains(result.status), "{cell}: {result:?}");
            assert!(!result.log.contains("Backup OK"), "{cell}: {}", result.log);
        }
        if let Some(good) = self.good.take() {
            self.restore(&good);
        }
        let again = self.rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
        self.restore(&again);
        self.good = Some(again);
        self.nothing_stays(cell);
    }

    /// `before`: what the storage daemon's session has brought with earlier jobs; a session counts from its beginning.
    fn wait_for(&mut self, moment: Moment, id: gdd_rig::JobId, before: u64) {
        let small = u64::from(SMALL_FILES) * SMALL_SIZE as u64;
        let bytes = match moment {
            Moment::Start => 0,
            Moment::RandomFile | Moment::Vacuum | Moment::Scrub | Moment::Rebuild => {
                self.random.below(small * 8 / 10)
            }
            Moment::LargeFile => small + self.random.below(LARGE_SIZE as u64 / 2),
            Moment::Commit => TOTAL - (2 << 20),
        };
        let site = &self.site;
        let come = || {
            let come = site.bytes_in();
            let of_this = come.checked_sub(before).unwrap_or(come);
            Ok(self.rig.job_status(id)? == 'R' && (bytes == 0 || of_this >= bytes))
        };
        self.rig.wait_for("the moment", come).unwrap();
    }

    fn strike(&mut self, cell: Cell) {
        let daemon = match cell.victim {
            Victim::File => Daemon::File(0),
            Victim::Storage => Daemon::Storage,
            Victim::Gdd => return self.strike_gdd(cell),
        };
        match cell.how {
            How::Kill => {
                self.rig.signal(daemon, Signal::Kill).unwrap();
                self.rig.restart(daemon).unwrap();
            }
            How::Stop(pause) => {
                self.rig.signal(daemon, Signal::Stop).unwrap();
                thread::sleep(pause);
                self.rig.signal(daemon, Signal::Continue).unwrap();
            }
        }
    }

    fn strike_gdd(&mut self, cell: Cell) {
        match cell.how {
            How::Kill => {
                self.site.daemon().kill();
                if cell.moment == Moment::Rebuild {
                    rebuild_twice(&self.site.gdd, &mut self.random);
                }
                self.site.serve();
            }
            How::Stop(pause) => {
                self.site.serving().signal(rustix::process::Signal::STOP);
                thread::sleep(pause);
                self.site.serving().signal(rustix::process::Signal::CONT);
            }
        }
    }

    fn restore(&self, job: &JobResult) {
        let below = |name: &str| self.source.join(name);
        let back = self.rig.restore(&[job.id]).unwrap();
        back.result.clone().demand_ok().unwrap();
        for part in ["1-small", "2-large"] {
            assert_equal(&below(part), &back.path(&below(part)));
        }
        fs::remove_dir_all(back.path(Path::new("/"))).unwrap();
    }

    /// No job runs: no stream is open, and no session is left of a process that is dead.
    fn nothing_stays(&self, cell: Cell) {
        let status = self.site.gdd.json(&["status"]);
        let sessions = status["services"]["storage"]["sessions"].as_array().cloned().unwrap();
        let living = self.rig.pid(Daemon::Storage).unwrap();
        for session in sessions {
            assert_eq!(session["pid"].as_u64(), Some(living.into()), "{cell}: {status}");
            assert_eq!(session["streams"], 0, "{cell}: {status}");
        }
    }
}

fn build(root: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let mut bytes = vec![0; LARGE_SIZE];
    for file in 0..SMALL_FILES {
        let folder = root.join(format!("1-small/{:02}", file / 100));
        fs::create_dir_all(&folder).unwrap();
        random.fill(&mut bytes[..SMALL_SIZE]);
        fs::write(folder.join(file.to_string()), &bytes[..SMALL_SIZE]).unwrap();
    }
    fs::create_dir(root.join("2-large")).unwrap();
    random.fill(&mut bytes);
    fs::write(root.join("2-large/file"), &bytes).unwrap();
}

/// The ids of our messages in a log.
fn ids_in(log: &str) -> Vec<String> {
    let parts = log.split("[GDD-SD-").skip(1);
    let mut ids: Vec<_> = parts.filter_map(|part| part.split(']').next().map(str::to_owned)).collect();
    ids.dedup();
    ids
}

fn matrix(release: Release, victim: Victim, moments: &[Moment]) {
    let Some(mut scene) = Scene::new(release, 77 + victim as u64) else { return };
    let full = effort::is_full();
    let pause = Duration::from_secs(if full { 60 } else { 3 });
    let mut cells = 0;
    for &moment in moments {
        scene.play(Cell { victim, moment, how: How::Kill });
        cells += 1;
        if full || moment == Moment::LargeFile {
            scene.play(Cell { victim, moment, how: How::Stop(pause) });
            cells += 1;
        }
    }
    scene.site.stop_and_check();
    println!("{cells} cells of {victim:?} on {release:?}: every one as it should be");
}

const UPKEEP: [Moment; 3] = [Moment::Vacuum, Moment::Scrub, Moment::Rebuild];
const EVERY: [Moment; 4] = [Moment::Start, Moment::RandomFile, Moment::LargeFile, Moment::Commit];

#[test]
fn the_file_daemon_on_bacula_9() {
    let moments = if effort::is_full() { &EVERY[..] } else { &EVERY[2..] };
    matrix(Release::V9, Victim::File, moments);
}

#[test]
fn the_storage_daemon_on_bacula_9() {
    matrix(Release::V9, Victim::Storage, &EVERY);
}

#[test]
fn our_daemon_on_bacula_9() {
    matrix(Release::V9, Victim::Gdd, &EVERY);
}

#[test]
fn our_daemon_on_bacula_15() {
    matrix(Release::V15, Victim::Gdd, &[Moment::LargeFile, Moment::Commit]);
}

#[test]
fn our_daemon_in_the_middle_of_upkeep_on_bacula_9() {
    matrix(Release::V9, Victim::Gdd, &UPKEEP);
}

#[test]
fn our_daemon_in_the_middle_of_upkeep_on_bacula_15() {
    matrix(Release::V15, Victim::Gdd, &UPKEEP);
}

#[test]
fn the_storage_daemon_beside_upkeep_on_bacula_9() {
    matrix(Release::V9, Victim::Storage, &UPKEEP[..2]);
}

#[test]
fn the_file_daemon_beside_upkeep_on_bacula_9() {
    matrix(Release::V9, Victim::File, if effort::is_full() { &UPKEEP[..2] } else { &UPKEEP[..1] });
}
