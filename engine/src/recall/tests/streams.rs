//! Whole streams against a model.

use gdd_uring::probe::Mode;
use proptest::prelude::*;

use super::super::entries::{Entries, Listed};
use super::*;
use crate::error::{Error, Result};
use crate::format::recipe_block::RecipeEntry;
use crate::observe::Kind;

/// Read to the end or an error.
fn drain<E: Entries>(stream: &mut super::super::stream::StreamReader<E>) -> (Vec<u8>, Result<()>) {
    let mut out = Vec::new();
    loop {
        match stream.next() {
            Ok(Some(piece)) => out.extend_from_slice(&piece),
            Ok(None) => return (out, Ok(())),
            Err(error) => return (out, Err(error)),
        }
    }
}

fn whole(hash: ChunkHash, raw: &[u8]) -> RecipeEntry {
    RecipeEntry::whole(hash, u32::try_from(raw.len()).unwrap())
}

/// Chunks spread over containers as several workers would have: by turns.
fn spread(fixture: &Fixture, raws: &[Vec<u8>], containers: usize) -> Vec<ChunkHash> {
    let mut hashes = vec![ChunkHash([0; 32]); raws.len()];
    for container in 0..containers {
        let mine: Vec<usize> = (container..raws.len()).step_by(containers).collect();
        let codec = |at: usize| if at % 5 == 4 { Codec::Lz4 } else { Codec::None };
        let chunks: Vec<(Codec, &[u8])> = mine.iter().map(|&at| (codec(at), &raws[at][..])).collect();
        for (at, hash) in mine.iter().zip(fixture.container(container as u64 + 1, &chunks)) {
            hashes[*at] = hash;
        }
    }
    hashes
}

/// Every fifth chunk can be compressed.
fn raws(count: u64, len: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|seed| {
            let len = len + usize::try_from(seed * 97 % 1000).unwrap();
            if seed % 5 == 4 { text(seed + 1, len) } else { noise(seed, len) }
        })
        .collect()
}

#[test]
fn a_stream_comes_back_through_every_door() {
    for mode in [Mode::Auto, Mode::Pwrite, Mode::Buffered] {
        let fixture = Fixture::with(mode, SegmentCache::new(64 * MIB));
        let raws = raws(1000, 20_000);
        let hashes = spread(&fixture, &raws, 2);
        let entries: Vec<_> = hashes.iter().zip(&raws).map(|(hash, raw)| whole(*hash, raw)).collect();
        let mut stream = fixture.recall().stream(Listed(entries.clone().into_iter()));
        let (out, end) = drain(&mut stream);
        end.unwrap();
        assert!(out == raws.concat(), "{mode:?}");
        assert_eq!(stream.bytes_given(), out.len() as u64);
        assert!(stream.next().unwrap().is_none(), "the end stays the end");

        // The cache begins small, and grows by what it finds to be read again.
        for round in ["again", "and from the cache"] {
            stream = stream.into_recall().unwrap().stream(Listed(entries.clone().into_iter()));
            let (out, end) = drain(&mut stream);
            end.unwrap();
            assert!(out == raws.concat(), "{mode:?} {round}");
        }
        drop(stream);
        let counts = Kind::ALL.map(|kind| fixture.recorded(kind));
        assert_eq!(counts.iter().sum::<u64>(), 3000);
        assert!(counts[Kind::CacheHit as usize] >= 1000, "the third time all is in the cache: {counts:?}");
        assert!(counts[Kind::ReadAhead as usize] > 0, "{counts:?}");
    }
}

#[test]
fn an_empty_stream_ends_at_once() {
    let fixture = Fixture::new();
    let mut stream = fixture.recall().stream(Listed(Vec::new().into_iter()));
    assert!(stream.next().unwrap().is_none());
}

#[test]
fn a_long_repeat_is_one_chunk_in_memory() {
    let fixture = Fixture::with(Mode::Auto, SegmentCache::with_buffer_size(MIB, 128 << 10));
    let zeros = vec![0; 65_536];
    let hash = fixture.container(1, &[(Codec::Zstd, &zeros)])[0];
    let entry = RecipeEntry { repeat: 100_000, ..whole(hash, &zeros) };
    let mut stream = fixture.recall().stream(Listed(vec![entry].into_iter()));
    let mut count = 0;
    while let Some(piece) = stream.next().unwrap() {
        assert_eq!(piece.len(), zeros.len());
        count += 1;
    }
    assert_eq!(count, 100_000);
}

