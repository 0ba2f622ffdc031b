//! How fast one core cuts and hashes, beside the crates used one after another.
//!
//! `cargo run --release -p gdd-kernels --example speed [MIB]` prints GB/s (1e9 bytes, by thread CPU time) over MIB of
//! random data, 256 by default. The variants take turns, five times; the median is printed, and the median of the
//! ratios to the crates within each turn, which a clock that changes from turn to turn moves less. Another busy core
//! is still felt: treat differences below 5 % as noise.

use std::hint::black_box;

use gdd_kernels::{Chunker, Cut, Level, Params, hash_many};
use rustix::time::{ClockId, clock_gettime};

const TURNS: usize = 5;

/// One way to do the work; returns something that depends on the result.
type Variant<'a> = (&'static str, Box<dyn FnMut() -> usize + 'a>);

fn main() {
    let mib = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(256);
    let data = random(mib << 20);
    for (min, avg, max) in [(4, 16, 64), (16, 64, 256)] {
        let params = Params::new(min << 10, avg << 10, max << 10).expect("the sizes are valid");
        measure(params, &data);
    }
}

fn measure(params: Params, data: &[u8]) {
    let own = Chunker::new(params);
    let portable = Chunker::with_level(params, Level::Portable).expect("every CPU is portable");
    let mut ends = Vec::new();
    own.cut_all(data, true, &mut ends);
    println!(
        "{}/{}/{} KiB, {} MiB, {}",
        params.min >> 10,
        params.avg >> 10,
        params.max >> 10,
        data.len() >> 20,
        own.level()
    );
    let variants: [Variant<'_>; 9] = [
        ("crates, one after another", Box::new(|| crates_in_two_passes(params, data))),
        ("crates, fused", Box::new(|| crates_fused(params, data))),
        ("portable, fused", Box::new(|| fused(&portable, data))),
        ("own, fused", Box::new(|| fused(&own, data))),
        ("crate, cut only", Box::new(|| crate_cut(params, data).len())),
        ("own, cut only", Box::new(|| cut_only(&own, data))),
        ("crate, hash only", Box::new(|| crate_hash(data, &ends))),
        ("own, hash only", Box::new(|| hash_only(data, &ends))),
        ("own, fused, hot 512 KiB", Box::new(|| hot(&own, data))),
    ];
    report(data.len(), variants);
}

/// The first row is what the ratios of all others refer to.
fn report(size: usize, mut variants: [Variant<'_>; 9]) {
    let mut speeds = vec![[0.0; TURNS]; variants.len()];
    for turn in 0..TURNS {
        for ((_, variant), speeds) in variants.iter_mut().zip(&mut speeds) {
            let start = cpu_seconds();
            black_box(variant());
            speeds[turn] = size as f64 / 1e9 / (cpu_seconds() - start);
        }
    }
    for ((name, _), speeds_here) in variants.iter().zip(&speeds) {
        let ratios = std::array::from_fn(|turn| speeds_here[turn] / speeds[0][turn]);
        println!("  {name:<26} {:6.2} GB/s  {:5.2} x", median(*speeds_here), median(ratios));
    }
}

fn crate_cut(params: Params, data: &[u8]) -> Vec<u32> {
    let (min, avg, max) = (params.min as usize, params.avg as usize, params.max as usize);
    fastcdc::v2020::FastCDC::new(data, min, avg, max)
        .map(|chunk| u32::try_from(chunk.offset + chunk.length).expect("the data is below 4 GiB"))
        .collect()
}

fn crate_hash(data: &[u8], ends: &[u32]) -> usize {
    let mut start = 0;
    let mut sum = 0;
    for &end in ends {
        sum += usize::from(blake3::hash(&data[start..end as usize]).as_bytes()[0]);
        start = end as usize;
    }
    sum
}

fn crates_in_two_passes(params: Params, data: &[u8]) -> usize {
    crate_hash(data, &crate_cut(params, data))
}

fn crates_fused(params: Params, data: &[u8]) -> usize {
    let (min, avg, max) = (params.min as usize, params.avg as usize, params.max as usize);
    fastcdc::v2020::FastCDC::new(data, min, avg, max)
        .map(|chunk| usize::from(blake3::hash(&data[chunk.offset..][..chunk.length]).as_bytes()[0]))
        .sum()
}

fn cut_only(chunker: &Chunker, data: &[u8]) -> usize {
    let mut ends = Vec::new();
    chunker.cut_all(data, true, &mut ends);
    ends.len()
}

fn hash_only(data: &[u8], ends: &[u32]) -> usize {
    let mut hashes = Vec::with_capacity(ends.len());
    hash_many(data, ends, &mut hashes);
    hashes.len()
}

/// In extents, as the engine does.
fn fused(chunker: &Chunker, data: &[u8]) -> usize {
    let mut cuts: Vec<Cut> = Vec::new();
    let mut sum = 0;
    for extent in data.chunks(4 << 20) {
        cuts.clear();
        chunker.cut_and_hash(extent, true, &mut cuts);
        sum += cuts.len();
    }
    sum
}

/// The same bytes again and again: what memory takes away.
fn hot(chunker: &Chunker, data: &[u8]) -> usize {
    let part = &data[..data.len().min(512 << 10)];
    let mut cuts: Vec<Cut> = Vec::new();
    for _ in 0..data.len() / part.len() {
        cuts.clear();
        chunker.cut_and_hash(part, true, &mut cuts);
    }
    cuts.len()
}

fn median(mut values: [f64; TURNS]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[TURNS / 2]
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// xorshift64*.
fn random(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut data = Vec::with_capacity(size + 8);
    while data.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        data.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    data.truncate(size);
    data
}
