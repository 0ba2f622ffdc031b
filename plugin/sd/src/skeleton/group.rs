//! Parsed blocks, as differences to what came before in their group.
//!
//! Writer and reader hold the same [`GroupState`] and change it with the same code, so that a prediction that was true
//! when an entry was written is true when it is read. The state of a group starts empty: a reader needs nothing from
//! before its group.
//!
//! ```text
//! body:    u8 head, [varint stream], [varint block_len], [folded number], [varint options],
//!          u32 or u64 checksum, u64 xxh3, record ...                     until the block is full
//! record:  u8 head, [folded file_index], [folded stream], [varint data_len], [u8 address_len],
//!          literal bytes                                     the address of payload, or all of the data here
//! ```

use crate::block::{Header, Kind, SessionId};
use crate::bytes::{Cursor, fold, put_be32, put_varint};
use crate::limits::BLOCK_SIZE_MAX;
use crate::record::{ADDRESS_SIZE, DATA_LEN_MAX, Record};
use crate::store::StreamId;

use super::entry::Named;

mod head {
    pub const KIND_MASK: u8 = 0b11;
    pub const STREAM: u8 = 1 << 2;
    pub const BLOCK_LEN: u8 = 1 << 3;
    pub const NUMBER: u8 = 1 << 4;
    pub const OPTIONS: u8 = 1 << 5;
    pub const ALL: u8 = 0b11_1111;
}

mod record_head {
    pub const FILE_INDEX_NEXT: u8 = 1;
    pub const FILE_INDEX: u8 = 1 << 1;
    pub const CONTINUES: u8 = 1 << 2;
    pub const STREAM: u8 = 1 << 3;
    pub const DATA_LEN: u8 = 1 << 4;
    pub const PAYLOAD: u8 = 1 << 5;
    pub const ADDRESS: u8 = 1 << 6;
    pub const ALL: u8 = 0b111_1111;
}

/// What blocks of one stream are compared with.
#[derive(Debug, Clone)]
struct StreamState {
    named: Named,
    number: u32,
    file_index: i32,
    stream: i32,
    /// Length of the last whole payload record: the next one is likely as long.
    payload_len: u32,
    /// What the last record of the last block has left for the next block.
    left: u32,
}

/// What blocks of one group are compared with.
#[derive(Debug, Clone, Default)]
pub struct GroupState {
    streams: Vec<StreamState>,
    last: usize,
    block_len: u32,
}

/// Receives a block, piece by piece, in order.
pub trait Sink {
    /// These bytes come next.
    fn literal(&mut self, bytes: &[u8]);
    /// So many bytes of the stream come next.
    fn payload(&mut self, len: usize);
}

/// A parsed block's entry without its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Whose payload.
    pub stream: StreamId,
    /// Where in the stream it starts.
    pub offset: u64,
    /// How much of it is in this block.
    pub payload_len: u64,
    /// Bytes of the block.
    pub block_len: u32,
    /// XXH3-64 of the block.
    pub hash: u64,
}

impl GroupState {
    /// Adds a stream; the number that blocks refer to is the count of those before.
    pub fn name(&mut self, named: Named) {
        self.streams.push(StreamState {
            named,
            number: 0,
            file_index: 0,
            stream: 0,
            payload_len: 0,
            left: 0,
        });
    }

    /// The number of a stream that this group has named.
    pub fn number_of(&self, stream: StreamId) -> Option<usize> {
        self.streams.iter().position(|state| state.named.stream == stream)
    }

