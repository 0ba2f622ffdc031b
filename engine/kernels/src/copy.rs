#![expect(unsafe_code, reason = "prefetches by address, each within a checked slice")]
//! A chunk into its place in a container, checksummed on the way: one pass over cold memory instead of two.
//!
//! A chunk is placed long after it was cut, so its bytes have left the near caches. Reading all of it for a CRC and
//! then again for the copy waits for memory where it need not: here a piece is checksummed and copied while the bytes
//! that come next are on their way.
//!
//! # Invariants
//! - The destination holds exactly the source, and the result is the CRC-32 (IEEE 802.3) of it, on every CPU.
//!
//! Streaming stores were tried and gained nothing: what is written here is read soon, by whoever moves it to the disk.

/// Bytes checksummed and copied at a time: they stay in the nearest cache in between.
const PIECE_SIZE: usize = 4096;

/// How far ahead of the copy bytes are fetched.
#[cfg(target_arch = "x86_64")]
const AHEAD_SIZE: usize = 4 * PIECE_SIZE;

/// Copy `from` into `to`, of the same length, and return its CRC-32 (IEEE 802.3, as in zlib). `next` is what will be
/// copied after it, if that is known: its beginning is fetched already.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn copy_with_crc(to: &mut [u8], from: &[u8], next: &[u8]) -> u32 {
    assert_eq!(to.len(), from.len(), "a copy is as long as its source");
    let mut crc = crc32fast::Hasher::new();
    let pieces = to.chunks_mut(PIECE_SIZE).zip(from.chunks(PIECE_SIZE));
    for (number, (to, piece)) in pieces.enumerate() {
        fetch(from, next, number * PIECE_SIZE);
        crc.update(piece);
        to.copy_from_slice(piece);
    }
    crc.finalize()
}

/// Ask for the piece that lies [`AHEAD_SIZE`] behind `position`, in `from` or after its end in `next`.
#[cfg(target_arch = "x86_64")]
fn fetch(from: &[u8], next: &[u8], position: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    let ahead = position + AHEAD_SIZE;
    let (bytes, start) = if ahead < from.len() { (from, ahead) } else { (next, ahead - from.len()) };
    let end = bytes.len().min(start + PIECE_SIZE);
    for line in (start..end).step_by(64) {
        // SAFETY: `line` lies within `bytes`; a prefetch needs SSE, which every x86-64 has, and reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().add(line).cast()) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch(_from: &[u8], _next: &[u8], _position: usize) {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_copies_and_checksums(
            bytes in prop::collection::vec(any::<u8>(), 0..40_000), next in 0usize..20_000,
        ) {
            let mut to = vec![0xEE; bytes.len()];
            let crc = copy_with_crc(&mut to, &bytes, &vec![7; next]);
            prop_assert_eq!(crc, crc32fast::hash(&bytes));
            prop_assert_eq!(to, bytes);
        }
    }
}