#[test]
fn damage_stands_where_its_bytes_would_and_ends_the_stream() {
    let fixture = Fixture::with(Mode::Auto, SegmentCache::new(64 * MIB));
    let raws = raws(300, 20_000);
    let hashes = spread(&fixture, &raws, 2);
    let entries: Vec<_> = hashes.iter().zip(&raws).map(|(hash, raw)| whole(*hash, raw)).collect();
    let mut found = Vec::new();
    fixture.index.locate(&[hashes[150]], &mut found).unwrap();
    let entry = found[0].unwrap();
    let path = Paths::new(fixture.dir.path()).container(entry.container);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[entry.offset as usize + 80 + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();

    let mut stream = fixture.recall().stream(Listed(entries.clone().into_iter()));
    let (out, end) = drain(&mut stream);
    assert!(out == raws[..150].concat());
    let text = end.unwrap_err().to_string();
    assert!(text.contains(&hashes[150].to_string()) && text.contains(path.to_str().unwrap()), "{text}");
    assert!(stream.next().unwrap().is_none());
    drop(stream); // It holds what it read ahead.

    // All others are good, also those of the same read.
    let others: Vec<_> =
        entries.iter().enumerate().filter(|(at, _)| *at != 150).map(|(_, entry)| *entry).collect();
    fixture.cache.clear();
    let (out, end) = drain(&mut fixture.recall().stream(Listed(others.into_iter())));
    end.unwrap();
    assert!(out == [raws[..150].concat(), raws[151..].concat()].concat());

    std::fs::remove_file(&path).unwrap();
    fixture.cache.clear();
    let (out, end) = drain(&mut fixture.recall().stream(Listed(entries.into_iter())));
    assert!(out == raws[..usize::from(entry.container.0 == 2)].concat());
    assert!(matches!(end, Err(Error::ChunkLost { .. })));
}

#[test]
fn a_slice_beyond_its_chunk_is_refused() {
    let fixture = Fixture::new();
    let raw = noise(1, 1000);
    let hash = fixture.container(1, &[(Codec::None, &raw)])[0];
    let entry = RecipeEntry { hash, chunk_offset: 500, length: 501, repeat: 1, slice: true };
    let mut stream = fixture.recall().stream(Listed(vec![entry].into_iter()));
    assert!(matches!(stream.next(), Err(Error::ChunkLost { .. })));
}

/// A list that claims more than it gives.
struct Short(Listed);

impl Entries for Short {
    fn next_block(&mut self, entries: &mut Vec<RecipeEntry>) -> Result<bool> {
        self.0.next_block(entries)
    }
    fn bytes(&self) -> Option<u64> {
        Some(1001)
    }
}

#[test]
fn an_end_that_comes_too_early_is_an_error() {
    let fixture = Fixture::new();
    let raw = noise(1, 1000);
    let hash = fixture.container(1, &[(Codec::None, &raw)])[0];
    let mut stream = fixture.recall().stream(Short(Listed(vec![whole(hash, &raw)].into_iter())));
    assert!(stream.next().unwrap().is_some());
    assert!(stream.next().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn slices_and_repeats_in_any_order(
        picks in prop::collection::vec((0usize..60, any::<u32>(), any::<u32>(), 1u32..4), 0..300),
        window in 1usize..2_000_000, read_max in 1usize..400_000, gap_max in 0usize..50_000,
        piece_blocks in 1usize..20, buffers in 2u64..30, containers in 1usize..4, helper: bool,
    ) {
        let cache = SegmentCache::with_buffer_size(buffers * (128 << 10) * 65 / 64, 128 << 10);
        let mut fixture = Fixture::with(Mode::Buffered, cache);
        let piece_size = piece_blocks * 4096;
        let pieces_alone = 1 + containers;
        fixture.config =
            RecallConfig { window, read_max, gap_max, piece_size, pieces_alone, files_max: 2, helper };
        let raws = raws(60, 30_000);
        let hashes = spread(&fixture, &raws, containers);
        let (mut entries, mut expected) = (Vec::new(), Vec::new());
        for (at, offset, length, repeat) in picks {
            let raw = &raws[at];
            let offset = offset as usize % raw.len();
            let length = 1 + length as usize % (raw.len() - offset);
            entries.push(RecipeEntry {
                hash: hashes[at], chunk_offset: u32::try_from(offset).unwrap(),
                length: u32::try_from(length).unwrap(), repeat, slice: true,
            });
            (0..repeat).for_each(|_| expected.extend_from_slice(&raw[offset..offset + length]));
        }
        let (out, end) = drain(&mut fixture.recall().stream(Listed(entries.into_iter())));
        end.unwrap();
        prop_assert!(out == expected);
        let stats = fixture.cache.stats();
        prop_assert!(stats.bytes <= stats.capacity);
    }
}
