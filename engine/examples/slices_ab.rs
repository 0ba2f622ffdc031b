//! What slices do for a disk image that is written to in place: the same versions of it into a store without and with
//! them.
//!
//! `cargo run --release -p gdd-engine --example slices_ab -- [MIB [GENERATIONS [DIRECTORY]]]`; by default 4096 MiB, and
//! one generation after the first, below the temporary directory. Half of the image is a tar of /usr, a quarter random,
//! a quarter zeros; in each generation 1 % of its 4 KiB blocks are replaced, others each time. The last one is then
//! stored once more as it is. What was restored is compared. Memory: the image and half a GB.
#![allow(missing_docs)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gdd_engine::error::Error;
use gdd_engine::format::recipe_block::Line;
use gdd_engine::format::superblock::Settings;
use gdd_engine::ingest::{PutOptions, PutSummary};
use gdd_engine::options::{Access, Options};
use gdd_engine::recipe::RecipeReader;
use gdd_engine::store::Store;

const BLOCK: usize = 4096;
const PART: usize = 1 << 20;
/// Restores of each stream; the median counts.
const RESTORES: usize = 3;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (len, generations) = (number(4096) << 20, number(1));
    let below = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mut image = first(len)?;
    println!("{} MiB, {generations} generations after the first", len >> 20);
    println!(
        "{:<8} {:<10} {:>11} {:>10} {:>10} {:>9} {:>8} {:>8} {:>9}",
        "slices", "image", "changed MB", "new MB", "stored MB", "chunks", "lines", "put MB/s", "get MB/s"
    );
    for slices in [false, true] {
        let dir = below.join(format!("gdd-slices-ab-{}", std::process::id()));
        let ran = run(&dir, slices, generations, &mut image);
        std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
        ran?;
        if !slices {
            drop(std::mem::take(&mut image));
            image = first(len)?;
        }
    }
    Ok(())
}

fn run(dir: &Path, slices: bool, generations: usize, image: &mut [u8]) -> Result<(), Error> {
    let (settings, options) = (Settings { slices, ..Settings::default() }, Options::default());
    Store::init(dir, &settings, &options)?;
    let store = Store::open(dir, Access::ReadWrite, &options)?;
    let mut rows = Vec::new();
    for generation in 0..=generations + 1 {
        let again = generation == generations + 1;
        let changed = if generation == 0 || again { 0 } else { scatter(image, generation as u64) };
        let name = if again { "again".to_owned() } else { format!("{generation}") };
        rows.push((changed, put(&store, &name, image)?));
        if generation == generations {
            expect(&store, &name, image)?;
        }
    }
    expect(&store, "again", image)?;
    let mode = if slices { "on" } else { "off" };
    for (changed, summary) in rows {
        let (lines, rate) = (lines_of(&store, &summary.name)?, restore(&store, &summary.name)?);
        println!(
            "{mode:<8} {:<10} {:>11.1} {:>10.1} {:>10.1} {:>9} {lines:>8} {:>8.0} {rate:>9.0}",
            summary.name,
            mb(changed as u64),
            mb(summary.new_bytes),
            mb(summary.stored_bytes),
            summary.new_chunks,
            summary.throughput_bytes_per_second / 1e6,
        );
        if let Some(totals) = summary.slices {
            println!("{:<8} {totals:?}", "");
        }
    }
    store.close()
}

fn put(store: &Store, name: &str, image: &[u8]) -> Result<PutSummary, Error> {
    let lineage = Some("image".to_owned());
    let mut put = store.put_with(name, PutOptions { lineage, ..PutOptions::default() })?;
    image.chunks(PART).try_for_each(|part| put.write(part))?;
    put.finish()
}

/// Restore a stream some times; MB/s.
fn restore(store: &Store, name: &str) -> Result<f64, Error> {
    let mut rates = Vec::new();
    for _ in 0..RESTORES {
        let (started, mut get, mut bytes) = (Instant::now(), store.get(name)?, 0);
        while let Some(piece) = get.next()? {
            bytes += piece.len() as u64;
        }
        rates.push(mb(bytes) / started.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

fn expect(store: &Store, name: &str, image: &[u8]) -> Result<(), Error> {
    let (mut get, mut at) = (store.get(name)?, 0);
    while let Some(piece) = get.next()? {
        assert!(image[at..at + piece.len()] == piece[..], "{name}: other bytes at {at}");
        at += piece.len();
    }
    assert_eq!(at, image.len(), "{name} is whole");
    Ok(())
}

/// Lines of a stream's recipe.
fn lines_of(store: &Store, name: &str) -> Result<usize, Error> {
    let core = store.core();
    let row = core.index.recipe(name)?.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
    let mut io = core.open_io()?;
    let mut reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
    let mut lines: Vec<Line> = Vec::new();
    while reader.next_lines(io.as_mut(), &mut lines)? {}
    reader.close(io.as_mut());
    Ok(lines.len())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The first generation.
fn first(len: usize) -> Result<Vec<u8>, Error> {
    let mut image = vec![0; len];
    let failed = || Error::io("run tar of", Path::new("/usr"));
    let mut tar = Command::new("tar")
        .args(["--sort=name", "-C", "/usr", "-cf", "-", "."])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed())?;
    let mut filled = 0;
    if let Some(output) = &mut tar.stdout {
        while filled < len / 2 {
            match output.read(&mut image[filled..len / 2]).map_err(failed())? {
                0 => break,
                count => filled += count,
            }
        }
    }
    let _ = tar.kill(); // It may have ended by itself.
    tar.wait().map_err(failed())?;
    fill(1, &mut image[filled..len / 4 * 3]);
    Ok(image)
}

/// Replace one in a hundred blocks; returns the bytes that changed.
fn scatter(image: &mut [u8], generation: u64) -> usize {
    let (mut state, mut changed) = (generation.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, 0);
    for (number, block) in image.chunks_exact_mut(BLOCK).enumerate() {
        if step(&mut state).is_multiple_of(100) {
            fill(generation << 32 | number as u64, block);
            changed += BLOCK;
        }
    }
    changed
}

/// The next of a sequence of numbers that the seed decides.
fn step(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn fill(seed: u64, bytes: &mut [u8]) {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&step(&mut state).to_le_bytes()[..word.len()]);
    }
}
