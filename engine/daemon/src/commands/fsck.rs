//! `gdd fsck`.

use std::fmt::Write;
use std::path::Path;

use gdd_engine::fsck::{self, Report};
use gdd_engine::options::Options;

use crate::args;
use crate::failure::{CODE_DAMAGE, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::size::{grouped, show};

/// Check the store, changing nothing.
///
/// # Errors
/// The store cannot be opened, or the disk failed. Damage is no error here, but exit code 3.
pub fn run(arguments: &args::Fsck, dir: &Path, options: &Options) -> Result<Outcome> {
    let mut bar = Bar::bytes("check", None);
    let report = fsck::check(dir, arguments.level, options, &mut |progress| bar.follow(progress))?;
    drop(bar);
    let damaged = report.damage_count > 0 || report.chunks_bad > 0 || !report.streams_affected.is_empty();
    let mut outcome = Outcome::new(&report, text(&report, damaged))?;
    outcome.code = if damaged { CODE_DAMAGE } else { 0 };
    Ok(outcome)
}

fn text(report: &Report, damaged: bool) -> String {
    let mut text = String::new();
    let mut line = |what: String| {
        let _ = writeln!(text, "{what}"); // A string takes everything.
    };
    for finding in &report.findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        line(format!("{severity}: {} at byte {}: {}", finding.file.display(), finding.offset, finding.what));
    }
    let listed = report.findings.len() as u64;
    let found = report.damage_count + report.warning_count;
    if found > listed {
        line(format!("and {} findings more", found - listed));
    }
    for stream in &report.streams_affected {
        let lost = show(stream.bytes_lost);
        line(format!("stream {} cannot be restored whole: {lost} lost", stream.name));
    }
    let checked = format!(
        "level {}: {} containers, {} chunks, {} streams checked, {} read",
        report.level,
        grouped(report.containers),
        grouped(report.chunks),
        grouped(report.streams),
        show(report.bytes_read)
    );
    line(match (damaged, report.clean) {
        (true, _) => format!("{checked}: DAMAGED, {} findings", report.damage_count),
        (false, false) => format!("{checked}: nothing lost, {} warnings", report.warning_count),
        (false, true) => format!("{checked}: clean"),
    });
    text
}
