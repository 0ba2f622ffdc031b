//! What the vacuum costs and frees: streams of which half is removed, in a pattern that leaves every container half
//! dead.
//!
//! `cargo run --release -p gdd-engine --example vacuum_scale -- [GIB [DIRECTORY]]`; by default 20 GiB logical, of which
//! 16 GiB are unique, below the temporary directory. It prints the rate of each run, its memory, and how much is on
//! disk for each byte that is needed; how fast the streams that stay are restored before and after, and from how many
//! containers; then reads every stream that is left and compares it. Last it stores the same data with and without a
//! vacuum and a scrub beside it, in turns, and prints the ratio of the medians, and how long single writes and the ends
//! of streams took.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::recipe::RecipeReader;
use gdd_engine::scrub::ScrubOptions;
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};

/// Bytes of a stream.
const STREAM: usize = 64 << 20;
/// The last fifth of a stream is the same as another's.
const SHARED: usize = STREAM / 5;
/// Bytes a second of the vacuum that runs beside ingest, and of the scrub: the daemon's own.
const RATE: u64 = 64 << 20;
const SCRUB_RATE: u64 = 32 << 20;
/// Streams that are restored before and after: every other one of these stays.
const SAMPLE: u64 = 64;
/// Turns with and without it.
const TURNS: usize = 5;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let gib: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20);
    let below = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = below.join(format!("gdd-vacuum-{}", std::process::id()));
    let options = Options::default();
    Store::init(&dir, &Settings::default(), &options)?;
    let store = Store::open(&dir, Access::ReadWrite, &options)?;
    let streams = gib * (1 << 30) / STREAM as u64;
    let started = Instant::now();
    // Two at a time, so that what stays lies beside what goes.
    for pair in 0..streams / 2 {
        let mut puts = [store.put(&name(2 * pair))?, store.put(&name(2 * pair + 1))?];
        let bytes = [content(2 * pair), content(2 * pair + 1)];
        for at in (0..STREAM).step_by(1 << 20) {
            for (put, bytes) in puts.iter_mut().zip(&bytes) {
                put.write(&bytes[at..STREAM.min(at + (1 << 20))])?;
            }
        }
        for put in puts {
            put.finish()?;
        }
    }
    let logical = streams * STREAM as u64;
    println!("stored   {:.1} GB logical at {}", gb(logical), rate(logical, started));
    locality("before", &store, streams)?;
    for stream in (0..streams).step_by(2) {
        store.remove(&name(stream))?;
    }
    let before = used(&dir);
    for run in 1..=2 {
        let report = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true)?;
        show(run, &report, used(&dir));
    }
    println!("disk     {:.2} GB before, {:.2} GB after", gb(before), gb(used(&dir)));
    locality("after", &store, streams)?;
    let started = Instant::now();
    for stream in (1..streams).step_by(2) {
        compare(&store, stream)?;
    }
    println!("compared {:.1} GB, every byte, at {}", gb(logical / 2), rate(logical / 2, started));
    beside(&store, streams)?;
    println!("memory   {:.0} MB resident at most", peak_mb());
    store.close()?;
    std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))
}

/// How streams that stay are restored: rate, and the containers that their chunks lie in.
fn locality(when: &str, store: &Store, streams: u64) -> Result<(), Error> {
    let sample = (1..streams.min(SAMPLE)).step_by(2);
    let (mut bytes, mut containers, mut changes) = (0, 0, 0);
    for stream in sample.clone() {
        let ids = places(store, &name(stream))?;
        containers += ids.iter().collect::<BTreeSet<_>>().len();
        changes += ids.windows(2).filter(|pair| pair[0] != pair[1]).count();
        bytes += STREAM as u64;
    }
    let started = Instant::now();
    for stream in sample {
        let mut get = store.get(&name(stream))?;
        while get.next()?.is_some() {}
    }
    println!(
        "restore  {when}: {}; {:.1} containers for each GB, {:.1} changes from one to another",
        rate(bytes, started),
        containers as f64 / gb(bytes),
        changes as f64 / gb(bytes)
    );
    Ok(())
}

/// The containers of a stream's chunks, in its order.
fn places(store: &Store, name: &str) -> Result<Vec<u64>, Error> {
    let core = store.core();
    let row = core.index.recipe(name)?.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
    let mut io = core.open_io()?;
    let mut reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
    let (mut entries, mut found) = (Vec::new(), Vec::new());
    while reader.next_block(io.as_mut(), &mut entries)? {}
    reader.close(io.as_mut());
    let hashes: Vec<_> = entries.iter().map(|entry| entry.hash).collect();
    core.index.locate(&hashes, &mut found)?;
    Ok(found.into_iter().flatten().map(|entry| entry.container.0).collect())
}

fn show(run: u32, report: &VacuumReport, used: u64) {
    let needed = report.needed_bytes.max(1);
    println!(
        "run {run}    {:.1} s (mark {:.1}, survey {:.1}, move {:.1}): chose {} containers, moved {:.2} GB, \
         freed {:.2} GB at {:.0} MB/s of both, marks {:.1} MB",
        report.seconds,
        report.seconds_marking,
        report.seconds_surveying,
        report.seconds_moving,
        report.chosen,
        gb(report.moved_bytes),
        gb(report.freed_bytes),
        gb(report.moved_bytes + report.freed_bytes) * 1000.0 / report.seconds,
        gb(report.memory_bytes) * 1000.0,
    );
    println!(
        "         {:.2} GB in containers for {:.2} GB needed at the survey: {:.3}",
        gb(used),
        gb(needed),
        gb(used) / gb(needed)
    );
}

