//! `gdd bench`: how fast this machine is, each figure beside the ceiling that its device and cores set.
//!
//! A rate alone says nothing: disks of virtual machines differ by a quarter from minute to minute. So every ceiling is
//! measured in the same run, in turn with what it bounds, and medians are shown with their spread. What a run saves is
//! made a page of pictures by `gdd bench report`.

mod chart;
mod compare;
mod data;
pub mod device;
mod html;
mod ingest;
mod io;
mod latency;
mod paired;
mod plot;
mod recall;
mod record;
mod report;
mod sampler;
pub mod scratch;
mod stages;
#[cfg(feature = "tokio-uring")]
mod tokio;

use crate::args::{Bench, Common, Scenario};
use crate::failure::Result;
use crate::output::Outcome;

/// Measure what was asked for.
///
/// # Errors
/// There is no room for scratch files, or the disk refused.
pub fn run(arguments: &Bench, common: &Common) -> Result<Outcome> {
    match &arguments.scenario {
        Scenario::Ingest(arguments) => ingest::run(arguments, common),
        Scenario::Recall(arguments) => recall::run(arguments, common),
        Scenario::Stages(arguments) => stages::run(arguments, common),
        Scenario::Io(arguments) => io::run(arguments, common),
        Scenario::Report(arguments) => compare::run(arguments),
    }
}
