//! `gdd bench recall`: what a chunk costs from the cache, from read-ahead and from the disk, beside the disk alone.
//!
//! For each chunk size a store is made whose chunks have exactly that size: smallest, average and largest chunk are the
//! same, so random data is cut at the largest. FastCDC's smallest chunk is at most 1 MiB; above that about a third of
//! the chunks end earlier, and only those of the full size are measured.
//!
//! - cache hit: a working set that fits the cache is asked for again and again; copied into one buffer, or borrowed.
//!   Beside it the copy alone, of the same bytes into the same buffer, and one chunk that is asked for all the time.
//! - read-ahead: a restore whose reader takes half as long again for each chunk as the disk does. A hit is a chunk that
//!   was there when it was asked for, by the engine's own account; with waits, all behind the first eighth count.
//! - cold: each chunk is asked for once, in random order, in a store just opened; checked by its record's CRC-32s, as
//!   for a receiver that checks from end to end itself, and by its BLAKE3, as restores that end here do.
//! - raw: direct reads of as many bytes anywhere in the same containers, in one piece and in eight at once.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gdd_engine::format::superblock::Settings;
use gdd_engine::ids::ChunkHash;
use gdd_engine::observe::Stage;
use gdd_engine::options::{Access, Options, Trust};
use gdd_engine::store::Store;
use gdd_uring::buffer::IoBuf;
use serde::Serialize;

use super::data::{self, Extents};
use super::device::{Device, LARGE, Way};
use super::latency::{Latencies, Percentiles};
use super::record::{self, Curve, Flow, Record, with_record};
use super::report::{Hardware, Series};
use super::sampler::Sampler;
use super::scratch::Scratch;
use super::{plot, report};
use crate::args::{BenchRecall, Common, RecallPart};
use crate::failure::{Failure, Result};
use crate::output::{Outcome, Table};
use crate::progress::Bar;
use crate::size::{show, show_binary, show_rate, to_float};

/// FastCDC's limit for the smallest chunk, in bytes.
const CHUNK_MIN_MAX: u64 = 1 << 20;
/// Sizes that can be measured: powers of two.
const SIZES: std::ops::RangeInclusive<u64> = (1 << 12)..=gdd_engine::limits::CHUNK_SIZE_MAX;
/// What is asked for again and again, in bytes: more than the CPU's caches, less than ours.
const WORKING_SET: u64 = 64 << 20;
/// Measurements of each kind of hit.
const HITS: usize = 4000;
/// Measurements of cold and raw reads, at least where there are chunks enough.
const COLD: usize = 400;
/// Times that a whole stream is restored.
const RESTORES: usize = 3;
/// Pieces of a split raw read.
const PIECES: usize = 8;
/// How much slower than the disk the reader of a read-ahead restore is.
const PACE: f64 = 1.5;
/// The reader sleeps when it is ahead by this much.
const NAP: Duration = Duration::from_millis(1);

/// Everything about one chunk size.
struct Sized {
    size: u64,
    latencies: Vec<Latencies>,
    restore: Series,
    restore_by_crc: Series,
    raw: Series,
    flows: Vec<Flow>,
}

/// One chunk size in `--json`.
#[derive(Serialize)]
struct Row<'a> {
    chunk_size: u64,
    microseconds: serde_json::Map<String, serde_json::Value>,
    cold_to_best_raw: f64,
    restore_bytes_per_second: &'a Series,
    restore_by_crc_bytes_per_second: &'a Series,
    raw_bytes_per_second: &'a Series,
    restore_to_raw: f64,
}

/// Measure.
///
/// # Errors
/// There is no room, or the disk refused.
pub fn run(arguments: &BenchRecall, common: &Common) -> Result<Outcome> {
    for size in &arguments.sizes {
        if !SIZES.contains(size) || !size.is_power_of_two() {
            return Err(Failure::Usage(format!("chunk sizes are powers of two from 4k to 4m, not {size}")));
        }
    }
    let options = common.options();
    let scratch = Scratch::new(common, arguments.bytes / 8 * 9 + (1 << 30))?;
    let hardware = Hardware::here(scratch.path());
    let bar = Bar::steps();
    let extents = Extents::random(arguments.bytes)?;
    let mut all = Vec::new();
    for size in &arguments.sizes {
        all.push(measure(*size, arguments.only, &extents, &scratch, &options, &bar)?);
    }
    drop((bar, scratch));
    if let Some(folder) = &arguments.hgrm {
        std::fs::create_dir_all(folder).map_err(Failure::file("make", folder))?;
        for sized in &all {
            let size = show_binary(sized.size);
            sized.latencies.iter().try_for_each(|latencies| latencies.write(folder, &size))?;
        }
    }
    if let Some(path) = &arguments.svg {
        let charts: Vec<plot::Chart<'_>> = all
            .iter()
            .map(|sized| (format!("Chunks of {}", show_binary(sized.size)), &sized.latencies[..]))
            .collect();
        plot::write(path, &charts)?;
    }
    let outcome = answer(&hardware, &all, extents.bytes())?;
    record::save(arguments.save.as_deref(), &outcome.json)?;
    Ok(outcome)
}

