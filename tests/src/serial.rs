//! Deduplication the slow and plain way: the `fastcdc` crate cuts one stream after another on one core, and a set of
//! BLAKE3 hashes says what is new. The truth that the store is held against.

use std::collections::HashSet;
use std::io::Read;

use fastcdc::v2020::StreamCDC;

/// The default chunk sizes in bytes: smallest, aimed at, largest.
pub const CHUNK_SIZES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

/// A set of chunks that grows with each stream.
#[derive(Debug, Default)]
pub struct Serial {
    known: HashSet<blake3::Hash>,
}

/// What one stream was, and what was new in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Its length.
    pub bytes: u64,
    /// Bytes of chunks that were not known.
    pub new_bytes: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Chunks that were not known.
    pub new_chunks: u64,
}

impl Serial {
    /// Cut `stream` and take its chunks into the set.
    ///
    /// # Panics
    /// When the stream cannot be read.
    pub fn add(&mut self, stream: impl Read) -> Counted {
        let mut counted = Counted::default();
        let [min, avg, max] = CHUNK_SIZES;
        for chunk in StreamCDC::new(stream, min, avg, max) {
            let chunk = chunk.expect("the stream can be read");
            let is_new = self.known.insert(blake3::hash(&chunk.data));
            let length = chunk.data.len() as u64;
            counted.bytes += length;
            counted.chunks += 1;
            counted.new_bytes += if is_new { length } else { 0 };
            counted.new_chunks += u64::from(is_new);
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Content, Stream};

    #[test]
    fn a_second_time_nothing_is_new() {
        let mut serial = Serial::default();
        let stream = Stream::new(Content::Random, 1, 3_000_000);
        let first = serial.add(stream.clone());
        assert_eq!((first.bytes, first.new_bytes), (3_000_000, 3_000_000));
        assert!(first.chunks > 3_000_000 / 65_536 && first.new_chunks == first.chunks, "{first:?}");
        let second = serial.add(stream);
        assert_eq!(second, Counted { new_bytes: 0, new_chunks: 0, ..first });
    }

    #[test]
    fn zeros_are_one_chunk_and_a_tail() {
        let counted = Serial::default().add(Stream::new(Content::Zeros, 0, 1_000_000));
        assert_eq!((counted.new_bytes, counted.new_chunks), (65_536 + 1_000_000 % 65_536, 2));
        assert_eq!(Serial::default().add(&[][..]), Counted::default());
    }
}
