//! `gdd vacuum`: on a store alone, through the daemon, and by the daemon itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use support::{Ended, Place, daemon::serve_with, random};

/// Two streams whose chunks lie in the same containers, one of them removed; the other's bytes.
fn half_dead(place: &Place) -> Vec<u8> {
    let kept = random(1, 6_000_000);
    let parts: Vec<&[u8]> = kept.chunks(500_000).collect();
    for (number, part) in parts.iter().enumerate() {
        place.put(&format!("kept-{number}"), part);
        place.put(&format!("gone-{number}"), &random(100 + number as u64, 500_000));
    }
    (0..parts.len()).for_each(|number| drop(place.ok(&["rm", &format!("gone-{number}")])));
    kept
}

fn compare(place: &Place, kept: &[u8]) {
    for (number, part) in kept.chunks(500_000).enumerate() {
        assert!(place.ok(&["get", &format!("kept-{number}")]).out == part, "kept-{number}");
    }
}

fn small_containers() -> Place {
    let place = Place::empty();
    let store = place.store();
    place.ok(&["init", store.to_str().unwrap(), "--container-size", "1m"]);
    place
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field}: {report}"))
}

#[test]
fn a_store_alone_is_vacuumed() {
    let place = small_containers();
    let kept = half_dead(&place);
    let dry = place.ok(&["vacuum", "--dry-run", "--json"]).object();
    assert!(dry["dry_run"] == true && number(&dry, "chosen") > 5 && number(&dry, "freed_containers") == 0);
    let text = String::from_utf8(place.ok(&["vacuum", "--dry-run"]).out).unwrap();
    assert!(text.contains("would empty") && text.contains("needed by no stream"), "{text}");
    let report = place.ok(&["vacuum", "--json", "--rate", "1g", "--dead-percent", "0"]).object();
    assert!(
        number(&report, "freed_containers") > 5 && number(&report, "moved_bytes") > 2_000_000,
        "{report}"
    );
    compare(&place, &kept);
    let checked = place.ok(&["fsck", "--json"]).object();
    assert_eq!(checked["clean"], true, "{checked}");
    assert_eq!(place.run(&["vacuum", "--dead-percent", "100"]).code, Some(2));
}

