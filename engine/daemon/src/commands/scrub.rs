//! `gdd scrub`.

use std::cell::RefCell;
use std::fmt::Write;
use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::progress::Progress;
use gdd_engine::scrub::ScrubReport;
use gdd_engine::scrub::blame::{Blame, Hit};
use gdd_engine::store::Store;
use serde_json::{Value, json};

use crate::args;
use crate::failure::{CODE_DAMAGE, CODE_FAILED, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show};

/// Streams that are named to people; `--json` has all.
const SHOWN_MAX: usize = 100;

/// Check the containers, or only say whom damage concerns.
///
/// # Errors
/// Something failed that says nothing about the data.
pub fn run(arguments: &args::Scrub, dir: &Path, options: &Options) -> Result<Outcome> {
    let signals = Signals::note()?;
    if arguments.report {
        return super::reading(dir, options, |store| here(store, arguments, &signals));
    }
    let (outcome, notes) = super::writing(dir, options, |store| here(store, arguments, &signals))?;
    Ok(outcome.with_notes(notes))
}

fn here(store: &Store, arguments: &args::Scrub, signals: &Signals) -> Result<Outcome> {
    let bar = RefCell::new(Bar::bytes("scrub", None));
    let mut progress = |progress| bar.borrow_mut().follow(progress);
    if arguments.report {
        return outcome(None, &store.blame(&mut progress)?);
    }
    let report = store.scrub(&arguments.options(), &mut progress, &mut |wait| {
        std::thread::sleep(wait);
        signals.check().is_ok()
    })?;
    let mut outcome = with_blame(store, &report, &mut |progress| bar.borrow_mut().follow(progress))?;
    if let Err(failure) = signals.check() {
        outcome.code = failure.code();
    }
    Ok(outcome)
}

/// What a run found, and if there is something, whom it concerns.
///
/// # Errors
/// The recipes cannot be read.
pub fn with_blame(
    store: &Store,
    report: &ScrubReport,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    let none = report.chunks_suspect == 0 && !report.is_damaged();
    let blame = if none { Blame::default() } else { store.blame(progress)? };
    outcome(Some(report), &blame)
}

/// The same for programs and people; without a report only whom it concerns.
///
/// # Errors
/// It cannot be written.
pub fn outcome(report: Option<&ScrubReport>, blame: &Blame) -> Result<Outcome> {
    let mut value = match report {
        Some(report) => json!(report),
        None => json!({}),
    };
    if let Value::Object(object) = &mut value {
        object.insert("blame".to_owned(), json!(blame));
    }
    let damaged =
        report.is_some_and(ScrubReport::is_damaged) || blame.chunks > 0 || !blame.streams.is_empty();
    let mut outcome = Outcome::new(&value, text(report, blame, damaged))?;
    outcome.code = match damaged {
        true => CODE_DAMAGE,
        // Nobody may take what was not read for clean.
        false if report.is_some_and(|report| report.cancelled) => CODE_FAILED,
        false => 0,
    };
    Ok(outcome)
}

/// A run on one line.
#[must_use]
pub fn line(report: &ScrubReport) -> String {
    let (containers, chunks) = (grouped(report.containers), grouped(report.chunks));
    let read = show(report.bytes_read);
    let mut line = format!("{containers} containers, {chunks} chunks checked, {read} read: ");
    let _ = match report.is_damaged() {
        false if report.cancelled => write!(line, "clean so far"),
        false => write!(line, "clean"),
        true => write!(
            line,
            "DAMAGED, {} containers, {} chunks cannot be given back",
            grouped(report.containers_damaged),
            grouped(report.chunks_bad)
        ),
    }; // A string takes everything.
    if report.cancelled {
        line.push_str("; stopped early, the next run goes on");
    }
    line
}

fn text(report: Option<&ScrubReport>, blame: &Blame, damaged: bool) -> String {
    let mut text = String::new();
    let mut say = |what: String| {
        let _ = writeln!(text, "{what}"); // A string takes everything.
    };
    if let Some(report) = report {
        report.findings.iter().for_each(|finding| say(finding.clone()));
        for bad in &report.bad {
            say(format!("chunk {} in container {}: {}", bad.chunk, bad.container, bad.why));
        }
        let more = report.chunks_bad - report.bad.len() as u64;
        if more > 0 {
            say(format!("and {} chunks more", grouped(more)));
        }
        if report.containers_quarantined + report.containers_recent > 0 {
            let (bad, recent) = (grouped(report.containers_quarantined), grouped(report.containers_recent));
            say(format!("left out: {recent} containers checked lately, {bad} in quarantine"));
        }
        say(line(report));
    }
    if !damaged {
        if report.is_none() {
            say("no damage is known".to_owned());
        }
        return text;
    }
    let (known, unneeded) = (grouped(blame.chunks), grouped(blame.chunks_unneeded));
    say(format!("{known} chunks cannot be given back, {unneeded} of them needed by no stream"));
    blame.streams.iter().take(SHOWN_MAX).for_each(|hit| say(of_stream(hit)));
    if blame.streams.len() > SHOWN_MAX {
        say(format!("and {} streams more; --json has all", blame.streams.len() - SHOWN_MAX));
    }
    if blame.streams.iter().any(|hit| hit.unreadable.is_none()) {
        say("a replica that has those streams gives them again: gdd copy REPLICA STORE --check".to_owned());
    }
    text
}

fn of_stream(hit: &Hit) -> String {
    let lost = match (&hit.unreadable, hit.stretches.first()) {
        (Some(why), _) => format!("its recipe cannot be read: {why}"),
        (None, first) => format!(
            "{} of {} lost in {} chunks, the first at byte {}",
            show(hit.bytes_bad),
            show(hit.bytes),
            grouped(hit.chunks_bad),
            first.map_or(0, |stretch| stretch.offset)
        ),
    };
    let again = match (hit.owner, hit.lineage.is_empty()) {
        ("volume" | "job", false) => format!("the next full backup of {} brings them again", hit.lineage),
        ("volume" | "job", true) => "the next full backup of the same client brings them again".to_owned(),
        (_, _) => "`gdd put` of the same data brings them again".to_owned(),
    };
    format!("stream {}: {lost}; {again}, where they have not changed", hit.stream)
}
