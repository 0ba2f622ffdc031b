//! New data does not ask the index, and known data asks it for one chunk of many.
#![allow(missing_docs, clippy::unwrap_used)]

mod place;

use gdd_engine::format::superblock::Settings;
use gdd_engine::options::Access;
use gdd_engine::store::Store;
use place::{MIB, noise, options, put};

/// Streams of 32 MiB: together some thirteen thousand chunks, enough to tell one in a hundred from none.
const STREAMS: u64 = 8;

#[test]
fn new_data_does_not_ask_the_index_and_known_data_hardly_does() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = root.path().join("store");
    // Small enough that most are sealed and have a directory, large enough to be worth loading it.
    let settings = Settings { container_size: 16 << 20, ..Settings::default() };
    Store::init(&dir, &settings, &options()).unwrap();
    let store = Store::open(&dir, Access::ReadWrite, &options()).unwrap();
    let added: u64 =
        (0..STREAMS).map(|seed| put(&store, &format!("new-{seed}"), &noise(seed, 32 * MIB))).sum();
    assert_eq!(added, STREAMS * 32 * MIB as u64);
    let new = store.stats().unwrap();
    let (asked, saved) = (new.filter.lookups.hot_lookups, new.filter.lookups.index_lookups_saved);
    assert!(new.chunks > 10_000 && asked >= new.chunks, "each chunk is looked up: {new:?}");
    assert!(saved * 100 >= asked * 99, "{new:?}");
    store.close().unwrap();

    // Opened anew, so that nothing of it is remembered.
    let store = Store::open(&dir, Access::ReadWrite, &options()).unwrap();
    let again: u64 =
        (0..STREAMS).map(|seed| put(&store, &format!("known-{seed}"), &noise(seed, 32 * MIB))).sum();
    assert_eq!(again, 0);
    let known = store.stats().unwrap();
    assert!(known.near_hits + known.index_lookups >= known.chunks, "{known:?}");
    assert!(known.index_lookups * 3 <= known.chunks, "{known:?}");
    store.close().unwrap();
}
