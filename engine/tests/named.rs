//! A stream whose chunks come by name, from somebody who is not trusted.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck;
use gdd_engine::ids::{ChunkHash, DomainTag};
use gdd_engine::ingest::PutOptions;
use gdd_engine::ingest::front::StreamChunk;
use gdd_engine::ingest::named::{NamedPut, NamedSummary};
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;

fn store(root: &Path) -> Store {
    let dir = root.join("store");
    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    Store::init(&dir, &Settings::default(), &options).unwrap();
    Store::open(&dir, Access::ReadWrite, &options).unwrap()
}

/// Chunk number `number`, a few kilobytes that no other number has.
fn chunk(number: u32) -> Vec<u8> {
    let len = 4000 + number as usize * 977 % 30_000;
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn name(bytes: &[u8]) -> StreamChunk {
    StreamChunk { hash: ChunkHash::of(bytes), len: u32::try_from(bytes.len()).unwrap() }
}

fn answer(put: &mut NamedPut) -> Vec<bool> {
    loop {
        if let Some(wanted) = put.answer().unwrap() {
            return wanted;
        }
        std::thread::yield_now();
    }
}

fn refusal(put: &mut NamedPut) -> Result<(), Error> {
    loop {
        match put.answer() {
            Ok(None) => std::thread::yield_now(),
            other => return other.map(|_| ()),
        }
    }
}

/// Store the chunks with these numbers, giving what is wanted; how many were wanted.
fn put(store: &Store, stream: &str, numbers: &[u32]) -> (NamedSummary, usize) {
    give(store.put_named(stream, PutOptions::default()).unwrap(), numbers)
}

/// The same for a domain that sees only what it has brought.
fn put_of(store: &Store, domain: &str, stream: &str, numbers: &[u32]) -> (NamedSummary, usize) {
    let put = store.put_named(stream, PutOptions::default()).unwrap();
    give(put.seen_by(DomainTag::of(domain)), numbers)
}

fn give(mut put: NamedPut, numbers: &[u32]) -> (NamedSummary, usize) {
    let mut given = 0;
    for batch in numbers.chunks(100) {
        let chunks: Vec<Vec<u8>> = batch.iter().map(|number| chunk(*number)).collect();
        put.ask(chunks.iter().map(|bytes| name(bytes)).collect()).unwrap();
        let wanted = answer(&mut put);
        assert_eq!(wanted.len(), chunks.len());
        for bytes in chunks.iter().zip(wanted).filter_map(|(bytes, wanted)| wanted.then_some(bytes)) {
            put.give(bytes).unwrap();
            given += 1;
        }
        assert_eq!(put.missing(), 0);
    }
    (put.finish().unwrap(), given)
}

fn get(store: &Store, stream: &str) -> Vec<u8> {
    let (mut get, mut bytes) = (store.get(stream).unwrap(), Vec::new());
    while let Some(part) = get.next().unwrap() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

fn whole(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| chunk(*number)).collect()
}

#[test]
fn only_what_is_new_is_wanted_and_all_of_it_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let first: Vec<u32> = (0..1500).chain(0..300).chain([7, 7, 7]).collect();
    let (summary, given) = put(&store, "first", &first);
    assert_eq!((summary.new_chunks, given), (1500, 1500), "each once: {summary:?}");
    assert_eq!(summary.bytes, whole(&first).len() as u64);
    assert_eq!(summary.new_bytes, summary.given_bytes);
    let (again, given) = put(&store, "again", &first);
    assert_eq!((again.new_chunks, again.given_bytes, given), (0, 0, 0), "{again:?}");
    let second: Vec<u32> = (1000..1600).collect();
    let (second_summary, given) = put(&store, "second", &second);
    assert_eq!((second_summary.new_chunks, given), (100, 100));
    assert_eq!(put(&store, "empty", &[]).0.bytes, 0);

    for (stream, numbers) in [("first", &first), ("again", &first), ("second", &second), ("empty", &vec![])] {
        assert!(get(&store, stream) == whole(numbers), "{stream}");
    }
    // What came by its bytes is known by name, and the other way round.
    let mut bytes = store.put("bytes").unwrap();
    bytes.write(&whole(&first)).unwrap();
    bytes.finish().unwrap();
    store.close().unwrap();
    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    let store = Store::open(&root.path().join("store"), Access::ReadWrite, &options).unwrap();
    assert_eq!(put(&store, "later", &first).1, 0, "durable");
    assert!(get(&store, "later") == whole(&first));
    store.close().unwrap();
    let report = fsck::check(&root.path().join("store"), 3, &options, &mut |_| {}).unwrap();
    assert!(report.clean, "{report:?}");
}

