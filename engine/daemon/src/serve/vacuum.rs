//! The vacuum in the daemon: by itself, as often as the configuration says, and when somebody asks.

use std::cell::Cell;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use gdd_engine::index::MetaKey;
use gdd_engine::progress::Progress;
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};
use serde_json::{Value, json};

use super::state::State;
use super::upkeep::{Board, Job, Keeper, Ran};
use crate::commands::vacuum;
use crate::failure::Result;
use crate::output::Outcome;

/// How often somebody who asked hears how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

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
    let (store, board) = (state.store()?, &state.vacuum);
    let mut outcome = None;
    let (is_there, mut said) = (Cell::new(true), None);
    board.run(|| {
        let report = store.vacuum(
            options,
            &mut |progress| {
                board.tell(progress);
                if said.is_none_or(|said: Instant| said.elapsed() >= TELL_EVERY) {
                    said = Some(Instant::now());
                    is_there.set(is_there.get() && told(progress));
                }
            },
            &mut |wait| is_there.get() && board.rest(wait),
        )?;
        outcome = Some(vacuum::outcome(&report)?);
        ran(&report)
    })?;
    outcome.map_or_else(|| Outcome::new(&json!({}), String::new()), Ok)
}

impl Job for Vacuum {
    fn name(&self) -> &'static str {
        "vacuum"
    }

    fn every(&self) -> Option<Duration> {
        self.every
    }

    fn last_done(&self, store: &Store) -> Result<u64> {
        Ok(store.done_at(MetaKey::Vacuumed)?)
    }

    fn run(&self, store: &Store, board: &Board) -> Result<Ran> {
        let report = store
            .vacuum(&self.options, &mut |progress| board.tell(progress), &mut |wait| board.rest(wait))?;
        ran(&report)
    }
}

fn ran(report: &VacuumReport) -> Result<Ran> {
    let json: Value = vacuum::outcome(report)?.json;
    Ok(Ran { report: json, line: vacuum::line(report), again_soon: report.waiting_bytes > 0 })
}
