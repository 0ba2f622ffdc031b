//! What the chunk tuner does to ratio, index and rate: the same generations of each corpus into stores with the tuner
//! off, with it on, and with chunks four times as large from the start.
//!
//! `cargo run --release -p gdd-engine --example tuner_ab -- [MIB [GENERATIONS [DIRECTORY [WORD]]]]`; by default 256 MiB
//! and 6 generations of each corpus (with WORD, of those whose names have it), below the temporary directory. The rate
//! is the median over the streams of a store. Everything but the files below /usr comes from seeds.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::ingest::PutOptions;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;

const BLOCK: usize = 4096;

/// Makes a generation, 1 and up, of about so many bytes.
type Make = fn(u64, usize) -> Vec<u8>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (len, generations) = (number(256) << 20, number(6) as u64);
    let below = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let word = arguments.next().unwrap_or_default();
    let corpora: [(&str, u64, Make); 7] = [
        ("files of /usr, 2 % of them changed", 1, files),
        ("image, 1 % of 4 KiB blocks changed", 1, image),
        ("database, 5 % appended, 0.2 % changed", 1, database),
        ("two parts, the first one replaced", 1, halves),
        ("random, new each time", 1, random),
        ("random 4 times, then as the image", 1, begins_to_repeat),
        ("random, each stored in two lineages", 2, random),
    ];
    println!("{} MiB, {generations} generations", len >> 20);
    println!(
        "{:<38} {:<8} {:>10} {:>10} {:>7} {:>8} {:>8}  sizes of the last",
        "corpus", "tuner", "MB", "new MB", "ratio", "chunks", "MB/s"
    );
    for (name, lineages, make) in corpora.into_iter().filter(|(name, ..)| name.contains(&word)) {
        for (mode, tuner, factor) in [("off", false, 1), ("on", true, 1), ("off, x4", false, 4)] {
            let make = |generation| make(generation, len);
            let row = run(&below, (tuner, factor), (generations, lineages), &make)?;
            println!("{name:<38} {mode:<8} {row}");
        }
    }
    Ok(())
}

/// Store all generations of all lineages, which are alike; returns the rest of the row.
fn run(
    below: &Path,
    (tuner, factor): (bool, u32),
    (generations, lineages): (u64, u64),
    make: &dyn Fn(u64) -> Vec<u8>,
) -> Result<String, Error> {
    let dir = below.join(format!("gdd-tuner-ab-{}", std::process::id()));
    let default = Settings::default();
    let settings = Settings {
        chunk_size_min: default.chunk_size_min * factor,
        chunk_size_avg: default.chunk_size_avg * factor,
        chunk_size_max: default.chunk_size_max * factor,
        tuner,
        ..default
    };
    let options = Options::default();
    Store::init(&dir, &settings, &options)?;
    let store = Store::open(&dir, Access::ReadWrite, &options)?;
    let (mut bytes, mut new_bytes, mut rates, mut last) = (0, 0, Vec::new(), String::new());
    for stream in 0..generations * lineages {
        let data = make(stream / lineages + 1);
        let lineage = format!("corpus-{}", stream % lineages);
        let options = PutOptions { lineage: Some(lineage), ..PutOptions::default() };
        let mut put = store.put_with(&stream.to_string(), options)?;
        put.write(&data)?;
        let summary = put.finish()?;
        bytes += summary.bytes;
        new_bytes += summary.new_bytes;
        rates.push(summary.throughput_bytes_per_second / 1e6);
        last = format!("{}k", summary.chunk_size_avg >> 10);
        if let Some(switch) = summary.chunk_size_switch {
            last += &format!(", {}k from {} MiB on", switch.chunk_size_avg >> 10, switch.at >> 20);
        }
    }
    let chunks = store.stats()?.chunks;
    store.close()?;
    std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    rates.sort_by(f64::total_cmp);
    let (ratio, rate) = (bytes as f64 / new_bytes.max(1) as f64, rates[rates.len() / 2]);
    let (bytes, new_bytes) = (mb(bytes), mb(new_bytes));
    Ok(format!("{bytes:>10.1} {new_bytes:>10.1} {ratio:>7.3} {chunks:>8} {rate:>8.0}  {last}"))
}

/// The next of a sequence of numbers that the seed decides.
fn step(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(step(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Replace one in `one_in` blocks, others in each generation, and keep what earlier generations have replaced.
fn scatter(bytes: &mut [u8], generation: u64, one_in: u64) {
    for generation in 2..=generation {
        let mut state = generation.wrapping_mul(0x9e37_79b9) | 1;
        for (number, block) in bytes.chunks_exact_mut(BLOCK).enumerate() {
            if step(&mut state).is_multiple_of(one_in) {
                block.copy_from_slice(&noise(generation << 32 | number as u64, BLOCK));
            }
        }
    }
}

fn image(generation: u64, len: usize) -> Vec<u8> {
    let mut bytes = noise(1, len);
    scatter(&mut bytes, generation, 100);
    bytes
}

fn database(generation: u64, len: usize) -> Vec<u8> {
    let steps = usize::try_from(generation - 1).unwrap_or(usize::MAX);
    let grown = len / 4 * 3 + len / 20 * steps;
    let mut bytes = noise(2, grown);
    scatter(&mut bytes, generation, 500);
    bytes
}

fn halves(generation: u64, len: usize) -> Vec<u8> {
    [noise(100 + generation, len / 3), noise(3, len / 3 * 2)].concat()
}

fn random(generation: u64, len: usize) -> Vec<u8> {
    noise(200 + generation, len)
}

fn begins_to_repeat(generation: u64, len: usize) -> Vec<u8> {
    let mut bytes = noise(300 + generation.min(4), len);
    scatter(&mut bytes, generation.saturating_sub(3), 100);
    bytes
}

/// Files below /usr, one after another: per generation one in a hundred is missing, and one in a hundred has grown.
fn files(generation: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    let mut folders = vec![PathBuf::from("/usr")];
    let mut state = generation.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let fate = step(&mut state) % 100;
                match std::fs::read(entry.path()) {
                    Ok(content) if fate > 0 => bytes.extend(content),
                    _ => {}
                }
                if fate == 1 {
                    bytes.extend(noise(state, 100));
                }
            }
            if bytes.len() >= len {
                bytes.truncate(len);
                return bytes;
            }
        }
    }
    bytes
}
