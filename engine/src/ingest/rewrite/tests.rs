//! The choice, without a store.

use proptest::prelude::*;

use super::choose::{Limits, Old, choose};
use super::recent::Recent;
use crate::ids::{ChunkHash, ContainerId};
use crate::shard::mailbox::Stored;

const SEEK: u64 = 100_000;
const NONE: [u64; 0] = [];
const LIMITS: Limits = Limits { seek: SEEK, workers: 2, budget: 1 << 30 };

fn old(container: u64, offset: u32, len: u32) -> Old {
    let place = Stored { container: ContainerId(container), offset, stored_len: len, raw_len: len };
    Old { place, stays: false, at: (0, 0) }
}

/// Chunks of 10,000 bytes, one behind the other.
fn run(container: u64, offset: u32, count: u32) -> Vec<Old> {
    (0..count).map(|number| old(container, offset + number * 10_000, 10_000)).collect()
}

/// The containers of those that are stored again, each once.
fn left(olds: Vec<Old>, fresh: u64, limits: &Limits) -> Vec<u64> {
    let mut left: Vec<u64> = choose(olds, fresh, limits).iter().map(|old| old.place.container.0).collect();
    left.sort_unstable();
    left.dedup();
    left
}

/// A window whose most lies in two places, and a little in six others.
fn scattered() -> Vec<Old> {
    let few = (10..16).flat_map(|container| run(container, 0, 2));
    [run(1, 0, 100), run(2, 0, 100)].into_iter().flatten().chain(few).collect()
}

#[test]
fn what_lies_in_one_piece_stays() {
    assert_eq!(left([run(1, 0, 100), run(2, 0, 100)].concat(), 0, &LIMITS), NONE);
    assert_eq!(left(run(1, 0, 100), 5000, &LIMITS), NONE, "a little that is new makes no difference");
    assert_eq!(left(Vec::new(), 0, &LIMITS), NONE);
}

#[test]
fn few_chunks_in_many_places_are_stored_again_and_large_parts_are_not() {
    assert_eq!(left(scattered(), 0, &LIMITS), [10, 11, 12, 13, 14, 15]);
    assert_eq!(left(scattered(), 50_000, &LIMITS), [10, 11, 12, 13, 14, 15]);
}

#[test]
fn the_budget_is_kept() {
    let limits = Limits { budget: 45_000, ..LIMITS };
    assert_eq!(left(scattered(), 50_000, &limits).len(), 2, "two visits of 20,000 bytes");
    assert_eq!(left(scattered(), 50_000, &Limits { budget: 0, ..LIMITS }), NONE);
}

#[test]
fn what_would_save_no_seek_is_not_done() {
    // Two places instead of two.
    let olds = [run(1, 0, 100), run(2, 0, 100), run(3, 0, 2), run(4, 0, 2)].concat();
    assert_eq!(left(olds.clone(), 0, &LIMITS), NONE);
    assert_eq!(left(olds, 50_000, &LIMITS), [3, 4], "those that are new make the places anyhow");
}

#[test]
fn what_this_stream_has_brought_stays() {
    let mut olds = scattered();
    olds.iter_mut().for_each(|old| old.stays = true);
    assert_eq!(left(olds, 50_000, &LIMITS), NONE);
}

#[test]
fn chunks_that_are_closer_than_a_seek_are_one_visit() {
    let near: Vec<Old> = (0..6).map(|number| old(3, number * 60_000, 10_000)).collect();
    assert_eq!(left([run(1, 0, 100), near].concat(), 50_000, &LIMITS), [3]);
    let olds = [run(1, 0, 100), run(1, 1_050_000, 2)].concat();
    assert_eq!(left(olds, 50_000, &LIMITS), NONE, "as a part of the large one it costs nothing");
}

#[test]
fn a_chunk_is_recent_for_a_while() {
    let (mut recent, hash) = (Recent::default(), |number: u32| ChunkHash::of(&number.to_le_bytes()));
    assert!(!recent.has_or_add(&hash(0)) && recent.has_or_add(&hash(0)));
    (1..6000).for_each(|number| {
        recent.has_or_add(&hash(number));
    });
    assert!(recent.has_or_add(&hash(0)));
    (6000..20_000).for_each(|number| {
        recent.has_or_add(&hash(number));
    });
    assert!(!recent.has_or_add(&hash(0)));
}

proptest! {
    #[test]
    fn it_is_within_the_budget_and_each_chunk_is_chosen_once(
        olds in prop::collection::vec((0u64..12, 0u32..3 << 20, 1u32..60_000), 0..80),
        fresh in 0u64..2 << 20, budget in 0u64..1 << 20, workers in 1u64..17,
    ) {
        let olds: Vec<Old> = olds.iter().enumerate().map(|(at, &(container, offset, len))| {
            Old { at: (0, at), ..old(container, offset, len) }
        }).collect();
        let chosen = choose(olds, fresh, &Limits { seek: SEEK, workers, budget });
        let bytes: u64 = chosen.iter().map(|old| u64::from(old.place.raw_len)).sum();
        prop_assert!(bytes <= budget);
        let mut slots: Vec<usize> = chosen.iter().map(|old| old.at.1).collect();
        slots.sort_unstable();
        slots.dedup();
        prop_assert_eq!(slots.len(), chosen.len());
    }
}