/// Every file of the store with its bytes.
fn all_files(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![place.store()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => drop(found.insert(path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    found
}

#[test]
fn a_dry_run_says_why_not_more_and_writes_nothing() {
    let place = small_containers();
    half_dead(&place);
    let looks = |words: &[&str]| {
        let before = all_files(&place);
        let report = place.ok(&[&["vacuum", "--dry-run", "--json"], words].concat()).object();
        let text = place.ok(&[&["vacuum", "--dry-run"], words].concat()).text().to_owned();
        place.ok(&["scrub", "--report"]);
        let after = all_files(&place);
        let changed: Vec<_> = before.iter().filter(|(path, bytes)| after.get(*path) != Some(bytes)).collect();
        let changed: Vec<_> = changed.iter().map(|(path, _)| path).collect();
        assert!(changed.is_empty() && before.len() == after.len(), "{changed:?} changed");
        (report, text)
    };
    // All of it is dead enough, then none.
    let (report, _) = looks(&[]);
    assert!(number(&report, "chosen_dead_bytes") > 4_000_000, "{report}");
    let (report, text) = looks(&["--dead-percent", "99"]);
    assert!(
        number(&report, "chosen") == 0 && number(&report, "below_limit_dead_bytes") > 4_000_000,
        "{report}"
    );
    assert!(text.contains("\nstay ") && text.contains("too little of it"), "{text}");
    // A daemon dies with containers begun, which an open stream may rely on: it writes that down for the next.
    let daemon = serve_with(&place, "workers = 2\n[vacuum]\nevery = \"never\"\n");
    let mut open = place.start(&["put", "open"]);
    open.stdin.as_mut().unwrap().write_all(&random(1, 200_000)).unwrap();
    while place.ok(&["status", "--json"]).object()["requests"] != 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    place.ok(&["vacuum", "--rate", "0"]);
    let held = place.ok(&["vacuum", "--dry-run", "--json"]).object();
    assert!(number(&held, "waiting_for_streams") > 5 && number(&held, "waiting_bytes") > 4_000_000, "{held}");
    let text = place.ok(&["vacuum", "--dry-run"]).text().to_owned();
    assert!(text.contains("\nwaiting ") && text.contains("for streams to end"), "{text}");
    drop(daemon);
    drop(open.stdin.take());
    open.wait().unwrap();
    // Killed, so something is left to recover: a dry run leaves that to the next opening for writing.
    let (report, _) = looks(&[]);
    assert!(number(&report, "waiting_bytes") > 4_000_000, "{report}");
    assert_eq!(place.ok(&["fsck", "--json"]).object()["damage_count"], 0);
}

#[test]
fn a_daemon_is_asked() {
    let place = small_containers();
    let daemon = serve_with(&place, "workers = 2\n[vacuum]\nevery = \"never\"\n");
    let kept = half_dead(&place);
    let status = String::from_utf8(place.ok(&["status"]).out).unwrap();
    assert!(status.contains("never by itself"), "{status}");
    // A stream that is open holds what it may have been told to be known.
    let mut open = place.start(&["put", "open"]);
    open.stdin.as_mut().unwrap().write_all(&kept[..200_000]).unwrap();
    while place.ok(&["status", "--json"]).object()["requests"] != 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let report = place.ok(&["vacuum", "--json", "--rate", "0"]).object();
    assert!(
        number(&report, "waiting_for_streams") > 5 && number(&report, "freed_containers") == 0,
        "{report}"
    );
    drop(open.stdin.take());
    let mut err = String::new();
    open.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(open.wait().unwrap().success(), "{err}");
    let report = place.ok(&["vacuum", "--json", "--rate", "0"]).object();
    assert!(number(&report, "freed_containers") > 5 && number(&report, "waiting_bytes") == 0, "{report}");
    let status = place.ok(&["status", "--json"]).object();
    let last = &status["services"]["vacuum"]["last"];
    assert_eq!(number(last, "freed_containers"), number(&report, "freed_containers"), "{status}");
    compare(&place, &kept);
    drop(daemon);
    // How it ended is known to the next daemon, and when.
    let daemon = serve_with(&place, "workers = 2\n[vacuum]\nevery = \"never\"\n");
    let later = place.ok(&["status", "--json"]).object();
    for key in ["last", "last_unix"] {
        assert_eq!(later["services"]["vacuum"][key], status["services"]["vacuum"][key], "{later}");
    }
    assert!(number(&later["services"]["vacuum"], "last_unix") > 1_700_000_000);
    assert!(later["services"]["scrub"]["last"].is_null(), "{later}");
    drop(daemon);
    compare(&place, &kept);
    assert_eq!(place.ok(&["fsck", "--json"]).object()["clean"], true, "killed, and whole");
}

#[test]
fn a_daemon_does_it_by_itself_and_stops_when_told() {
    let place = small_containers();
    let config = "workers = 2\n[vacuum]\nevery = \"1s\"\nrate = \"1m\"\n";
    let mut daemon = serve_with(&place, config);
    let kept = half_dead(&place);
    let running = || place.ok(&["status", "--json"]).object()["services"]["vacuum"].clone();
    while running()["running"]["stage"] != "move" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = place.run(&["vacuum"]);
    assert!(refused.code == Some(4) && refused.err.contains("at work"), "{refused:?}");
    daemon.stop();
    // Who asked for one hears that it was not done.
    let mut daemon = serve_with(&place, "workers = 2\n[vacuum]\nevery = \"never\"\n");
    let asked = place.start(&["vacuum", "--rate", "1m"]);
    while running()["running"]["stage"] != "move" {
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.stop();
    let ended = Ended::of(asked.wait_with_output().unwrap());
    assert!(ended.code == Some(1) && ended.text().contains("the next run goes on"), "{ended:?}");
    compare(&place, &kept);
    assert_eq!(place.ok(&["fsck", "--json"]).object()["clean"], true);
}

#[test]
fn a_wrong_configuration_is_refused() {
    let place = Place::new();
    for (line, words) in [
        ("every = \"soon\"", "no span of time"),
        ("dead_percent = 100", "dead_percent"),
        ("rate = \"fast\"", "no size"),
        ("pace = 1", "pace"),
    ] {
        std::fs::write(place.join("gdd.toml"), format!("[vacuum]\n{line}\n")).unwrap();
        let config = place.join("gdd.toml");
        let checked = place.run(&["serve", "--check", "--config", config.to_str().unwrap()]);
        assert!(checked.code == Some(2) && checked.err.contains(words), "{line}: {checked:?}");
    }
}

#[test]
fn a_copy_beside_a_vacuum_of_the_daemon_is_whole() {
    let place = small_containers();
    let kept = half_dead(&place);
    let (store, other) = (place.store(), place.join("other"));
    let [from, to] = [&store, &other].map(|path| path.to_str().unwrap());
    place.ok(&["init", to, "--replica-of", from]);
    let daemon = serve_with(&place, "workers = 2\n[vacuum]\nevery = \"never\"\n");
    let mut vacuum = place.start(&["vacuum", "--rate", "4m"]);
    let copied = place.ok(&["copy", from, to, "--json"]).object();
    assert_eq!(copied["failed"].as_array().map(Vec::len), Some(0), "{copied}");
    vacuum.kill().unwrap();
    vacuum.wait().unwrap();
    place.ok(&["copy", to, from, "--check"]);
    for (number, part) in kept.chunks(500_000).enumerate() {
        let copy = place.ok(&["--store", to, "get", &format!("kept-{number}")]);
        assert!(copy.out == part, "kept-{number} in the copy");
    }
    compare(&place, &kept);
    drop(daemon);
    assert_eq!(place.ok(&["fsck", "--json"]).object()["damage_count"], 0);
}
