//! Streams through workers that are stepped, against a serial chunker and a set of hashes.

use std::collections::BTreeSet;
use std::sync::Arc;

use gdd_kernels::Chunker;
use gdd_uring::buffer::IoBuf;

use super::mailbox::Added;
use crate::format::superblock::Settings;
use crate::ids::{ChunkHash, Epoch};
use crate::index::Index;
use crate::index::simulated::SimulatedIndex;
use crate::ingest::front::{Front, StreamChunk};
use crate::stepped::{Steps, stop};
use crate::testing::stepped;

fn small() -> Settings {
    Settings {
        chunk_size_min: 256,
        chunk_size_avg: 1024,
        chunk_size_max: 4096,
        container_size: 256 << 10,
        ..Settings::default()
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The chunks of `data`, by the `fastcdc` and `blake3` crates.
fn serial(data: &[u8]) -> Vec<StreamChunk> {
    let cuts = fastcdc::v2020::FastCDC::new(data, 256, 1024, 4096);
    let chunk = |cut: fastcdc::v2020::Chunk| StreamChunk {
        hash: ChunkHash::of(&data[cut.offset..cut.offset + cut.length]),
        len: u32::try_from(cut.length).unwrap(),
    };
    cuts.map(chunk).collect()
}

fn store(core: &crate::core::Core, step: &Steps, data: &[u8], extent: usize) -> (Vec<StreamChunk>, Added) {
    let mut front = Front::new(&core.doors, 1, Chunker::new(core.params), Box::new(step.clone()));
    let mut chunks = Vec::new();
    for part in data.chunks(extent) {
        let mut buffer = IoBuf::zeroed(part.len());
        buffer.copy_from_slice(part);
        front.send(buffer.freeze(), false).unwrap();
        chunks.extend(front.take_chunks());
    }
    front.finish().unwrap();
    chunks.extend(front.take_chunks());
    (chunks, front.added().0)
}

#[test]
fn streams_are_cut_as_by_a_serial_chunker_and_each_chunk_is_stored_once() {
    for (workers, seed) in [(1, 1), (2, 2), (3, 3), (2, 4)] {
        let root = tempfile::tempdir().unwrap();
        let index = Arc::new(SimulatedIndex::new(seed));
        let (core, step) = stepped(root.path(), small(), index.clone(), Epoch(1), workers, seed);
        let mut data = noise(seed, 700_000);
        data.extend_from_within(100_000..400_000);
        data.extend(vec![0; 100_000]);
        let expected = serial(&data);
        let unique: BTreeSet<[u8; 32]> = expected.iter().map(|chunk| chunk.hash.0).collect();
        let (chunks, added) = store(&core, &step, &data, 64 << 10);
        assert_eq!(chunks, expected);
        assert_eq!(added.chunks, unique.len() as u64, "{workers} workers");
        let mut found = Vec::new();
        index.locate(&expected.iter().map(|chunk| chunk.hash).collect::<Vec<_>>(), &mut found).unwrap();
        for (chunk, entry) in expected.iter().zip(&found) {
            assert_eq!(entry.as_ref().unwrap().raw_len, chunk.len);
        }
        let (_, again) = store(&core, &step, &data, 50_000);
        assert_eq!(again, Added::default(), "known data adds nothing");
        stop(&core, &step);
        assert_eq!(core.poison.why(), None);
        let rows = index.containers().unwrap();
        assert_eq!(rows.iter().map(|(_, row)| u64::from(row.record_count)).sum::<u64>(), added.chunks);
        assert_eq!(rows.iter().map(|(_, row)| row.raw_bytes).sum::<u64>(), added.bytes);
    }
}

#[test]
fn two_streams_that_bring_the_same_new_data_store_it_once() {
    let root = tempfile::tempdir().unwrap();
    let index = Arc::new(SimulatedIndex::new(9));
    let (core, step) = stepped(root.path(), small(), index, Epoch(1), 2, 9);
    let data = noise(5, 400_000);
    let mut fronts: Vec<Front> = (0..2)
        .map(|tag| Front::new(&core.doors, tag, Chunker::new(core.params), Box::new(step.clone())))
        .collect();
    for part in data.chunks(40_000) {
        for front in &mut fronts {
            let mut buffer = IoBuf::zeroed(part.len());
            buffer.copy_from_slice(part);
            front.send(buffer.freeze(), false).unwrap();
        }
    }
    let mut new = 0;
    for front in &mut fronts {
        front.finish().unwrap();
        new += front.added().0.bytes;
    }
    let unique: std::collections::BTreeMap<_, _> =
        serial(&data).iter().map(|c| (c.hash, u64::from(c.len))).collect();
    assert_eq!(new, unique.values().sum::<u64>());
}
