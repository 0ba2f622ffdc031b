//! How fast the first and the last of many generations of a changing tree are restored: from a store that has only that
//! one, from one that has all, and from one that has all and stores known chunks again (`--rewrite`).
//!
//! `cargo run --release -p gdd-engine --example fragmentation -- [MB [GENERATIONS [DIRECTORY [PERCENT]]]]`; by default
//! 1024 MB, 30 generations, below the temporary directory, 5 %. Every restore is compared by its BLAKE3. Needs room for
//! about four times the tree.
#![allow(missing_docs)]

mod trace;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options, Rewriting, Trust};
use gdd_engine::recall::cache::SegmentCache;
use gdd_engine::recall::entries::RecipeEntries;
use gdd_engine::recall::{Recall, RecallConfig};
use gdd_engine::recipe::RecipeReader;
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use trace::{Cost, Trace, Traced};
use tree::Tree;

/// Restores whose median rate counts.
const RESTORES: usize = 3;
type Digest = blake3::Hash;

/// What one store has to say of a stream.
struct Row {
    store: &'static str,
    name: String,
    cost: Cost,
    wide: Cost,
    bytes: u64,
    rate: f64,
}

/// What it took to store the generations.
#[derive(Default)]
struct Totals {
    bytes: u64,
    new: u64,
    rewritten: u64,
    last_new: u64,
    last_rewritten: u64,
    seconds: f64,
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (megabytes, generations) = (number(1024), number(30).max(2));
    let below = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let percent = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let dir = below.join(format!("gdd-fragmentation-{}", std::process::id()));
    let ran = run(&dir, megabytes * 1_000_000, generations, percent);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
    }
    ran
}

fn run(dir: &Path, bytes: u64, generations: u64, percent: u8) -> Result<(), Error> {
    println!("{} MB at first, {generations} generations, at most {percent} % rewritten", bytes / 1_000_000);
    let (last, mut rows, mut digests) = (generations - 1, Vec::new(), Vec::new());
    let mut tree = Tree::new(bytes);
    for generation in 0..generations {
        if generation > 0 {
            tree.change(generation);
        }
        if generation == 0 || generation == last {
            digests.push((generation.to_string(), digest(&tree)));
            let store = create(dir, Rewriting::OFF)?;
            put(&store, &generation.to_string(), &tree, &mut Totals::default())?;
            store.close()?;
            rows.push(measure(dir, "fresh", &digests[digests.len() - 1])?);
            std::fs::remove_dir_all(dir).map_err(Error::io("remove", dir))?;
        }
    }
    for (label, rewriting) in [("aged", Rewriting::OFF), ("rewritten", Rewriting::percent(percent))] {
        age(dir, label, (bytes, generations), rewriting)?;
        for expected in &digests {
            rows.push(measure(dir, label, expected)?);
        }
        if rewriting.percent > 0 {
            vacuum(dir)?;
            for expected in &digests {
                rows.push(measure(dir, "vacuumed", expected)?);
            }
        }
        std::fs::remove_dir_all(dir).map_err(Error::io("remove", dir))?;
    }
    show(&rows);
    Ok(())
}

/// Store all generations.
fn age(dir: &Path, label: &str, (bytes, generations): (u64, u64), rewriting: Rewriting) -> Result<(), Error> {
    let store = create(dir, rewriting)?;
    let (mut tree, mut totals) = (Tree::new(bytes), Totals::default());
    for generation in 0..generations {
        if generation > 0 {
            tree.change(generation);
        }
        put(&store, &generation.to_string(), &tree, &mut totals)?;
    }
    println!(
        "{label}: {:.0} MB brought, {:.0} MB new, {:.0} MB rewritten: {:.2} % of what was brought; the last one: \
         {:.1} MB new, {:.1} MB rewritten; {}; stored at {:.0} MB/s",
        mb(totals.bytes),
        mb(totals.new),
        mb(totals.rewritten),
        100.0 * mb(totals.rewritten) / mb(totals.bytes),
        mb(totals.last_new),
        mb(totals.last_rewritten),
        size(&store)?,
        mb(totals.bytes) / totals.seconds,
    );
    store.close()
}

/// Free what the rewriting has left dead.
fn vacuum(dir: &Path) -> Result<(), Error> {
    let store = Store::open(dir, Access::ReadWrite, &Options::default())?;
    let before = size(&store)?;
    for _ in 0..2 {
        let report = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true)?;
        println!("vacuum: {:.0} MB moved, {:.0} MB freed", mb(report.moved_bytes), mb(report.freed_bytes));
    }
    println!("vacuum: from {before} to {}", size(&store)?);
    store.close()
}

fn size(store: &Store) -> Result<String, Error> {
    let rows = store.core().index.containers()?;
    let used: u64 = rows.iter().map(|(_, row)| row.durable_len).sum();
    Ok(format!("{:.0} MB in {} containers", mb(used), rows.len()))
}

