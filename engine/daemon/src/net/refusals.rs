//! Connections that did not become sessions: counted by reason, and logged without letting strangers fill the log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gdd_wire::WireError;

use super::lock;

/// Lines in [`PERIOD`] at most.
const LINES_MAX: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_reason: BTreeMap<&'static str, u64>,
    /// The period's start, its lines, and refusals that got none.
    period: Option<(Instant, u32, u64)>,
}

impl Refusals {
    /// Count one, and log it unless too many were.
    pub(super) fn note(&self, reason: &'static str, text: &str) {
        let mut inner = lock(&self.0);
        *inner.by_reason.entry(reason).or_default() += 1;
        let now = Instant::now();
        let (start, lines, silent) = inner.period.unwrap_or((now, 0, 0));
        let (start, lines, silent) = if now.duration_since(start) < PERIOD {
            (start, lines, silent)
        } else {
            if silent > 0 {
                tracing::warn!("{silent} more connections were refused; `gdd status` counts them");
            }
            (now, 0, 0)
        };
        let is_said = lines < LINES_MAX;
        if is_said {
            tracing::warn!("a connection was refused ({reason}): {text}");
        }
        inner.period = Some((start, lines + u32::from(is_said), silent + u64::from(!is_said)));
    }

    /// How many, by reason.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).by_reason.clone()
    }
}

/// In one word, why there was no handshake.
pub(super) fn reason(error: &WireError) -> &'static str {
    match error {
        WireError::Timeout { .. } => "timeout",
        WireError::Denied { .. } => "denied",
        WireError::Version { .. } => "version",
        WireError::Malformed(_) => "malformed",
        WireError::Truncated { .. } | WireError::Io { .. } => "closed",
        WireError::Unverified { .. } | WireError::Tampered { .. } => "unverified",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_and_few_are_logged() {
        let refusals = Refusals::default();
        for _ in 0..LINES_MAX + 5 {
            refusals.note("denied", "x");
        }
        refusals.note("timeout", "y");
        assert_eq!(refusals.counts(), [("denied", u64::from(LINES_MAX) + 5), ("timeout", 1)].into());
        let inner = lock(&refusals.0);
        assert!(matches!(inner.period, Some((_, LINES_MAX, 6))), "{:?}", inner.period);
    }
}
