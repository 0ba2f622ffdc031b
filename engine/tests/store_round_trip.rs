//! Streams go into a real store and come back, across openings.
#![allow(missing_docs, clippy::unwrap_used)]

use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;

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

fn restore(store: &Store, name: &str) -> Vec<u8> {
    let mut get = store.get(name).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = get.next().unwrap() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

#[test]
fn streams_come_back_across_openings() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    Store::init(&dir, &Settings::default(), &options).unwrap();
    let lengths = [0, 1, 4095, 4096, 65_536, 70_001, 4 << 20, (4 << 20) + 1, 20_000_000];
    for opening in 0..3 {
        let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
        assert!(store.notes().iter().all(|note| !note.contains("recovery")), "{:?}", store.notes());
        for (number, len) in lengths.into_iter().enumerate() {
            let mut put = store.put(&format!("{opening}-{number}")).unwrap();
            put.write(&noise(number as u64, len)).unwrap();
            let summary = put.finish().unwrap();
            assert_eq!(summary.bytes, len as u64);
            if opening > 0 {
                assert_eq!(summary.new_bytes, 0, "{number} was stored before");
            }
        }
        store.close().unwrap();
    }
    let store = Store::open(&dir, Access::ReadOnly, &options).unwrap();
    assert_eq!(store.list().unwrap().len(), 3 * lengths.len());
    for opening in 0..3 {
        for (number, len) in lengths.into_iter().enumerate() {
            assert!(
                restore(&store, &format!("{opening}-{number}")) == noise(number as u64, len),
                "{opening}-{number}"
            );
        }
    }
    let stats = store.stats().unwrap();
    assert_eq!(stats.streams, 27);
    drop(store);
    let report = gdd_engine::fsck::check(&dir, 3, &options, &mut |_| {}).unwrap();
    assert!(report.clean, "{:?}", report.findings);
    assert!(report.chunks > 0);
}

#[test]
fn a_store_that_was_dropped_recovers() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    Store::init(&dir, &Settings::default(), &options).unwrap();
    let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
    let mut put = store.put("kept").unwrap();
    put.write(&noise(1, 9_000_000)).unwrap();
    put.finish().unwrap();
    let mut put = store.put("abandoned").unwrap();
    put.write(&noise(2, 9_000_000)).unwrap();
    drop(put);
    drop(store); // Not closed.
    let report = gdd_engine::fsck::check(&dir, 3, &options, &mut |_| {}).unwrap();
    assert!(report.clean, "{:?}", report.findings);
    let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
    assert!(store.notes().iter().any(|note| note.contains("not closed cleanly")), "{:?}", store.notes());
    assert!(restore(&store, "kept") == noise(1, 9_000_000));
    assert!(store.get("abandoned").is_err());
    store.remove("kept").unwrap();
    assert!(store.get("kept").is_err());
    store.close().unwrap();
    let rebuilt = gdd_engine::rebuild::rebuild_index(&dir, &options, &mut |_| {}).unwrap();
    assert!(rebuilt.chunks > 0 && rebuilt.streams == 0, "{rebuilt:?}");
    let report = gdd_engine::fsck::check(&dir, 3, &options, &mut |_| {}).unwrap();
    assert!(report.clean, "{:?}", report.findings);
}

#[test]
fn containers_made_ahead_and_not_used_are_used_by_the_next_opening() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let options = Options { workers: Some(1), pin: false, ..Options::default() };
    let settings = Settings { container_size: 8 << 20, ..Settings::default() };
    Store::init(&dir, &settings, &options).unwrap();
    let count = |below: &str| std::fs::read_dir(dir.join(below)).unwrap().count();
    for opening in 0..4 {
        let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
        let mut put = store.put(&opening.to_string()).unwrap();
        put.write(&noise(opening, 5_000_000)).unwrap(); // More than half a container: the next one is ordered.
        put.finish().unwrap();
        store.close().unwrap();
        let used = usize::try_from(opening).unwrap() * 5 / 8 + 1;
        assert!(count("containers") <= used + 1, "{} of about {used} containers", count("containers"));
        assert!(count("pool") <= 1);
    }
    assert!(gdd_engine::fsck::check(&dir, 3, &options, &mut |_| {}).unwrap().clean);
}
