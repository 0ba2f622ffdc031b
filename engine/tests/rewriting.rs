//! Known chunks that are stored again: every generation comes back, the latest lies together, the budget is kept, and
//! the older copies are nobody's damage and the vacuum's gain.
#![allow(missing_docs, clippy::unwrap_used)]

mod place;

use std::collections::BTreeMap;

use gdd_engine::ids::ContainerId;
use gdd_engine::ingest::{PutOptions, PutSummary};
use gdd_engine::options::{Access, Options, Rewriting};
use gdd_engine::rebuild;
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use place::{MIB, Place, chunks_of, get, noise, options};

const GENERATIONS: u64 = 12;
const PERCENT: u8 = 20;
const SEEK: u64 = 48 << 10;

fn rewriting() -> Options {
    let rewriting = Rewriting { percent: PERCENT, window: MIB as u64, seek: SEEK };
    Options { rewriting, ..options() }
}

fn open(place: &Place, options: &Options) -> Store {
    Store::open(&place.dir, Access::ReadWrite, options).unwrap()
}

/// Each generation differs from the one before in some places, others each time.
fn generations() -> Vec<Vec<u8>> {
    let mut all = vec![noise(0, 6 * MIB)];
    for generation in 1..GENERATIONS {
        let mut next = all[all.len() - 1].clone();
        let places = noise(generation, 8 * 12);
        for (number, place) in places.chunks(8).enumerate() {
            let at = u32::from_le_bytes(place[..4].try_into().unwrap()) as usize % (next.len() - 3000);
            next[at..at + 3000].copy_from_slice(&noise(generation << 32 | number as u64, 3000));
        }
        all.push(next);
    }
    all
}

fn put(store: &Store, name: &str, bytes: &[u8], kept: bool) -> PutSummary {
    let mut put = store.put_with(name, PutOptions { kept, ..PutOptions::default() }).unwrap();
    bytes.chunks(300_000).for_each(|part| put.write(part).unwrap());
    if kept {
        put.flush().unwrap();
    }
    put.finish().unwrap()
}

fn put_all(store: &Store, all: &[Vec<u8>]) -> Vec<PutSummary> {
    let each = all.iter().enumerate();
    each.map(|(number, bytes)| put(store, &number.to_string(), bytes, number % 3 == 2)).collect()
}

fn expect_all(store: &Store, all: &[Vec<u8>]) {
    for (number, bytes) in all.iter().enumerate() {
        assert!(get(store, &number.to_string()).unwrap() == *bytes, "generation {number}");
    }
}

/// Places to which a disk goes for each MiB of a stream, all together.
fn visits(store: &Store, name: &str) -> usize {
    let (mut visits, mut bytes, mut window) = (0, 0, BTreeMap::<ContainerId, Vec<u64>>::new());
    let mut count = |window: &mut BTreeMap<ContainerId, Vec<u64>>| {
        for (_, mut offsets) in std::mem::take(window) {
            offsets.sort_unstable();
            visits += 1 + offsets.windows(2).filter(|pair| pair[1] > pair[0] + SEEK).count();
        }
    };
    for (_, entry) in chunks_of(store, name) {
        window.entry(entry.container).or_default().push(u64::from(entry.offset));
        bytes += entry.raw_len as usize;
        if bytes >= MIB {
            bytes = 0;
            count(&mut window);
        }
    }
    count(&mut window);
    visits
}

/// Bytes of records in containers.
fn stored(store: &Store) -> u64 {
    store.core().index.containers().unwrap().iter().map(|(_, row)| row.stored_bytes).sum()
}

#[test]
fn every_generation_comes_back_and_the_last_lies_together() {
    let (all, plain_place, place) = (generations(), Place::new(), Place::new());
    let (plain, store) = (open(&plain_place, &options()), open(&place, &rewriting()));
    let (before, summaries) = (put_all(&plain, &all), put_all(&store, &all));
    for (plain, summary) in before.iter().zip(&summaries) {
        assert_eq!((plain.rewritten_bytes, plain.rewritten_chunks), (0, 0));
        assert_eq!((plain.new_bytes, plain.new_chunks), (summary.new_bytes, summary.new_chunks));
        assert!(summary.rewritten_bytes * 100 <= summary.bytes * u64::from(PERCENT), "{summary:?}");
    }
    let rewritten: u64 = summaries.iter().map(|summary| summary.rewritten_bytes).sum();
    assert!(rewritten > 0, "something was stored again");
    assert_eq!(stored(&store), stored(&plain) + rewritten, "and lies there twice");
    let last = (GENERATIONS - 1).to_string();
    let (scattered, together) = (visits(&plain, &last), visits(&store, &last));
    println!(
        "visits of the last generation: {scattered} without, {together} with {rewritten} bytes rewritten"
    );
    assert!(together * 3 <= scattered * 2, "{together} of {scattered}");
    expect_all(&store, &all);
    plain_place.check(plain);
    place.check(store);
}

