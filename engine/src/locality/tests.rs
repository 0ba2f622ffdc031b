//! The cache against a model that never forgets, and its budget.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::format::codec::Codec;
use crate::ids::Epoch;

const MIB: usize = 1 << 20;

fn id(number: u32) -> ContainerId {
    ContainerId::of(Epoch(1), number)
}

/// Chunk `number` as container `container` lists it.
fn entry(container: u32, number: u32) -> DirectoryEntry {
    let hash = ChunkHash::of(&number.to_le_bytes());
    DirectoryEntry {
        hash,
        offset: container * 1000,
        stored_len: number,
        raw_len: container,
        codec: Codec::None,
    }
}

fn entries(container: u32, numbers: std::ops::Range<u32>) -> Vec<DirectoryEntry> {
    numbers.map(|number| entry(container, number)).collect()
}

fn hash(number: u32) -> ChunkHash {
    entry(0, number).hash
}

#[test]
fn a_directory_is_found_entry_by_entry() {
    let mut cache = LocalityCache::new(MIB);
    cache.insert_container(id(1), &entries(1, 0..100));
    cache.insert_container(id(2), &entries(2, 100..200));
    for number in 0..200 {
        let container = 1 + number / 100;
        assert_eq!(cache.get(&hash(number)), Some((id(container), entry(container, number))));
    }
    assert_eq!(cache.get(&hash(200)), None);
    assert!(cache.contains_container(id(1)) && !cache.contains_container(id(3)));
    cache.remove_chunk(&hash(150));
    cache.remove_chunk(&hash(150));
    assert_eq!(cache.get(&hash(150)), None);
    assert!(cache.contains_container(id(2)));
    cache.remove_container(id(1));
    assert!((0..100).all(|number| cache.get(&hash(number)).is_none()));
    assert_eq!((cache.chunk_count(), cache.container_count()), (99, 1));
}

#[test]
fn a_chunk_in_two_containers_is_found_in_the_later_one() {
    let mut cache = LocalityCache::new(MIB);
    cache.insert_container(id(1), &entries(1, 0..10));
    cache.insert_container(id(2), &entries(2, 5..15));
    assert_eq!(cache.get(&hash(7)).unwrap().0, id(2));
    cache.remove_container(id(1));
    assert_eq!(cache.get(&hash(7)).unwrap().0, id(2), "removing the earlier one does not touch it");
    assert_eq!(cache.get(&hash(3)), None);
}

#[test]
fn two_chunks_with_one_word_are_told_apart() {
    let mut cache = LocalityCache::new(MIB);
    let mut twin = entry(1, 0);
    twin.hash.0[31] ^= 1;
    cache.insert_container(id(1), &[entry(1, 0)]);
    assert_eq!(cache.get(&twin.hash), None);
    cache.remove_chunk(&twin.hash);
    assert!(cache.get(&hash(0)).is_some());
    cache.add_entry(id(1), twin);
    assert!(cache.get(&twin.hash).is_some());
}

#[test]
fn what_is_used_outlives_what_is_not() {
    let mut cache = LocalityCache::new(64 << 10);
    cache.insert_container(id(0), &entries(0, 0..100));
    for container in 1..100u32 {
        assert!(cache.get(&hash(5)).is_some(), "evicted although used before each insertion, at {container}");
        cache.insert_container(id(container), &entries(container, container * 100..container * 100 + 100));
    }
    assert!(!cache.contains_container(id(1)));
    assert!(cache.contains_container(id(99)));
}

#[test]
fn a_directory_beyond_the_budget_is_not_kept_and_evicts_nothing() {
    let mut cache = LocalityCache::new(64 << 10);
    cache.insert_container(id(1), &entries(1, 0..100));
    cache.insert_container(id(2), &entries(2, 1000..9000));
    assert!(cache.contains_container(id(1)) && !cache.contains_container(id(2)));
    for budget in [0, 1, 100, 1000] {
        let mut tiny = LocalityCache::new(budget);
        tiny.insert_container(id(1), &entries(1, 0..100));
        tiny.add_entry(id(2), entry(2, 1));
        assert_eq!(tiny.container_count(), 0, "{budget}");
    }
}

#[test]
fn a_growing_container_stays_and_makes_the_others_go() {
    let mut cache = LocalityCache::new(256 << 10);
    cache.insert_container(id(1), &entries(1, 100_000..100_500));
    let mut kept = 0;
    for number in 0..10_000 {
        cache.add_entry(id(9), entry(9, number));
        kept += usize::from(cache.get(&hash(number)).is_some());
        assert!(cache.bytes() <= 256 << 10, "{number}");
    }
    assert!(cache.contains_container(id(9)) && !cache.contains_container(id(1)));
    assert!(kept > 1500, "{kept} of the 3000 that would fit without doubling");
    assert_eq!(cache.chunk_count(), kept, "beyond the budget nothing is added, and what is there stays");
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u32, u32),
    Add(u32, u32),
    Get(u32),
    RemoveContainer(u32),
    RemoveChunk(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..30u32, 0..2000u32, 0..120u32)
            .prop_map(|(container, first, count)| Step::Insert(container, first, count)),
        (0..30u32, 0..2000u32).prop_map(|(container, number)| Step::Add(container, number)),
        (0..2000u32).prop_map(Step::Get),
        (0..30u32).prop_map(Step::RemoveContainer),
        (0..2000u32).prop_map(Step::RemoveChunk),
    ]
}

proptest! {
    #[test]
    fn it_never_says_what_the_model_does_not(steps in prop::collection::vec(step(), 0..300), roomy in any::<bool>()) {
        let budget = if roomy { 4 * MIB } else { 24 << 10 };
        let mut cache = LocalityCache::new(budget);
        // Where each chunk was put last, and which chunks each container lists.
        let mut place: HashMap<u32, u32> = HashMap::new();
        let mut listed: HashMap<u32, HashSet<u32>> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(container, first, count) => {
                    place.retain(|_, at| *at != container);
                    cache.insert_container(id(container), &entries(container, first..first + count));
                    listed.insert(container, (first..first + count).collect());
                    place.extend((first..first + count).map(|number| (number, container)));
                }
                Step::Add(container, number) => {
                    cache.add_entry(id(container), entry(container, number));
                    listed.entry(container).or_default().insert(number);
                    place.insert(number, container);
                }
                Step::Get(number) => {
                    let found = cache.get(&hash(number));
                    let expected = place.get(&number).map(|at| (id(*at), entry(*at, number)));
                    if roomy {
                        prop_assert_eq!(found, expected);
                    } else if let Some((container, found)) = found {
                        // A full cache may have refused the later of two places; never one that was removed.
                        let listed = listed.iter().any(|(at, all)| id(*at) == container && all.contains(&number));
                        prop_assert!(listed && found.hash == hash(number));
                    }
                }
                Step::RemoveContainer(container) => {
                    cache.remove_container(id(container));
                    listed.remove(&container);
                    place.retain(|_, at| *at != container);
                    prop_assert!(!cache.contains_container(id(container)));
                }
                Step::RemoveChunk(number) => {
                    cache.remove_chunk(&hash(number));
                    listed.values_mut().for_each(|all| all.retain(|listed| *listed != number));
                    place.remove(&number);
                    prop_assert_eq!(cache.get(&hash(number)), None);
                }
            }
            prop_assert!(cache.bytes() <= budget, "{} of {budget} bytes", cache.bytes());
            let counted: usize = cache.slots.iter().map(|slot| slot.entries.capacity() * ENTRY_BYTES).sum();
            prop_assert_eq!(counted, cache.directory_bytes);
        }
    }
}
