//! The vacuum on a real disk: what is needed stays, byte for byte, and the rest goes.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use gdd_engine::error::Error;
use gdd_engine::index::ContainerState;
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};
use place::{MIB, Place, chunks_of, get, noise, put, rot};

fn vacuum_with(store: &Store, options: &VacuumOptions) -> VacuumReport {
    store.vacuum(options, &mut |_| (), &mut |_| true).unwrap()
}

fn vacuum(store: &Store) -> VacuumReport {
    vacuum_with(store, &VacuumOptions::default())
}

fn container_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("containers")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn what_is_removed_is_freed_and_the_rest_is_exact() {
    let place = Place::new();
    let store = place.open();
    let streams: Vec<Vec<u8>> = (0..16).map(|seed| noise(seed, 3 * MIB)).collect();
    for (number, bytes) in streams.iter().enumerate() {
        put(&store, &format!("s-{number}"), bytes);
    }
    let before = container_bytes(&place.dir);
    (0..16).step_by(2).for_each(|number| drop(store.remove(&format!("s-{number}")).unwrap()));
    let dry = vacuum_with(&store, &VacuumOptions { dry_run: true, ..VacuumOptions::default() });
    assert!(dry.chosen > 15 && dry.freed_containers == 0 && container_bytes(&place.dir) == before, "{dry:?}");
    let report = vacuum(&store);
    assert_eq!((report.streams, report.waiting_bytes, report.lost_chunks), (8, 0, 0), "{report:?}");
    assert!(report.freed_containers >= dry.chosen && report.quarantined.is_empty(), "{report:?}");
    vacuum(&store);
    let after = container_bytes(&place.dir);
    let live = 8 * 3 * MIB as u64;
    assert!(
        after < live / 100 * 115 + (4 << 20),
        "{after} of {before} for {live}; four containers may be open"
    );
    let exact = |store: &Store| {
        for number in (1..16).step_by(2) {
            assert!(get(store, &format!("s-{number}")).unwrap() == streams[number], "{number}");
        }
    };
    exact(&store);
    assert!(put(&store, "again", &streams[0]) > 2 * MIB as u64, "what was freed is stored anew");
    store.close().unwrap();
    let store = place.open();
    exact(&store);
    place.check(store);
}

#[test]
fn nothing_is_freed_that_an_open_stream_was_told_to_be_known() {
    let place = Place::new();
    let store = place.open();
    let bytes = noise(1, 8 * MIB);
    put(&store, "old", &bytes);
    let mut open = store.put("new").unwrap();
    open.write(&bytes[..5 * MIB]).unwrap();
    open.flush().unwrap();
    store.remove("old").unwrap();
    let report = vacuum(&store);
    assert!(report.chosen > 4 && report.freed_containers == 0, "{report:?}");
    assert_eq!(report.waiting_for_streams, report.chosen, "{report:?}");
    // Who comes now is not told so, though the chunks are still there.
    assert_eq!(put(&store, "later", &bytes[..2 * MIB]), 2 * MIB as u64);
    open.write(&bytes[5 * MIB..]).unwrap();
    open.finish().unwrap();
    let report = vacuum(&store);
    assert!(report.freed_containers > 4 && report.waiting_bytes == 0, "{report:?}");
    assert!(get(&store, "new").unwrap() == bytes && get(&store, "later").unwrap() == bytes[..2 * MIB]);
    place.check(store);
}

#[test]
fn a_restore_that_was_begun_ends() {
    let place = Place::new();
    let store = place.open();
    let bytes = noise(1, 40 * MIB);
    put(&store, "old", &bytes);
    let mut open = store.get("old").unwrap();
    let mut back = open.next().unwrap().unwrap().to_vec();
    store.remove("old").unwrap();
    let report = vacuum(&store);
    assert!(report.waiting_for_readers > 30 && report.freed_containers == 0, "{report:?}");
    while let Some(part) = open.next().unwrap() {
        back.extend_from_slice(&part);
    }
    assert!(back == bytes);
    drop(open);
    let report = vacuum(&store);
    assert!(report.freed_containers > 30 && report.waiting_bytes == 0, "{report:?}");
    place.check(store);
}

