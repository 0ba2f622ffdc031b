//! Bothsides mode with a daemon that dies or freezes while it gives files back, has no room, is none at all, or has
//! another wall clock.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gdd_rig::{JobResult, Level, Release, Rig};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{
    BothSides, assert_no_backup, assert_nothing_made_up, backup_fails, restore_fails,
};
use gdd_tests::faults::Faults;
use gdd_tests::meter::{Meter, Next, Way};
use gdd_tests::random::Random;
use gdd_tests::small_disk::SmallDisk;
use rustix::process::{Pid, Signal, kill_process};

/// Send the daemon `signal` when it has given so many bytes to a client. Whether it was sent is in the answer.
fn at_byte(site: &BothSides, meter: &Meter, at: u64, signal: Signal) -> Arc<AtomicBool> {
    let pid = Pid::from_raw(i32::try_from(site.serving().pid()).unwrap()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let sent = Arc::clone(&done);
    meter.watch(move |way, before, burst| {
        if way == Way::ToClient && before + burst.len() as u64 > at && !sent.swap(true, Ordering::SeqCst) {
            kill_process(pid, signal).unwrap();
        }
        Next::Pass
    });
    done
}

/// More than sockets and windows hold, so that a daemon that ends in the middle has not sent it all.
fn a_daemon_that_leaves_a_restore(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, 4, 30_000_000);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ":patience=2"), &[]);
    let (good, _) = site.full(&rig);
    for signal in [Signal::KILL, Signal::STOP] {
        let done = at_byte(&site, &meter, 40_000_000, signal);
        let connections = meter.connections();
        let job = restore_fails(&site, &rig, &good, &["GDD-FD-0101", "GDD-FD-0302"]);
        println!("{}", job.log);
        assert!(done.load(Ordering::SeqCst), "the daemon was left alone");
        assert_eq!(meter.connections(), connections + 1, "a job has one connection");
        assert_eq!(job.log.matches("GDD-FD-0101").count(), 1, "the rest was tried in vain:\n{}", job.log);
        meter.unwatch();
        site.kill_and_serve();
    }
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_daemon_that_leaves_a_restore_is_told_on_9() {
    a_daemon_that_leaves_a_restore(Release::V9);
}

#[test]
fn a_daemon_that_leaves_a_restore_is_told_on_15() {
    a_daemon_that_leaves_a_restore(Release::V15);
}

