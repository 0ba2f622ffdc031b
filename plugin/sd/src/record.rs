//! The records of a block: which of their bytes are file payload, and which stay in the skeleton.
//!
//! Payload that is mistaken for metadata is merely stored twice. Metadata (the eight address bytes at the start of a
//! sparse record) that is mistaken for payload spoils deduplication of everything behind it. Neither loses a byte:
//! whatever is decided here is written down in the skeleton entry, and never decided again when the block is read.
//!
//! # Invariants
//! - A block is taken apart alone; [`Thread`] only says what the continuation at its start continues.
//! - The ranges of a block's records, with the header, cover the block without gap or overlap.

use std::ops::Range;

use crate::block::{Header, Kind, SessionId, Unparsed};
use crate::bytes::Cursor;

/// A record's length that Bacula itself rejects.
pub const DATA_LEN_MAX: u32 = 20_000_000;

/// FileIndex of the label at the beginning of a job's session.
pub const FILE_INDEX_SOS: i32 = -4;
/// FileIndex of the label at its end: the durability point.
pub const FILE_INDEX_EOS: i32 = -5;
/// FileIndex of a volume label, unused and used.
pub const FILE_INDEX_VOLUME: [i32; 2] = [-1, -2];

const STREAM_TYPE_MASK: u32 = 0x7FF;
/// Each record starts with the 64-bit address of its data.
const STREAM_BIT_OFFSETS: u32 = 1 << 26;
/// Bytes of that address.
pub const ADDRESS_SIZE: u8 = 8;

/// Whether records of this type hold file content. Everything else is metadata, and stays in the skeleton.
fn is_payload(stream: u32) -> bool {
    matches!(
        stream & STREAM_TYPE_MASK,
        2 | 4 | 6 | 7 // plain, gzip, sparse, sparse gzip
        | 9 | 27 // program and plugin data
        | 11..=13 // Win32 BackupRead, the same with gzip, Mac resource fork
        | 20 | 21 | 23..=25 // encrypted: plain, Win32, gzip, Win32 gzip, Mac
        | 29..=31 // compressed, sparse compressed, Win32 compressed
        | 32 | 33 // encrypted compressed, encrypted Win32 compressed
    )
}

fn address_size(stream: u32) -> u8 {
    let sparse = matches!(stream & STREAM_TYPE_MASK, 6 | 7 | 30);
    if sparse || stream & STREAM_BIT_OFFSETS != 0 { ADDRESS_SIZE } else { 0 }
}

/// The part of a record that lies in one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// FileIndex: positive for records of files, negative for labels.
    pub file_index: i32,
    /// Stream as in the header; negative in a continuation. Not a stream in labels.
    pub stream: i32,
    /// As in the header: bytes of the record from here on, in this block and later ones.
    pub data_len: u32,
    /// Where its data lies in the block.
    pub data: Range<usize>,
    /// Bytes at the start of `data` that are an address. 0 where there is no payload.
    pub address_len: u8,
    /// The data behind the address is file content.
    pub payload: bool,
    /// The first payload of a file's stream.
    pub file_starts: bool,
}

impl Record {
    /// Where the file content lies in the block; empty where there is none.
    pub fn payload_range(&self) -> Range<usize> {
        if self.payload {
            self.data.start + usize::from(self.address_len)..self.data.end
        } else {
            self.data.end..self.data.end
        }
    }
}

/// What a session's next block continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thread {
    /// The record that the last block has cut: FileIndex, stream, and address bytes that are still to come.
    carry: Option<(i32, u32, u8)>,
    /// FileIndex and stream of the last payload.
    last: Option<(i32, u32)>,
}

/// Takes the records of a block apart, into `records`, and returns whose they are. After an error `thread` is
/// unchanged.
///
/// # Errors
/// When what follows the header is not records of one session.
pub fn parse(
    block: &[u8],
    header: &Header,
    thread: &mut Thread,
    records: &mut Vec<Record>,
) -> Result<SessionId, Unparsed> {
    records.clear();
    let session = header.session;
    let mut next = *thread;
    let mut at = header.kind.header_size();
    while at < block.len() {
        let mut cursor = Cursor::new(&block[at..]);
        if header.kind == Kind::Bb01 {
            let id = cursor.be32().ok_or(Unparsed::Records)?;
            let its = SessionId { id, time: cursor.be32().ok_or(Unparsed::Records)? };
            if session != Some(its) {
                return Err(Unparsed::Sessions);
            }
        }
        let mut word = || cursor.be32().ok_or(Unparsed::Records);
        let (file_index, stream, data_len) = (word()?.cast_signed(), word()?.cast_signed(), word()?);
        if data_len >= DATA_LEN_MAX {
            return Err(Unparsed::Records);
        }
        let start = at + header.kind.record_header_size();
        let data = start..block.len().min(start + data_len as usize);
        at = data.end;
        records.push(next.record(file_index, stream, data_len, data));
    }
    let session = session.ok_or(Unparsed::Records)?;
    *thread = next;
    Ok(session)
}

impl Thread {
    fn record(&mut self, file_index: i32, stream: i32, data_len: u32, data: Range<usize>) -> Record {
        let kind = stream.unsigned_abs();
        let payload = file_index > 0 && is_payload(kind);
        let (mut address_len, mut file_starts) = (0, false);
        let mut address_left = 0;
        if payload {
            address_left = match self.carry {
                Some((index, carried, left)) if stream < 0 && (index, carried) == (file_index, kind) => left,
                _ if stream < 0 => 0,
                _ => address_size(kind),
            };
            let here = data.len().min(usize::from(address_left));
            address_len = u8::try_from(here).unwrap_or(ADDRESS_SIZE);
            address_left -= address_len;
            if data.len() > here {
                file_starts = self.last != Some((file_index, kind));
                self.last = Some((file_index, kind));
            }
        }
        let cut = data.len() < data_len as usize;
        self.carry = cut.then_some((file_index, kind, address_left));
        Record { file_index, stream, data_len, data, address_len, payload, file_starts }
    }
}
