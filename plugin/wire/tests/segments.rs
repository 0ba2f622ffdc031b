//! Segments: bounds, digests, and the same boundaries again after an insertion.

use std::collections::HashSet;

use gdd_wire::segment::{SEGMENT_CHUNKS_MIN, Segment, Segmenter};

fn chunks(seed: u64, count: u64) -> Vec<([u8; 32], u32)> {
    let hash = |n: u64| *blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat()).as_bytes();
    (0..count).map(|n| (hash(n), 4096 + u32::try_from(n % 1000).expect("it works here"))).collect()
}

fn cut(chunks: &[([u8; 32], u32)]) -> Vec<Segment> {
    let mut segmenter = Segmenter::default();
    let mut segments: Vec<_> =
        chunks.iter().filter_map(|(hash, len)| segmenter.push(hash, *len).expect("it works here")).collect();
    segments.extend(segmenter.finish());
    segments
}

fn check(chunks: &[([u8; 32], u32)], segments: &[Segment]) {
    let mut first = 0;
    for segment in segments {
        assert_eq!(segment.first, first);
        assert!((1..=1024).contains(&segment.count) && segment.length <= 64 << 20, "{segment:?}");
        let start = usize::try_from(first).expect("it works here");
        let length: u32 = chunks[start..start + usize::from(segment.count)].iter().map(|(_, len)| len).sum();
        assert_eq!(segment.length, length);
        first += u64::from(segment.count);
    }
    assert_eq!(first, chunks.len() as u64);
}

#[test]
fn all_but_a_few_are_the_same_after_an_insertion() {
    let mut all = chunks(1, 100_000);
    let before = cut(&all);
    check(&all, &before);
    let (_, whole) = before.split_last().unwrap();
    assert!(whole.iter().all(|segment| segment.count >= SEGMENT_CHUNKS_MIN));
    all.splice(50_000..50_000, chunks(2, 10));
    let after = cut(&all);
    check(&all, &after);
    let known: HashSet<_> = before.iter().map(|segment| segment.digest).collect();
    let other = after.iter().filter(|segment| !known.contains(&segment.digest)).count();
    assert!((200..500).contains(&before.len()), "{}", before.len());
    assert!((1..=8).contains(&other), "{other} of {} segments are new", after.len());
}

#[test]
fn large_chunks_and_chunks_that_end_nothing_are_bounded() {
    let large = vec![([0; 32], 4 << 20); 40];
    let segments = cut(&large);
    check(&large, &segments);
    assert_eq!(segments.iter().map(|segment| segment.count).collect::<Vec<_>>(), [16, 16, 8]);
    let same = vec![([1; 32], 100); 2100];
    let counts: Vec<_> = cut(&same).iter().map(|segment| segment.count).collect();
    assert_eq!(counts, [1024, 1024, 52]);
    let zero = vec![([0; 32], 100); 130];
    assert_eq!(cut(&zero).iter().map(|segment| segment.count).collect::<Vec<_>>(), [64, 64, 2]);
}

#[test]
fn impossible_chunks_are_refused() {
    for len in [0, (4 << 20) + 1, u32::MAX] {
        assert!(Segmenter::default().push(&[1; 32], len).is_err());
    }
    assert_eq!(Segmenter::default().finish(), None);
}

#[test]
fn the_digest_is_fixed() {
    let segment = cut(&[([1; 32], 5), ([2; 32], 6)])[0];
    let bytes = [&[2, 0][..], &[1; 32], &[5, 0, 0, 0], &[2; 32], &[6, 0, 0, 0]].concat();
    assert_eq!(segment.digest, blake3::derive_key("gdd segment v1", &bytes));
}
