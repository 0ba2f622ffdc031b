//! Records in the blocks of a volume of storage mode: which file each is of, and which bytes of the volume's streams.
//!
//! As plugin/sd/FORMAT.md has them; nothing is put together again here, as only names and places are wanted.

use std::io;

use super::Volume;
use super::entries::{BLOCK, Entries, GROUP, STREAM, varint};
use super::references;

/// A record, or the part of one that lies in a block.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The number of the volume's stream.
    pub stream: u64,
    /// Bacula's number of the file in its job.
    pub file_index: i32,
    /// What it is; negative when it goes on with a record of the block before.
    pub kind: i32,
    /// First byte and length in the stream of what the volume itself does not hold.
    pub payload: (u64, u64),
    /// What it does hold.
    pub literal: &'a [u8],
}

/// What the next record of a stream is compared with.
#[derive(Debug, Default)]
struct Named {
    stream: u64,
    offset: u64,
    file_index: i32,
    kind: i32,
    payload_len: u32,
    left: u32,
}

/// What blocks of one group are compared with.
#[derive(Debug, Default)]
struct Group {
    named: Vec<Named>,
    last: usize,
    block_len: u32,
}

/// Reads numbers from the front.
struct Cursor<'a>(&'a [u8]);

/// Show `seen` the records of `volume`, in order. Returns whether all of them were there.
///
/// # Errors
/// Its file cannot be read.
pub fn records(volume: &Volume, seen: &mut dyn FnMut(&Record<'_>)) -> io::Result<bool> {
    let mut entries = Entries::open(volume)?;
    let (mut group, mut whole) = (Group::default(), true);
    while let Some((kind, body)) = entries.next()? {
        match kind {
            GROUP => group = Group::default(),
            STREAM => {
                let offset = body.get(16..).and_then(varint).map(|(offset, _)| offset);
                let (Some((stream, _)), Some(offset)) = (references::stream(body), offset) else {
                    whole = false;
                    continue;
                };
                group.named.push(Named { stream, offset, ..Named::default() });
            }
            BLOCK => whole &= group.block(body, seen).is_some(),
            _ => {}
        }
    }
    Ok(whole && entries.damaged.is_none())
}

impl Group {
    fn block(&mut self, body: &[u8], seen: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
        let mut cursor = Cursor(body);
        let head = cursor.byte()?;
        let has = |bit: u8| head & (1 << bit) != 0;
        if has(2) {
            self.last = usize::try_from(cursor.varint()?).ok()?;
        }
        if has(3) {
            self.block_len = u32::try_from(cursor.varint()?).ok()?;
        }
        if has(4) {
            cursor.varint()?; // The block's number.
        }
        if has(5) {
            cursor.varint()?; // Its options.
        }
        let (block_header, record_header, checksum) = match head & 3 {
            1 => (16, 20, 4),
            2 => (24, 12, 4),
            3 => (32, 12, 8),
            _ => return None,
        };
        cursor.take(checksum + 8)?; // And the XXH3-64.
        let mut room = self.block_len.checked_sub(block_header)?;
        let named = self.named.get_mut(self.last)?;
        while room > 0 {
            room = room.checked_sub(record_header)?;
            room -= named.record(&mut cursor, room, seen)?;
        }
        Some(())
    }
}

impl Named {
    /// The next record; returns how many bytes it has in the block, which has room for `room`.
    fn record(
        &mut self,
        cursor: &mut Cursor<'_>,
        room: u32,
        seen: &mut dyn FnMut(&Record<'_>),
    ) -> Option<u32> {
        let head = cursor.byte()?;
        let has = |bit: u8| head & (1 << bit) != 0;
        self.file_index = match (has(0), has(1)) {
            (_, true) => i32::try_from(i64::from(self.file_index) + cursor.folded()?).ok()?,
            (true, false) => self.file_index.checked_add(1)?,
            (false, false) => self.file_index,
        };
        self.kind = match (has(2), has(3)) {
            (_, true) => i32::try_from(cursor.folded()?).ok()?,
            (true, false) => self.kind.checked_abs()?.checked_neg()?,
            (false, false) => self.kind,
        };
        let data_len = match has(4) {
            true => u32::try_from(cursor.varint()?).ok()?,
            false if has(2) && self.left > 0 => self.left,
            false => self.payload_len,
        };
        let address_len = if has(6) { u32::from(cursor.byte()?) } else { 0 };
        let (is_payload, here) = (has(5), data_len.min(room));
        let literal_len = if is_payload { address_len } else { here };
        let payload = (self.offset, u64::from(here.checked_sub(literal_len)?));
        let literal = cursor.take(literal_len as usize)?;
        let (stream, file_index, kind) = (self.stream, self.file_index, self.kind);
        seen(&Record { stream, file_index, kind, payload, literal });
        self.offset += payload.1;
        self.left = data_len - here;
        if is_payload && kind > 0 {
            self.payload_len = data_len;
        }
        Some(here)
    }
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, size) = varint(self.0)?;
        self.0 = &self.0[size..];
        Some(value)
    }

    fn folded(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}