/// The circuit breaker of an outage: one file meets it, all others fail without a question, and a daemon that is back
/// within the job changes nothing.
#[test]
fn after_an_outage_nothing_more_of_the_job_is_tried() {
    const FILES: usize = 200;
    let Some((mut site, near, _far)) = BothSides::with_faults(Release::V9) else { return };
    site.fill(1, FILES, 200_000);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    near.hold_reads("/f0100", 0);
    let job = thread::scope(|scope| {
        let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
        near.wait_until_held();
        site.kill_and_serve();
        let passed = meter.bytes();
        near.release();
        let job = job.join().unwrap();
        assert!(meter.bytes() - passed < 200_000, "files were sent after the outage");
        job
    });
    println!("{}", job.log);
    assert_no_backup(&site, &rig, &job, &["GDD-FD-0101"]);
    assert_eq!(meter.connections(), 1, "the daemon that was back was believed");
    assert_eq!(job.log.matches("GDD-FD-0101").count(), 1, "{}", job.log);
    assert!(job.files < FILES as u64, "{job:?}");
    let (good, _) = site.full(&rig);
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

/// Something else listens there: it answers other bytes, or none.
#[test]
fn what_is_no_daemon_is_told() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    site.fill(1, 3, 200_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let rig = site.client.start(&site.string_at(port, ":patience=2"), &[]);
    let answers: [&[u8]; 2] = [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b""];
    thread::spawn(move || {
        let mut kept = Vec::new();
        for (mut stream, answer) in listener.incoming().flatten().zip(answers) {
            let _ = stream.read(&mut [0; 1000]); // What it says is nothing to us.
            let _ = stream.write_all(answer); // It may have gone.
            kept.push(stream);
        }
    });
    for words in [["GDD-FD-0101", "first bytes of a daemon"], ["GDD-FD-0101", "silent too long"]] {
        let job = backup_fails(&site, &rig, &words);
        println!("{}", job.log);
    }
    site.stop_and_check();
}

#[test]
fn a_store_without_room_is_told_gives_files_back_and_recovers() {
    let disk = match SmallDisk::new(320) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let settings = ["--container-size", "8m"];
    let store = disk.root().join("store");
    let Some((mut site, near, _far)) = BothSides::with_faults_in(Release::V9, &store, &settings) else {
        return;
    };
    site.fill(1, 3, 3_000_000);
    let rig = site.start(&[]);
    let (good, _) = site.full(&rig);
    let no_room: &[&str] = &["GDD-FD-0108", "GDD-NET-0002", "No space left on device", "free space"];
    // While bytes come. What has come stays in the store, so that room must be made for the rest.
    let reserve = disk.root().join("reserve");
    fs::write(&reserve, vec![7; 100 << 20]).unwrap();
    let big = site.client.tree().join("big");
    fs::write(&big, site_bytes(300_000_000)).unwrap();
    let job = backup_fails(&site, &rig, no_room);
    println!("{}", job.log);
    fs::remove_file(&big).unwrap();
    assert_restored(&rig, &[&good], &site.client.tree());
    assert_eq!(site.gdd.json(&["status"])["state"], "failed", "nobody takes it for ready");
    // Room first: a daemon that opens a store on a full disk vacuums at once, and what lies in a container that it
    // empties is stored again by the jobs of that moment.
    fs::remove_file(reserve).unwrap();
    site.kill_and_serve(); // As it stopped accepting data, there is nothing that it could close well.
    assert_eq!(site.full(&rig).1.new, 0);
    // When all have come, and before the commit.
    site.fill(2, 3, 3_000_000);
    near.hold_reads("/tree/f0001", 3_000_000);
    let ballast = disk.root().join("ballast");
    let job = thread::scope(|scope| {
        let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
        near.wait_until_held();
        let mut full = fs::File::create(&ballast).unwrap();
        std::io::copy(&mut std::io::repeat(7), &mut full).unwrap_err();
        near.release();
        job.join().unwrap()
    });
    println!("{}", job.log);
    assert_no_backup(&site, &rig, &job, no_room);
    fs::remove_file(ballast).unwrap();
    site.kill_and_serve();
    let (new, _) = site.full(&rig);
    assert_restored(&rig, &[&new], &site.client.tree());
    site.fill(1, 3, 3_000_000);
    assert_comes_back(&site, &rig, &good);
    site.stop_and_check();
}

fn site_bytes(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Random::new(7).fill(&mut bytes);
    bytes
}

/// All files of the tree, with their bytes.
fn assert_comes_back(site: &BothSides, rig: &Rig, job: &JobResult) {
    let back = rig.restore(&[job.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    let found = assert_nothing_made_up(site, &back.path(&site.client.tree()));
    assert_eq!(found, fs::read_dir(site.client.tree()).unwrap().count());
}

/// Days forwards and backwards, of either end or both, while a job runs, between jobs and before a restore.
#[test]
fn a_clock_that_jumps_changes_nothing() {
    const DAY: i64 = 86_400;
    let Some((mut site, near, far)) = BothSides::with_faults(Release::V9) else { return };
    let rig = site.start(&[]);
    let steps: [(&[&Faults], i64); 4] =
        [(&[&near], 400 * DAY), (&[&far], -400 * DAY), (&[&near, &far], 40 * DAY), (&[&far], 400 * DAY)];
    for (seed, (ends, step)) in (2..).zip(steps) {
        println!("{} ends step by {step} s", ends.len());
        site.fill(seed, 4, 3_000_000);
        near.hold_reads("/tree/f0001", 1_500_000);
        let job = thread::scope(|scope| {
            let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
            near.wait_until_held();
            ends.iter().for_each(|end| end.step_clock(step));
            near.release();
            job.join().unwrap()
        });
        job.clone().demand_ok().unwrap();
        assert_restored(&rig, &[&job], &site.client.tree());
        // And back again between two jobs.
        ends.iter().for_each(|end| end.step_clock(0));
        assert_restored(&rig, &[&job], &site.client.tree());
    }
    // Over a restart, and while files come back.
    let (good, report) = site.full(&rig);
    assert_eq!(report.new, 0, "{report:?}");
    far.step_clock(-30 * DAY);
    site.daemon().stop();
    site.serve();
    near.step_clock(30 * DAY);
    assert_restored(&rig, &[&good], &site.client.tree());
    far.step_clock(0);
    let log = site.serving().log();
    site.stop_and_check();
    // The daemon did have those clocks.
    let years: BTreeSet<_> = log.lines().filter_map(|line| line.get(..4)).collect();
    assert!(years.len() >= 3, "400 days before and after: {years:?}");
}
