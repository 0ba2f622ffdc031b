//! `gdd rebuild-index`.

use std::fmt::Write;
use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::rebuild::{self, Rebuilt};
use gdd_engine::scrub::{ScrubOptions, ScrubReport, blame::Blame};
use serde_json::json;

use crate::args;
use crate::failure::{CODE_DAMAGE, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show};

use super::scrub;

/// Make the index anew from containers and recipes; where the old one did not say what is damaged, find out.
///
/// # Errors
/// No store, another process, or the disk failed. What is damaged is no error here, but exit code 3.
pub fn run(arguments: &args::RebuildIndex, dir: &Path, options: &Options) -> Result<Outcome> {
    super::demand_owner(dir)?;
    let signals = Signals::note()?;
    let mut bar = Bar::bytes("rebuild", None);
    let rebuilt = rebuild::rebuild_index(dir, options, &mut |progress| bar.follow(progress))?;
    drop(bar);
    let (mut text, mut notes) = (text(&rebuilt), rebuilt.notes.clone());
    let mut damaged = !rebuilt.streams_unreadable.is_empty() || rebuilt.suspects + rebuilt.chunks_rotten > 0;
    damaged |= rebuilt.containers_unreadable + rebuilt.containers_missing > 0;
    let mut checked = None;
    if rebuilt.containers_unchecked > 0 && !arguments.scrub_later {
        let ((report, blame), more) = check(dir, options, &signals)?;
        notes.extend(more);
        damaged |= report.is_damaged() || !blame.streams.is_empty();
        text.push_str(&format!("{}\n", scrub::line(&report)));
        if !blame.streams.is_empty() {
            let count = grouped(blame.streams.len() as u64);
            text.push_str(&format!(
                "{count} streams need chunks that are lost: `gdd scrub --report` names them\n"
            ));
        }
        checked = Some(report);
    }
    let mut value = json!(rebuilt);
    value["notes"] = json!(notes);
    value["scrub"] = json!(checked);
    let mut outcome = Outcome::new(&value, text)?.with_notes(notes);
    outcome.code = match signals.check() {
        Err(failure) => failure.code(),
        Ok(()) if damaged => CODE_DAMAGE,
        Ok(()) => 0,
    };
    Ok(outcome)
}

/// What the containers hold, and whether that is all that streams need.
fn check(dir: &Path, options: &Options, signals: &Signals) -> Result<((ScrubReport, Blame), Vec<String>)> {
    let mut bar = Bar::bytes("scrub", None);
    super::writing(dir, options, |store| {
        let report =
            store.scrub(&ScrubOptions::default(), &mut |progress| bar.follow(progress), &mut |wait| {
                std::thread::sleep(wait);
                signals.check().is_ok()
            })?;
        let blame = store.blame(&mut |progress| bar.follow(progress))?;
        Ok((report, blame))
    })
}

fn text(rebuilt: &Rebuilt) -> String {
    let mut text = format!(
        "made the index anew: {} chunks in {} containers ({}), {} streams\n{:.2} s, {:.2} s for each GB\n",
        grouped(rebuilt.chunks),
        grouped(rebuilt.containers),
        show(rebuilt.bytes),
        grouped(rebuilt.streams),
        rebuilt.seconds,
        rebuilt.seconds_per_gigabyte,
    );
    for name in &rebuilt.streams_unreadable {
        let _ = writeln!(text, "stream {name} cannot be read: see the notes"); // A string takes everything.
    }
    if rebuilt.containers_unreadable > 0 {
        let count = grouped(rebuilt.containers_unreadable);
        let _ = writeln!(
            text,
            "{count} containers could not be read, or not all of them: they are kept, see the notes"
        );
    }
    if rebuilt.containers_missing > 0 {
        let count = grouped(rebuilt.containers_missing);
        let _ = writeln!(
            text,
            "{count} containers are missing: `gdd scrub` says which streams need what they had"
        );
    }
    if rebuilt.containers_unchecked > 0 {
        let count = grouped(rebuilt.containers_unchecked);
        let _ = writeln!(text, "{count} containers have to be checked before what they hold counts as known");
    }
    text
}
