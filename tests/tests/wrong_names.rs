//! Names that cannot be, names that are taken, names that nobody has, and command lines that make no sense.

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, number, text};
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

fn store() -> (tempfile::TempDir, Gdd) {
    let folder = scratch("names");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    (folder, gdd)
}

fn stream(seed: u64) -> Stream {
    Stream::new(Content::Random, seed, 100_000)
}

#[test]
fn impossible_names_are_wrong_usage() {
    let (_folder, gdd) = store();
    let long = "n".repeat(1025);
    for name in ["", &long, "line\nbreak", "tab\t", "\u{7f}"] {
        let refused = gdd.expect(2, &["put", name, "/etc/hostname", "--json"]);
        refused.demand_said(&["stream name"]);
        assert_eq!(number(&refused.json(), "code"), 2);
    }
    assert!(list(&gdd.json(&["ls"]), "streams").is_empty());
}

#[test]
fn odd_names_are_names() {
    let (_folder, gdd) = store();
    let long = "n".repeat(1024);
    let names = [" ", "two words", "../../etc/passwd", "/", "a/b", "\u{e4}\u{1f41f}", ".", "'\"`$(x)", &long];
    for (seed, name) in (1..).zip(names) {
        gdd.put(name, stream(seed));
    }
    for (seed, name) in (1..).zip(names) {
        assert_eq!(gdd.digest(name).0, stream(seed).digest(), "{name:?}");
    }
    let listed = gdd.json(&["ls"]);
    let mut found: Vec<_> = list(&listed, "streams").iter().map(|stream| text(stream, "name")).collect();
    let mut expected = names;
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_taken_name_keeps_what_it_has() {
    let (_folder, gdd) = store();
    gdd.put("taken", stream(1));
    let refused = gdd.try_put("taken", stream(2));
    refused.demand(1);
    refused.demand_said(&["exists", "gdd rm"]);
    assert_eq!(gdd.digest("taken").0, stream(1).digest());
    gdd.expect(0, &["rm", "taken"]);
    gdd.put("taken", stream(2));
    assert_eq!(gdd.digest("taken").0, stream(2).digest());
}

#[test]
fn an_unknown_name_is_a_refusal_that_says_where_to_look() {
    let (folder, gdd) = store();
    let target = folder.path().join("target");
    let to_file = ["get", "nobody", "-o", target.to_str().unwrap()];
    for command in [&["get", "nobody"][..], &to_file, &["rm", "nobody"]] {
        gdd.expect(1, command).demand_said(&["nobody", "gdd ls"]);
    }
    assert!(!target.exists(), "nothing is made for a stream that is not there");
    let missing = folder.path().join("missing");
    let refused = gdd.run(&["put", "name", missing.to_str().unwrap()]);
    refused.demand(1);
    refused.demand_said(&[missing.to_str().unwrap()]);
    assert!(list(&gdd.json(&["ls"]), "streams").is_empty());
}

#[test]
fn a_command_line_that_makes_no_sense_is_wrong_usage() {
    let (_folder, gdd) = store();
    let lines: [&[&str]; 6] = [
        &[],
        &["get"],
        &["get", "a", "b"],
        &["frobnicate"],
        &["fsck", "--level", "4"],
        &["ls", "--io", "magic"],
    ];
    for line in lines {
        gdd.expect(2, line);
    }
    let folder = scratch("settings");
    let store = folder.path().join("store");
    let store = store.to_str().unwrap();
    for setting in [["--chunk-size", "16k/4k/64k"], ["--chunk-size", "4k/15k/64k"], ["--container-size", "5"]]
    {
        gdd.expect(2, &["init", store, setting[0], setting[1]]);
    }
    assert!(!folder.path().join("store").exists());
}
