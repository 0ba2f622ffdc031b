//! `gdd rm`.

use std::path::Path;

use gdd_engine::options::Options;

use super::ls::Listed;
use crate::failure::Result;
use crate::output::Outcome;
use crate::size::show;

/// Forget a stream.
///
/// # Errors
/// There is none of that name, or the store failed.
pub fn run(name: &str, dir: &Path, options: &Options) -> Result<Outcome> {
    let (row, notes) = super::writing(dir, options, |store| Ok(store.remove(name)?))?;
    let text = format!("removed {}, which had {}\n", row.name, show(row.logical_bytes));
    Ok(Outcome::new(&Listed::from(row), text)?.with_notes(notes))
}