fn options(rewriting: Rewriting) -> Options {
    Options { rewriting, ..Options::default() }
}

fn create(dir: &Path, rewriting: Rewriting) -> Result<Store, Error> {
    Store::init(dir, &Settings::default(), &options(rewriting))?;
    Store::open(dir, Access::ReadWrite, &options(rewriting))
}

fn digest(tree: &Tree) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let hashed: Result<(), ()> = tree.each(&mut |bytes| {
        hasher.update(bytes);
        Ok(())
    });
    assert!(hashed.is_ok(), "hashing does not fail");
    hasher.finalize()
}

fn put(store: &Store, name: &str, tree: &Tree, totals: &mut Totals) -> Result<(), Error> {
    let mut put = store.put(name)?;
    tree.each(&mut |bytes| put.write(bytes))?;
    let summary = put.finish()?;
    totals.bytes += summary.bytes;
    totals.new += summary.new_bytes;
    totals.rewritten += summary.rewritten_bytes;
    (totals.last_new, totals.last_rewritten) = (summary.new_bytes, summary.rewritten_bytes);
    totals.seconds += summary.seconds;
    Ok(())
}

/// Restore a stream some times from the store, opened anew each time, and then with the reads written down.
fn measure(dir: &Path, label: &'static str, expected: &(String, Digest)) -> Result<Row, Error> {
    let (name, digest) = expected;
    let (mut rates, mut length) = (Vec::new(), 0);
    for _ in 0..RESTORES {
        let store = Store::open(dir, Access::ReadOnly, &Options::default())?;
        let (started, mut get, mut bytes) = (Instant::now(), store.get(name)?, 0);
        while let Some(piece) = get.next()? {
            bytes += piece.len() as u64;
        }
        rates.push(mb(bytes) / started.elapsed().as_secs_f64());
        length = bytes;
    }
    rates.sort_by(f64::total_cmp);
    let store = Store::open(dir, Access::ReadOnly, &Options::default())?;
    let cost = traced(&store, name, digest, RecallConfig::default())?;
    let wide = traced(&store, name, digest, RecallConfig::scattered())?;
    Ok(Row { store: label, name: name.clone(), cost, wide, bytes: length, rate: rates[rates.len() / 2] })
}

/// What a restore reads.
fn traced(store: &Store, name: &str, digest: &Digest, config: RecallConfig) -> Result<Cost, Error> {
    let core = store.core();
    let row = core.index.recipe(name)?.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
    let mut io = core.open_io()?;
    let reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
    let trace = Trace::default();
    let door = Box::new(Traced::new(core.open_io()?, trace.clone()));
    let cache = Arc::new(SegmentCache::new(core.budget.segments as u64).trusting(Trust::Hash));
    let index = Arc::clone(&core.index);
    let recall = Recall::new(door, core.paths.root(), index, cache, store.histograms(), config);
    let (mut stream, mut hasher) = (recall.stream(RecipeEntries::new(reader, io)), blake3::Hasher::new());
    while let Some(piece) = stream.next()? {
        hasher.update(&piece);
    }
    assert!(hasher.finalize() == *digest, "{name} comes back byte for byte");
    Ok(trace.cost())
}

fn show(rows: &[Row]) {
    println!("The first disk MB/s: 32 MiB are read ahead; the second: 64 MiB, as from a rewritten store.");
    println!(
        "{:<10} {:>3} {:>8} {:>10} {:>6} {:>6} {:>10} {:>6} {:>9} {:>8} {:>6} {:>9} {:>8}",
        "store",
        "gen",
        "MB",
        "containers",
        "reads",
        "seeks",
        "read/given",
        "MB/s",
        "disk MB/s",
        "of fresh",
        "seeks",
        "disk MB/s",
        "of fresh"
    );
    for row in rows {
        let fresh = rows.iter().find(|other| other.store == "fresh" && other.name == row.name).unwrap_or(row);
        let disk = |row: &Row, cost: &Cost| mb(row.bytes) / cost.seconds;
        let (rate, wide) = (disk(row, &row.cost), disk(row, &row.wide));
        println!(
            "{:<10} {:>3} {:>8.1} {:>10} {:>6} {:>6} {:>10.3} {:>6.0} {:>9.1} {:>8.2} {:>6} {:>9.1} {:>8.2}",
            row.store,
            row.name,
            mb(row.bytes),
            row.cost.containers,
            row.cost.reads,
            row.cost.seeks,
            row.cost.bytes as f64 / row.bytes as f64,
            row.rate,
            rate,
            rate / disk(fresh, &fresh.cost),
            row.wide.seeks,
            wide,
            wide / disk(fresh, &fresh.wide),
        );
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
