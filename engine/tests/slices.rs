//! Slices in a real store: little is stored of what changes in place, every generation comes back, and nothing that a
//! slice refers to is lost or laundered.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use gdd_engine::copy::Copier;
use gdd_engine::error::Error;
use gdd_engine::format::recipe_block::{Line, RecipeEntry};
use gdd_engine::format::superblock::Settings;
use gdd_engine::get::{Get, Shelf, WholeChunks};
use gdd_engine::ids::ChunkHash;
use gdd_engine::index::RecipeRow;
use gdd_engine::ingest::slices::SliceTotals;
use gdd_engine::ingest::{PutOptions, PutSummary};
use gdd_engine::options::Trust;
use gdd_engine::rebuild;
use gdd_engine::recipe::{RecipeReader, Side, set};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use place::{MIB, Place, chunks_of, get, noise, options, rot};
use proptest::prelude::*;

const BLOCK: usize = 4096;

fn sliced() -> Place {
    Place::with(Settings { slices: true, ..Settings::default() })
}

/// Chunks and blocks of a quarter of the usual size, so that short streams have many.
fn finely_sliced() -> Place {
    let (chunk_size_min, chunk_size_avg, chunk_size_max) = (1 << 10, 4 << 10, 16 << 10);
    Place::with(Settings {
        chunk_size_min,
        chunk_size_avg,
        chunk_size_max,
        slices: true,
        ..Settings::default()
    })
}

fn lineage() -> PutOptions {
    PutOptions { lineage: Some("disk".to_owned()), ..PutOptions::default() }
}

fn put(store: &Store, name: &str, bytes: &[u8]) -> (PutSummary, SliceTotals) {
    let mut put = store.put_with(name, lineage()).unwrap();
    put.write(bytes).unwrap();
    let summary = put.finish().unwrap();
    let totals = summary.slices.unwrap_or_default();
    (summary, totals)
}

fn row(store: &Store, name: &str) -> RecipeRow {
    store.list().unwrap().into_iter().find(|row| row.name == name).unwrap()
}

fn lines_of(store: &Store, name: &str) -> Vec<Line> {
    let core = store.core();
    let mut io = core.open_io().unwrap();
    let recipe = row(store, name).recipe;
    let mut reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), recipe, core.store).unwrap();
    let mut lines = Vec::new();
    while reader.next_lines(io.as_mut(), &mut lines).unwrap() {}
    lines
}

/// A stream comes back, and each of its marks says what is there.
fn expect(store: &Store, name: &str, bytes: &[u8]) {
    assert!(get(store, name).unwrap() == bytes, "{name} comes back");
    let (mut at, mut marked) = (0, 0);
    for line in lines_of(store, name) {
        match line {
            Line::Piece(entry) => {
                at += entry.bytes();
                assert!(!entry.slice || at <= marked, "slices have marks");
            }
            Line::Mark(mark) => {
                let start = usize::try_from(marked.max(at)).unwrap();
                let end = start + mark.length as usize;
                assert!(ChunkHash::of(&bytes[start..end]) == mark.hash, "the mark at byte {start} of {name}");
                marked = end as u64;
            }
        }
    }
}

fn vacuum(store: &Store) -> u64 {
    let options = VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() };
    store.vacuum(&options, &mut |_| {}, &mut |_| true).unwrap().freed_containers
}

/// Spoil `count` blocks, spread by `seed`.
fn scatter(bytes: &mut [u8], seed: u64, count: usize) {
    let blocks = bytes.len() / BLOCK;
    for number in 0..count {
        let picked = u64::from_le_bytes(noise(seed << 20 | number as u64, 8).try_into().unwrap());
        let at = usize::try_from(picked % blocks as u64).unwrap() * BLOCK;
        bytes[at..at + BLOCK].copy_from_slice(&noise(picked, BLOCK));
    }
}

