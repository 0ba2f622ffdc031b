//! Bothsides mode between a backup's last byte and its receipt: whatever happens there, a job is good only with the
//! receipt in its hands, and what the store has under a name is whole.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gdd_rig::{Daemon, Job, JobResult, Level, Release, Rig};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{
    BothSides, assert_no_backup, assert_nothing_made_up, backup_fails, restore_fails,
};
use gdd_tests::faults::Faults;
use gdd_tests::meter::{Meter, Next, Way};
use gdd_tests::random::Random;
use rustix::process::{Pid, Signal, kill_process};

/// One file of `size` bytes, so that the stream of a backup is that file.
fn one_file(site: &BothSides, seed: u64, size: usize) -> (PathBuf, Vec<u8>) {
    let mut bytes = vec![0; size];
    Random::new(seed).fill(&mut bytes);
    let file = site.client.tree().join("f0000");
    fs::write(&file, &bytes).unwrap();
    (file, bytes)
}

/// The names of backups in the store.
fn streams(site: &BothSides) -> Vec<String> {
    let listed = site.gdd.expect(0, &["ls"]).stdout;
    listed.split_whitespace().filter(|word| word.starts_with("net/")).map(str::to_owned).collect()
}

/// Do `strike` instead of passing the receipt on: when the daemon has logged that a stream is stored, the next thing
/// that it says is that.
fn at_receipt(
    site: &BothSides,
    meter: &Meter,
    mut strike: impl FnMut() -> Next + Send + 'static,
) -> Arc<AtomicBool> {
    let log = site.serving().log_file().to_owned();
    let stored = move || fs::read_to_string(&log).unwrap().matches(" is stored: ").count();
    let before = stored();
    let done = Arc::new(AtomicBool::new(false));
    let struck = Arc::clone(&done);
    meter.watch(move |way, _, burst| {
        if way == Way::ToDaemon || stored() == before {
            return Next::Pass;
        }
        struck.store(true, Ordering::SeqCst);
        burst.clear();
        strike()
    });
    done
}

fn no_receipt(
    site: &BothSides,
    rig: &Rig,
    meter: &Meter,
    words: &[&str],
    strike: impl FnMut() -> Next + Send + 'static,
) {
    let done = at_receipt(site, meter, strike);
    let job = backup_fails(site, rig, words);
    println!("{}", job.log);
    meter.unwatch();
    assert!(done.load(Ordering::SeqCst), "there was no receipt to lose");
}

#[test]
fn a_receipt_that_is_lost_is_none() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ":patience=1"), &[]);
    let mut all = Vec::new();
    let mut whole = |site: &BothSides, bytes: &[u8]| {
        let new: Vec<_> = streams(site).into_iter().filter(|name| !all.contains(name)).collect();
        assert_eq!(new.len(), 1, "the daemon had it all");
        let mut found = Vec::new();
        site.gdd.try_get(&new[0], &mut found).0.demand(0);
        assert!(found == bytes, "a stream has its name and is not the file");
        all.extend(new);
    };
    for (seed, next) in [(1, Next::Fin), (2, Next::Cut), (3, Next::Stall)] {
        println!("{next:?} instead of the receipt");
        let (_, bytes) = one_file(&site, seed, 3_000_000);
        let words: &[&str] = if next == Next::Stall { &["GDD-FD-0101", "10s"] } else { &["GDD-FD-0101"] };
        no_receipt(&site, &rig, &meter, words, move || next);
        whole(&site, &bytes);
    }
    for (seed, signal) in [(4, Signal::KILL), (5, Signal::STOP)] {
        println!("{signal:?} instead of the receipt");
        let (_, bytes) = one_file(&site, seed, 3_000_000);
        let pid = Pid::from_raw(i32::try_from(site.serving().pid()).unwrap()).unwrap();
        no_receipt(&site, &rig, &meter, &["GDD-FD-0101"], move || {
            kill_process(pid, signal).unwrap();
            if signal == Signal::KILL { Next::Cut } else { Next::Stall }
        });
        site.kill_and_serve();
        whole(&site, &bytes);
    }
    let (good, report) = site.full(&rig);
    assert_eq!(report.new, 0, "what was committed is known: {report:?}");
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

