//! `gdd vacuum`.

use std::cell::RefCell;
use std::fmt::Write;
use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};

use crate::args;
use crate::failure::{CODE_DAMAGE, CODE_FAILED, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show};

/// Free what no stream needs.
///
/// # Errors
/// A stream cannot be read, or the store failed.
pub fn run(arguments: &args::Vacuum, dir: &Path, options: &Options) -> Result<Outcome> {
    let signals = Signals::note()?;
    if arguments.dry_run {
        return super::reading(dir, options, |store| here(store, &arguments.options(), &signals));
    }
    let (outcome, notes) = super::writing(dir, options, |store| here(store, &arguments.options(), &signals))?;
    Ok(outcome.with_notes(notes))
}

fn here(store: &Store, options: &VacuumOptions, signals: &Signals) -> Result<Outcome> {
    let bar = RefCell::new(Bar::bytes("vacuum", None));
    let report = store.vacuum(options, &mut |progress| bar.borrow_mut().follow(progress), &mut |wait| {
        std::thread::sleep(wait);
        signals.check().is_ok()
    })?;
    drop(bar);
    let mut outcome = outcome(&report)?;
    if let Err(failure) = signals.check() {
        outcome.code = failure.code();
    }
    Ok(outcome)
}

/// What a run did, for programs and people.
///
/// # Errors
/// The report cannot be written.
pub fn outcome(report: &VacuumReport) -> Result<Outcome> {
    let mut outcome = Outcome::new(report, text(report))?;
    outcome.code = match report.quarantined.is_empty() {
        false => CODE_DAMAGE,
        true if report.cancelled => CODE_FAILED,
        true => 0,
    };
    Ok(outcome)
}

/// The same on one line.
#[must_use]
pub fn line(report: &VacuumReport) -> String {
    let did = if report.dry_run { "would empty" } else { "chose" };
    let mut line = format!(
        "{did} {} containers with {} dead, freed {} ({}), moved {}",
        grouped(report.chosen),
        show(report.chosen_dead_bytes),
        grouped(report.freed_containers),
        show(report.freed_bytes),
        show(report.moved_bytes),
    );
    if report.waiting_bytes > 0 {
        let _ = write!(line, ", {} wait", show(report.waiting_bytes)); // A string takes everything.
    }
    if !report.quarantined.is_empty() {
        let _ = write!(line, ", {} containers QUARANTINED", report.quarantined.len());
    }
    if report.cancelled {
        line.push_str(", stopped early");
    }
    line
}

fn text(report: &VacuumReport) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}"); // A string takes everything.
    };
    let (streams, containers) = (grouped(report.streams), grouped(report.containers));
    let bytes = show(report.container_bytes);
    row("looked at", format!("{streams} streams, {containers} sealed containers with {bytes}"));
    row("needed", show(report.needed_bytes));
    row("dead", format!("{}, needed by no stream", show(report.dead_bytes)));
    let verb = if report.dry_run { "would empty" } else { "chosen" };
    let (chosen, dead) = (grouped(report.chosen), show(report.chosen_dead_bytes));
    row(verb, format!("{chosen} containers with {dead} of that"));
    let below = show(report.below_limit_dead_bytes);
    row(
        "stay",
        format!("{below} of it, in containers that hold too little of it to be worth moving the rest"),
    );
    if !report.dry_run {
        row("moved", format!("{} chunks with {}", grouped(report.moved_chunks), show(report.moved_bytes)));
        let (count, bytes) = (grouped(report.freed_containers), show(report.freed_bytes));
        row("freed", format!("{count} containers with {bytes}"));
    }
    if report.waiting_for_streams > 0 {
        let count = grouped(report.waiting_for_streams);
        row(
            "waiting",
            format!("{count} containers, for streams to end that were begun before; run it again then"),
        );
    }
    if report.waiting_for_readers > 0 {
        let count = grouped(report.waiting_for_readers);
        row(
            "waiting",
            format!("{count} containers, for restores to end that were begun before; run it again then"),
        );
    }
    for container in &report.retired {
        row(
            "retired",
            format!("container {container}: damaged, and needed by nobody now; its file is in quarantine/"),
        );
    }
    for container in &report.quarantined {
        row(
            "QUARANTINED",
            format!("container {container}: not all that is needed of it can be read; see gdd fsck"),
        );
    }
    if report.cancelled {
        row("stopped", "before it was done; the next run goes on".to_owned());
    }
    let parts = [report.seconds_marking, report.seconds_surveying, report.seconds_moving];
    let [mark, survey, moved] = parts.map(|seconds| format!("{seconds:.1}"));
    row("took", format!("{:.1} s: marking {mark}, surveying {survey}, moving {moved}", report.seconds));
    text
}
