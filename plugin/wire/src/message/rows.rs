//! The counted parts of questions and answers: rows of one size, and bits.

use std::marker::PhantomData;

use super::chunk_len;
use crate::codec::Take;
use crate::error::Malformed;
use crate::limits::{CHUNKS_PER_QUERY_MAX, SEGMENT_CHUNKS_MAX, SEGMENT_SIZE_MAX, SEGMENTS_PER_QUERY_MAX};

/// A row of a question.
pub trait Row: Copy {
    /// Bytes of an encoded one.
    const SIZE: usize;
    /// Rows in one question at most.
    const COUNT_MAX: usize;
    /// Appends its [`SIZE`](Self::SIZE) bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it.
    ///
    /// # Errors
    /// Too few bytes, or a value out of its bounds.
    fn take(bytes: &[u8]) -> Result<Self, Malformed>;
}

/// A chunk that a question names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its hash.
    pub hash: [u8; 32],
    /// Its bytes, 1 to [`CHUNK_SIZE_MAX`](crate::limits::CHUNK_SIZE_MAX).
    pub len: u32,
}

impl Row for Entry {
    const SIZE: usize = 36;
    const COUNT_MAX: usize = CHUNKS_PER_QUERY_MAX;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.hash);
        out.extend(self.len.to_le_bytes());
    }

    fn take(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let entry = Self { hash: take.array("hash of a chunk")?, len: take.u32("length of a chunk")? };
        chunk_len(entry.len as usize)?;
        Ok(entry)
    }
}

/// A segment that a question names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentQuery {
    /// Its digest, of [`Segment`](crate::segment::Segment).
    pub digest: [u8; 32],
    /// Its chunks, 1 to [`SEGMENT_CHUNKS_MAX`].
    pub chunk_count: u16,
    /// Its bytes, 1 to [`SEGMENT_SIZE_MAX`], and no fewer than its chunks.
    pub length: u32,
}

impl Row for SegmentQuery {
    const SIZE: usize = 38;
    const COUNT_MAX: usize = SEGMENTS_PER_QUERY_MAX;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.digest);
        out.extend(self.chunk_count.to_le_bytes());
        out.extend(self.length.to_le_bytes());
    }

    fn take(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let digest = take.array("digest of a segment")?;
        let chunk_count = take.u16("chunks of a segment")?;
        if !(1..=SEGMENT_CHUNKS_MAX).contains(&chunk_count) {
            let expected = format!("1 to {SEGMENT_CHUNKS_MAX}");
            return Err(Malformed::new("chunks of a segment", expected, chunk_count));
        }
        let length = take.u32("length of a segment")?;
        if !(u32::from(chunk_count)..=SEGMENT_SIZE_MAX).contains(&length) {
            let expected = format!("{chunk_count} to {SEGMENT_SIZE_MAX}");
            return Err(Malformed::new("length of a segment", expected, length));
        }
        Ok(Self { digest, chunk_count, length })
    }
}

/// Rows that were checked, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows<'a, R> {
    bytes: &'a [u8],
    row: PhantomData<R>,
}

impl<'a, R: Row> Rows<'a, R> {
    /// How many, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.len() / R::SIZE
    }

    /// Each, in its order.
    ///
    /// # Panics
    /// Never: all were checked.
    pub fn iter(&self) -> impl Iterator<Item = R> + use<'a, R> {
        self.bytes.chunks_exact(R::SIZE).map(|bytes| R::take(bytes).expect("rows were checked"))
    }

    /// The u16 count goes into the head; the rows are the tail.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> &'a [u8] {
        let count = u16::try_from(self.count()).expect("a question's rows fit 16 bits");
        out.extend(count.to_le_bytes());
        self.bytes
    }

    pub(super) fn take(take: &mut Take<'a>) -> Result<Self, Malformed> {
        let count = usize::from(take.u16("count of rows")?);
        Self::check(count)?;
        let bytes = take.bytes("rows", count * R::SIZE)?;
        bytes.chunks_exact(R::SIZE).try_for_each(|row| R::take(row).map(|_| ()))?;
        Ok(Self { bytes, row: PhantomData })
    }

    fn check(count: usize) -> Result<(), Malformed> {
        if (1..=R::COUNT_MAX).contains(&count) {
            return Ok(());
        }
        Err(Malformed::new("count of rows", format!("1 to {}", R::COUNT_MAX), count))
    }
}

