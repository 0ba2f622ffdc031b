//! Bringing a damaged store in order: first a plan, made of what a check found, then, if asked, the work.
//!
//! ```text
//! check -> plan -> rebuild the index -> open: recovery -> set aside -> scrub: mark, copy -> vacuum: evacuate -> check
//! ```
//!
//! # Invariants
//! - Nothing is deleted that may be evidence: files go to `quarantine/`, an old index stays beside the new one.
//! - No step makes anything unreadable that was readable: each is what the store does by itself, or sets aside what
//!   cannot be read in any copy. Of a recipe that is good in parts, these stay, as streams `salvaged/...`.
//! - It frees nothing but damaged containers, and those only into `quarantine/`: what else nobody needs any more is
//!   left to the vacuum, so that whoever reads the report still has a choice.
//! - Every step may be cut off and run again.

mod aside;
mod plan;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fsck::{self, LEVEL_MAX, Report};
use crate::options::{Access, Options};
use crate::progress::Progress;
use crate::rebuild;
use crate::scrub::{ScrubOptions, ScrubReport};
use crate::store::Store;
use crate::vacuum::{VacuumOptions, VacuumReport};
pub use aside::Aside;
pub use plan::{Action, Plan, Step};

/// Runs of the vacuum, at most: moving out of one container may seal another that is to be emptied.
const VACUUMS_MAX: u32 = 4;

/// What a check found, and what would be done about it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Proposal {
    /// What a check found; nothing when the index cannot even be opened.
    pub found: Option<Report>,
    /// What would be done.
    pub plan: Plan,
}

/// What a repair did. Fields are only ever added.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Repaired {
    /// What was done, in this order.
    pub done: Vec<Step>,
    /// Files that lie in `quarantine/` now.
    pub set_aside: Vec<PathBuf>,
    /// Streams that are gone as such: nobody can say all that they consisted of. Their recipes' files are among those
    /// set aside.
    pub streams_set_aside: Vec<String>,
    /// Of each of those, what is kept of it. What only its lost parts needed is freed by the next vacuum.
    pub salvaged: Vec<Aside>,
    /// What the scrub found, and wrote anew.
    pub scrub: Option<ScrubReport>,
    /// What the last run of the vacuum did.
    pub vacuum: Option<VacuumReport>,
    /// What an operator should know: where the old index lies, what recovery did.
    pub notes: Vec<String>,
    /// What a check finds now.
    pub left: Option<Report>,
}

/// Check the store in `dir`, and say what a repair would do.
///
/// # Errors
/// As [`fsck::check`], but for an index that cannot be opened: that is the plan's first step then.
pub fn propose(dir: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Proposal> {
    match fsck::check(dir, LEVEL_MAX, options, progress) {
        Ok(found) => Ok(Proposal { plan: Plan::of(&found), found: Some(found) }),
        Err(Error::Index(why)) => Ok(Proposal { plan: Plan::without_index(&why), found: None }),
        Err(error) => Err(error),
    }
}

/// Do what [`propose`] says, and check again.
///
/// # Errors
/// A step failed; those before it are done, and it may all be run again.
pub fn apply(dir: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Repaired> {
    let mut repaired = Repaired::default();
    let mut proposal = propose(dir, options, progress)?;
    if let Some(step) = proposal.plan.take(Action::RebuildIndex) {
        let rebuilt = rebuild::rebuild_index(dir, options, progress)?;
        repaired.notes.extend(rebuilt.notes);
        repaired.done.push(step);
        repaired.scrub = settle(dir, options, progress, rebuilt.containers_unchecked > 0)?;
        proposal = propose(dir, options, progress)?;
        proposal.plan.take(Action::RebuildIndex); // It knows all that the containers say.
    }
    let Proposal { found, plan } = proposal;
    if let Some(found) = found.filter(|_| !plan.steps.is_empty()) {
        work(dir, options, progress, &found, &plan, &mut repaired)?;
        repaired.done.extend(plan.steps);
    }
    repaired.left = Some(fsck::check(dir, LEVEL_MAX, options, progress)?);
    Ok(repaired)
}

/// After a rebuild the first opening runs recovery, and only then is there something to check. With `unchecked`, what
/// the old index knew of damage is lost, and is found out.
fn settle(
    dir: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
    unchecked: bool,
) -> Result<Option<ScrubReport>> {
    let store = Store::open(dir, Access::ReadWrite, options)?;
    let scrubbed = unchecked.then(|| store.scrub(&ScrubOptions::default(), progress, &mut |_| true));
    let scrubbed = scrubbed.transpose()?;
    store.close()?;
    Ok(scrubbed)
}

fn work(
    dir: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
    found: &Report,
    plan: &Plan,
    repaired: &mut Repaired,
) -> Result<()> {
    if plan.has(Action::WriteEpoch) {
        repaired.notes.extend(rebuild::write_epoch(dir, options)?);
    }
    let store = Store::open(dir, Access::ReadWrite, options)?;
    repaired.notes.extend(store.notes().iter().cloned());
    if plan.has(Action::SetFilesAside) {
        repaired.set_aside.extend(aside::foreign(store.core(), found)?);
    }
    if plan.has(Action::SetStreamsAside) {
        for stream in found.streams_affected.iter().filter(|stream| stream.recipe_lost) {
            if let Some(aside) = aside::stream(store.core(), &stream.name)? {
                repaired.set_aside.extend(aside.files.iter().cloned());
                repaired.streams_set_aside.push(stream.name.clone());
                repaired.salvaged.push(aside);
            }
        }
    }
    if plan.has(Action::MarkChunks) || plan.has(Action::WriteCopies) {
        repaired.scrub = Some(store.scrub(&ScrubOptions::default(), progress, &mut |_| true)?);
    }
    store.close()?;
    if !plan.has(Action::Evacuate) {
        return Ok(());
    }
    // A container that was being filled is emptied only when it was given up, at an opening.
    let store = Store::open(dir, Access::ReadWrite, options)?;
    for _ in 0..VACUUMS_MAX {
        let options = VacuumOptions { broken_only: true, ..VacuumOptions::default() };
        let report = store.vacuum(&options, progress, &mut |_| true)?;
        let is_over = report.chosen == 0 && report.waiting_bytes == 0;
        repaired.vacuum = Some(report);
        if is_over {
            break;
        }
    }
    store.close()
}
