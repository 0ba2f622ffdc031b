//! Whatever lies on disk: exactly the chunk's bytes come back, or an error that says what is lost and where.

use gdd_uring::probe::Mode;

use super::*;
use crate::error::Error;

/// A small store, and its chunks' bytes by hash.
fn small() -> (Fixture, Vec<(ChunkHash, Vec<u8>)>) {
    // Through the page cache: these tests open thousands of damaged files.
    let fixture = Fixture::with(Mode::Buffered, SegmentCache::with_buffer_size(MIB, 128 << 10));
    let raws = [noise(1, 700), text(2, 3000), text(3, 2500), noise(4, 2000), noise(5, 1)];
    let codecs = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::None, Codec::None];
    let chunks: Vec<(Codec, &[u8])> = codecs.into_iter().zip(raws.iter().map(|raw| &raw[..])).collect();
    let hashes = fixture.container(0xabc, &chunks);
    (fixture, hashes.into_iter().zip(raws).collect())
}

/// Read every chunk afresh; returns how many are lost. Panics if any gives other bytes or an unhelpful error.
fn lost_of(fixture: &Fixture, chunks: &[(ChunkHash, Vec<u8>)], how: &str) -> usize {
    fixture.cache.clear();
    let mut recall = fixture.recall();
    let mut lost = 0;
    for (hash, raw) in chunks {
        match recall.chunk(hash) {
            Ok(chunk) => assert!(chunk[..] == raw[..], "{how}: wrong bytes"),
            Err(error @ Error::ChunkLost { .. }) => {
                let text = error.to_string();
                let named = [hash.to_string(), "0000000000000abc".to_owned(), ".gdc".to_owned()];
                assert!(named.iter().all(|name| text.contains(name)), "{how}: {text}");
                assert_eq!(error.exit_code(), 3);
                lost += 1;
            }
            Err(other) => panic!("{how}: {other}"),
        }
    }
    lost
}

#[test]
fn every_changed_byte_costs_its_own_chunk_at_most() {
    let (fixture, chunks) = small();
    let path = fixture.path(0xabc);
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(lost_of(&fixture, &chunks, "undamaged"), 0);
    let mut lost_count = 0;
    for at in 0..bytes.len() {
        bytes[at] ^= 0x21;
        std::fs::write(&path, &bytes).unwrap();
        let lost = lost_of(&fixture, &chunks, &format!("byte {at}"));
        assert!(lost <= 1, "byte {at} cost {lost} chunks");
        lost_count += lost;
        bytes[at] ^= 0x21;
    }
    let record_bytes: usize = chunks
        .iter()
        .map(|(hash, _)| {
            let mut found = Vec::new();
            fixture.index.locate(&[*hash], &mut found).unwrap();
            80 + found[0].unwrap().stored_len as usize
        })
        .sum();
    assert_eq!(lost_count, record_bytes, "every byte of a record counts");
}

#[test]
fn a_container_cut_short_anywhere() {
    let (fixture, chunks) = small();
    let path = fixture.path(0xabc);
    let bytes = std::fs::read(&path).unwrap();
    let mut before = chunks.len();
    for len in (0..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let lost = lost_of(&fixture, &chunks, &format!("cut to {len}"));
        assert!(lost <= before, "longer files lose less");
        before = lost;
    }
    assert!(before < chunks.len());
}

#[test]
fn zeros_and_noise_and_other_containers_are_not_believed() {
    let (fixture, chunks) = small();
    let path = fixture.path(0xabc);
    let good = std::fs::read(&path).unwrap();
    let raws: Vec<(Codec, &[u8])> = chunks.iter().map(|(_, raw)| (Codec::None, &raw[..])).collect();
    let (other_life, _) = container(ContainerId(0xabd), &raws);
    let mut shifted = good.clone();
    shifted.rotate_right(512);
    for (how, bytes) in [
        ("zeros", vec![0; good.len()]),
        ("noise", noise(9, good.len())),
        ("an earlier life", other_life),
        ("misdirected by a sector", shifted),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(lost_of(&fixture, &chunks, how), chunks.len(), "{how}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(lost_of(&fixture, &chunks, "missing"), chunks.len());
    std::fs::write(&path, good).unwrap();
    assert_eq!(lost_of(&fixture, &chunks, "put back"), 0);
}

#[test]
fn a_reader_that_met_a_missing_container_finds_it_when_it_is_back() {
    let (fixture, chunks) = small();
    let path = fixture.path(0xabc);
    let aside = path.with_extension("aside");
    let mut recall = fixture.recall();
    std::fs::rename(&path, &aside).unwrap();
    assert!(recall.chunk(&chunks[0].0).is_err());
    std::fs::rename(&aside, &path).unwrap();
    assert!(recall.chunk(&chunks[0].0).is_ok());
}

#[test]
fn unknown_and_condemned_chunks_are_named() {
    let (fixture, chunks) = small();
    let mut found = Vec::new();
    fixture.index.locate(&[chunks[0].0], &mut found).unwrap();
    for status in [Status::Corrupted, Status::Condemned] {
        let row = ChunkEntry { status, ..found[0].unwrap() };
        fixture.index.commit(Batch { chunks: vec![(chunks[0].0, row)], ..Batch::default() }).unwrap();
        let text = fixture.recall().chunk(&chunks[0].0).unwrap_err().to_string();
        assert!(text.contains("0000000000000abc"), "{text}");
    }
    let unknown = ChunkHash::of(b"never stored");
    let text = fixture.recall().chunk(&unknown).unwrap_err().to_string();
    assert!(text.contains(&unknown.to_string()) && text.contains("gdd"), "{text}");
}
