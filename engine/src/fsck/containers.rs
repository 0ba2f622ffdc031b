//! Containers: files against the index's list, headers, footers, watermarks, and the index's entries against both.

use std::collections::BTreeMap;
use std::path::Path;

use gdd_uring::io::{self, FileId, Open};

use super::{Check, Part};
use crate::container::tail;
use crate::error::{Error, Result};
use crate::format::container::ContainerHeader;
use crate::format::footer::{DirectoryEntry, Footer};
use crate::format::{HEADER_SIZE, Place};
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{ChunkEntry, ContainerRow, ContainerState, Status};
use crate::paths;

/// Hashes looked up at once.
const LOOKUP_SIZE: usize = 1024;

/// What is known of one container before its records are read.
pub(super) struct Found {
    pub(super) id: ContainerId,
    pub(super) row: ContainerRow,
    /// From its footer; of one without a good footer, from the index.
    pub(super) entries: Option<Vec<DirectoryEntry>>,
}

impl Check<'_> {
    pub(super) fn containers(&mut self) -> Result<()> {
        let mut rows: BTreeMap<ContainerId, ContainerRow> = self.index.containers()?.into_iter().collect();
        // The next opening gives their files back.
        rows.retain(|_, row| row.state != ContainerState::Free);
        let files = self.container_files()?;
        self.total = (self.level >= 2).then(|| rows.values().map(|row| row.durable_len).sum());
        self.compare_lists(&rows, &files);
        let mut without_directory = BTreeMap::new();
        let mut pointed_here = 0;
        for (id, row) in rows {
            self.report.containers += 1;
            if files.get(&id).is_none_or(|len| *len < row.durable_len) {
                without_directory.insert(id, row);
                continue;
            }
            if self.level == 0 {
                continue;
            }
            let mut found = Found { id, row, entries: None };
            self.look_at(&mut found)?;
            match found.entries {
                Some(entries) => {
                    pointed_here += self.agree_with_index(id, &entries)?;
                    self.records(id, &found.row, &entries)?;
                }
                None => drop(without_directory.insert(id, found.row)),
            }
        }
        if self.level > 0 {
            self.index_entries(&without_directory, pointed_here)?;
        }
        Ok(())
    }

    fn container_files(&mut self) -> Result<BTreeMap<ContainerId, u64>> {
        let directory = self.paths.containers();
        let entries = self.io.list(&directory).map_err(Error::io("list", &directory))?;
        let mut files = BTreeMap::new();
        for entry in entries {
            match paths::container_of(&entry.name) {
                Some(id) => drop(files.insert(id, entry.size)),
                None => self.report.warn(
                    Part::Foreign,
                    &directory.join(&entry.name),
                    0,
                    "not a file of this store".to_owned(),
                ),
            }
        }
        Ok(files)
    }

    fn compare_lists(
        &mut self,
        rows: &BTreeMap<ContainerId, ContainerRow>,
        files: &BTreeMap<ContainerId, u64>,
    ) {
        for (id, row) in rows {
            let path = self.paths.container(*id);
            match files.get(id) {
                Some(len) if *len >= row.durable_len => {}
                Some(len) => {
                    let what = format!("truncated: expected at least {} bytes, found {len}", row.durable_len);
                    self.report.damage(Part::Container, &path, *len, what);
                }
                None => self.report.damage(Part::Container, &path, 0, "missing".to_owned()),
            }
        }
        for id in files.keys().filter(|id| !rows.contains_key(id)) {
            // Prepared and not used before the store was closed, or the end of a crash that was not recovered yet.
            let what = "not in the index: the next opening for writing settles it".to_owned();
            tracing::info!("{}: {what}", self.paths.container(*id).display());
        }
    }

    /// Header and footer of one container.
    pub(super) fn look_at(&mut self, found: &mut Found) -> Result<()> {
        let path = self.paths.container(found.id);
        let file = match self.io.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) => {
                self.report.damage(Part::Container, &path, 0, format!("cannot be opened: {error}"));
                return Ok(());
            }
        };
        if let Err(error) = self.header(file, &path, found.id) {
            self.refused(Part::Container, &path, error)?;
        }
        if found.row.state.has_footer() {
            match self.footer(file, &path, found.id, &found.row) {
                Ok(footer) => found.entries = Some(footer.entries),
                Err(error) => self.refused(Part::Container, &path, error)?,
            }
        }
        self.io.close(file);
        Ok(())
    }

    /// Damage becomes a finding; anything else ends the check.
    pub(super) fn refused(&mut self, part: Part, path: &Path, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { offset, .. } => self.report.damage(part, path, offset, error.to_string()),
            loss if loss.is_loss() => self.report.damage(part, path, 0, loss.to_string()),
            other => return Err(other),
        }
        Ok(())
    }

    fn header(&mut self, file: FileId, path: &Path, id: ContainerId) -> Result<()> {
        let block = io::read_at(self.io, file, 0, HEADER_SIZE).map_err(Error::io("read", path))?;
        self.advance(HEADER_SIZE as u64);
        let place = Place::new(path, 0);
        ContainerHeader::decode(&block, place)?.expect(self.store, id, place)
    }

    fn footer(&mut self, file: FileId, path: &Path, id: ContainerId, row: &ContainerRow) -> Result<Footer> {
        let mut read = 0;
        let footer =
            tail::read(self.io, (file, path), (self.store, id), row.durable_len, &mut |len| read += len);
        self.advance(read);
        let footer = footer?;
        let place = Place::new(path, footer.summary.data_end);
        place.expect("records by the footer", row.record_count as usize, footer.entries.len())?;
        place.expect("batches by the footer", row.batch_seq, footer.summary.batch_count)?;
        Ok(footer)
    }

    /// Every record listed must be in the index, here or elsewhere. Returns how many entries point here.
    pub(super) fn agree_with_index(&mut self, id: ContainerId, entries: &[DirectoryEntry]) -> Result<u64> {
        let path = self.paths.container(id);
        let (mut here, mut found) = (0, Vec::new());
        for part in entries.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|entry| entry.hash).collect();
            self.index.locate(&hashes, &mut found)?;
            for (entry, row) in part.iter().zip(&found) {
                match row {
                    // The vacuum has forgotten it with another container; or the index lost it, and then every stream
                    // that needs it is named.
                    None => self.report.records_unlisted += 1,
                    Some(row) if row.container != id => {} // Stored twice; the other one is used.
                    Some(row) if same_place(row, entry) => here += 1,
                    Some(row) if lists(entries, row, &entry.hash) => {} // Stored twice, both times here.
                    Some(row) => {
                        here += u64::from(row.container == id);
                        let what =
                            format!("chunk {}: the index says {row:?}, the directory {entry:?}", entry.hash);
                        self.report.damage(Part::Index, &path, u64::from(entry.offset), what);
                        self.report.bad_chunk(entry.hash, "index and directory differ".to_owned());
                    }
                }
            }
        }
        Ok(here)
    }

    /// Index entries that no directory vouches for: those in open containers are checked record by record, those in
    /// containers that are gone are lost.
    fn index_entries(
        &mut self,
        without: &BTreeMap<ContainerId, ContainerRow>,
        pointed_here: u64,
    ) -> Result<()> {
        let mut grouped: BTreeMap<ContainerId, Vec<DirectoryEntry>> = BTreeMap::new();
        let mut others = 0;
        self.index.for_each_chunk(&mut |hash, entry| {
            if entry.status == Status::Corrupted {
                self.report.bad_chunk(hash, "marked as corrupted".to_owned());
            }
            if without.contains_key(&entry.container) {
                grouped.entry(entry.container).or_default().push(entry.directory_entry(hash));
            } else {
                others += 1;
            }
            Ok(())
        })?;
        for (id, mut entries) in grouped {
            entries.sort_by_key(|entry| entry.offset);
            if let Some(row) = without.get(&id) {
                self.records(id, row, &entries)?;
            }
        }
        if others != pointed_here {
            let what = format!(
                "{others} index entries point into containers whose directories list {pointed_here} of them; \
                 run `gdd rebuild-index`"
            );
            self.report.damage(Part::Index, &self.paths.index(), 0, what);
        }
        Ok(())
    }
}

/// Whether `entries`, in the order of the file, have the record of chunk `hash` that the index looks for.
fn lists(entries: &[DirectoryEntry], row: &ChunkEntry, hash: &ChunkHash) -> bool {
    let found = entries.binary_search_by_key(&row.offset, |entry| entry.offset);
    found.is_ok_and(|at| same_place(row, &entries[at]) && entries[at].hash == *hash)
}

fn same_place(row: &ChunkEntry, entry: &DirectoryEntry) -> bool {
    row.directory_entry(entry.hash) == *entry
}
