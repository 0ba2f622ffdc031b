//! How far long work is, told to whoever asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A report of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, as a verb: "store", "verify", "read".
    pub stage: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}

/// How far work of another thread is, for somebody who looks now and then. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Mutex<Option<Progress>>>);

impl Gauge {
    /// A stage begins, with so many bytes in all where that is known.
    pub fn begin(&self, stage: &'static str, total: Option<u64>) {
        *self.lock() = Some(Progress { stage, done: 0, total });
    }

    /// So many bytes of the stage more are done.
    pub fn add(&self, bytes: u64) {
        if let Some(progress) = self.lock().as_mut() {
            progress.done += bytes;
        }
    }

    /// How far it is; nothing before the first stage.
    #[must_use]
    pub fn read(&self) -> Option<Progress> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
