//! A daemon that is killed in a job fails the job, is seen to be gone, and serves again after a restart.

mod support;

use std::fs;

use gdd_rig::tree::{self, Shape};
use gdd_rig::{Daemon, Level, Rig, Signal};

/// A rig that backs up one file of `size` bytes, slowly enough to be caught at it.
fn slow(size: u64) -> Option<(Rig, tempfile::TempDir)> {
    let folder = support::scratch();
    let shape = Shape { files: 0, huge_size: size, ..Shape::SMALL };
    let builder = support::builder()?;
    tree::build(folder.path(), 51, shape).expect("the tree is built");
    let builder = builder.backup("tree", folder.path());
    let slow = builder
        .line(Daemon::File(0), "Maximum Bandwidth Per Job = 4 mb/s")
        .line(Daemon::File(0), "CommCompression = no");
    Some((slow.start().expect("the rig starts"), folder))
}

/// Run the job until its volume has grown by more than a megabyte.
fn under_way(rig: &Rig) -> gdd_rig::JobId {
    let volume = rig.volume_file("File", "Default-0001").expect("the device is there");
    let size = || fs::metadata(&volume).map_or(0, |volume| volume.len());
    let before = size();
    let id = rig.submit("tree", Level::Full).expect("the job is queued");
    let grown = || Ok(size() > before + (1 << 20));
    rig.wait_for("the volume to grow", grown).expect("the volume grows");
    id
}

#[test]
fn a_killed_storage_daemon_fails_the_job() {
    let Some((rig, folder)) = slow(64 << 20) else { return };
    let id = under_way(&rig);
    rig.signal(Daemon::Storage, Signal::Kill).unwrap();
    assert_eq!(rig.pid(Daemon::Storage), None);
    let result = rig.wait(id).unwrap();
    assert!("fE".contains(result.status) && result.console_status == result.status, "{result:?}");
    let error = result.demand_ok().unwrap_err().to_string();
    assert!(error.contains("Termination:"), "{error}");
    rig.restart(Daemon::Storage).unwrap();
    fs::remove_file(folder.path().join("huge")).unwrap(); // The rest need not be slow.
    let again = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let back = rig.restore(&[again.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    support::assert_equal(folder.path(), &back.path(folder.path()));
}

#[test]
fn a_stopped_client_goes_on_and_a_cancelled_job_ends() {
    let Some((rig, _folder)) = slow(16 << 20) else { return };
    let id = under_way(&rig);
    rig.signal(Daemon::File(0), Signal::Stop).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(rig.job_status(id).unwrap(), 'R');
    rig.signal(Daemon::File(0), Signal::Continue).unwrap();
    rig.wait(id).unwrap().demand_ok().unwrap();

    let id = under_way(&rig);
    rig.cancel(id).unwrap();
    assert_eq!(rig.wait(id).unwrap().status, 'A');
}

#[test]
fn a_dead_director_is_an_error_and_not_a_wait() {
    let Some((rig, _folder)) = slow(16 << 20) else { return };
    let id = under_way(&rig);
    rig.signal(Daemon::Director, Signal::Kill).unwrap();
    let error = rig.wait(id).unwrap_err().to_string();
    assert!(error.contains("rig-dir: has ended: signal: 9"), "{error}");
    assert!(rig.console("version").is_err());
    rig.restart(Daemon::Director).unwrap();
    assert!(rig.console("version").is_ok());
}
