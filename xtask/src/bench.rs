//! Measure: what a user can measure with `gdd bench`, then the suite of single stages.
//!
//! With arguments, only `gdd bench ARGUMENTS` runs. Timings on a busy machine say nothing; close other programs first.

use crate::shell::Run;
use crate::{Result, setup};

/// The chore `bench`.
pub fn run(arguments: &[String]) -> Result {
    setup::for_build()?;
    // With the rival of our ring, which the product leaves out.
    Run::cargo().words("build --release --features tokio-uring").run()?;
    let gdd = || Run::new("target/release/gdd").arg("bench");
    if !arguments.is_empty() {
        return arguments.iter().fold(gdd(), Run::arg).run();
    }
    for scenario in ["io", "stages", "ingest", "recall"] {
        gdd().arg(scenario).run()?;
    }
    Run::cargo().words("bench --package gdd-benches").run()
}
