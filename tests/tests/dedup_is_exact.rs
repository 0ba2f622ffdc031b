//! The store finds exactly what the serial `fastcdc` crate and a hash set find: no repeat is missed between cores,
//! containers or streams, and nothing is counted twice.

use std::io::Read;
use std::process::{Command, Stdio};

use gdd_tests::effort::{is_full, sized};
use gdd_tests::gdd::Gdd;
use gdd_tests::joined::Joined;
use gdd_tests::json::number;
use gdd_tests::serial::{Counted, Serial};
use gdd_tests::stream::{Content, PAGE_SIZE, Stream};
use gdd_tests::workspace::scratch;
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn store(name: &str) -> (tempfile::TempDir, Gdd) {
    let folder = scratch(name);
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    (folder, gdd)
}

fn counted(put: &Value) -> Counted {
    let [bytes, new_bytes, chunks, new_chunks] =
        ["bytes", "new_bytes", "chunks", "new_chunks"].map(|field| number(put, field));
    Counted { bytes, new_bytes, chunks, new_chunks }
}

/// Text, repeats, zeros and random bytes, with ends that no unit divides.
fn mixed(scale: u64) -> [Joined; 2] {
    let first = Joined::new([
        Stream::new(Content::Text, 31, scale * 5 * MIB + 1),
        Stream::new(Content::Repeats { percent: 60 }, 32, scale * 16 * MIB + 777),
        Stream::new(Content::Zeros, 0, scale * 3 * MIB + 12_345),
        Stream::new(Content::Random, 33, 7 * MIB - 3),
    ]);
    // Begins elsewhere, repeats the middle of the first, and ends elsewhere.
    let second = Joined::new([
        Stream::new(Content::Random, 34, 2 * MIB + 99),
        Stream::new(Content::Repeats { percent: 60 }, 32, scale * 12 * MIB),
        Stream::new(Content::Text, 31, scale * 4 * MIB),
        Stream::new(Content::Zeros, 0, MIB + 1),
    ]);
    [first, second]
}

#[test]
fn mixed_streams_are_cut_and_counted_as_the_crate_does() {
    let (_folder, gdd) = store("mixed");
    let (mut serial, mut unique) = (Serial::default(), Counted::default());
    for (index, stream) in mixed(sized(1, 16)).into_iter().enumerate() {
        let expected = serial.add(stream.clone());
        assert_eq!(counted(&gdd.put(&index.to_string(), stream)), expected, "stream {index}");
        unique.new_bytes += expected.new_bytes;
        unique.new_chunks += expected.new_chunks;
    }
    let stats = gdd.json(&["stats"]);
    assert_eq!(number(&stats, "unique_bytes"), unique.new_bytes);
    assert_eq!(number(&stats, "chunks"), unique.new_chunks);
}

/// Two images, the second with one page in a hundred replaced: what databases and virtual machines do all day.
#[test]
fn scattered_changes_cost_their_own_chunks() {
    let (_folder, gdd) = store("image");
    let scale = sized(16, 256);
    let before = Stream::new(Content::Image { text: 8 * scale, random: 4 * scale }, 35, 16 * scale * MIB);
    let after = before.clone().changed(36, 100);
    let mut serial = Serial::default();
    assert_eq!(counted(&gdd.put("before", before.clone())), serial.add(before.clone()));
    let found = counted(&gdd.put("after", after.clone()));
    assert_eq!(found, serial.add(after.clone()));
    let changed = changed_bytes(before, after);
    println!(
        "{} bytes changed, {} bytes added: {} times",
        changed,
        found.new_bytes,
        found.new_bytes / changed
    );
    assert!(found.new_bytes <= 11 * changed, "{changed} bytes changed: {found:?}");
}

fn changed_bytes(mut before: Stream, mut after: Stream) -> u64 {
    let (mut changed, mut pages) = (0, [vec![0; PAGE_SIZE], vec![0; PAGE_SIZE]]);
    for _ in 0..before.length() / PAGE_SIZE as u64 {
        before.read_exact(&mut pages[0]).expect("a generated stream can be read");
        after.read_exact(&mut pages[1]).expect("both are as long");
        changed += if pages[0] == pages[1] { 0 } else { PAGE_SIZE as u64 };
    }
    changed
}

/// Only with `GDD_TEST_FULL=1`: two gigabytes of real files.
#[test]
fn real_files_are_cut_and_counted_as_the_crate_does() {
    if !is_full() {
        return;
    }
    let (_folder, gdd) = store("real");
    let mut expected = None;
    for run in 0..2 {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sort=name", "--directory=/usr", "."]).stdout(Stdio::piped());
        let mut child = tar.spawn().expect("tar starts");
        let output = child.stdout.take().expect("standard output is a pipe").take(2 << 30);
        match run {
            0 => expected = Some(Serial::default().add(output)),
            _ => assert_eq!(Some(counted(&gdd.put("usr", output))), expected),
        }
        let _ = child.kill(); // It had more to say.
        child.wait().unwrap();
    }
}
