//! What was recalled ahead: the bytes of one stream from one place on, as far as they have come or were asked for.
//!
//! # Invariants
//! - Bytes are taken in the order in which they were asked for: a stream's parts come one after another. A request that
//!   ended early ends all of it, also when a later one is answered in full: between the two is a hole.

use std::collections::VecDeque;

/// Bytes asked for at once at first: a seek mostly wants one block.
const STEP_FIRST: u64 = 256 << 10;
/// And at last. Two steps may be owed, and two more of a place that was left: together at most what may be ahead.
const STEP_LAST: u64 = 1 << 20;
const _: () = assert!(4 * STEP_LAST <= gdd_link::limits::AHEAD_MAX);

/// See the module.
#[derive(Debug)]
pub(super) struct Reading {
    pub stream: u64,
    /// Of the first byte in `bytes` behind `start`.
    at: u64,
    bytes: Vec<u8>,
    start: usize,
    /// Everything before was asked for.
    asked: u64,
    /// Requests that are not done, with what is still to come of each.
    owed: VecDeque<(u64, u64)>,
    step: u64,
    /// The stream, or a failure, ended a request early.
    pub ended: bool,
}

impl Reading {
    pub(super) fn new(stream: u64, at: u64) -> Self {
        let (bytes, owed) = (Vec::new(), VecDeque::new());
        Self { stream, at, bytes, start: 0, asked: at, owed, step: STEP_FIRST, ended: false }
    }

    /// Whether byte `offset` is here or on its way.
    pub(super) fn covers(&self, stream: u64, offset: u64) -> bool {
        self.stream == stream && (self.at..=self.asked).contains(&offset)
    }

    /// Gives bytes from `offset` on, which is covered; returns how many.
    pub(super) fn give(&mut self, offset: u64, buffer: &mut [u8]) -> usize {
        let skip = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(self.bytes.len() - self.start);
        self.pass(skip);
        if self.at < offset {
            return 0; // What is before it has not come yet.
        }
        let len = buffer.len().min(self.bytes.len() - self.start);
        buffer[..len].copy_from_slice(&self.bytes[self.start..self.start + len]);
        self.pass(len);
        len
    }

    fn pass(&mut self, len: usize) {
        self.start += len;
        self.at += len as u64;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// What should be asked for now: offset and length.
    pub(super) fn wanted(&self) -> Option<(u64, u64)> {
        (!self.ended && self.asked - self.at < self.step && self.owed.len() < 2)
            .then_some((self.asked, self.step))
    }

    /// It was asked for, by request `number`.
    pub(super) fn asked(&mut self, number: u64) {
        self.owed.push_back((number, self.step));
        self.asked += self.step;
        self.step = (self.step * 2).min(STEP_LAST);
    }

    /// Takes in bytes of request `number`; `None` when nobody waits for so many.
    pub(super) fn take(&mut self, number: u64, len: u64) -> Option<&mut Vec<u8>> {
        let (first, left) = self.owed.front_mut()?;
        *left = left.checked_sub(len).filter(|_| *first == number)?;
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        Some(&mut self.bytes)
    }

    /// Request `number` is done.
    pub(super) fn done(&mut self, number: u64) {
        let Some(at) = self.owed.iter().position(|(owed, _)| *owed == number) else { return };
        let left = self.owed.remove(at).map_or(0, |(_, left)| left);
        self.ended |= left > 0;
    }

    /// Where the stream ended.
    pub(super) fn end(&self) -> u64 {
        self.at + (self.bytes.len() - self.start) as u64
    }

    /// Nothing more is taken in; the requests that are not done.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = u64> {
        self.ended = true;
        std::mem::take(&mut self.owed).into_iter().map(|(number, _)| number)
    }

    /// Requests that are not done.
    pub(super) fn owed(&self) -> impl Iterator<Item = u64> + '_ {
        self.owed.iter().map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes in `bytes` for request `number`; whether anybody waited for them.
    fn take(reading: &mut Reading, number: u64, bytes: &[u8]) -> bool {
        reading.take(number, bytes.len() as u64).map(|room| room.extend_from_slice(bytes)).is_some()
    }

    #[test]
    fn nothing_is_taken_behind_a_hole() {
        let mut reading = Reading::new(7, 1000);
        for number in [1, 2] {
            assert!(reading.wanted().is_some());
            reading.asked(number);
        }
        assert_eq!(reading.wanted(), None, "two are owed");
        assert!(take(&mut reading, 1, b"before"));
        reading.done(1); // Short.
        assert!(reading.ended);
        assert_eq!(reading.give_up().collect::<Vec<_>>(), [2]);
        assert!(!take(&mut reading, 2, b"behind"));
        let mut buffer = [0; 100];
        assert_eq!((reading.give(1000, &mut buffer), &buffer[..6]), (6, b"before".as_slice()));
        assert_eq!((reading.give(1006, &mut buffer), reading.wanted(), reading.end()), (0, None, 1006));
    }
}
