//! Storage mode and Bacula's incomplete jobs: a job that was stopped goes on under its number without the files of its
//! first run, whose blocks are in the volume and in the store. All of it comes back.
#![allow(clippy::unwrap_used)]

use std::fs;

use gdd_rig::{Daemon, JobId, Level, Release, Rig};
use gdd_tests::bacula::{Site, assert_restored};
use gdd_tests::faults::Faults;
use gdd_tests::random::Random;

/// Bacula calls a job incomplete that has more than ten.
const FILES: usize = 30;

fn wait_for_status(rig: &Rig, id: JobId, wanted: &str) {
    rig.wait_for(&format!("one of {wanted}"), || Ok(wanted.contains(rig.job_status(id)?))).unwrap();
}

fn stopped(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let source = site.folder().join("source");
    fs::create_dir(&source).unwrap();
    let (mut random, mut bytes) = (Random::new(1), vec![0; 200_000]);
    for file in 0..FILES {
        random.fill(&mut bytes);
        fs::write(source.join(format!("f{file:04}")), &bytes).unwrap();
    }
    let near = Faults::new(&site.folder().join("client-faults"));
    let environment = near.environment();
    let suffers = environment
        .iter()
        .fold(site.bacula(), |builder, (name, value)| builder.env(Daemon::File(0), name, value));
    let rig = suffers.backup("tree", &source).start().unwrap();
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
