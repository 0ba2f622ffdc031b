//! The two counters of one ring, each as its owner keeps it and as the other believes it.
//!
//! # Invariants
//! - An owner works with its private copy and never reads its own line back: whoever can write the memory could have
//!   changed it.
//! - Of the peer only its one counter is believed, and only where an honest peer could have it: it moved forward, in
//!   whole units, and `head <= tail <= head + capacity` still holds. One comparison, modulo 2^64, says all of that.

use std::sync::atomic::Ordering;

use crate::atomics::{Atomics, Word};
use crate::error::Violation;
use crate::layout::Lines;
use crate::limits::{COUNTER_FIRST, UNIT_SIZE};

/// The counters as a producer has them.
#[derive(Debug)]
pub(crate) struct Sending {
    /// Ours: everything below is published.
    tail: u64,
    /// The consumer's, as last believed: everything below may be overwritten.
    head: u64,
    capacity: u64,
}

impl Sending {
    pub(crate) const fn new(capacity: u64) -> Self {
        Self { tail: COUNTER_FIRST, head: COUNTER_FIRST, capacity }
    }

    pub(crate) const fn tail(&self) -> u64 {
        self.tail
    }

    pub(crate) const fn head(&self) -> u64 {
        self.head
    }

    /// Bytes free, as far as we know.
    pub(crate) const fn room(&self) -> u64 {
        self.capacity - self.outstanding()
    }

    /// Bytes published and not released, as far as we know.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.tail.wrapping_sub(self.head)
    }

    /// Where the consumer's head has to be before `size` bytes are free.
    pub(crate) const fn head_for(&self, size: u64) -> u64 {
        self.tail.wrapping_add(size).wrapping_sub(self.capacity)
    }

    /// Look at the consumer's counter. Returns how many bytes it has released since the last look.
    pub(crate) fn look<A: Atomics>(&mut self, lines: &Lines<A>) -> Result<u64, Violation> {
        // Pairs with the Release in `Receiving::release`: what the consumer read, it read before we overwrite it.
        let found = lines.consumer.counter.load(Ordering::Acquire);
        let moved = believable("head", self.head, found, self.outstanding())?;
        self.head = found;
        Ok(moved)
    }

    /// Publish `size` bytes that were written behind the tail.
    pub(crate) fn publish<A: Atomics>(&mut self, lines: &Lines<A>, size: u64) {
        assert!(size <= self.room() && size.is_multiple_of(UNIT_SIZE), "only what was reserved is published");
        self.tail = self.tail.wrapping_add(size);
        // Pairs with the Acquire in `Receiving::look`: the bytes are there before the counter says so.
        lines.producer.counter.store(self.tail, Ordering::Release);
    }
}

/// The counters as a consumer has them.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// Ours: everything below is released.
    head: u64,
    /// Ours, and never told: everything below is read.
    read: u64,
    /// The producer's, as last believed.
    tail: u64,
    capacity: u64,
}

impl Receiving {
    pub(crate) const fn new(capacity: u64) -> Self {
        Self { head: COUNTER_FIRST, read: COUNTER_FIRST, tail: COUNTER_FIRST, capacity }
    }

    pub(crate) const fn read(&self) -> u64 {
        self.read
    }

    pub(crate) const fn head(&self) -> u64 {
        self.head
    }

    pub(crate) const fn tail(&self) -> u64 {
        self.tail
    }

    /// Bytes published and not read, as far as we know.
    pub(crate) const fn unread(&self) -> u64 {
        self.tail.wrapping_sub(self.read)
    }

    /// Bytes read and not released.
    pub(crate) const fn held(&self) -> u64 {
        self.read.wrapping_sub(self.head)
    }

    /// Look at the producer's counter.
    pub(crate) fn look<A: Atomics>(&mut self, lines: &Lines<A>) -> Result<(), Violation> {
        // Pairs with the Release in `Sending::publish`.
        let found = lines.producer.counter.load(Ordering::Acquire);
        believable("tail", self.tail, found, self.capacity - self.tail.wrapping_sub(self.head))?;
        self.tail = found;
        Ok(())
    }

    /// Count `size` bytes as read.
    pub(crate) fn advance(&mut self, size: u64) {
        assert!(size <= self.unread() && size.is_multiple_of(UNIT_SIZE), "only what is published is read");
        self.read = self.read.wrapping_add(size);
    }