/// Collects the rows of a question; its memory is used again.
#[derive(Debug)]
pub struct RowBuffer<R> {
    bytes: Vec<u8>,
    row: PhantomData<R>,
}

impl<R: Row> Default for RowBuffer<R> {
    fn default() -> Self {
        Self { bytes: Vec::new(), row: PhantomData }
    }
}

impl<R: Row> RowBuffer<R> {
    /// Adds a row.
    ///
    /// # Errors
    /// It is out of its bounds or one too many, and was not added.
    pub fn push(&mut self, row: R) -> Result<(), Malformed> {
        let len = self.bytes.len();
        Rows::<R>::check(len / R::SIZE + 1)?;
        row.put(&mut self.bytes);
        let checked = R::take(&self.bytes[len..]);
        if checked.is_err() {
            self.bytes.truncate(len);
        }
        checked.map(|_| ())
    }

    /// What was added.
    ///
    /// # Errors
    /// Nothing was.
    pub fn rows(&self) -> Result<Rows<'_, R>, Malformed> {
        Rows::<R>::check(self.bytes.len() / R::SIZE)?;
        Ok(Rows { bytes: &self.bytes, row: PhantomData })
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// One bit for each row of a question, the first in the lowest bit of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitmap<'a> {
    count: u16,
    bits: &'a [u8],
}

impl<'a> Bitmap<'a> {
    /// How many bits, at least one.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The bit of row `index`; false where there is no such row.
    #[must_use]
    pub fn get(&self, index: u16) -> bool {
        self.bits.get(usize::from(index / 8)).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// The rows whose bit is set, rising.
    pub fn ones(&self) -> impl Iterator<Item = u16> + use<'a> {
        let bitmap = *self;
        (0..self.count).filter(move |index| bitmap.get(*index))
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> &'a [u8] {
        out.extend(self.count.to_le_bytes());
        self.bits
    }

    pub(super) fn take(take: &mut Take<'a>, max: usize) -> Result<Self, Malformed> {
        let count = take.u16("count of bits")?;
        Self::check(count, max)?;
        let bits = take.bytes("bits", usize::from(count).div_ceil(8))?;
        let stray = if count % 8 == 0 { 0 } else { bits.last().map_or(0, |last| last >> (count % 8)) };
        if stray != 0 {
            return Err(Malformed::new("bits after the last row", 0, stray));
        }
        Ok(Self { count, bits })
    }

    pub(super) fn check(count: u16, max: usize) -> Result<(), Malformed> {
        if (1..=max).contains(&usize::from(count)) {
            return Ok(());
        }
        Err(Malformed::new("count of bits", format!("1 to {max}"), count))
    }
}

/// Collects the bits of an answer; its memory is used again.
#[derive(Debug, Default)]
pub struct BitmapBuffer {
    count: u16,
    bits: Vec<u8>,
}

impl BitmapBuffer {
    /// Adds the next row's bit.
    ///
    /// # Errors
    /// More than [`CHUNKS_PER_QUERY_MAX`].
    pub fn push(&mut self, bit: bool) -> Result<(), Malformed> {
        Bitmap::check(self.count + 1, CHUNKS_PER_QUERY_MAX)?;
        if self.count.is_multiple_of(8) {
            self.bits.push(0);
        }
        let last = self.bits.last_mut().expect("there is a byte for this bit");
        *last |= u8::from(bit) << (self.count % 8);
        self.count += 1;
        Ok(())
    }

    /// What was added.
    #[must_use]
    pub fn bitmap(&self) -> Bitmap<'_> {
        Bitmap { count: self.count, bits: &self.bits }
    }

    /// Forgets the bits and keeps the memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.bits.clear();
    }
}
