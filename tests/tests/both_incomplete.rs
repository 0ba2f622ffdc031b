//! Bothsides mode and Bacula's incomplete jobs: a job that was stopped, or whose client died, goes on under its number
//! without the files of its first run. Those have no receipt, so the job must not end well.
#![allow(clippy::unwrap_used)]

use gdd_rig::{Daemon, Job, JobId, Level, Release, Rig, Signal};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, assert_no_backup};
use gdd_tests::effort::is_full;
use gdd_tests::faults::Faults;

const CLIENT: Daemon = Daemon::File(0);
/// Bacula calls a job incomplete that has more than ten.
const FILES: usize = 30;

fn site(release: Release) -> Option<(BothSides, Faults, Rig)> {
    let (site, near, _) = BothSides::with_faults(release)?;
    site.fill(1, FILES, 200_000);
    let job = Job::backup("files", "files").line("Reschedule Interval = 5 seconds");
    let rig = site.client.bacula(&site.string(""), &[]).job(job).start().unwrap();
    Some((site, near, rig))
}

/// Run the job until it waits in the middle.
fn begin(rig: &Rig, near: &Faults) -> JobId {
    near.hold_reads("/tree/f0020", 0);
    let id = rig.submit("files", Level::Full).unwrap();
    near.wait_until_held();
    id
}

fn wait_for_status(rig: &Rig, id: JobId, wanted: &str) {
    rig.wait_for(&format!("one of {wanted}"), || Ok(wanted.contains(rig.job_status(id)?))).unwrap();
}

/// The job went on, and failed; anew it is good.
fn expect_failed(mut site: BothSides, rig: &Rig, id: JobId) {
    wait_for_status(rig, id, "fEATW");
    let job = rig.wait(id).unwrap();
    println!("{}", job.log);
    assert!("fEA".contains(job.status), "{job:?}");
    assert_no_backup(&site, rig, &job, &["GDD-FD-0208"]);
    let (good, _) = site.full(rig);
    assert_restored(rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

fn stopped(release: Release) {
    let Some((site, near, rig)) = site(release) else { return };
    let id = begin(&rig, &near);
    println!("{}", rig.console(&format!("stop jobid={id} yes")).unwrap());
    near.release();
    wait_for_status(&rig, id, "I");
    println!("{}", rig.console(&format!("resume incomplete jobid={id} yes")).unwrap());
    expect_failed(site, &rig, id);
}

#[test]
fn a_job_that_was_stopped_and_is_resumed_does_not_end_well_on_9() {
    stopped(Release::V9);
}

#[test]
fn a_job_that_was_stopped_and_is_resumed_does_not_end_well_on_15() {
    stopped(Release::V15);
}

#[test]
fn a_job_whose_client_died_does_not_end_well_when_bacula_goes_on_with_it() {
    if !is_full() {
        return println!("Bacula itself takes a minute to find a dead client: GDD_TEST_FULL=1");
    }
    let Some((site, near, rig)) = site(Release::V9) else { return };
    let id = begin(&rig, &near);
    rig.signal(CLIENT, Signal::Kill).unwrap();
    near.release();
    rig.restart(CLIENT).unwrap();
    wait_for_status(&rig, id, "I");
    expect_failed(site, &rig, id);
}
