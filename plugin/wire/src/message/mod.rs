//! The messages of a job, after the handshake. A message is one kind byte, fixed little-endian fields, counted parts.
//!
//! # Invariants
//! - What is large comes last: it is sent from where it lies and decoded as a slice of what was received.
//! - Every count and length is checked against its bound before it is used; decoding allocates nothing but the text of
//!   an error. A message has one encoding, and bytes after its end are refused.
//! - Messages carry no session: the keys of the records bind them to their connection.

mod client;
mod daemon;
mod rows;

pub use client::FromClient;
pub use daemon::{Cut, FromDaemon, Receipt, Trouble};
pub use rows::{Bitmap, BitmapBuffer, Entry, Row, RowBuffer, Rows, SegmentQuery};

use crate::codec::Take;
use crate::error::Malformed;
use crate::limits::CHUNK_SIZE_MAX;

const PING: u8 = 0x70;
const PONG: u8 = 0x71;

/// What a whole backup amounts to, by whom it was sent or by whom it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Bytes of the stream, before anything was left out.
    pub bytes: u64,
    /// Chunks of the stream.
    pub chunks: u64,
    /// Digest over the files, as both ends define it.
    pub files_digest: [u8; 32],
    /// BLAKE3 over all (hash, length as u32) in their order.
    pub recipe_digest: [u8; 32],
}

impl Totals {
    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.files, self.bytes, self.chunks] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.files_digest);
        out.extend(self.recipe_digest);
    }

    fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            files: take.u64("count of files")?,
            bytes: take.u64("count of bytes")?,
            chunks: take.u64("count of chunks")?,
            files_digest: take.array("digest of the files")?,
            recipe_digest: take.array("digest of the recipe")?,
        })
    }
}

/// All that is left, as the bytes of one chunk.
fn chunk<'a>(take: &mut Take<'a>) -> Result<&'a [u8], Malformed> {
    let bytes = std::mem::take(&mut take.0);
    chunk_len(bytes.len())?;
    Ok(bytes)
}

fn chunk_len(len: usize) -> Result<(), Malformed> {
    let expected = || format!("1 to {CHUNK_SIZE_MAX} bytes");
    if (1..=CHUNK_SIZE_MAX).contains(&len) { Ok(()) } else { Err(Malformed::new("chunk", expected(), len)) }
}
