//! Copies between the daemon's store and another one, beside the daemon's jobs.
//!
//! # Invariants
//! - A stream of storage mode never comes into a store whose daemon gives numbers to such streams at the same moment.

use std::sync::atomic::Ordering;

use gdd_engine::options::Options;
use gdd_engine::progress::Progress;
use gdd_engine::store::Store;

use super::state::State;
use super::upkeep::Asker;
use crate::args::Which;
use crate::commands::{copy, export, reading};
use crate::control::order::{Kind, Order, Way};
use crate::failure::{CODE_FAILED, Failure, Result};
use crate::output::Outcome;

/// The other store may take this part of the daemon's memory, besides.
const MEMORY_SHARE: u64 = 4;

/// Do what was ordered; `told` hears how far it is, and says whether whoever asked is still there.
///
/// # Errors
/// The other store cannot be opened, or one of them failed.
pub fn run(state: &State, order: &Order, told: &mut dyn FnMut(Progress) -> bool) -> Result<Outcome> {
    order.other.demand_same()?;
    let (store, asker) = (state.store()?, Asker::new(told));
    let mut watch = |done, total| {
        asker.tell(Progress { stage: "copy", done, total: Some(total) });
        asker.is_there() && !state.stop.load(Ordering::Acquire)
    };
    let ours = state.config.options();
    let options = Options { memory_budget: ours.memory_budget / MEMORY_SHARE, ..ours };
    let (path, which) = (&order.other.path, &order.which);
    match (order.way, order.kind) {
        (Way::Out, Kind::Copy { check }) => {
            let asked = copy::wanted(&store, which)?;
            copy::into(&store, path, &asked, check, &options, &mut watch, || Some(CODE_FAILED))
        }
        (Way::Out, Kind::Set) => {
            let asked = copy::wanted(&store, which)?;
            export::make(&store, path, &asked, &options, &mut watch, || Some(CODE_FAILED))
        }
        (Way::In, Kind::Copy { check }) => {
            reading(path, &options, |from| take(from, &store, which, check, &mut watch))
        }
        (Way::In, Kind::Set) => Err(Failure::Usage("a set is made in a directory of its own".to_owned())),
    }
}

/// Copy into the daemon's store.
fn take(
    from: &Store,
    to: &Store,
    which: &Which,
    check: bool,
    watch: &mut copy::Watch<'_>,
) -> Result<Outcome> {
    let (mut asked, mut refused) = (copy::wanted(from, which)?, Vec::new());
    for row in std::mem::take(&mut asked.rows) {
        let is_new = copy::number(&row).is_some() && to.core().index.recipe(&row.name)?.is_none();
        if is_new {
            refused.push(row.name);
        } else {
            asked.rows.push(row);
        }
    }
    let mut copied = copy::between(from, to, &asked, check, watch)?;
    for name in refused {
        let why =
            "streams of storage mode are copied into a store at rest only: stop gdd, copy, start it again";
        copied.refuse(&name, why);
    }
    copied.outcome(Some(CODE_FAILED))
}
