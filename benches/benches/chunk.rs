//! Finding cut points: ours on the best level of this CPU, ours portable, and the `fastcdc` crate (v2020).
//!
//! Measures bytes of random data per second on one core, for two sets of chunk sizes, and of zeros, which images are
//! full of and which have a path of their own.
//!
//! Compare two commits: see the crate's documentation; `--bench chunk`.
//!
//! Noise: memory bandwidth that other cores take, and the clock: differences below 5 % on an idle machine are none.
//! Only the ratio between rows of one run carries over to another machine.

use criterion::{Criterion, Throughput};
use gdd_benches::corpus::{chunk_sizes, random};
use gdd_benches::effort::Effort;
use gdd_benches::rivals::{crate_cuts, own_cuts};
use gdd_kernels::{Chunker, Level};

fn cuts(criterion: &mut Criterion, effort: Effort) {
    let size = effort.pick(1 << 20, 64 << 20);
    for (content, data) in [("random", random(1, size)), ("zeros", vec![0; size])] {
        for (sizes, params) in chunk_sizes() {
            let name = format!("chunk/{content}, {sizes}");
            let mut group = gdd_benches::group(criterion, &name, Throughput::Bytes(size as u64));
            let best = Chunker::new(params);
            let portable = Chunker::with_level(params, Level::Portable).expect("every CPU is portable");
            let mut ends = Vec::new();
            group.bench_function("own", |b| b.iter(|| own_cuts(&best, &data, &mut ends)));
            group.bench_function("own, portable", |b| b.iter(|| own_cuts(&portable, &data, &mut ends)));
            group.bench_function("crate", |b| b.iter(|| crate_cuts(params, &data, &mut ends)));
            group.finish();
        }
    }
}

fn main() {
    gdd_benches::main(&[cuts]);
}
