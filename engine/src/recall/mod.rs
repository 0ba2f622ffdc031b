//! Recall: chunks and streams back from disk, verified, without a copy.
//!
//! `hash -> cache, or: locate (index) -> plan (few large reads) -> fetch (in pieces, in flight) -> verify -> cache ->
//! view`
//!
//! What is handed out is right or it is an error: a chunk that cannot be given back is [`Error::ChunkLost`] with its
//! hash, container, file and offset, and never other bytes, fewer bytes, or zeros.
//!
//! # Invariants
//! - Nothing is handed out, or enters the cache, before it was checked: by BLAKE3, or where the receiver does that
//!   itself, by the record's self-description and CRC-32 ([`crate::options::Trust`]).
//! - One bad record costs one chunk: its neighbours in the same read are good, or are read again alone.
//! - Memory: the cache's budget, and at most one read per reader besides, when others hold all of it.
//!
//! # What it does not do
//! Nothing is written, repaired or marked; see `fsck`.

mod arrival;
pub mod cache;
pub mod depth;
pub mod entries;
pub mod evict;
pub mod fetch;
mod files;
mod ghosts;
mod helper;
pub mod locate;
pub mod plan;
pub mod proof;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod window;

use std::path::Path;
use std::sync::Arc;

use gdd_uring::buffer::Shared;
use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::ids::ChunkHash;
use crate::index::{ChunkEntry, Index};
use crate::observe::{Histograms, Kind, Recorder};
use crate::options::usable_cores;
use crate::paths::Paths;

use cache::SegmentCache;
use entries::Entries;
use fetch::Fetcher;
use plan::{Bounds, Located, Read};
use stream::StreamReader;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// How a reader works. Sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct RecallConfig {
    /// Most of a stream that is being read or was read ahead; a quarter of the cache, if that is less. Of a stream that
    /// lies in one piece less, see [`window`].
    pub window: usize,
    /// Longest read of several records.
    pub read_max: usize,
    /// Longest gap between two records that is read over rather than skipped.
    pub gap_max: usize,
    /// Pieces into which a read is split.
    pub piece_size: usize,
    /// Pieces in flight of a chunk that is read alone. Disks (measured: virtio-blk) answer what they are given at once
    /// all at once; given a few pieces at a time, they read on while the first are being hashed.
    pub pieces_alone: usize,
    /// Container files open at once.
    pub files_max: usize,
    /// Check what streams read on a second thread too.
    pub helper: bool,
}

impl Default for RecallConfig {
    fn default() -> Self {
        Self {
            window: 32 * MIB,
            read_max: MIB,
            gap_max: 64 * KIB,
            piece_size: 512 * KIB,
            pieces_alone: 3,
            files_max: 64,
            helper: usable_cores() > 1,
        }
    }
}

impl RecallConfig {
    /// For a store whose streams lie in many places: what rewriting looks at together ([`crate::ingest::rewrite`]) is
    /// read forward.
    #[must_use]
    pub fn scattered() -> Self {
        Self { window: 64 * MIB, ..Self::default() }
    }
}

/// One thread's access to the chunks of a store.
pub struct Recall {
    index: Arc<dyn Index>,
    cache: Arc<SegmentCache>,
    fetcher: Fetcher,
    recorder: Recorder,
    config: RecallConfig,
    found: Vec<Option<ChunkEntry>>,
    located: Vec<Result<Located>>,
}

impl Recall {
    /// Access to the store in `root`, through a door of its own.
    #[must_use]
    pub fn new(
        io: Box<dyn Io>,
        root: &Path,
        index: Arc<dyn Index>,
        cache: Arc<SegmentCache>,
        observe: &Arc<Histograms>,
        config: RecallConfig,
    ) -> Self {
        let fetcher = Fetcher::new(io, Paths::new(root), Arc::clone(&cache), &config);
        Self {
            index,
            cache,
            fetcher,
            recorder: observe.recorder(),
            config,
            found: Vec::new(),
            located: Vec::new(),
        }
    }

    /// A chunk's bytes, borrowed from the cache: they stay valid, and their memory taken, while the view lives.
    ///
    /// # Errors
    /// [`Error::ChunkLost`]; or the index or the ring failed.
    pub fn chunk(&mut self, hash: &ChunkHash) -> Result<Shared> {
        let start = self.fetcher.now();
        let (kind, chunk) = match self.cache.get(hash) {
            Some(chunk) => (Kind::CacheHit, chunk),
            None => (Kind::Cold, self.fetch(hash)?),
        };
        self.recorder.recalled(kind, self.fetcher.now().saturating_sub(start));
        Ok(chunk)
    }

    /// Copy a chunk's bytes to the start of `out`; returns how many.
    ///
    /// # Errors
    /// As [`Recall::chunk`]; `Invalid` when `out` is too short.
    pub fn chunk_into(&mut self, hash: &ChunkHash, out: &mut [u8]) -> Result<usize> {
        let chunk = self.chunk(hash)?;
        let target = out.get_mut(..chunk.len()).ok_or_else(|| {
            Error::Invalid(format!("chunk {hash} has {} bytes: they do not fit the buffer", chunk.len()))
        })?;
        target.copy_from_slice(&chunk);
        Ok(chunk.len())
    }

    /// Read a stream from beginning to end.
    #[must_use]
    pub fn stream<E: Entries>(mut self, entries: E) -> StreamReader<E> {
        if self.config.helper {
            self.fetcher.start_helper();
        }
        StreamReader::new(self, entries)
    }

    /// What the cache did and holds.
    #[must_use]
    pub fn cache(&self) -> &Arc<SegmentCache> {
        &self.cache
    }

    /// Read a chunk from disk, alone.
    fn fetch(&mut self, hash: &ChunkHash) -> Result<Shared> {
        let located = self.locate_one(hash)?;
        match self.fetch_at(located) {
            Ok(chunk) => Ok(chunk),
            // It may have been moved between the look and the read; then the index says so by now.
            Err(error @ Error::ChunkLost { .. }) => match self.locate_one(hash) {
                Ok(moved) if moved.entry != located.entry => self.fetch_at(moved),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// A chunk at a place that the index need not look for it at. It is kept in no cache.
    ///
    /// # Errors
    /// As [`Recall::chunk`].
    pub(crate) fn chunk_at(&mut self, hash: &ChunkHash, entry: ChunkEntry) -> Result<Shared> {
        self.fetch_at(Located { hash: *hash, entry })
    }

    fn fetch_at(&mut self, located: Located) -> Result<Shared> {
        let mut chunks = self.fetcher.fetch(Read::of(located))?;
        chunks.pop().expect("a read of one record has one outcome")
    }

    fn locate_one(&mut self, hash: &ChunkHash) -> Result<Located> {
        self.locate(std::slice::from_ref(hash))?;
        self.located.pop().expect("each hash has an answer")
    }

    /// Look up `hashes`; the answers are in `self.located`.
    fn locate(&mut self, hashes: &[ChunkHash]) -> Result<()> {
        locate::locate(self.index.as_ref(), hashes, &mut self.found, &mut self.located)
    }

    fn bounds(&self) -> Bounds {
        let read_max = self.config.read_max.min(self.cache.buffer_size());
        Bounds { read_max: read_max as u64, gap_max: self.config.gap_max as u64 }
    }
}