    /// Appends the body of a block's entry. `number` is of the block's stream.
    pub fn encode(
        &mut self,
        number: usize,
        header: &Header,
        hash: u64,
        block: &[u8],
        records: &[Record],
        out: &mut Vec<u8>,
    ) {
        let state = &mut self.streams[number];
        let expected = state.number.wrapping_add(1);
        let mut flags = header.kind as u8;
        flags |= if number == self.last { 0 } else { head::STREAM };
        flags |= if header.block_len == self.block_len { 0 } else { head::BLOCK_LEN };
        flags |= if header.number == expected { 0 } else { head::NUMBER };
        flags |= if header.options == 0 { 0 } else { head::OPTIONS };
        out.push(flags);
        if flags & head::STREAM != 0 {
            put_varint(out, number as u64);
        }
        if flags & head::BLOCK_LEN != 0 {
            put_varint(out, u64::from(header.block_len));
        }
        if flags & head::NUMBER != 0 {
            put_varint(out, fold(i64::from(header.number) - i64::from(expected)));
        }
        if flags & head::OPTIONS != 0 {
            put_varint(out, u64::from(header.options));
        }
        out.extend_from_slice(&header.checksum.to_le_bytes()[..checksum_size(header.kind)]);
        out.extend_from_slice(&hash.to_le_bytes());
        state.number = header.number;
        (self.last, self.block_len) = (number, header.block_len);
        for record in records {
            state.encode(record, block, out);
        }
        state.named.offset += records.iter().map(|record| record.payload_range().len() as u64).sum::<u64>();
    }

    /// Reads the body of a block's entry, and hands its pieces to `sink`. `None` when it makes no sense; the state is
    /// then of no use.
    pub fn decode(&mut self, body: &[u8], sink: &mut impl Sink) -> Option<Decoded> {
        let mut cursor = Cursor::new(body);
        let flags = cursor.u8()?;
        let kind = Kind::from_number(flags & head::KIND_MASK).filter(|_| flags & !head::ALL == 0)?;
        if flags & head::STREAM != 0 {
            self.last = usize::try_from(cursor.varint()?).ok()?;
        }
        if flags & head::BLOCK_LEN != 0 {
            self.block_len = cursor.varint32()?;
        }
        let block_len = self.block_len as usize;
        if block_len > BLOCK_SIZE_MAX || block_len < kind.header_size() {
            return None;
        }
        let state = self.streams.get_mut(self.last)?;
        let expected = state.number.wrapping_add(1);
        state.number = match flags & head::NUMBER {
            0 => expected,
            _ => u32::try_from(i64::from(expected).checked_add(cursor.difference()?)?).ok()?,
        };
        let options = if flags & head::OPTIONS == 0 { 0 } else { cursor.varint32()? };
        let mut checksum = [0; 8];
        let size = checksum_size(kind);
        checksum[..size].copy_from_slice(cursor.take(size)?);
        let checksum = u64::from_le_bytes(checksum);
        let hash = cursor.u64()?;

        let session = state.named.session;
        let header = Header {
            kind,
            options,
            checksum,
            block_len: self.block_len,
            number: state.number,
            session: Some(session),
        };
        let mut scratch = Vec::with_capacity(kind.header_size());
        header.put(&mut scratch);
        sink.literal(&scratch);
        let (mut room, mut payload_len) = (block_len - kind.header_size(), 0);
        while room > 0 {
            room = room.checked_sub(kind.record_header_size())?;
            scratch.clear();
            if kind == Kind::Bb01 {
                put_be32(&mut scratch, session.id);
                put_be32(&mut scratch, session.time);
            }
            let payload = state.decode(&mut cursor, &mut room, &mut scratch, sink)?;
            payload_len += payload as u64;
        }
        let (stream, offset) = (state.named.stream, state.named.offset);
        state.named.offset = offset.checked_add(payload_len)?;
        let decoded = Decoded { stream, offset, payload_len, block_len: self.block_len, hash };
        cursor.rest().is_empty().then_some(decoded)
    }

    /// The session of the block that was decoded last.
    pub fn session(&self) -> Option<SessionId> {
        self.streams.get(self.last).map(|state| state.named.session)
    }
}

fn checksum_size(kind: Kind) -> usize {
    match kind {
        Kind::Bb01 | Kind::Bb02 => 4,
        Kind::Bb03 => 8,
    }
}

