//! `gdd fsck`, and `gdd fsck --repair`.

use std::fmt::Write;
use std::path::Path;

use gdd_engine::fsck::{self, AffectedStream, Report};
use gdd_engine::options::Options;
use gdd_engine::repair::{self, Aside, Proposal, Repaired, Step};

use crate::args;
use crate::failure::{CODE_DAMAGE, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::size::{grouped, show};

/// Check the store, changing nothing; or bring it in order.
///
/// # Errors
/// The store cannot be opened, or the disk failed. Damage is no error here, but exit code 3.
pub fn run(arguments: &args::Fsck, dir: &Path, options: &Options) -> Result<Outcome> {
    let mut bar = Bar::bytes("check", None);
    let mut progress = |progress| bar.follow(progress);
    let (outcome, damaged) = if arguments.apply {
        super::demand_owner(dir)?;
        let repaired = repair::apply(dir, options, &mut progress)?;
        let lost = !repaired.streams_set_aside.is_empty();
        let damaged = lost || repaired.left.as_ref().is_none_or(Report::is_damaged);
        (Outcome::new(&repaired, repaired_text(&repaired))?, damaged)
    } else if arguments.repair {
        let proposal = repair::propose(dir, options, &mut progress)?;
        let damaged = proposal.found.as_ref().is_none_or(Report::is_damaged);
        (Outcome::new(&proposal, proposal_text(&proposal))?, damaged)
    } else {
        return outcome(&fsck::check(dir, arguments.level, options, &mut progress)?);
    };
    Ok(with_code(outcome, damaged))
}

/// What a check found, for programs and people.
///
/// # Errors
/// It cannot be written.
pub fn outcome(report: &Report) -> Result<Outcome> {
    Ok(with_code(Outcome::new(report, text(report))?, report.is_damaged()))
}

fn with_code(outcome: Outcome, damaged: bool) -> Outcome {
    Outcome { code: if damaged { CODE_DAMAGE } else { 0 }, ..outcome }
}

fn proposal_text(proposal: &Proposal) -> String {
    let mut out = proposal.found.as_ref().map_or_else(String::new, text);
    let plan = &proposal.plan;
    if plan.steps.is_empty() {
        out.push_str("a repair would do nothing\n");
        return out;
    }
    out.push_str("a repair would, in this order:\n");
    out.push_str(&steps(&plan.steps));
    if let Some(note) = &plan.note {
        let _ = writeln!(out, "{note}");
    }
    let kept: Vec<&AffectedStream> = plan.lost.iter().filter(|stream| !stream.recipe_lost).collect();
    if !kept.is_empty() {
        let _ = writeln!(
            out,
            "no repair brings back what {} streams have lost; new backups of the same data do: gdd scrub --report",
            kept.len()
        );
    }
    out.push_str("nothing was changed; `gdd fsck --repair --apply` does it\n");
    out
}

fn repaired_text(repaired: &Repaired) -> String {
    let mut out = String::new();
    if repaired.done.is_empty() {
        out.push_str("there was nothing to repair\n");
    } else {
        out.push_str("done, in this order:\n");
        out.push_str(&steps(&repaired.done));
    }
    for note in &repaired.notes {
        let _ = writeln!(out, "{note}");
    }
    for file in &repaired.set_aside {
        let _ = writeln!(out, "set aside: {}", file.display());
    }
    for aside in &repaired.salvaged {
        out.push_str(&salvaged(aside));
    }
    if !repaired.salvaged.is_empty() {
        out.push_str(
            "the next vacuum frees what only the lost parts of these needed; a daemon runs one a day\n",
        );
    }
    if let Some(left) = &repaired.left {
        out.push_str("now: ");
        out.push_str(&text(left));
    }
    out
}

/// What is left of a stream.
fn salvaged(aside: &Aside) -> String {
    let name = &aside.name;
    let Some((first, last)) = aside.pieces.first().zip(aside.pieces.last()) else {
        return format!("stream {name} is gone: nothing of its recipe could be read in either copy\n");
    };
    let kept = show(aside.pieces.iter().map(|piece| piece.bytes).sum());
    let of = aside.bytes.map_or_else(String::new, |bytes| format!(" of {}", show(bytes)));
    let names = if first == last { first.name.clone() } else { format!("{} to {}", first.name, last.name) };
    format!(
        "stream {name} is gone as such: its recipe could not be read whole; {kept}{of} are kept as {names}, exact \
         stretches of it in their order, until `gdd rm` gives them up\n"
    )
}

fn steps(steps: &[Step]) -> String {
    let mut out = String::new();
    for (number, Step { count, what, .. }) in (1..).zip(steps) {
        let _ = writeln!(out, "  {number}. {what} ({} findings)", grouped(*count));
    }
    out
}

/// The result on one line.
#[must_use]
pub fn line(report: &Report) -> String {
    let checked = format!(
        "level {}: {} containers, {} chunks, {} streams checked, {} read",
        report.level,
        grouped(report.containers),
        grouped(report.chunks),
        grouped(report.streams),
        show(report.bytes_read)
    );
    match (report.is_damaged(), report.clean) {
        (true, _) => format!("{checked}: DAMAGED, {} findings", report.damage_count),
        (false, false) => format!("{checked}: nothing lost, {} warnings", report.warning_count),
        (false, true) => format!("{checked}: clean"),
    }
}

fn text(report: &Report) -> String {
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
    if report.beside {
        line(
            "checked beside the daemon's work: what was stored since the check began is not in it".to_owned(),
        );
    }
    line(self::line(report));
    text
}
