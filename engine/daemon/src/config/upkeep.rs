//! How often the store is tidied up, and how much of the disk that may take.

use std::time::Duration;

use gdd_engine::scrub::ScrubOptions;
use gdd_engine::vacuum::VacuumOptions;
use serde::{Deserialize, Serialize};

use super::Memory;
use crate::span;

/// `[scrub]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scrub {
    /// From one run to the next; what was checked within half of that is left out.
    pub every: Every,
    /// Bytes a second that are read.
    pub rate: Memory,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { every: Every(Some(30 * 86_400)), rate: Memory(32 << 20) }
    }
}

impl Scrub {
    /// A run by itself.
    #[must_use]
    pub fn options(&self) -> ScrubOptions {
        let older_than = self.every.span().unwrap_or_default() / 2;
        ScrubOptions { rate: Some(self.rate.0), older_than }
    }
}

/// `[vacuum]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vacuum {
    /// From one run to the next.
    pub every: Every,
    /// Bytes a second that are read to be moved.
    pub rate: Memory,
    /// A container is emptied when more than so many per cent of it are dead.
    pub dead_percent: u8,
}

impl Default for Vacuum {
    fn default() -> Self {
        Self { every: Every(Some(86_400)), rate: Memory(64 << 20), dead_percent: 5 }
    }
}

impl Vacuum {
    /// What makes no sense, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let percent = self.dead_percent;
        (percent > 99).then(|| format!("vacuum.dead_percent: expected 0 to 99, found {percent}"))
    }
}

impl Vacuum {
    /// A run by itself.
    #[must_use]
    pub fn options(&self) -> VacuumOptions {
        VacuumOptions {
            dead_share: f64::from(self.dead_percent) / 100.0,
            rate: Some(self.rate.0),
            dry_run: false,
            broken_only: false,
        }
    }
}

/// A span of time, written as in `30d`; or `never`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Every(pub Option<u64>);

impl Every {
    /// As the threads take it.
    #[must_use]
    pub fn span(self) -> Option<Duration> {
        self.0.map(Duration::from_secs)
    }
}

impl TryFrom<String> for Every {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        span::parse(&text).map(Self)
    }
}

impl From<Every> for String {
    fn from(every: Every) -> Self {
        every.0.map_or_else(|| "never".to_owned(), span::show)
    }
}
