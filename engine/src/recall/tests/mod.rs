//! A small store without a writer: containers made by the format codecs, and rows for them.

mod cache;
mod chunks;
mod damage;
mod streams;

use std::path::PathBuf;
use std::sync::Arc;

use gdd_uring::io::IoSource;
use gdd_uring::probe::{self, Mode};

use super::cache::SegmentCache;
use super::{Recall, RecallConfig};
use crate::format::codec::Codec;
use crate::format::record::RecordHeader;
use crate::ids::{ChunkHash, ContainerId, Epoch};
use crate::index::simulated::SimulatedIndex;
use crate::index::{Batch, ChunkEntry, Index, Status};
use crate::observe::{Histograms, Kind};
use crate::paths::Paths;

const HEADERS_SIZE: usize = 4096 + 128;
const MIB: u64 = 1 << 20;

/// A store directory, its index, and a cache.
struct Fixture {
    dir: tempfile::TempDir,
    index: Arc<SimulatedIndex>,
    cache: Arc<SegmentCache>,
    source: Arc<dyn IoSource>,
    histograms: Arc<Histograms>,
    config: RecallConfig,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Mode::Auto, SegmentCache::new(64 * MIB))
    }

    fn with(mode: Mode, cache: SegmentCache) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(Paths::new(dir.path()).containers()).unwrap();
        let source = probe::probe(dir.path(), mode, false).unwrap();
        Self {
            dir,
            index: Arc::new(SimulatedIndex::new(1)),
            cache: Arc::new(cache),
            source,
            histograms: Arc::default(),
            config: RecallConfig::default(),
        }
    }

    /// Chunks of a kind that were handed out.
    fn recorded(&self, kind: Kind) -> u64 {
        self.histograms.times(kind.stage()).histogram.len()
    }

    fn path(&self, container: u64) -> PathBuf {
        Paths::new(self.dir.path()).container(ContainerId(container))
    }

    /// Write a container with these chunks, in this order, and tell the index.
    fn container(&self, id: u64, chunks: &[(Codec, &[u8])]) -> Vec<ChunkHash> {
        let (bytes, rows) = container(ContainerId(id), chunks);
        std::fs::write(self.path(id), bytes).unwrap();
        let hashes = rows.iter().map(|(hash, _)| *hash).collect();
        self.index.commit(Batch { chunks: rows, ..Batch::default() }).unwrap();
        hashes
    }

    fn recall(&self) -> Recall {
        self.recall_with(Arc::clone(&self.index) as Arc<dyn Index>)
    }

    fn recall_with(&self, index: Arc<dyn Index>) -> Recall {
        let cache = Arc::clone(&self.cache);
        Recall::new(self.source.open().unwrap(), self.dir.path(), index, cache, &self.histograms, self.config)
    }
}

/// The bytes of a container, and the rows of its chunks.
fn container(id: ContainerId, chunks: &[(Codec, &[u8])]) -> (Vec<u8>, Vec<(ChunkHash, ChunkEntry)>) {
    let mut bytes = vec![0x5a; HEADERS_SIZE];
    let mut rows = Vec::new();
    for (seq, &(codec, raw)) in chunks.iter().enumerate() {
        let stored = match codec {
            Codec::None => raw.to_vec(),
            Codec::Lz4 => lz4_flex::block::compress(raw),
            Codec::Zstd => zstd::bulk::compress(raw, 1).unwrap(),
        };
        let header = RecordHeader {
            codec,
            container: id,
            offset: bytes.len() as u64,
            seq: seq as u64,
            raw_len: u32::try_from(raw.len()).unwrap(),
            stored_len: u32::try_from(stored.len()).unwrap(),
            hash: ChunkHash::of(raw),
            payload_crc: crc32fast::hash(&stored),
        };
        let entry = ChunkEntry {
            container: id,
            offset: u32::try_from(bytes.len()).unwrap(),
            stored_len: header.stored_len,
            raw_len: header.raw_len,
            codec,
            status: Status::Live,
            pin_epoch: Epoch(0),
        };
        rows.push((header.hash, entry));
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&stored);
    }
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    (bytes, rows)
}

/// Bytes that no compressor likes, another sequence for each seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut out);
    out
}

/// Bytes that every compressor likes.
fn text(seed: u64, len: usize) -> Vec<u8> {
    (0..).flat_map(|n: u64| format!("{} ", (n * seed) / 7).into_bytes()).take(len).collect()
}
