//! Storage mode and Bacula's incomplete jobs: a job that was stopped goes on under its number without the files of its
//! first run, whose blocks are in the volume and in the store. All of it comes back. Where that is not known any more,
//! it does not go on.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use gdd_rig::{Daemon, JobId, Level, Release, Rig};
use gdd_tests::bacula::{Site, assert_restored};
use gdd_tests::faults::Faults;
use gdd_tests::random::Random;

/// Bacula calls a job incomplete that has more than ten.
const FILES: usize = 30;

/// Of a job that has hardly begun to fill blocks when it is stopped.
const SMALL_FILES: usize = 1000;

fn build(source: &Path, files: usize, size: usize) {
    fs::create_dir(source).unwrap();
    let (mut random, mut bytes) = (Random::new(1), vec![0; size]);
    for file in 0..files {
        random.fill(&mut bytes);
        fs::write(source.join(format!("f{file:04}")), &bytes).unwrap();
    }
}

/// A Bacula whose client reads as `near` says.
fn start(site: &Site, near: &Faults, source: &Path) -> Rig {
    let environment = near.environment();
    let suffers = environment
        .iter()
        .fold(site.bacula(), |builder, (name, value)| builder.env(Daemon::File(0), name, value));
    suffers.backup("tree", source).start().unwrap()
}

fn wait_for_status(rig: &Rig, id: JobId, wanted: &str) {
    rig.wait_for(&format!("one of {wanted}"), || Ok(wanted.contains(rig.job_status(id)?))).unwrap();
}

fn stopped(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let source = site.folder().join("source");
    build(&source, FILES, 200_000);
    let near = Faults::new(&site.folder().join("client-faults"));
    let rig = start(&site, &near, &source);
    near.hold_reads("/source/f0020", 0);
    let id = rig.submit("tree", Level::Full).unwrap();
    near.wait_until_held();
    println!("{}", rig.console(&format!("stop jobid={id} yes")).unwrap());
    near.release();
    wait_for_status(&rig, id, "I");
    println!("{}", rig.console(&format!("resume incomplete jobid={id} yes")).unwrap());
    wait_for_status(&rig, id, "fEATW");
    let job = rig.wait(id).unwrap();
    println!("{}", job.log);
    assert!(job.log.contains("from prior incomplete Job"), "{}", job.log);
    let job = job.demand_ok().unwrap();
    assert_restored(&rig, &[&job], &source);
    drop(rig);
    site.stop_and_check();
}

#[test]
fn a_job_that_was_stopped_and_resumed_comes_back_on_9() {
    stopped(Release::V9);
}

#[test]
fn a_job_that_was_stopped_and_resumed_comes_back_on_15() {
    stopped(Release::V15);
}

/// Our daemon dies while the job is stopped: its last blocks are refused, and their files are in the catalog, since
/// Bacula calls the job incomplete all the same. Then bacula-sd forgets what it knew.
fn stopped_without_the_daemon(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let source = site.folder().join("source");
    build(&source, SMALL_FILES, 1000);
    let near = Faults::new(&site.folder().join("client-faults"));
    let rig = start(&site, &near, &source);
    near.hold_reads("/source/f0500", 0);
    let id = rig.submit("tree", Level::Full).unwrap();
    near.wait_until_held();
    println!("{}", rig.console(&format!("stop jobid={id} yes")).unwrap());
    site.daemon().kill();
    near.release();
    let first = rig.wait(id).unwrap();
    println!("{}", first.log);
    assert_eq!(first.status, 'I', "Bacula says so whatever it was told");
    site.serve();
    rig.restart(Daemon::Storage).unwrap();
    println!("{}", rig.console(&format!("resume incomplete jobid={id} yes")).unwrap());
    let refused = |log: &str| log.contains("[GDD-SD-0117]");
    rig.wait_for("the second end", || {
        let job = rig.job(id)?;
        Ok("fEAIT".contains(job.status) && (refused(&job.log) || job.status == 'T'))
    })
    .unwrap();
    let second = rig.wait(id).unwrap();
    println!("{}", second.log);
    assert!("fEAI".contains(second.status), "{second:?}");
    assert!(refused(&second.log) && !second.log.contains("Backup OK"), "{}", second.log);
    // Anew, it is whole.
    let again = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(&rig, &[&again], &source);
    drop(rig);
    site.stop_and_check();
}

#[test]
fn a_job_that_lost_its_last_blocks_does_not_go_on_after_a_restart_on_9() {
    stopped_without_the_daemon(Release::V9);
}

#[test]
fn a_job_that_lost_its_last_blocks_does_not_go_on_after_a_restart_on_15() {
    stopped_without_the_daemon(Release::V15);
}
