//! One container, from end to end.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use gdd_uring::io::{self, FileId, Open};

use super::Scrub;
use super::report::BadChunk;
use crate::container::records::Records;
use crate::container::{scan, tail};
use crate::error::{Error, Result};
use crate::format::container::ContainerHeader;
use crate::format::footer::DirectoryEntry;
use crate::format::{HEADER_SIZE, Place};
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{ContainerRow, ContainerState};
use crate::visits::Purpose;

/// Hashes looked up at once.
const LOOKUP_SIZE: usize = 1024;

/// Damaged records with what is wrong with each.
type Bad = Vec<(DirectoryEntry, String)>;

impl Scrub<'_> {
    /// Check a container, if it is still there.
    pub(super) fn container(&mut self, id: ContainerId) -> Result<()> {
        let core = self.core;
        let _visit = core.visits.begin(Purpose::Reading); // The vacuum does not free it meanwhile.
        let row = core.index.container(id)?.filter(|row| row.state != ContainerState::Free);
        let Some(row) = row else { return Ok(()) };
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
        if let Err(error) = self.header(id, file, path) {
            if !error.is_loss() {
                return Err(error);
            }
            self.report.find(error.to_string());
            wrong += 1;
        }
        let entries = match self.directory(id, row, file, path) {
            Ok(entries) => entries,
            Err(error) if error.is_loss() => return self.no_directory(id, *row, &error),
            Err(error) => return Err(error),
        };
        let bad = self.records(id, file, path, &entries)?;
        wrong += bad.len() as u64;
        let lost = self.used(id, &bad)?;
        self.note(id, lost, wrong)
    }

    /// Its records, as the footer lists them; of one that is still being filled, as they follow one another up to the
    /// watermark.
    fn directory(
        &mut self,
        id: ContainerId,
        row: &ContainerRow,
        file: FileId,
        path: &Path,
    ) -> Result<Vec<DirectoryEntry>> {
        let (end, store) = (row.durable_len, self.core.store);
        if row.state.has_footer() {
            let mut read = 0;
            let count = &mut |len| read += len;
            let footer = tail::read(self.io.as_mut(), (file, path), (store, id), end, count);
            self.spend(read)?;
            return footer.map(|footer| footer.entries);
        }
        let mut scanned = scan::scan(self.io.as_mut(), file, path, store, id, &mut |_| Ok(()))?;
        self.spend(end)?;
        if scanned.end < end {
            let whole = || Place::new(path, scanned.end).refuse("batch", "a good one", "the end of the file");
            return Err(scanned.stop.take().unwrap_or_else(whole));
        }
        scanned.entries.retain(|entry| u64::from(entry.offset) < end);
        Ok(scanned.entries)
    }

    fn header(&mut self, id: ContainerId, file: FileId, path: &Path) -> Result<()> {
        let block = io::read_at(self.io.as_mut(), file, 0, HEADER_SIZE).map_err(Error::io("read", path))?;
        self.report.bytes_read += HEADER_SIZE as u64;
        let place = Place::new(path, 0);
        ContainerHeader::decode(&block, place)?.expect(self.core.store, id, place)
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
