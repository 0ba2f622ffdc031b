//! The vacuum in the daemon: by itself, as often as the configuration says, and when somebody asks.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gdd_engine::index::MetaKey;
use gdd_engine::progress::Progress;
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};
use serde_json::Value;

use super::state::State;
use super::upkeep::{Asker, Board, Job, Keeper, Ran};
use crate::commands::vacuum;
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// The job of the background thread.
struct Vacuum {
    options: VacuumOptions,
    every: Option<Duration>,
}

/// Begin to run it as often as the configuration says.
///
/// # Errors
/// No thread can be started.
pub fn start(state: &State) -> Result<()> {
    let config = &state.config.vacuum;
    let job = Vacuum { options: config.options(), every: config.every.span() };
    let keeper = Keeper::start(job, state.store()?, Arc::clone(&state.vacuum))?;
    state.services.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(keeper));
    Ok(())
}

/// Run it now, for somebody who asked; `told` hears how far it is, and says whether he is still there.
///
/// # Errors
/// It runs already, or the store failed.
pub fn run(
    state: &State,
    options: &VacuumOptions,
    told: &mut dyn FnMut(Progress) -> bool,
) -> Result<Outcome> {
    let (store, board, asker) = (state.store()?, &state.vacuum, Asker::new(told));
    let mut outcome = None;
    board.run_on(&store, MetaKey::VacuumReport, || {
        let report = store.vacuum(
            options,
            &mut |progress| {
                board.tell(progress);
                asker.tell(progress);
            },
            &mut |wait| asker.is_there() && board.rest(wait),
        )?;
        outcome = Some(vacuum::outcome(&report)?);
        ran(&store, &report)
    })?;
    outcome.ok_or_else(|| Failure::Failed("the vacuum has no result".to_owned()))
}

impl Job for Vacuum {
    fn name(&self) -> &'static str {
        "vacuum"
    }

    fn every(&self) -> Option<Duration> {
        self.every
    }

    fn report_key(&self) -> MetaKey {
        MetaKey::VacuumReport
    }

    fn last_done(&self, store: &Store) -> Result<u64> {
        let last = store.done_at(MetaKey::Vacuumed)?;
        Ok(if store.is_short_of_space() { 0 } else { last })
    }

    fn run(&self, store: &Store, board: &Board) -> Result<Ran> {
        let report = store
            .vacuum(&self.options, &mut |progress| board.tell(progress), &mut |wait| board.rest(wait))?;
        ran(store, &report)
    }
}

fn ran(store: &Store, report: &VacuumReport) -> Result<Ran> {
    store.keep_ballast();
    let json: Value = vacuum::outcome(report)?.json;
    Ok(Ran { report: json, line: vacuum::line(report), again_soon: report.waiting_bytes > 0 })
}
