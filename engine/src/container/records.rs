//! The records of a container, checked one after the other: header, CRC-32 and, if wanted, the chunk's BLAKE3.

use std::path::Path;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{self, FileId, Io};

use crate::compress::decompress;
use crate::error::{Error, Result};
use crate::format::Place;
use crate::format::footer::DirectoryEntry;
use crate::format::record::RecordHeader;
use crate::ids::{ChunkHash, ContainerId};
use crate::limits::BLOCK_SIZE;

/// Bytes read at once.
const WINDOW_SIZE: u64 = 4 << 20;

/// Reads a container's records through a window of the file that is in memory.
pub struct Records<'a> {
    file: FileId,
    path: &'a Path,
    id: ContainerId,
    /// Bytes of the file.
    size: u64,
    offset: u64,
    window: IoBuf,
    /// Bytes read so far.
    pub bytes_read: u64,
}

impl<'a> Records<'a> {
    /// The records of the container `id`, open as `file`.
    ///
    /// # Errors
    /// The disk does not tell the file's length.
    pub fn of(io: &mut dyn Io, file: FileId, path: &'a Path, id: ContainerId) -> Result<Self> {
        let size = io.size(file).map_err(Error::io("read the length of", path))?;
        Ok(Self { file, path, id, size, offset: 0, window: IoBuf::zeroed(0), bytes_read: 0 })
    }

    /// Check the record that `entry` describes; `hash` says whether the chunk is hashed too.
    ///
    /// # Errors
    /// `Corrupt` or `Version` when it is not that record, whole; or the disk failed, which concerns this record alone.
    pub fn check(&mut self, io: &mut dyn Io, entry: &DirectoryEntry, hash: bool) -> Result<()> {
        let start = u64::from(entry.offset);
        let end = record_end(entry);
        if start < self.offset || end > self.offset + self.window.len() as u64 {
            self.load(io, start, end)?;
        }
        let place = Place::new(self.path, start);
        let at = usize::try_from(start - self.offset).expect("it lies inside the window");
        let bytes = &self.window[at.min(self.window.len())..];
        let header = RecordHeader::decode(bytes, self.id, place)?;
        place.require(header.hash == entry.hash, "chunk of the record", entry.hash, header.hash)?;
        place.expect("stored length", entry.stored_len, header.stored_len)?;
        place.expect("raw length", entry.raw_len, header.raw_len)?;
        let (len, left) = (header.record_len(), bytes.len());
        place.require(len <= left, "record", format!("{len} bytes"), format!("{left} bytes"))?;
        let payload = &bytes[RecordHeader::SIZE..len];
        header.check_payload(payload, place)?;
        if hash {
            check_chunk(&header, payload, place)?;
        }
        Ok(())
    }

    fn load(&mut self, io: &mut dyn Io, start: u64, end: u64) -> Result<()> {
        let from = start / BLOCK_SIZE * BLOCK_SIZE;
        let alone = (end - from).next_multiple_of(BLOCK_SIZE);
        let left = self.size.saturating_sub(from).next_multiple_of(BLOCK_SIZE);
        let fits = |len: u64| usize::try_from(len).expect("a window fits memory");
        let read = io::read_at(io, self.file, from, fits(alone.max(WINDOW_SIZE.min(left))));
        self.window = match read {
            Ok(bytes) => bytes,
            // One bad sector must not hide the good ones around it.
            Err(_) => io::read_at(io, self.file, from, fits(alone)).map_err(Error::io("read", self.path))?,
        };
        self.offset = from;
        self.bytes_read += self.window.len() as u64;
        Ok(())
    }
}

/// Byte offset after a record.
#[must_use]
pub fn record_end(entry: &DirectoryEntry) -> u64 {
    u64::from(entry.offset) + RecordHeader::SIZE as u64 + u64::from(entry.stored_len)
}

/// Whether a payload whose checksum holds is the chunk that its header names.
///
/// # Errors
/// `Corrupt`.
pub fn check_chunk(header: &RecordHeader, payload: &[u8], place: Place<'_>) -> Result<()> {
    let raw = decompress(header.codec, payload, header.raw_len as usize)
        .map_err(|why| place.refuse("compressed payload", format!("{} bytes", header.raw_len), why))?;
    let found = ChunkHash::of(&raw);
    place.require(found == header.hash, "BLAKE3 of the chunk", header.hash, found)
}
