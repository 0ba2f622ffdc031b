//! The index is a cache: without it nothing works and everything says why; made anew from the containers, all is as it
//! was.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use gdd_tests::copy::copy;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::{at, number};
use gdd_tests::untouched::Untouched;
use gdd_tests::victim::{make, restore_all, streams};
use gdd_tests::workspace::scratch;
use serde_json::Value;

/// What must be the same after a rebuild.
const FIELDS: [&str; 6] =
    ["logical_bytes", "unique_bytes", "stored_bytes", "chunks", "containers", "streams"];

fn stats(gdd: &Gdd) -> Vec<(&'static str, Value)> {
    let stats = gdd.json(&["stats"]);
    FIELDS.map(|field| (field, at(&stats, field).clone())).into_iter().collect()
}

fn store(name: &str) -> (tempfile::TempDir, Gdd) {
    let folder = scratch(name);
    let gdd = Gdd::at(&folder.path().join("store"));
    make(&gdd);
    (folder, gdd)
}

fn demand_whole(gdd: &Gdd, after: &str) {
    assert!(restore_all(gdd, after).is_empty(), "{after}");
    gdd.expect(0, &["fsck", "--level", "3"]);
    for (name, stream) in streams() {
        let again = format!("{name}, {after}");
        assert_eq!(number(&gdd.put(&again, stream.clone()), "new_bytes"), 0, "{after}: {name} is known");
        assert_eq!(gdd.digest(&again).0, stream.digest());
    }
}

#[test]
fn a_lost_index_is_made_anew() {
    let (_folder, gdd) = store("index");
    let before = stats(&gdd);
    fs::remove_dir_all(gdd.store().join("index")).unwrap();
    let ruined = Untouched::of(gdd.store()).unwrap();
    let reading: [&[&str]; 4] = [&["ls"], &["get", "text"], &["stats"], &["fsck"]];
    let writing: [&[&str]; 2] = [&["put", "new", "/etc/hostname"], &["rm", "text"]];
    for command in reading.into_iter().chain(writing) {
        let refused = gdd.run(command);
        assert!(matches!(refused.code, Some(1 | 3)), "{refused:?}");
        refused.demand_said(&["gdd rebuild-index"]);
        if reading.contains(&command) {
            ruined.demand(gdd.store(), &format!("{command:?}"));
        }
    }
    assert!(!gdd.store().join("index").exists(), "a refusal makes no index");
    let rebuilt = gdd.json(&["rebuild-index"]);
    assert_eq!(number(&rebuilt, "streams"), streams().len() as u64, "{rebuilt}");
    assert!(at(&rebuilt, "seconds_per_gigabyte").is_number(), "{rebuilt}");
    assert_eq!(stats(&gdd), before);
    demand_whole(&gdd, "after a rebuild");
}

#[test]
fn a_good_index_may_be_made_anew_too() {
    let (_folder, gdd) = store("good-index");
    let before = stats(&gdd);
    for round in 0..2 {
        let rebuilt = gdd.json(&["rebuild-index"]);
        assert!(number(&rebuilt, "chunks") > 0, "{rebuilt}");
        assert_eq!(stats(&gdd), before, "round {round}");
        assert!(restore_all(&gdd, "a rebuild").is_empty());
    }
    demand_whole(&gdd, "after two rebuilds");
}

#[test]
fn a_lost_filter_is_made_anew() {
    let (_folder, gdd) = store("filter");
    let before = stats(&gdd);
    fs::remove_dir_all(gdd.store().join("filter")).unwrap();
    assert!(restore_all(&gdd, "no filter").is_empty(), "reading needs no filter");
    gdd.expect(0, &["fsck"]);
    assert_eq!(stats(&gdd), before);
    demand_whole(&gdd, "without a filter");
}

#[test]
fn index_filter_and_epoch_may_be_lost_together() {
    let (_folder, gdd) = store("all-lost");
    let before = stats(&gdd);
    for folder in ["index", "filter"] {
        fs::remove_dir_all(gdd.store().join(folder)).unwrap();
    }
    fs::remove_file(gdd.store().join("epoch")).unwrap();
    gdd.expect(0, &["rebuild-index"]);
    assert_eq!(stats(&gdd), before);
    demand_whole(&gdd, "after all that can be derived was lost");
}

