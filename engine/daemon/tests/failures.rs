//! When something is wrong: the exit code, one line with the remedy, and nothing half done.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{Ended, Place, list, random};

/// One line on standard error, and with `--json` the same in an object.
fn refused(place: &Place, words: &[&str], code: i32, hint: &str) {
    let plain = place.run(words);
    assert_eq!(plain.code, Some(code), "{words:?}: {plain:?}");
    assert!(plain.err.lines().count() == 1 && plain.err.starts_with("gdd: "), "{words:?}: {plain:?}");
    assert!(plain.err.contains(hint), "{words:?}: {plain:?}");
    assert!(plain.out.is_empty(), "{words:?}: {plain:?}");
    let json = place.run(&[words, &["--json"]].concat());
    assert_eq!(json.code, Some(code), "{words:?}: {json:?}");
    let object = json.object();
    assert_eq!(object["code"].as_i64(), Some(i64::from(code)), "{object}");
    assert!(object["error"].as_str().is_some_and(|error| error.contains(hint)), "{object}");
}

#[test]
fn messages_name_the_remedy() {
    let place = Place::empty();
    for words in
        [&["ls"][..], &["stats"], &["fsck"], &["rm", "x"], &["rebuild-index"], &["put", "x", "/etc/hosts"]]
    {
        refused(&place, words, 1, "gdd init");
    }
    let place = Place::new();
    refused(&place, &["get", "nobody", "-o", "file"], 1, "gdd ls");
    refused(&place, &["rm", "nobody"], 1, "gdd ls");
    refused(&place, &["put", "name", "nowhere"], 1, "nowhere");
    place.put("name", b"bytes");
    refused(&place, &["get", "name", "-o", "store"], 2, "is a directory");
    refused(&place, &["put", "name", "/etc/hosts"], 1, "gdd rm");
    assert_eq!(list(&place.join("")), ["store"], "nothing was left beside");
}

#[test]
fn damage_is_code_3_and_leaves_no_file() {
    let place = Place::new();
    place.put("name", &random(1, 4_000_000));
    for entry in fs::read_dir(place.store().join("containers")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        (8192..1_000_000.min(bytes.len())).step_by(1000).for_each(|at| bytes[at] ^= 1);
        fs::write(path, bytes).unwrap();
    }
    let found = place.run(&["fsck"]);
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.text().contains("DAMAGED") && found.text().contains("stream name"), "{found:?}");
    let report = place.run(&["fsck", "--json"]);
    assert_eq!((report.code, &report.object()["clean"]), (Some(3), &false.into()));
    fs::write(place.join("restored"), b"earlier").unwrap();
    refused(&place, &["get", "name", "-o", "restored"], 3, "chunk");
    assert_eq!(fs::read(place.join("restored")).unwrap(), b"earlier");
    assert_eq!(list(&place.join("")), ["restored", "store"]);
}

#[test]
fn a_signal_takes_a_put_back() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let mut child = place.start(&["put", "name", "--json"]);
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&random(1, 20_000_000)).unwrap(); // Far more than a pipe holds, so it is at work.
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = Ended::of(child.wait_with_output().unwrap()); // It does not wait for the open pipe.
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(ended.object()["code"], code);
        drop(pipe);
        assert!(place.names().is_empty());
        place.put("name", b"the name is free");
        place.ok(&["fsck"]);
    }
}

#[test]
fn a_signal_while_restoring_leaves_no_file() {
    let place = Place::new();
    place.put("name", &random(2, 60_000_000));
    fs::create_dir(place.join("target")).unwrap();
    let child = place.start(&["get", "name", "-o", "target/file"]);
    let begun = Instant::now();
    while list(&place.join("target")).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "a temporary file appears");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    match ended.code {
        Some(143) => assert!(list(&place.join("target")).is_empty(), "nothing is left"),
        other => {
            assert_eq!(other, Some(0), "it was done before: {ended:?}");
            assert_eq!(list(&place.join("target")), ["file"]);
        }
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_get_quietly() {
    let place = Place::new();
    place.put("name", &random(3, 30_000_000));
    let mut child = place.start(&["get", "name"]);
    let mut first = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // And the pipe is closed.
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.code, &*ended.err), (Some(141), ""));
    assert_eq!(first, random(3, 1000)[..]);
}

#[test]
fn a_full_output_is_an_error() {
    let place = Place::new();
    place.put("name", &random(4, 1_000_000));
    let mut command = place.command(&["get", "name"]);
    command.stdout(Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap()));
    let ended = Ended::of(command.output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("standard output"), "{ended:?}");
    refused(&place, &["get", "name", "-o", "/dev/full"], 1, "/dev/full");
}

#[test]
fn a_file_that_grows_meanwhile_is_not_stored() {
    let place = Place::new();
    let path = place.join("file");
    fs::write(&path, random(5, 10_000_000)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            while !done.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let ended = place.run(&["put", "name", "file"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("changed while it was read"), "{ended:?}");
    });
    assert!(place.names().is_empty());
    place.ok(&["put", "name", "file"]);
}
