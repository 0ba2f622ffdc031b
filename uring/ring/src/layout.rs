//! Where everything in a channel lies, and the two places where the far side is told: a header before each ring, and
//! the [`Offer`] in the packet that carries the descriptors.
//!
//! One channel is one sealed memfd with two rings, *up* from the plugin to the daemon and *down* from the daemon to the
//! plugin. All words are `u64` in the machine's order (both ends run on it).
//!
//! ```text
//! 0       up:   header line    magic, version, capacity, generation
//! 128           producer line  tail, wake_at            written by the plugin only
//! 256           consumer line  head, wake_at            written by the daemon only
//! 4096    down: the same three, with producer and consumer exchanged
//! 65536   data of up    (capacity_up bytes, a power of two)
//! ...     data of down  (capacity_down bytes, a power of two)
//! ```
//!
//! A ring's data are records. Each starts at a multiple of 8, so its three header words never wrap; a payload may.
//!
//! ```text
//! 0   length (32 bits) | kind << 32 (16 bits) | flags << 48 (16 bits)
//! 8   token of the session
//! 16  number of the message, from 0
//! 24  payload, then up to 7 bytes that mean nothing
//! ```
//!
//! # Invariants
//! - Counters run freely and wrap at 2^64; a byte's place is its counter modulo the capacity.
//! - A line has one writer. Who reads a header or an offer checks every word of it.

use crate::atomics::{Atomics, Native, Word};
use crate::error::Refused;
use crate::limits::{CAPACITY_DOWN, CAPACITY_MAX, CAPACITY_MIN, CAPACITY_UP, COUNTER_FIRST, PAGE_SIZE_MAX};
use std::sync::atomic::Ordering;

/// Bytes of a line: two cache lines, because x86-64 fetches them in pairs.
pub(crate) const LINE_SIZE: usize = 128;
/// Bytes before the data of the first ring.
pub(crate) const CONTROL_SIZE: u64 = PAGE_SIZE_MAX;
/// Bytes of an offer.
pub const OFFER_SIZE: usize = 48;

const MAGIC: u64 = u64::from_le_bytes(*b"gdd-ring");
const VERSION: u64 = 1;
const DOWN_OFFSET: usize = 4096;
const _: () = assert!(size_of::<Lines>() == 3 * LINE_SIZE && size_of::<Lines>() <= DOWN_OFFSET);
const _: () = assert!((DOWN_OFFSET + size_of::<Lines>()) as u64 <= CONTROL_SIZE);
const _: () = assert!(DOWN_OFFSET.is_multiple_of(align_of::<Lines>()));

/// Who of the two we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Made the memory. Consumes up, produces down.
    Daemon,
    /// Was given the memory. Produces up, consumes down.
    Plugin,
}

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// The value of `wake_at` of a side that is awake: no counter has it, as counters are multiples of 8.
pub(crate) const AWAKE: u64 = 1;

/// What one side tells the other. Only its owner stores.
#[repr(C, align(128))]
pub(crate) struct Line<A: Atomics = Native> {
    /// Tail of a producer, head of a consumer.
    pub counter: A::Word,
    /// The place that the *other* counter has to reach before its owner rings the bell, or [`AWAKE`].
    pub wake_at: A::Word,
}

/// The control block of one ring.
#[repr(C, align(128))]
pub(crate) struct Lines<A: Atomics = Native> {
    header: HeaderLine<A>,
    pub producer: Line<A>,
    pub consumer: Line<A>,
}

#[repr(C, align(128))]
struct HeaderLine<A: Atomics = Native> {
    magic: A::Word,
    version: A::Word,
    capacity: A::Word,
    generation: A::Word,
}

impl<A: Atomics> Lines<A> {
    /// Byte of a channel at which the lines of `direction` start.
    pub(crate) const fn offset(direction: Direction) -> usize {
        match direction {
            Direction::Up => 0,
            Direction::Down => DOWN_OFFSET,
        }
    }

    /// Fill in a new ring. Nobody else has the memory yet.
    pub(crate) fn format(&self, capacity: u64, generation: u64) {
        for line in [&self.producer, &self.consumer] {
            line.counter.store(COUNTER_FIRST, Ordering::Relaxed);
            line.wake_at.store(AWAKE, Ordering::Relaxed);
        }
        self.header.version.store(VERSION, Ordering::Relaxed);
        self.header.capacity.store(capacity, Ordering::Relaxed);
        self.header.generation.store(generation, Ordering::Relaxed);
        self.header.magic.store(MAGIC, Ordering::Release); // Pairs with the Acquire in `check`.
    }

    /// Refuse a ring that is not the one that was announced.
    pub(crate) fn check(&self, capacity: u64, generation: u64) -> Result<(), Refused> {
        let words = [
            ("magic of a ring", self.header.magic.load(Ordering::Acquire), MAGIC),
            ("version of a ring", self.header.version.load(Ordering::Relaxed), VERSION),
            ("capacity of a ring", self.header.capacity.load(Ordering::Relaxed), capacity),
            ("generation of a ring", self.header.generation.load(Ordering::Relaxed), generation),
        ];
        words.into_iter().try_for_each(|(what, found, expected)| must_be(what, found, expected))
    }

