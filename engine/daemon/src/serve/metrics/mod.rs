//! What monitoring reads: everything that `gdd status` shows as numbers, in Prometheus' format.
//!
//! Names are `gdd_...`, bytes and seconds are the units, and counters start at 0 with the daemon. Who scrapes often
//! costs the store little: what must be looked up in the index and on the disk is looked up once in [`STATS_KEPT`].

mod http;
mod page;
mod process;
mod store;

use std::sync::PoisonError;
use std::time::Duration;

use gdd_daemon::jobs::JobSums;
use gdd_engine::recall::cache::CacheStats;

pub use http::start;
pub use page::{CONTENT_TYPE, Page};
pub use process::resident_bytes;

use super::state::State;
use crate::size::to_float;

/// How long counts of streams, containers and files are shown before they are looked up again.
const STATS_KEPT: Duration = Duration::from_secs(10);

/// The page, as it is now. What cannot be read is left out, and counted.
pub fn page(state: &State) -> Page {
    let mut page = Page::default();
    let version = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("GDD_COMMIT"))];
    page.gauge("gdd_build_info", "Version and commit of the daemon; always 1.", &version, 1.0);
    process::write(&mut page, state.started);
    let requests = to_float(state.busy() as u64);
    page.gauge("gdd_requests", "Requests of the command line being answered.", &[], requests);
    let opened = state.store();
    let takes_data = opened.as_ref().is_ok_and(|open| open.core().poison.why().is_none());
    let help = "1 when the store is open and takes data; 0 during recovery, at the end, and after a write has failed.";
    page.gauge("gdd_ready", help, &[], if takes_data { 1.0 } else { 0.0 });
    jobs(&mut page, "command_line", &state.jobs.sums());
    for service in state.services.read().unwrap_or_else(PoisonError::into_inner).iter() {
        service.metrics(&mut page);
    }
    if let Ok(open) = opened {
        store::write(&mut page, state, &open);
        cache(&mut page, "command_line", &open.cache());
        store::stages(&mut page, &open);
    }
    page
}

/// What came of the streams of a way into the store.
pub fn jobs(page: &mut Page, mode: &str, sums: &JobSums) {
    let mode = [("mode", mode)];
    for (name, help, value) in [
        ("gdd_backups_total", "Streams stored to their end: backups with a receipt.", sums.receipts),
        ("gdd_backup_logical_bytes_total", "Bytes of those, before deduplication.", sums.logical_bytes),
        ("gdd_backup_wire_bytes_total", "Bytes that came to the daemon for those.", sums.wire_bytes),
        ("gdd_backup_new_bytes_total", "Bytes of chunks in those that the store lacked.", sums.new_bytes),
        ("gdd_backup_stored_bytes_total", "What those chunks take on disk.", sums.stored_bytes),
        ("gdd_restore_bytes_total", "Bytes given back.", sums.bytes_back),
    ] {
        page.counter(name, help, &mode, to_float(value));
    }
}

/// Sessions of a service.
pub fn sessions(page: &mut Page, mode: &str, count: usize) {
    page.gauge("gdd_sessions", "Sessions that are open.", &[("mode", mode)], to_float(count as u64));
}

/// What restores keep in memory.
pub fn cache(page: &mut Page, mode: &str, stats: &CacheStats) {
    let mode = [("mode", mode)];
    for (name, help, value) in [
        ("gdd_cache_hits_total", "Chunks found in the cache for restores.", stats.hits),
        ("gdd_cache_misses_total", "Chunks not found in it.", stats.misses),
        ("gdd_cache_evictions_total", "Buffers of it that were used anew.", stats.evictions),
        ("gdd_cache_refusals_total", "Reads for which it had no room.", stats.refusals),
    ] {
        page.counter(name, help, &mode, to_float(value));
    }
    page.gauge("gdd_cache_bytes", "Bytes of it in use.", &mode, to_float(stats.bytes));
    page.gauge("gdd_cache_capacity_bytes", "Bytes that it may have.", &mode, to_float(stats.capacity));
}
