//! The procedures of docs/dr-runbook.md, carried out against stock Bacula: what comes back, what does not, and that a
//! restore of the latter says so.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use gdd_rig::{Daemon, JobId, JobResult, Level, Release, Rig, Signal};
use gdd_tests::bacula::{DEVICE, POOL, Site, VOLUME, assert_equal, assert_failed, assert_restored};
use gdd_tests::copy::copy;
use gdd_tests::damage::files;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, number, text};
use gdd_tests::random::Random;
use gdd_tests::serving::Serving;

const FILES: u32 = 40;
const FILE_SIZE: usize = 200_000;

/// A backup that went well, before anything did not.
struct Scene {
    site: Site,
    rig: Rig,
    source: PathBuf,
    first: JobResult,
}

impl Scene {
    fn new() -> Option<Self> {
        let site = Site::new(Release::V9)?;
        let source = site.folder().join("source");
        fill(&source, 1);
        let rig = site.bacula().backup("tree", &source).start().unwrap();
        let first = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
        Some(Self { site, rig, source, first })
    }

    /// As the runbook has it: bacula-sd first, then gdd, which the next step finds stopped.
    fn stop(&mut self) {
        self.site.daemon().stop();
    }

    fn serve(&mut self) {
        self.site.serve();
        self.rig.restart(Daemon::Storage).unwrap();
    }

    fn store(&self) -> PathBuf {
        self.site.gdd.store().to_owned()
    }

    /// The Archive Device.
    fn device(&self) -> String {
        let volume = self.rig.volume_file(DEVICE, VOLUME).unwrap();
        volume.parent().unwrap().to_str().unwrap().to_owned()
    }

    fn full(&self) -> JobResult {
        self.rig.run("tree", Level::Full).unwrap().demand_ok().unwrap()
    }

    /// Other files, as `seed` says; returns where the ones before are.
    fn replace_source(&self, seed: u64) -> PathBuf {
        let kept = self.source.with_extension(format!("before-{seed}"));
        fs::rename(&self.source, &kept).unwrap();
        fill(&self.source, seed);
        kept
    }

    fn restored(&self, job: &JobResult) {
        assert_restored(&self.rig, &[job], &self.source);
    }

    /// The restore ends in error, and names us as the reason.
    fn lost(&self, job: &JobResult) {
        let back = self.rig.restore(&[job.id]).unwrap();
        assert!(back.result.clone().demand_ok().is_err(), "{:?}", back.result);
        assert!(back.result.log.contains("[GDD-SD-"), "{}", back.result.log);
    }
}

fn fill(root: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let mut bytes = vec![0; FILE_SIZE];
    fs::create_dir_all(root).unwrap();
    for file in 0..FILES {
        random.fill(&mut bytes);
        fs::write(root.join(format!("{file:03}")), &bytes).unwrap();
    }
}

#[test]
fn lost_index() {
    let Some(mut scene) = Scene::new() else { return };
    scene.stop();
    fs::remove_dir_all(scene.store().join("index")).unwrap();
    scene.site.gdd.expect(0, &["fsck", "--repair", "--apply"]);
    scene.serve();
    scene.restored(&scene.first);
    let again = scene.full();
    scene.restored(&again);
    scene.site.stop_and_check();
}

#[test]
fn lost_container() {
    let Some(mut scene) = Scene::new() else { return };
    scene.stop();
    let containers = files(&scene.store().join("containers")).unwrap();
    let used = |path: &&PathBuf| fs::read(path).unwrap().iter().skip(4096).any(|byte| *byte != 0);
    fs::remove_file(containers.iter().find(used).unwrap()).unwrap();
    scene.site.gdd.expect(3, &["fsck", "--repair", "--apply"]);
    // Whom it concerns, and who brings the data again.
    let report = scene.site.gdd.expect(3, &["scrub", "--report", "--json"]).json();
    let hit = &list(&report["blame"], "streams")[0];
    assert!(text(hit, "stream").starts_with("sd/") && text(hit, "lineage").contains("tree"), "{report:#}");
    assert!(!list(hit, "chunks").is_empty(), "{report:#}");
    // Which files: all of them lay in the one container.
    let device = scene.device();
    let report = ["scrub", "--report", "--volumes", &device, "--json"];
    let report = scene.site.gdd.expect(3, &report).json();
    let hit = &list(&report["blame"], "streams")[0];
    let names = |field: &str| -> BTreeSet<String> {
        list(hit, field).iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("volumes"), BTreeSet::from([VOLUME.to_owned()]), "{report:#}");
    let all = (0..FILES).map(|file| scene.source.join(format!("{file:03}")).to_str().unwrap().to_owned());
    assert_eq!(names("files"), all.collect(), "{report:#}");
    scene.serve();
    scene.lost(&scene.first);
    let again = scene.full();
    scene.restored(&again);
    scene.restored(&scene.first);
    // Nobody reads any more, which the storage daemon does not say: it is silent.
    let until = Instant::now() + Duration::from_secs(60);
    while list(&scene.site.gdd.json(&["vacuum"]), "retired").is_empty() {
        assert!(Instant::now() < until, "the lost container is not put away");
        thread::sleep(Duration::from_secs(1));
    }
    scene.site.stop_and_check();
}

