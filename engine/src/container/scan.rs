//! Walks an unsealed container batch by batch, and finds where its good part ends.
//!
//! After a crash the tail of an open container may hold batches that were written and never committed, torn ones, or
//! the remains of the file's former life. The chain tells them apart: a batch belongs here only if it names this
//! container and this offset, continues the digest of everything before it, and every payload in it matches its CRC-32.
//!
//! What lies below the durable watermark and is not good is damage, not a torn tail; the caller compares.

use std::path::Path;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{self, FileId, Io};

use crate::error::{Error, Result};
use crate::format::batch::BatchHeader;
use crate::format::batch_view::{BatchView, RecordView};
use crate::format::container::ContainerHeader;
use crate::format::footer::DirectoryEntry;
use crate::format::{HEADER_SIZE, Place, StoreId};
use crate::ids::ContainerId;

/// Bytes read at once, unless a batch is longer.
const WINDOW_SIZE: usize = 4 << 20;

/// The good part of a container.
#[derive(Debug)]
pub struct Scanned {
    /// Its header.
    pub header: ContainerHeader,
    /// Its records, in the order of the file.
    pub entries: Vec<DirectoryEntry>,
    /// Where the good part ends.
    pub end: u64,
    /// Batches in it.
    pub batch_count: u32,
    /// The chain after the last of them.
    pub chain: [u8; 32],
    /// Sum of the records' uncompressed lengths.
    pub raw_bytes: u64,
    /// Sum of the records' stored lengths.
    pub stored_bytes: u64,
    /// Why the walk ended; nothing at the end of the file.
    pub stop: Option<Error>,
}

impl Scanned {
    /// Whether the walk ended at a place that the device cannot read: no crash leaves one, so what is behind it may be
    /// as good as what is before.
    #[must_use]
    pub fn is_unreadable_behind(&self) -> bool {
        matches!(self.stop, Some(Error::Io { .. }))
    }
}

/// Walk container `id` of `store`, open as `file`. `visit` sees every record whose payload matches its CRC-32; an error
/// of it ends the walk as damage.
///
/// # Errors
/// The file cannot be read, or its header is not this container's.
pub fn scan(
    io: &mut dyn Io,
    file: FileId,
    path: &Path,
    store: StoreId,
    id: ContainerId,
    visit: &mut dyn FnMut(&RecordView<'_>) -> Result<()>,
) -> Result<Scanned> {
    let mut window = Window::of(io, file, path)?;
    let place = Place::new(path, 0);
    let header = ContainerHeader::decode(window.at(io, 0, HEADER_SIZE)?, place)?;
    header.expect(store, id, place)?;
    let mut scanned = Scanned {
        entries: Vec::new(),
        end: HEADER_SIZE as u64,
        batch_count: 0,
        chain: header.chain(),
        raw_bytes: 0,
        stored_bytes: 0,
        stop: None,
        header,
    };
    while scanned.end + (BatchHeader::SIZE as u64) < window.size {
        match next_batch(io, &mut window, &mut scanned, id, visit) {
            Ok(()) => {}
            Err(error) if error.is_loss() => {
                scanned.stop = Some(error);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(scanned)
}

/// Take in one batch whole, or leave `scanned` as it is.
fn next_batch(
    io: &mut dyn Io,
    window: &mut Window<'_>,
    scanned: &mut Scanned,
    id: ContainerId,
    visit: &mut dyn FnMut(&RecordView<'_>) -> Result<()>,
) -> Result<()> {
    let place = Place::new(window.path, scanned.end);
    let header = BatchHeader::decode(window.at(io, scanned.end, BatchHeader::SIZE)?, id, place)?;
    let bytes = window.at(io, scanned.end, header.length as usize)?;
    let batch = BatchView::open(bytes, id, place)?;
    batch.expect_after(scanned.batch_count, &scanned.chain)?;
    let first = scanned.entries.len();
    let (mut raw_bytes, mut stored_bytes) = (0, 0);
    for record in batch.records() {
        if let Err(error) = record.check().and_then(|()| visit(&record)) {
            scanned.entries.truncate(first);
            return Err(error);
        }
        raw_bytes += u64::from(record.header.raw_len);
        stored_bytes += u64::from(record.header.stored_len);
        scanned.entries.push(entry_of(&record));
    }
    scanned.raw_bytes += raw_bytes;
    scanned.stored_bytes += stored_bytes;
    scanned.end = header.end();
    scanned.batch_count += 1;
    scanned.chain = header.chain;
    Ok(())
}

/// A record as a container's directory lists it.
#[must_use]
pub fn entry_of(record: &RecordView<'_>) -> DirectoryEntry {
    let header = &record.header;
    DirectoryEntry {
        hash: header.hash,
        offset: u32::try_from(header.offset).expect("a batch lies below CONTAINER_SIZE_MAX"),
        stored_len: header.stored_len,
        raw_len: header.raw_len,
        codec: header.codec,
    }
}

/// A stretch of the file in memory.
pub(super) struct Window<'a> {
    start: u64,
    bytes: IoBuf,
    file: FileId,
    path: &'a Path,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Before this byte there is a place that cannot be read: only what is asked for is read.
    narrow_until: u64,
}

impl<'a> Window<'a> {
    /// Nothing of `file` yet.
    pub(super) fn of(io: &mut dyn Io, file: FileId, path: &'a Path) -> Result<Self> {
        let size = io.size(file).map_err(Error::io("read the length of", path))?;
        Ok(Self { start: 0, bytes: IoBuf::zeroed(0), file, path, size, narrow_until: 0 })
    }

    /// `len` bytes at `offset`, a multiple of the block; fewer at the end of the file.
    pub(super) fn at(&mut self, io: &mut dyn Io, offset: u64, len: usize) -> Result<&[u8]> {
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let left = usize::try_from(self.size - offset.min(self.size)).unwrap_or(usize::MAX);
            let needed = len.min(left).next_multiple_of(HEADER_SIZE);
            let wide = len.max(WINDOW_SIZE).min(left).next_multiple_of(HEADER_SIZE);
            let wanted = if offset < self.narrow_until { needed } else { wide };
            let mut read =
                |len| io::read_at(io, self.file, offset, len).map_err(Error::io("read", self.path));
            let bytes = match read(wanted) {
                Err(error) if error.is_loss() && wanted > needed => {
                    // One place that cannot be read must not hide what is before it.
                    self.narrow_until = offset + wanted as u64;
                    read(needed)
                }
                other => other,
            };
            self.bytes = bytes?;
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).expect("it lies inside the window");
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }
}