    /// Give everything below `position` back to the producer. What was given back already stays so.
    pub(crate) fn release<A: Atomics>(&mut self, lines: &Lines<A>, position: u64) {
        let behind = self.read.wrapping_sub(position);
        if behind > self.held() {
            let ahead = self.head.wrapping_sub(position);
            assert!(ahead <= self.capacity, "only what was read is released");
            return;
        }
        self.head = position;
        // Pairs with the Acquire in `Sending::look`.
        lines.consumer.counter.store(position, Ordering::Release);
    }
}

/// How far a peer's counter has moved from `believed` to `found`.
fn believable(counter: &'static str, believed: u64, found: u64, moved_max: u64) -> Result<u64, Violation> {
    let moved = found.wrapping_sub(believed);
    if moved > moved_max {
        return Err(Violation::Counter { counter, believed, moved, moved_max });
    }
    if !found.is_multiple_of(UNIT_SIZE) {
        return Err(Violation::Unaligned { counter, found, expected: UNIT_SIZE });
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomics::Native;

    const CAPACITY: u64 = 64;

    fn ring() -> (Lines<Native>, Sending, Receiving) {
        (Lines::detached(), Sending::new(CAPACITY), Receiving::new(CAPACITY))
    }

    #[test]
    fn counters_start_one_unit_below_the_wrap_and_cross_it() {
        let (lines, mut sending, mut receiving) = ring();
        assert_eq!(sending.tail(), u64::MAX - 7);
        sending.publish(&lines, 16);
        assert_eq!(sending.tail(), 8);
        receiving.look(&lines).expect("an honest tail");
        assert_eq!(receiving.unread(), 16);
        receiving.advance(16);
        receiving.release(&lines, receiving.read());
        assert_eq!(sending.look(&lines), Ok(16));
        assert_eq!(sending.room(), CAPACITY);
    }

    #[test]
    fn full_is_full_until_something_is_released() {
        let (lines, mut sending, mut receiving) = ring();
        sending.publish(&lines, CAPACITY);
        assert_eq!((sending.room(), sending.look(&lines)), (0, Ok(0)));
        receiving.look(&lines).expect("an honest tail");
        receiving.advance(CAPACITY);
        assert_eq!(sending.look(&lines), Ok(0), "reading is not releasing");
        receiving.release(&lines, COUNTER_FIRST.wrapping_add(24));
        receiving.release(&lines, COUNTER_FIRST.wrapping_add(8)); // Old news.
        assert_eq!((sending.look(&lines), sending.room()), (Ok(24), 24));
        assert_eq!(receiving.held(), CAPACITY - 24);
    }

    #[test]
    fn every_tail_that_no_producer_can_have_is_refused() {
        let (lines, mut sending, mut receiving) = ring();
        sending.publish(&lines, 40);
        receiving.look(&lines).expect("an honest tail");
        receiving.advance(16);
        receiving.release(&lines, receiving.read());
        for moved in 0..=CAPACITY * 3 {
            for found in [receiving.tail.wrapping_add(moved), receiving.tail.wrapping_sub(moved)] {
                lines.producer.counter.store(found, Ordering::Relaxed);
                let honest = found.wrapping_sub(receiving.tail) <= 64 - 24 && found.is_multiple_of(8);
                let before = receiving.tail;
                assert_eq!(receiving.look(&lines).is_ok(), honest, "{moved} to {found:#x}");
                receiving.tail = before;
            }
        }
    }

    #[test]
    fn every_head_that_no_consumer_can_have_is_refused() {
        let (lines, mut sending, _) = ring();
        sending.publish(&lines, 40);
        for moved in 0..=CAPACITY * 3 {
            for found in [sending.head.wrapping_add(moved), sending.head.wrapping_sub(moved)] {
                lines.consumer.counter.store(found, Ordering::Relaxed);
                let honest = found.wrapping_sub(sending.head) <= 40 && found.is_multiple_of(8);
                let before = sending.head;
                assert_eq!(sending.look(&lines).is_ok(), honest, "{moved} to {found:#x}");
                sending.head = before;
            }
        }
    }

    #[test]
    #[should_panic(expected = "only what was read is released")]
    fn releasing_what_was_not_read_is_our_own_fault() {
        let (lines, _, mut receiving) = ring();
        receiving.release(&lines, COUNTER_FIRST.wrapping_add(8));
    }
}