#[test]
fn lost_store_with_volumes_left() {
    let Some(mut scene) = Scene::new() else { return };
    scene.stop();
    fs::remove_dir_all(scene.store()).unwrap();
    scene.site.gdd.init();
    scene.serve();
    let other_store = ["[GDD-SD-0116]", "belongs to store"];
    assert_failed(&scene.rig.restore(&[scene.first.id]).unwrap().result, &other_store);
    assert_failed(&scene.rig.run("tree", Level::Full).unwrap(), &other_store);
    scene.rig.update(&format!("volume={VOLUME} volstatus=Used")).unwrap();
    scene.replace_source(2);
    let again = scene.full();
    scene.restored(&again);
    // The new store gives the old one's numbers to its streams, but a volume knows its store.
    assert_failed(&scene.rig.restore(&[scene.first.id]).unwrap().result, &other_store);
    scene.site.stop_and_check();
}

#[test]
fn rollback_to_an_older_snapshot() {
    let Some(mut scene) = Scene::new() else { return };
    scene.stop();
    let (store, snapshot) = (scene.store(), scene.site.folder().join("snapshot"));
    copy(&store, &snapshot);
    scene.serve();
    let kept = scene.replace_source(2);
    let second = scene.full();
    scene.restored(&second);
    scene.stop();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&snapshot, &store).unwrap();
    // Ids that the lost time has given out are not given out again.
    fs::remove_file(store.join("epoch")).unwrap();
    scene.site.gdd.expect(0, &["fsck", "--repair", "--apply"]);
    scene.serve();
    scene.lost(&second);
    // What the volumes of the lost days need and the store does not have is named.
    let found = scene.site.gdd.expect(3, &["reconcile", "--volumes", &scene.device(), "--json"]).json();
    assert_eq!(text(&list(&found, "lacking")[0], "volume"), VOLUME, "{found:#}");
    // In the console: nothing more goes onto the volumes of those days, and the lost jobs are forgotten.
    scene.rig.update(&format!("volume={VOLUME} volstatus=Used")).unwrap();
    scene.replace_source(3);
    let third = scene.full();
    assert_eq!(third.volumes, ["Dedup-0002"], "{third:?}");
    scene.restored(&third);
    scene.lost(&second);
    scene.rig.console(&format!("delete jobid={} yes", second.id)).unwrap();
    let left = scene.rig.query_catalog("SELECT JobId FROM Job WHERE Type='B' ORDER BY JobId").unwrap();
    assert_eq!(left, [[scene.first.id.to_string()], [third.id.to_string()]], "the lost one is gone");
    scene.restored(&third);
    // Bacula reads a block too far, into the lost job: it ends in error, after all of the first one's files.
    let back = scene.rig.restore(&[scene.first.id]).unwrap();
    assert!(back.result.log.contains("[GDD-SD-0025]"), "{}", back.result.log);
    assert_equal(&kept, &back.path(&scene.source));
    scene.site.stop_and_check();
}

