//! Threads that insert, ask and make the filter grow at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const WRITERS: usize = 3;
const PER_WRITER: u64 = 30_000;

/// Each writer publishes how far it is; readers, who learn of insertions only by that, must find every one.
fn readers_never_miss(dir: Option<&Path>) -> Filter {
    let (filter, _) =
        Filter::open(dir, FilterConfig { first_capacity: 50, hot_capacity: 40, ..config(1) }).unwrap();
    filter.finish_rebuild();
    let done: [AtomicU64; WRITERS] = Default::default();
    std::thread::scope(|scope| {
        for (writer, done) in done.iter().enumerate() {
            let filter = &filter;
            scope.spawn(move || {
                for number in 0..PER_WRITER {
                    filter.insert(&chunk((writer as u64) << 32 | number));
                    done.store(number + 1, Ordering::Release);
                }
            });
        }
        for reader in 0..2u64 {
            let (filter, done) = (&filter, &done);
            scope.spawn(move || watch(filter, done, reader));
        }
    });
    for writer in 0..WRITERS as u64 {
        assert!(has(&filter, writer << 32..(writer << 32) + PER_WRITER));
    }
    filter
}

/// Check the newest insertion of every writer, and an older one, until all are done.
fn watch(filter: &Filter, done: &[AtomicU64], reader: u64) {
    let mut step = reader;
    loop {
        let seen: Vec<u64> = done.iter().map(|done| done.load(Ordering::Acquire)).collect();
        for (writer, seen) in seen.iter().enumerate().filter(|(_, seen)| **seen > 0) {
            step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for number in [seen - 1, (step >> 16) % seen] {
                let hash = chunk((writer as u64) << 32 | number);
                assert_ne!(filter.query(&hash), Answer::New, "writer {writer} inserted {number} of {seen}");
                let mut answers = Vec::new();
                filter.query_many(&[hash], &mut answers);
                assert_ne!(answers, [Answer::New]);
            }
        }
        if seen.iter().all(|seen| *seen == PER_WRITER) {
            return;
        }
    }
}

#[test]
fn no_insertion_is_missed_while_layers_are_added_in_memory() {
    let stats = readers_never_miss(None).stats();
    // 50 * (2^n - 1) items fit n layers; 90000 need 11, and threads overrun a layer a little while it is replaced.
    assert!((9..=12).contains(&stats.layers), "{stats:?}");
}

#[test]
fn no_insertion_is_missed_while_layers_are_added_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let filter = readers_never_miss(Some(dir.path()));
    assert!(filter.stats().layers >= 6, "{:?}", filter.stats());
    filter.flush_and_mark_clean(Epoch(0)).unwrap();
    drop(filter);
    let (filter, opened) = Filter::open(Some(dir.path()), config(2)).unwrap();
    assert_eq!(opened, crate::filter::Opened::Clean);
    for writer in 0..WRITERS as u64 {
        assert!(has(&filter, writer << 32..(writer << 32) + PER_WRITER));
    }
}