#[test]
fn a_rebuilt_index_and_a_vacuum_lose_nothing_and_free_the_older_copies() {
    let (all, place) = (generations(), Place::new());
    let store = open(&place, &rewriting());
    let summaries = put_all(&store, &all);
    let new: u64 = summaries.iter().map(|summary| summary.new_bytes).sum();
    place.check(store);
    let rebuilt = rebuild::rebuild_index(&place.dir, &options(), &mut |_| ()).unwrap();
    assert!(rebuilt.chunks_twice > 0, "{rebuilt:?}");
    let store = open(&place, &rewriting());
    expect_all(&store, &all);
    let visits_before = visits(&store, &(GENERATIONS - 1).to_string());
    for _ in 0..3 {
        let report = store
            .vacuum(&VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() }, &mut |_| (), &mut |_| {
                true
            })
            .unwrap();
        assert_eq!((report.lost_chunks, report.quarantined.len()), (0, 0), "{report:?}");
    }
    expect_all(&store, &all);
    let left = stored(&store);
    // A container that is being filled stays as it is.
    assert!(left < new + 4 * MIB as u64, "{left} bytes for {new}");
    let visits_after = visits(&store, &(GENERATIONS - 1).to_string());
    println!("visits {visits_before} before the vacuum, {visits_after} after");
    place.check(store);
}

#[test]
fn a_stream_that_lies_together_is_left_alone() {
    let (bytes, place) = (noise(7, 6 * MIB), Place::new());
    let store = open(&place, &rewriting());
    for name in ["first", "second", "third"] {
        assert_eq!(put(&store, name, &bytes, false).rewritten_bytes, 0, "{name}");
    }
    place.check(store);
}

#[test]
fn a_stream_of_many_short_files_is_joined_and_comes_back() {
    let (all, place) = (generations(), Place::new());
    let store = open(&place, &rewriting());
    let mut rewritten = 0;
    for (number, bytes) in all.iter().enumerate() {
        let mut put = store.put(&number.to_string()).unwrap();
        for part in bytes.chunks(20_000) {
            put.split().unwrap();
            put.write(part).unwrap();
        }
        rewritten += put.finish().unwrap().rewritten_bytes;
    }
    assert!(rewritten > 0);
    expect_all(&store, &all);
    place.check(store);
}

/// Parts of all containers of a stream, and all of it but these.
fn taken_apart(base: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let parts = (0..12).flat_map(|number| &base[number * MIB / 2 + 100_000..][..60_000]);
    let rest = (0..12).flat_map(|number| &base[number * MIB / 2 + 180_000..][..340_000]);
    (parts.copied().collect(), rest.copied().collect())
}

/// The index has moved chunks to a younger container (`again` stores them again), which goes with everything in it. The
/// older one lists them still, and is read as soon as one of its other chunks is asked for.
fn an_older_copy_makes_nothing_known(options: &Options, again: impl FnOnce(&Store, &[u8])) {
    let (base, place) = (noise(1, 6 * MIB), Place::new());
    let options = Options { workers: Some(1), ..options.clone() };
    let store = open(&place, &options);
    put(&store, "base", &base, false);
    let (parts, rest) = taken_apart(&base);
    let scattered = [noise(2, MIB), parts, noise(3, MIB)].concat();
    again(&store, &scattered);
    let moved: Vec<_> = chunks_of(&store, "scattered").into_iter().map(|(hash, _)| hash).collect();
    // All of the base but what was moved, so that its containers stay.
    put(&store, "rest", &rest, false);
    ["base", "scattered"].iter().for_each(|name| drop(store.remove(name).unwrap()));
    store.close().unwrap();
    // From here on nothing is rewritten: that would store what lies scattered, known or not.
    let store = open(&place, &Options { rewriting: Rewriting::OFF, ..options });
    for name in ["again", "and again"] {
        put(&store, name, &rest, false);
    }
    let before: Vec<_> = store.core().index.containers().unwrap().into_iter().map(|(id, _)| id).collect();
    let limit = VacuumOptions { dead_share: 0.6, ..VacuumOptions::default() };
    (0..2).for_each(|_| drop(store.vacuum(&limit, &mut |_| (), &mut |_| true).unwrap()));
    let after: Vec<_> = store.core().index.containers().unwrap().into_iter().map(|(id, _)| id).collect();
    assert!(
        after.len() < before.len() && after[0] == before[0],
        "the younger ones went, and the older stayed"
    );
    let mut found = Vec::new();
    store.core().index.locate(&moved, &mut found).unwrap();
    assert!(found.iter().any(Option::is_none), "chunks went with them");
    put(&store, "scattered", &scattered, false);
    assert!(get(&store, "scattered").unwrap() == scattered);
    place.check(store);
}