/// Ingest in turns: alone, and beside a vacuum that always has something to do, and a scrub that begins anew.
fn beside(store: &Store, streams: u64) -> Result<(), Error> {
    let (mut alone, mut accompanied) = (Vec::new(), Vec::new());
    let mut waits = [Waits::default(), Waits::default()];
    for turn in 0..2 * TURNS {
        let with = turn % 2 == 1;
        // Every third of the rest goes, so that there is something to move.
        for stream in (1..streams).step_by(2).skip(turn).step_by(2 * TURNS) {
            store.remove(&name(stream))?;
        }
        let over = AtomicBool::new(false);
        let seconds = std::thread::scope(|scope| {
            let vacuuming = with.then(|| scope.spawn(|| vacuum_until(store, &over)));
            let scrubbing = with.then(|| scope.spawn(|| scrub_until(store, &over)));
            let mut seconds = 0.0;
            for part in 0..16 {
                let bytes = noise(1_000_000 + (turn as u64) * 100 + part, STREAM);
                seconds += waits[usize::from(with)].put(store, &format!("turn-{turn}-{part}"), &bytes)?;
            }
            over.store(true, Ordering::Relaxed);
            for beside in vacuuming.into_iter().chain(scrubbing) {
                beside.join().unwrap_or(Err(Error::Cancelled))?;
            }
            Ok::<f64, Error>(seconds)
        })?;
        if with { accompanied.push(seconds) } else { alone.push(seconds) }
    }
    let (alone, accompanied) = (median(alone), median(accompanied));
    let mb = 16.0 * STREAM as f64 / 1e6;
    println!(
        "beside   ingest {:.0} MB/s alone, {:.0} MB/s beside a vacuum at {} and a scrub at {} MiB/s: {:.2}",
        mb / alone,
        mb / accompanied,
        RATE >> 20,
        SCRUB_RATE >> 20,
        alone / accompanied
    );
    for (who, waits) in ["alone", "beside"].iter().zip(waits) {
        println!(
            "waits    {who}: a write of 1 MiB {}; the end of a stream {}",
            percentiles(waits.writes),
            percentiles(waits.ends)
        );
    }
    Ok(())
}

fn vacuum_until(store: &Store, over: &AtomicBool) -> Result<(), Error> {
    let options = VacuumOptions { rate: Some(RATE), dead_share: 0.01, ..VacuumOptions::default() };
    while !over.load(Ordering::Relaxed) {
        store.vacuum(&options, &mut |_| (), &mut |wait| {
            std::thread::sleep(wait);
            !over.load(Ordering::Relaxed)
        })?;
    }
    Ok(())
}

fn scrub_until(store: &Store, over: &AtomicBool) -> Result<(), Error> {
    let options = ScrubOptions { rate: Some(SCRUB_RATE), ..ScrubOptions::default() };
    while !over.load(Ordering::Relaxed) {
        store.scrub(&options, &mut |_| (), &mut |wait| {
            std::thread::sleep(wait);
            !over.load(Ordering::Relaxed)
        })?;
    }
    Ok(())
}

/// How long single calls took.
#[derive(Default)]
struct Waits {
    writes: Vec<Duration>,
    ends: Vec<Duration>,
}

impl Waits {
    /// Store a stream; returns the seconds that it took.
    fn put(&mut self, store: &Store, name: &str, bytes: &[u8]) -> Result<f64, Error> {
        let started = Instant::now();
        let mut put = store.put(name)?;
        for part in bytes.chunks(1 << 20) {
            let before = Instant::now();
            put.write(part)?;
            self.writes.push(before.elapsed());
        }
        let before = Instant::now();
        put.finish()?;
        self.ends.push(before.elapsed());
        Ok(started.elapsed().as_secs_f64())
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    format!("p50 {:.2}, p99 {:.2}, at most {:.2} ms of {}", at(50), at(99), at(100), times.len())
}

fn compare(store: &Store, stream: u64) -> Result<(), Error> {
    let (expected, mut get, mut at) = (content(stream), store.get(&name(stream))?, 0);
    while let Some(part) = get.next()? {
        assert!(expected[at..at + part.len()] == *part, "{}: byte {at}", name(stream));
        at += part.len();
    }
    assert_eq!(at, expected.len(), "{}", name(stream));
    Ok(())
}

fn name(stream: u64) -> String {
    format!("stream-{stream}")
}

/// Four fifths of its own, one that every eighth stream has too.
fn content(stream: u64) -> Vec<u8> {
    let mut bytes = noise(stream, STREAM - SHARED);
    bytes.extend(noise(1_000_000_000 + stream % 8, SHARED));
    bytes
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes of container files, the free ones too.
fn used(dir: &Path) -> u64 {
    let folder = |name: &str| -> u64 {
        let entries = std::fs::read_dir(dir.join(name)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    };
    folder("containers") + folder("pool")
}

fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1000.0
}

fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn rate(bytes: u64, since: Instant) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / since.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
