//! The time of each stage is recorded, in a store at work, and not while that is switched off.
#![allow(missing_docs, clippy::unwrap_used)]

use gdd_engine::format::superblock::Settings;
use gdd_engine::observe::{Kind, Stage};
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"stages").finalize_xof().fill(&mut bytes);
    bytes
}

fn count(store: &Store, stage: Stage) -> u64 {
    store.histograms().times(stage).histogram.len()
}

fn put(store: &Store, name: &str, bytes: &[u8]) {
    let mut put = store.put(name).unwrap();
    put.write(bytes).unwrap();
    put.finish().unwrap();
}

fn read(store: &Store, name: &str) {
    let mut get = store.get(name).unwrap();
    while get.next().unwrap().is_some() {}
}

#[test]
fn every_stage_of_the_engine_is_recorded() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    Store::init(&dir, &Settings::default(), &options).unwrap();
    let bytes = noise(60_000_000);
    let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
    put(&store, "new", &bytes);
    // Of an extent of 4 MiB each worker places its share at once: few records, whatever the chunks.
    let extents = bytes.len().div_ceil(4 << 20) as u64;
    assert_eq!(count(&store, Stage::CutHash), extents);
    for stage in [Stage::Filter, Stage::Append] {
        let found = count(&store, stage);
        assert!((1..=8 * extents).contains(&found), "{stage:?}: {found}");
    }
    for stage in [Stage::StreamWait, Stage::Write, Stage::Sync, Stage::Commit] {
        assert!(count(&store, stage) > 0, "{stage:?}");
    }
    assert_eq!(count(&store, Stage::Write), count(&store, Stage::Sync), "each round has each stage once");
    assert_eq!(count(&store, Stage::Commit), count(&store, Stage::Sync));
    let busy = store.histograms().times(Stage::CutHash).sum;
    assert!(busy > 60_000_000 / 50, "cutting and hashing 60 MB takes longer than {busy} ns");
    store.close().unwrap();

    let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
    put(&store, "known", &bytes);
    assert!(count(&store, Stage::Index) > 0, "a store just opened asks its index");
    let appended = count(&store, Stage::Append);
    assert_eq!(appended, 0, "nothing was new");
    read(&store, "new");
    read(&store, "new");
    for kind in Kind::ALL {
        assert!(count(&store, kind.stage()) > 0, "{kind:?}");
    }
}

#[test]
fn recording_can_be_switched_off_and_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let options = Options { workers: Some(1), pin: false, ..Options::default() };
    Store::init(&dir, &Settings::default(), &options).unwrap();
    let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
    let bytes = noise(9_000_000);
    store.histograms().set_recording(false);
    put(&store, "one", &bytes);
    read(&store, "one");
    assert!(Stage::ALL.into_iter().all(|stage| count(&store, stage) == 0));
    store.histograms().set_recording(true);
    put(&store, "two", &bytes[1..]);
    read(&store, "two");
    for stage in [Stage::CutHash, Stage::Filter, Stage::RecallCacheHit] {
        assert!(count(&store, stage) > 0, "{stage:?}");
    }
}
