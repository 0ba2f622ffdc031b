//! Records: each one's header, CRC-32 and, at the deepest level, its BLAKE3; and the chain over all of them.

use std::path::Path;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{self, FileId, Open};

use super::Check;
use crate::compress::decompress;
use crate::container::scan;
use crate::error::{Error, Result};
use crate::format::Place;
use crate::format::footer::DirectoryEntry;
use crate::format::record::RecordHeader;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::ContainerRow;
use crate::limits::BLOCK_SIZE;

/// Bytes read at once.
const WINDOW_SIZE: u64 = 4 << 20;

impl Check<'_> {
    /// Check the records of one container, which its directory or the index lists in the order of the file.
    pub(super) fn records(
        &mut self,
        id: ContainerId,
        row: &ContainerRow,
        entries: &[DirectoryEntry],
    ) -> Result<()> {
        self.report.chunks += entries.len() as u64;
        let path = self.paths.container(id);
        let file = match self.io.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) => {
                for entry in entries {
                    self.report
                        .bad_chunk(entry.hash, format!("{} cannot be opened: {error}", path.display()));
                }
                return Ok(());
            }
        };
        let checked = self.records_of(file, &path, id, row, entries);
        self.io.close(file);
        checked
    }

    fn records_of(
        &mut self,
        file: FileId,
        path: &Path,
        id: ContainerId,
        row: &ContainerRow,
        entries: &[DirectoryEntry],
    ) -> Result<()> {
        let mut window = (0, IoBuf::zeroed(0));
        let deep = self.level >= 2;
        for entry in entries.iter().filter(|_| deep) {
            if let Err(error) = self.record(file, path, id, entry, &mut window) {
                let why = error.to_string();
                self.refused(path, error)?;
                self.report.bad_chunk(entry.hash, why);
            }
        }
        if deep {
            self.chain(file, path, id, row)?;
        } else if self.io.size(file).map_err(Error::io("read the length of", path))? < row.durable_len {
            for entry in entries.iter().filter(|entry| record_end(entry) > row.durable_len) {
                self.report.bad_chunk(entry.hash, "the container is truncated".to_owned());
            }
        }
        Ok(())
    }

    /// One record. `window` is a stretch of the file in memory, with its offset.
    fn record(
        &mut self,
        file: FileId,
        path: &Path,
        id: ContainerId,
        entry: &DirectoryEntry,
        window: &mut (u64, IoBuf),
    ) -> Result<()> {
        let (start, end) = (u64::from(entry.offset), record_end(entry));
        if start < window.0 || end > window.0 + window.1.len() as u64 {
            let from = start / BLOCK_SIZE * BLOCK_SIZE;
            let size = self.io.size(file).map_err(Error::io("read the length of", path))?;
            let left = size.saturating_sub(from).next_multiple_of(BLOCK_SIZE);
            let len = (end - from).next_multiple_of(BLOCK_SIZE).max(WINDOW_SIZE.min(left));
            let len = usize::try_from(len).expect("a window fits memory");
            let read = io::read_at(self.io, file, from, len);
            *window = match read {
                Ok(bytes) => (from, bytes),
                // One bad sector must not hide the good ones around it.
                Err(_) => {
                    let len = usize::try_from((end - from).next_multiple_of(BLOCK_SIZE))
                        .expect("a record fits memory");
                    (from, io::read_at(self.io, file, from, len).map_err(Error::io("read", path))?)
                }
            };
            self.advance(window.1.len() as u64);
        }
        let place = Place::new(path, start);
        let at = usize::try_from(start - window.0).expect("it lies inside the window");
        let bytes = &window.1[at.min(window.1.len())..];
        let header = RecordHeader::decode(bytes, id, place)?;
        place.require(header.hash == entry.hash, "chunk of the record", entry.hash, header.hash)?;
        place.expect("stored length", entry.stored_len, header.stored_len)?;
        place.expect("raw length", entry.raw_len, header.raw_len)?;
        let whole = header.record_len() <= bytes.len();
        place.require(
            whole,
            "record",
            format!("{} bytes", header.record_len()),
            format!("{} bytes", bytes.len()),
        )?;
        let payload = &bytes[RecordHeader::SIZE..header.record_len()];
        header.check_payload(payload, place)?;
        if self.level >= 3 {
            let raw = decompress(header.codec, payload, header.raw_len as usize).map_err(|why| {
                place.refuse("compressed payload", format!("{} bytes", header.raw_len), why)
            })?;
            let hash = ChunkHash::of(&raw);
            place.require(hash == header.hash, "BLAKE3 of the chunk", header.hash, hash)?;
        }
        Ok(())
    }

    /// The batches must follow one another up to the watermark.
    fn chain(&mut self, file: FileId, path: &Path, id: ContainerId, row: &ContainerRow) -> Result<()> {
        match scan::scan(self.io, file, path, self.store, id, &mut |_| Ok(())) {
            Ok(scanned) if scanned.batch_count < row.batch_seq => {
                let why = scanned.stop.map_or_else(|| "the file ends".to_owned(), |error| error.to_string());
                let what =
                    format!("{} of {} batches follow one another: {why}", scanned.batch_count, row.batch_seq);
                self.report.damage(path, scanned.end, what);
            }
            Ok(_) => {}
            Err(error) => self.refused(path, error)?,
        }
        Ok(())
    }
}

/// Byte offset after a record.
fn record_end(entry: &DirectoryEntry) -> u64 {
    u64::from(entry.offset) + RecordHeader::SIZE as u64 + u64::from(entry.stored_len)
}
