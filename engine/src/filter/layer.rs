//! One layer of the cold filter: a fixed number of blocks, in memory or in a mapped file, filled up to its capacity.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gdd_uring::mapped::{MapError, Mapped};

use super::block::{Block, Line, Probe, WORDS};
use super::header::{Closed, Header};
use super::sizing::Shape;
use crate::error::{Error, Result};
use crate::format::HEADER_SIZE;

/// Words of the header in front of the bits.
const HEADER_WORDS: usize = HEADER_SIZE / size_of::<u64>();
const _: () = assert!(HEADER_WORDS.is_multiple_of(WORDS)); // So that blocks stay aligned to cache lines.

/// Items that may be added beyond the capacity, as a fraction of it, before growth that failed is tried again.
const RETRY_FRACTION: u64 = 16;

/// Words copied at once to be hashed.
const DIGEST_WORDS: usize = 8192;

/// Where the bits are.
#[derive(Debug)]
enum Bits {
    Memory(Box<[Line]>),
    File(Mapped),
}

impl Bits {
    #[inline]
    fn block(&self, index: usize) -> &Block {
        match self {
            Self::Memory(lines) => &lines[index].0,
            Self::File(mapped) => &mapped.words()[HEADER_WORDS..].as_chunks().0[index],
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Layer {
    header: Header,
    blocks: usize,
    bits: Bits,
    items: AtomicU64,
    /// Item count at which the next layer is due. `Relaxed`: being late costs a little of the rate.
    grow_at: AtomicU64,
}

impl Layer {
    /// An empty layer as `header` says: a new file `path`, or in memory without one. The file may not exist.
    ///
    /// # Errors
    /// As `open`, `fallocate` and `mmap`; nothing of the file is left then.
    pub fn create(path: Option<&Path>, header: Header) -> Result<Self> {
        let blocks = block_count(header.blocks);
        let bits = match path {
            None => Bits::Memory((0..blocks).map(|_| Line::default()).collect()),
            Some(path) => Bits::File(Mapped::create(path, word_count(blocks)).map_err(io_error("create"))?),
        };
        let layer = Self::new(header, blocks, bits, 0);
        layer.write_header();
        Ok(layer)
    }

    /// Map the layer in `path`, whose header was read already and says that it was closed cleanly.
    ///
    /// # Errors
    /// Of the operating system. A file that is not as it was closed is `Ok(Err(why))`: a reason to rebuild.
    pub fn open(
        path: &Path,
        header: Header,
        closed: &Closed,
        writable: bool,
    ) -> Result<Result<Self, String>> {
        let blocks = block_count(header.blocks);
        let map = if writable { Mapped::open } else { Mapped::open_read_only };
        let mapped = match map(path, word_count(blocks)) {
            Ok(mapped) => mapped,
            Err(wrong @ MapError::Length { .. }) => return Ok(Err(wrong.to_string())),
            Err(error) => return Err(io_error("map")(error)),
        };
        let layer = Self::new(header, blocks, Bits::File(mapped), closed.items);
        let intact = layer.digest() == closed.digest;
        Ok(if intact {
            Ok(layer)
        } else {
            Err(format!("{}: bits do not match their checksum", path.display()))
        })
    }

    fn new(header: Header, blocks: usize, bits: Bits, items: u64) -> Self {
        let grow_at = AtomicU64::new(header.capacity);
        Self { header, blocks, bits, items: AtomicU64::new(items), grow_at }
    }

    /// Whether the item may be in this layer.
    #[inline]
    pub fn contains(&self, probe: Probe) -> bool {
        probe.is_in(self.bits.block(probe.block(self.blocks)), self.header.probes)
    }

    /// As [`Layer::contains`], judged by one word: a cheap first pass over many items, whose cache misses overlap.
    #[inline]
    pub fn touches(&self, probe: Probe) -> bool {
        probe.touches(self.bits.block(probe.block(self.blocks)), self.header.probes)
    }

    /// Add an item. Returns whether the next layer is due.
    #[inline]
    pub fn insert(&self, probe: Probe) -> bool {
        let block = self.bits.block(probe.block(self.blocks));
        // An item whose bits are all set is not counted again: replays do not fill the layer.
        probe.put_in(block, self.header.probes)
            && self.items.fetch_add(1, Ordering::Relaxed) + 1 >= self.grow_at.load(Ordering::Relaxed)
    }

    /// Growth failed: ask again some items later.
    pub fn postpone(&self) {
        let later = self.items() + (self.header.capacity / RETRY_FRACTION).max(1);
        self.grow_at.store(later, Ordering::Relaxed);
    }

    /// Items added.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// Items for which it was made.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.header.capacity
    }

    /// Its size.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape { blocks: self.header.blocks, probes: self.header.probes }
    }

    /// Say durably that the bits may not be believed. Before the first insertion.
    ///
    /// # Errors
    /// As `msync`.
    pub fn mark_open(&mut self) -> Result<()> {
        self.header.closed = None;
        self.write_header();
        self.flush(0..HEADER_WORDS)
    }

    /// Make the bits durable. Before [`Layer::mark_closed`]; nobody inserts between the two.
    ///
    /// # Errors
    /// As `msync`.
    pub fn flush_bits(&self) -> Result<()> {
        self.flush(HEADER_WORDS..word_count(self.blocks))
    }

    /// Say durably that the bits may be believed.
    ///
    /// # Errors
    /// As `msync`.
    pub fn mark_closed(&self, epoch: crate::ids::Epoch, layers: u32) -> Result<()> {
        let closed = Closed { epoch, layers, items: self.items(), digest: self.digest() };
        Self::store_header(&self.bits, &Header { closed: Some(closed), ..self.header });
        self.flush(0..HEADER_WORDS)
    }

    fn flush(&self, words: std::ops::Range<usize>) -> Result<()> {
        match &self.bits {
            Bits::Memory(_) => Ok(()),
            Bits::File(mapped) => mapped.flush_range(words).map_err(io_error("sync")),
        }
    }

    fn write_header(&self) {
        Self::store_header(&self.bits, &self.header);
    }

    fn store_header(bits: &Bits, header: &Header) {
        let Bits::File(mapped) = bits else { return };
        let block = header.encode();
        for (word, bytes) in mapped.words().iter().zip(block.as_chunks().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0u8; DIGEST_WORDS * size_of::<u64>()];
        let Bits::File(mapped) = &self.bits else { return [0; 32] };
        for words in mapped.words()[HEADER_WORDS..].chunks(DIGEST_WORDS) {
            for (word, bytes) in words.iter().zip(bytes.as_chunks_mut().0) {
                *bytes = word.load(Ordering::Relaxed).to_le_bytes();
            }
            hasher.update(&bytes[..size_of_val(words)]);
        }
        *hasher.finalize().as_bytes()
    }
}

fn block_count(blocks: u64) -> usize {
    usize::try_from(blocks).expect("64-bit platform")
}

/// Words of the file of a layer with so many blocks.
fn word_count(blocks: usize) -> usize {
    HEADER_WORDS + blocks * WORDS
}

fn io_error(action: &'static str) -> impl Fn(MapError) -> Error {
    move |error| match error {
        MapError::Io { path, source } => Error::Io { action, path, source },
        MapError::InUse { path } => Error::Locked { path, holder: String::new() },
        MapError::Length { path, expected, found } => Error::Corrupt {
            path,
            offset: 0,
            what: "filter layer",
            expected: format!("{expected} bytes"),
            found: format!("{found} bytes"),
        },
    }
}

/// Where layer `number` lies in the filter's directory.
#[must_use]
pub fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number}.{EXTENSION}"))
}

/// File name extension of a layer.
pub const EXTENSION: &str = "gdf";
