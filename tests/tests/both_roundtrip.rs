//! Bothsides mode with stock Bacula and the real daemon: what was backed up comes back, and what is known does not
//! travel.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use gdd_rig::{Level, Release};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::BothSides;
use gdd_tests::meter::Meter;
use gdd_tests::snapshot::Snapshot;
use gdd_tests::tree::{self, Shape};

fn fill(site: &BothSides) {
    let shape = Shape { files: 600, xattrs: true, ..Shape::SMALL };
    tree::build(&site.client.tree().join("built"), 11, shape).unwrap();
}

fn a_tree(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    fill(&site);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    let (first, report) = site.full(&rig);
    assert!(report.new > 0 && report.wire > report.stored / 2, "{report:?}");
    assert_restored(&rig, &[&first], &site.client.tree());
    let before = meter.bytes();
    let (second, report) = site.full(&rig);
    let counted = meter.bytes() - before;
    println!("counted outside: {counted} bytes");
    // The plugin counts before it says goodbye.
    assert!((report.wire..report.wire + 1000).contains(&counted), "{counted} counted, {report:?}");
    assert_eq!((report.new, report.stored), (0, 0), "{report:?}");
    assert!(report.wire * 300 < report.logical, "{report:?}");
    assert_restored(&rig, &[&second], &site.client.tree());
    // After a restart of the daemon everything is still there, and still known.
    site.daemon().stop();
    site.serve();
    assert_restored(&rig, &[&first], &site.client.tree());
    fs::write(site.client.tree().join("new"), vec![5; 100_000]).unwrap();
    let job = rig.run("files", Level::Incremental).unwrap().demand_ok().unwrap();
    assert!(job.files < 10, "{} files", job.files);
    let back = rig.restore(&[second.id, job.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    // A file that comes a second time touches a folder that has had its time set, as with plain Bacula.
    let of = |path: &Path| Snapshot::of(path).unwrap().without_folder_times();
    let differences = of(&site.client.tree()).differences(&of(&back.path(&site.client.tree())));
    assert_eq!(differences, Vec::<String>::new());
    let (_, report) = site.full(&rig);
    assert!(report.new <= 100_000 && report.wire * 100 < report.logical, "{report:?}");
    site.stop_and_check();
}

#[test]
fn a_tree_on_9() {
    a_tree(Release::V9);
}

#[test]
fn a_tree_on_15() {
    a_tree(Release::V15);
}