/// Everything about chunks of `size` bytes.
fn measure(
    size: u64,
    only: Option<RecallPart>,
    extents: &Extents,
    scratch: &Scratch,
    options: &Options,
    bar: &Bar,
) -> Result<Sized> {
    let step = |what: &str| bar.step(format!("chunks of {}: {what}", show_binary(size)));
    let directory = scratch.join(&format!("store-{size}"));
    step("store");
    let files = store(&directory, size, extents, options)?;
    let bench = Bench { directory: &directory, files: &files, options, size };
    step("restore");
    let mut flows = Vec::new();
    let [raw, restore, restore_by_crc] = bench.restores(&mut flows)?;
    if only == Some(RecallPart::Restore) {
        return Ok(Sized { size, latencies: Vec::new(), restore, restore_by_crc, raw, flows });
    }
    step("read-ahead");
    let ([ahead, waits], hashes) = bench.ahead(raw.median())?;
    step("cold");
    let cold = bench.cold(&hashes)?;
    step("cache");
    let hits = bench.hits(&hashes)?;
    std::fs::remove_dir_all(&directory).map_err(Failure::file("remove", &directory))?;
    let latencies = hits.into_iter().chain([ahead, waits]).chain(cold).collect();
    Ok(Sized { size, latencies, restore, restore_by_crc, raw, flows })
}

/// Make a store with chunks of `size`; returns its containers, each with the bytes written to it.
fn store(directory: &Path, size: u64, extents: &Extents, options: &Options) -> Result<Vec<(PathBuf, u64)>> {
    let narrow = |size: u64| u32::try_from(size).expect("sizes were checked");
    let settings = Settings {
        chunk_size_min: narrow(size.min(CHUNK_MIN_MAX)),
        chunk_size_avg: narrow(size),
        chunk_size_max: narrow(size),
        ..Settings::default()
    };
    Store::init(directory, &settings, options)?;
    let store = Store::open(directory, Access::ReadWrite, options)?;
    let mut put = store.put(STREAM)?;
    extents.all().iter().try_for_each(|extent| put.write_shared(extent.clone()))?;
    put.finish()?;
    let core = std::sync::Arc::clone(store.core());
    let rows = core.index.containers()?;
    let files = rows.into_iter().map(|(id, row)| (core.paths.container(id), row.durable_len)).collect();
    drop(core);
    store.close()?;
    Ok(files)
}

/// The only stream.
const STREAM: &str = "stream";

/// A store under measurement.
struct Bench<'a> {
    directory: &'a Path,
    files: &'a [(PathBuf, u64)],
    options: &'a Options,
    size: u64,
}