#[test]
fn a_lost_or_damaged_epoch_is_made_anew() {
    let ruins: [fn(&Path) -> io::Result<()>; 3] =
        [|path| fs::remove_file(path), |path| fs::write(path, ""), |path| fs::write(path, [0; 4096])];
    for ruin in ruins {
        let (_folder, gdd) = store("epoch");
        let before = stats(&gdd);
        ruin(&gdd.store().join("epoch")).unwrap();
        assert!(restore_all(&gdd, "no epoch").is_empty(), "reading needs no epoch");
        gdd.expect(3, &["put", "new", "/etc/hostname"]).demand_said(&["epoch", "gdd rebuild-index"]);
        gdd.expect(3, &["fsck"]);
        gdd.expect(0, &["rebuild-index"]);
        assert_eq!(stats(&gdd), before);
        demand_whole(&gdd, "after the epoch was lost");
    }
}

#[test]
fn a_killed_rebuild_is_simply_run_again() {
    let (_folder, gdd) = store("killed-rebuild");
    let before = stats(&gdd);
    for milliseconds in [5, 10, 20, 30, 40, 60] {
        let mut child = gdd.command().arg("rebuild-index").stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        if gdd.store().join("index/CURRENT").exists() {
            assert!(restore_all(&gdd, "a killed rebuild").is_empty(), "the old index or the new one");
        }
    }
    gdd.expect(0, &["rebuild-index"]);
    assert_eq!(stats(&gdd), before);
    demand_whole(&gdd, "after killed rebuilds");
}

/// A store is its directory: it works wherever it lies.
#[test]
fn the_index_of_a_copied_store_is_made_anew_elsewhere() {
    let (folder, gdd) = store("copied");
    let elsewhere = Gdd::at(&folder.path().join("elsewhere"));
    copy(gdd.store(), elsewhere.store());
    fs::remove_dir_all(elsewhere.store().join("index")).unwrap();
    elsewhere.expect(0, &["rebuild-index"]);
    assert_eq!(stats(&elsewhere), stats(&gdd));
    demand_whole(&elsewhere, "in another place");
}

/// Footer and a place in the middle are lost with the index: a walk from batch to batch ends there, and what lies
/// behind is found record by record. Recovery cuts nothing off.
#[test]
fn a_rebuild_finds_what_lies_behind_damage() {
    let (_folder, gdd) = store("behind");
    let containers = gdd_tests::damage::files(&gdd.store().join("containers")).unwrap();
    let read = |path: &Path| fs::read(path).unwrap();
    // Sealed: it ends with a checksum, not with room.
    let sealed = containers.iter().filter(|path| !read(path).ends_with(&[0; 8]));
    let sealed = sealed.max_by_key(|path| read(path).len()).unwrap();
    let mut bytes = read(sealed);
    let (middle, end) = (bytes.len() / 2, bytes.len());
    bytes[middle] ^= 1;
    bytes[end - 8192..].fill(0);
    fs::write(sealed, &bytes).unwrap();
    fs::remove_dir_all(gdd.store().join("index")).unwrap();
    let rebuilt = gdd.expect(3, &["rebuild-index", "--json"]).json();
    assert_eq!(number(&rebuilt, "containers_salvaged"), 1, "{rebuilt}");
    for time in ["at once", "after recovery"] {
        let report = gdd.expect(3, &["fsck", "--json"]).json();
        let lost = number(&report, "chunks_unknown");
        assert!((1..=2).contains(&lost), "{time}: one byte cost {lost} chunks: {report:#}");
        gdd.run(&["rm", "nobody"]);
    }
    assert_eq!(fs::metadata(sealed).unwrap().len(), end as u64, "nothing was cut off");
}

#[test]
fn a_rebuild_does_without_a_containers_header() {
    let (_folder, gdd) = store("header");
    for path in gdd_tests::damage::files(&gdd.store().join("containers")).unwrap() {
        let mut bytes = fs::read(&path).unwrap();
        bytes[..4096].fill(0);
        fs::write(path, bytes).unwrap();
    }
    fs::remove_dir_all(gdd.store().join("index")).unwrap();
    gdd.expect(3, &["rebuild-index"]);
    assert!(restore_all(&gdd, "no headers").is_empty());
    gdd.run(&["rm", "nobody"]);
    assert!(restore_all(&gdd, "no headers, after recovery").is_empty());
}
