//! Who has to ring: the handshake between a side that is about to sleep and a side that makes progress.
//!
//! The sleeper stores the place that the other counter has to reach, then a full fence, then looks once more. The
//! other stores its counter, then a full fence, then loads that place. Whichever fence is first in the one order that
//! all threads agree on, at least one of the two sees the other (Dekker): nobody sleeps through the last message.
//!
//! A bell costs a system call, so it is rung once for each place, and only when the place is reached: a producer that
//! waits for a quarter of the ring is not woken by every message that the consumer gives back.
//!
//! # Invariants
//! - Progress never waits for a sleeper. A peer that stores nonsense as its place is rung at most once per message,
//!   or is not rung and finds out by itself after [`SLEEP_MS_MAX`](crate::limits::SLEEP_MS_MAX).

use std::sync::atomic::Ordering;

use crate::atomics::{Atomics, Word};
use crate::layout::{AWAKE, Line};

/// Say on our own line that we will sleep until the peer's counter reaches `place`. Look at that counter once more
/// after this, and only then sleep.
pub(crate) fn announce<A: Atomics>(own: &Line<A>, place: u64) {
    own.wake_at.store(place, Ordering::Relaxed);
    A::fence(); // Pairs with the fence in `Ringer::is_due`.
}

/// Say that we are awake.
pub(crate) fn withdraw<A: Atomics>(own: &Line<A>) {
    own.wake_at.store(AWAKE, Ordering::Relaxed);
}

/// What a side remembers of the sleeps of the other.
#[derive(Debug)]
pub(crate) struct Ringer {
    /// The place for which the bell was rung last.
    rung: u64,
}

impl Ringer {
    pub(crate) const fn new() -> Self {
        Self { rung: AWAKE }
    }

    /// Whether the bell is due, now that our counter, stored before this, stands at `counter`.
    pub(crate) fn is_due<A: Atomics>(&mut self, peer: &Line<A>, counter: u64) -> bool {
        A::fence(); // Pairs with the fence in `announce`.
        let place = peer.wake_at.load(Ordering::Relaxed);
        let reached = counter.wrapping_sub(place) < u64::MAX / 2;
        let due = place != AWAKE && place != self.rung && reached;
        if due {
            self.rung = place;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomics::Native;
    use crate::layout::Lines;
    use crate::limits::COUNTER_FIRST;

    #[test]
    fn the_bell_is_rung_once_for_each_place_and_not_before_it_is_reached() {
        let lines = Lines::<Native>::detached();
        let (peer, mut ringer) = (&lines.consumer, Ringer::new());
        let at = |steps: u64| COUNTER_FIRST.wrapping_add(steps * 8);
        assert!(!ringer.is_due(peer, at(1)), "awake");
        announce(peer, at(3));
        assert!(!ringer.is_due(peer, at(2)), "not reached");
        assert!(ringer.is_due(peer, at(3)), "reached, across the wrap");
        assert!(!ringer.is_due(peer, at(4)), "rung already");
        withdraw(peer);
        assert!(!ringer.is_due(peer, at(5)), "awake again");
        announce(peer, at(6));
        assert!(ringer.is_due(peer, at(9)), "the next sleep");
    }
}
