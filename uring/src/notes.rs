//! Findings of the probe and of running doors, one sentence each, said once.

use std::sync::{Mutex, PoisonError};

/// What `gdd stats` shows beside the I/O mode.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Notes {
    /// Add a sentence, and log it, unless it was said before.
    pub(crate) fn add(&self, note: String) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            tracing::warn!("{note}");
            notes.push(note);
        }
    }

    /// All sentences so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
