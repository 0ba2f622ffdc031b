//! The scrub in the daemon: by itself, as often as the configuration says, and when somebody asks.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gdd_engine::index::MetaKey;
use gdd_engine::progress::Progress;
use gdd_engine::scrub::{ScrubOptions, ScrubReport};
use gdd_engine::store::Store;

use super::state::State;
use super::upkeep::{Asker, Board, Job, Keeper, Ran};
use crate::commands::scrub;
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// The job of the background thread.
struct Scrub {
    options: ScrubOptions,
    every: Option<Duration>,
}

/// Begin to run it as often as the configuration says.
///
/// # Errors
/// No thread can be started.
pub fn start(state: &State) -> Result<()> {
    let config = &state.config.scrub;
    let job = Scrub { options: config.options(), every: config.every.span() };
    let keeper = Keeper::start(job, state.store()?, Arc::clone(&state.scrub))?;
    state.services.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(keeper));
    Ok(())
}

/// Run it now, for somebody who asked, or only say whom damage concerns.
///
/// # Errors
/// It runs already, or something failed that says nothing about the data.
pub fn run(
    state: &State,
    options: Option<&ScrubOptions>,
    told: &mut dyn FnMut(Progress) -> bool,
) -> Result<Outcome> {
    let (store, board, asker) = (state.store()?, &state.scrub, Asker::new(told));
    let Some(options) = options else {
        return scrub::outcome(None, &store.blame(&mut |progress| asker.tell(progress))?);
    };
    let mut outcome = None;
    board.run_on(&store, MetaKey::ScrubReport, || {
        let report = store.scrub(
            options,
            &mut |progress| {
                board.tell(progress);
                asker.tell(progress);
            },
            &mut |wait| asker.is_there() && board.rest(wait),
        )?;
        outcome = Some(scrub::with_blame(&store, &report, &mut |progress| asker.tell(progress))?);
        Ok(ran(&report))
    })?;
    outcome.ok_or_else(|| Failure::Failed("the scrub has no result".to_owned()))
}

impl Job for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn every(&self) -> Option<Duration> {
        self.every
    }

    fn report_key(&self) -> MetaKey {
        MetaKey::ScrubReport
    }

    fn last_done(&self, store: &Store) -> Result<u64> {
        Ok(store.done_at(MetaKey::Scrubbed)?)
    }

    fn run(&self, store: &Store, board: &Board) -> Result<Ran> {
        let report =
            store.scrub(&self.options, &mut |progress| board.tell(progress), &mut |wait| board.rest(wait))?;
        if report.is_damaged() {
            tracing::error!(
                "{}; `gdd scrub --report` names the streams that it concerns",
                scrub::line(&report)
            );
        }
        Ok(ran(&report))
    }
}

fn ran(report: &ScrubReport) -> Ran {
    Ran { report: serde_json::json!(report), line: scrub::line(report), again_soon: report.cancelled }
}