impl StreamState {
    fn encode(&mut self, record: &Record, block: &[u8], out: &mut Vec<u8>) {
        let mut flags = 0;
        flags |= match i64::from(record.file_index) - i64::from(self.file_index) {
            0 => 0,
            1 => record_head::FILE_INDEX_NEXT,
            _ => record_head::FILE_INDEX,
        };
        let continues = record.stream < 0 && record.stream == self.stream.wrapping_abs().wrapping_neg();
        flags |= if continues {
            record_head::CONTINUES
        } else if record.stream == self.stream {
            0
        } else {
            record_head::STREAM
        };
        flags |= if record.data_len == self.expected(continues) { 0 } else { record_head::DATA_LEN };
        flags |= if record.payload { record_head::PAYLOAD } else { 0 };
        flags |= if record.address_len == 0 { 0 } else { record_head::ADDRESS };
        out.push(flags);
        if flags & record_head::FILE_INDEX != 0 {
            put_varint(out, fold(i64::from(record.file_index) - i64::from(self.file_index)));
        }
        if flags & record_head::STREAM != 0 {
            put_varint(out, fold(i64::from(record.stream)));
        }
        if flags & record_head::DATA_LEN != 0 {
            put_varint(out, u64::from(record.data_len));
        }
        if flags & record_head::ADDRESS != 0 {
            out.push(record.address_len);
        }
        out.extend_from_slice(&block[record.data.start..record.payload_range().start]);
        self.follow(record.file_index, record.stream, record.data_len, record.data.len(), record.payload);
    }

    fn decode(
        &mut self,
        cursor: &mut Cursor,
        room: &mut usize,
        scratch: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Option<usize> {
        let flags = cursor.u8().filter(|flags| flags & !record_head::ALL == 0)?;
        let step = match flags & (record_head::FILE_INDEX | record_head::FILE_INDEX_NEXT) {
            0 => 0,
            record_head::FILE_INDEX_NEXT => 1,
            record_head::FILE_INDEX => cursor.difference()?,
            _ => return None,
        };
        let file_index = i32::try_from(i64::from(self.file_index).checked_add(step)?).ok()?;
        let continues = flags & record_head::CONTINUES != 0;
        let stream = match flags & (record_head::CONTINUES | record_head::STREAM) {
            0 => self.stream,
            record_head::CONTINUES => self.stream.wrapping_abs().wrapping_neg(),
            record_head::STREAM => i32::try_from(cursor.difference()?).ok()?,
            _ => return None,
        };
        let data_len = match flags & record_head::DATA_LEN {
            0 => self.expected(continues),
            _ => cursor.varint32()?,
        };
        let payload = flags & record_head::PAYLOAD != 0;
        let address_len = if flags & record_head::ADDRESS == 0 { 0 } else { cursor.u8()? };
        let here = (*room).min(data_len as usize);
        if data_len >= DATA_LEN_MAX || address_len > ADDRESS_SIZE || usize::from(address_len) > here {
            return None;
        }
        put_be32(scratch, file_index.cast_unsigned());
        put_be32(scratch, stream.cast_unsigned());
        put_be32(scratch, data_len);
        sink.literal(scratch);
        let literal_len = if payload { usize::from(address_len) } else { here };
        sink.literal(cursor.take(literal_len)?);
        let payload_len = here - literal_len;
        if payload_len > 0 {
            sink.payload(payload_len);
        }
        *room -= here;
        self.follow(file_index, stream, data_len, here, payload);
        Some(payload_len)
    }

    /// The length that a record most likely has.
    fn expected(&self, continues: bool) -> u32 {
        if continues && self.left > 0 { self.left } else { self.payload_len }
    }

    /// What writer and reader both remember of a record.
    fn follow(&mut self, file_index: i32, stream: i32, data_len: u32, here: usize, payload: bool) {
        (self.file_index, self.stream) = (file_index, stream);
        self.left = u32::try_from(here).map_or(0, |here| data_len.saturating_sub(here));
        if payload && stream > 0 {
            self.payload_len = data_len;
        }
    }
}
