//! A check of the store beside the daemon's work, for somebody who asked.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use gdd_engine::progress::Progress;

use super::state::{LastCheck, State};
use super::upkeep::Asker;
use crate::commands::fsck;
use crate::failure::Result;
use crate::output::Outcome;

/// Check up to `level`; `told` hears how far it is, and says whether whoever asked is still there.
///
/// # Errors
/// The store failed, or the check was told to stop.
pub fn run(state: &State, level: u8, told: &mut dyn FnMut(Progress) -> bool) -> Result<Outcome> {
    let (store, asker) = (state.store()?, Asker::new(told));
    let go_on = &mut || asker.is_there() && !state.stop.load(Ordering::Acquire);
    let report = store.check(level, &mut |progress| asker.tell(progress), go_on)?;
    let (unix, line) = (store.core().unix_seconds(), fsck::line(&report));
    if report.is_damaged() {
        tracing::error!("fsck: {line}; `gdd scrub` marks what is damaged, so that backups store it again");
    }
    let last = LastCheck { unix, line, damaged: report.is_damaged() };
    *state.last_check.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    fsck::outcome(&report)
}
