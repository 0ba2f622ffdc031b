//! Real directories through stock Bacula and our store, and back: every file equal, the volume small, the second full
//! nearly free.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use gdd_rig::{Device, FileSet, Job, Level, Pool, Release};
use gdd_tests::bacula::{DEVICE, POOL, Site, VOLUME, assert_equal, volume_size};

/// With `lines` in the device's resource.
fn programs_come_back(release: Release, lines: &[&str]) {
    let Some(mut site) = Site::new(release) else { return };
    let sources = ["/usr/bin", "/usr/sbin"].map(Path::new);
    let set = FileSet::new("programs").include(sources[0]).include(sources[1]);
    let device = lines.iter().fold(Device::new(DEVICE, "Cloud"), |device, line| device.line(line));
    let bacula = site.bacula_with(device, Pool::new(POOL, DEVICE).label_format("Dedup-"));
    let rig = bacula.file_set(set).job(Job::backup("programs", "programs")).start().unwrap();

    let full = rig.run("programs", Level::Full).unwrap().demand_ok().unwrap();
    let (volume, stored) = (volume_size(&rig, VOLUME), site.stat("stored_bytes"));
    let again = rig.run("programs", Level::Full).unwrap().demand_ok().unwrap();
    let grown = site.stat("stored_bytes") - stored;
    let share = |bytes: u64| bytes as f64 / full.bytes as f64 * 100.0;
    println!(
        "{} files, {} client bytes; volume {volume} ({:.3} %), store {stored} ({:.2} %), second full {grown} ({:.4} %)",
        full.files,
        full.bytes,
        share(volume),
        share(stored),
        share(grown),
    );
    assert!(volume * 100 <= full.bytes, "the volume has {:.3} % of the client's bytes", share(volume));
    assert!(grown * 200 < full.bytes, "the second full added {:.4} %", share(grown));
    for job in [&full, &again] {
        let back = rig.restore(&[job.id]).unwrap();
        back.result.clone().demand_ok().unwrap();
        for source in sources {
            assert_equal(source, &back.path(source));
        }
    }
    site.stop_and_check();
}

#[test]
fn programs_come_back_on_bacula_9() {
    programs_come_back(Release::V9, &[]);
}

#[test]
fn programs_come_back_on_bacula_15() {
    programs_come_back(Release::V15, &[]);
}

#[test]
fn programs_come_back_without_block_checksums() {
    programs_come_back(Release::V9, &["Block Checksum = no"]);
}
