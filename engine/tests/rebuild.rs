//! An index that is made anew forgets nothing that keeps data safe.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::fs;
use std::path::PathBuf;

use gdd_engine::error::Error;
use gdd_engine::fsck;
use gdd_engine::rebuild::{self, Rebuilt};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumReport;
use place::{MIB, Place, chunks_of, get, noise, options, put, rot};

fn rebuild(place: &Place) -> Rebuilt {
    rebuild::rebuild_index(&place.dir, &options(), &mut |_| ()).unwrap()
}

fn vacuum(store: &Store) -> Result<VacuumReport, Error> {
    store.vacuum(&Default::default(), &mut |_| (), &mut |_| true)
}

/// Both copies of the recipe of a stream.
fn recipes(store: &Store, name: &str) -> [PathBuf; 2] {
    let recipe = store.list().unwrap().into_iter().find(|row| row.name == name).unwrap().recipe;
    ["a", "b"].map(|side| store.core().paths.recipes().join(side).join(format!("{recipe}.gdr")))
}

/// Change the bytes at `at` in each of `files`.
fn ruin(files: &[PathBuf], at: std::ops::Range<usize>) {
    for file in files {
        let mut bytes = fs::read(file).unwrap();
        bytes[at.clone()].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(file, bytes).unwrap();
    }
}

#[test]
fn a_stream_that_cannot_be_read_is_not_forgotten() {
    let place = Place::new();
    let store = place.open();
    put(&store, "hit", &noise(1, 3 * MIB));
    put(&store, "spared", &noise(2, 3 * MIB));
    let files = recipes(&store, "hit");
    store.close().unwrap();
    ruin(&files, 4096..8192);
    fs::remove_dir_all(place.dir.join("index")).unwrap();
    let rebuilt = rebuild(&place);
    assert_eq!((rebuilt.streams, rebuilt.streams_unreadable.as_slice()), (2, &["hit".to_owned()][..]));
    let chunks = rebuilt.chunks;
    let report = fsck::check(&place.dir, 3, &options(), &mut |_| ()).unwrap();
    assert!(report.is_damaged() && report.streams_affected[0].recipe_lost, "{report:?}");
    let store = place.open();
    assert!(get(&store, "hit").is_err());
    let refused = vacuum(&store).unwrap_err().to_string();
    assert!(refused.contains("nothing is freed") && refused.contains("hit"), "{refused}");
    assert!(get(&store, "spared").unwrap() == noise(2, 3 * MIB));
    assert_eq!(store.stats().unwrap().chunks, chunks, "nothing was freed");
    store.remove("hit").unwrap();
    assert!(vacuum(&store).unwrap().freed_bytes > 2 * MIB as u64, "given up, it holds nothing up");
    place.check(store);
}

/// A chunk that could not be given back is stored again, and that copy rots. The older one was spared after all: a wrong
/// alarm, say, of a cable.
#[test]
fn of_two_copies_the_good_one_is_used() {
    for (young_rots, old_rots) in [(false, true), (true, false), (true, true), (false, false)] {
        let place = Place::new();
        let store = place.open();
        put(&store, "one", &noise(1, 3 * MIB));
        let (hash, old) = chunks_of(&store, "one")[20];
        store.core().suspects.note(hash);
        put(&store, "again", &noise(1, 3 * MIB));
        let (again, young) = chunks_of(&store, "one")[20];
        assert!(again == hash && young != old, "it is stored twice");
        store.close().unwrap();
        let store = place.open();
        if young_rots {
            rot(&store, &young);
        }
        if old_rots {
            rot(&store, &old);
        }
        store.close().unwrap();
        let rebuilt = rebuild(&place);
        assert!(rebuilt.chunks_twice >= 1, "{rebuilt:?}");
        assert_eq!(rebuilt.chunks_rotten, u64::from(young_rots && old_rots), "{rebuilt:?}");
        let store = place.open();
        let used = chunks_of(&store, "one")[20].1;
        let expected = if young_rots && !old_rots { old } else { young };
        assert_eq!(
            (used.container, used.offset),
            (expected.container, expected.offset),
            "{young_rots} {old_rots}"
        );
        assert_eq!(get(&store, "one").is_ok(), !(young_rots && old_rots));
        let brought = put(&store, "once more", &noise(1, 3 * MIB));
        assert_eq!(brought > 0, young_rots && old_rots, "what no copy gives back is brought again");
        assert!(get(&store, "one").unwrap() == noise(1, 3 * MIB));
        store.close().unwrap();
    }
}
