//! Every level cuts where the `fastcdc` crate cuts.

mod common;

use common::{Random, SIZES, boundary_lengths, chunkers, corpus, params, real_files, reference_ends};
use gdd_kernels::{Chunker, Cut, Params};
use proptest::prelude::*;

/// All ways to cut `data`, against the crate.
fn check(params: Params, data: &[u8], name: &str) {
    let expected = reference_ends(params, data);
    for chunker in chunkers(params) {
        let name = format!("{name}, {} bytes, {params:?}, {}", data.len(), chunker.level());
        let mut ends = Vec::new();
        assert_eq!(chunker.cut_all(data, true, &mut ends), data.len(), "{name}");
        assert_eq!(ends, expected, "{name}");
        check_open(&chunker, data, &expected, &name);
    }
}

/// Without the end of the stream, cuts are a prefix, and only what another byte could change is held back.
fn check_open(chunker: &Chunker, data: &[u8], expected: &[u32], name: &str) {
    let mut ends = Vec::new();
    let consumed = chunker.cut_all(data, false, &mut ends);
    assert_eq!(ends, expected[..ends.len()], "{name}");
    assert_eq!(consumed, ends.last().map_or(0, |&end| end as usize), "{name}");
    assert!(data.len() - consumed < chunker.params().max as usize, "{name}");
    assert!(expected.len() - ends.len() <= 1, "{name}");
    let mut cuts: Vec<Cut> = Vec::new();
    assert_eq!(chunker.cut_and_hash(data, false, &mut cuts), consumed, "{name}");
    assert_eq!(cuts.iter().map(Cut::end).collect::<Vec<_>>(), ends, "{name}");
}

#[test]
fn boundary_lengths_are_cut_alike() {
    for params in SIZES.map(params) {
        let noise = Random::new(1).bytes(2 * params.max as usize + 4200);
        let zeros = vec![0; noise.len()];
        for length in boundary_lengths(params) {
            check(params, &noise[..length], "random");
            check(params, &zeros[..length], "zeros");
        }
    }
}

#[test]
fn every_short_length_is_cut_alike() {
    let params = params(SIZES[0]);
    let noise = Random::new(2).bytes(2100);
    for length in 0..noise.len() {
        check(params, &noise[..length], "random");
    }
}

#[test]
fn shaped_data_is_cut_alike() {
    for params in SIZES.map(params) {
        for (name, data) in corpus(params, 3_000_011) {
            check(params, &data, &name);
        }
    }
}

#[test]
fn random_and_real_data_is_cut_alike() {
    let noise = Random::new(3).bytes(24 << 20);
    let real = real_files(24 << 20);
    for params in SIZES.map(params) {
        check(params, &noise[1..], "random");
        check(params, &real, "real");
    }
}

#[test]
fn a_cut_is_the_first_of_all_cuts() {
    let data = Random::new(4).bytes(300_000);
    for params in SIZES.map(params) {
        for chunker in chunkers(params) {
            for start in (0..data.len()).step_by(9973) {
                let rest = &data[start..];
                assert_eq!(chunker.cut(rest), reference_ends(params, rest)[0] as usize);
            }
            assert_eq!(chunker.cut(&[]), 0);
        }
    }
}

proptest! {
    #[test]
    fn any_sizes_and_data_are_cut_alike(
        half in (32_u32..600, 0_u32..1000, 0_u32..3000),
        length in 0_usize..40_000,
        skip in 0_usize..64,
        letters in 1_u8..=255,
        seed: u64,
    ) {
        let min = 2 * half.0;
        let avg = (min + 2 * half.1).max(256);
        let params = Params::new(min, avg, (avg + 2 * half.2).max(1024)).unwrap();
        let data: Vec<u8> = Random::new(seed).bytes(length + skip).iter().map(|byte| byte % letters).collect();
        check(params, &data[skip..], "drawn");
    }
}
