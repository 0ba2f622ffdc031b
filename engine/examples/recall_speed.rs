//! How fast are chunks and streams recalled, beside what the disk itself gives in the same minutes?
//!
//! `cargo run --release -p gdd-engine --example recall_speed -- DIR [MiB] [chunks|restore]` writes containers in DIR and removes them.
//! Rounds alternate between raw reads and recall, so that one slow moment of a shared disk does not decide; medians.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gdd_engine::format::StoreId;
use gdd_engine::format::codec::Codec;
use gdd_engine::format::recipe_block::RecipeEntry;
use gdd_engine::format::record::RecordHeader;
use gdd_engine::ids::{ChunkHash, ContainerId, Epoch};
use gdd_engine::index::rocks::RocksIndex;
use gdd_engine::index::{Batch, ChunkEntry, Index, Status};
use gdd_engine::observe::{Kind, RecallHistograms};
use gdd_engine::paths::Paths;
use gdd_engine::recall::cache::SegmentCache;
use gdd_engine::recall::stream::Listed;
use gdd_engine::recall::{Recall, RecallConfig};
use gdd_uring::buffer::{IoBuf, Pool};
use gdd_uring::io::{Done, IoSource, Op, Open, Tag, Wait, write_at};
use gdd_uring::probe::{Mode, probe};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const CONTAINER_SIZE: usize = 128 * MIB;
const ROUNDS: usize = 5;

struct Bench {
    root: std::path::PathBuf,
    source: Arc<dyn IoSource>,
    index: Arc<dyn Index>,
    cache: Arc<SegmentCache>,
    /// Chunks in stream order.
    chunks: Vec<(ChunkHash, ChunkEntry)>,
}