/// The old index knew that the damaged copy is not to be relied on, by looking elsewhere for the chunk. The new one is
/// made of what the containers list.
#[test]
fn a_rebuild_does_not_bring_a_damaged_copy_back() {
    let (base, place) = (noise(1, 6 * MIB), Place::new());
    let one = Options { workers: Some(1), ..options() };
    let store = open(&place, &one);
    put(&store, "base", &base, false);
    let (parts, rest) = taken_apart(&base);
    let scattered = [noise(2, MIB), parts, noise(3, MIB)].concat();
    put(&store, "scattered", &scattered, false);
    let base_chunks: BTreeMap<_, _> =
        chunks_of(&store, "base").into_iter().map(|(hash, entry)| (hash.0, entry)).collect();
    let shared: Vec<_> = chunks_of(&store, "scattered").into_iter().map(|(hash, _)| hash).collect();
    let bad: Vec<_> = shared.into_iter().filter(|hash| base_chunks.contains_key(&hash.0)).collect();
    assert!(bad.len() > 10, "{} chunks", bad.len());
    bad.iter().for_each(|hash| place::rot(&store, &base_chunks[&hash.0]));
    store.core().suspects.note_all(bad.clone()).unwrap();
    put(&store, "healed", &scattered, false);
    assert!(get(&store, "healed").unwrap() == scattered);
    // All of the base but that, so that its containers stay, and the younger ones go.
    put(&store, "rest", &rest, false);
    ["base", "scattered", "healed"].iter().for_each(|name| drop(store.remove(name).unwrap()));
    let limit = VacuumOptions { dead_share: 0.6, ..VacuumOptions::default() };
    (0..2).for_each(|_| drop(store.vacuum(&limit, &mut |_| (), &mut |_| true).unwrap()));
    let mut found = Vec::new();
    store.core().index.locate(&bad, &mut found).unwrap();
    assert!(found.iter().any(Option::is_none), "chunks went with them");
    store.close().unwrap();
    rebuild::rebuild_index(&place.dir, &one, &mut |_| ()).unwrap();
    let store = open(&place, &one);
    put(&store, "scattered", &scattered, false);
    assert!(get(&store, "scattered").unwrap() == scattered);
    assert!(get(&store, "rest").unwrap() == rest);
    store.close().unwrap();
}

#[test]
fn what_was_rewritten_is_not_known_by_its_older_copy() {
    // In few windows: they are stored again, if anything is.
    an_older_copy_makes_nothing_known(&rewriting(), |store, scattered| {
        assert!(put(store, "scattered", scattered, false).rewritten_bytes > 0);
    });
}

#[test]
fn what_was_healed_is_not_known_by_its_damaged_copy() {
    an_older_copy_makes_nothing_known(&options(), |store, scattered| {
        put(store, "probe", scattered, false);
        // As if a restore had found that none of these can be given back.
        let base: Vec<_> = chunks_of(store, "base").into_iter().map(|(hash, _)| hash).collect();
        let probe = chunks_of(store, "probe").into_iter().map(|(hash, _)| hash);
        let bad: Vec<_> = probe.filter(|hash| base.contains(hash)).collect();
        assert!(bad.len() > 10, "{} chunks", bad.len());
        store.remove("probe").unwrap();
        store.core().suspects.note_all(bad).unwrap();
        assert!(put(store, "scattered", scattered, false).new_bytes > 100_000, "they are stored again");
    });
}

#[test]
fn two_streams_that_move_the_same_chunks_store_them_once() {
    let (base, place) = (noise(1, 6 * MIB), Place::new());
    let store = open(&place, &rewriting());
    put(&store, "base", &base, false);
    let parts: Vec<_> = (0..12).map(|number| &base[number * MIB / 2 + 100_000..][..60_000]).collect();
    let (before, parts) = (stored(&store), parts.concat());
    let streams = [2, 3].map(|seed| [noise(seed, MIB), parts.clone(), noise(seed + 2, MIB)].concat());
    let mut puts = [store.put("one").unwrap(), store.put("other").unwrap()];
    for at in (0..streams[0].len()).step_by(100_000) {
        for (put, bytes) in puts.iter_mut().zip(&streams) {
            put.write(&bytes[at..bytes.len().min(at + 100_000)]).unwrap();
        }
    }
    let summaries = puts.map(|put| put.finish().unwrap());
    let new: u64 = summaries.iter().map(|summary| summary.new_bytes).sum();
    let rewritten: u64 = summaries.iter().map(|summary| summary.rewritten_bytes).sum();
    assert!(rewritten > 0 && rewritten <= parts.len() as u64, "{rewritten} of {}", parts.len());
    assert_eq!(stored(&store), before + new + rewritten);
    for (name, bytes) in ["one", "other"].into_iter().zip(&streams) {
        assert!(get(&store, name).unwrap() == *bytes, "{name}");
    }
    place.check(store);
}
