//! What cannot be read now may be read later, and what the index looks for elsewhere may be the only good copy: neither
//! is freed, and what is needed of it is moved.
#![allow(missing_docs, clippy::unwrap_used)]

mod place;

use std::fs;
use std::path::{Path, PathBuf};

use gdd_engine::fsck;
use gdd_engine::index::{Batch, CheckedRow, ContainerState};
use gdd_engine::rebuild::{self, Rebuilt};
use gdd_engine::scrub::{ScrubReport, blame::Blame};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use place::{MIB, Place, chunks_of, copy_folder, get, noise, options, put, rot};

fn rebuild(place: &Place) -> Rebuilt {
    rebuild::rebuild_index(&place.dir, &options(), &mut |_| ()).unwrap()
}

fn vacuum(store: &Store, dead_share: f64) {
    let options = VacuumOptions { dead_share, ..VacuumOptions::default() };
    for _ in 0..2 {
        store.vacuum(&options, &mut |_| (), &mut |_| true).unwrap();
    }
}

fn scrub(store: &Store) -> ScrubReport {
    store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap()
}

fn containers(place: &Place) -> Vec<PathBuf> {
    files(&place.dir.join("containers"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Zeros from byte `from` on, as if it could not be read; returns what was there.
fn hide(file: &Path, from: usize) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let mut hidden = bytes.clone();
    hidden[from..].fill(0);
    fs::write(file, hidden).unwrap();
    bytes
}

/// A rebuild while a disk does not give a container, or a part of it; later it does.
fn hidden_during_a_rebuild(lost: bool, from: usize) {
    let what = format!("index lost {lost}, hidden from {from}");
    let (place, one) = (Place::new(), noise(1, 3 * MIB));
    let store = place.open();
    put(&store, "one", &one);
    store.close().unwrap();
    let victim = containers(&place).into_iter().next().unwrap();
    let bytes = hide(&victim, from);
    if lost {
        fs::remove_dir_all(place.dir.join("index")).unwrap();
    }
    let rebuilt = rebuild(&place);
    assert_eq!(rebuilt.containers_unreadable, 1, "{what}: {rebuilt:?}");
    // Nothing of it is given up while it is away.
    let store = place.open();
    assert!(get(&store, "one").is_err(), "{what}");
    vacuum(&store, 0.0);
    assert!(victim.exists(), "{what}: a stream needs it");
    store.close().unwrap();
    fs::write(&victim, bytes).unwrap();
    let store = place.open();
    vacuum(&store, 0.0);
    assert!(get(&store, "one").unwrap() == one, "{what}");
    assert_eq!(victim.exists(), from == 0, "{what}: one that could be read in part is emptied");
    store.close().unwrap();
    rebuild(&place);
    let store = place.open();
    assert!(get(&store, "one").unwrap() == one, "{what}, and nowhere else");
    store.close().unwrap();
}

#[test]
fn a_container_that_a_rebuild_cannot_read_is_kept_for_what_is_needed() {
    for lost in [false, true] {
        hidden_during_a_rebuild(lost, 0);
    }
    // Without the old index nobody knows how far it went.
    hidden_during_a_rebuild(false, MIB / 2);
}

#[test]
fn an_older_copy_gives_back_what_has_rotted_in_the_younger() {
    let (place, one) = (Place::new(), noise(1, 3 * MIB));
    let store = place.open();
    put(&store, "one", &one);
    let (hash, old) = chunks_of(&store, "one")[20];
    store.core().suspects.note(hash);
    put(&store, "again", &one);
    let (_, young) = chunks_of(&store, "one")[20];
    assert_ne!(young, old, "it is stored twice");
    put(&store, "filler", &noise(2, 5 * MIB));
    store.close().unwrap();
    let store = place.open();
    rot(&store, &young);
    let report = scrub(&store);
    assert_eq!((report.chunks_bad, report.chunks_suspect), (1, 1), "{report:?}");
    assert!(get(&store, "one").is_err());
    vacuum(&store, 0.0);
    assert!(get(&store, "one").unwrap() == one, "by the copy that the index did not look for");
    place.check(store);
}

/// As when a bit of RocksDB's log has changed: it is replayed up to there, and nobody hears of the rest.
#[test]
fn an_index_that_has_forgotten_a_vacuum_loses_nothing() {
    let (place, kept) = (Place::new(), noise(1, MIB));
    let store = place.open();
    put(&store, "gone", &noise(1, 4 * MIB));
    put(&store, "kept", &kept);
    store.remove("gone").unwrap();
    store.close().unwrap();
    let (index, before) = (place.dir.join("index"), place.dir.join("before"));
    copy_folder(&index, &before);
    let store = place.open();
    vacuum(&store, 0.0);
    assert!(get(&store, "kept").unwrap() == kept);
    drop(store); // What it was making is sealed by the recovery.
    fs::remove_dir_all(&index).unwrap();
    fs::rename(&before, &index).unwrap();
    let store = place.open();
    assert!(get(&store, "kept").unwrap() == kept, "found where it was moved to");
    vacuum(&store, 0.0);
    assert!(get(&store, "kept").unwrap() == kept, "and left there");
    place.check(store);
}

/// The same of one that was not full, which has no list at its end.
#[test]
fn a_container_that_was_not_full_comes_back_too() {
    let (place, one) = (Place::new(), noise(1, 300_000));
    let store = place.open();
    put(&store, "one", &one);
    store.close().unwrap();
    let hidden: Vec<_> = containers(&place).into_iter().map(|file| (hide(&file, 0), file)).collect();
    fs::remove_dir_all(place.dir.join("index")).unwrap();
    assert_eq!(rebuild(&place).containers_unreadable, hidden.len() as u64);
    let store = place.open();
    assert!(get(&store, "one").is_err());
    vacuum(&store, 0.0);
    store.close().unwrap();
    for (bytes, file) in hidden {
        fs::write(file, bytes).unwrap();
    }
    let store = place.open();
    assert!(get(&store, "one").unwrap() == one);
    scrub(&store);
    vacuum(&store, 0.0);
    assert!(get(&store, "one").unwrap() == one);
    place.check(store);
}

/// And if something in its middle has rotted by then, what lies behind is not cut off.
#[test]
fn what_lies_behind_rot_in_such_a_container_is_kept() {
    let (place, parts) = (Place::new(), [1, 2, 3].map(|seed| noise(seed, 150_000)));
    let store = place.open();
    for (name, bytes) in ["before", "rotten", "behind"].into_iter().zip(&parts) {
        put(&store, name, bytes);
    }
    let rotten = chunks_of(&store, "rotten");
    store.close().unwrap();
    let store = place.open();
    rotten.iter().for_each(|(_, entry)| rot(&store, entry));
    store.close().unwrap();
    let hidden: Vec<_> = containers(&place).into_iter().map(|file| (hide(&file, 0), file)).collect();
    fs::remove_dir_all(place.dir.join("index")).unwrap();
    rebuild(&place);
    for (bytes, file) in hidden {
        fs::write(file, bytes).unwrap();
    }
    let store = place.open();
    vacuum(&store, 0.0);
    assert!(get(&store, "rotten").is_err());
    for (name, bytes) in [("before", &parts[0]), ("behind", &parts[2])] {
        assert!(get(&store, name).unwrap() == *bytes, "{name}");
    }
    store.close().unwrap();
}

/// A crash between a seal and its truncation leaves reserved space behind the list.
#[test]
fn space_behind_a_list_is_no_damage_to_a_rebuild() {
    let (place, one) = (Place::new(), noise(1, 3 * MIB));
    let store = place.open();
    put(&store, "one", &one);
    store.close().unwrap();
    for file in containers(&place) {
        let file = fs::File::options().write(true).open(file).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len.next_multiple_of(MIB as u64)).unwrap();
    }
    let rebuilt = rebuild(&place);
    assert_eq!((rebuilt.containers_unreadable, rebuilt.containers_salvaged), (0, 0), "{rebuilt:?}");
    let store = place.open();
    assert_eq!(put(&store, "again", &one), 0, "all of it is known");
    place.check(store);
}

/// Clean closing, so nothing is read at the opening; what is wrong is found when the container is to be filled on.
#[test]
fn damage_in_a_container_that_is_to_be_filled_is_remembered() {
    let (place, one) = (Place::new(), noise(1, 700_000));
    let store = place.open();
    put(&store, "one", &one);
    let state = |store: &Store, id| store.core().index.container(id).unwrap().unwrap().state;
    let open = |store: &Store| -> Vec<_> {
        let chunks = chunks_of(store, "one").into_iter().map(|(_, entry)| entry);
        chunks.filter(|entry| state(store, entry.container) == ContainerState::Open).collect()
    };
    let victim = *open(&store).first().unwrap();
    rot(&store, &victim);
    store.close().unwrap();
    let store = place.open();
    put(&store, "fresh", &noise(2, 5 * MIB)); // Each worker asks for a container.
    assert_eq!(state(&store, victim.container), ContainerState::Draining);
    assert!(put(&store, "second", &one) > 0, "what lies there counts as unknown");
    assert!(get(&store, "second").unwrap() == one);
    store.close().unwrap();
    let store = place.open();
    vacuum(&store, 0.0);
    assert!(get(&store, "one").unwrap() == one);
    place.check(store);
}

#[test]
fn a_container_that_vanishes_under_an_open_store_makes_nothing_known() {
    let (place, one) = (Place::new(), noise(1, 5 * MIB));
    let store = place.open();
    put(&store, "one", &one);
    store.close().unwrap();
    let store = place.open();
    let (_, entry) = chunks_of(&store, "one")[20];
    fs::remove_file(store.core().paths.container(entry.container)).unwrap();
    assert!(put(&store, "second", &one) > MIB as u64 / 2);
    assert!(get(&store, "second").unwrap() == one);
    drop(store);
    let store = place.open();
    assert!(get(&store, "one").unwrap() == one, "healed by it");
    vacuum(&store, 0.0);
    place.check(store);
}

#[test]
fn a_container_that_the_index_does_not_know_makes_nothing_known() {
    let (place, one) = (Place::new(), noise(1, 3 * MIB));
    let store = place.open();
    put(&store, "one", &one);
    put(&store, "filler", &noise(2, 4 * MIB));
    store.close().unwrap();
    let store = place.open();
    let (_, entry) = chunks_of(&store, "one")[20];
    let row = store.core().index.container(entry.container).unwrap().unwrap();
    store
        .core()
        .index
        .commit(Batch { removed_containers: vec![entry.container], ..Batch::default() })
        .unwrap();
    fs::remove_file(store.core().paths.container(entry.container)).unwrap();
    let again = put(&store, "again", &one);
    assert!(again > row.durable_len / 2, "stored again: {again} of {}", row.durable_len);
    assert!(get(&store, "again").unwrap() == one);
    assert!(get(&store, "one").unwrap() == one, "and found by what needed it before");
    place.check(store);
}

#[test]
fn a_clock_that_ran_ahead_does_not_keep_a_scrub_from_reading() {
    let place = Place::new();
    let store = place.open();
    put(&store, "one", &noise(1, 3 * MIB));
    let rows = store.core().index.containers().unwrap();
    let ahead = CheckedRow { unix: u64::MAX / 2, bad: 0 };
    let checked = rows.iter().map(|(id, _)| (*id, ahead)).collect();
    store.core().index.commit(Batch { checked, ..Batch::default() }).unwrap();
    rot(&store, &chunks_of(&store, "one")[20].1);
    let report = scrub(&store);
    assert_eq!((report.containers, report.chunks_bad), (rows.len() as u64, 1), "{report:?}");
    store.close().unwrap();
}

/// A restore of files from a backup may bring an older epoch file back.
#[test]
fn ids_are_not_given_out_twice_by_an_old_epoch_file() {
    let (place, [one, two, three]) = (Place::new(), [1, 2, 3].map(|seed| noise(seed, 3 * MIB)));
    let store = place.open();
    put(&store, "one", &one);
    store.close().unwrap();
    let epoch = place.dir.join("epoch");
    let old = fs::read(&epoch).unwrap();
    let store = place.open();
    put(&store, "two", &two);
    store.close().unwrap();
    fs::write(&epoch, old).unwrap();
    let store = place.open();
    assert!(store.notes().iter().any(|note| note.contains("is an old one")), "{:?}", store.notes());
    put(&store, "three", &three);
    for (name, bytes) in [("one", &one), ("two", &two), ("three", &three)] {
        assert!(get(&store, name).unwrap() == *bytes, "{name}");
    }
    place.check(store);
}

#[test]
fn a_container_that_is_put_back_is_taken_in() {
    let (place, one) = (Place::new(), noise(1, 3 * MIB));
    let store = place.open();
    put(&store, "one", &one);
    store.close().unwrap();
    let (victim, away) = (containers(&place).into_iter().next().unwrap(), place.dir.join("away"));
    fs::rename(&victim, &away).unwrap();
    fs::remove_dir_all(place.dir.join("index")).unwrap();
    rebuild(&place);
    let store = place.open();
    assert!(get(&store, "one").is_err());
    store.close().unwrap();
    fs::rename(&away, &victim).unwrap();
    let store = place.open();
    assert!(get(&store, "one").unwrap() == one);
    put(&store, "two", &noise(2, 3 * MIB));
    store.close().unwrap();
    assert!(victim.exists());
    rebuild(&place);
    let store = place.open();
    assert!(get(&store, "one").unwrap() == one);
    store.close().unwrap();
}

#[test]
fn damage_that_a_scrub_finds_meanwhile_keeps_the_file() {
    let place = Place::new();
    let store = place.open();
    put(&store, "gone", &noise(1, 3 * MIB));
    let (_, entry) = chunks_of(&store, "gone")[20];
    store.remove("gone").unwrap();
    let mut scrubbed = false;
    let mut once = |stage: &'static str| {
        if stage == "survey" && !std::mem::replace(&mut scrubbed, true) {
            rot(&store, &entry);
            assert_eq!(scrub(&store).containers_damaged, 1);
        }
    };
    let report =
        store.vacuum(&VacuumOptions::default(), &mut |progress| once(progress.stage), &mut |_| true).unwrap();
    assert!(report.freed_containers > 0, "{report:?}");
    assert_eq!(report.retired, [entry.container.to_string()]);
    assert_eq!(files(&place.dir.join("quarantine")).len(), 1, "nothing is written over it");
    store.close().unwrap();
    assert!(fsck::check(&place.dir, 3, &options(), &mut |_| ()).unwrap().clean);
}

