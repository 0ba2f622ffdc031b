//! `gdd stats`.

use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::stats::Stats;
use gdd_engine::store::Store;

use super::ls::utc;
use crate::failure::Result;
use crate::output::Outcome;
use crate::size::{grouped, show, show_binary};

/// Show what the store holds and how it works.
///
/// # Errors
/// The store cannot be read.
pub fn run(dir: &Path, options: &Options) -> Result<Outcome> {
    super::reading(dir, options, |store| outcome(store, dir))
}

/// The same of an open store.
///
/// # Errors
/// The store cannot be read.
pub fn outcome(store: &Store, dir: &Path) -> Result<Outcome> {
    let stats = store.stats()?;
    let text = text(dir, &stats);
    Ok(Outcome::new(&stats, text)?.with_notes(stats.io_notes))
}

/// How far back the last look at every container lies.
#[must_use]
pub fn checked(stats: &Stats) -> String {
    let oldest =
        stats.oldest_check_unix.map_or("none yet".to_owned(), |unix| format!("all since {}", utc(unix)));
    match (stats.containers, stats.containers_unchecked) {
        (0, _) => "no container to check".to_owned(),
        (_, 0) => format!("{oldest} UTC"),
        (all, left) if left == all => format!("none of {} containers yet", grouped(all)),
        (_, left) => format!("{oldest} UTC, but for {} containers never checked", grouped(left)),
    }
}

fn text(dir: &Path, stats: &Stats) -> String {
    let sizes = [stats.chunk_size_min, stats.chunk_size_avg, stats.chunk_size_max];
    let line = |name: &str, value: String| format!("{name:<12} {value}\n");
    let bytes = |count: u64| format!("{} ({} bytes)", show(count), grouped(count));
    [
        line("store", format!("{} in {}", stats.store, dir.display())),
        line("streams", format!("{}, {}", grouped(stats.streams), bytes(stats.logical_bytes))),
        line("unique", bytes(stats.unique_bytes)),
        line("stored", bytes(stats.stored_bytes)),
        line(
            "on disk",
            format!("{}, {} of it reserved", bytes(stats.disk_bytes), show(stats.reserved_bytes)),
        ),
        line("dedup ratio", format!("{:.2}", stats.dedup_ratio)),
        line("chunks", grouped(stats.chunks)),
        line("containers", format!("{}, {} sealed", stats.containers, stats.containers_sealed)),
        line("checked", checked(stats)),
        line("chunk sizes", sizes.map(|size| show_binary(u64::from(size))).join("/")),
        line("tuner", if stats.settings.tuner { "on" } else { "off" }.to_owned()),
        line("slices", if stats.settings.slices { "on" } else { "off" }.to_owned()),
        line("disk access", stats.io_mode.clone()),
        line("kernels", stats.kernel.clone()),
    ]
    .concat()
}
