//! The segment cache against a model, and its promises: the budget, and resistance to scans.

use std::collections::HashMap;
use std::sync::Arc;

use gdd_uring::buffer::Shared;
use proptest::prelude::*;

use super::super::cache::SegmentCache;
use crate::ids::ChunkHash;

const BUFFER: usize = 64 << 10;

fn cache(buffers: u64) -> Arc<SegmentCache> {
    Arc::new(SegmentCache::with_buffer_size(buffers * (BUFFER as u64) * 65 / 64 + 4096, BUFFER))
}

fn bytes_of(chunk: u32, len: usize) -> Vec<u8> {
    (0u32..).take(len).map(|n| n.wrapping_mul(chunk * 2 + 1).to_le_bytes()[1]).collect()
}

/// Do what a reader does with a chunk that it has read.
fn bring(cache: &Arc<SegmentCache>, chunk: u32, len: usize) -> Option<Shared> {
    let bytes = bytes_of(chunk, len);
    let mut room = cache.room(len)?;
    room.buffer[..len].copy_from_slice(&bytes);
    let part = room.buffer.freeze();
    cache.insert(room.ticket.as_ref().unwrap(), &part, &[(ChunkHash::of(&bytes), 0..len)]);
    Some(part.slice(0..len))
}

fn get(cache: &SegmentCache, chunk: u32, len: usize) -> Option<Shared> {
    let bytes = bytes_of(chunk, len);
    let found = cache.get(&ChunkHash::of(&bytes))?;
    assert_eq!(&found[..], &bytes[..], "chunk {chunk}");
    Some(found)
}

#[test]
fn a_scan_leaves_what_several_restores_use() {
    let cache = cache(32);
    for chunk in 0..3 {
        drop(bring(&cache, chunk, BUFFER));
    }
    (0..3).for_each(|chunk| assert!(get(&cache, chunk, BUFFER).is_some()));
    for chunk in 1000..2000 {
        drop(bring(&cache, chunk, BUFFER));
    }
    (0..3).for_each(|chunk| assert!(get(&cache, chunk, BUFFER).is_some(), "chunk {chunk} survived the scan"));
    assert!(cache.stats().evictions > 900);
}

#[test]
fn what_was_evicted_too_early_stays_when_it_comes_back() {
    let cache = cache(8);
    drop(bring(&cache, 1, BUFFER));
    (100..112).for_each(|chunk| drop(bring(&cache, chunk, BUFFER)));
    assert!(get(&cache, 1, BUFFER).is_none());
    drop(bring(&cache, 1, BUFFER));
    (200..216).for_each(|chunk| drop(bring(&cache, chunk, BUFFER)));
    assert!(get(&cache, 1, BUFFER).is_some());
}

#[test]
fn held_views_are_never_overwritten_and_use_up_the_budget() {
    let cache = cache(4);
    let views: Vec<Shared> = (0..4).map(|chunk| bring(&cache, chunk, BUFFER).unwrap()).collect();
    assert!(cache.room(1).is_none(), "everything is held");
    assert_eq!(cache.stats().refusals, 1);
    assert_eq!(cache.stats().bytes, cache.stats().capacity);
    for (chunk, view) in (0..4).zip(&views) {
        assert_eq!(&view[..], &bytes_of(chunk, BUFFER)[..]);
    }
    drop(views);
    assert!(bring(&cache, 9, BUFFER).is_some());
}

#[test]
fn a_room_that_was_never_filled_is_not_lost() {
    let cache = cache(2);
    for _ in 0..100 {
        assert!(cache.room(BUFFER).is_some());
        assert!(cache.room(BUFFER / 3).is_some());
    }
    assert!(cache.room(BUFFER + 1).is_none(), "longer than a buffer");
}

#[test]
fn the_directory_is_bounded_too() {
    let cache = cache(64);
    for chunk in 0..10_000 {
        drop(bring(&cache, chunk, 16));
    }
    let directory_max = 64 * BUFFER as u64 / 64 / 160 + 2;
    assert!(cache.stats().chunks <= directory_max, "{:?}", cache.stats());
    assert!(get(&cache, 9_999, 16).is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Bring(u32),
    Get(u32),
    Hold(u32),
    DropHeld(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let chunk = 0u32..60;
    let step = prop_oneof![
        4 => chunk.clone().prop_map(Step::Bring),
        4 => chunk.clone().prop_map(Step::Get),
        2 => chunk.prop_map(Step::Hold),
        2 => any::<usize>().prop_map(Step::DropHeld),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..200)
}

fn len_of(chunk: u32) -> usize {
    1 + (chunk as usize * 7919) % BUFFER
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn it_gives_right_bytes_or_none_and_keeps_the_budget(steps in steps(), buffers in 2u64..9) {
        let cache = cache(buffers);
        let mut held: Vec<(u32, Shared)> = Vec::new();
        let mut brought: HashMap<u32, ()> = HashMap::new();
        let (mut hits, mut misses) = (0, 0);
        for step in steps {
            match step {
                Step::Bring(chunk) => {
                    if let Some(view) = bring(&cache, chunk, len_of(chunk)) {
                        prop_assert_eq!(&view[..], &bytes_of(chunk, len_of(chunk))[..]);
                        brought.insert(chunk, ());
                    } else {
                        prop_assert!(!held.is_empty(), "only views that are held can use up the budget");
                    }
                }
                Step::Get(chunk) | Step::Hold(chunk) => {
                    let found = get(&cache, chunk, len_of(chunk));
                    if found.is_some() { hits += 1 } else { misses += 1 }
                    prop_assert!(found.is_none() || brought.contains_key(&chunk));
                    if let (Step::Hold(_), Some(view)) = (&step, found) {
                        held.push((chunk, view));
                    }
                }
                Step::DropHeld(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Step::DropHeld(_) => {}
                Step::Clear => {
                    cache.clear();
                    if held.is_empty() {
                        prop_assert_eq!(cache.stats().chunks, 0);
                        prop_assert_eq!(cache.stats().bytes, 0);
                    }
                }
            }
            for (chunk, view) in &held {
                prop_assert_eq!(&view[..], &bytes_of(*chunk, len_of(*chunk))[..]);
            }
            let stats = cache.stats();
            prop_assert_eq!((stats.hits, stats.misses), (hits, misses));
            prop_assert!(stats.bytes <= stats.capacity && stats.capacity <= buffers * BUFFER as u64);
        }
    }
}
