//! Machines without io_uring, or without memory to lock: demanded, it is a clear error; left to us, it works, and says
//! so.

use gdd_tests::denied::{with, without_io_uring, without_locked_memory};
use gdd_tests::gdd::{Gdd, Outcome};
use gdd_tests::json::{list, text};
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;
use serde_json::Value;

fn store(name: &str) -> (tempfile::TempDir, Gdd) {
    let folder = scratch(name);
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    gdd.put("earlier", Stream::new(Content::Random, 1, 3_000_000));
    (folder, gdd)
}

fn denied(gdd: &Gdd, arguments: &[&str]) -> Outcome {
    let mut command = with(gdd.command(), arguments);
    let output = without_io_uring(&mut command);
    Outcome::new(&command, output.status, &output.stdout, &output.stderr)
}

fn unlocked(gdd: &Gdd, arguments: &[&str]) -> Outcome {
    let mut command = without_locked_memory(&with(gdd.command(), arguments));
    let output = command.output().expect("setpriv and prlimit start");
    Outcome::new(&command, output.status, &output.stdout, &output.stderr)
}

fn notes(stats: &Value) -> String {
    list(stats, "io_notes").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_ring_that_is_demanded_and_denied_is_an_error_with_its_remedy() {
    let (_folder, gdd) = store("demanded");
    for command in [&["put", "name", "/etc/hostname"][..], &["get", "earlier"], &["stats"], &["fsck"]] {
        let refused = denied(&gdd.with_flags(&["--io", "uring"]), command);
        refused.demand(1);
        refused.demand_said(&["io_uring", "seccomp"]);
    }
    gdd.expect(1, &["get", "name"]);
    gdd.expect(0, &["fsck"]);
}

#[test]
fn a_ring_that_is_denied_is_done_without() {
    let (folder, gdd) = store("done-without");
    let source = folder.path().join("source");
    std::fs::write(&source, vec![42; 5_000_000]).unwrap();
    denied(&gdd, &["put", "name", source.to_str().unwrap()]).demand(0);
    let stats = denied(&gdd, &["stats", "--json"]);
    stats.demand(0);
    let stats = stats.json();
    assert!(text(&stats, "io_mode").starts_with("pwrite"), "{stats}");
    assert!(notes(&stats).contains("seccomp"), "{stats}");
    assert_eq!(
        gdd.digest("name").0,
        blake3::hash(&vec![42; 5_000_000]),
        "written without a ring, read with one"
    );
    let target = folder.path().join("target");
    denied(&gdd, &["get", "earlier", "-o", target.to_str().unwrap()]).demand(0);
    let expected = Stream::new(Content::Random, 1, 3_000_000).digest();
    assert_eq!(blake3::hash(&std::fs::read(target).unwrap()), expected, "written with a ring, read without");
    denied(&gdd, &["fsck"]).demand(0);
}

#[test]
fn memory_that_may_not_be_locked_is_used_unlocked() {
    let (folder, gdd) = store("unlocked");
    let source = folder.path().join("source");
    std::fs::write(&source, vec![43; 5_000_000]).unwrap();
    unlocked(&gdd, &["put", "name", source.to_str().unwrap()]).demand(0);
    assert_eq!(gdd.digest("name").0, blake3::hash(&vec![43; 5_000_000]));
    let stats = unlocked(&gdd, &["stats", "--json"]);
    stats.demand(0);
    let stats = stats.json();
    let buffered = text(&stats, "io_mode") == "pwrite+buffered"; // Then there is no ring that could want memory.
    assert!(buffered || notes(&stats).contains("RLIMIT_MEMLOCK is 0 bytes"), "{stats}");
    unlocked(&gdd, &["fsck"]).demand(0);
}
