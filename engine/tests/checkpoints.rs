//! A stream that is made durable, cut and read on from its middle.
#![allow(missing_docs, clippy::unwrap_used)]

use gdd_engine::format::recipe::Owner;
use gdd_engine::format::superblock::Settings;
use gdd_engine::get::{Get, Shelf};
use gdd_engine::ingest::PutOptions;
use gdd_engine::options::{Access, Options, Trust};
use gdd_engine::store::Store;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn store(root: &std::path::Path) -> Store {
    let dir = root.join("store");
    let options = Options { workers: Some(2), pin: false, ..Options::default() };
    Store::init(&dir, &Settings::default(), &options).unwrap();
    Store::open(&dir, Access::ReadWrite, &options).unwrap()
}

fn from(store: &Store, name: &str, offset: u64) -> Vec<u8> {
    let mut get = Get::begin_at(store.core(), &Shelf::new(16 << 20, Trust::Crc), name, offset).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = get.next().unwrap() {
        bytes.extend_from_slice(&part);
    }
    assert_eq!(bytes.len() as u64, get.bytes());
    bytes
}

#[test]
fn what_was_flushed_is_durable_and_the_stream_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let bytes = noise(1, 13_000_000);
    let options = PutOptions { owner: Owner::Volume, ..PutOptions::default() };
    let mut put = store.put_with("a", options).unwrap();
    let mut written = 0;
    for len in [1, 100_000, 5_000_000, 0, 7_000_000, 899_999] {
        put.write(&bytes[written..written + len]).unwrap();
        written += len;
        put.mark().unwrap();
        assert!(put.durable().unwrap() <= written as u64);
        put.flush().unwrap();
        assert_eq!(put.durable().unwrap(), written as u64);
    }
    assert_eq!(put.finish().unwrap().bytes, bytes.len() as u64);
    assert!(from(&store, "a", 0) == bytes);
    assert_eq!(store.list().unwrap()[0].owner, Owner::Volume);
    store.close().unwrap();
}

#[test]
fn a_mark_becomes_durable_by_itself_and_changes_no_cut() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let bytes = noise(2, 20_000_000);
    let mut put = store.put("plain").unwrap();
    put.write(&bytes).unwrap();
    let plain = put.finish().unwrap();
    let mut put = store.put("marked").unwrap();
    for part in bytes.chunks(1_000_000) {
        put.write(part).unwrap();
        put.mark().unwrap();
    }
    while put.durable().unwrap() < 10_000_000 {
        put.mark().unwrap();
        std::thread::yield_now();
    }
    let marked = put.finish().unwrap();
    assert_eq!((marked.chunks, marked.new_chunks), (plain.chunks, 0));
    store.close().unwrap();
}

#[test]
fn a_file_is_cut_alike_whatever_stands_before_it() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let file = noise(3, 3_000_000);
    let mut put = store.put("one").unwrap();
    put.write(&noise(4, 1_234_567)).unwrap();
    put.split().unwrap();
    put.write(&file).unwrap();
    put.finish().unwrap();
    let mut put = store.put("two").unwrap();
    put.write(&noise(5, 77_777)).unwrap();
    put.split().unwrap();
    put.split().unwrap();
    put.write(&file).unwrap();
    assert_eq!(put.finish().unwrap().new_bytes, 77_777, "nothing of the file is new");
    store.close().unwrap();
}

#[test]
fn a_stream_is_read_from_any_byte_also_in_the_middle_of_what_repeats() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let mut bytes = noise(6, 300_000);
    bytes.extend(vec![0; 5_000_000]); // Many times the same chunk: one entry.
    bytes.extend(noise(7, 40_000_000)); // More entries than a block of the recipe has.
    let mut put = store.put("a").unwrap();
    put.write(&bytes).unwrap();
    put.finish().unwrap();
    let len = bytes.len();
    for offset in [0, 1, 299_999, 300_001, 2_000_003, 5_299_999, 20_000_000, len - 1, len] {
        assert!(from(&store, "a", offset as u64) == bytes[offset..], "{offset}");
    }
    let shelf = Shelf::new(16 << 20, Trust::Crc);
    assert!(Get::begin_at(store.core(), &shelf, "a", len as u64 + 1).is_err());
    store.close().unwrap();
}
