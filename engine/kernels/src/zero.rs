//! Runs of zeros, cut and hashed for the price of reading them.
//!
//! A quarter of a typical disk image is zeros, and every chunk inside such a run is the same one. Its length and its
//! hash are computed once; what is left is to see that the bytes are zero, which runs at memory speed.
//! The result is what the scan and the hash would have found, so nothing downstream can tell.

use crate::params::Params;
use crate::portable::{self, Masks};

/// Bytes looked at before anything longer is compared.
const PROBE_SIZE: usize = 64;

/// The chunk that a long enough run of zeros starts with.
#[derive(Clone, Debug)]
pub(crate) struct ZeroChunk {
    pub(crate) length: usize,
    pub(crate) hash: [u8; 32],
    /// Zeros needed to be sure of the cut, at least `length`.
    window: usize,
}

impl ZeroChunk {
    pub(crate) fn new(params: Params, masks: Masks) -> Self {
        let max = params.max as usize;
        let zeros = vec![0; max];
        let length = portable::first_cut(params, masks, &zeros);
        // The byte behind a cut is part of the hash that decided it, and bytes are tested in pairs.
        let window = max.min((length & !1) + 2);
        Self { length, hash: *blake3::hash(&zeros[..length]).as_bytes(), window }
    }

    /// Whether the first chunk of `data` is this one.
    pub(crate) fn starts(&self, data: &[u8]) -> bool {
        data.len() >= self.window
            && is_zero(&data[..PROBE_SIZE])
            && is_zero(&data[self.window - PROBE_SIZE..self.window])
            && is_zero(&data[..self.window])
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks_exact(256);
    blocks.by_ref().all(|block| block.iter().fold(0, |bits, byte| bits | byte) == 0)
        && blocks.remainder().iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_ends_a_run() {
        let params = Params::new(64, 256, 1024).unwrap();
        let zero = ZeroChunk::new(params, Masks::of(params));
        let mut data = vec![0; 1024];
        assert!(zero.starts(&data));
        assert!(!zero.starts(&data[..zero.window - 1]));
        for at in 0..zero.window {
            data[at] = 1;
            assert!(!zero.starts(&data), "byte {at}");
            data[at] = 0;
        }
    }

    #[test]
    fn the_window_alone_decides_the_cut() {
        for (min, avg, max) in [(64, 256, 1024), (4096, 16384, 65536), (1 << 18, 1 << 20, 1 << 22)] {
            let params = Params::new(min, avg, max).unwrap();
            let masks = Masks::of(params);
            let zero = ZeroChunk::new(params, masks);
            let mut data = vec![0xa5; zero.window + 2 * max as usize];
            data[..zero.window].fill(0);
            assert_eq!(portable::first_cut(params, masks, &data), zero.length);
            assert_eq!(portable::first_cut(params, masks, &data[..zero.window]), zero.length);
        }
    }
}
