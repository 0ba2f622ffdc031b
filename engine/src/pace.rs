//! How fast work in the background goes on, and when it stops: so many bytes a second, and not one more when it is told
//! to end.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Time that may be made up for after a pause: more would be a burst.
const CREDIT_MAX: Duration = Duration::from_millis(250);

/// Waits for at most so long; says whether the work is to go on. Asked often, also with no time at all.
pub type Rest<'a> = dyn FnMut(Duration) -> bool + 'a;

/// See the module.
pub struct Pace<'a> {
    /// Bytes a second; unlimited when there is none.
    rate: Option<u64>,
    /// Up to when what was spent would last.
    paid_until: Instant,
    rest: &'a mut Rest<'a>,
}

impl<'a> Pace<'a> {
    /// Work at most at `rate` bytes a second, none meaning as fast as it goes; `rest` waits, and says when to stop.
    #[must_use]
    pub fn new(rate: Option<u64>, rest: &'a mut Rest<'a>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), paid_until: Instant::now(), rest }
    }

    /// So many bytes were read or written: wait until the next may be.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn spend(&mut self, bytes: u64) -> Result<()> {
        let mut wait = Duration::ZERO;
        if let Some(rate) = self.rate {
            let now = Instant::now();
            let earliest = now.checked_sub(CREDIT_MAX).unwrap_or(now);
            #[expect(clippy::cast_precision_loss, reason = "a time to wait need not be exact")]
            let lasts = Duration::from_secs_f64(bytes as f64 / rate as f64);
            self.paid_until = self.paid_until.max(earliest) + lasts;
            wait = self.paid_until.saturating_duration_since(now);
        }
        if (self.rest)(wait) { Ok(()) } else { Err(Error::Cancelled) }
    }

    /// Whether the work is to go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn check(&mut self) -> Result<()> {
        if (self.rest)(Duration::ZERO) { Ok(()) } else { Err(Error::Cancelled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_as_long_as_the_bytes_last() {
        let mut waited = Duration::ZERO;
        let mut rest = |wait| {
            waited = wait;
            true
        };
        let mut pace = Pace::new(Some(1000), &mut rest);
        for _ in 0..10 {
            pace.spend(1000).unwrap();
        }
        assert!(waited > Duration::from_secs(9) && waited <= Duration::from_secs(10), "{waited:?}");
    }

    #[test]
    fn without_a_rate_it_only_asks() {
        let mut asked = 0;
        let mut rest = |wait| {
            asked += 1;
            assert_eq!(wait, Duration::ZERO);
            asked < 3
        };
        let mut pace = Pace::new(None, &mut rest);
        pace.spend(u64::MAX).unwrap();
        pace.check().unwrap();
        assert!(matches!(pace.spend(1), Err(Error::Cancelled)));
    }
}
