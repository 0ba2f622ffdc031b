//! One chunk back from a real store: from the cache, borrowed or copied, and from disk, located and verified.
//!
//! Measures the latency of a chunk of 64 KiB and of 4 MiB. `copy alone` is what copying costs whoever copies; `cold`
//! clears the cache before each chunk, outside the measured time, and reads with direct I/O where the directory has
//! it. `gdd bench recall` shows percentiles, and the raw read of the same size beside them.
//!
//! Compare two commits: see the crate's documentation; `--bench recall`. Set `GDD_BENCH_DIR` to a directory on the
//! disk in question.
//!
//! Noise: cold is the device's latency, and a shared device's mean moves by a third from run to run; look at the
//! lower bound. Cache hits: below 10 % nothing is said.

use criterion::{BatchSize, Criterion, Throughput};
use gdd_benches::effort::Effort;
use gdd_benches::stocked::Stocked;
use gdd_engine::ids::ChunkHash;

/// Chunks that the cache is asked for in turn.
const HOT: usize = 4;

fn recall_of(criterion: &mut Criterion, name: &str, chunk_size: u32, count: usize) {
    let stocked = Stocked::new(chunk_size, count);
    let mut recall = stocked.store.recall().expect("the store opens a door");
    let hot: Vec<ChunkHash> = stocked.chunks.iter().take(HOT).copied().collect();
    let mut out = vec![0; chunk_size as usize];
    let mut group = criterion.benchmark_group(format!("recall/{name}"));
    group.throughput(Throughput::Bytes(u64::from(chunk_size)));

    for hash in &hot {
        recall.chunk(hash).expect("the chunk is there");
    }
    let mut next = hot.iter().cycle();
    let mut next = move || next.next().expect("a cycle has no end");
    group.bench_function("hit, borrowed", |b| {
        b.iter(|| recall.chunk(next()).expect("the chunk is there"));
    });
    group.bench_function("hit, copied", |b| {
        b.iter(|| recall.chunk_into(next(), &mut out).expect("the chunk is there"));
    });
    let view = recall.chunk(next()).expect("the chunk is there");
    group.bench_function("copy alone", |b| b.iter(|| out.copy_from_slice(&view)));
    drop(view);

    let cache = recall.cache().clone();
    let mut any = stocked.chunks.iter().cycle();
    group.bench_function("cold", |b| {
        let forget = || {
            cache.clear();
            any.next().expect("a cycle has no end")
        };
        let read = |hash: &ChunkHash| recall.chunk(hash).expect("the chunk is there");
        b.iter_batched(forget, read, BatchSize::PerIteration);
    });
    group.finish();
}

fn recall(criterion: &mut Criterion, effort: Effort) {
    recall_of(criterion, "64 KiB", 64 << 10, effort.pick(16, 2048));
    recall_of(criterion, "4 MiB", 4 << 20, effort.pick(4, 64));
}

fn main() {
    gdd_benches::main(&[recall]);
}
