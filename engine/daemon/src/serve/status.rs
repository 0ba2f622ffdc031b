//! `gdd status`: how the daemon is.

use std::fmt::Write;
use std::sync::PoisonError;

use gdd_engine::observe::{Kind, Summary, Times, encode};
use gdd_engine::recall::cache::CacheStats;
use gdd_engine::stats::TunedStats;
use serde_json::{Value, json};

use super::metrics;
use super::state::State;
use crate::commands::stats as stats_of;
use crate::failure::Result;
use crate::output::{Outcome, Table};
use crate::size::{grouped, show};
use crate::span::show_ns;

/// Look at everything, with `whole_histograms` beside their percentiles if asked for.
///
/// # Errors
/// The store is open and cannot be read.
pub fn outcome(state: &State, whole_histograms: bool) -> Result<Outcome> {
    let uptime = state.started.elapsed().as_secs();
    let mut text = format!("gdd          {}, up {} s\n", env!("CARGO_PKG_VERSION"), grouped(uptime));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}"); // A string takes everything.
    };
    line("store", state.dir.display().to_string());
    let services = state.services.read().unwrap_or_else(PoisonError::into_inner);
    for service in services.iter() {
        service.lines().into_iter().for_each(|text| line(service.name(), text));
    }
    let services: serde_json::Map<String, Value> =
        services.iter().map(|service| (service.name().to_owned(), service.status())).collect();
    let last_check = state.last_check.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut object = json!({
        "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "uptime_seconds": uptime,
        "store": state.dir, "state": "starting", "requests": state.busy(), "services": services,
        "last_fsck": last_check,
    });
    let Ok(store) = state.store() else {
        line("state", "starting: the store is being opened".to_owned());
        return Outcome::new(&object, text);
    };
    let (stats, epoch) = (store.stats()?, store.core().epoch.0);
    let times = store.histograms().all();
    let failed = store.core().poison.why();
    let ready = || format!("ready, epoch {epoch}, {} requests", state.busy());
    line("state", failed.map_or_else(ready, |why| format!("FAILED: takes no more data, restart gdd: {why}")));
    line("disk access", stats.io_mode.clone());
    line("streams", grouped(stats.streams));
    let filter = &stats.filter;
    line(
        "filter",
        format!(
            "{} layers, {} of {} chunks, {} bytes{}",
            filter.layers,
            grouped(filter.items),
            grouped(filter.capacity),
            grouped(filter.bytes + filter.hot_bytes),
            if filter.trusted { "" } else { "; not trusted: every chunk is looked up" },
        ),
    );
    for note in stats.io_notes.iter() {
        line("fallback", note.clone());
    }
    line("last fsck", last_check.map_or_else(|| "not by this daemon".to_owned(), |check| check.line));
    line("checked", stats_of::checked(&stats));
    let cache = store.cache();
    line("cache", cache_line(&cache));
    line("tuner", tuner_line(stats.settings.tuner, &stats.tuned));
    line("slices", if stats.settings.slices { "on" } else { "off" }.to_owned());
    line("commits", grouped(stats.commits));
    line("lookups", format!("{} near, {} in the index", stats.near_hits, stats.index_lookups));
    if let Some(bytes) = metrics::resident_bytes() {
        line("memory", format!("{} bytes resident", grouped(bytes)));
    }
    text.push_str(&table(&times));
    let more = json!({
        "state": if failed.is_none() { "ready" } else { "failed" }, "failed": failed, "epoch": epoch,
        "io_mode": stats.io_mode, "io_notes": stats.io_notes,
        "tuner": stats.settings.tuner, "tuned": stats.tuned, "cache": cache, "filter": stats.filter, "stats": stats,
        "stages_ns": stages(&times, whole_histograms), "recall_ns": recalls(&times),
        "resident_bytes": metrics::resident_bytes(), "command_line": { "done": state.jobs.sums() },
    });
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    Ok(Outcome::new(&object, text)?.with_notes(stats.io_notes))
}

/// How the cache for restores does.
pub fn cache_line(cache: &CacheStats) -> String {
    let asked = cache.hits + cache.misses;
    format!(
        "{} of {} lookups found their chunk, {} of {} in use",
        grouped(cache.hits),
        grouped(asked),
        show(cache.bytes),
        show(cache.capacity)
    )
}

fn tuner_line(is_on: bool, tuned: &TunedStats) -> String {
    let TunedStats { larger, smaller, switched } = *tuned;
    if !is_on {
        return "off".to_owned();
    }
    let counts = [larger, smaller, switched].map(grouped);
    format!(
        "on: {} streams with larger chunks, {} with smaller ones, {} changed on their way",
        counts[0], counts[1], counts[2]
    )
}

/// Each stage's times, for programs; whole, if asked for.
fn stages(times: &[Times], whole: bool) -> Value {
    let row = |times: &Times| {
        let mut row = json!(Summary::of(&times.histogram));
        row["stage"] = json!(times.stage);
        row["of"] = json!(times.stage.what());
        row["sum"] = json!(times.sum);
        if whole {
            row["hdr"] = json!(encode(&times.histogram));
        }
        row
    };
    times.iter().map(row).collect()
}

/// Times of recalled chunks alone, as they were shown before the other stages were recorded.
fn recalls(times: &[Times]) -> Value {
    let row = |kind: Kind| {
        let of = times.iter().find(|times| times.stage == kind.stage())?;
        let mut row = json!(Summary::of(&of.histogram));
        row["kind"] = json!(kind);
        Some(row)
    };
    Kind::ALL.into_iter().filter_map(row).collect()
}

/// Each stage's times, for people.
fn table(times: &[Times]) -> String {
    let mut table = Table::new(["stage", "count", "p50", "p90", "p99", "p99.9", "max", "of"]);
    let mut any = false;
    for Times { stage, histogram, .. } in times.iter().filter(|times| !times.histogram.is_empty()) {
        any = true;
        let Summary { count, p50, p90, p99, p999, max, .. } = Summary::of(histogram);
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(show_ns);
        let (name, of) = (stage.name().to_owned(), stage.what().to_owned());
        table.row([name, grouped(count), p50, p90, p99, p999, max, of]);
    }
    if any { format!("\n{table}") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuner_says_what_it_has_done() {
        let tuned = TunedStats { larger: 2, smaller: 1, switched: 3 };
        assert_eq!(tuner_line(false, &tuned), "off");
        let on = "on: 2 streams with larger chunks, 1 with smaller ones, 3 changed on their way";
        assert_eq!(tuner_line(true, &tuned), on);
    }
}
