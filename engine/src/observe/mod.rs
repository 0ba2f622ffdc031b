//! What operators can see of a store at work: how long each stage takes, kept whole in histograms.
//!
//! A mean hides the slow tail, which is what a person waiting for a restore feels.

mod buckets;
mod export;
mod histogram;
mod stage;

pub use export::{decode, encode, write_hgrm};
pub use histogram::{Histograms, Recorder, Since, Summary, Times};
pub use stage::{Kind, Stage};
