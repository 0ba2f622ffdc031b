//! A week of a backup server in minutes.

use crate::shell::Run;
use crate::{Result, setup};

/// The chore `soak`.
pub fn run(arguments: &[String]) -> Result {
    setup::for_build()?;
    Run::cargo().words("build --release --bin gdd").run()?;
    let soak = Run::cargo().words("run --release --package gdd-tests --example soak --");
    arguments.iter().fold(soak, Run::arg).run()
}
