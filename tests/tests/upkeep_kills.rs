//! Vacuum, scrub and rebuild of the index, killed at each moment, as a command and in the daemon: whatever was stored
//! comes back, a full check finds nothing, and the same work, done again, ends well.
//!
//! The moments are shares of the time that the work takes here, so that early, middle and late ones are among them on
//! any machine; with GDD_TEST_FULL=1 there are four times as many.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gdd_tests::copy::copy;
use gdd_tests::effort;
use gdd_tests::gdd::Gdd;
use gdd_tests::serving::Serving;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const MIB: u64 = 1 << 20;
/// Pairs of streams, of which one goes.
const PAIRS: u64 = 8;
/// Moments by default.
const MOMENTS: u32 = 8;
const QUIET: &str = "[vacuum]\nevery = \"never\"\n[scrub]\nevery = \"never\"\n";

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Vacuum,
    Scrub,
    Rebuild,
}

impl Work {
    /// Slow enough to be met in the middle.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Vacuum => &["vacuum", "--rate", "8m"],
            Self::Scrub => &["scrub", "--rate", "16m"],
            Self::Rebuild => &["rebuild-index"],
        }
    }
}

/// By whom it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Command,
    Daemon,
}

const CELLS: [(Work, By); 5] = [
    (Work::Vacuum, By::Command),
    (Work::Vacuum, By::Daemon),
    (Work::Scrub, By::Command),
    (Work::Scrub, By::Daemon),
    (Work::Rebuild, By::Command),
];

fn kept(number: u64) -> Stream {
    Stream::new(Content::Random, number, MIB)
}

/// A store whose containers are half dead, closed in order.
fn prepare(folder: &Path) {
    let gdd = Gdd::at(&folder.join("store"));
    gdd.init_with(&["--container-size", "1m"]);
    for number in 0..PAIRS {
        gdd.put(&format!("kept-{number}"), kept(number));
        gdd.put(&format!("gone-{number}"), Stream::new(Content::Random, 100 + number, MIB));
    }
    for number in 0..PAIRS {
        gdd.expect(0, &["rm", &format!("gone-{number}")]);
    }
}

/// Every stream, byte for byte, and a full check.
fn demand_whole(gdd: &Gdd, story: &str) {
    for number in 0..PAIRS {
        let mut stream = kept(number);
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut stream, &mut hasher).unwrap();
        assert_eq!(gdd.digest(&format!("kept-{number}")).0, hasher.finalize(), "{story}: kept-{number}");
    }
    let report = gdd.json(&["fsck"]);
    assert_eq!(report["damage_count"], 0, "{story}: {report}");
    assert_eq!(report["streams_affected"].as_array().map(Vec::len), Some(0), "{story}: {report}");
}

fn start(gdd: &Gdd, words: &[&str]) -> Child {
    let mut command = gdd.command();
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Do the work, or kill it after `pause`. Returns how long it took.
fn cell(base: &Path, (work, by): (Work, By), pause: Option<Duration>, story: &str) -> Duration {
    let folder = scratch("upkeep");
    copy(&base.join("store"), &folder.path().join("store"));
    let alone = Gdd::at(&folder.path().join("store"));
    let socket = folder.path().join("gdd.sock");
    let gdd = alone.clone().with_env("GDD_SOCKET", &socket.to_string_lossy());
    let mut daemon = (by == By::Daemon).then(|| Serving::configured(&gdd, folder.path(), QUIET));
    let started = Instant::now();
    let mut child = start(&gdd, work.words());
    match pause {
        None => assert!(child.wait().unwrap().success(), "{story}"),
        Some(pause) => {
            thread::sleep(pause);
            match daemon.take() {
                Some(daemon) => daemon.kill(),
                None => child.kill().unwrap(),
            }
            child.wait().unwrap();
        }
    }
    let took = started.elapsed();
    if let Some(daemon) = daemon {
        daemon.stop();
    }
    demand_whole(&alone, &format!("{story}, afterwards"));
    let last = work.words()[0];
    alone.expect(0, &[last]);
    demand_whole(&alone, &format!("{story}, done again"));
    if work == Work::Vacuum {
        let dry = alone.json(&["vacuum", "--dry-run"]);
        assert!(dry["dead_bytes"].as_u64().unwrap() < 3 * MIB, "{story}: it frees what it should: {dry}");
    }
    let left = fs::read_dir(alone.store()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("index.new")).collect();
    assert!(left.is_empty(), "{story}: {left:?}");
    took
}

#[test]
fn work_that_is_killed_loses_nothing() {
    let base = scratch("upkeep");
    prepare(base.path());
    let moments = if effort::is_full() { 4 * MOMENTS } else { MOMENTS };
    let mut cells = 0;
    for (work, by) in CELLS {
        let whole = cell(base.path(), (work, by), None, &format!("{work:?} by {by:?}, whole"));
        for moment in 0..moments {
            let pause = whole * moment / moments;
            let story = format!("{work:?} by {by:?}, killed after {pause:?} of {whole:?}");
            cell(base.path(), (work, by), Some(pause), &story);
            cells += 1;
        }
    }
    println!("{cells} cells: every one lost nothing");
    assert_eq!(cells, 5 * moments);
}
