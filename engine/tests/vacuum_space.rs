//! What the vacuum leaves on disk: half of the streams go, whose chunks lie between those of the other half, and two
//! runs later there are at most 1.15 bytes for each byte that is needed, freed files that are kept for later included.
#![allow(missing_docs, clippy::unwrap_used)]

mod place;

use std::path::Path;

use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use place::{MIB, Place, get, noise};

/// Streams that are stored at once, rounds of that, and bytes of each stream.
const AT_ONCE: u64 = 8;
const ROUNDS: u64 = 4;
const SIZE: usize = 8 * MIB;
/// What a stream gives before the next one has its turn.
const TURN: usize = 200_000;

fn name(number: u64) -> String {
    format!("s-{number}")
}

/// Streams in turns, so that what stays lies beside what goes.
fn store_all(store: &Store) {
    for round in 0..ROUNDS {
        let numbers = round * AT_ONCE..(round + 1) * AT_ONCE;
        let bytes: Vec<_> = numbers.clone().map(|number| noise(number, SIZE)).collect();
        let mut puts: Vec<_> = numbers.map(|number| store.put(&name(number)).unwrap()).collect();
        for from in (0..SIZE).step_by(TURN) {
            for (put, bytes) in puts.iter_mut().zip(&bytes) {
                put.write(&bytes[from..SIZE.min(from + TURN)]).unwrap();
            }
        }
        puts.into_iter().for_each(|put| drop(put.finish().unwrap()));
    }
}

/// Length of all files that hold chunks, held them, or will.
fn used(dir: &Path) -> u64 {
    let folder = |name: &str| -> u64 {
        let entries = std::fs::read_dir(dir.join(name)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    };
    folder("containers") + folder("pool")
}

#[test]
fn two_runs_leave_at_most_115_bytes_for_100_that_are_needed() {
    let place = Place::new();
    let store = place.open();
    store_all(&store);
    let before = used(&place.dir);
    let live = AT_ONCE * ROUNDS / 2 * SIZE as u64;
    assert!(before >= 2 * live && 2 * live >= 200_000_000, "{before}");
    (0..AT_ONCE * ROUNDS).step_by(2).for_each(|number| drop(store.remove(&name(number)).unwrap()));
    for _ in 0..2 {
        let report = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap();
        assert_eq!((report.lost_chunks, report.quarantined.len()), (0, 0), "{report:?}");
    }
    let after = used(&place.dir);
    println!("{before} bytes before, {after} after, for {live}: {:.3}", after as f64 / live as f64);
    assert!(after * 100 <= live * 115, "{after} bytes on disk for {live} that are needed");
    let exact = |store: &Store| {
        for number in (1..AT_ONCE * ROUNDS).step_by(2) {
            assert!(get(store, &name(number)).unwrap() == noise(number, SIZE), "{}", name(number));
        }
    };
    exact(&store);
    store.close().unwrap();
    let store = place.open();
    assert!(used(&place.dir) * 100 <= live * 115, "opened again: {}", used(&place.dir));
    exact(&store);
    place.check(store);
}
