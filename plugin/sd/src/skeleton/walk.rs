//! From entry to entry: the one place that knows what each kind of entry changes.
//!
//! Opening, reading and writing all go through [`Walk::apply`]; a writer's state is what reading its own bytes gives.

use crate::store::VolumeId;

use super::entry::{self, End, Group, Named, kind};
use super::frame::HEADER_SIZE;
use super::group::{Decoded, GroupState, Sink};

/// A place between two entries, and what is known there.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Whose file.
    pub volume: VolumeId,
    /// Where the next frame stands in the file.
    pub offset: u64,
    /// Logical position of the next block.
    pub logical: u64,
    /// Blocks are compared with this.
    pub state: GroupState,
    /// A group was entered; blocks are refused before.
    pub in_group: bool,
}

/// What an entry was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A group begins.
    Group(Group),
    /// A stream got a number.
    Named(Named),
    /// A parsed block, at this logical position.
    Block(u64, Decoded),
    /// A block that is all literal, at this logical position.
    Verbatim {
        /// Where it starts.
        logical: u64,
        /// Its length in bytes.
        len: u64,
        /// XXH3-64 of it.
        hash: u64,
        /// It stands at position 0, and a later label may void it.
        label: bool,
    },
    /// A receipt.
    End(End),
    /// Patch bytes of this length for the stream, whose first byte stands at this offset of the file.
    Patch(crate::store::StreamId, u64, u64, u64),
}

/// Takes nothing: for walks that only count.
#[derive(Debug, Default)]
pub struct Skip;

impl Sink for Skip {
    fn literal(&mut self, _bytes: &[u8]) {}
    fn payload(&mut self, _len: usize) {}
}

impl Walk {
    /// At the first entry of a file.
    pub fn first(volume: VolumeId) -> Self {
        Self::at(volume, HEADER_SIZE as u64, 0)
    }

    /// At a group's frame.
    pub fn at(volume: VolumeId, offset: u64, logical: u64) -> Self {
        Self { volume, offset, logical, state: GroupState::default(), in_group: false }
    }

    /// Goes over a frame of `size` bytes. `None` when its body makes no sense here: it is damage, and the walk ends.
    pub fn apply(&mut self, kind: u8, body: &[u8], size: u64, sink: &mut impl Sink) -> Option<Item> {
        let next = self.offset + size;
        let item = match kind {
            kind::GROUP => {
                let group = entry::group(body)?;
                // Position 0 again: another label follows. Any other jump is damage.
                if group.logical != self.logical && group.logical != 0 {
                    return None;
                }
                self.logical = group.logical;
                self.state = GroupState::default();
                self.in_group = true;
                Item::Group(group)
            }
            kind::STREAM if self.in_group => {
                let named = entry::named(body)?;
                self.state.name(named);
                Item::Named(named)
            }
            kind::BLOCK if self.in_group => {
                let decoded = self.state.decode(body, sink)?;
                let logical = self.logical;
                self.logical = logical.checked_add(u64::from(decoded.block_len))?;
                Item::Block(logical, decoded)
            }
            kind::VERBATIM | kind::LABEL if self.in_group => {
                let (hash, block) = entry::verbatim(body)?;
                let (logical, len) = (self.logical, block.len() as u64);
                sink.literal(block);
                self.logical = logical.checked_add(len)?;
                Item::Verbatim { logical, len, hash, label: kind == kind::LABEL }
            }
            kind::END => Item::End(entry::end(body)?),
            kind::PATCH => {
                let (stream, offset, bytes) = entry::patch(body)?;
                let len = bytes.len() as u64;
                Item::Patch(stream, offset, len, next - size_of::<u32>() as u64 - len)
            }
            _ => return None,
        };
        self.offset = next;
        Some(item)
    }
}
