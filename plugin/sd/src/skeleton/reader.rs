//! From a logical position to the block that lies there, but for its payload.

use std::fs::File;
use std::ops::Range;

use crate::error::{Error, Result, io_error};
use crate::store::StreamId;

use super::frame::{Framed, Window};
use super::group::Sink;
use super::index::Index;
use super::walk::{Item, Walk};

/// A block with gaps for its payload.
#[derive(Debug, Default)]
pub struct Outline {
    /// Logical position of its first byte.
    pub start: u64,
    /// The block; zeros in the gaps.
    pub bytes: Vec<u8>,
    /// Where payload belongs, in order; it is contiguous in the stream.
    pub gaps: Vec<Range<usize>>,
    /// The stream, and where in it the payload starts; `None` where there is none.
    pub payload: Option<(StreamId, u64)>,
    /// XXH3-64 of the whole block.
    pub hash: u64,
}

impl Outline {
    /// Whether `position` lies in this block.
    pub fn holds(&self, position: u64) -> bool {
        (self.start..self.start + self.bytes.len() as u64).contains(&position)
    }
}

impl Sink for Outline {
    fn literal(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn payload(&mut self, len: usize) {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        self.gaps.push(start..start + len);
    }
}

/// Reads blocks of one volume. Going forward costs nothing; anything else starts at a group.
#[derive(Debug, Default)]
pub struct Reader {
    window: Window,
    walk: Option<Walk>,
}

impl Reader {
    /// Forgets what it knows of the file, which was cut or replaced.
    pub fn reset(&mut self) {
        self.window.clear();
        self.walk = None;
    }

    /// The block that holds `position`, which is below the logical size, into `outline`.
    ///
    /// # Errors
    /// When the skeleton is damaged there, or cannot be read.
    pub fn outline(
        &mut self,
        file: &File,
        volume: &str,
        index: &Index,
        position: u64,
        outline: &mut Outline,
    ) -> Result<()> {
        let damaged = |offset, what: String| Error::Damaged { volume: volume.to_owned(), offset, what };
        if let Some(hole) = index.holes.iter().find(|hole| hole.logical.contains(&position)) {
            let what = format!("the entry of the block at {position} is not readable");
            return Err(damaged(hole.offset, what));
        }
        // Going on is tried first. Where it fails, damage without a block of its own may lie between here and the
        // group.
        if let Some(walk) = self.walk.take().filter(|walk| walk.logical == position)
            && self.find(file, volume, walk, position, outline).is_ok()
        {
            return Ok(());
        }
        let behind = index.groups.partition_point(|group| group.logical <= position);
        let group = index.groups.get(behind.wrapping_sub(1));
        let group = group.ok_or_else(|| damaged(0, format!("no group holds position {position}")))?;
        let walk = Walk::at(index.walk.volume, group.offset, group.logical);
        self.find(file, volume, walk, position, outline)
    }

    fn find(
        &mut self,
        file: &File,
        volume: &str,
        mut walk: Walk,
        position: u64,
        outline: &mut Outline,
    ) -> Result<()> {
        let damaged = |offset, what: String| Error::Damaged { volume: volume.to_owned(), offset, what };
        loop {
            let offset = walk.offset;
            let framed = self.window.frame(file, walk.volume, offset).map_err(io_error("read", volume))?;
            let Framed::Entry { kind, body, size } = framed else {
                return Err(damaged(offset, "expected an entry with a good checksum, found none".to_owned()));
            };
            outline.bytes.clear();
            outline.gaps.clear();
            let item = walk.apply(kind, body, size, outline).ok_or_else(|| {
                damaged(offset, format!("an entry of kind {kind} that makes no sense here"))
            })?;
            (outline.start, outline.hash, outline.payload) = match item {
                Item::Block(start, block) => (start, block.hash, Some((block.stream, block.offset))),
                Item::Verbatim { logical, hash, .. } => (logical, hash, None),
                _ => continue,
            };
            if outline.holds(position) {
                self.walk = Some(walk);
                return Ok(());
            }
        }
    }
}