impl Bench<'_> {
    /// A store with an empty cache.
    fn open(&self) -> Result<Store> {
        self.open_with(Trust::Hash)
    }

    fn open_with(&self, trust: Trust) -> Result<Store> {
        let options = Options { trust, ..self.options.clone() };
        Ok(Store::open(self.directory, Access::ReadOnly, &options)?)
    }

    fn device(&self) -> Result<Device> {
        Device::of_files(self.directory, self.options.io_mode, self.files)
    }

    /// Rates of reading the containers from end to end, and of whole restores by BLAKE3 and by CRC-32.
    fn restores(&self, flows: &mut Vec<Flow>) -> Result<[Series; 3]> {
        let [mut raw, mut by_hash, mut by_crc] = [const { Series::new() }; 3];
        for _ in 0..RESTORES {
            raw.add(self.device()?.transfer(Way::Read, u64::MAX, LARGE)?);
            for (trust, rates) in [(Trust::Hash, &mut by_hash), (Trust::Crc, &mut by_crc)] {
                let (rate, points) = Sampler::during(|sampler| self.restore(trust, sampler));
                rates.add(rate?);
                flows.push(Flow { group: restore_of(self.size, trust), points });
            }
        }
        Ok([raw, by_hash, by_crc])
    }

    /// Bytes per second of restoring the stream from a store just opened.
    fn restore(&self, trust: Trust, sampler: &Sampler) -> Result<f64> {
        let store = self.open_with(trust)?;
        let (mut bytes, started) = (0, Instant::now());
        let mut get = store.get(STREAM)?;
        while let Some(chunk) = get.next()? {
            sampler.add(chunk.len());
            bytes += std::hint::black_box(chunk).len() as u64;
        }
        Ok(to_float(bytes) / started.elapsed().as_secs_f64())
    }

    /// Latencies of a restore whose reader is slower than the disk, and the chunks of full size.
    fn ahead(&self, raw_rate: f64) -> Result<([Latencies; 2], Vec<ChunkHash>)> {
        let (mut latencies, mut hashes) = (Latencies::new("read-ahead, with waits"), Vec::new());
        let store = self.open()?;
        let mut get = store.get(STREAM)?;
        let (start, mut bytes) = (get.bytes() / 8, 0);
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let Some(chunk) = get.next()? else { break };
            if bytes >= start && chunk.len() as u64 == self.size {
                latencies.add(asked.elapsed());
            }
            bytes += chunk.len() as u64;
            if chunk.len() as u64 == self.size {
                hashes.push(ChunkHash::of(&chunk));
            }
            let due = Duration::from_secs_f64(to_float(bytes) / raw_rate * PACE);
            if let Some(early) = due.checked_sub(begun.elapsed()).filter(|early| *early > NAP) {
                std::thread::sleep(early);
            }
        }
        drop(get); // It tells the store what it recorded.
        let hits =
            Latencies::of("read-ahead hit", store.histograms().times(Stage::RecallReadAhead).histogram);
        hashes.sort_unstable(); // Hashes are random, so this is a random order, and the same in every run.
        hashes.dedup();
        if hashes.is_empty() {
            let what = format!("no chunk has the full {} bytes; use more --bytes", self.size);
            return Err(Failure::Failed(what));
        }
        Ok(([hits, latencies], hashes))
    }

    /// Cold chunks by CRC-32 and by BLAKE3, raw reads in one piece, and raw reads in several, by turns.
    fn cold(&self, hashes: &[ChunkHash]) -> Result<[Latencies; 4]> {
        let mut found = ["cold", "cold, BLAKE3", "raw read", "raw read, 8 pieces"].map(Latencies::new);
        let size = usize::try_from(self.size).expect("sizes were checked");
        let mut one = vec![IoBuf::zeroed(size)];
        let piece = (size / PIECES).max(4096).min(size);
        let mut split: Vec<IoBuf> = (0..size / piece).map(|_| IoBuf::zeroed(piece)).collect();
        let mut device = self.device()?;
        let (mut random, mut left) = (Random::default(), COLD);
        while left > 0 {
            let stores = [self.open_with(Trust::Crc)?, self.open_with(Trust::Hash)?];
            let mut recalls = [stores[0].recall()?, stores[1].recall()?];
            for hash in hashes.iter().take(left) {
                for (recall, latencies) in recalls.iter_mut().zip(&mut found) {
                    let started = Instant::now();
                    let chunk = recall.chunk(hash)?;
                    latencies.add(started.elapsed());
                    drop(chunk);
                }
                found[2].add(device.read_somewhere(random.next(), &mut one)?);
                found[3].add(device.read_somewhere(random.next(), &mut split)?);
            }
            left = left.saturating_sub(hashes.len());
        }
        Ok(found)
    }

    /// Chunks that are in the cache: borrowed, copied, the copy alone, and one of them again and again.
    fn hits(&self, hashes: &[ChunkHash]) -> Result<[Latencies; 4]> {
        let names =
            ["cache hit, borrowed", "cache hit, copied", "copy alone", "cache hit, copied, one chunk"];
        let mut found = names.map(Latencies::new);
        let [borrowed, copied, copy, hot] = &mut found;
        let count = usize::try_from(WORKING_SET / self.size).unwrap_or(1);
        let set = &hashes[..hashes.len().min(count)];
        let store = self.open()?;
        let mut recall = store.recall()?;
        let mut buffer = IoBuf::zeroed(usize::try_from(self.size).expect("sizes were checked"));
        data::fill(&mut buffer, 0); // Memory that exists: the first touch of a page is not what is measured.
        for hash in set.iter().chain(set) {
            recall.chunk(hash)?;
        }
        let misses = recall.cache().stats().misses;
        let again = set.iter().cycle().take(HITS);
        for hash in again.clone() {
            let started = Instant::now();
            let chunk = recall.chunk(hash)?;
            borrowed.add(started.elapsed());
            std::hint::black_box(chunk[0]);
        }
        for hash in again.clone() {
            let started = Instant::now();
            recall.chunk_into(hash, &mut buffer)?;
            copied.add(started.elapsed());
            std::hint::black_box(&mut buffer);
        }
        for hash in again {
            let chunk = recall.chunk(hash)?;
            let started = Instant::now();
            buffer.copy_from_slice(&chunk);
            copy.add(started.elapsed());
            std::hint::black_box(&mut buffer);
        }
        for hash in std::iter::repeat_n(&set[0], HITS) {
            let started = Instant::now();
            recall.chunk_into(hash, &mut buffer)?;
            hot.add(started.elapsed());
            std::hint::black_box(&mut buffer);
        }
        let missed = recall.cache().stats().misses - misses;
        if missed > 0 {
            let what = format!("{missed} of {} lookups missed the cache; use more --memory", 4 * HITS);
            return Err(Failure::Failed(what));
        }
        Ok(found)
    }
}

