//! Records: each one's header, CRC-32 and, at the deepest level, its BLAKE3; and the chain over all of them.

use std::path::Path;

use gdd_uring::io::{FileId, Open};

use super::{Check, Part};
use crate::container::records::{Records, record_end};
use crate::container::scan;
use crate::error::{Error, Result};
use crate::format::footer::DirectoryEntry;
use crate::ids::ContainerId;
use crate::index::ContainerRow;

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
                    self.places.insert(entry.hash, (id, entry.offset));
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
        if self.level >= 2 {
            let mut records = Records::of(self.io, file, path, id)?;
            for entry in entries {
                let before = records.bytes_read;
                let checked = records.check(self.io, entry, self.level >= 3);
                self.advance(records.bytes_read - before);
                if let Err(error) = checked {
                    self.bad_record(path, id, entry, error)?;
                }
            }
            self.chain(file, path, id, row)?;
        } else if self.io.size(file).map_err(Error::io("read the length of", path))? < row.durable_len {
            for entry in entries.iter().filter(|entry| record_end(entry) > row.durable_len) {
                self.report.bad_chunk(entry.hash, "the container is truncated".to_owned());
            }
        }
        Ok(())
    }

    /// A damaged record is a lost chunk only if it is where the index looks for it.
    fn bad_record(
        &mut self,
        path: &Path,
        id: ContainerId,
        entry: &DirectoryEntry,
        error: Error,
    ) -> Result<()> {
        let mut found = Vec::new();
        self.index.locate(&[entry.hash], &mut found)?;
        let used = found.pop().flatten().is_none_or(|row| row.container == id && row.offset == entry.offset);
        let why = error.to_string();
        if used {
            self.refused(Part::Chunk, path, error)?;
            self.places.insert(entry.hash, (id, entry.offset));
            self.report.bad_chunk(entry.hash, why);
        } else if error.is_loss() {
            let what = format!("{why}; another copy of the chunk is used, the vacuum takes this one away");
            self.report.warn(Part::Container, path, u64::from(entry.offset), what);
        } else {
            return Err(error);
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
                self.report.damage(Part::Container, path, scanned.end, what);
            }
            Ok(_) => {}
            Err(error) => self.refused(Part::Container, path, error)?,
        }
        Ok(())
    }
}
