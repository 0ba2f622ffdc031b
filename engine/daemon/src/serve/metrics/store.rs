//! The store's own numbers, and how long its stages take.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use gdd_engine::stats::Stats;
use gdd_engine::store::Store;

use super::STATS_KEPT;
use super::page::Page;
use crate::failure::{Failure, Result};
use crate::serve::state::State;
use crate::size::to_float;

/// What the store holds and how it works.
pub fn write(page: &mut Page, state: &State, store: &Store) {
    let (stats, failed) = match recent(state, store) {
        Ok(stats) => (Some(stats), 0.0),
        Err(failure) => {
            tracing::warn!("metrics lack what the store holds: {}", failure.line());
            (None, 1.0)
        }
    };
    page.gauge("gdd_stats_failed", "1 when what the store holds could not be looked up.", &[], failed);
    let Some(stats) = stats else { return };
    holds(page, &stats);
    works(page, &stats);
    filter(page, &stats);
}

/// The store's counts, at most [`STATS_KEPT`] old.
fn recent(state: &State, store: &Store) -> Result<Arc<Stats>> {
    // Held while the store is asked: who comes meanwhile waits for the same answer.
    let mut kept = state.stats.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, stats)) = kept.as_ref()
        && at.elapsed() < STATS_KEPT
    {
        return Ok(Arc::clone(stats));
    }
    let stats = Arc::new(store.stats().map_err(Failure::from)?);
    *kept = Some((Instant::now(), Arc::clone(&stats)));
    Ok(stats)
}

fn holds(page: &mut Page, stats: &Stats) {
    for (name, help, value) in [
        ("gdd_store_streams", "Streams that can be restored.", stats.streams),
        ("gdd_store_logical_bytes", "Their bytes.", stats.logical_bytes),
        ("gdd_store_unique_bytes", "Bytes of all chunks, each once.", stats.unique_bytes),
        ("gdd_store_stored_bytes", "The same after compression.", stats.stored_bytes),
        ("gdd_store_disk_bytes", "Bytes of all files of the store.", stats.disk_bytes),
        ("gdd_store_reserved_bytes", "Of those, reserved in containers and unused.", stats.reserved_bytes),
        ("gdd_store_chunks", "Chunks in containers.", stats.chunks),
        ("gdd_store_containers", "Container files in use.", stats.containers),
        ("gdd_store_containers_sealed", "Of those, full and sealed.", stats.containers_sealed),
        ("gdd_store_containers_damaged", "Found damaged by the last opening.", stats.containers_damaged),
        ("gdd_store_chunks_suspect", "Chunks that could not be given back.", stats.chunks_suspect),
    ] {
        page.gauge(name, help, &[], to_float(value));
    }
    let help = "Bytes of streams to bytes of chunks; 0 in an empty store.";
    page.gauge("gdd_store_dedup_ratio", help, &[], stats.dedup_ratio);
}

fn works(page: &mut Page, stats: &Stats) {
    let mode = [("mode", stats.io_mode.as_str())];
    page.gauge("gdd_io_info", "How the disk is reached; always 1.", &mode, 1.0);
    let notes = stats.io_notes.len() as u64;
    page.gauge(
        "gdd_fallbacks",
        "Ways in which the disk is not reached as well as could be.",
        &[],
        to_float(notes),
    );
    page.gauge("gdd_workers", "Engine threads.", &[], to_float(stats.workers as u64));
    for (name, help, value) in [
        ("gdd_near_hits_total", "Chunks found without asking the index.", stats.near_hits),
        ("gdd_index_lookups_total", "Chunks that the index was asked for.", stats.index_lookups),
        ("gdd_directories_loaded_total", "Container directories read.", stats.directories_loaded),
        ("gdd_chunks_appended_total", "Chunks appended to containers.", stats.chunks_appended),
        ("gdd_commits_total", "Group commits.", stats.commits),
        ("gdd_device_waits_total", "Turns of workers that waited for the device.", stats.waits_for_device),
    ] {
        page.counter(name, help, &[], to_float(value));
    }
}

fn filter(page: &mut Page, stats: &Stats) {
    let filter = &stats.filter;
    let lookups = filter.lookups;
    for (tier, asked, hits) in
        [("hot", lookups.hot_lookups, lookups.hot_hits), ("cold", lookups.cold_lookups, lookups.cold_hits)]
    {
        let tier = [("tier", tier)];
        page.counter("gdd_filter_lookups_total", "Questions to the filter.", &tier, to_float(asked));
        page.counter("gdd_filter_hits_total", "Of those, answered: perhaps known.", &tier, to_float(hits));
    }
    for (name, help, value) in [
        (
            "gdd_filter_saved_lookups_total",
            "Chunks for which the index need not be asked.",
            lookups.index_lookups_saved,
        ),
        (
            "gdd_filter_false_positives_total",
            "Chunks for which it was asked in vain.",
            lookups.false_positives,
        ),
        ("gdd_filter_doubtful_lookups_total", "Questions while it was made anew.", lookups.doubtful_lookups),
    ] {
        page.counter(name, help, &[], to_float(value));
    }
    for (name, help, value) in [
        ("gdd_filter_chunks", "Chunks in the filter.", filter.items),
        ("gdd_filter_capacity_chunks", "Chunks for which it was made.", filter.capacity),
        ("gdd_filter_bytes", "Memory that it takes.", filter.bytes + filter.hot_bytes),
        ("gdd_filter_trusted", "1 when it is believed, 0 while it is made anew.", u64::from(filter.trusted)),
    ] {
        page.gauge(name, help, &[], to_float(value));
    }
}

/// How long each stage takes.
pub fn stages(page: &mut Page, store: &Store) {
    let help = "Time of a stage; a record is an extent, a batch, a commit, or a recalled chunk.";
    for times in store.histograms().all() {
        page.histogram("gdd_stage_seconds", help, &[("stage", times.stage.name())], &times);
    }
}
