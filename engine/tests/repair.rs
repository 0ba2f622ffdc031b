//! A repair takes nothing that somebody may still want.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::fs;
use std::path::PathBuf;

use gdd_engine::repair::{self, Repaired};
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};
use place::{MIB, Place, chunks_of, get, noise, options, put, rot};

/// Bytes of a header, and of a block of a recipe.
const HEADER: usize = 4096;
const BLOCK: usize = 65536;

fn vacuum(store: &Store, options: &VacuumOptions) -> VacuumReport {
    store.vacuum(options, &mut |_| (), &mut |_| true).unwrap()
}

fn apply(place: &Place) -> Repaired {
    repair::apply(&place.dir, &options(), &mut |_| ()).unwrap()
}

fn recipes(store: &Store, name: &str) -> [PathBuf; 2] {
    let recipe = store.list().unwrap().into_iter().find(|row| row.name == name).unwrap().recipe;
    ["a", "b"].map(|side| store.core().paths.recipes().join(side).join(format!("{recipe}.gdr")))
}

/// A place with a stream of 72 MiB, whose recipe has three blocks at least, some of which are bad in both copies.
fn ruined(at: &[usize]) -> (Place, Vec<u8>) {
    let place = Place::new();
    let store = place.open();
    let bytes = noise(1, 72 * MIB);
    put(&store, "big", &bytes);
    put(&store, "other", &noise(2, MIB));
    let files = recipes(&store, "big");
    store.close().unwrap();
    for file in &files {
        let mut recipe = fs::read(file).unwrap();
        assert!(recipe.len() > HEADER + 2 * BLOCK, "it has at least three blocks: {}", recipe.len());
        at.iter().for_each(|at| recipe[*at] ^= 1);
        fs::write(file, recipe).unwrap();
    }
    (place, bytes)
}

/// The pieces of a stream, which are stretches of `bytes` in their order.
fn pieces(store: &Store, repaired: &Repaired, bytes: &[u8]) -> usize {
    let (mut at, mut kept) = (0, 0);
    for piece in &repaired.salvaged[0].pieces {
        let found = get(store, &piece.name).unwrap();
        assert_eq!(found.len() as u64, piece.bytes);
        let sample = &found[..64];
        let start = at + bytes[at..].windows(64).position(|window| window == sample).unwrap();
        assert!(bytes[start..start + found.len()] == found, "{}", piece.name);
        at = start + found.len();
        kept += found.len();
    }
    kept
}

#[test]
fn one_bad_block_does_not_drop_the_stream() {
    let (place, bytes) = ruined(&[HEADER + BLOCK + 99]);
    let repaired = apply(&place);
    assert_eq!(repaired.streams_set_aside, ["big"]);
    assert_eq!(repaired.salvaged[0].bytes, Some(bytes.len() as u64));
    let names: Vec<_> = repaired.salvaged[0].pieces.iter().map(|piece| piece.name.as_str()).collect();
    assert_eq!(names, ["salvaged/big/1", "salvaged/big/2"]);
    let store = place.open();
    assert!(get(&store, "big").is_err());
    // A vacuum comes, as it does once a day: the pieces stay, what only the bad block needed goes.
    let report = vacuum(&store, &VacuumOptions::default());
    assert!(report.freed_bytes > 10 * MIB as u64, "{report:?}");
    let kept = pieces(&store, &repaired, &bytes);
    assert!(kept * 10 > bytes.len() * 5 && kept * 10 < bytes.len() * 8, "{kept} of {}", bytes.len());
    for name in names {
        store.remove(name).unwrap();
    }
    vacuum(&store, &VacuumOptions::default());
    place.check(store);
}

/// Header and trailer say what a stream is called and how long it was; its entries do not need them.
#[test]
fn without_header_and_trailer_everything_is_kept() {
    let (place, bytes) = ruined(&[9]);
    let repaired = apply(&place);
    assert_eq!(repaired.salvaged[0].pieces.len(), 1);
    let store = place.open();
    assert_eq!(pieces(&store, &repaired, &bytes), bytes.len());
    assert!(get(&store, &repaired.salvaged[0].pieces[0].name).unwrap() == bytes);
    place.check(store);
}

/// What a repair sets aside may be all that tells what was in a stream. It frees nothing.
#[test]
fn a_repair_empties_broken_containers_only() {
    let place = Place::new();
    let store = place.open();
    put(&store, "gone", &noise(1, 4 * MIB));
    put(&store, "kept", &noise(2, 4 * MIB));
    let hit = chunks_of(&store, "kept")[20].1;
    store.remove("gone").unwrap();
    rot(&store, &hit);
    store.close().unwrap();
    let repaired = apply(&place);
    let report = repaired.vacuum.unwrap();
    assert_eq!((report.freed_containers, report.freed_bytes), (0, 0), "{report:?}");
    assert_eq!(report.quarantined.len(), 1, "the broken one was emptied: {report:?}");
    let store = place.open();
    put(&store, "gone again", &noise(1, 4 * MIB));
    assert!(get(&store, "gone again").unwrap() == noise(1, 4 * MIB));
    put(&store, "kept again", &noise(2, 4 * MIB));
    store.remove("gone again").unwrap();
    assert!(vacuum(&store, &VacuumOptions::default()).freed_bytes > 2 * MIB as u64, "the vacuum frees it");
    assert!(get(&store, "kept").unwrap() == noise(2, 4 * MIB));
    store.close().unwrap();
}

/// A container that an earlier vacuum has begun to empty is none of a repair's business, unless it is damaged.
#[test]
fn a_repair_leaves_what_a_vacuum_has_begun() {
    let place = Place::new();
    let store = place.open();
    put(&store, "gone", &noise(1, 4 * MIB));
    let mut reading = store.get("gone").unwrap();
    let _ = reading.next().unwrap();
    store.remove("gone").unwrap();
    assert!(vacuum(&store, &VacuumOptions::default()).waiting_for_readers > 0);
    drop(reading);
    let options = VacuumOptions { broken_only: true, ..VacuumOptions::default() };
    assert_eq!(vacuum(&store, &options).freed_containers, 0);
    assert!(vacuum(&store, &VacuumOptions::default()).freed_containers > 0);
    place.check(store);
}
