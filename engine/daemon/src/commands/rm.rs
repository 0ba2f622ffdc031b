//! `gdd rm`.

use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::store::Store;

use super::ls::Listed;
use crate::failure::Result;
use crate::output::Outcome;
use crate::size::show;

/// Forget a stream.
///
/// # Errors
/// There is none of that name, or the store failed.
pub fn run(name: &str, dir: &Path, options: &Options) -> Result<Outcome> {
    let (outcome, notes) = super::writing(dir, options, |store| outcome(store, name))?;
    Ok(outcome.with_notes(notes))
}

/// The same of an open store.
///
/// # Errors
/// As [`run`].
pub fn outcome(store: &Store, name: &str) -> Result<Outcome> {
    let row = store.remove(name)?;
    let text = format!("removed {}, which had {}\n", row.name, show(row.logical_bytes));
    Outcome::new(&Listed::from(row), text)
}
