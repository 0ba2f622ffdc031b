//! Appending chunks to a container in memory: record header, CRC-32, copy, chained digest, until the batch is full.
//!
//! Measures bytes of chunks per second on one core, for chunks of three sizes, beside the bare copy of the same
//! chunks into the same buffer. The disk is not touched: see `io` for that.
//!
//! Compare two commits: see the crate's documentation; `--bench container`.
//!
//! Noise: the copy is bound by memory that other cores use too. Below 5 % on an idle machine nothing is said.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use gdd_benches::corpus;
use gdd_benches::effort::Effort;
use gdd_engine::container::batch::{BatchBuilder, Payload, Position};
use gdd_engine::format::codec::Codec;
use gdd_engine::ids::{ChunkHash, ContainerId};
use gdd_engine::limits::{BATCH_SIZE, BLOCK_SIZE};
use gdd_uring::buffer::{IoBuf, Pool};

/// Where the batch pretends to go.
const POSITION: Position =
    Position { container: ContainerId(1), offset: BLOCK_SIZE, batch_seq: 0, record_seq: 0, chain: [0; 32] };

/// Pack chunks until one does not fit; returns how many did.
fn pack<'a>(buffer: IoBuf, chunks: impl Iterator<Item = &'a [u8]>, hash: ChunkHash) -> usize {
    let mut batch = BatchBuilder::new(buffer, POSITION);
    for stored in chunks {
        if !batch.fits(stored.len()) {
            break;
        }
        let raw_len = u32::try_from(stored.len()).expect("a chunk is small");
        batch.push(&Payload { hash, raw_len, codec: Codec::None, stored, next: &[] });
    }
    batch.close().record_count as usize
}

fn append(criterion: &mut Criterion, effort: Effort) {
    // More than a cache holds: chunks come from extents that other cores filled.
    let data = corpus::random(5, effort.pick(4 << 20, 64 << 20));
    let buffers = Pool::new(usize::try_from(BATCH_SIZE).expect("a batch fits memory"), 1);
    let take = || buffers.take().expect("the last batch gave the buffer back");
    for kib in [4, 16, 64] {
        let size = kib << 10;
        let mut chunks = data.chunks_exact(size).cycle();
        let fitting = pack(take(), chunks.clone(), corpus::hash(0));
        let mut group = criterion.benchmark_group(format!("container/chunks of {kib} KiB"));
        group.throughput(Throughput::Bytes((fitting * size) as u64));
        group.bench_function("append", |b| {
            b.iter(|| assert_eq!(pack(take(), chunks.by_ref().take(fitting), corpus::hash(0)), fitting));
        });
        group.bench_function("copy alone", |b| {
            let mut buffer = take();
            b.iter(|| {
                for (place, chunk) in buffer.chunks_exact_mut(size).zip(chunks.by_ref().take(fitting)) {
                    place.copy_from_slice(chunk);
                }
                black_box(&mut buffer);
            });
        });
        group.finish();
    }
}

fn main() {
    gdd_benches::main(&[append]);
}
