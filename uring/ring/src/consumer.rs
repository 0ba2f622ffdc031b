//! The receiving half of a ring.
//!
//! Reading and releasing are two things. The daemon reads far ahead, and releases when the bytes are durable, because
//! until then the producer's copy is the only one.
//!
//! # Invariants
//! - The header of a message is read once, into private memory, and checked there. Its payload is copied out, each byte
//!   once, and used from the copy: a chunk that is hashed in the ring could be another one when it is written.
//! - Nothing outside of what the producer has published is read, whatever the memory says.

use std::sync::Arc;

use crate::bell::Bell;
use crate::counters::Receiving;
use crate::error::Violation;
use crate::layout::{Direction, Lines};
use crate::limits::{HEADER_SIZE, UNIT_SIZE, payload_size_max};
use crate::memory::Memory;
use crate::record::{Expected, Record, record_size};
use crate::sleep::Ringer;

/// The half of a ring that receives.
#[derive(Debug)]
pub struct Consumer {
    memory: Arc<Memory>,
    direction: Direction,
    token: u64,
    counters: Receiving,
    /// Number of the next message.
    seq: u64,
    /// The next message, once its header was read and found good.
    next: Option<Message>,
    bell: Arc<Bell>,
    ringer: Ringer,
    violation: Option<Violation>,
}

/// The end of a message in its ring: what [`Consumer::release`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u64);

/// What a message is, without its payload. Private memory: the peer cannot change it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number: 0 for the first of the session, then one more each.
    pub seq: u64,
    /// What it was sent as.
    pub kind: u16,
    /// What it was sent with.
    pub flags: u16,
    /// Bytes of its payload.
    pub length: u32,
    /// Its end: releasing it gives it, and all before it, back to the producer.
    pub end: Position,
}

impl Consumer {
    pub(crate) fn new(memory: Arc<Memory>, direction: Direction, token: u64, bell: Arc<Bell>) -> Self {
        let counters = Receiving::new(memory.data(direction).capacity());
        let (next, violation) = (None, None);
        Self { memory, direction, token, counters, seq: 0, next, bell, ringer: Ringer::new(), violation }
    }

    /// The next message, which stays the next; `None` while there is none.
    ///
    /// # Errors
    /// [`Violation`] when its header or the producer's counter is not what an honest producer could have written; from
    /// then on always the same.
    pub fn peek(&mut self) -> Result<Option<Message>, Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        let peeked = self.peek_once();
        self.violation = peeked.err();
        peeked
    }

    /// Take the next message; `None` while there is none. When what comes back is dropped, the message is read.
    ///
    /// # Errors
    /// As [`Consumer::peek`].
    pub fn take(&mut self) -> Result<Option<Incoming<'_>>, Violation> {
        let message = self.peek()?;
        Ok(message.map(|message| Incoming { consumer: self, message, copied: 0 }))
    }

    /// Give a message, and all before it, back to the producer, and ring if that sleeps. Out of order is no harm: what
    /// was given back already stays so.
    ///
    /// # Panics
    /// With the position of a message that was not yet taken.
    pub fn release(&mut self, end: Position) {
        let lines = self.memory.lines(self.direction);
        self.counters.release(lines, end.0);
        if self.ringer.is_due(&lines.producer, self.counters.head()) {
            self.bell.ring();
        }
    }

    /// Give back all that was taken.
    pub fn release_all(&mut self) {
        self.release(Position(self.counters.read()));
    }

    /// Messages taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.seq
    }

    /// Bytes of the ring that were taken and not released.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.counters.held()
    }

    /// Where the producer's tail has to be before there is something new.
    pub(crate) const fn wake_place(&self) -> u64 {
        self.counters.tail().wrapping_add(UNIT_SIZE)
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.memory.lines(self.direction)
    }

    fn peek_once(&mut self) -> Result<Option<Message>, Violation> {
        if self.next.is_some() {
            return Ok(self.next);
        }
        if self.counters.unread() == 0 {
            self.counters.look(self.memory.lines(self.direction))?;
        }
        let unread = self.counters.unread();
        if unread == 0 {
            return Ok(None);
        }
        if unread < HEADER_SIZE {
            return Err(Violation::Torn { found: unread, expected: HEADER_SIZE });
        }
        let data = self.memory.data(self.direction);
        let record = Record::load(data, self.counters.read());
        let length_max = payload_size_max(data.capacity());
        record.check(&Expected { length_max, token: self.token, seq: self.seq }, unread)?;
        let Record { length, kind, flags, seq, .. } = record;
        let end = Position(self.counters.read().wrapping_add(record_size(length)));
        self.next = Some(Message { seq, kind, flags, length, end });
        Ok(self.next)
    }
}

/// A message that is being read. What is not copied out when it is dropped was skipped.
#[derive(Debug)]
pub struct Incoming<'a> {
    consumer: &'a mut Consumer,
    message: Message,
    copied: u32,
}

impl Incoming<'_> {
    /// What it is.
    #[must_use]
    pub const fn message(&self) -> Message {
        self.message
    }

    /// Bytes of the payload that were not copied yet.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.message.length - self.copied
    }

    /// Copy the next bytes of the payload, as many as are left and fit. Returns how many.
    pub fn copy(&mut self, bytes: &mut [u8]) -> usize {
        let length = bytes.len().min(self.left() as usize);
        let consumer = &*self.consumer;
        let place = consumer.counters.read().wrapping_add(HEADER_SIZE + u64::from(self.copied));
        consumer.memory.data(consumer.direction).copy_out(place, &mut bytes[..length]);
        self.copied += u32::try_from(length).expect("no more than is left");
        length
    }

    /// Copy the rest of the payload to the end of `bytes`.
    pub fn append_to(&mut self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + self.left() as usize, 0);
        self.copy(&mut bytes[start..]);
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        let consumer = &mut *self.consumer;
        consumer.counters.advance(record_size(self.message.length));
        consumer.seq = consumer.seq.wrapping_add(1);
        consumer.next = None;
    }
}