#[test]
fn of_scattered_writes_the_changed_blocks_are_stored() {
    let (place, whole) = (sliced(), Place::new());
    let (store, plain) = (place.open(), whole.open());
    // Data, and zeros, in which every chunk is as long as may be and like the others.
    let first = [noise(1, 12 * MIB), vec![0; 4 * MIB]].concat();
    let mut second = first.clone();
    scatter(&mut second, 2, 40);
    let changed =
        second.chunks(BLOCK).zip(first.chunks(BLOCK)).filter(|(new, old)| new != old).count() * BLOCK;
    for store in [&store, &plain] {
        put(store, "disk-1", &first);
    }
    let (summary, totals) = put(&store, "disk-2", &second);
    let (without, none) = put(&plain, "disk-2", &second);
    assert_eq!(none, SliceTotals::default());
    assert!(without.new_bytes > 8 * changed as u64, "{} bytes of {changed}", without.new_bytes);
    assert!(summary.new_bytes < 2 * changed as u64, "{} bytes of {changed}: {totals:?}", summary.new_bytes);
    assert_eq!((summary.bytes, totals.bytes_recognised), (second.len() as u64, 0));
    // The same again, and once more with a change elsewhere: what is made of slices is recognised.
    let (third, again) = put(&store, "disk-3", &second);
    assert_eq!((third.new_bytes, again.bytes_read), (0, 0), "{again:?}");
    assert!(again.bytes_recognised > 0);
    let lines = |name: &str| lines_of(&store, name).len();
    assert!(lines("disk-3") <= lines("disk-2") + 16, "{} lines after {}", lines("disk-3"), lines("disk-2"));
    let mut last = second.clone();
    scatter(&mut last, 3, 1);
    let (fourth, totals) = put(&store, "disk-4", &last);
    assert!(fourth.new_bytes <= 4 * BLOCK as u64 && totals.bytes_read < MIB as u64, "{totals:?}");
    for (name, bytes) in [("disk-1", &first), ("disk-2", &second), ("disk-3", &second), ("disk-4", &last)] {
        expect(&store, name, bytes);
    }
    place.check(store);
}

#[test]
fn a_restore_may_begin_anywhere() {
    let place = finely_sliced();
    let store = place.open();
    let mut bytes = noise(1, MIB);
    put(&store, "disk-1", &bytes);
    scatter(&mut bytes, 2, 30);
    let (_, totals) = put(&store, "disk-2", &bytes);
    assert!(totals.pieces > 20);
    let shelf = Shelf::new(8 << 20, Trust::Hash);
    for at in (0..=bytes.len()).step_by(7001).chain([1, bytes.len() - 1, bytes.len()]) {
        let mut get = Get::begin_at(store.core(), &shelf, "disk-2", at as u64).unwrap();
        let mut found = Vec::new();
        while let Some(piece) = get.next().unwrap() {
            found.extend_from_slice(&piece);
        }
        assert!(found == bytes[at..], "from byte {at}");
    }
    // A client of bothsides mode checks chunks by their hashes, and a slice has none.
    let mut chunks = WholeChunks::begin_at(store.core(), &shelf, "disk-2", 0).unwrap();
    let refused = loop {
        match chunks.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("slices were given as chunks"),
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("slices of chunks"), "{refused}");
}

#[test]
fn a_copy_has_the_same_slices_or_is_refused() {
    let (from, to, plain) = (finely_sliced(), finely_sliced(), Place::new());
    let (source, target, refusing) = (from.open(), to.open(), plain.open());
    let mut bytes = noise(1, MIB);
    put(&source, "disk-1", &bytes);
    scatter(&mut bytes, 2, 30);
    put(&source, "disk-2", &bytes);
    source.remove("disk-1").unwrap();
    let stream = row(&source, "disk-2");
    let mut copier = Copier::new(&source, &target, false).unwrap();
    let done = copier.copy(&stream, &mut |_| true).unwrap();
    assert_eq!(done.bytes, bytes.len() as u64);
    assert_eq!(row(&target, "disk-2").digest, stream.digest);
    expect(&target, "disk-2", &bytes);
    let checked = Copier::new(&source, &target, true).unwrap().copy(&stream, &mut |_| true).unwrap();
    assert_eq!((checked.was_there, checked.sent_chunks), (true, 0));
    let refused = Copier::new(&source, &refusing, false).unwrap().copy(&stream, &mut |_| true);
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.contains("--slices on")), "{refused:?}");
    assert!(refusing.list().unwrap().is_empty());
    // The copy is a version like any other.
    scatter(&mut bytes, 3, 1);
    let (next, _) = put(&target, "disk-3", &bytes);
    assert!(next.new_bytes <= 4 * BLOCK as u64);
    expect(&target, "disk-3", &bytes);
    to.check(target);
}

