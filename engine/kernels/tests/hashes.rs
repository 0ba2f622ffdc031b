//! Every level hashes as `blake3::hash` does.

mod common;

use common::{Random, SIZES, chunkers, corpus, params, real_files};
use gdd_kernels::{Cut, hash_many};
use proptest::prelude::*;

/// The consecutive pieces of `lengths`, hashed together, against each hashed alone.
fn check(data: &[u8], lengths: &[usize]) {
    let mut end = 0;
    let mut ends = Vec::new();
    let mut expected = Vec::new();
    for &length in lengths {
        expected.push(*blake3::hash(&data[end..end + length]).as_bytes());
        end += length;
        ends.push(u32::try_from(end).expect("test data is below 4 GiB"));
    }
    let mut hashes = vec![[7; 32]];
    hash_many(data, &ends, &mut hashes);
    assert_eq!(hashes[0], [7; 32], "what was there stays");
    for (index, (found, expected)) in hashes[1..].iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "piece {index} of {} bytes", lengths[index]);
    }
    assert_eq!(hashes.len() - 1, expected.len());
}

/// Lengths around the block, the leaf, and every full tree.
fn boundary_lengths() -> Vec<usize> {
    let mut lengths: Vec<usize> = (0..=130).chain(1020..=1090).collect();
    for leaves in [2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 128, 1000, 1024, 4096] {
        lengths.extend([leaves * 1024 - 1, leaves * 1024, leaves * 1024 + 1, leaves * 1024 + 65]);
    }
    lengths
}

#[test]
fn boundary_lengths_alone() {
    let data = Random::new(1).bytes(4096 * 1024 + 65);
    for length in boundary_lengths() {
        check(&data, &[length]);
    }
}

#[test]
fn boundary_lengths_side_by_side() {
    let lengths = boundary_lengths();
    let data = Random::new(2).bytes(lengths.iter().sum());
    check(&data, &lengths);
    let reversed: Vec<usize> = lengths.iter().rev().copied().collect();
    check(&data, &reversed);
}

#[test]
fn many_pieces_of_one_length() {
    let data = Random::new(3).bytes(80 * 5000);
    for length in [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3000, 4096, 5000] {
        for count in [1, 2, 15, 16, 17, 33, 80] {
            check(&data, &vec![length; count]);
        }
    }
}

#[test]
fn nothing_is_hashed_to_nothing() {
    let mut hashes = Vec::new();
    hash_many(b"abc", &[], &mut hashes);
    assert!(hashes.is_empty());
}

#[test]
fn fused_hashes_are_those_of_the_chunks() {
    let real = real_files(24 << 20);
    for params in SIZES.map(params) {
        let mut buffers = corpus(params, 3_000_017);
        buffers.push(("real".to_owned(), real.clone()));
        for (name, data) in buffers {
            for chunker in chunkers(params) {
                let mut cuts: Vec<Cut> = Vec::new();
                assert_eq!(chunker.cut_and_hash(&data, true, &mut cuts), data.len());
                let mut end = 0;
                for cut in &cuts {
                    assert_eq!(cut.start, end, "{name}");
                    assert_eq!(cut.hash, *blake3::hash(cut.bytes(&data)).as_bytes(), "{name} {cut:?}");
                    end = cut.end();
                }
                assert_eq!(end as usize, data.len(), "{name}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_lengths(lengths in prop::collection::vec(0_usize..20_000, 0..40), seed: u64) {
        check(&Random::new(seed).bytes(lengths.iter().sum()), &lengths);
    }
}
