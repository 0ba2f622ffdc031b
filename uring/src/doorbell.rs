//! Wakes a thread that waits for completions, at the price of one atomic when it does not wait.
//!
//! # Invariants
//! - `pending` is set before `waiting` is read by the ringer, and `waiting` is set before `pending` is read by the
//!   sleeper. All four are sequentially consistent, so at least one of them sees the other: a ring is never lost.
//! - What a ringer wrote before [`Doorbell::ring`] is seen after the sleeper's [`Doorbell::answer`] returned true: the
//!   exchange in `ring` releases, the one in `answer` acquires, and both always write, so all rings since the last
//!   answer form one release sequence.
//! - `alarm` may be called once too often (a wait that just ended), never too rarely.

use std::sync::atomic::{AtomicBool, Ordering};

/// The two flags. How a sleeping thread is roused is the backend's business.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    pending: AtomicBool,
    waiting: AtomicBool,
}

impl Doorbell {
    /// Ring; calls `alarm` only when the other side may be asleep and nobody has called it since it fell asleep.
    pub(crate) fn ring(&self, alarm: impl FnOnce()) {
        if !self.pending.swap(true, Ordering::SeqCst) && self.waiting.load(Ordering::SeqCst) {
            alarm();
        }
    }

    /// About to sleep. Returns false when it must not: somebody rang already.
    pub(crate) fn doze(&self) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        !self.pending.load(Ordering::SeqCst)
    }

    /// Awake again.
    pub(crate) fn rise(&self) {
        self.waiting.store(false, Ordering::SeqCst);
    }

    /// Whether somebody rang since the last answer.
    pub(crate) fn answer(&self) -> bool {
        self.pending.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_alarm_sounds_once_per_sleep() {
        let bell = Doorbell::default();
        let alarms = Cell::new(0);
        let ring = || bell.ring(|| alarms.set(alarms.get() + 1));
        ring();
        assert_eq!(alarms.get(), 0, "nobody sleeps");
        assert!(!bell.doze(), "a ring before the sleep prevents it");
        bell.rise();
        assert!(bell.answer() && !bell.answer());
        assert!(bell.doze());
        ring();
        ring();
        assert_eq!(alarms.get(), 1);
        bell.rise();
        assert!(bell.answer());
        ring();
        assert_eq!(alarms.get(), 1, "nobody sleeps any more");
    }
}