/// bacula-fd's Messages resource has no destination for `fatal`: Bacula's Jmsg drops such a message before it looks at
/// what it means.
fn a_failure_that_nobody_hears(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    let meter = Meter::before(site.port());
    let rig = site
        .client
        .bacula(&site.string_at(meter.port(), ":patience=1"), &[])
        .job(Job::backup("files", "files"))
        .messages(Daemon::File(0), "info, warning, error, notsaved")
        .start()
        .unwrap();
    one_file(&site, 1, 3_000_000);
    let pid = Pid::from_raw(i32::try_from(site.serving().pid()).unwrap()).unwrap();
    no_receipt(&site, &rig, &meter, &["GDD-FD-0010", "GDD-FD-0101"], move || {
        kill_process(pid, Signal::KILL).unwrap();
        Next::Cut
    });
    // Nobody listens any more: the first file of a job meets it.
    backup_fails(&site, &rig, &["GDD-FD-01"]);
    site.kill_and_serve();
    let (good, _) = site.full(&rig);
    site.daemon().kill();
    restore_fails(&site, &rig, &good, &["GDD-FD-01"]);
    site.serve();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_failure_that_nobody_hears_is_one_on_9() {
    a_failure_that_nobody_hears(Release::V9);
}

#[test]
fn a_failure_that_nobody_hears_is_one_on_15() {
    a_failure_that_nobody_hears(Release::V15);
}

/// Run the job to where all of its one file was read, do `meanwhile`, and let it go on to its commit.
fn before_commit(rig: &Rig, near: &Faults, size: usize, meanwhile: impl FnOnce()) -> JobResult {
    near.hold_reads("/f0000", size as u64);
    thread::scope(|scope| {
        let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
        near.wait_until_held();
        meanwhile();
        near.release();
        job.join().unwrap()
    })
}

#[test]
fn a_daemon_that_is_another_before_the_commit_gives_no_receipt() {
    let Some((mut site, near, _far)) = BothSides::with_faults(Release::V9) else { return };
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ":patience=5"), &[]);
    let size = 12_000_000;
    one_file(&site, 1, size);
    let (good, _) = site.full(&rig);
    // Of a known file the daemon has answered everything before it is killed; of a new one it has got most.
    for seed in [1, 2] {
        one_file(&site, seed, size);
        let (named, connections) = (streams(&site), meter.connections());
        let job = before_commit(&rig, &near, size, || site.kill_and_serve());
        println!("{}", job.log);
        assert_no_backup(&site, &rig, &job, &["GDD-FD-0101"]);
        assert_eq!(meter.connections(), connections + 1, "the other daemon was believed");
        assert_eq!(streams(&site), named, "a name without a commit");
    }
    let (new, _) = site.full(&rig);
    assert_restored(&rig, &[&new], &site.client.tree());
    one_file(&site, 1, size);
    let back = rig.restore(&[good.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_eq!(assert_nothing_made_up(&site, &back.path(&site.client.tree())), 1);
    site.stop_and_check();
}

#[test]
fn a_daemon_that_is_frozen_before_the_commit_is_given_up() {
    let Some((mut site, near, _far)) = BothSides::with_faults(Release::V9) else { return };
    let rig = site.client.start(&site.string(":patience=1"), &[]);
    let size = 3_000_000;
    one_file(&site, 1, size);
    let job = before_commit(&rig, &near, size, || site.serving().signal(Signal::STOP));
    println!("{}", job.log);
    assert_no_backup(&site, &rig, &job, &["GDD-FD-0101", "no answer within"]);
    assert_eq!(streams_after_thaw(&mut site), Vec::<String>::new());
    let (good, _) = site.full(&rig);
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

/// What has a name once the daemon goes on, and has had time to find that its client has left.
fn streams_after_thaw(site: &mut BothSides) -> Vec<String> {
    site.serving().signal(Signal::CONT);
    while site.gdd.json(&["status"])["services"]["net"]["sessions"]
        .as_array()
        .is_some_and(|all| !all.is_empty())
    {
        thread::sleep(Duration::from_millis(50));
    }
    streams(site)
}
