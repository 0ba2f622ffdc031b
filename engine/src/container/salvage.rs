//! The records that are left in a container whose directory is gone and whose batches do not follow one another.
//!
//! Every record names its container and its own place, under a checksum: it is recognised wherever a walk from batch to
//! batch cannot come any more. What is found is whole by its CRC-32; its BLAKE3 is checked by whoever reads it.

use std::path::Path;

use gdd_uring::io::{FileId, Io};

use super::scan::Window;
use crate::error::{Error, Result};
use crate::format::footer::DirectoryEntry;
use crate::format::record::RecordHeader;
use crate::format::{HEADER_SIZE, Place};
use crate::ids::ContainerId;

/// Bytes looked through at once.
const STEP: usize = 64 << 10;

/// The whole records of container `id` behind byte `from`.
///
/// # Errors
/// The file cannot be read, for a reason that says nothing about the data.
pub fn salvage(
    io: &mut dyn Io,
    file: FileId,
    path: &Path,
    id: ContainerId,
    from: u64,
) -> Result<Vec<DirectoryEntry>> {
    let mut window = Window::of(io, file, path)?;
    let (mut entries, mut at) = (Vec::new(), from);
    while at + (RecordHeader::SIZE as u64) < window.size {
        let in_block = usize::try_from(at % HEADER_SIZE as u64).unwrap_or_default();
        let Some(len) = readable(io, &mut window, at, in_block)? else {
            at += (HEADER_SIZE - in_block) as u64;
            continue;
        };
        let bytes = bytes(io, &mut window, at, len)?;
        let magic = RecordHeader::MAGIC;
        let Some(found) = bytes.windows(magic.len()).position(|word| word == magic) else {
            at += (bytes.len() + 1).saturating_sub(magic.len()).max(1) as u64;
            continue;
        };
        at += found as u64;
        match record(io, &mut window, path, id, at) {
            Ok((entry, len)) => {
                entries.push(entry);
                at += len;
            }
            Err(error) if error.is_loss() => at += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// How much can be read from `at` on, `in_block` bytes behind the start of a block: a step, or around a place that
/// cannot be read two blocks or one. Two, since what is looked for may lie across their border.
fn readable(io: &mut dyn Io, window: &mut Window<'_>, at: u64, in_block: usize) -> Result<Option<usize>> {
    for len in [STEP, 2 * HEADER_SIZE - in_block, HEADER_SIZE - in_block] {
        match bytes(io, window, at, len) {
            Ok(_) => return Ok(Some(len)),
            Err(error) if error.is_loss() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The record at `at`, and its length.
fn record(
    io: &mut dyn Io,
    window: &mut Window<'_>,
    path: &Path,
    id: ContainerId,
    at: u64,
) -> Result<(DirectoryEntry, u64)> {
    let place = Place::new(path, at);
    let header = RecordHeader::decode(bytes(io, window, at, RecordHeader::SIZE)?, id, place)?;
    let len = header.record_len();
    let whole = bytes(io, window, at, len)?;
    let payload = whole.get(RecordHeader::SIZE..).unwrap_or_default();
    header.check_payload(&payload[..payload.len().min(header.stored_len as usize)], place)?;
    let offset = u32::try_from(at).map_err(|_| place.refuse("record", "a place below 4 GiB", at))?;
    let RecordHeader { hash, stored_len, raw_len, codec, .. } = header;
    Ok((DirectoryEntry { hash, offset, stored_len, raw_len, codec }, len as u64))
}

/// At least one and at most `len` bytes at `at`, or what the file has.
fn bytes<'w>(io: &mut dyn Io, window: &'w mut Window<'_>, at: u64, len: usize) -> Result<&'w [u8]> {
    let skip = usize::try_from(at % HEADER_SIZE as u64).unwrap_or_default();
    let bytes = window.at(io, at - skip as u64, skip + len)?;
    bytes
        .get(skip..)
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| Error::io("read", Path::new("a container"))(std::io::ErrorKind::UnexpectedEof.into()))
}
