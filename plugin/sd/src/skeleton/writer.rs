//! Entries for blocks that are about to be written.
//!
//! # Invariants
//! - Nothing here changes the index: that takes the entries up once they are in the file. A write that failed leaves
//!   no trace.
//! - A parsed block's entry was decoded again and compared with the block before anybody relies on it. One that does
//!   not give the same bytes is dropped, and the block stored verbatim.

use std::ops::Range;

use crate::block::{Header, SessionId, Unparsed};
use crate::limits::{GROUP_BLOCKS_MAX, GROUP_SIZE_MAX};
use crate::record::Record;
use crate::store::StreamId;

use super::entry::{Group, Named, Out, kind};
use super::frame::{self, Framed};
use super::group::Sink;
use super::index::Index;
use super::walk::{Skip, Walk};

/// A block and what it was parsed to.
#[derive(Debug, Clone, Copy)]
pub struct Parsed<'a> {
    /// The whole block.
    pub block: &'a [u8],
    /// XXH3-64 of it.
    pub hash: u64,
    /// Its header.
    pub header: &'a Header,
    /// Its records.
    pub records: &'a [Record],
    /// Whose they are.
    pub session: SessionId,
    /// Where their payload goes.
    pub stream: StreamId,
    /// Where in the stream it starts.
    pub offset: u64,
}

/// Collects the entries that one call adds to the end of a volume.
#[derive(Debug)]
pub struct Writer {
    out: Out,
    walk: Walk,
    group_block_count: u32,
    group_offset: u64,
    synced: u64,
    /// The entries go on in the group that the index ends with.
    fresh: bool,
}

impl Writer {
    /// Writes behind what `index` knows, of which everything before `synced` is durable. With `fresh`, the first block
    /// starts a group.
    pub fn new(index: &Index, synced: u64, fresh: bool) -> Self {
        Self {
            out: Out::new(index.walk.volume, index.walk.offset),
            walk: index.walk.clone(),
            group_block_count: index.group_block_count,
            group_offset: index.groups.last().map_or(0, |group| group.offset),
            synced,
            fresh: fresh || !index.walk.in_group,
        }
    }

    /// The entries' bytes, which belong at the offset where the index ends.
    pub fn bytes(&self) -> &[u8] {
        &self.out.bytes
    }

    /// Starts a group at `logical`.
    pub fn group(&mut self, logical: u64) {
        self.group_offset = self.out.end();
        self.out.group(Group { logical, synced: self.synced });
        self.catch_up(&mut Skip);
        (self.fresh, self.group_block_count) = (false, 0);
    }

    /// Adds a label, which voids the one that was there.
    pub fn label(&mut self, hash: u64, block: &[u8]) {
        self.group(0);
        self.out.verbatim(kind::LABEL, hash, block);
        self.catch_up(&mut Skip);
    }

    /// Adds a block as it is.
    pub fn verbatim(&mut self, hash: u64, block: &[u8]) {
        self.make_room();
        self.out.verbatim(kind::VERBATIM, hash, block);
        self.catch_up(&mut Skip);
    }

    /// Adds a parsed block.
    ///
    /// # Errors
    /// [`Unparsed::Inexact`] when its entry does not give the same bytes again: then nothing was added but perhaps a
    /// group and a stream, which do no harm.
    pub fn block(&mut self, parsed: &Parsed) -> Result<(), Unparsed> {
        self.make_room();
        let number = match self.walk.state.number_of(parsed.stream) {
            Some(number) => number,
            None => {
                let Parsed { stream, session, offset, .. } = *parsed;
                self.out.stream(Named { stream, session, offset });
                self.catch_up(&mut Skip);
                self.walk.state.number_of(stream).ok_or(Unparsed::Inexact)?
            }
        };
        let (before, out_len) = (self.walk.clone(), self.out.bytes.len());
        let mut state = before.state.clone();
        self.out.put(kind::BLOCK, |body| {
            state.encode(number, parsed.header, parsed.hash, parsed.block, parsed.records, body);
        });
        let mut check = Check::new(parsed.block);
        let same = self.catch_up(&mut check) && check.gave(parsed.records);
        if !same {
            self.out.bytes.truncate(out_len);
            self.walk = before;
            return Err(Unparsed::Inexact);
        }
        self.group_block_count += 1;
        Ok(())
    }

    /// Adds a receipt.
    pub fn end(&mut self, end: super::entry::End) {
        self.out.end_of(end);
        self.catch_up(&mut Skip);
    }

    /// Adds bytes of a stream.
    pub fn patch(&mut self, stream: StreamId, offset: u64, bytes: &[u8]) {
        self.out.patch(stream, offset, bytes);
        self.catch_up(&mut Skip);
    }

    fn make_room(&mut self) {
        let full = self.group_block_count >= GROUP_BLOCKS_MAX
            || self.out.end() - self.group_offset >= GROUP_SIZE_MAX;
        if self.fresh || full {
            self.group(self.walk.logical);
        }
    }

    /// Walks over what was added; whether it makes sense.
    fn catch_up(&mut self, sink: &mut impl Sink) -> bool {
        let from = self.walk.offset - self.out.offset;
        let bytes = usize::try_from(from).ok().and_then(|from| self.out.bytes.get(from..)).unwrap_or(&[]);
        let framed = frame::take(bytes, self.out.volume, self.walk.offset);
        let Framed::Entry { kind, body, size } = framed else { return false };
        self.walk.apply(kind, body, size, sink).is_some()
    }
}

/// Compares what an entry gives with the block that it was made of.
struct Check<'a> {
    block: &'a [u8],
    at: usize,
    same: bool,
    payload: Vec<Range<usize>>,
}

impl<'a> Check<'a> {
    fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0, same: true, payload: Vec::new() }
    }

    fn gave(&self, records: &[Record]) -> bool {
        let expected = records.iter().map(Record::payload_range).filter(|range| !range.is_empty());
        self.same && self.at == self.block.len() && expected.eq(self.payload.iter().cloned())
    }
}

impl Sink for Check<'_> {
    fn literal(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.same &= self.block.get(self.at..end) == Some(bytes);
        self.at = end;
    }

    fn payload(&mut self, len: usize) {
        self.payload.push(self.at..self.at + len);
        self.at += len;
    }
}
