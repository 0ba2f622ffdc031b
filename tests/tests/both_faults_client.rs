//! Bothsides mode with a file daemon that is killed or frozen: its job fails, the daemon keeps nothing half under a
//! name, and the next job is good.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gdd_rig::{Daemon, JobResult, Level, Release, Rig, Signal};
use gdd_tests::bacula::{assert_failed, assert_restored};
use gdd_tests::bothsides::{BothSides, restore_fails};
use gdd_tests::effort::is_full;
use gdd_tests::faults::Faults;
use gdd_tests::meter::{Meter, Next, Way};
use gdd_tests::small_disk::{Overlay, SmallDisk};

const CLIENT: Daemon = Daemon::File(0);
const SIZE: usize = 3_000_000;

/// How many backups have a name in the store.
fn streams(site: &BothSides) -> usize {
    site.gdd.expect(0, &["ls"]).stdout.split_whitespace().filter(|word| word.starts_with("net/")).count()
}

fn stored(site: &BothSides) -> usize {
    site.serving().log().matches(" is stored: ").count()
}

/// Run the job to byte `offset` of the file, do `meanwhile`, and let it go on.
fn at_byte(rig: &Rig, near: &Faults, offset: u64, meanwhile: impl FnOnce()) -> JobResult {
    near.hold_reads("/tree/f0000", offset);
    thread::scope(|scope| {
        let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
        near.wait_until_held();
        meanwhile();
        near.release();
        job.join().unwrap()
    })
}

