//! The sending half of a ring.
//!
//! A message is written behind the tail and published by one store, so a producer that dies in between has sent
//! nothing. It stays in the ring until the consumer releases it, and the daemon releases what is durable: when the
//! daemon dies, everything that is not safe yet is still here ([`Producer::unreleased`]).
//!
//! # Invariants
//! - Where messages start and end, and their numbers, is known from private memory alone. A peer that scribbles over
//!   the ring can change payload bytes, and nothing else.
//! - The consumer's head is believed only where a message ends.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::bell::Bell;
use crate::counters::Sending;
use crate::error::{PushError, Violation};
use crate::layout::{Direction, Lines};
use crate::limits::{HEADER_SIZE, payload_size_max};
use crate::memory::{Area, Memory};
use crate::record::{Record, record_size};
use crate::sleep::Ringer;

/// The half of a ring that sends.
#[derive(Debug)]
pub struct Producer {
    memory: Arc<Memory>,
    direction: Direction,
    token: u64,
    counters: Sending,
    /// Everything published and, as far as we know, not released, oldest first. Bounded by the ring: a message takes
    /// at least its header there.
    frames: VecDeque<Frame>,
    /// Number of the next message.
    seq: u64,
    bell: Arc<Bell>,
    ringer: Ringer,
    violation: Option<Violation>,
}

/// What we remember of a message in the ring.
#[derive(Clone, Copy, Debug)]
struct Frame {
    length: u32,
    kind: u16,
    flags: u16,
}

impl Producer {
    pub(crate) fn new(memory: Arc<Memory>, direction: Direction, token: u64, bell: Arc<Bell>) -> Self {
        let counters = Sending::new(memory.data(direction).capacity());
        let (frames, ringer) = (VecDeque::new(), Ringer::new());
        Self { memory, direction, token, counters, frames, seq: 0, bell, ringer, violation: None }
    }

    /// Put a message into the ring whose payload is all of `parts`, and ring if the peer sleeps. Returns its number.
    ///
    /// # Errors
    /// As [`Producer::reserve`]; then nothing was sent.
    pub fn try_push(&mut self, kind: u16, flags: u16, parts: &[&[u8]]) -> Result<u64, PushError> {
        let length = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        let mut reservation = self.reserve(length)?;
        for part in parts {
            reservation.write(part);
        }
        Ok(reservation.commit(kind, flags))
    }

