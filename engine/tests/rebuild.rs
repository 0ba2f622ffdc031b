//! An index that is made anew forgets nothing that keeps data safe.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::fs;
use std::path::PathBuf;

use gdd_engine::error::Error;
use gdd_engine::fsck;
use gdd_engine::index::{ContainerState, MetaKey};
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

/// A chunk that could not be given back is stored again, and that copy rots. The older one was spared after all: a
/// wrong alarm, say, of a cable.
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
        put(&store, "filler", &noise(2, 5 * MIB)); // Seals the containers: what has rotted in an open one is cut off.
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

/// Rot in chunk `at` of a stream, which a scrub has found.
fn known_rot(place: &Place, at: usize) {
    let store = place.open();
    put(&store, "one", &noise(1, 3 * MIB));
    store.close().unwrap();
    let store = place.open();
    rot(&store, &chunks_of(&store, "one")[at].1);
    let report = store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    assert_eq!((report.chunks_bad, report.chunks_suspect), (1, 1), "{report:?}");
    store.close().unwrap();
}

#[test]
fn what_is_known_to_be_damaged_stays_known_to_be() {
    let place = Place::new();
    known_rot(&place, 20);
    let before = place.open();
    let checked = before.core().index.checked().unwrap();
    before.close().unwrap();
    let rebuilt = rebuild(&place);
    assert_eq!((rebuilt.suspects, rebuilt.containers_unchecked), (1, 0), "{rebuilt:?}");
    let store = place.open();
    assert_eq!((store.core().index.checked().unwrap(), store.core().unchecked.count()), (checked, 0));
    let brought = put(&store, "again", &noise(1, 3 * MIB));
    assert!((1..200_000).contains(&brought), "the lost chunk comes again, and nothing else: {brought}");
    assert!(get(&store, "one").unwrap() == noise(1, 3 * MIB), "which heals the stream that needs it");
    vacuum(&store).unwrap();
    place.check(store);
}

#[test]
fn containers_that_leave_go_on_leaving() {
    let place = Place::new();
    let store = place.open();
    put(&store, "one", &noise(1, 4 * MIB));
    let mut reading = store.get("one").unwrap();
    let _ = reading.next().unwrap();
    store.remove("one").unwrap();
    assert!(vacuum(&store).unwrap().waiting_for_readers > 0);
    drop(reading);
    store.close().unwrap();
    let store = place.open();
    let states = |store: &Store| -> Vec<_> {
        let rows = store.core().index.containers().unwrap();
        rows.into_iter().map(|(id, row)| (id, row.state)).collect()
    };
    let before = states(&store);
    assert!(before.iter().any(|(_, state)| *state == ContainerState::Draining), "{before:?}");
    store.close().unwrap();
    rebuild(&place);
    let store = place.open();
    let now = states(&store);
    for (id, state) in before.iter().filter(|(_, state)| *state == ContainerState::Draining) {
        assert!(now.contains(&(*id, *state)), "{now:?}");
    }
    vacuum(&store).unwrap();
    place.check(store);
}

/// With the index, what was known of damage is lost: until a scrub has read a container, nobody relies on it.
#[test]
fn without_the_old_index_nothing_counts_as_known_before_it_is_checked() {
    let place = Place::new();
    known_rot(&place, 20);
    fs::remove_dir_all(place.dir.join("index")).unwrap();
    let rebuilt = rebuild(&place);
    assert_eq!((rebuilt.suspects, rebuilt.containers_unchecked), (0, rebuilt.containers), "{rebuilt:?}");
    let store = place.open();
    assert!(store.core().unchecked.count() > 0 && !store.notes().is_empty());
    assert_eq!(store.done_at(MetaKey::Scrubbed).unwrap(), 0, "a daemon begins at once");
    assert_eq!(put(&store, "again", &noise(1, 3 * MIB)), 3 * MIB as u64);
    assert!(get(&store, "one").unwrap() == noise(1, 3 * MIB), "healed, although nobody knew");
    drop(store);
    let store = place.open();
    assert!(store.core().unchecked.count() > 0, "nor after a crash");
    store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    assert_eq!(store.core().unchecked.count(), 0);
    assert_eq!(put(&store, "third", &noise(1, 3 * MIB)), 0);
    store.close().unwrap();
    let store = place.open();
    assert_eq!(store.core().unchecked.count(), 0);
    vacuum(&store).unwrap();
    place.check(store);
}

/// Without a backup in between nothing is stored twice: the scrub finds what is damaged, and the rest is known again.
#[test]
fn a_scrub_that_is_cut_off_has_checked_what_it_has_read() {
    let place = Place::new();
    known_rot(&place, 20);
    fs::remove_dir_all(place.dir.join("index")).unwrap();
    rebuild(&place);
    let store = place.open();
    let all = store.core().unchecked.count();
    let report =
        store.scrub(&Default::default(), &mut |_| (), &mut |_| store.core().unchecked.count() == all);
    assert!(report.unwrap().cancelled);
    let some = store.core().unchecked.count();
    assert!(some > 0 && some < all, "{some} of {all}");
    drop(store);
    let store = place.open();
    assert_eq!(store.core().unchecked.count(), some);
    store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    assert!((1..200_000).contains(&put(&store, "again", &noise(1, 3 * MIB))));
    assert!(get(&store, "one").unwrap() == noise(1, 3 * MIB));
    store.close().unwrap();
}
