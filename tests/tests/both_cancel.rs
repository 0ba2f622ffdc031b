//! Bothsides mode with jobs that the operator cancels: they end soon, whatever they wait for, and not as good ones;
//! nothing half is left in the store or on the disk, and the next job is good.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gdd_rig::{JobId, JobResult, Level, Release, Rig};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, assert_nothing_made_up};
use gdd_tests::meter::{Meter, Next, Way};
use rustix::process::{Pid, Signal, kill_process};

const SIZE: usize = 3_000_000;
/// Longer than a job may take in these tests: who waits for it has not heard of the cancellation.
const PATIENT: &str = ":patience=3600";

fn streams(site: &BothSides) -> usize {
    site.gdd.expect(0, &["ls"]).stdout.split_whitespace().filter(|word| word.starts_with("net/")).count()
}

fn assert_cancelled(job: &JobResult) {
    println!("{}", job.log);
    assert!("Af".contains(job.status), "{job:?}");
    for word in ["Backup OK", "Restore OK", " savings "] {
        assert!(!job.log.contains(word), "{word} in\n{}", job.log);
    }
}

/// Cancel it, and give its thread in the file daemon the time to hear of it.
fn cancel(rig: &Rig, id: JobId) {
    rig.cancel(id).unwrap();
    thread::sleep(Duration::from_secs(1));
}

/// In the middle of a file, and while it waits for a daemon that is frozen.
fn backups(release: Release) {
    let Some((mut site, near, _far)) = BothSides::with_faults(release) else { return };
    site.fill(1, 3, SIZE);
    let rig = site.client.start(&site.string(PATIENT), &[]);
    near.hold_reads("/tree/f0001", 1_500_000);
    let id = rig.submit("files", Level::Full).unwrap();
    near.wait_until_held();
    cancel(&rig, id);
    near.release();
    assert_cancelled(&rig.wait(id).unwrap());

    let daemon = site.daemon();
    daemon.signal(Signal::STOP);
    let id = rig.submit("files", Level::Full).unwrap();
    rig.wait_for("the job to run", || Ok(rig.job_status(id)? == 'R')).unwrap();
    thread::sleep(Duration::from_secs(2));
    cancel(&rig, id);
    assert_cancelled(&rig.wait(id).unwrap());
    daemon.signal(Signal::CONT);
    daemon.stop();
    site.serve();
    assert_eq!(streams(&site), 0, "a name without a commit");
    let (good, _) = site.full(&rig);
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn cancelled_backups_leave_nothing_on_9() {
    backups(Release::V9);
}

#[test]
fn cancelled_backups_leave_nothing_on_15() {
    backups(Release::V15);
}

/// While the daemon is frozen in the middle of a file.
fn restores(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, 4, 30_000_000);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), PATIENT), &[]);
    let (good, _) = site.full(&rig);
    let pid = Pid::from_raw(i32::try_from(site.serving().pid()).unwrap()).unwrap();
    let frozen = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&frozen);
    meter.watch(move |way, before, _| {
        if way == Way::ToClient && before > 40_000_000 && !done.swap(true, Ordering::SeqCst) {
            kill_process(pid, Signal::STOP).unwrap();
        }
        Next::Pass
    });
    let back = thread::scope(|scope| {
        let restore = scope.spawn(|| rig.restore(&[good.id]).unwrap());
        rig.wait_for("a frozen daemon", || Ok(frozen.load(Ordering::SeqCst))).unwrap();
        thread::sleep(Duration::from_secs(1));
        let running = rig.query_catalog("SELECT JobId FROM Job WHERE Type='R' AND JobStatus='R'").unwrap();
        assert_eq!(running.len(), 1, "{running:?}");
        cancel(&rig, JobId(running[0][0].parse().unwrap()));
        restore.join().unwrap()
    });
    kill_process(pid, Signal::CONT).unwrap();
    meter.unwatch();
    assert_cancelled(&back.result);
    assert!(assert_nothing_made_up(&site, &back.path(&site.client.tree())) < 4);
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_cancelled_restore_leaves_nothing_short_on_9() {
    restores(Release::V9);
}

#[test]
fn a_cancelled_restore_leaves_nothing_short_on_15() {
    restores(Release::V15);
}
