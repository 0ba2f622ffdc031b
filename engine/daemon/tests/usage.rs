//! Wrong usage is exit code 2 with a message that says what would be right, and the help teaches.

mod support;

use support::{Place, list};

#[test]
fn wrong_usage_is_code_2() {
    let place = Place::empty();
    let cases: [(&[&str], &str); 11] = [
        (&[], "Usage: gdd"),
        (&["frobnicate"], "frobnicate"),
        (&["put"], "<NAME>"),
        (&["get", "a", "b"], "unexpected argument"),
        (&["ls", "--memory", "much"], "is no size"),
        (&["ls", "--workers", "0"], "from 1 to 64"),
        (&["ls", "--io", "tape"], "uring"),
        (&["fsck", "--level", "4"], "0..=3"),
        (&["init", "x", "--chunk-size", "4k"], "4k/16k/64k"),
        (&["init", "x", "--compression", "rar"], "zstd:LEVEL"),
        (&["get", "name", "--json"], "-o"),
    ];
    for (words, hint) in cases {
        let ended = place.run(words);
        assert_eq!(ended.code, Some(2), "{words:?}: {ended:?}");
        assert!(ended.err.contains(hint), "{words:?}: {ended:?}");
    }
    assert!(list(&place.join("")).is_empty(), "nothing was made");
}

#[test]
fn with_json_wrong_usage_is_an_object_too() {
    let place = Place::empty();
    for words in [&["put", "--json"][..], &["ls", "--json", "--workers", "0"], &["get", "name", "--json"]] {
        let ended = place.run(words);
        let object = ended.object();
        assert_eq!((ended.code, object["code"].as_u64()), (Some(2), Some(2)), "{words:?}: {ended:?}");
        assert!(object["error"].as_str().is_some_and(|error| error.len() > 10), "{object}");
    }
}

#[test]
fn unusable_settings_make_no_store() {
    let place = Place::empty();
    for settings in [
        &["--chunk-size", "4k/15k/64k"][..],
        &["--chunk-size", "64k/16k/4k"],
        &["--chunk-size", "4k/16k/8m"],
        &["--container-size", "1000"],
        &["--container-size", "2g"],
    ] {
        let ended = place.run(&[&["init", "store"], settings].concat());
        assert_eq!(ended.code, Some(2), "{settings:?}: {ended:?}");
        assert!(!place.store().exists(), "{settings:?}");
    }
}

#[test]
fn a_store_is_made_once() {
    let place = Place::new();
    let again = place.run(&["init", "store"]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("a gdd store already; choose an empty directory"), "{again:?}");
    place.ok(&["fsck"]);
}

#[test]
fn the_help_teaches() {
    let place = Place::empty();
    let top = place.ok(&["--help"]);
    let commands =
        ["init", "put", "get", "ls", "rm", "stats", "fsck", "rebuild-index", "rehydrate", "bench", "tune"];
    for command in commands {
        assert!(top.text().lines().any(|line| line.trim_start().starts_with(command)), "{command}");
        let help = place.ok(&[command, "--help"]);
        assert!(help.text().contains("Usage: gdd") && help.text().contains("--json"), "{command}");
        assert!(help.text().lines().all(|line| line.chars().count() <= 120), "{command}: {}", help.text());
    }
    for (command, example) in [
        ("put", "pg_dump"),
        ("get", "tar -x"),
        ("init", "zstd:3"),
        ("fsck", "BLAKE3"),
        ("rehydrate", "bextract"),
        ("tune", "10 there is advice"),
    ] {
        assert!(place.ok(&[command, "--help"]).text().contains(example), "{command}");
    }
    assert!(top.text().contains("Exit codes") && top.text().contains("GDD_STORE"), "{}", top.text());
    assert!(!top.text().contains("completions"), "what is for packages is hidden");
}

#[test]
fn the_version_names_commit_and_format() {
    let text = Place::empty().ok(&["--version"]).text().to_owned();
    assert!(
        text.starts_with("gdd 0.") && text.contains("commit ") && text.contains("store formats 1 and 2"),
        "{text}"
    );
}

#[test]
fn packages_get_pages_and_completions() {
    let place = Place::empty();
    place.ok(&["man", "pages"]);
    let pages = list(&place.join("pages"));
    for page in ["gdd.1", "gdd-put.1", "gdd-bench-recall.1", "gdd-tune.1"] {
        assert!(pages.iter().any(|name| name == page), "{pages:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&["completions", shell]).text().contains("rebuild-index"), "{shell}");
    }
}