#[test]
fn a_liar_is_refused_and_harms_nobody() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    put(&store, "honest", &[1, 2, 3]);
    let invalid = |result: Result<(), Error>, words: &str| match result {
        Err(Error::Invalid(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{words}: {other:?}"),
    };
    let begin = |stream: &str| store.put_named(stream, PutOptions::default()).unwrap();

    {
        let mut liar = begin("length");
        liar.ask(vec![StreamChunk { len: 5, ..name(&chunk(1)) }]).unwrap();
        invalid(refusal(&mut liar), "bytes, found 5");
    }
    {
        let mut liar = begin("zero");
        invalid(liar.ask(vec![StreamChunk { len: 0, ..name(&chunk(1)) }]), "found 0");
        drop(liar);
        let mut liar = begin("huge");
        invalid(liar.ask(vec![StreamChunk { len: 1 << 30, ..name(&chunk(1)) }]), "found 1073741824");
    }
    {
        let mut liar = begin("other bytes");
        liar.ask(vec![name(&chunk(50))]).unwrap();
        assert_eq!(answer(&mut liar), [true]);
        invalid(liar.give(&chunk(51)).map(|_| ()), "not wanted");
        invalid(liar.give(&chunk(1)).map(|_| ()), "not wanted");
        invalid(liar.finish().map(|_| ()), "1 of its chunks");
    }
    {
        let mut liar = begin("longer");
        let longer = StreamChunk { len: 20_000, ..name(&chunk(52)) };
        liar.ask(vec![longer]).unwrap();
        assert_eq!(answer(&mut liar), [true]);
        invalid(liar.give(&chunk(52)).map(|_| ()), "expected 20000 bytes");
    }
    {
        let mut liar = begin("two lengths");
        liar.ask(vec![name(&chunk(53))]).unwrap();
        assert_eq!(answer(&mut liar), [true]);
        liar.give(&chunk(53)).unwrap();
        liar.ask(vec![StreamChunk { len: 5, ..name(&chunk(53)) }]).unwrap();
        invalid(refusal(&mut liar), "bytes, found 5");
    }
    {
        let mut liar = begin("no answer");
        liar.ask(vec![name(&chunk(1))]).unwrap();
        invalid(liar.finish().map(|_| ()), "1 answers");
    }

    let names: Vec<String> = store.list().unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["honest"]);
    assert_eq!(
        put(&store, "no answer", &[1, 50]).1,
        1,
        "the name is free, and what was never given is not known"
    );
    assert!(get(&store, "no answer") == whole(&[1, 50]));
    store.close().unwrap();
}

#[test]
fn a_domain_learns_nothing_of_what_others_brought() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let numbers: Vec<u32> = (0..300).collect();
    assert_eq!(put_of(&store, "site", "first", &numbers).1, 300);
    let stored = store.core().index.chunk_count_estimate().unwrap();

    // Known and unknown chunks are answered alike, also with a length that only the unknown may have.
    let mut guest = store.put_named("asks", PutOptions::default()).unwrap().seen_by(DomainTag::of("guest"));
    let lie = |number| StreamChunk { len: 5, ..name(&chunk(number)) };
    guest.ask([0, 1, 2, 1000, 1001, 1002].map(lie).to_vec()).unwrap();
    assert_eq!(answer(&mut guest), [true; 6]);
    drop(guest);

    // What it brings is stored once, and is known to it from then on: in this stream, and in later ones.
    let twice: Vec<u32> = (200..400).chain(200..400).collect();
    let (summary, given) = put_of(&store, "guest", "second", &twice);
    assert_eq!((given, summary.new_chunks), (200, 100), "{summary:?}");
    assert_eq!(summary.given_bytes, whole(&(200..400).collect::<Vec<_>>()).len() as u64);
    assert_eq!(put_of(&store, "guest", "third", &twice).1, 0);
    assert_eq!(put_of(&store, "guest", "fourth", &numbers).1, 200, "the others are not its own");
    assert_eq!(put_of(&store, "site", "fifth", &twice).1, 100, "and the guest's are not the site's");
    assert_eq!(put(&store, "all", &twice).1, 0, "who sees the whole store sees them");
    store.close().unwrap();

    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    let store = Store::open(&root.path().join("store"), Access::ReadWrite, &options).unwrap();
    assert_eq!(put_of(&store, "guest", "later", &twice).1, 0, "the domain's chunks are remembered");
    assert_eq!(put_of(&store, "other", "other", &twice).1, 200);
    assert!(get(&store, "second") == whole(&twice) && get(&store, "other") == whole(&twice));
    assert!(store.core().index.chunk_count_estimate().unwrap() <= stored + 200, "each is stored once");
    store.close().unwrap();
    let report = fsck::check(&root.path().join("store"), 3, &options, &mut |_| {}).unwrap();
    assert!(report.clean, "{report:?}");
}

#[test]
fn what_a_broken_stream_brought_is_remembered_from_its_flush_on() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let mut put = store.put_named("broken", PutOptions::default()).unwrap().seen_by(DomainTag::of("site"));
    let chunks: Vec<Vec<u8>> = (0..10).map(chunk).collect();
    put.ask(chunks.iter().map(|bytes| name(bytes)).collect()).unwrap();
    assert_eq!(answer(&mut put), [true; 10]);
    for bytes in &chunks[..6] {
        put.give(bytes).unwrap();
    }
    put.flush();
    while put.is_waiting() {
        assert!(put.answer().unwrap().is_none());
        if put.durable().unwrap().is_none() {
            put.wait().unwrap();
        }
    }
    drop(put);
    assert_eq!(put_of(&store, "site", "again", &(0..10).collect::<Vec<_>>()).1, 4);
}
