//! What a worker's operations are for: the kind in the top byte of the tag, a number in the rest.

use gdd_uring::io::Tag;

/// Kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch or footer; the number is the round that covers it.
    Write,
    /// A data sync; the number is the file's.
    Sync,
    /// A container's directory; the number is the load.
    Directory,
}

const SHIFT: u32 = 56;

/// The tag of an operation.
#[must_use]
pub fn of(kind: Kind, number: u64) -> Tag {
    assert!(number >> SHIFT == 0, "numbers count operations of one opening");
    Tag((kind as u64) << SHIFT | number)
}

/// What a completion was for.
#[must_use]
pub fn parse(tag: Tag) -> Option<(Kind, u64)> {
    let number = tag.0 & ((1 << SHIFT) - 1);
    match tag.0 >> SHIFT {
        0 => Some((Kind::Write, number)),
        1 => Some((Kind::Sync, number)),
        2 => Some((Kind::Directory, number)),
        _ => None,
    }
}
