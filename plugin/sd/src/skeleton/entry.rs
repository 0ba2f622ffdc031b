//! The bodies of all entries but parsed blocks (those are in `group`).

use crate::block::SessionId;
use crate::bytes::{Cursor, put_varint};
use crate::store::{StreamId, VolumeId};

use super::frame;

/// What an entry is. The numbers are persistent.
pub mod kind {
    /// Starts a group.
    pub const GROUP: u8 = 1;
    /// Names a stream that blocks of this group refer to.
    pub const STREAM: u8 = 2;
    /// A parsed block.
    pub const BLOCK: u8 = 3;
    /// A block as it is.
    pub const VERBATIM: u8 = 4;
    /// A block at logical position 0, which voids a label that was there.
    pub const LABEL: u8 = 5;
    /// The receipt of a stream.
    pub const END: u8 = 6;
    /// Bytes of a stream that the store may not have.
    pub const PATCH: u8 = 7;
}

/// The first bytes of a group's body: what is looked for behind damage.
pub const GROUP_MAGIC: [u8; 8] = *b"GDDGROUP";

/// A group's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Logical position of the block that comes next.
    pub logical: u64,
    /// The file was synced up to this offset when the group was written.
    pub synced: u64,
}

/// A stream's entry: from here on, blocks with its number in this group take payload from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The stream.
    pub stream: StreamId,
    /// Whose payload it is.
    pub session: SessionId,
    /// Where in the stream the next block's payload starts.
    pub offset: u64,
}

/// A receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The stream.
    pub stream: StreamId,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of it.
    pub digest: u128,
}

/// Collects frames that will stand one behind the other.
#[derive(Debug)]
pub struct Out {
    /// Whose file it is.
    pub volume: VolumeId,
    /// Where the first collected byte will stand.
    pub offset: u64,
    /// The frames.
    pub bytes: Vec<u8>,
    body: Vec<u8>,
}

impl Out {
    /// Collects frames that will stand at `offset`.
    pub fn new(volume: VolumeId, offset: u64) -> Self {
        Self { volume, offset, bytes: Vec::new(), body: Vec::new() }
    }

    /// Where the next frame will stand.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Appends a frame with this body.
    pub fn put(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        fill(&mut body);
        let at = self.end();
        frame::put(&mut self.bytes, self.volume, at, kind, &body);
        self.body = body;
    }

    /// Appends a group's start.
    pub fn group(&mut self, group: Group) {
        self.put(kind::GROUP, |body| {
            body.extend_from_slice(&GROUP_MAGIC);
            put_varint(body, group.logical);
            put_varint(body, group.synced);
        });
    }

    /// Appends a stream's name.
    pub fn stream(&mut self, named: Named) {
        self.put(kind::STREAM, |body| {
            body.extend_from_slice(&named.stream.0.to_le_bytes());
            body.extend_from_slice(&named.session.id.to_le_bytes());
            body.extend_from_slice(&named.session.time.to_le_bytes());
            put_varint(body, named.offset);
        });
    }

    /// Appends a block as it is, as `kind::LABEL` or `kind::VERBATIM`.
    pub fn verbatim(&mut self, kind: u8, hash: u64, block: &[u8]) {
        self.put(kind, |body| {
            body.extend_from_slice(&hash.to_le_bytes());
            body.extend_from_slice(block);
        });
    }

    /// Appends a receipt.
    pub fn end_of(&mut self, end: End) {
        self.put(kind::END, |body| {
            body.extend_from_slice(&end.stream.0.to_le_bytes());
            body.extend_from_slice(&end.digest.to_le_bytes());
            put_varint(body, end.bytes);
        });
    }

    /// Appends bytes of a stream.
    pub fn patch(&mut self, stream: StreamId, offset: u64, bytes: &[u8]) {
        self.put(kind::PATCH, |body| {
            body.extend_from_slice(&stream.0.to_le_bytes());
            put_varint(body, offset);
            body.extend_from_slice(bytes);
        });
    }
}

/// Reads a group's body.
pub fn group(body: &[u8]) -> Option<Group> {
    let mut cursor = Cursor::new(body);
    if cursor.array() != Some(GROUP_MAGIC) {
        return None;
    }
    Some(Group { logical: cursor.varint()?, synced: cursor.varint()? })
}

/// Reads a stream's body.
pub fn named(body: &[u8]) -> Option<Named> {
    let mut cursor = Cursor::new(body);
    let stream = StreamId(cursor.u64()?);
    let session = SessionId { id: cursor.u32()?, time: cursor.u32()? };
    Some(Named { stream, session, offset: cursor.varint()? })
}

/// Reads the body of a verbatim block: its XXH3-64, and the block.
pub fn verbatim(body: &[u8]) -> Option<(u64, &[u8])> {
    let mut cursor = Cursor::new(body);
    Some((cursor.u64()?, cursor.rest())).filter(|(_, block)| !block.is_empty())
}

/// Reads a receipt's body.
pub fn end(body: &[u8]) -> Option<End> {
    let mut cursor = Cursor::new(body);
    let (stream, digest) = (StreamId(cursor.u64()?), u128::from_le_bytes(cursor.array()?));
    Some(End { stream, digest, bytes: cursor.varint()? })
}

/// Reads a patch's body: stream, offset in it, bytes.
pub fn patch(body: &[u8]) -> Option<(StreamId, u64, &[u8])> {
    let mut cursor = Cursor::new(body);
    Some((StreamId(cursor.u64()?), cursor.varint()?, cursor.rest()))
}