#[test]
fn lost_catalog() {
    let Some(mut scene) = Scene::new() else { return };
    let scanned = scene.rig.bscan(DEVICE, VOLUME).unwrap();
    scanned.printed.clone().demand_success().unwrap();
    let jobs = scene.rig.query_scanned(&scanned, "SELECT JobId FROM Job WHERE Type='B'").unwrap();
    scene.rig.signal(Daemon::Director, Signal::Kill).unwrap();
    fs::copy(&scanned.catalog, scene.rig.catalog()).unwrap();
    scene.rig.restart(Daemon::Director).unwrap();
    let back = scene.rig.restore(&[JobId(jobs[0][0].parse().unwrap())]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_equal(&scene.source, &back.path(&scene.source));
    // And the next backup goes on from there.
    let again = scene.full();
    scene.restored(&again);
    scene.site.stop_and_check();
}

#[test]
fn moving_to_new_hardware_and_to_a_replica() {
    let Some(mut scene) = Scene::new() else { return };
    scene.stop();
    let (old, new) = (scene.store(), scene.site.folder().join("new-disk"));
    copy(&old, &new);
    fs::remove_dir_all(&old).unwrap();
    let socket = scene.site.folder().join("gdd.sock");
    let moved = Gdd::at(&new).with_flags(&["--socket", socket.to_str().unwrap()]);
    moved.expect(0, &["fsck"]);
    scene.site.adopt(Serving::start(&moved, scene.site.folder()));
    scene.rig.restart(Daemon::Storage).unwrap();
    scene.restored(&scene.first);
    let again = scene.full();
    scene.restored(&again);
    scene.site.daemon().stop();
    moved.expect(0, &["fsck"]);
}

#[test]
fn fail_over_to_a_replica_of_gdd_copy() {
    let Some(mut scene) = Scene::new() else { return };
    let (old, new) = (scene.store(), scene.site.folder().join("replica"));
    let [from, to] = [&old, &new].map(|path| path.to_str().unwrap());
    scene.stop();
    scene.site.gdd.expect(0, &["init", to, "--replica-of", from]);
    let first = scene.site.gdd.json(&["copy", from, to]);
    assert!(number(&first, "copied") > 0 && number(&first, "sent_bytes") > 0, "{first}");
    scene.serve();
    let before = scene.replace_source(2);
    let second = scene.full();
    scene.stop();
    let later = scene.site.gdd.json(&["copy", from, to]);
    assert_eq!(number(&later, "present"), number(&first, "copied"), "only what is new travels: {later}");
    assert_eq!(list(&later, "failed").len(), 0);
    // The store is lost, and the replica takes its place.
    fs::remove_dir_all(&old).unwrap();
    fs::rename(&new, &old).unwrap();
    scene.site.gdd.expect(0, &["fsck"]);
    scene.serve();
    scene.restored(&second);
    let back = scene.rig.restore(&[scene.first.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_equal(&before, &back.path(&scene.source));
    let again = scene.full();
    scene.restored(&again);
    scene.restored(&second);
    scene.stop();
    scene.site.gdd.expect(0, &["fsck"]);
}

#[test]
fn a_volume_that_was_deleted_leaves_orphans() {
    let Some(mut scene) = Scene::new() else { return };
    let volume = scene.rig.volume_file(DEVICE, VOLUME).unwrap();
    let device = volume.parent().unwrap().to_str().unwrap().to_owned();
    let reconcile = ["reconcile", "--volumes", &device, "--keep-newer", "1s"];
    let gdd = scene.site.gdd.clone();
    let orphans = |more: &[&str]| gdd.json(&[&reconcile, more].concat())["orphans"].as_array().unwrap().len();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(orphans(&[]), 0, "its volume is there");
    fs::remove_file(&volume).unwrap();
    gdd.expect(2, &reconcile).demand_said(&["mounted"]);
    scene.rig.label("Other-1", POOL).unwrap();
    let young = gdd.json(&["reconcile", "--volumes", &device]);
    assert!(list(&young, "orphans").is_empty(), "a young stream is kept");
    assert_eq!(orphans(&[]), 1);
    gdd.expect(2, &[&reconcile[..], &["--apply"]].concat()).demand_said(&["--force", "nothing was removed"]);
    assert_eq!(orphans(&[]), 1);
    assert_eq!(orphans(&["--apply", "--force"]), 1);
    assert_eq!(orphans(&[]), 0);
    assert!(list(&gdd.json(&["ls"]), "streams").is_empty());
    let other = scene.rig.volume_file(DEVICE, "Other-1").unwrap();
    let mut header = fs::read(&other).unwrap();
    header[20] ^= 1;
    fs::write(&other, header).unwrap();
    gdd.expect(1, &reconcile).demand_said(&["Other-1", "damaged"]);
    scene.site.stop_and_check();
}
