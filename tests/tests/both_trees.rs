//! Whole trees in bothsides mode, through stock Bacula and the real daemon: every kind of entry, many small files, huge
//! ones, programs, and whatever the options of the FileSet are.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use gdd_rig::{Device, FileSet, Job, JobId, JobResult, Level, Pool, Release, Rig};
use gdd_tests::bacula::{assert_equal, assert_restored};
use gdd_tests::bothsides::{BothSides, Report};
use gdd_tests::effort::sized;
use gdd_tests::snapshot::Snapshot;
use gdd_tests::tree::{self, Shape};
use gdd_tests::{copy, mixed};
use rustix::process::Signal;

macro_rules! on_both {
    ($($name9:ident $name15:ident $body:expr;)*) => {
        $(
            #[test]
            fn $name9() {
                $body(Release::V9);
            }
            #[test]
            fn $name15() {
                $body(Release::V15);
            }
        )*
    };
}

on_both! {
    a_mixed_tree_on_9 a_mixed_tree_on_15 |release| round_trip(release, &[]);
    accurate_on_9 accurate_on_15 |release| incremental(release, true);
    incremental_on_9 incremental_on_15 |release| incremental(release, false);
    two_restores_on_9 two_restores_on_15 two_restores;
    two_backups_on_9 two_backups_on_15 two_backups;
}

#[test]
fn sparse_is_allowed() {
    round_trip(Release::V9, &["sparse = yes"]);
}

#[test]
fn compression_is_allowed() {
    round_trip(Release::V9, &["compression = GZIP"]);
}

#[test]
fn any_signature_is_allowed() {
    for signature in ["signature = SHA1", "signature = SHA256"] {
        round_trip(Release::V9, &[signature]);
    }
}

/// Backs up and restores: all comes back, and in the volume there is little.
fn round_trip(release: Release, options: &[&str]) {
    let Some(mut site) = BothSides::new(release) else { return };
    mixed::build(&site.client.tree()).unwrap();
    let rig = site.start(options);
    for level in ["first", "known"] {
        let (full, report) = site.full(&rig);
        assert!(full.bytes < 100_000, "{level}: the volume took {} bytes", full.bytes);
        assert_eq!(report.new == 0, level == "known", "{report:?}");
        assert_restored(&rig, &[&full], &site.client.tree());
    }
    site.stop_and_check();
}