#[test]
fn a_chunk_that_cannot_be_read_is_no_base() {
    let place = finely_sliced();
    let store = place.open();
    let first = noise(1, MIB);
    put(&store, "disk-1", &first);
    let mut second = first.clone();
    scatter(&mut second, 2, 10);
    put(&store, "disk-2", &second);
    let is_slice = |line: &Line| match line {
        Line::Piece(entry) if entry.slice => Some(*entry),
        _ => None,
    };
    let slice: RecipeEntry = lines_of(&store, "disk-2").iter().find_map(is_slice).unwrap();
    let chunks = chunks_of(&store, "disk-1");
    let (_, entry) = chunks.iter().find(|(hash, _)| *hash == slice.hash).unwrap();
    let store = {
        store.close().unwrap();
        place.open()
    };
    rot(&store, entry);
    // Where it has to be read it is found to be bad, and what it was needed for is stored.
    let mut third = second.clone();
    let at = usize::try_from(
        lines_of(&store, "disk-2")
            .iter()
            .scan(0, position)
            .find(|(_, line)| is_slice(line).is_some_and(|found| found == slice))
            .unwrap()
            .0,
    )
    .unwrap();
    third[at] ^= 1;
    let (_, totals) = put(&store, "disk-3", &third);
    expect(&store, "disk-3", &third);
    assert!(totals.bytes > 0, "other slices are taken over");
    assert!(get(&store, "disk-2").is_err(), "what was lost is lost");
    // And where it need not be read, it counts as unknown by now.
    put(&store, "disk-4", &second);
    expect(&store, "disk-4", &second);
}

/// Where a line's piece begins.
fn position(at: &mut u64, line: &Line) -> Option<(u64, Line)> {
    let start = *at;
    if let Line::Piece(entry) = line {
        *at += entry.bytes();
    }
    Some((start, *line))
}

#[test]
fn what_leaves_while_a_stream_is_stored_is_no_base() {
    let place = finely_sliced();
    let store = place.open();
    let mut bytes = noise(1, 2 * MIB);
    put(&store, "disk-1", &bytes);
    put(&store, "other-1", &noise(9, 3 * MIB));
    scatter(&mut bytes, 2, 60);
    let mut put = store.put_with("disk-2", lineage()).unwrap();
    store.remove("disk-1").unwrap();
    let options = VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() };
    let report = store.vacuum(&options, &mut |_| {}, &mut |_| true).unwrap();
    assert!(report.waiting_for_streams > 0, "all of it leaves, and waits for the new stream: {report:?}");
    put.write(&bytes).unwrap();
    let summary = put.finish().unwrap();
    assert!(summary.new_bytes > MIB as u64, "{summary:?}");
    vacuum(&store);
    expect(&store, "disk-2", &bytes);
    place.check(store);
}

#[test]
fn what_a_slice_was_taken_of_stays() {
    let place = finely_sliced();
    let store = place.open();
    let mut bytes = noise(1, 2 * MIB);
    put(&store, "disk-1", &bytes);
    put(&store, "other-1", &noise(9, 3 * MIB));
    scatter(&mut bytes, 2, 60);
    let mut put = store.put_with("disk-2", lineage()).unwrap();
    put.write(&bytes).unwrap();
    put.flush().unwrap();
    store.remove("disk-1").unwrap();
    vacuum(&store);
    let summary = put.finish().unwrap();
    assert!(summary.new_bytes < MIB as u64, "{summary:?}");
    for _ in 0..3 {
        vacuum(&store);
    }
    expect(&store, "disk-2", &bytes);
    place.check(store);
}

#[test]
fn many_generations_do_not_wear_out() {
    let place = finely_sliced();
    let store = place.open();
    let mut bytes = noise(1, 2 * MIB);
    put(&store, "disk-0", &bytes);
    for generation in 1..=40 {
        scatter(&mut bytes, generation, 20);
        let (summary, _) = put(&store, &format!("disk-{generation}"), &bytes);
        assert!(summary.new_bytes < MIB as u64, "generation {generation}: {summary:?}");
        store.remove(&format!("disk-{}", generation - 1)).unwrap();
    }
    expect(&store, "disk-40", &bytes);
    let pieces = lines_of(&store, "disk-40").iter().filter(|line| matches!(line, Line::Piece(_))).count();
    assert!(pieces < bytes.len() / 1024, "{pieces} pieces");
    for _ in 0..4 {
        vacuum(&store);
    }
    expect(&store, "disk-40", &bytes);
    let stored = store.stats().unwrap().stored_bytes;
    assert!(stored < 3 * bytes.len() as u64, "{stored} bytes are kept for {}", bytes.len());
    place.check(store);
}

