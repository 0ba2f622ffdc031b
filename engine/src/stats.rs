//! What a store holds and how it works, for people and for `--json`.

use std::collections::HashMap;
use std::sync::Arc;

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::filter::FilterStats;
use crate::format::StoreId;
use crate::format::superblock::Settings;
use crate::ids::ContainerId;
use crate::index::{CheckedRow, ContainerState, Index, RecipeRow, RecipeState};
use crate::paths::Paths;
use crate::shard::counters::Counters;

/// See the module. Bytes and counts; fields are only ever added.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Stats {
    /// The store's identity, in hex.
    pub store: String,
    /// Streams that can be restored.
    pub streams: u64,
    /// Their lengths together.
    pub logical_bytes: u64,
    /// Bytes of the chunks in containers, each counted once, before compression.
    pub unique_bytes: u64,
    /// The same after compression.
    pub stored_bytes: u64,
    /// Bytes of all files of the store, reserved space included.
    pub disk_bytes: u64,
    /// Bytes of container files that are reserved and not used yet.
    pub reserved_bytes: u64,
    /// Chunks in containers.
    pub chunks: u64,
    /// Container files in use.
    pub containers: u64,
    /// Those of them that are full and sealed.
    pub containers_sealed: u64,
    /// Containers that recovery found missing or short when this process opened the store.
    pub containers_damaged: u64,
    /// Container files in use that no scrub has checked yet, as far as the index knows.
    pub containers_unchecked: u64,
    /// When the container was checked whose last check is the longest ago: seconds since 1970.
    pub oldest_check_unix: Option<u64>,
    /// Chunks that a restore or a scrub could not give back, of this process or one before, and that were not stored
    /// again since.
    pub chunks_suspect: u64,
    /// `logical_bytes / unique_bytes`; 0 when there are none.
    pub dedup_ratio: f64,
    /// Streams that were cut otherwise than with the store's own sizes.
    pub tuned: TunedStats,
    /// The filter in front of the index.
    pub filter: FilterStats,
    /// Chunks that this process found without asking the index.
    pub near_hits: u64,
    /// Chunks that this process asked the index for.
    pub index_lookups: u64,
    /// Container directories that this process read.
    pub directories_loaded: u64,
    /// Chunks that this process appended.
    pub chunks_appended: u64,
    /// Group commits of this process.
    pub commits: u64,
    /// Turns of workers that had to wait for a batch buffer: the device is the limit.
    pub waits_for_device: u64,
    /// How the disk is reached.
    pub io_mode: String,
    /// Fallbacks, with their remedies.
    pub io_notes: Vec<String>,
    /// Engine threads.
    pub workers: usize,
    /// Which instructions cut and hash.
    pub kernel: String,
    /// Bytes.
    pub chunk_size_min: u32,
    /// Bytes.
    pub chunk_size_avg: u32,
    /// Bytes.
    pub chunk_size_max: u32,
    /// What the store was created with.
    pub settings: Settings,
}

/// What the tuner has done: streams by how they were cut at their end, beside the store's own sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TunedStats {
    /// Streams with larger chunks.
    pub larger: u64,
    /// Streams with smaller chunks.
    pub smaller: u64,
    /// Streams within which the sizes changed.
    pub switched: u64,
}

impl TunedStats {
    fn count(&mut self, row: &RecipeRow, settings: &Settings) {
        let (avg, own) = (row.params.avg, settings.chunk_size_avg);
        self.larger += u64::from(avg > own);
        self.smaller += u64::from(avg < own);
        self.switched += u64::from(row.switch_at > 0);
    }
}

/// What [`collect`] counts in.
pub struct Sources<'a> {
    /// The store's identity.
    pub store: StoreId,
    /// Names in the store.
    pub paths: &'a Paths,
    /// What the store was created with.
    pub settings: &'a Settings,
    /// The index.
    pub index: &'a dyn Index,
    /// The filter's counts.
    pub filter: FilterStats,
    /// The workers' counts.
    pub counters: &'a [Arc<Counters>],
    /// Containers found damaged.
    pub damaged: usize,
    /// Chunks that could not be given back.
    pub suspects: usize,
    /// How the disk is reached, and fallbacks.
    pub io: (String, Vec<String>),
    /// Which instructions cut and hash.
    pub kernel: String,
}

