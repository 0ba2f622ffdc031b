//! A virtual full that ends without an end label, on a device where another job writes on: it was told "OK", so it
//! comes back, also when our daemon is killed right after it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::thread;
use std::time::Duration;

use gdd_rig::tree::{self, Shape};
use gdd_rig::{Daemon, Device, FileSet, Job, Level, Pool, Release, Signal};
use gdd_tests::bacula::{DEVICE, POOL, Site, assert_failed, assert_restored};

/// Bacula compares times in whole seconds.
const NEXT_SECOND: Duration = Duration::from_millis(1100);

fn outlives_the_daemon(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let [tree, held] = ["tree", "held"].map(|name| site.folder().join(name));
    for (root, seed, huge_size) in [(&tree, 51, 6 << 20), (&held, 52, 100 << 20)] {
        fs::create_dir(root).unwrap();
        tree::build(root, seed, Shape { huge_size, ..Shape::SMALL }).unwrap();
    }
    let gone = tree.join("gone");
    fs::write(&gone, "until the incremental").unwrap();
    let rig = site
        .bacula_with(
            Device::new(DEVICE, "Cloud"),
            Pool::new(POOL, DEVICE).label_format("Dedup-").next("Second"),
        )
        .device(Device::new("Other", "Cloud"))
        .pool(Pool::new("Second", "Other").label_format("Second-"))
        .clients(2)
        .file_set(FileSet::new("tree").include(&tree))
        .file_set(FileSet::new("held").include(&held))
        .job(Job::backup("tree", "tree").accurate())
        .job(Job::backup("held", "held").client(1).pool("Second"))
        .line(Daemon::File(1), "Maximum Bandwidth Per Job = 6 mb/s")
        .start()
        .unwrap();
    rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    thread::sleep(NEXT_SECOND);
    // Its entry is the incremental's last, and not wanted: Bacula stops reading before the end label.
    fs::remove_file(&gone).unwrap();
    fs::write(tree.join("new"), "since the full").unwrap();
    rig.run("tree", Level::Incremental).unwrap().demand_ok().unwrap();

    let before = site.bytes_in();
    let other = rig.submit("held", Level::Full).unwrap();
    rig.wait_for("bytes of the other job", || Ok(site.bytes_in() > before + (1 << 20))).unwrap();
    rig.signal(Daemon::File(1), Signal::Stop).unwrap();
    let virtual_full = rig.run("tree", Level::VirtualFull).unwrap().demand_ok().unwrap();
    assert_eq!(rig.job_status(other).unwrap(), 'R', "the other still runs");
    // Bacula counts the volumes of all pools.
    assert_eq!(virtual_full.volumes, ["Second-0002"], "on the same volume: {}", virtual_full.log);
    assert!(virtual_full.log.contains("[GDD-SD-0200]"), "{}", virtual_full.log);
    site.daemon().kill();
    site.serve();
    rig.signal(Daemon::File(1), Signal::Continue).unwrap();
    assert_failed(&rig.wait(other).unwrap(), &["[GDD-SD-"]);
    assert_restored(&rig, &[&virtual_full], &tree);
    // The same after the power of everything was cut.
    rig.restart(Daemon::Storage).unwrap();
    assert_restored(&rig, &[&virtual_full], &tree);
    site.stop_and_check();
}

#[test]
fn a_virtual_full_without_an_end_label_outlives_the_daemon_on_bacula_9() {
    outlives_the_daemon(Release::V9);
}

#[test]
fn a_virtual_full_without_an_end_label_outlives_the_daemon_on_bacula_15() {
    outlives_the_daemon(Release::V15);
}
