//! A stream cut in parallel has the chunks of the same stream cut in one go.

mod common;

use common::{Random, SIZES, chunkers, corpus, params, real_files};
use gdd_kernels::{Chunker, Cut, Piece, Place, Stitched, Stitcher};

/// Feed `data` in extents of the given lengths and compare with the serial cut.
fn check(
    chunker: &Chunker,
    data: &[u8],
    mut extent_length: impl FnMut() -> usize,
    speculate: impl Fn(usize) -> bool,
) {
    let mut expected: Vec<Cut> = Vec::new();
    chunker.cut_and_hash(data, true, &mut expected);
    let mut expected = expected.iter();
    let mut stitcher = Stitcher::new(chunker.clone());
    let mut out = Stitched::default();
    let (mut fed, mut given, mut number) = (0, 0, 0);
    loop {
        let extent = &data[fed..][..extent_length().min(data.len() - fed)];
        fed += extent.len();
        let last = fed == data.len();
        let mut speculative: Vec<Cut> = Vec::new();
        if speculate(number) {
            chunker.cut_and_hash(extent, false, &mut speculative);
        }
        stitcher.extent(extent, &speculative, last, &mut out);
        for piece in &out.chunks {
            let cut = expected.next().expect("no more chunks than in the serial cut");
            assert_eq!((cut.len, cut.hash), (piece.len, piece.hash), "at byte {given} of {}", data.len());
            assert!(out.bytes(extent, piece) == &data[given..][..piece.len as usize], "bytes at {given}");
            given += piece.len as usize;
        }
        assert_eq!(fed - given, stitcher.held());
        assert!(stitcher.held() < chunker.params().max as usize);
        seam_is_tight(&out);
        number += 1;
        if last {
            break;
        }
    }
    assert_eq!(expected.next(), None, "no fewer chunks than in the serial cut");
    assert_eq!(stitcher.held(), 0);
}

/// The seam holds the bytes of its pieces and nothing else.
fn seam_is_tight(out: &Stitched) {
    let seam: Vec<&Piece> = out.chunks.iter().filter(|piece| piece.place == Place::Seam).collect();
    assert_eq!(seam.iter().map(|piece| piece.len as usize).sum::<usize>(), out.seam.len());
}

#[test]
fn shaped_data_in_all_extent_lengths() {
    for params in SIZES.map(params) {
        let (min, max) = (params.min as usize, params.max as usize);
        for (_, data) in corpus(params, 1_500_007) {
            let chunker = chunkers(params).pop().unwrap();
            for length in [min, max - 1, max, max + 1, 5 * max + 333, 1 << 20, data.len()] {
                check(&chunker, &data, || length, |_| true);
            }
        }
    }
}

#[test]
fn random_extent_lengths() {
    let mut data = Random::new(5).bytes(8 << 20);
    data.extend(real_files(8 << 20));
    for (seed, params) in (0..).zip(SIZES.map(params)) {
        for chunker in chunkers(params) {
            let mut random = Random::new(seed);
            let draw = || {
                let bits = random.below(23);
                random.below(1 << bits)
            };
            check(&chunker, &data, draw, |_| true);
        }
    }
}

#[test]
fn crumbs() {
    let data = Random::new(6).bytes(200_001);
    for params in SIZES.map(params) {
        let chunker = Chunker::new(params);
        for length in [1, 2, 63, 1000] {
            check(&chunker, &data, || length, |_| true);
        }
    }
}

#[test]
fn empty_streams_and_empty_extents() {
    let chunker = Chunker::new(params(SIZES[2]));
    check(&chunker, &[], || 5, |_| true);
    let data = Random::new(7).bytes(300_000);
    let mut turn = 0;
    let alternating = || {
        turn += 1;
        if turn % 2 == 0 { 0 } else { 70_000 }
    };
    check(&chunker, &data, alternating, |_| true);
}

#[test]
fn extents_without_speculation() {
    let chunker = Chunker::new(params(SIZES[2]));
    let data = Random::new(8).bytes(10 << 20);
    check(&chunker, &data, || 1 << 20, |_| false);
    check(&chunker, &data, || 1 << 20, |number| number % 2 == 0);
}

#[test]
fn speculation_about_a_part_of_the_extent() {
    let chunker = Chunker::new(params(SIZES[2]));
    let data = Random::new(9).bytes(4 << 20);
    let mut expected: Vec<Cut> = Vec::new();
    chunker.cut_and_hash(&data, true, &mut expected);
    for kept in [0, 1, 5, expected.len() - 1, expected.len()] {
        let mut out = Stitched::default();
        Stitcher::new(chunker.clone()).extent(&data, &expected[..kept], true, &mut out);
        let found: Vec<_> = out.chunks.iter().map(|piece| (piece.start, piece.len, piece.hash)).collect();
        let expected: Vec<_> = expected.iter().map(|cut| (cut.start, cut.len, cut.hash)).collect();
        assert!(found == expected, "{kept} cuts kept");
    }
}

#[test]
fn a_cut_that_only_ended_the_extent_is_not_believed() {
    let chunker = Chunker::new(params(SIZES[2]));
    let data = Random::new(10).bytes(3 << 20);
    let (first, second) = data.split_at(1_000_003);
    let mut speculative: Vec<Cut> = Vec::new();
    chunker.cut_and_hash(first, true, &mut speculative); // The mistake: the stream does not end here.
    let mut stitcher = Stitcher::new(chunker.clone());
    let mut out = Stitched::default();
    let mut lengths = Vec::new();
    stitcher.extent(first, &speculative, false, &mut out);
    lengths.extend(out.chunks.iter().map(|piece| piece.len));
    stitcher.extent(second, &[], true, &mut out);
    lengths.extend(out.chunks.iter().map(|piece| piece.len));
    let mut expected: Vec<Cut> = Vec::new();
    chunker.cut_and_hash(&data, true, &mut expected);
    assert_eq!(lengths, expected.iter().map(|cut| cut.len).collect::<Vec<_>>());
}

#[test]
fn random_data_agrees_soon() {
    let chunker = Chunker::new(params(SIZES[2]));
    let data = Random::new(11).bytes(16 << 20);
    let (first, second) = data.split_at((8 << 20) + 4321);
    let mut stitcher = Stitcher::new(chunker.clone());
    let mut out = Stitched::default();
    stitcher.extent(first, &[], false, &mut out);
    // Marked, so that what was taken over can be told from what was hashed again.
    let mut speculative: Vec<Cut> = Vec::new();
    chunker.cut_and_hash(second, false, &mut speculative);
    let marked: Vec<Cut> = speculative.iter().map(|&cut| Cut { hash: [9; 32], ..cut }).collect();
    stitcher.extent(second, &marked, true, &mut out);
    let adopted: u32 = out.chunks.iter().filter(|piece| piece.hash == [9; 32]).map(|piece| piece.len).sum();
    assert!(adopted as usize > second.len() - (1 << 20), "{adopted} of {} bytes taken over", second.len());
}
