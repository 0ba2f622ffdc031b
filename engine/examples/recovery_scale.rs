//! How long a store takes to come back: opening after a crash, a new index, and checks of each depth.
//!
//! `cargo run --release -p gdd-engine --example recovery_scale -- [GIB [DIRECTORY]]`; by default 16 GiB of data of
//! which nothing repeats, below the temporary directory. It prints each time, and what it makes for a TB.
#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Instant;

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_engine::{fsck, rebuild};

/// Bytes of a stream.
const STREAM: usize = 256 << 20;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let gib: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(16);
    let below = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = below.join(format!("gdd-recovery-{}", std::process::id()));
    let options = Options::default();
    Store::init(&dir, &Settings::default(), &options)?;
    let store = Store::open(&dir, Access::ReadWrite, &options)?;
    let streams = gib * (1 << 30) / STREAM as u64;
    for stream in 0..streams {
        let mut put = store.put(&format!("stream-{stream}"))?;
        noise(stream, &mut |part| put.write(part))?;
        put.finish()?;
    }
    let chunks = store.stats()?.chunks;
    let bytes = streams * STREAM as u64;
    println!("{:.1} GB in {chunks} chunks and {streams} streams", bytes as f64 / 1e9);
    let mut put = store.put("unfinished")?;
    noise(streams, &mut |part| put.write(part))?;
    drop(put);
    drop(store); // As after a crash: nothing is marked as closed.
    let show = |what: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        let terabyte = seconds * 1e12 / bytes as f64;
        println!("{what:<28} {seconds:8.2} s {:8.1} min for a TB", terabyte / 60.0);
    };
    let started = Instant::now();
    let store = Store::open(&dir, Access::ReadWrite, &options)?;
    println!("{:<28} {:8.2} s", "opening after a crash", started.elapsed().as_secs_f64());
    store.close()?;
    let started = Instant::now();
    Store::open(&dir, Access::ReadWrite, &options)?.close()?;
    println!("{:<28} {:8.2} s", "opening, closed in order", started.elapsed().as_secs_f64());
    for level in 0..=fsck::LEVEL_MAX {
        let started = Instant::now();
        let report = fsck::check(&dir, level, &options, &mut |_| ())?;
        assert!(report.clean, "{report:?}");
        show(&format!("fsck, level {level}"), started);
    }
    let started = Instant::now();
    let rebuilt = rebuild::rebuild_index(&dir, &options, &mut |_| ())?;
    show("rebuild-index", started);
    assert!(rebuilt.streams == streams, "{rebuilt:?}");
    let started = Instant::now();
    Store::open(&dir, Access::ReadWrite, &options)?.close()?;
    println!("{:<28} {:8.2} s", "opening after a rebuild", started.elapsed().as_secs_f64());
    std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))
}

/// A stream of its own, in parts.
fn noise(seed: u64, take: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut part = vec![0; 1 << 20];
    for _ in 0..STREAM / part.len() {
        for word in part.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        take(&part)?;
    }
    Ok(())
}
