//! How long the filter and the locality cache take to answer, in nanoseconds.
//!
//! `cargo run --release -p gdd-engine --example membership [MILLIONS] [DIR]`: fills a filter in a new directory
//! below DIR (default: the temporary directory), asks it, and removes it. Compare runs on an idle machine, pinned to
//! a core; differences below a tenth are noise.

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use gdd_engine::filter::{Answer, Filter, FilterConfig};
use gdd_engine::format::StoreId;
use gdd_engine::format::codec::Codec;
use gdd_engine::format::footer::DirectoryEntry;
use gdd_engine::ids::{ChunkHash, ContainerId, Epoch};
use gdd_engine::locality::LocalityCache;

/// Questions per measurement.
const ASKED: usize = 1 << 20;

/// Times that they are asked.
const ROUNDS: usize = 7;

/// Insertions timed together.
const INSERTED: usize = 50_000;

/// Questions put at once.
const AT_ONCE: usize = 256;

/// Chunks in a container of 128 MiB, in chunks of 16 KiB.
const PER_CONTAINER: usize = 8192;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let millions: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let below = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = below.join(format!("gdd-membership-{}", std::process::id()));
    let result = filter(millions * 1_000_000, &dir);
    std::fs::remove_dir_all(&dir)?;
    result?;
    locality(64 << 20);
    Ok(())
}

/// Hash number `number`: uniformly distributed, as BLAKE3's are, and quick to make.
fn hash(number: u64) -> ChunkHash {
    let mut hash = ChunkHash([0; 32]);
    let mut state = number.wrapping_mul(4);
    for word in hash.0.as_chunks_mut().0 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *word = u64::to_le_bytes(mixed ^ (mixed >> 31));
    }
    hash
}

/// Hashes numbered `first..first + count`, `ASKED` of them, in random order.
fn sample(first: u64, count: u64) -> Vec<ChunkHash> {
    (0..ASKED as u64).map(|draw| hash(first + hash(draw).prefix() % count)).collect()
}

/// Nanoseconds per item of `work` on `count` items.
fn nanoseconds(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// Print the best of some rounds, and the median: other work on the machine only ever adds.
fn report(what: &str, mut rounds: Vec<f64>) {
    rounds.sort_by(f64::total_cmp);
    println!("{what:<40} {:8.1} ns, median {:8.1}", rounds[0], rounds[rounds.len() / 2]);
}

/// Time a question that can be repeated.
fn timed(what: &str, mut work: impl FnMut()) {
    report(what, (0..ROUNDS).map(|_| nanoseconds(ASKED, &mut work)).collect());
}

fn filter(count: u64, dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let defaults = FilterConfig::new(StoreId([1; 16]), Epoch(1));
    let config = FilterConfig { hot_capacity: defaults.hot_capacity.min(count / 4), ..defaults };
    let (filter, _) = Filter::open(Some(dir), config)?;
    filter.finish_rebuild();
    let hashes: Vec<_> = (0..count).map(hash).collect();
    let insert = |hashes: &[ChunkHash]| {
        nanoseconds(hashes.len(), || hashes.iter().for_each(|hash| filter.insert(hash)))
    };
    report("insert", hashes.chunks(INSERTED).map(insert).collect());
    let recent = config.hot_capacity / 2;
    for (what, hashes) in [
        ("hot hit", sample(count - recent, recent)),
        ("cold hit", sample(0, count - config.hot_capacity)),
        ("miss", sample(1 << 40, 1 << 30)),
    ] {
        let mut answers = Vec::new();
        timed(&format!("{what}, one by one"), || {
            for hash in &hashes {
                black_box(filter.query(hash));
            }
        });
        timed(&format!("{what}, {AT_ONCE} at once"), || {
            hashes.chunks(AT_ONCE).for_each(|hashes| filter.query_many(hashes, black_box(&mut answers)));
        });
    }
    let (asked, mut answers) = (16 * ASKED, Vec::new());
    let mut maybe = 0;
    for first in (0..asked as u64).step_by(AT_ONCE) {
        let absent: Vec<_> = (0..AT_ONCE as u64).map(|number| hash(1 << 41 | (first + number))).collect();
        filter.query_many(&absent, &mut answers);
        maybe += answers.iter().filter(|answer| **answer != Answer::New).count();
    }
    let stats = filter.stats();
    println!(
        "false positives: {:.6} measured, {:.6} expected",
        maybe as f64 / asked as f64,
        stats.expected_fpr
    );
    println!("{} layers, {:.1} bits per chunk", stats.layers, stats.bytes as f64 * 8.0 / stats.items as f64);
    println!(
        "full: {:.1} bits per chunk; hot {} bytes",
        stats.bytes as f64 * 8.0 / stats.capacity as f64,
        stats.hot_bytes
    );
    let start = Instant::now();
    filter.flush_and_mark_clean(Epoch(0))?;
    println!("close {:.3} s for {} bytes", start.elapsed().as_secs_f64(), stats.bytes);
    drop(filter);
    let start = Instant::now();
    let (_, opened) = Filter::open(Some(dir), FilterConfig { epoch: Epoch(2), ..config })?;
    println!("open {:.3} s ({opened:?})", start.elapsed().as_secs_f64());
    Ok(())
}

fn locality(budget: usize) {
    let mut cache = LocalityCache::new(budget);
    let directory = |container: u64| -> Vec<DirectoryEntry> {
        let numbers = container * PER_CONTAINER as u64..(container + 1) * PER_CONTAINER as u64;
        let entry = |number| DirectoryEntry {
            hash: hash(number),
            offset: 1,
            stored_len: 2,
            raw_len: 3,
            codec: Codec::None,
        };
        numbers.map(entry).collect()
    };
    let containers = (budget / 68 / PER_CONTAINER) as u64 - 1;
    let fill = |what: &str, cache: &mut LocalityCache, first: u64| {
        let directories: Vec<_> =
            (first..first + containers).map(|number| (ContainerId(number), directory(number))).collect();
        let load = |(id, entries): &(ContainerId, Vec<DirectoryEntry>)| {
            nanoseconds(entries.len(), || cache.insert_container(*id, entries))
        };
        report(what, directories.iter().map(load).collect());
    };
    fill("locality: load, per entry", &mut cache, containers);
    fill("locality: load and evict, per entry", &mut cache, 0);
    let chunks = cache.chunk_count() as u64;
    println!("{} containers, {chunks} chunks, {} of {budget} bytes", cache.container_count(), cache.bytes());
    let in_order: Vec<_> = (0..ASKED as u64).map(|number| hash(number % chunks)).collect();
    for (what, hashes) in [
        ("locality: hit, in order", in_order),
        ("locality: hit, at random", sample(0, containers * PER_CONTAINER as u64)),
        ("locality: miss", sample(1 << 40, 1 << 30)),
    ] {
        timed(what, || {
            for hash in &hashes {
                black_box(cache.get(hash));
            }
        });
    }
}
