//! `gdd scrub`: on a store alone, through the daemon, and by the daemon itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use support::{Ended, Place, daemon::serve_with, random};

fn place() -> Place {
    let place = Place::empty();
    let store = place.store();
    place.ok(&["init", store.to_str().unwrap(), "--container-size", "1m"]);
    place
}

/// Change a byte in the middle of the first container.
fn rot(place: &Place) -> PathBuf {
    let folder = fs::read_dir(place.store().join("containers")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let file = File::options().read(true).write(true).open(&files[0]).unwrap();
    let (at, mut byte) = (300_000, [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
    files.swap_remove(0)
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field}: {report}"))
}

#[test]
fn damage_is_found_blamed_and_healed() {
    let place = place();
    let (hit, spared) = (random(1, 4_000_000), random(2, 2_000_000));
    place.put("hit-1", &hit);
    place.put("spared", &spared);
    let stats = place.ok(&["stats", "--json"]).object();
    assert!(number(&stats, "containers_unchecked") > 3 && stats["oldest_check_unix"].is_null(), "{stats}");
    assert!(place.ok(&["stats"]).text().contains("checked      none of"));
    let clean = place.ok(&["scrub", "--json"]).object();
    let stats = place.ok(&["stats", "--json"]).object();
    assert_eq!(number(&stats, "containers_unchecked"), 0, "{stats}");
    assert!(number(&stats, "oldest_check_unix") > 1_600_000_000, "{stats}");
    assert!(place.ok(&["stats"]).text().contains("checked      all since 20"));
    assert!(number(&clean, "chunks") > 200 && number(&clean, "containers_damaged") == 0, "{clean}");
    assert!(place.ok(&["scrub"]).text().contains("clean"));
    assert!(place.ok(&["scrub", "--report"]).text().contains("no damage is known"));
    assert_eq!(number(&place.ok(&["scrub", "--older-than", "1h", "--json"]).object(), "containers"), 0);
    let bad = rot(&place);
    let found = place.run(&["scrub"]);
    assert!(found.code == Some(3) && found.text().contains("stream hit-1: "), "{found:?}");
    assert!(found.text().contains("gdd put") && !found.text().contains("spared"), "{found:?}");
    let told = place.run(&["scrub", "--report", "--json"]);
    let blame = &told.object()["blame"];
    assert_eq!((told.code, number(blame, "chunks")), (Some(3), 1), "{blame}");
    let stream = &blame["streams"][0];
    assert_eq!((&stream["stream"], &stream["lineage"]), (&"hit-1".into(), &"hit".into()), "{blame}");
    assert!(number(&stream["stretches"][0], "bytes") > 0, "{blame}");
    let lost = &stream["chunks"][0];
    assert_eq!((&lost["offset"], &lost["bytes"]), (&stream["stretches"][0]["offset"], &stream["bytes_bad"]));
    let container = lost["container"].as_str().unwrap();
    assert!(bad.file_stem().unwrap().to_str().unwrap() == container, "{bad:?} is container {container}");
    assert!(number(lost, "at") <= 300_000 && number(lost, "at") + 70_000 > 300_000, "{lost}");
    assert!(found.text().contains("gdd copy REPLICA STORE --check"), "{found:?}");
    assert_eq!(place.run(&["get", "hit-1"]).code, Some(3));
    place.put("hit-2", &hit);
    assert!(place.ok(&["get", "hit-1"]).out == hit);
    let report = place.ok(&["vacuum", "--json"]).object();
    assert_eq!(report["retired"].as_array().map(Vec::len), Some(1), "{report}");
    assert!(!bad.exists());
    place.ok(&["scrub"]);
    assert_eq!(place.ok(&["fsck", "--json"]).object()["clean"], true);
}

#[test]
fn a_daemon_is_asked() {
    let place = place();
    let daemon = serve_with(&place, "workers = 2\n[scrub]\nevery = \"never\"\n");
    place.put("one", &random(1, 3_000_000));
    let report = place.ok(&["scrub", "--json", "--rate", "0"]).object();
    assert!(number(&report, "chunks") > 100, "{report}");
    rot(&place);
    let found = place.run(&["scrub", "--rate", "0"]);
    assert!(found.code == Some(3) && found.text().contains("stream one: "), "{found:?}");
    assert_eq!(place.run(&["scrub", "--report"]).code, Some(3));
    let status = place.ok(&["status", "--json"]).object();
    assert_eq!(number(&status["services"]["scrub"]["last"], "chunks_bad"), 1, "{status}");
    assert_eq!(number(&status["stats"], "chunks_suspect"), 1, "{status}");
    drop(daemon);
    assert_eq!(place.run(&["scrub", "--report"]).code, Some(3), "it outlives the daemon");
}

/// Whoever asked a daemon that is stopped meanwhile takes nothing for clean that was not read.
#[test]
fn a_daemon_that_stops_is_no_clean_scrub() {
    let place = place();
    let mut daemon = serve_with(&place, "workers = 2\n[scrub]\nevery = \"never\"\n");
    place.put("one", &random(1, 6_000_000));
    let asked = place.start(&["scrub", "--rate", "1m"]);
    while place.ok(&["status", "--json"]).object()["services"]["scrub"]["running"].is_null() {
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.stop();
    let ended = Ended::of(asked.wait_with_output().unwrap());
    assert!(ended.code == Some(1) && ended.text().contains("stopped early"), "{ended:?}");
    assert!(!ended.text().contains("clean;"), "{ended:?}");
}

#[test]
fn a_daemon_does_it_by_itself() {
    let place = place();
    place.put("one", &random(1, 3_000_000));
    rot(&place);
    let mut daemon = serve_with(&place, "workers = 2\n[scrub]\nevery = \"2s\"\nrate = \"1g\"\n");
    let last = || place.ok(&["status", "--json"]).object()["services"]["scrub"]["last"].clone();
    while last().is_null() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(number(&last(), "containers_damaged"), 1);
    assert!(place.ok(&["status"]).text().contains("DAMAGED"));
    daemon.stop();
}
