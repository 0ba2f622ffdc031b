//! Bothsides mode with stock Bacula and the real daemon: what was backed up comes back, and what is known does not
//! travel.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use gdd_rig::{JobResult, Level, Release};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, Report};
use gdd_tests::meter::Meter;
use gdd_tests::snapshot::Snapshot;
use gdd_tests::tree::{self, Shape};
use serde_json::Value;

fn fill(site: &BothSides) {
    let shape = Shape { files: 600, xattrs: true, ..Shape::SMALL };
    tree::build(&site.client.tree().join("built"), 11, shape).unwrap();
}

/// What the daemon says of a job is what the job's log says: the same numbers, and for people the same words.
fn assert_told(told: &Value, job: &JobResult, report: Report) {
    let number = |field: &str| told[field].as_u64().unwrap();
    let [logical, wire, new, stored] =
        ["logical_bytes", "wire_bytes", "new_bytes", "stored_bytes"].map(number);
    assert_eq!(Report { logical, wire, new, stored }, report, "{told}");
    assert_eq!((&told["kind"], &told["outcome"]), (&"backup".into(), &"receipt".into()), "{told}");
    assert!(number("files") > 0 && number("sent_bytes") + number("received_bytes") >= wire, "{told}");
    assert!(told["seconds"].as_f64().unwrap() > 0.0 && told["domain"] == "site", "{told}");
    let words = job.log.split("gdd: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!(words.starts_with(&format!("{} files, ", number("files"))), "{words}");
}

fn a_tree(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    fill(&site);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    let (first, report) = site.full(&rig);
    assert!(report.new > 0 && report.wire > report.stored / 2, "{report:?}");
    let told = site.told(&first);
    assert_told(&told, &first, report);
    assert!(told["ratio"].as_f64().unwrap() >= 1.0, "{told}");
    assert_restored(&rig, &[&first], &site.client.tree());
    let before = meter.bytes();
    let (second, report) = site.full(&rig);
    let counted = meter.bytes() - before;
    println!("counted outside: {counted} bytes");
    // The plugin counts before it says goodbye.
    assert!((report.wire..report.wire + 1000).contains(&counted), "{counted} counted, {report:?}");
    assert_eq!((report.new, report.stored), (0, 0), "{report:?}");
    let told = site.told(&second);
    assert_told(&told, &second, report);
    assert!(told["ratio"].is_null() && told["savings_percent"] == 100.0, "{told}");
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
    let text = site.gdd.expect(0, &["status"]).stdout;
    let words = first.log.split("gdd: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!(!text.contains(words.trim()), "a daemon that was restarted has forgotten");
    assert!(text.contains(&format!("logical {} B, wire {} B", report.logical, report.wire)), "{text}");
    assert!(text.contains("since the start: 2 backups"), "{text}");
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
