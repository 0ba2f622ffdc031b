//! A chunk that has rotted: noticed by a restore, remembered, and healed by the next backup that brings it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck::{self, Part};
use gdd_engine::ids::ChunkHash;
use gdd_engine::options::{Access, Options};
use gdd_engine::rebuild;
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;

fn options() -> Options {
    Options { workers: Some(2), pin: false, ..Options::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Access::ReadWrite, &options()).unwrap()
}

fn get(store: &Store, stream: &str) -> Result<Vec<u8>, Error> {
    let (mut get, mut bytes) = (store.get(stream)?, Vec::new());
    while let Some(part) = get.next()? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn put(store: &Store, stream: &str, bytes: &[u8]) -> u64 {
    let mut put = store.put(stream).unwrap();
    put.write(bytes).unwrap();
    put.finish().unwrap().new_chunks
}

/// Flip a bit in the only copy of some chunk.
fn rot(store: &Store) -> ChunkHash {
    let mut victim = None;
    store
        .core()
        .index
        .for_each_chunk(&mut |hash, entry| {
            victim.get_or_insert((hash, entry));
            Ok(())
        })
        .unwrap();
    let (hash, entry) = victim.unwrap();
    let path = store.core().paths.container(entry.container);
    let file = File::options().read(true).write(true).open(path).unwrap();
    let (at, mut byte) = (u64::from(entry.offset + entry.stored_len / 2), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    hash
}

#[test]
fn rot_is_remembered_and_healed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    Store::init(&dir, &Settings::default(), &options()).unwrap();
    let mut bytes = vec![0; 3_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let store = open(&dir);
    assert!(put(&store, "first", &bytes) > 10);
    rot(&store);
    store.close().unwrap();

    let store = open(&dir);
    assert_eq!(store.core().suspects.count(), 0, "nobody has looked");
    assert!(get(&store, "first").is_err());
    assert_eq!(store.core().suspects.count(), 1);
    store.close().unwrap();

    // The next process knows, although the chunk's container lists it as any other.
    let store = open(&dir);
    assert_eq!(store.core().suspects.count(), 1);
    let again = put(&store, "second", &bytes);
    assert!(again > 0, "the damaged chunk is stored again, and its container is not filled further");
    assert_eq!(store.core().suspects.count(), 0);
    assert!(get(&store, "first").unwrap() == bytes, "both streams are whole again");
    (0..2).for_each(|_| drop(store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap()));
    store.close().unwrap();

    let store = open(&dir);
    assert_eq!(store.core().suspects.count(), 0);
    assert_eq!(put(&store, "third", &bytes), 0);
    assert!(get(&store, "second").unwrap() == bytes);
    store.close().unwrap();
}

#[test]
fn a_store_that_is_read_only_writes_nothing_down() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    Store::init(&dir, &Settings::default(), &options()).unwrap();
    let store = open(&dir);
    put(&store, "first", &[7; 200_000]);
    rot(&store);
    store.close().unwrap();
    let store = Store::open(&dir, Access::ReadOnly, &options()).unwrap();
    assert!(get(&store, "first").is_err());
    assert_eq!(store.core().suspects.count(), 1);
    store.close().unwrap();
    assert!(!fsck::check(&dir, 3, &options(), &mut |_| {}).unwrap().clean);
    let store = open(&dir);
    assert_eq!(store.core().suspects.count(), 0);
    store.close().unwrap();
}

#[test]
fn what_is_healed_into_its_own_container_is_nobodys_damage() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let settings = Settings { container_size: 1 << 20, ..Settings::default() };
    let options = Options { workers: Some(1), ..options() };
    Store::init(&dir, &settings, &options).unwrap();
    let noise = |seed: u64, len| {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    let (bytes, more) = (noise(1, 300_000), noise(2, 3_000_000));
    let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
    put(&store, "first", &bytes);
    let hash = rot(&store);
    assert!(get(&store, "first").is_err());
    let place = || {
        let mut found = Vec::new();
        store.core().index.locate(&[hash], &mut found).unwrap();
        found[0].unwrap()
    };
    let before = place();
    assert_eq!(put(&store, "second", &bytes), 1);
    let after = place();
    assert_eq!(before.container, after.container);
    assert!(before.offset < after.offset, "the container that was being filled has both");
    assert!(get(&store, "first").unwrap() == bytes);
    put(&store, "more", &more);
    assert!(store.core().index.container(after.container).unwrap().unwrap().state.has_footer(), "it is full");
    store.close().unwrap();

    // The container has rotted, but no chunk is lost, and index and directory agree.
    let expect_whole = |clean: bool| {
        let report = fsck::check(&dir, 3, &options, &mut |_| {}).unwrap();
        assert_eq!((report.clean, report.chunks_bad), (clean, 0), "{report:?}");
        assert!(report.findings.iter().all(|finding| finding.part == Part::Container), "{report:?}");
        let store = Store::open(&dir, Access::ReadWrite, &options).unwrap();
        let streams = [("first", &bytes), ("second", &bytes), ("more", &more)];
        streams.iter().for_each(|(name, bytes)| assert!(get(&store, name).unwrap() == **bytes));
        store
    };
    expect_whole(false).close().unwrap();
    rebuild::rebuild_index(&dir, &options, &mut |_| ()).unwrap();
    let store = expect_whole(false);
    store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    (0..2).for_each(|_| drop(store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap()));
    store.close().unwrap();
    expect_whole(true).close().unwrap();
}

/// Recovery finds that a container that was being filled is damaged; the store is closed in order; the next opening
/// looks at nothing.
#[test]
fn damage_that_recovery_found_is_remembered() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    Store::init(&dir, &Settings::default(), &options()).unwrap();
    let mut bytes = vec![0; 3_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let store = open(&dir);
    put(&store, "first", &bytes);
    rot(&store);
    drop(store); // As after a crash.
    let store = open(&dir);
    assert!(store.notes().iter().any(|note| note.contains("is damaged")), "{:?}", store.notes());
    store.close().unwrap();
    let store = open(&dir);
    assert!(put(&store, "second", &bytes) > 0, "what lies there counts as unknown");
    assert!(get(&store, "second").unwrap() == bytes);
    (0..2).for_each(|_| drop(store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap()));
    assert!(get(&store, "first").unwrap() == bytes, "and the older stream is whole again");
    store.close().unwrap();
    let report = fsck::check(&dir, 3, &options(), &mut |_| {}).unwrap();
    assert!(report.clean, "{report:?}");
}
