//! Four streams at once, with the same content at the same moment, store what they would store one after another.
//!
//! One process has a store at a time, so these threads are in the test, and the engine is linked.

use std::io::Read;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_tests::effort::sized;
use gdd_tests::joined::Joined;
use gdd_tests::serial::Serial;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const MIB: u64 = 1 << 20;

/// All four share one part, which each meets at another time; and each neighbour has a part in common.
fn streams() -> [Joined; 4] {
    let scale = sized(1, 32);
    [0, 1, 2, 3].map(|number| {
        let own = Stream::new(Content::Random, 40 + number, scale * number * 2 * MIB + number);
        let neighbours = Stream::new(Content::Repeats { percent: 30 }, 50 + number / 2, scale * 8 * MIB);
        let common = Stream::new(Content::Text, 60, scale * 12 * MIB + 5);
        Joined::new([own, common, neighbours])
    })
}

fn store_all(dir: &Path, workers: usize) -> (u64, u64) {
    let options = Options { workers: Some(workers), ..Options::default() };
    Store::init(dir, &Settings::default(), &options).expect("the directory is empty");
    let store = Store::open(dir, Access::ReadWrite, &options).expect("a new store opens");
    let start = Barrier::new(4);
    let new_bytes = thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|number| {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                let mut stream = streams()[number].clone();
                let mut put = store.put(&number.to_string()).expect("the name is free");
                start.wait();
                put.read_from(&mut stream, &mut |_| {}).expect("the store takes it");
                put.finish().expect("the store keeps it").new_bytes
            })
        });
        threads.map(|thread| thread.join().expect("a thread ends")).iter().sum::<u64>()
    });
    let stats = store.stats().expect("an open store counts");
    store.close().expect("a store closes");
    assert_eq!(stats.unique_bytes, new_bytes, "what the streams count as new is what the store has");
    (stats.unique_bytes, stats.chunks)
}

#[test]
fn four_streams_at_once_store_what_they_have_in_common_once() {
    let mut serial = Serial::default();
    let counted = streams().map(|stream| serial.add(stream));
    let expected: (u64, u64) =
        (counted.iter().map(|one| one.new_bytes).sum(), counted.iter().map(|one| one.new_chunks).sum());
    for workers in [1, 2, 3] {
        let folder = scratch("at-once");
        let dir = folder.path().join("store");
        assert_eq!(store_all(&dir, workers), expected, "{workers} workers");
        let store = Store::open(&dir, Access::ReadOnly, &Options::default()).unwrap();
        for (number, stream) in streams().into_iter().enumerate() {
            let mut get = store.get(&number.to_string()).unwrap();
            let mut hasher = blake3::Hasher::new();
            while let Some(bytes) = get.next().unwrap() {
                hasher.update(&bytes);
            }
            assert_eq!(hasher.finalize(), stream.digest(), "stream {number}, {workers} workers");
        }
    }
}

#[test]
fn a_name_is_taken_from_the_first_byte_on() {
    let folder = scratch("names");
    let dir = folder.path().join("store");
    Store::init(&dir, &Settings::default(), &Options::default()).unwrap();
    let store = Store::open(&dir, Access::ReadWrite, &Options::default()).unwrap();
    let first = store.put("name").unwrap();
    let refused = store.put("name").err().expect("the name is taken").to_string();
    assert!(refused.contains("exists"), "{refused}");
    drop(first);
    let mut second = store.put("name").unwrap();
    second.read_from(&mut Stream::new(Content::Random, 1, 1000).take(999), &mut |_| {}).unwrap();
    assert_eq!(second.finish().unwrap().bytes, 999, "a dropped put leaves its name free");
    store.close().unwrap();
}
