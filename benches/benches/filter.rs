//! The membership filter: questions about chunks that are recent (hot), old (cold) and new (miss), and insertions.
//!
//! Measures chunks per second on one core, in batches as a worker asks. The filter is sized for what it holds, in
//! memory only, and larger than the L2 cache when measuring, since cache misses are what the batches are there to
//! hide.
//!
//! Compare two commits: see the crate's documentation; `--bench filter`.
//!
//! Noise: where the pages of the filter land in the caches: it differs from process to process, so run each commit
//! three times, and believe only differences that all show. Below 10 % nothing is said.

use criterion::{BatchSize, Criterion, Throughput};
use gdd_benches::corpus;
use gdd_benches::effort::Effort;
use gdd_engine::filter::{Filter, FilterConfig};
use gdd_engine::format::StoreId;
use gdd_engine::ids::Epoch;

/// Chunks asked about at once.
const AT_ONCE: usize = 256;

/// An empty filter with room for `count` chunks, half of which may be hot.
fn empty(count: usize) -> Filter {
    let capacities = FilterConfig {
        first_capacity: count as u64,
        hot_capacity: count as u64,
        ..FilterConfig::new(StoreId([7; 16]), Epoch(1))
    };
    let (filter, _) = Filter::open(None, capacities).expect("memory suffices");
    filter.begin_rebuild();
    filter.finish_rebuild();
    filter
}

fn questions(criterion: &mut Criterion, effort: Effort) {
    let half = effort.pick(2048, 1 << 20);
    let filter = empty(2 * half);
    // Distinct numbers far apart: old chunks, recent ones, and those never seen.
    let [cold, hot, new] = [0, 1 << 40, 2 << 40].map(|first| corpus::hashes(first, half));
    cold.iter().for_each(|hash| filter.insert_from_index(hash));
    hot.iter().for_each(|hash| filter.insert(hash));
    let mut group = criterion.benchmark_group("filter/query");
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    for (name, hashes) in [("hot", &hot), ("cold", &cold), ("miss", &new)] {
        let (mut batches, mut answers) = (hashes.chunks_exact(AT_ONCE).cycle(), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| {
                let batch = batches.next().expect("a cycle has no end");
                filter.query_many(batch, &mut answers);
                answers.len()
            });
        });
    }
    group.finish();
}

fn insertions(criterion: &mut Criterion, effort: Effort) {
    let hashes = corpus::hashes(3 << 40, effort.pick(2048, 1 << 19));
    let name = "filter/insert";
    let mut group = gdd_benches::group(criterion, name, Throughput::Elements(hashes.len() as u64));
    group.bench_function("new", |b| {
        let fill = |filter: Filter| {
            hashes.iter().for_each(|hash| filter.insert(hash));
            filter // Given back, so that its end is not measured.
        };
        b.iter_batched(|| empty(hashes.len()), fill, BatchSize::PerIteration);
    });
    group.finish();
}

fn main() {
    gdd_benches::main(&[questions, insertions]);
}
