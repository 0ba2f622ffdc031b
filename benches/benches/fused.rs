//! Cutting and hashing together, as every backup byte passes through it: the bound on the speed of the engine.
//!
//! Measures bytes of random data per second on one core, extent by extent: ours on the best level of this CPU, ours
//! portable, the crates `fastcdc` v2020 and `blake3` one after the other, and the same crates chunk by chunk. The
//! figure that counts is ours over the crates one after the other, in one run.
//!
//! Compare two commits: see the crate's documentation; `--bench fused`.
//!
//! Noise: as `chunk` and `hash`; below 5 % on an idle machine nothing is said.

use criterion::{Criterion, Throughput};
use gdd_benches::corpus::{chunk_sizes, random};
use gdd_benches::effort::Effort;
use gdd_benches::rivals::{crates_fused, crates_in_turn, own_fused};
use gdd_kernels::{Chunker, Level};

fn fused(criterion: &mut Criterion, effort: Effort) {
    let data = random(3, effort.pick(1 << 20, 64 << 20));
    for (sizes, params) in chunk_sizes() {
        let name = format!("fused/{sizes}");
        let mut group = gdd_benches::group(criterion, &name, Throughput::Bytes(data.len() as u64));
        let (mut cuts, mut ends, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        for (name, level) in [("own", None), ("own, portable", Some(Level::Portable))] {
            let chunker =
                level.map_or_else(|| Some(Chunker::new(params)), |l| Chunker::with_level(params, l));
            let chunker = chunker.expect("every CPU is portable");
            group.bench_function(name, |b| b.iter(|| own_fused(&chunker, &data, &mut cuts, &mut sums)));
        }
        group.bench_function("crates, one after the other", |b| {
            b.iter(|| crates_in_turn(params, &data, &mut ends, &mut sums));
        });
        group.bench_function("crates, chunk by chunk", |b| b.iter(|| crates_fused(params, &data, &mut sums)));
        group.finish();
    }
}

fn main() {
    gdd_benches::main(&[fused]);
}