/// Restores of a chunk size, in a report.
fn restore_of(size: u64, trust: Trust) -> String {
    let by = if trust == Trust::Hash { "BLAKE3" } else { "CRC-32" };
    format!("restore, chunks of {}, by {by}", show_binary(size))
}

/// SplitMix64, for places to read.
#[derive(Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        let mut word = [0; 8];
        data::fill(&mut word, self.0);
        self.0 += 1;
        u64::from_le_bytes(word)
    }
}

fn answer(hardware: &report::Hardware, all: &[Sized], bytes: u64) -> Result<Outcome> {
    let mut table = Table::new(["microseconds", "p50", "p90", "p99", "max", "count", "beside raw p50"]);
    let mut rates = Table::new(["restore of a whole stream", "BLAKE3", "CRC-32", "raw read", "ratios", ""]);
    let mut rows = Vec::new();
    for sized in all {
        let size = show_binary(sized.size);
        let of = |name: &str| sized.latencies.iter().find(|latencies| latencies.name.starts_with(name));
        let p50 = |name: &str| of(name).map_or(0.0, |latencies| latencies.percentiles().p50);
        let raw = p50("raw read").min(p50("raw read, 8"));
        let mut microseconds = serde_json::Map::new();
        for latencies in &sized.latencies {
            let found = latencies.percentiles();
            let Percentiles { count, p50, p90, p99, max } = found;
            let beside =
                if latencies.name.starts_with("cold") { format!("{:.2}", p50 / raw) } else { String::new() };
            let [p50, p90, p99, max] = [p50, p90, p99, max].map(|value| format!("{value:.1}"));
            let name = format!("{size:>5} {}", latencies.name);
            table.row([name, p50, p90, p99, max, count.to_string(), beside]);
            microseconds.insert(latencies.name.clone(), serde_json::json!(found));
        }
        let [ratio, by_crc] =
            [&sized.restore, &sized.restore_by_crc].map(|series| series.median() / sized.raw.median());
        rates.row([
            format!("{size:>5} chunks"),
            show_rate(sized.restore.median()),
            show_rate(sized.restore_by_crc.median()),
            show_rate(sized.raw.median()),
            format!("{ratio:.2}"),
            format!("{by_crc:.2}"),
        ]);
        rows.push(Row {
            chunk_size: sized.size,
            microseconds,
            cold_to_best_raw: p50("cold") / raw,
            restore_bytes_per_second: &sized.restore,
            restore_by_crc_bytes_per_second: &sized.restore_by_crc,
            raw_bytes_per_second: &sized.raw,
            restore_to_raw: ratio,
        });
    }
    let text = format!("{hardware}{} stored for each chunk size\n\n{table}\n{rates}", show(bytes));
    let object = serde_json::json!({ "hardware": hardware, "bytes": bytes, "sizes": rows });
    Outcome::new(&with_record(&object, &record_of(hardware, all, bytes))?, text)
}

/// The same for a report.
fn record_of(hardware: &Hardware, all: &[Sized], bytes: u64) -> Record {
    let mut record = Record::new("recall", hardware, format!("{} stored for each chunk size", show(bytes)));
    for sized in all {
        let (group, raw) = (format!("chunks of {}", show_binary(sized.size)), Some(sized.raw.median()));
        record.rate(&format!("raw read of the containers, {group}"), &sized.raw, None);
        record.rate(&restore_of(sized.size, Trust::Hash), &sized.restore, raw);
        record.rate(&restore_of(sized.size, Trust::Crc), &sized.restore_by_crc, raw);
        record.flows.extend(sized.flows.iter().cloned());
        let curve = |one: &Latencies| Curve::of(&group, &one.name, one.histogram());
        record.curves.extend(sized.latencies.iter().map(curve));
    }
    record
}
