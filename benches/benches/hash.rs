//! BLAKE3 of many chunks: ours, which fills the lanes of the CPU with several chunks, and the `blake3` crate, which
//! takes one after another.
//!
//! Measures bytes per second on one core, on random data that is cut already, for two sets of chunk sizes. The larger
//! the chunks, the better the crate fills its lanes alone.
//!
//! Compare two commits: see the crate's documentation; `--bench hash`.
//!
//! Noise: wide vector code lowers the clock of some CPUs for a while, so the first row may pay for the last one.
//! Below 5 % on an idle machine nothing is said.

use criterion::{Criterion, Throughput};
use gdd_benches::corpus::{chunk_sizes, random};
use gdd_benches::effort::Effort;
use gdd_benches::rivals::{crate_hashes, own_cuts, own_hashes};
use gdd_kernels::Chunker;

fn hashes(criterion: &mut Criterion, effort: Effort) {
    let data = random(2, effort.pick(1 << 20, 64 << 20));
    for (sizes, params) in chunk_sizes() {
        let mut ends = Vec::new();
        own_cuts(&Chunker::new(params), &data, &mut ends);
        let name = format!("hash/{sizes}");
        let mut group = gdd_benches::group(criterion, &name, Throughput::Bytes(data.len() as u64));
        let mut sums = Vec::new();
        group.bench_function("own", |b| b.iter(|| own_hashes(&data, &ends, &mut sums)));
        group.bench_function("crate", |b| b.iter(|| crate_hashes(&data, &ends, &mut sums)));
        group.finish();
    }
}

fn main() {
    gdd_benches::main(&[hashes]);
}
