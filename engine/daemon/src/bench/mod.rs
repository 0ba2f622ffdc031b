//! `gdd bench`: its scenarios follow in the next commit.

use crate::args::{Bench, Common};
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// Refuse: there is nothing to run yet.
pub fn run(_: &Bench, _: &Common) -> Result<Outcome> {
    Err(Failure::Failed("this build has no benches".to_owned()))
}
