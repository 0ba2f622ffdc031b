//! What the benches share: seeded data, sizes, the crates and calls that we measure ourselves against.
//!
//! `cargo bench -p gdd-benches` measures; `cargo test --release -p gdd-benches` runs every bench once on a little data
//! and checks that rivals did the same work, so that a bench which no longer compiles, runs or compares like with like
//! is noticed the same day. `gdd bench` is the tool for users: it measures the whole path beside the device's ceiling.
//!
//! Compare two commits on one idle machine:
//!
//! ```text
//! git switch --detach BEFORE && cargo bench -p gdd-benches --bench chunk -- --save-baseline before
//! git switch --detach AFTER  && cargo bench -p gdd-benches --bench chunk -- --baseline before
//! ```
//!
//! Run the pair twice, the second time in the other order: a machine that warmed up is not a faster commit.

pub mod corpus;
pub mod effort;
pub mod mover;
pub mod rivals;
pub mod scratch;
pub mod stocked;
pub mod tokio_mover;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};

use effort::Effort;

/// The `main` of a bench: run these with the sizes that the command line asks for.
pub fn main(benches: &[fn(&mut Criterion, Effort)]) {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let effort = Effort::chosen();
    for bench in benches {
        bench(&mut criterion, effort);
    }
    criterion.final_summary();
}

/// A group whose every iteration takes about as long: milliseconds, not nanoseconds.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str, each: Throughput) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).throughput(each);
    group
}
