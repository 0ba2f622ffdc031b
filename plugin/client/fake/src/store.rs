//! Chunks, segments and streams in memory.

use std::collections::{HashMap, HashSet};

use gdd_wire::message::Entry;
use gdd_wire::segment::Segmenter;

/// What a daemon keeps. Nothing is ever lost or given up.
#[derive(Debug, Default)]
pub struct Store {
    /// By hash.
    pub chunks: HashMap<[u8; 32], Vec<u8>>,
    /// By digest.
    pub segments: HashMap<[u8; 32], Vec<Entry>>,
    /// Committed streams.
    pub streams: HashMap<[u8; 16], Vec<Entry>>,
    /// Streams that were begun.
    pub begun: u8,
}

impl Store {
    /// Remembers `entries` as a segment.
    pub(crate) fn learn(&mut self, digest: [u8; 32], entries: Vec<Entry>) {
        assert_eq!(digest_of(&entries), digest, "the chunks are those of the segment that was asked for");
        self.segments.insert(digest, entries);
    }

    /// Which of `entries` are to be sent; the first of several that are the same.
    pub(crate) fn wanted(&self, entries: &[Entry]) -> Vec<bool> {
        let mut seen = HashSet::new();
        entries
            .iter()
            .map(|entry| !self.chunks.contains_key(&entry.hash) && seen.insert(entry.hash))
            .collect()
    }
}

fn digest_of(entries: &[Entry]) -> [u8; 32] {
    let mut segmenter = Segmenter::default();
    let mut last = None;
    for entry in entries {
        assert!(last.is_none(), "a segment ends with its last chunk");
        last = segmenter.push(&entry.hash, entry.len).expect("a chunk's length is in its bounds");
    }
    last.or_else(|| segmenter.finish()).expect("there are chunks").digest
}
