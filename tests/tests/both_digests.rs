//! What Bacula's own digests are worth in bothsides mode. They are taken over the references in the volume, so whatever
//! compares them with files on the disk finds every file changed: that costs time, and never a file.
#![allow(clippy::unwrap_used)]

use std::fs;

use gdd_rig::{Job, Level, Release};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, Report};

const FILES: usize = 30;

/// `accurate = ...5` reads each file and compares its MD5 with that of the reference: all are saved again.
fn accurate_with_digests(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, FILES, 100_000);
    let (digests, plain) = (["accurate = pinsmc5"], ["accurate = pinsmc"]);
    for (options, again) in [(&digests, FILES as u64), (&plain, 0)] {
        let job = Job::backup("files", "files").accurate();
        let rig = site.client.bacula(&site.string(""), options).job(job).start().unwrap();
        let (full, _) = site.full(&rig);
        let next = rig.run("files", Level::Incremental).unwrap().demand_ok().unwrap();
        println!("{options:?}: {} files in an incremental without a change", next.files);
        assert!((again..=again + 1).contains(&next.files), "{}", next.log);
        if again > 0 {
            // References go to the volume, and nothing to the store.
            let report = Report::of(&next);
            assert_eq!((report.new, report.logical), (0, FILES as u64 * 100_000), "{report:?}");
            assert_restored(&rig, &[&full, &next], &site.client.tree());
        }
    }
    site.stop_and_check();
}

#[test]
fn an_accurate_set_with_digests_saves_all_again_on_9() {
    accurate_with_digests(Release::V9);
}

#[test]
fn an_accurate_set_with_digests_saves_all_again_on_15() {
    accurate_with_digests(Release::V15);
}

/// Verify: the volume agrees with the catalog; the disk does not, for each file that is a reference.
fn verify(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(1, FILES, 100_000);
    fs::write(site.client.tree().join("tiny"), b"left to Bacula").unwrap();
    let job = Job::backup("files", "files");
    let verify = Job::verify("verify", &job);
    let rig = site.client.bacula(&site.string(""), &["verify = pins5"]).job(job).job(verify).start().unwrap();
    let (full, _) = site.full(&rig);
    rig.run("verify", Level::VolumeToCatalog).unwrap().demand_ok().unwrap();
    let disk = rig.run("verify", Level::DiskToCatalog).unwrap();
    println!("{}", disk.log);
    assert!(!disk.is_ok(), "{disk:?}");
    // 15.0.3 also names each file that it looks at.
    let told = |name: &str| disk.log.lines().any(|line| line.contains(" File: ") && line.ends_with(name));
    assert!((0..FILES).all(|number| told(&format!("/f{number:04}"))), "each reference differs");
    assert!(!told("/tiny"), "what Bacula saved itself does not");
    assert_restored(&rig, &[&full], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_volume_verifies_and_a_disk_does_not_on_9() {
    verify(Release::V9);
}

#[test]
fn a_volume_verifies_and_a_disk_does_not_on_15() {
    verify(Release::V15);
}