fn assert_ended_badly(job: &JobResult) {
    println!("{}", job.log);
    assert!("fE".contains(job.status) && job.console_status == job.status, "{job:?}");
    assert!(!job.log.contains("Backup OK") && !job.log.contains("Restore OK"), "{}", job.log);
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_that_is_killed_leaves_nothing_half() {
    if !is_full() {
        return println!("Bacula itself takes a minute to find each of four dead clients: GDD_TEST_FULL=1");
    }
    let Some((mut site, near, _far)) = BothSides::with_faults(Release::V9) else { return };
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    // Before its first chunk, in the middle, before its commit.
    for (seed, offset) in (1..).zip([0, 1_500_000, SIZE as u64]) {
        site.fill(seed, 1, SIZE);
        let job = at_byte(&rig, &near, offset, || rig.signal(CLIENT, Signal::Kill).unwrap());
        assert_ended_badly(&job);
        rig.restart(CLIENT).unwrap();
        assert_eq!((streams(&site), stored(&site)), (0, 0), "a name without a commit");
    }
    // After its commit, before it hears of it.
    site.fill(9, 1, SIZE);
    let (log, struck) = (site.serving().log_file().to_owned(), Arc::new(AtomicBool::new(false)));
    let pid = rustix::process::Pid::from_raw(i32::try_from(rig.pid(CLIENT).unwrap()).unwrap()).unwrap();
    let done = Arc::clone(&struck);
    meter.watch(move |way, _, _| {
        if way == Way::ToClient && fs::read_to_string(&log).unwrap().contains(" is stored: ") {
            done.store(true, Ordering::SeqCst);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL); // It may be dead already.
        }
        Next::Pass
    });
    let job = rig.run("files", Level::Full).unwrap();
    assert_ended_badly(&job);
    assert!(struck.load(Ordering::SeqCst), "nobody was killed");
    meter.unwatch();
    rig.restart(CLIENT).unwrap();
    assert_eq!(streams(&site), 1, "a commit is a commit");
    let (good, report) = site.full(&rig);
    assert_eq!(report.new, 0, "{report:?}");
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_client_that_is_frozen_is_given_up_by_the_daemon() {
    let Some((mut site, near, _far)) = BothSides::with_faults(Release::V9) else { return };
    site.daemon().stop();
    site.serve_with("silence_max = 2");
    site.fill(1, 1, SIZE);
    let rig = site.start(&[]);
    site.full(&rig);
    let ended = |site: &BothSides| {
        let status = site.gdd.json(&["status"]);
        status["services"]["net"]["sessions"].as_array().is_some_and(Vec::is_empty)
    };
    // The daemon hears nothing for two seconds.
    site.fill(2, 1, SIZE);
    let job = at_byte(&rig, &near, 1_500_000, || {
        rig.signal(CLIENT, Signal::Stop).unwrap();
        wait_for("the end of the session", || ended(&site));
        rig.signal(CLIENT, Signal::Continue).unwrap();
    });
    assert_ended_badly(&job);
    assert!(job.log.contains("GDD-FD-0108") && job.log.contains("GDD-NET-0011"), "{}", job.log);
    assert_eq!(streams(&site), 1, "a name without a commit");
    // The next one is good.
    let (next, _) = site.full(&rig);
    assert_restored(&rig, &[&next], &site.client.tree());
    site.stop_and_check();
}

/// Whether the daemon waits for a word or for room to write, it waits for `silence_max`.
#[test]
fn a_client_that_is_frozen_in_a_restore_is_given_up_by_the_daemon() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    site.daemon().stop();
    site.serve_with("silence_max = 2");
    site.fill(1, 4, 30_000_000);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    let (good, _) = site.full(&rig);
    let pid = rustix::process::Pid::from_raw(i32::try_from(rig.pid(CLIENT).unwrap()).unwrap()).unwrap();
    let frozen = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&frozen);
    meter.watch(move |way, before, _| {
        if way == Way::ToClient && before > 20_000_000 && !done.swap(true, Ordering::SeqCst) {
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
        Next::Pass
    });
    let given_up = |site: &BothSides| {
        let status = site.gdd.json(&["status"]);
        let jobs = status["services"]["net"]["jobs"].as_array().cloned().unwrap_or_default();
        jobs.iter().any(|job| job["kind"] == "restore" && job["outcome"] != "restored")
    };
    thread::scope(|scope| {
        let restore = scope.spawn(|| restore_fails(&site, &rig, &good, &["GDD-FD-0302"]));
        wait_for("a frozen client", || frozen.load(Ordering::SeqCst));
        wait_for("the end of its session", || given_up(&site));
        rig.signal(CLIENT, Signal::Continue).unwrap();
        let log = restore.join().unwrap().log;
        println!("{log}");
        // The word of the daemon, where there was room for it.
        assert!(log.contains("GDD-NET-0011") || log.contains("GDD-FD-0101"), "{log}");
    });
    meter.unwatch();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

/// The disk that files are restored to is full: the job says so, and no short file is left.
fn a_target_without_room(release: Release) {
    let disk = match SmallDisk::new(24) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, 12, SIZE);
    let rig = site.start(&[]);
    let (good, _) = site.full(&rig);
    // Where restores go.
    let target = rig.folder().join("restored");
    std::os::unix::fs::symlink(disk.root(), &target).unwrap();
    let words = ["GDD-FD-0301", "No space left on device", "GDD-FD-0302"];
    let job = restore_fails(&site, &rig, &good, &words);
    println!("{}", job.log);
    let whole = job.log.matches("GDD-FD-0301").count();
    assert!((1..12).contains(&whole), "some fitted, and some did not:\n{}", job.log);
    fs::remove_file(&target).unwrap();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_target_without_room_leaves_no_short_file_on_9() {
    a_target_without_room(Release::V9);
}

#[test]
fn a_target_without_room_leaves_no_short_file_on_15() {
    a_target_without_room(Release::V15);
}

/// Its file system has room, and what is below it has not: the kernel takes the writes, and loses them later.
fn a_target_that_loses_what_it_took(release: Release, overlaid: bool) {
    let below = SmallDisk::new(40);
    let disk = match below.as_ref().map_err(Clone::clone).and_then(|disk| SmallDisk::within(disk.root(), 200))
    {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, 20, SIZE);
    let rig = site.start(&[]);
    let (good, _) = site.full(&rig);
    let target = rig.folder().join("restored");
    // An overlayfs tells of it only who syncs each file.
    let overlay = match overlaid.then(|| Overlay::over(disk.root())).transpose() {
        Ok(overlay) => overlay,
        Err(why) => return println!("skipped: {why}"),
    };
    std::os::unix::fs::symlink(overlay.as_ref().map_or(disk.root(), Overlay::root), &target).unwrap();
    let back = rig.restore(&[good.id]).unwrap();
    println!("{}", back.result.log);
    assert_failed(&back.result, if overlaid { &["GDD-FD-0301", "GDD-FD-0302"] } else { &["GDD-FD-0304"] });
    fs::remove_file(&target).unwrap();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_target_that_loses_what_it_took_is_no_good_restore_on_9() {
    a_target_that_loses_what_it_took(Release::V9, false);
    a_target_that_loses_what_it_took(Release::V9, true);
}

#[test]
fn a_target_that_loses_what_it_took_is_no_good_restore_on_15() {
    a_target_that_loses_what_it_took(Release::V15, false);
}

/// Bacula's own bpipe is there and gdd is not: as bad as no plugin, and as plain to see.
fn other_plugins_only(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, 5, 9000);
    let rig = site.start(&[]);
    let (good, _) = site.full(&rig);
    let (plugin, kept) = (site.client.plugin_file(), site.client.folder().join("kept.so"));
    fs::rename(&plugin, &kept).unwrap();
    let bpipe = rig.packages().file("usr/lib/bacula/bpipe-fd.so");
    fs::copy(bpipe, plugin.with_file_name("bpipe-fd.so")).unwrap();
    rig.restart(CLIENT).unwrap();
    assert!(rig.status(CLIENT).unwrap().contains("bpipe"), "it is not loaded");
    assert_failed(&rig.run("files", Level::Full).unwrap(), &["not found"]);
    let back = rig.restore(&[good.id]).unwrap();
    println!("{}", back.result.log);
    assert_failed(&back.result, &["not correct"]);
    // What it wrote are the references, which nobody takes for the files.
    let wrote = fs::read(back.path(&site.client.tree()).join("f0003")).unwrap();
    assert!(wrote.len() < 512, "{} bytes", wrote.len());
    fs::rename(&kept, &plugin).unwrap();
    rig.restart(CLIENT).unwrap();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_file_daemon_with_other_plugins_only_fails_on_9() {
    other_plugins_only(Release::V9);
}

#[test]
fn a_file_daemon_with_other_plugins_only_fails_on_15() {
    other_plugins_only(Release::V15);
}
