//! One container, from end to end.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use gdd_uring::io::{FileId, Open};

use super::Scrub;
use super::report::BadChunk;
use crate::container::records::{Records, check_chunk};
use crate::container::{scan, tail};
use crate::error::{Error, Result};
use crate::format::Place;
use crate::format::footer::{DirectoryEntry, Footer};
use crate::ids::{ChunkHash, ContainerId};
use crate::index::ContainerRow;
use crate::planted::{self, Bug};
use crate::progress::Progress;
use crate::visits::Purpose;

/// Hashes looked up at once.
const LOOKUP_SIZE: usize = 1024;

/// Bytes between two looks at whether to go on, and how fast.
const PACE_EVERY: u64 = 1 << 20;

/// Damaged records with what is wrong with each.
type Bad = Vec<(DirectoryEntry, String)>;

impl Scrub<'_> {
    /// Check a container, if it is still there.
    pub(super) fn container(&mut self, id: ContainerId) -> Result<()> {
        let core = self.core;
        let _visit = (!planted::has(Bug::ScrubUnseen)).then(|| core.visits.begin(Purpose::Reading));
        let Some(row) = core.readable(id)? else { return Ok(()) };
        let path = core.paths.container(id);
        let file = match self.io.open(&path, Open::Read).map_err(Error::io("open", &path)) {
            Ok(file) => file,
            Err(error) if error.is_loss() => return self.no_directory(id, row, &error),
            Err(error) => return Err(error),
        };
        let checked = self.file(id, &row, file, &path);
        self.io.close(file);
        checked
    }

    fn file(&mut self, id: ContainerId, row: &ContainerRow, file: FileId, path: &Path) -> Result<()> {
        let mut wrong = 0;
        let sealed = match row.state.has_footer().then(|| self.footer(id, row, file, path)).transpose() {
            Ok(sealed) => sealed,
            Err(error) if error.is_loss() => return self.no_directory(id, *row, &error),
            Err(error) => return Err(error),
        };
        let end = sealed.as_ref().map_or(row.durable_len, |footer| footer.summary.data_end);
        let walked = self.walk(id, file, path, end);
        let bad = match (walked, sealed) {
            (Ok((entries, bad)), None) => {
                self.report.chunks += entries.len() as u64;
                bad
            }
            (Ok((entries, bad)), Some(footer)) if entries == footer.entries => {
                self.report.chunks += entries.len() as u64;
                bad
            }
            // What the directory lists may be good all the same.
            (Ok(_), Some(footer)) => {
                let what = "the records of the container: expected those that the footer lists, found others";
                self.report.find(format!("{}: {what}", path.display()));
                wrong += 1;
                self.records(id, file, path, &footer.entries)?
            }
            (Err(error), Some(footer)) => {
                self.found(error)?;
                wrong += 1;
                self.records(id, file, path, &footer.entries)?
            }
            (Err(error), None) if error.is_loss() => return self.no_directory(id, *row, &error),
            (Err(error), None) => return Err(error),
        };
        wrong += bad.len() as u64;
        let lost = self.used(id, &bad)?;
        self.note(id, lost, wrong)
    }

    /// Damage is told, anything else ends the run.
    fn found(&mut self, error: Error) -> Result<()> {
        if !error.is_loss() {
            return Err(error);
        }
        self.report.find(error.to_string());
        Ok(())
    }

    fn footer(&mut self, id: ContainerId, row: &ContainerRow, file: FileId, path: &Path) -> Result<Footer> {
        let mut read = 0;
        let (store, count) = ((self.core.store, id), &mut |len| read += len);
        let footer = tail::read(self.io.as_mut(), (file, path), store, row.durable_len, count);
        self.spend(read)?;
        footer
    }

    /// Batch after batch up to byte `end`, each by its own checks and as the follower of the one before, and each
    /// chunk's BLAKE3. Returns the records, and those whose chunk is another.
    ///
    /// # Errors
    /// What is wrong with the first batch that is not good; or the disk failed.
    fn walk(
        &mut self,
        id: ContainerId,
        file: FileId,
        path: &Path,
        end: u64,
    ) -> Result<(Vec<DirectoryEntry>, Bad)> {
        let Self { io, pace, report, progress, total, .. } = self;
        let (mut bad, mut read) = (Bad::new(), 0);
        let mut scanned = scan::scan(io.as_mut(), file, path, self.core.store, id, &mut |record| {
            if let Err(error) = check_chunk(&record.header, record.payload, record.place) {
                bad.push((scan::entry_of(record), error.to_string()));
            }
            read += record.header.record_len() as u64;
            if read >= PACE_EVERY {
                report.bytes_read += read;
                let done = report.bytes_read.min(*total);
                progress(Progress { stage: "scrub", done, total: Some(*total) });
                pace.spend(std::mem::take(&mut read))?;
            }
            Ok(())
        })?;
        self.spend(read)?;
        if scanned.end < end {
            let whole = || Place::new(path, scanned.end).refuse("batch", "a good one", "the end of the file");
            return Err(scanned.stop.take().unwrap_or_else(whole));
        }
        scanned.entries.retain(|entry| u64::from(entry.offset) < end);
        bad.retain(|(entry, _)| u64::from(entry.offset) < end);
        Ok((scanned.entries, bad))
    }

    /// Check these records; returns the damaged ones.
    fn records(
        &mut self,
        id: ContainerId,
        file: FileId,
        path: &Path,
        entries: &[DirectoryEntry],
    ) -> Result<Bad> {
        let mut records = Records::of(self.io.as_mut(), file, path, id)?;
        let mut bad = Bad::new();
        for entry in entries {
            let before = records.bytes_read;
            let checked = records.check(self.io.as_mut(), entry, true);
            self.report.chunks += 1;
            let read = records.bytes_read - before;
            if read > 0 {
                self.spend(read)?;
            }
            match checked {
                Ok(()) => {}
                Err(error) if error.is_loss() => bad.push((*entry, error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(bad)
    }

    /// The chunks of damaged records that are looked for there.
    fn used(&mut self, id: ContainerId, bad: &Bad) -> Result<Vec<ChunkHash>> {
        let (mut used, mut found) = (Vec::new(), Vec::new());
        for part in bad.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|(entry, _)| entry.hash).collect();
            self.core.index.locate(&hashes, &mut found)?;
            for ((entry, why), row) in part.iter().zip(&found) {
                if row.is_some_and(|row| row.container == id && row.offset == entry.offset) {
                    used.push(entry.hash);
                    let (chunk, container) = (entry.hash.to_string(), id.to_string());
                    self.report.bad(BadChunk { chunk, container, why: why.clone() });
                } else {
                    self.report.records_unused_bad += 1;
                }
            }
        }
        Ok(used)
    }

    /// Its directory cannot be read, or all of it.
    fn no_directory(&mut self, id: ContainerId, row: ContainerRow, error: &Error) -> Result<()> {
        self.report.find(error.to_string());
        self.without_directory.insert(id, (row, error.to_string()));
        Ok(())
    }

    /// Containers without a directory: what the index says is in them is checked record by record.
    pub(super) fn by_index(&mut self) -> Result<()> {
        let without = std::mem::take(&mut self.without_directory);
        if without.is_empty() {
            return Ok(());
        }
        let mut listed: BTreeMap<ContainerId, Vec<DirectoryEntry>> =
            without.keys().map(|id| (*id, Vec::new())).collect();
        self.core.index.for_each_chunk(&mut |hash, entry| {
            if let Some(entries) = listed.get_mut(&entry.container) {
                entries.push(entry.directory_entry(hash));
            }
            Ok(())
        })?;
        for (id, mut entries) in listed {
            entries.sort_by_key(|entry| entry.offset);
            let _visit = self.core.visits.begin(Purpose::Reading);
            if self.core.readable(id)?.is_none() {
                continue;
            }
            let bad = self.listed(id, &without, &entries)?;
            let lost = self.used(id, &bad)?;
            self.note(id, lost, 1 + bad.len() as u64)?;
        }
        Ok(())
    }

    fn listed(
        &mut self,
        id: ContainerId,
        without: &HashMap<ContainerId, (ContainerRow, String)>,
        entries: &[DirectoryEntry],
    ) -> Result<Bad> {
        let path = self.core.paths.container(id);
        match self.io.open(&path, Open::Read).map_err(Error::io("open", &path)) {
            Ok(file) => {
                let bad = self.records(id, file, &path, entries);
                self.io.close(file);
                bad
            }
            Err(error) if error.is_loss() => {
                let why = without.get(&id).map_or_else(|| error.to_string(), |(_, why)| why.clone());
                Ok(entries.iter().map(|entry| (*entry, why.clone())).collect())
            }
            Err(error) => Err(error),
        }
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.report.bytes_read += bytes;
        self.tell();
        self.pace.spend(bytes)
    }
}
