//! BLAKE3-256 of many chunks at a time.
//!
//! A chunk of some KiB does not fill the lanes of a wide CPU, and its last, partial leaf fills one. Here the leaves
//! and parents of many chunks are hashed side by side.

#[cfg(target_arch = "x86_64")]
mod lanes_avx512;
#[cfg(target_arch = "x86_64")]
mod tree;

use crate::chunker::Cut;

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
    Hasher::best().hash_cuts(data, &mut cuts);
    out.extend(cuts.iter().map(|cut| cut.hash));
}

/// Fill in the hash of each cut, wherever it lies in `data`.
///
/// # Panics
/// A cut reaches beyond `data`.
pub fn hash_cuts(data: &[u8], cuts: &mut [Cut]) {
    Hasher::best().hash_cuts(data, cuts);
}

/// How chunks are hashed.
#[derive(Clone, Copy)]
pub(crate) struct Hasher {
    #[cfg(target_arch = "x86_64")]
    lanes: Option<lanes_avx512::Lanes>,
}

impl Hasher {
    /// One after another, by the `blake3` crate.
    pub(crate) fn portable() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            lanes: None,
        }
    }

    /// Side by side where the CPU can.
    pub(crate) fn best() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            lanes: lanes_avx512::Lanes::detect(),
        }
    }

    /// Fill in the hash of each cut of `data`.
    pub(crate) fn hash_cuts(self, data: &[u8], cuts: &mut [Cut]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = self.lanes {
            return tree::hash_cuts(lanes, data, cuts);
        }
        for cut in cuts {
            cut.hash = *blake3::hash(cut.bytes(data)).as_bytes();
        }
    }
}
