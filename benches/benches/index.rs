//! The RocksDB index: 1000 chunks looked up, known and unknown, and 1000 chunk rows committed durably.
//!
//! Measures chunks per second. Lookups are of random chunks in an index that fits its cache and that was closed and
//! opened again, so that its tables are on disk. A commit is what a group commit does: one batch, one sync.
//!
//! Compare two commits: see the crate's documentation; `--bench index`. Set `GDD_BENCH_DIR` to a directory on the
//! disk in question.
//!
//! Noise: a commit is mostly the device's sync, and differs by tens of per cent from minute to minute on shared
//! disks; compactions that earlier rows left behind run beside later ones. Lookups: below 10 % nothing is said.

use criterion::{Criterion, Throughput};
use gdd_benches::corpus;
use gdd_benches::effort::Effort;
use gdd_benches::scratch::Scratch;
use gdd_engine::format::StoreId;
use gdd_engine::format::codec::Codec;
use gdd_engine::ids::{ContainerId, Epoch};
use gdd_engine::index::rocks::RocksIndex;
use gdd_engine::index::{Batch, ChunkEntry, Index, Status};

/// Rows per operation.
const ROWS: usize = 1000;

/// Rows per commit while filling.
const ROWS_FILLING: usize = 20_000;

const STORE: StoreId = StoreId([7; 16]);

const CACHE: usize = 128 << 20;

/// Rows of the chunks number `first..first + count`.
fn rows(first: u64, count: usize) -> Batch {
    let entry = ChunkEntry {
        container: ContainerId(1),
        offset: 4096,
        stored_len: 16384,
        raw_len: 16384,
        codec: Codec::None,
        status: Status::Live,
        pin_epoch: Epoch(1),
    };
    let chunks = corpus::hashes(first, count).into_iter().map(|hash| (hash, entry)).collect();
    Batch { chunks, ..Batch::default() }
}

fn filled(scratch: &Scratch, count: usize) -> RocksIndex {
    let path = scratch.path().join("index");
    let index = RocksIndex::create(&path, STORE, CACHE).expect("an index can be made");
    for first in (0..count).step_by(ROWS_FILLING) {
        index.commit(rows(first as u64, ROWS_FILLING.min(count - first))).expect("the index commits");
    }
    index.close().expect("the index closes");
    drop(index);
    RocksIndex::open(&path, STORE, CACHE).expect("the index opens again")
}

fn index(criterion: &mut Criterion, effort: Effort) {
    let count = effort.pick(2 * ROWS, 500 * ROWS);
    let scratch = Scratch::new();
    let index = filled(&scratch, count);
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, first, found) in [("locate 1000, hits", 0, ROWS), ("locate 1000, misses", 1 << 40, 0)] {
        let hashes = corpus::hashes(first, count);
        let (mut batches, mut answers) = (hashes.chunks_exact(ROWS).cycle(), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| {
                let batch = batches.next().expect("a cycle has no end");
                index.locate(batch, &mut answers).expect("the index answers");
                assert_eq!(answers.iter().flatten().count(), found);
            });
        });
    }
    let mut next = 2 << 40;
    group.bench_function("commit 1000", |b| {
        let fresh = || {
            next += ROWS as u64;
            rows(next, ROWS)
        };
        let commit = |batch| index.commit(batch).expect("the index commits");
        b.iter_batched(fresh, commit, criterion::BatchSize::PerIteration);
    });
    group.finish();
}

fn main() {
    gdd_benches::main(&[index]);
}