fn noise(out: &mut [u8], state: &mut u64) {
    for word in out.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

impl Bench {
    /// Write `total` bytes of chunks of about `size` bytes, in turns into two containers at a time, as two workers would.
    fn new(dir: &Path, size: usize, total: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let root = dir.join("gdd-recall-speed");
        let paths = Paths::new(&root);
        std::fs::create_dir_all(paths.containers())?;
        let source = probe(&root, Mode::Auto, false)?;
        let index: Arc<dyn Index> = Arc::new(RocksIndex::create(&paths.index(), StoreId([7; 16]), 64 << 20)?);
        let mut io = source.open()?;
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let mut chunks = Vec::new();
        for pair in 0..total.div_ceil(2 * CONTAINER_SIZE) as u64 {
            let mut files = [Vec::new(), Vec::new()];
            files.iter_mut().for_each(|file| file.resize(4096 + 128, 0));
            while files.iter().all(|file| file.len() + size + size / 2 + 4096 < CONTAINER_SIZE) {
                let jitter = if size > MIB { 0 } else { usize::try_from(state % 1000)? };
                let mut raw = vec![0; size + jitter];
                noise(&mut raw, &mut state);
                let side = usize::from(state & 1 == 1);
                let container = ContainerId(pair * 2 + side as u64 + 1);
                chunks.push(append(&mut files[side], container, &raw)?);
            }
            for (side, mut file) in files.into_iter().enumerate() {
                file.resize(file.len().next_multiple_of(4096), 0);
                let id = io.open(&paths.container(ContainerId(pair * 2 + side as u64 + 1)), Open::Create)?;
                for (at, part) in file.chunks(4 * MIB).enumerate() {
                    let mut buffer = IoBuf::zeroed(part.len());
                    buffer.copy_from_slice(part);
                    write_at(io.as_mut(), id, (at * 4 * MIB) as u64, buffer)?;
                }
                io.sync_all(id)?;
                io.close(id);
            }
        }
        index.commit(Batch { chunks: chunks.clone(), ..Batch::default() })?;
        Ok(Self { root, source, index, cache: Arc::new(SegmentCache::new(256 << 20)), chunks })
    }

    fn recall(&self, config: RecallConfig, seen: &Arc<RecallHistograms>) -> io::Result<Recall> {
        let (index, cache) = (Arc::clone(&self.index), Arc::clone(&self.cache));
        Ok(Recall::new(self.source.open()?, &self.root, index, cache, Arc::clone(seen), config))
    }
}

fn append(
    file: &mut Vec<u8>,
    container: ContainerId,
    raw: &[u8],
) -> Result<(ChunkHash, ChunkEntry), Box<dyn std::error::Error>> {
    let len = u32::try_from(raw.len())?;
    let header = RecordHeader {
        codec: Codec::None,
        container,
        offset: file.len() as u64,
        seq: 0,
        raw_len: len,
        stored_len: len,
        hash: ChunkHash::of(raw),
        payload_crc: crc32fast::hash(raw),
    };
    let entry = ChunkEntry {
        container,
        offset: u32::try_from(file.len())?,
        stored_len: len,
        raw_len: len,
        codec: Codec::None,
        status: Status::Live,
        pin_epoch: Epoch(0),
    };
    file.extend_from_slice(&header.encode());
    file.extend_from_slice(raw);
    Ok((header.hash, entry))
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    values[values.len() / 2]
}

fn quantile(mut values: Vec<Duration>, quantile: f64) -> f64 {
    values.sort_unstable();
    let below = |at: usize| (at as f64) < (values.len() - 1) as f64 * quantile;
    let at = (0..values.len() - 1).find(|at| !below(*at)).unwrap_or(values.len() - 1);
    values[at].as_secs_f64() * 1e6
}

/// Read `len` bytes at random places in pieces of `piece`, as the device alone would.
fn raw_random(bench: &Bench, len: usize, piece: usize, count: usize) -> io::Result<Vec<Duration>> {
    let mut io = bench.source.open()?;
    let file = io.open(&Paths::new(&bench.root).container(ContainerId(1)), Open::Read)?;
    let size = usize::try_from(io.size(file)?).expect("small") - len;
    let pool = Pool::new(piece, len.div_ceil(piece));
    let (mut state, mut times, mut done) = (12345u64, Vec::new(), Vec::<Done>::new());
    for _ in 0..count {
        noise(&mut [0; 8], &mut state);
        let start_offset = usize::try_from(state % (size as u64)).expect("small") / 4096 * 4096;
        let start = Instant::now();
        for at in (0..len).step_by(piece) {
            let buffer = pool.take().expect("as many as pieces");
            let op = Op::Read { file, offset: (start_offset + at) as u64, buffer };
            io.submit(Tag(0), op).map_err(|_| io::Error::other("full"))?;
        }
        let mut left = len.div_ceil(piece);
        while left > 0 {
            io.poll(&mut done, Wait::For(Duration::from_secs(10)))?;
            left -= done.drain(..).count();
        }
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Read all containers from beginning to end. Returns GB/s.
fn raw_sequential(bench: &Bench, piece: usize, depth: usize) -> io::Result<f64> {
    let mut io = bench.source.open()?;
    let mut entries: Vec<_> =
        std::fs::read_dir(Paths::new(&bench.root).containers())?.flatten().map(|e| e.path()).collect();
    entries.sort();
    let pool = Pool::new(piece, depth);
    let mut done = Vec::<Done>::new();
    let (start, mut total) = (Instant::now(), 0);
    for path in entries {
        let file = io.open(&path, Open::Read)?;
        let size = io.size(file)?;
        let (mut next, mut left) = (0, size.div_ceil(piece as u64));
        while left > 0 {
            while next < size
                && let Some(buffer) = pool.take()
            {
                io.submit(Tag(0), Op::Read { file, offset: next, buffer })
                    .map_err(|_| io::Error::other("full"))?;
                next += piece as u64;
            }
            io.poll(&mut done, Wait::For(Duration::from_secs(10)))?;
            for one in done.drain(..) {
                total += one.result?;
                left -= 1;
            }
        }
        io.close(file);
    }
    Ok(total as f64 / start.elapsed().as_secs_f64() / 1e9)
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_ascii_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    fields.get(10..12).map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}

/// CPU seconds that hashing a gigabyte in chunks of `size` takes alone, from memory.
fn hash_alone(size: usize) -> f64 {
    let mut data = vec![0; 256 * MIB];
    noise(&mut data, &mut 1);
    let cpu = cpu_seconds();
    let mut sum = 0;
    for chunk in data.chunks(size) {
        sum ^= ChunkHash::of(chunk).prefix();
    }
    std::hint::black_box(sum);
    (cpu_seconds() - cpu) / (data.len() as f64 / 1e9)
}

fn restore(bench: &Bench, config: RecallConfig) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    bench.cache.clear();
    let seen = Arc::default();
    let entry = |(hash, entry): &(ChunkHash, ChunkEntry)| RecipeEntry {
        hash: *hash,
        chunk_offset: 0,
        length: entry.raw_len,
        repeat: 1,
    };
    let entries: Vec<RecipeEntry> = bench.chunks.iter().map(entry).collect();
    let mut stream = bench.recall(config, &seen)?.stream(Listed(entries.into_iter()));
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut total = 0;
    while let Some(piece) = stream.next()? {
        total += piece.len();
    }
    let gigabytes = total as f64 / 1e9;
    Ok((gigabytes / start.elapsed().as_secs_f64(), (cpu_seconds() - cpu) / gigabytes))
}

fn latencies(dir: &Path, size: usize, total: usize) -> Result<(), Box<dyn std::error::Error>> {
    let bench = Bench::new(dir, size, total)?;
    let seen = Arc::new(RecallHistograms::default());
    let mut recall = bench.recall(RecallConfig::default(), &seen)?;
    let at_once = RecallConfig { pieces_alone: 32, ..RecallConfig::default() };
    let mut recall_at_once = bench.recall(at_once, &Arc::default())?;
    let count = if size > MIB { 40 } else { 200 };
    let (mut whole, mut split, mut cold, mut cold_at_once) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut state = 777u64;
    for _ in 0..ROUNDS {
        whole.extend(raw_random(&bench, size, size, count)?);
        split.extend(raw_random(&bench, size, (512 * KIB).min(size), count)?);
        bench.cache.clear();
        for _ in 0..count {
            noise(&mut [0; 8], &mut state);
            let (hash, _) = bench.chunks[usize::try_from(state % bench.chunks.len() as u64)?];
            let start = Instant::now();
            let chunk = recall.chunk(&hash)?;
            cold.push(start.elapsed());
            drop(chunk);
            bench.cache.clear();
            let start = Instant::now();
            let chunk = recall_at_once.chunk(&hash)?;
            cold_at_once.push(start.elapsed());
            drop(chunk);
            bench.cache.clear();
        }
    }
    let (mut borrowed, mut copied, mut copy_alone) = (Vec::new(), Vec::new(), Vec::new());
    let hot: Vec<ChunkHash> = bench.chunks.iter().step_by(3).take(8).map(|(hash, _)| *hash).collect();
    let mut out = vec![0u8; size + 1000];
    for round in 0..300 {
        let hash = &hot[round % hot.len()];
        drop(recall.chunk(hash)?);
        let start = Instant::now();
        let view = recall.chunk(hash)?;
        borrowed.push(start.elapsed());
        let start = Instant::now();
        recall.chunk_into(hash, &mut out)?;
        copied.push(start.elapsed());
        let start = Instant::now();
        out[..view.len()].copy_from_slice(&view);
        copy_alone.push(start.elapsed());
    }
    println!(
        "chunks of {} KiB, microseconds {:>21} {:>9} {:>9} {:>9}",
        size / KIB,
        "p10",
        "p50",
        "p90",
        "p99"
    );
    let raw_best = quantile(whole.clone(), 0.5).min(quantile(split.clone(), 0.5));
    for (name, times) in [
        ("raw read, whole", whole),
        ("raw read, 512 KiB pieces", split),
        ("cold", cold.clone()),
        ("cold, pieces all at once", cold_at_once),
        ("cache hit, borrowed", borrowed),
        ("cache hit, copied", copied),
        ("the copy alone", copy_alone),
    ] {
        let at = |q| quantile(times.clone(), q);
        println!("  {name:28} {:>12.1} {:>9.1} {:>9.1} {:>9.1}", at(0.1), at(0.5), at(0.9), at(0.99));
    }
    println!("  cold / best raw, p50: {:.3}", quantile(cold, 0.5) / raw_best);
    recall.publish();
    println!(
        "  recorded: {:?}",
        Kind::ALL.map(|kind| (kind.name(), seen.summary(kind).count, seen.summary(kind).p50))
    );
    std::fs::remove_dir_all(&bench.root)?;
    Ok(())
}

fn throughput(dir: &Path, size: usize, total: usize) -> Result<(), Box<dyn std::error::Error>> {
    let bench = Bench::new(dir, size, total)?;
    println!("restore of {} MiB in chunks of {} KiB, GB/s", total / MIB, size / KIB);
    let base = RecallConfig::default();
    let configs = [
        ("as configured", base),
        ("without a helper", RecallConfig { helper: false, ..base }),
        ("pieces of 1 MiB", RecallConfig { piece_size: MIB, ..base }),
        ("reads of 2 MiB", RecallConfig { read_max: 2 * MIB, ..base }),
        ("window of 32 MiB", RecallConfig { window: 32 * MIB, ..base }),
    ];
    let (mut raw, mut raw_small, mut runs) =
        (Vec::new(), Vec::new(), vec![(Vec::new(), Vec::new()); configs.len()]);
    for _ in 0..ROUNDS {
        raw.push(raw_sequential(&bench, MIB, 16)?);
        raw_small.push(raw_sequential(&bench, 512 * KIB, 16)?);
        for ((_, config), (rates, cpus)) in configs.iter().zip(&mut runs) {
            let (rate, cpu) = restore(&bench, *config)?;
            rates.push(rate);
            cpus.push(cpu);
        }
    }
    let raw = median(raw);
    println!("  hashing alone: {:.3} CPU s per GB", hash_alone(size));
    println!("  raw, 16 x 1 MiB {raw:.2}, 16 x 512 KiB {:.2}", median(raw_small));
    for ((name, _), (rates, cpus)) in configs.iter().zip(runs) {
        let rate = median(rates);
        println!("  {name:20} {rate:.2}, {:.3} of raw, {:.3} CPU s per GB", rate / raw, median(cpus));
    }
    std::fs::remove_dir_all(&bench.root)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| ".".to_owned());
    let total = arguments.next().and_then(|mib| mib.parse().ok()).unwrap_or(512) * MIB;
    let dir = Path::new(&dir);
    let only = arguments.next();
    if only.as_deref() != Some("restore") {
        latencies(dir, 64 * KIB, total)?;
        latencies(dir, 4 * MIB, total)?;
    }
    if only.as_deref() != Some("chunks") {
        throughput(dir, 20 * KIB, total)?;
    }
    Ok(())
}