/// Count.
///
/// # Errors
/// The index or the disk failed.
pub fn collect(io: &mut dyn Io, sources: Sources<'_>) -> Result<Stats> {
    let recipes = sources.index.recipes()?;
    let live = recipes.iter().filter(|row| row.state == RecipeState::Live);
    let mut tuned = TunedStats::default();
    live.clone().for_each(|row| tuned.count(row, sources.settings));
    let (streams, logical_bytes) =
        live.fold((0, 0), |(count, bytes), row| (count + 1, bytes + row.logical_bytes));
    let rows = sources.index.containers()?;
    let sum =
        |of: &dyn Fn(&crate::index::ContainerRow) -> u64| rows.iter().map(|(_, row)| of(row)).sum::<u64>();
    let open = |row: &crate::index::ContainerRow| row.state == ContainerState::Open;
    let count =
        |of: &dyn Fn(&Counters) -> u64| sources.counters.iter().map(|counters| of(counters)).sum::<u64>();
    let checked: HashMap<ContainerId, CheckedRow> = sources.index.checked()?.into_iter().collect();
    // A scrub leaves the others out.
    let kept = || {
        let others = [ContainerState::Free, ContainerState::Quarantined];
        rows.iter().filter(move |(_, row)| !others.contains(&row.state)).map(|(id, _)| id)
    };
    let unique_bytes = sum(&|row| row.raw_bytes);
    Ok(Stats {
        store: sources.store.to_string(),
        streams,
        logical_bytes,
        unique_bytes,
        stored_bytes: sum(&|row| row.stored_bytes),
        disk_bytes: disk_bytes(io, sources.paths)?,
        reserved_bytes: sum(&|row| if open(row) { row.capacity - row.durable_len } else { 0 }),
        chunks: sum(&|row| u64::from(row.record_count)),
        containers: rows.len() as u64,
        containers_sealed: rows.iter().filter(|(_, row)| !open(row)).count() as u64,
        containers_damaged: sources.damaged as u64,
        containers_unchecked: kept().filter(|id| !checked.contains_key(*id)).count() as u64,
        oldest_check_unix: kept().filter_map(|id| checked.get(id).map(|row| row.unix)).min(),
        chunks_suspect: sources.suspects as u64,
        dedup_ratio: ratio(logical_bytes, unique_bytes),
        tuned,
        filter: sources.filter,
        near_hits: count(&|counters| counters.near_hits.get()),
        index_lookups: count(&|counters| counters.index_lookups.get()),
        directories_loaded: count(&|counters| counters.directories_loaded.get()),
        chunks_appended: count(&|counters| counters.appended.get()),
        commits: count(&|counters| counters.rounds.get()),
        waits_for_device: count(&|counters| counters.waits_for_device.get()),
        io_mode: sources.io.0,
        io_notes: sources.io.1,
        workers: sources.counters.len(),
        kernel: sources.kernel,
        chunk_size_min: sources.settings.chunk_size_min,
        chunk_size_avg: sources.settings.chunk_size_avg,
        chunk_size_max: sources.settings.chunk_size_max,
        settings: sources.settings.clone(),
    })
}

/// Lengths of all files below the store directory.
fn disk_bytes(io: &mut dyn Io, paths: &Paths) -> Result<u64> {
    let mut total = 0;
    let mut directories = vec![paths.root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in io.list(&directory).map_err(Error::io("list", &directory))? {
            if entry.is_dir {
                directories.push(directory.join(&entry.name));
            } else {
                total += entry.size;
            }
        }
    }
    Ok(total)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people needs no more than 53 bits")]
fn ratio(logical: u64, unique: u64) -> f64 {
    if unique == 0 { 0.0 } else { logical as f64 / unique as f64 }
}
