//! Groups chunks into segments that a client can ask for whole: one row instead of some 256.
//!
//! # Invariants
//! - A boundary depends on the chunks since the boundary before it and on nothing else, so that after an insertion the
//!   same boundaries are found again soon.
//! - A segment has 64 to 1024 chunks and at most 64 MiB; fewer than 64 chunks where they are large or the stream ends.

use crate::error::Malformed;
use crate::limits::{CHUNK_SIZE_MAX, SEGMENT_CHUNKS_MAX, SEGMENT_SIZE_MAX};

/// Chunks of a segment at least.
pub const SEGMENT_CHUNKS_MIN: u16 = 64;
/// One chunk in 256 ends a segment that has its least: some 310 chunks on average.
const MASK: u64 = 0xff;

/// Chunks that are asked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// BLAKE3, keyed by the context `gdd segment v1`, over the count (u16) and each (hash, length as u32).
    pub digest: [u8; 32],
    /// Number of its first chunk among all that were pushed.
    pub first: u64,
    /// Chunks.
    pub count: u16,
    /// Bytes.
    pub length: u32,
}

/// Finds the boundaries.
#[derive(Debug, Default)]
pub struct Segmenter {
    rows: Vec<u8>,
    first: u64,
    count: u16,
    length: u32,
}

impl Segmenter {
    /// Adds a chunk. Returns the segment that it ends, or the one before it, which had no room for it; never both,
    /// since a new segment's first chunk cannot end it.
    ///
    /// # Errors
    /// `len` is 0 or above [`CHUNK_SIZE_MAX`]; nothing was added.
    pub fn push(&mut self, hash: &[u8; 32], len: u32) -> Result<Option<Segment>, Malformed> {
        if !(1..=CHUNK_SIZE_MAX).contains(&(len as usize)) {
            let expected = format!("1 to {CHUNK_SIZE_MAX} bytes");
            return Err(Malformed::new("chunk of a segment", expected, len));
        }
        let full = self.length + len > SEGMENT_SIZE_MAX;
        let before = if full { self.finish() } else { None };
        self.rows.extend(hash);
        self.rows.extend(len.to_le_bytes());
        self.count += 1;
        self.length += len;
        let low = u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
        let ends = self.count == SEGMENT_CHUNKS_MAX || (self.count >= SEGMENT_CHUNKS_MIN && low & MASK == 0);
        Ok(if ends { self.finish() } else { before })
    }

    /// What is left, if anything.
    pub fn finish(&mut self) -> Option<Segment> {
        if self.count == 0 {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key("gdd segment v1");
        hasher.update(&self.count.to_le_bytes());
        hasher.update(&self.rows);
        let digest = *hasher.finalize().as_bytes();
        let segment = Segment { digest, first: self.first, count: self.count, length: self.length };
        self.first += u64::from(self.count);
        (self.count, self.length) = (0, 0);
        self.rows.clear();
        Some(segment)
    }
}
