//! The same work done by our kernels and by the crates, in forms that can be compared.
//!
//! Each returns something that depends on all of the result, which keeps the compiler honest and lets a test see that
//! rivals agree.

use gdd_kernels::{Chunker, Cut, Params, hash_many};

/// Bytes that the engine hands to the kernels at once.
pub const EXTENT: usize = 4 << 20;

/// Ends of all chunks, by our chunker.
pub fn own_cuts(chunker: &Chunker, data: &[u8], ends: &mut Vec<u32>) {
    ends.clear();
    chunker.cut_all(data, true, ends);
}

/// Ends of all chunks, by the `fastcdc` crate.
///
/// # Panics
/// When `data` is 4 GiB or more.
pub fn crate_cuts(params: Params, data: &[u8], ends: &mut Vec<u32>) {
    ends.clear();
    ends.extend(crate_chunks(params, data).map(|chunk| {
        u32::try_from(chunk.offset + chunk.length).expect("the data of a bench is far below 4 GiB")
    }));
}

/// Hashes of the chunks that end at `ends`, by our hasher.
pub fn own_hashes(data: &[u8], ends: &[u32], hashes: &mut Vec<[u8; 32]>) {
    hashes.clear();
    hash_many(data, ends, hashes);
}

/// The same, one after another with the `blake3` crate.
pub fn crate_hashes(data: &[u8], ends: &[u32], hashes: &mut Vec<[u8; 32]>) {
    hashes.clear();
    let mut start = 0;
    for &end in ends {
        hashes.push(blake3::hash(&data[start..end as usize]).into());
        start = end as usize;
    }
}

/// Cut and hash, extent by extent as the engine does, by our kernels. A cut stands at the start of each extent.
pub fn own_fused(chunker: &Chunker, data: &[u8], cuts: &mut Vec<Cut>, hashes: &mut Vec<[u8; 32]>) {
    hashes.clear();
    for extent in data.chunks(EXTENT) {
        cuts.clear();
        chunker.cut_and_hash(extent, true, cuts);
        hashes.extend(cuts.iter().map(|cut| cut.hash));
    }
}

/// The same with the crates: all cuts of an extent, then all hashes.
pub fn crates_in_turn(params: Params, data: &[u8], ends: &mut Vec<u32>, hashes: &mut Vec<[u8; 32]>) {
    hashes.clear();
    let mut of_extent = Vec::new();
    for extent in data.chunks(EXTENT) {
        crate_cuts(params, extent, ends);
        crate_hashes(extent, ends, &mut of_extent);
        hashes.append(&mut of_extent);
    }
}

/// The same with the crates: each chunk hashed as soon as it is cut.
pub fn crates_fused(params: Params, data: &[u8], hashes: &mut Vec<[u8; 32]>) {
    hashes.clear();
    for extent in data.chunks(EXTENT) {
        hashes.extend(
            crate_chunks(params, extent)
                .map(|chunk| <[u8; 32]>::from(blake3::hash(&extent[chunk.offset..][..chunk.length]))),
        );
    }
}

fn crate_chunks(params: Params, data: &[u8]) -> fastcdc::v2020::FastCDC<'_> {
    fastcdc::v2020::FastCDC::new(data, params.min as usize, params.avg as usize, params.max as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;

    /// Longer than an extent, and no multiple of anything.
    const SIZE: usize = EXTENT + 123_457;

    #[test]
    fn rivals_cut_and_hash_alike() {
        for (data, (name, params)) in [corpus::random(3, SIZE), vec![0; SIZE]]
            .iter()
            .flat_map(|d| corpus::chunk_sizes().map(|s| (d, s)))
        {
            let chunker = Chunker::new(params);
            let (mut own, mut other) = (Vec::new(), Vec::new());
            own_cuts(&chunker, data, &mut own);
            crate_cuts(params, data, &mut other);
            assert_eq!(own, other, "{name}");
            assert_eq!(own.last().copied(), u32::try_from(SIZE).ok());

            let (mut own_sums, mut other_sums) = (Vec::new(), Vec::new());
            own_hashes(data, &own, &mut own_sums);
            crate_hashes(data, &own, &mut other_sums);
            assert_eq!(own_sums, other_sums, "{name}");
        }
    }

    #[test]
    fn fused_rivals_agree() {
        let data = corpus::random(4, SIZE);
        for (name, params) in corpus::chunk_sizes() {
            let (mut own, mut in_turn, mut fused) = (Vec::new(), Vec::new(), Vec::new());
            own_fused(&Chunker::new(params), &data, &mut Vec::new(), &mut own);
            crates_in_turn(params, &data, &mut Vec::new(), &mut in_turn);
            crates_fused(params, &data, &mut fused);
            assert!(own.len() > 10, "{name}");
            assert_eq!(own, in_turn, "{name}");
            assert_eq!(own, fused, "{name}");
        }
    }
}