    /// Lines outside of any mapping, for the model checker.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let word = |value| A::Word::new(value);
        let line = || Line { counter: word(COUNTER_FIRST), wake_at: word(AWAKE) };
        let header = HeaderLine { magic: word(0), version: word(0), capacity: word(0), generation: word(0) };
        Self { header, producer: line(), consumer: line() }
    }
}

/// What a channel is like; the daemon decides, and tells the plugin in the packet with the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Data bytes from the plugin to the daemon: a power of two.
    pub capacity_up: u64,
    /// Data bytes from the daemon to the plugin: a power of two.
    pub capacity_down: u64,
    /// Tells this channel from an earlier one of the same daemon.
    pub generation: u64,
    /// Stands in every message of the session; a message with another is refused.
    pub token: u64,
}

impl Offer {
    /// A channel of the default size.
    #[must_use]
    pub const fn new(generation: u64, token: u64) -> Self {
        Self { capacity_up: CAPACITY_UP, capacity_down: CAPACITY_DOWN, generation, token }
    }

    /// As it stands in a packet.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; OFFER_SIZE] {
        let words = [MAGIC, VERSION, self.capacity_up, self.capacity_down, self.generation, self.token];
        let mut bytes = [0; OFFER_SIZE];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The offer in a packet.
    ///
    /// # Errors
    /// [`Refused`] when it has another length, magic or version, or capacities outside the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refused> {
        must_be("length of an offer", bytes.len() as u64, OFFER_SIZE as u64)?;
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| u64::from_le_bytes(words[index]);
        must_be("magic of an offer", word(0), MAGIC)?;
        must_be("version of an offer", word(1), VERSION)?;
        let offer =
            Self { capacity_up: word(2), capacity_down: word(3), generation: word(4), token: word(5) };
        offer.check()?;
        Ok(offer)
    }

    /// Refuse capacities outside the limits.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        for found in [self.capacity_up, self.capacity_down] {
            if !found.is_power_of_two() || !(CAPACITY_MIN..=CAPACITY_MAX).contains(&found) {
                return Err(Refused::Capacity { found, min: CAPACITY_MIN, max: CAPACITY_MAX });
            }
        }
        Ok(())
    }

    /// Bytes of the whole channel.
    pub(crate) const fn size(&self) -> u64 {
        CONTROL_SIZE + self.capacity_up + self.capacity_down
    }

    /// Data bytes of one ring.
    pub(crate) const fn capacity(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Up => self.capacity_up,
            Direction::Down => self.capacity_down,
        }
    }

    /// Byte of the channel at which the data of one ring start.
    pub(crate) const fn data_offset(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Up => CONTROL_SIZE,
            Direction::Down => CONTROL_SIZE + self.capacity_up,
        }
    }
}

fn must_be(what: &'static str, found: u64, expected: u64) -> Result<(), Refused> {
    if found == expected { Ok(()) } else { Err(Refused::Header { what, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_survives_its_packet_and_any_flipped_bit_of_its_frame_is_refused() {
        let offer = Offer { capacity_up: 1 << 20, capacity_down: 1 << 16, generation: 7, token: u64::MAX };
        let bytes = offer.to_bytes();
        assert_eq!(Offer::from_bytes(&bytes).expect("our own offer"), offer);
        for bit in 0..32 * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Offer::from_bytes(&flipped).is_err(), "bit {bit}");
        }
        assert!(Offer::from_bytes(&bytes[1..]).is_err());
        assert!(Offer::from_bytes(&[]).is_err());
    }

    #[test]
    fn capacities_outside_the_limits_are_refused() {
        for found in [0, 1, CAPACITY_MIN / 2, CAPACITY_MIN + 1, CAPACITY_MAX * 2, u64::MAX] {
            let up = Offer { capacity_up: found, ..Offer::new(1, 1) };
            assert!(matches!(up.check(), Err(Refused::Capacity { .. })), "{found}");
            let down = Offer { capacity_down: found, ..Offer::new(1, 1) };
            assert!(matches!(down.check(), Err(Refused::Capacity { .. })), "{found}");
        }
    }

    #[test]
    fn a_header_is_checked_word_by_word() {
        let lines = Lines::<Native>::detached();
        assert!(matches!(lines.check(64, 3), Err(Refused::Header { what: "magic of a ring", .. })));
        lines.format(64, 3);
        assert!(lines.check(64, 3).is_ok());
        assert!(matches!(lines.check(128, 3), Err(Refused::Header { what: "capacity of a ring", .. })));
        assert!(matches!(lines.check(64, 4), Err(Refused::Header { what: "generation of a ring", .. })));
        lines.header.version.store(VERSION + 1, Ordering::Relaxed);
        assert!(matches!(lines.check(64, 3), Err(Refused::Header { what: "version of a ring", .. })));
    }
}
