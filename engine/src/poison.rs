//! The store's memory of its first failure.
//!
//! After a failed write or sync nobody knows what is on the disk, and retrying lies (fsyncgate). So the first failure
//! is remembered, every later write is refused with it, and only a reopen, which runs recovery, starts afresh.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};

/// Shared by everything that writes to one open store.
#[derive(Clone, Debug, Default)]
pub struct Poison(Arc<OnceLock<String>>);

impl Poison {
    /// Remember `why`, unless something failed before. Logged here, once.
    pub fn set(&self, why: &dyn std::fmt::Display) {
        let why = why.to_string();
        if self.0.set(why.clone()).is_ok() {
            tracing::error!("the store stops accepting data: {why}");
        }
    }

    /// The first failure, if there was one.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Refuse after a failure.
    ///
    /// # Errors
    /// [`Error::Poisoned`] with the first failure.
    pub fn check(&self) -> Result<()> {
        self.why().map_or(Ok(()), |why| Err(Error::Poisoned(why.to_owned())))
    }
}
