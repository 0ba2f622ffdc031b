//! What operators can see of a store at work: latencies, kept whole in histograms.
//!
//! A mean hides the slow tail, which is what a person waiting for a restore feels.

mod export;
mod histogram;

pub use export::write_hgrm;
pub use histogram::{Kind, RecallHistograms, Recorder, Summary};