fn incremental(release: Release, accurate: bool) {
    let Some(mut site) = BothSides::new(release) else { return };
    let tree = site.client.tree();
    mixed::build(&tree).unwrap();
    let job = Job::backup("files", "files");
    let job = if accurate { job.accurate() } else { job };
    let options: &[&str] = if accurate { &["accurate = pinsmc"] } else { &[] };
    let rig = site.client.bacula(&site.string(""), options).job(job).start().unwrap();
    let (full, _) = site.full(&rig);
    fs::write(tree.join("size-512"), vec![9; 70_000]).unwrap();
    fs::write(tree.join("new"), vec![8; 1000]).unwrap();
    let next = rig.run("files", Level::Incremental).unwrap().demand_ok().unwrap();
    assert!(next.files < 10, "{} files", next.files);
    let back = rig.restore(&[full.id, next.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    // A file that comes a second time touches a folder that has had its time set, as with plain Bacula.
    let of = |path: &Path| Snapshot::of(path).unwrap().without_folder_times();
    assert_eq!(of(&tree).differences(&of(&back.path(&tree))), Vec::<String>::new());
    site.stop_and_check();
}

/// Two backups of one file daemon at the same time: both wait for a daemon that is held, and go on together. Each has a
/// tree of its own and one in common, which is stored once.
fn two_backups(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    let names = ["one", "two"];
    let trees = names.map(|name| site.client.tree().join(name));
    let common = site.client.tree().join("common");
    let shape = Shape { files: 1500, file_size_max: 20_000, ..Shape::SMALL };
    for (seed, tree) in (5..).zip(trees.iter().chain([&common])) {
        tree::build(tree, seed, shape).unwrap();
    }
    let mut rig = site.client.bacula(&site.string(""), &[]);
    for (name, tree) in names.iter().zip(&trees) {
        let plugin = format!("Plugin = \"{}\"", site.string(":patience=60"));
        rig = rig.file_set(FileSet::new(name).include(tree).include(&common).option(&plugin));
        rig = rig.device(Device::file(name)).pool(Pool::new(name, name).label_format(&format!("{name}-")));
        rig = rig.job(Job::backup(name, name).pool(name));
    }
    let rig = rig.start().unwrap();
    let daemon = site.daemon();
    daemon.signal(Signal::STOP);
    let ids = names.map(|name| rig.submit(name, Level::Full).unwrap());
    rig.wait_for("two running backups", || {
        Ok(rig.query_catalog("SELECT COUNT(*) FROM Job WHERE Type='B' AND JobStatus='R'")? == [["2"]])
    })
    .unwrap();
    thread::sleep(Duration::from_secs(1));
    daemon.signal(Signal::CONT);
    let jobs = ids.map(|id| rig.wait(id).unwrap().demand_ok().unwrap());
    assert_overlap(&rig, ids);
    let reports = jobs.each_ref().map(Report::of);
    let stats = site.gdd.json(&["stats"]);
    assert_eq!(stats["unique_bytes"], reports[0].new + reports[1].new, "what both brought is stored once");
    assert!(reports[0].new + reports[1].new < reports[0].logical + reports[1].logical, "{reports:?}");
    for (job, tree) in jobs.iter().zip(&trees) {
        let back = rig.restore(&[job.id]).unwrap();
        back.result.clone().demand_ok().unwrap();
        for tree in [tree, &common] {
            assert_equal(tree, &back.path(tree));
        }
    }
    daemon.stop();
    site.gdd.expect(0, &["fsck"]);
}

/// Two restores at the same time: both wait for a daemon that is held, and go on together.
fn two_restores(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    let tree = site.client.tree();
    let shape = Shape { files: 2000, file_size_max: 20_000, ..Shape::SMALL };
    tree::build(&tree.join("built"), 5, shape).unwrap();
    let mut rig = site.client.bacula(&site.string(":patience=60"), &[]);
    // A device reads for one job at a time.
    for name in ["one", "two"] {
        rig = rig.device(Device::file(name)).pool(Pool::new(name, name).label_format(&format!("{name}-")));
        rig = rig.job(Job::backup(name, "files").pool(name));
    }
    let rig = rig.start().unwrap();
    let jobs = ["one", "two"].map(|name| rig.run(name, Level::Full).unwrap().demand_ok().unwrap());
    let daemon = site.daemon();
    daemon.signal(Signal::STOP);
    let ids = thread::scope(|scope| {
        let restores = jobs.each_ref().map(|job| scope.spawn(|| restore(&rig, job, &tree)));
        rig.wait_for("two running restores", || {
            let running = rig.query_catalog("SELECT COUNT(*) FROM Job WHERE Type='R' AND JobStatus='R'")?;
            Ok(running == [["2"]])
        })
        .unwrap();
        thread::sleep(Duration::from_secs(1));
        daemon.signal(Signal::CONT);
        restores.map(|restore| restore.join().unwrap())
    });
    assert_overlap(&rig, ids);
    daemon.stop();
    site.gdd.expect(0, &["fsck"]);
}

fn assert_overlap(rig: &Rig, [one, two]: [JobId; 2]) {
    let query = format!(
        "SELECT COUNT(*) FROM Job A, Job B WHERE A.JobId={one} AND B.JobId={two} AND A.StartTime<=B.EndTime \
         AND B.StartTime<=A.EndTime"
    );
    assert_eq!(rig.query_catalog(&query).unwrap(), [["1"]], "the jobs did not run at the same time");
}

fn restore(rig: &Rig, job: &JobResult, tree: &Path) -> JobId {
    let back = rig.restore(&[job.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_equal(tree, &back.path(tree));
    back.result.id
}

/// The programs of this machine.
#[test]
fn usr_bin() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    copy::copy(Path::new("/usr/bin"), &site.client.tree().join("bin"));
    let rig = site.start(&[]);
    let (full, report) = site.full(&rig);
    assert!(full.bytes * 200 < report.logical, "the volume took {} bytes", full.bytes);
    assert_restored(&rig, &[&full], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn many_small_files() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    let shape = Shape { files: sized(4000, 25_000), file_size_max: 4000, tiny_files: 500, ..Shape::SMALL };
    tree::build(&site.client.tree().join("built"), 8, shape).unwrap();
    let rig = site.start(&[]);
    let (first, _) = site.full(&rig);
    let (second, report) = site.full(&rig);
    assert_eq!(report.new, 0, "{report:?}");
    for job in [first, second] {
        assert_restored(&rig, &[&job], &site.client.tree());
    }
    site.stop_and_check();
}

/// More than 32 bits can count (in the full size), most of it holes, and holes again when it comes back.
#[test]
fn a_huge_file() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    let huge = site.client.tree().join("huge");
    let file = File::create(&huge).unwrap();
    let (size, border) = sized((500 << 20, 1 << 28), (5 << 30, 1 << 32));
    file.set_len(size).unwrap();
    for (byte, at) in (1..).zip([0, 1 << 20, border - 5000, border + 12_345, size - 7000]) {
        file.write_all_at(&[byte; 7000], at).unwrap();
    }
    drop(file);
    let rig = site.start(&["sparse = yes"]);
    let (full, report) = site.full(&rig);
    assert_eq!(report.logical, size);
    assert!(report.new < 20 << 20, "zeros are stored once: {report:?}");
    let back = rig.restore(&[full.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    let there = back.path(&huge);
    let [before, after] = [&huge, &there].map(|path| fs::metadata(path).unwrap());
    assert_eq!((after.len(), after.mode()), (size, before.mode()));
    assert!(after.blocks() * 512 < 100 << 20, "{} blocks", after.blocks());
    let same = std::process::Command::new("cmp").args([&huge, &there]).status().unwrap();
    assert!(same.success(), "the huge file differs");
    let (_, report) = site.full(&rig);
    assert_eq!(report.new, 0);
    site.stop_and_check();
}
