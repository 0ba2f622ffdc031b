//! The chunk tuner in a real store: it changes sizes where nothing is lost, repeats what it did, and never makes
//! repeated data dedup worse.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use gdd_engine::format::superblock::Settings;
use gdd_engine::ingest::{PutOptions, PutSummary};
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;

const LEN: usize = 3_000_000;
const WINDOW: u64 = 500_000;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn options() -> Options {
    Options { workers: Some(2), pin: false, ..Options::default() }
}

fn make(dir: &Path, tuner: bool) {
    let (chunk_size_min, chunk_size_avg, chunk_size_max) = (2 << 10, 8 << 10, 32 << 10);
    let settings = Settings {
        chunk_size_min,
        chunk_size_avg,
        chunk_size_max,
        container_size: 1 << 20,
        tuner,
        ..Settings::default()
    };
    Store::init(dir, &settings, &options()).unwrap();
}

fn put(store: &Store, name: &str, bytes: &[u8]) -> PutSummary {
    put_as(store, "lineage", name, bytes)
}

fn put_as(store: &Store, lineage: &str, name: &str, bytes: &[u8]) -> PutSummary {
    let options =
        PutOptions { lineage: Some(lineage.to_owned()), tuner_window: WINDOW, ..PutOptions::default() };
    let mut put = store.put_with(name, options).unwrap();
    put.write(bytes).unwrap();
    put.finish().unwrap()
}

fn restored(store: &Store, name: &str) -> Vec<u8> {
    let mut get = store.get(name).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = get.next().unwrap() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

/// Bytes that all generations together bring new.
fn new_bytes(tuner: bool, generations: &[Vec<u8>]) -> u64 {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), tuner);
    let store = Store::open(root.path(), Access::ReadWrite, &options()).unwrap();
    let names = (0..generations.len()).map(|number| format!("stream-{number}"));
    let all: Vec<_> =
        names.zip(generations).map(|(name, bytes)| put(&store, &name, bytes).new_bytes).collect();
    store.close().unwrap();
    all.iter().sum()
}

#[test]
fn a_lineage_that_never_repeats_gets_larger_chunks_and_is_cut_again_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), true);
    let store = Store::open(root.path(), Access::ReadWrite, &options()).unwrap();
    for seed in 1..=3 {
        let summary = put(&store, &seed.to_string(), &noise(seed, LEN));
        assert_eq!((summary.chunk_size_avg, summary.chunk_size_switch), (8 << 10, None), "{seed}");
    }
    let last = noise(4, LEN);
    let fourth = put(&store, "4", &last);
    let switch = fourth.chunk_size_switch.unwrap();
    assert_eq!((switch.at, switch.chunk_size_avg), (WINDOW, 16 << 10), "{fourth:?}");
    assert!(fourth.chunk_size_why.contains("nothing was known"), "{fourth:?}");
    let again = put(&store, "5", &last);
    assert_eq!((again.new_bytes, again.chunk_size_switch), (0, Some(switch)));
    let old = put(&store, "old", &noise(3, LEN));
    assert_eq!((old.new_bytes, old.chunk_size_switch), (0, None), "a twin from before the change");
    store.close().unwrap();

    // The memory is the recipes: it outlives the index.
    std::fs::remove_dir_all(root.path().join("index")).unwrap();
    gdd_engine::rebuild::rebuild_index(root.path(), &options(), &mut |_| {}).unwrap();
    let store = Store::open(root.path(), Access::ReadWrite, &options()).unwrap();
    store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap(); // Before that nothing counts as known.
    let mut longer = last.clone();
    longer.insert(LEN / 10, 7);
    let sixth = put(&store, "6", &longer);
    assert_eq!(sixth.chunk_size_switch, Some(switch));
    assert!(sixth.new_chunks <= 4, "a byte more moves the forced cut and one other: {sixth:?}");
    let short = put(&store, "7", &last[..usize::try_from(WINDOW).unwrap()]);
    assert_eq!(short.chunk_size_switch, None, "it ended before the point");
    let eighth = put(&store, "8", &last);
    assert_eq!((eighth.new_bytes, eighth.chunk_size_switch), (0, Some(switch)));
    assert!(restored(&store, "4") == last && restored(&store, "6") == longer);
    store.close().unwrap();
    let report = gdd_engine::fsck::check(root.path(), 3, &options(), &mut |_| {}).unwrap();
    assert!(report.clean, "{:?}", report.findings);
}