#[test]
fn a_container_with_a_needed_chunk_that_cannot_be_read_is_kept() {
    let place = Place::new();
    let store = place.open();
    let (kept, gone) = (noise(1, MIB), noise(2, 3 * MIB));
    // Side by side in the same containers.
    let mut both = store.put("kept").unwrap();
    put(&store, "gone", &gone);
    both.write(&kept).unwrap();
    both.finish().unwrap();
    put(&store, "filler", &noise(3, 4 * MIB));
    let rows = store.core().index.containers().unwrap();
    let sealed = |id| rows.iter().any(|(row, found)| *row == id && found.state == ContainerState::Sealed);
    let (_, entry) =
        chunks_of(&store, "kept").into_iter().find(|(_, entry)| sealed(entry.container)).unwrap();
    let path = store.core().paths.container(entry.container);
    rot(&store, &entry);
    store.remove("gone").unwrap();
    let report = vacuum_with(&store, &VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() });
    assert_eq!(
        (report.lost_chunks, &report.quarantined),
        (1, &vec![entry.container.to_string()]),
        "{report:?}"
    );
    assert!(path.exists());
    assert!(get(&store, "kept").is_err() && get(&store, "filler").unwrap() == noise(3, 4 * MIB));
    // The next backup brings the lost chunk, and what still lies in the container is not relied on.
    assert!(put(&store, "healing", &kept) > 0);
    assert!(get(&store, "kept").unwrap() == kept);
    store.close().unwrap();
    let store = place.open();
    assert!(get(&store, "kept").unwrap() == kept && get(&store, "healing").unwrap() == kept);
    assert!(path.exists());
    let report = vacuum(&store);
    assert_eq!(
        (&report.retired, report.quarantined.len()),
        (&vec![entry.container.to_string()], 0),
        "{report:?}"
    );
    assert!(
        !path.exists() && place.dir.join("quarantine").join(path.file_name().unwrap()).exists(),
        "evidence"
    );
    assert!(get(&store, "kept").unwrap() == kept && get(&store, "healing").unwrap() == kept);
    place.check(store);
}

#[test]
fn a_stream_that_cannot_be_read_stops_it() {
    let place = Place::new();
    let store = place.open();
    put(&store, "one", &noise(1, 3 * MIB));
    put(&store, "two", &noise(2, 3 * MIB));
    let row = store.core().index.recipe("one").unwrap().unwrap();
    for side in ["a", "b"] {
        std::fs::remove_file(place.dir.join(format!("recipes/{side}/{}.gdr", row.recipe))).unwrap();
    }
    store.remove("two").unwrap();
    let before = container_bytes(&place.dir);
    let error = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("\"one\"") && error.to_string().contains("gdd rm"), "{error}");
    assert_eq!(container_bytes(&place.dir), before);
    store.remove("one").unwrap();
    assert!(vacuum(&store).freed_containers > 0);
    place.check(store);
}

#[test]
fn it_runs_once_at_a_time_and_goes_on_where_it_was_stopped() {
    let place = Place::new();
    let store = place.open();
    let kept = noise(1, 6 * MIB);
    for part in kept.chunks(MIB / 2).enumerate() {
        put(&store, &format!("kept-{}", part.0), part.1);
        put(&store, &format!("gone-{}", part.0), &noise(100 + part.0 as u64, MIB / 2));
    }
    (0..12).for_each(|number| drop(store.remove(&format!("gone-{number}")).unwrap()));
    let mut busy = None;
    let mut left = 40;
    let report = store.vacuum(
        &VacuumOptions::default(),
        &mut |_| {
            busy.get_or_insert_with(|| store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true));
        },
        &mut |_| {
            left -= 1;
            left > 0
        },
    );
    assert!(matches!(busy, Some(Err(Error::Busy(_)))), "{busy:?}");
    assert!(report.unwrap().cancelled);
    store.close().unwrap();
    let store = place.open();
    let (report, again) = (vacuum(&store), vacuum(&store));
    assert!(report.freed_containers + again.freed_containers > 3, "{report:?} {again:?}");
    for part in kept.chunks(MIB / 2).enumerate() {
        assert!(get(&store, &format!("kept-{}", part.0)).unwrap() == part.1);
    }
    place.check(store);
}

#[test]
fn threads_store_restore_and_remove_beside_it() {
    let place = Place::new();
    let store = place.open();
    let over = AtomicBool::new(false);
    // Generations share most of their chunks, and no two runs the same ones.
    let bytes = |lane: u64, generation: u64| {
        let mut bytes = noise(lane, 2 * MIB);
        bytes.extend(noise(lane * 1000 + generation, MIB));
        bytes.extend(noise(lane * 1000 + generation / 3, MIB));
        bytes
    };
    let freed = std::thread::scope(|scope| {
        let lanes: Vec<_> = (1..3)
            .map(|lane| {
                let store = &store;
                scope.spawn(move || {
                    for generation in 0..30 {
                        put(store, &format!("{lane}-{generation}"), &bytes(lane, generation));
                        if generation >= 2 {
                            let old = generation - 2;
                            assert!(get(store, &format!("{lane}-{old}")).unwrap() == bytes(lane, old));
                            store.remove(&format!("{lane}-{old}")).unwrap();
                        }
                    }
                })
            })
            .collect();
        let vacuuming = scope.spawn(|| {
            let mut freed = 0;
            while !over.load(Ordering::Relaxed) {
                let report =
                    vacuum_with(&store, &VacuumOptions { dead_share: 0.01, ..VacuumOptions::default() });
                assert_eq!((report.lost_chunks, report.quarantined.len()), (0, 0), "{report:?}");
                freed += report.freed_containers;
            }
            freed
        });
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
        over.store(true, Ordering::Relaxed);
        vacuuming.join().unwrap()
    });
    assert!(freed > 10, "{freed}");
    for lane in 1..3 {
        for generation in 28..30 {
            assert!(get(&store, &format!("{lane}-{generation}")).unwrap() == bytes(lane, generation));
        }
    }
    place.check(store);
}