#[test]
fn two_streams_of_a_lineage_at_once() {
    let place = finely_sliced();
    let store = place.open();
    let first = noise(1, 2 * MIB);
    put(&store, "disk-1", &first);
    std::thread::scope(|scope| {
        for number in 2..6 {
            let (store, mut bytes) = (&store, first.clone());
            scope.spawn(move || {
                scatter(&mut bytes, number % 2, 50);
                put(store, &format!("disk-{number}"), &bytes);
                expect(store, &format!("disk-{number}"), &bytes);
            });
        }
    });
    place.check(store);
}

/// What happens to a stream between two generations.
#[derive(Clone, Debug)]
enum Change {
    Overwrite(u32, u16),
    Insert(u32, u16),
    Cut(u32, u16),
    Append(u16),
    Zero(u32, u16),
    Repeat(u32, u16),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        6 => (any::<u32>(), 1u16..6000).prop_map(|(at, len)| Change::Overwrite(at, len)),
        1 => (any::<u32>(), 1u16..20_000).prop_map(|(at, len)| Change::Insert(at, len)),
        1 => (any::<u32>(), 1u16..20_000).prop_map(|(at, len)| Change::Cut(at, len)),
        1 => (1u16..20_000).prop_map(Change::Append),
        1 => (any::<u32>(), 1u16..30_000).prop_map(|(at, len)| Change::Zero(at, len)),
        1 => (any::<u32>(), 1u16..3000).prop_map(|(at, len)| Change::Repeat(at, len)),
    ];
    prop::collection::vec(change, 0..25)
}

fn apply(bytes: &mut Vec<u8>, change: &Change, seed: u64) {
    let place = |at: u32, len: u16| {
        let start = at as usize % (bytes.len() + 1);
        start..bytes.len().min(start + usize::from(len))
    };
    match *change {
        Change::Overwrite(at, len) => {
            let place = place(at, len);
            let fresh = noise(seed, place.len());
            bytes[place].copy_from_slice(&fresh);
        }
        Change::Insert(at, len) => {
            let place = place(at, 0);
            bytes.splice(place, noise(seed, len.into()));
        }
        Change::Cut(at, len) => drop(bytes.drain(place(at, len))),
        Change::Append(len) => bytes.extend(noise(seed, len.into())),
        Change::Zero(at, len) => {
            let place = place(at, len);
            bytes[place].fill(0);
        }
        Change::Repeat(at, len) => {
            let part = bytes[place(at, len)].to_vec();
            (0..20).for_each(|_| bytes.extend(&part));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_generation_comes_back(
        generations in prop::collection::vec(changes(), 1..7), part in 1usize..200_000, kept in 0usize..7,
    ) {
        let place = finely_sliced();
        let mut store = place.open();
        let mut bytes = [noise(1, 200_000), vec![0; 150_000], noise(2, 200_000)].concat();
        let mut streams = Vec::new();
        for (generation, changes) in (0..).zip(&generations) {
            for (number, change) in (0..).zip(changes) {
                apply(&mut bytes, change, generation << 16 | number | 1 << 40);
            }
            let name = format!("disk-{generation}");
            let mut put = store.put_with(&name, lineage()).unwrap();
            bytes.chunks(part).for_each(|part| put.write(part).unwrap());
            put.finish().unwrap();
            streams.push((name, bytes.clone()));
            if generation % 2 == 1 {
                store.close().unwrap();
                store = place.open();
            }
        }
        streams.iter().for_each(|(name, bytes)| expect(&store, name, bytes));
        // Without the older ones, and with an index made of what lies on disk.
        for (name, _) in streams.drain(..kept.min(streams.len() - 1)) {
            store.remove(&name).unwrap();
        }
        for _ in 0..3 {
            vacuum(&store);
        }
        streams.iter().for_each(|(name, bytes)| expect(&store, name, bytes));
        store.close().unwrap();
        rebuild::rebuild_index(&place.dir, &options(), &mut |_| {}).unwrap();
        let store = place.open();
        streams.iter().for_each(|(name, bytes)| expect(&store, name, bytes));
        let core = store.core();
        for row in store.list().unwrap() {
            // A copy that is written anew has the marks too.
            let (mut io, recipes) = (core.open_io().unwrap(), core.paths.recipes());
            std::fs::remove_file(Side::A.file(&recipes, row.recipe)).unwrap();
            let repaired = set::repair(io.as_mut(), &recipes, row.recipe, core.store);
            prop_assert_eq!(repaired.unwrap(), [Side::A]);
        }
        place.check(store);
    }
}