    /// Take room for a payload of at most `length` bytes, to be written piece by piece.
    ///
    /// # Errors
    /// [`PushError::Full`] while the consumer holds too much, [`PushError::TooLarge`] for what never fits,
    /// [`PushError::Violation`] when the consumer lied, now or before.
    pub fn reserve(&mut self, length: usize) -> Result<Reservation<'_>, PushError> {
        let max = payload_size_max(self.data().capacity());
        let too_large = PushError::TooLarge { found: length as u64, max };
        let length =
            u32::try_from(length).ok().filter(|length| u64::from(*length) <= max).ok_or(too_large)?;
        let needed = record_size(length);
        if needed > self.counters.room() || self.violation.is_some() {
            self.look()?;
        }
        let room = self.counters.room();
        if needed > room {
            return Err(PushError::Full { room, needed });
        }
        Ok(Reservation { producer: self, length, written: 0 })
    }

    /// See what the consumer has released.
    ///
    /// # Errors
    /// [`Violation`] when its counter is not where an honest consumer could have it; from then on always the same.
    pub fn look(&mut self) -> Result<(), Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        let looked = self.look_once();
        self.violation = looked.err();
        looked
    }

    /// Messages sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.seq
    }

    /// Messages released by the consumer, as of the last look: all with a number below.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.seq - self.frames.len() as u64
    }

    /// Payload bytes of the largest message that fits now, as of the last look; `None` if not even an empty one does.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        let max = payload_size_max(self.data().capacity());
        self.counters.room().checked_sub(HEADER_SIZE).map(|room| room.min(max))
    }

    /// Payload bytes of the largest message that this ring takes.
    #[must_use]
    pub fn payload_size_max(&self) -> u64 {
        payload_size_max(self.data().capacity())
    }

    /// Every message that the consumer has not released, oldest first, for when it is dead. Looks once more, as it may
    /// have released some before it died; a last lie of its counter is passed over, then there are rather more.
    ///
    /// Lengths, kinds and numbers are from our own memory. Payload bytes come back from the ring, where a peer that
    /// broke the rules may have changed them: who has to be sure keeps a digest.
    pub fn unreleased(&mut self) -> impl Iterator<Item = Unreleased<'_>> {
        let _ = self.look();
        let data = self.memory.data(self.direction);
        let (mut place, mut seq) = (self.counters.head(), self.released());
        self.frames.iter().map(move |frame| {
            let message = Unreleased { data, place, frame: *frame, seq };
            place = place.wrapping_add(record_size(frame.length));
            seq += 1;
            message
        })
    }

    /// Whether a payload of `length` bytes fits, after another look if need be.
    pub(crate) fn has_room(&mut self, length: u32) -> Result<bool, Violation> {
        if record_size(length) > self.counters.room() {
            self.look()?;
        }
        Ok(record_size(length) <= self.counters.room())
    }

    /// Where the consumer's head has to be before a payload of `length` bytes fits and a quarter of the ring is free:
    /// a producer that is woken for each message released would sleep again at once.
    pub(crate) fn wake_place(&self, length: u32) -> u64 {
        let quarter = self.data().capacity() / 4;
        self.counters.head_for(record_size(length).max(quarter))
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.memory.lines(self.direction)
    }

    fn data(&self) -> &Area {
        self.memory.data(self.direction)
    }

    fn look_once(&mut self) -> Result<(), Violation> {
        let mut released = self.counters.look(self.memory.lines(self.direction))?;
        while released > 0 {
            let frame = self.frames.front().expect("frames add up to what is outstanding");
            let size = record_size(frame.length);
            if released < size {
                return Err(Violation::Split { seq: self.released(), found: released, expected: size });
            }
            released -= size;
            self.frames.pop_front();
        }
        Ok(())
    }

    fn publish(&mut self, frame: Frame) -> u64 {
        let seq = self.seq;
        let Frame { length, kind, flags } = frame;
        let record = Record { length, kind, flags, token: self.token, seq };
        record.store(self.data(), self.counters.tail());
        self.frames.push_back(frame);
        self.seq += 1;
        let lines = self.memory.lines(self.direction);
        self.counters.publish(lines, record_size(length));
        if self.ringer.is_due(&lines.consumer, self.counters.tail()) {
            self.bell.ring();
        }
        seq
    }
}

/// Room for one message. Dropped without [`Reservation::commit`], nothing was sent.
#[derive(Debug)]
#[must_use = "nothing is sent before `commit`"]
pub struct Reservation<'a> {
    producer: &'a mut Producer,
    length: u32,
    written: u32,
}

impl Reservation<'_> {
    /// Append `bytes` to the payload.
    ///
    /// # Panics
    /// With more bytes than were reserved.
    pub fn write(&mut self, bytes: &[u8]) {
        let left = self.left();
        assert!(bytes.len() <= left as usize, "what is written was reserved");
        let place = self.producer.counters.tail().wrapping_add(HEADER_SIZE + u64::from(self.written));
        self.producer.data().copy_in(place, bytes);
        self.written += u32::try_from(bytes.len()).expect("fewer than a u32 are left");
    }

    /// Bytes that can still be written.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.length - self.written
    }

    /// Send what was written as one message, which may be less than was reserved, and ring if the peer sleeps. Returns
    /// its number.
    pub fn commit(self, kind: u16, flags: u16) -> u64 {
        self.producer.publish(Frame { length: self.written, kind, flags })
    }
}

/// A message that is still in the ring.
#[derive(Debug)]
pub struct Unreleased<'a> {
    data: &'a Area,
    place: u64,
    frame: Frame,
    seq: u64,
}

impl Unreleased<'_> {
    /// Its number.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// What it was sent as.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        self.frame.kind
    }

    /// What it was sent with.
    #[must_use]
    pub const fn flags(&self) -> u16 {
        self.frame.flags
    }

    /// Bytes of its payload.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.frame.length
    }

    /// A copy of its payload.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = vec![0; self.frame.length as usize];
        self.data.copy_out(self.place.wrapping_add(HEADER_SIZE), &mut payload);
        payload
    }
}