#[test]
fn a_lineage_that_was_known_and_is_replaced_by_something_longer_gets_smaller_chunks() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), true);
    let store = Store::open(root.path(), Access::ReadWrite, &options()).unwrap();
    for name in ["1", "2", "3"] {
        assert_eq!(put(&store, name, &noise(1, LEN)).chunk_size_switch, None);
    }
    let longer = noise(2, 2 * LEN);
    let fourth = put(&store, "4", &longer);
    let switch = fourth.chunk_size_switch.unwrap();
    assert_eq!((switch.at, switch.chunk_size_avg), (LEN as u64, 4 << 10), "{fourth:?}");
    let again = put(&store, "5", &longer);
    assert_eq!((again.new_bytes, again.chunk_size_switch), (0, Some(switch)));
    assert!(restored(&store, "5") == longer);
    store.close().unwrap();
}

#[test]
fn lineages_do_not_mix_and_damage_does_not_stop_a_put() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), true);
    let store = Store::open(root.path(), Access::ReadWrite, &options()).unwrap();
    for seed in 1..=3 {
        put(&store, &seed.to_string(), &noise(seed, LEN));
    }
    let summary = put_as(&store, "other", "other", &noise(9, LEN));
    assert_eq!(summary.chunk_size_switch, None, "{summary:?}");
    let mut stream = store.put("none").unwrap();
    stream.write(&noise(10, LEN)).unwrap();
    assert_eq!(stream.finish().unwrap().chunk_size_switch, None);
    let unusable = PutOptions { lineage: Some(String::new()), ..PutOptions::default() };
    assert!(store.put_with("unusable", unusable).is_err());
    for side in ["a", "b"] {
        for entry in std::fs::read_dir(root.path().join("recipes").join(side)).unwrap() {
            std::fs::write(entry.unwrap().path(), vec![0; 8192]).unwrap();
        }
    }
    let summary = put(&store, "4", &noise(4, LEN));
    assert_eq!(summary.chunk_size_switch, None, "nothing is known of its lineage any more");
}

#[test]
fn the_same_data_in_two_lineages_is_stored_once() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), true);
    let store = Store::open(root.path(), Access::ReadWrite, &options()).unwrap();
    for seed in 1..=7 {
        let mut bytes = noise(seed, LEN);
        let first = put_as(&store, "first", &format!("first-{seed}"), &bytes);
        assert_eq!(first.chunk_size_switch.is_some(), seed > 3, "{first:?}");
        bytes.insert(100, 7); // The other one has a header.
        let other = put_as(&store, "other", &format!("other-{seed}"), &bytes);
        assert_eq!(other.chunk_size_switch, first.chunk_size_switch);
        assert!(other.new_chunks <= 4, "{other:?}");
    }
    store.close().unwrap();
}

#[test]
fn repeated_data_dedups_as_without_the_tuner() {
    let base = noise(1, LEN);
    let scattered = |seed: usize| {
        let mut bytes = base.clone();
        for number in 0..8 {
            let at = (seed * 7919 + number * 104_729) % (LEN - 4096);
            bytes[at..at + 4096].copy_from_slice(&noise((seed * 100 + number) as u64, 4096));
        }
        bytes
    };
    let grown = |count: u64| (1..=count).flat_map(|seed| noise(seed, LEN / 2)).collect::<Vec<u8>>();
    let shifted = |count: usize| [noise(99, count * 1000), base.clone()].concat();
    let replaced = |seed: u64| [noise(100 + seed, LEN / 2), base.clone()].concat();
    let corpora: [(&str, Vec<Vec<u8>>); 7] = [
        ("unchanged", vec![base.clone(); 6]),
        ("scattered writes", (1..=6).map(scattered).collect()),
        ("appended", (1..=6).map(grown).collect()),
        ("shifted", (1..=6).map(shifted).collect()),
        ("a new part before a known one", (1..=6).map(replaced).collect()),
        // The probe meets the third again.
        ("new, then the last again", [1, 2, 3, 3, 3, 3].map(|seed| noise(seed, LEN)).to_vec()),
        // Larger chunks from the fourth on; then it repeats.
        ("new, then repeated", [1, 2, 3, 4, 4, 4].map(|seed| noise(seed, LEN)).to_vec()),
    ];
    for (name, generations) in corpora {
        let [off, on] = [false, true].map(|tuner| new_bytes(tuner, &generations));
        assert!(on <= off, "{name}: {on} new bytes with the tuner, {off} without");
    }
}
