//! The fixed table of operations that the kernel is working on. Its size is the back-pressure.
//!
//! # Invariants
//! - A buffer in this table belongs to the kernel: it is neither read, moved in memory nor freed until the completion
//!   of its operation is reaped.
//! - A token names one operation of one life of a slot; a completion with any other token is refused.

use crate::buffer::IoBuf;
use crate::file::Files;
use crate::io::{Done, FileId, Op, Tag};
use crate::transfer::{Transfer, Way};

/// Names an operation in the ring's entries: slot in the low half, the slot's generation in the high half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

/// What an operation does, and how far it is.
#[derive(Debug)]
pub(crate) enum Work {
    Move(Transfer, IoBuf),
    Datasync,
    Allocate(u64),
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) tag: Tag,
    pub(crate) file: FileId,
    pub(crate) work: Work,
    /// Times the kernel said "again" since the last progress.
    pub(crate) refusals: u32,
}

/// Check `op` and make it ready to start.
///
/// # Errors
/// Its completion, where no kernel is needed: nothing to do, not aligned, or a file that is not open.
pub(crate) fn admit(files: &Files, tag: Tag, op: Op) -> Result<Pending, Done> {
    let moved = |way, offset, buffer| match Transfer::new(way, offset, &buffer) {
        Ok(transfer) => Ok(Work::Move(transfer, buffer)),
        Err(error) => Err(Done { tag, result: Err(error), buffer: Some(buffer) }),
    };
    let (file, work) = match op {
        Op::Read { file, offset, buffer } => (file, moved(Way::Read, offset, buffer)?),
        Op::Write { file, offset, buffer } => (file, moved(Way::Write, offset, buffer)?),
        Op::Datasync { file } => (file, Work::Datasync),
        Op::Allocate { file, len } => (file, Work::Allocate(len)),
    };
    let pending = Pending { tag, file, work, refusals: 0 };
    match files.get(file) {
        Err(error) => Err(Done { tag, result: Err(error), buffer: pending.into_buffer() }),
        Ok(_) if pending.is_empty() => Err(Done { tag, result: Ok(0), buffer: pending.into_buffer() }),
        Ok(_) => Ok(pending),
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        match &self.work {
            Work::Move(transfer, _) => transfer.is_empty(),
            Work::Allocate(len) => *len == 0,
            Work::Datasync => false,
        }
    }

    /// The buffer, if it has one.
    pub(crate) fn into_buffer(self) -> Option<IoBuf> {
        match self.work {
            Work::Move(_, buffer) => Some(buffer),
            Work::Datasync | Work::Allocate(_) => None,
        }
    }
}

struct Slot {
    generation: u32,
    pending: Option<Pending>,
}

/// A completion that names no operation under way: the ring's memory is damaged, or we are.
#[derive(Debug, thiserror::Error)]
#[error("a completion names token {0:#x}, which is not in flight")]
pub(crate) struct Stale(u64);

/// See the module.
pub(crate) struct InFlight {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl InFlight {
    pub(crate) fn new(capacity: u32) -> Self {
        let slots = (0..capacity).map(|_| Slot { generation: 0, pending: None }).collect();
        Self { slots, free: (0..capacity).rev().collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn uses(&self, file: FileId) -> bool {
        self.slots.iter().any(|slot| slot.pending.as_ref().is_some_and(|pending| pending.file == file))
    }

    /// Take an operation in.
    ///
    /// # Panics
    /// When the table is full: the caller checked.
    pub(crate) fn insert(&mut self, pending: Pending) -> Token {
        let index = self.free.pop().expect("the caller left room");
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.pending = Some(pending);
        Token(u64::from(slot.generation) << 32 | u64::from(index))
    }

    /// The operation named by `token`.
    ///
    /// # Errors
    /// When it is not in flight.
    pub(crate) fn get(&mut self, token: Token) -> Result<&mut Pending, Stale> {
        self.slot(token)?.pending.as_mut().ok_or(Stale(token.0))
    }

    /// Give the operation back: the kernel is done with it.
    ///
    /// # Errors
    /// When it is not in flight.
    pub(crate) fn remove(&mut self, token: Token) -> Result<Pending, Stale> {
        let pending = self.slot(token)?.pending.take().ok_or(Stale(token.0))?;
        self.free.push(index_of(token));
        Ok(pending)
    }

    /// Everything that is still in the table, for a teardown that failed.
    pub(crate) fn take_all(&mut self) -> Vec<Pending> {
        self.slots.iter_mut().filter_map(|slot| slot.pending.take()).collect()
    }

    fn slot(&mut self, token: Token) -> Result<&mut Slot, Stale> {
        let slot = self.slots.get_mut(index_of(token) as usize).ok_or(Stale(token.0))?;
        if u64::from(slot.generation) == token.0 >> 32 { Ok(slot) } else { Err(Stale(token.0)) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a token is the slot")]
fn index_of(token: Token) -> u32 {
    token.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(tag: u64) -> Pending {
        Pending { tag: Tag(tag), file: FileId(9), work: Work::Datasync, refusals: 0 }
    }

    #[test]
    fn a_token_works_once() {
        let mut table = InFlight::new(2);
        let first = table.insert(sync(1));
        let second = table.insert(sync(2));
        assert_eq!(table.len(), 2);
        assert!(table.uses(FileId(9)) && !table.uses(FileId(8)));
        assert_eq!(table.remove(first).unwrap().tag, Tag(1));
        assert!(table.remove(first).is_err(), "it was given back");
        let third = table.insert(sync(3));
        assert_ne!(first, third, "the slot has a new life");
        assert!(table.get(first).is_err());
        assert!(table.get(Token(u64::MAX)).is_err() && table.get(Token(77)).is_err());
        assert_eq!(table.get(second).unwrap().tag, Tag(2));
        assert_eq!(table.take_all().len(), 2);
    }
}