/// Lost with its index or without: a scrub or its report names the streams, and what is stored again heals them.
#[test]
fn a_container_that_is_missing_is_no_secret_after_a_rebuild() {
    for index_lost in [false, true] {
        let (place, one) = (Place::new(), noise(1, 3 * MIB));
        let store = place.open();
        put(&store, "one", &one);
        put(&store, "two", &noise(2, 3 * MIB));
        let (hash, lost) = chunks_of(&store, "one")[20];
        let file = store.core().paths.container(lost.container);
        store.close().unwrap();
        fs::remove_file(file).unwrap();
        if index_lost {
            fs::remove_dir_all(place.dir.join("index")).unwrap();
        }
        let rebuilt = rebuild(&place);
        assert_eq!(rebuilt.containers_missing, u64::from(!index_lost), "{rebuilt:?}");
        let store = place.open();
        let before = store.blame(&mut |_| ()).unwrap();
        let report = scrub(&store);
        assert_eq!(report.chunks_bad > 0, !index_lost, "{report:?}");
        let blame = store.blame(&mut |_| ()).unwrap();
        let names = |blame: &Blame| blame.streams.iter().map(|hit| hit.stream.clone()).collect::<Vec<_>>();
        assert_eq!(
            (before.chunks, names(&before)),
            (blame.chunks, names(&blame)),
            "nobody waits for a scrub"
        );
        let hit = blame.streams.iter().find(|hit| hit.stream == "one").unwrap();
        assert!(hit.chunks.iter().any(|chunk| chunk.chunk == hash.to_string()), "{hit:?}");
        assert_eq!(hit.chunks[0].container.is_some(), !index_lost, "{hit:?}");
        assert!(
            put(&store, "again", &one) > 0 && put(&store, "and two", &noise(2, 3 * MIB)) < 3 * MIB as u64
        );
        assert!(get(&store, "one").unwrap() == one);
        assert!(store.blame(&mut |_| ()).unwrap().streams.is_empty());
        vacuum(&store, 0.0);
        place.check(store);
    }
}
