//! A check of a store that is at work: nothing is found that is not so, and what is so is found.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::sync::atomic::{AtomicBool, Ordering};

use gdd_engine::error::Error;
use gdd_engine::fsck::{LEVEL_MAX, Part, Report};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use place::{MIB, Place, chunks_of, noise, put, rot};

fn check(store: &Store, level: u8) -> Report {
    store.check(level, &mut |_| (), &mut || true).unwrap()
}

#[test]
fn every_level_is_clean_beside_writers_removals_and_the_vacuum() {
    let place = Place::new();
    let store = place.open();
    let over = AtomicBool::new(false);
    put(&store, "kept", &noise(7, 6 * MIB));
    let (checks, freed) = std::thread::scope(|scope| {
        let checking = scope.spawn(|| {
            let mut count = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let level = u8::try_from(3 - count % 4).unwrap();
                let report = check(&store, level);
                assert!(report.clean && report.beside && report.streams >= 1, "{report:?}");
                count += 1;
            }
            count
        });
        let vacuuming = scope.spawn(|| {
            let options = VacuumOptions { dead_share: 0.01, ..VacuumOptions::default() };
            let mut freed = 0;
            while !over.load(Ordering::Relaxed) {
                freed += store.vacuum(&options, &mut |_| (), &mut |_| true).unwrap().freed_containers;
            }
            freed
        });
        let writers: Vec<_> = (1..3)
            .map(|lane| {
                let store = &store;
                scope.spawn(move || {
                    for generation in 0..20 {
                        let mut bytes = noise(lane, MIB);
                        bytes.extend(noise(lane * 1000 + generation, 2 * MIB));
                        put(store, &format!("{lane}-{generation}"), &bytes);
                        if generation > 0 {
                            store.remove(&format!("{lane}-{}", generation - 1)).unwrap();
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        over.store(true, Ordering::Relaxed);
        (checking.join().unwrap(), vacuuming.join().unwrap())
    });
    assert!(checks > 4 && freed > 5, "{checks} checks, {freed} containers freed");
    place.check(store);
}

/// A whole container and one that is still being filled: what rots in either is found, and whom it concerns.
#[test]
fn what_has_rotted_is_found_and_its_streams_are_named() {
    let place = Place::new();
    let store = place.open();
    put(&store, "hit", &noise(1, 3 * MIB));
    put(&store, "sound", &noise(2, 3 * MIB));
    let chunks = chunks_of(&store, "hit");
    let (first, last) = (chunks.first().unwrap(), chunks.last().unwrap());
    assert_ne!(first.1.container, last.1.container);
    rot(&store, &first.1);
    rot(&store, &last.1);
    let report = check(&store, 3);
    assert!(report.is_damaged() && report.chunks_bad == 2, "{report:?}");
    let names: Vec<_> = report.streams_affected.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["hit"]);
    assert!(check(&store, 1).clean, "no payload is read at this level");
    // What is stored again is not lost any more. The containers are as damaged as they were.
    store.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    put(&store, "again", &noise(1, 3 * MIB));
    let healed = check(&store, 3);
    assert_eq!((healed.chunks_bad, healed.streams_affected.len()), (0, 0), "{healed:?}");
    assert!(healed.about(Part::Container) > 0 && healed.about(Part::Chunk) == 0, "{healed:?}");
}

#[test]
fn a_file_that_is_gone_is_damage() {
    let place = Place::new();
    let store = place.open();
    put(&store, "hit", &noise(1, 3 * MIB));
    let (_, entry) = chunks_of(&store, "hit")[0];
    std::fs::remove_file(store.core().paths.container(entry.container)).unwrap();
    for level in 0..=LEVEL_MAX {
        let report = check(&store, level);
        assert!(report.is_damaged() && report.about(Part::Container) == 1, "{report:?}");
        assert_eq!(report.streams_affected.len(), usize::from(level == LEVEL_MAX), "{report:?}");
    }
}

#[test]
fn a_lost_copy_of_a_recipe_is_told() {
    let place = Place::new();
    let store = place.open();
    put(&store, "hit", &noise(1, MIB));
    let recipe = store.core().index.recipe("hit").unwrap().unwrap().recipe;
    let recipes = store.core().paths.recipes();
    std::fs::remove_file(gdd_engine::recipe::Side::A.file(&recipes, recipe)).unwrap();
    let report = check(&store, 3);
    assert_eq!((report.about(Part::RecipeCopy), report.streams_affected.len()), (1, 0), "{report:?}");
}

#[test]
fn it_stops_when_it_is_told_to() {
    let place = Place::new();
    let store = place.open();
    put(&store, "one", &noise(1, 3 * MIB));
    let stopped = store.check(3, &mut |_| (), &mut || false);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert!(matches!(store.check(4, &mut |_| (), &mut || true), Err(Error::Invalid(_))));
    place.check(store);
}
