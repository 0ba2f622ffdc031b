//! Of a chunk that is stored more than once, the copy that the index is to look for.
//!
//! The younger one, as a rule: it was stored because the older one was not to be relied on, or is on its way out. But
//! that one may have rotted since, and nobody told. So where there are two, they are read and hashed; a store has few
//! of them, and only they cost that.

use std::collections::HashSet;
use std::path::Path;

use gdd_uring::io::{FileId, Open};

use super::Rebuild;
use crate::container::records::Records;
use crate::error::{Error, Result};
use crate::format::footer::DirectoryEntry;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{ChunkEntry, Status};

/// Hashes looked up at once.
const LOOKUP_SIZE: usize = 1024;

/// A chunk of a container, and an older copy elsewhere, if there is one.
struct Found {
    entry: DirectoryEntry,
    older: Option<ChunkEntry>,
}

impl Rebuild<'_> {
    /// The records of container `id`, open as `file`, that the index is to look for.
    ///
    /// # Errors
    /// The index failed, or something that says nothing about the data.
    pub(super) fn choose(
        &mut self,
        id: ContainerId,
        (file, path): (FileId, &Path),
        entries: &[DirectoryEntry],
    ) -> Result<Vec<(ChunkHash, ChunkEntry)>> {
        let found = self.found(entries)?;
        let groups = || found.chunk_by(|one, other| one.entry.hash == other.entry.hash);
        let is_twice = |group: &[Found]| group.len() > 1 || group[0].older.is_some();
        let twice = groups().filter(|group| is_twice(group)).flatten().map(|found| found.entry);
        let bad = self.bad(id, file, path, twice.collect())?;
        let (mut chosen, epoch) = (Vec::with_capacity(found.len()), self.epoch_last);
        for group in groups() {
            let youngest = group.last().expect("a group has a member");
            let take =
                |found: &Found| (found.entry.hash, ChunkEntry::new(id, &found.entry, Status::Live, epoch));
            if !is_twice(group) {
                chosen.push(take(youngest));
                continue;
            }
            self.rebuilt.chunks_twice += 1;
            let (hash, older) = (youngest.entry.hash, youngest.older);
            if let Some(good) = group.iter().rev().find(|found| !bad.contains(&found.entry.offset)) {
                chosen.push(take(good));
                self.rotten.remove(&hash);
                continue;
            }
            if let Some(older) = older.filter(|_| !self.rotten.contains(&hash))
                && self.is_good(hash, &older)?
            {
                self.rebuilt.notes.push(format!(
                    "chunk {hash}: its younger copy in {} is damaged, the one in container {} is used",
                    path.display(),
                    older.container
                ));
                continue;
            }
            chosen.push(take(youngest));
            self.rotten.insert(hash);
        }
        Ok(chosen)
    }

    /// By hash, then by place; with what the index has of each.
    fn found(&self, entries: &[DirectoryEntry]) -> Result<Vec<Found>> {
        let mut sorted = entries.to_vec();
        sorted.sort_unstable_by_key(|entry| (entry.hash, entry.offset));
        let (mut all, mut rows) = (Vec::with_capacity(sorted.len()), Vec::new());
        for part in sorted.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|entry| entry.hash).collect();
            self.index.locate(&hashes, &mut rows)?;
            all.extend(part.iter().zip(&rows).map(|(entry, older)| Found { entry: *entry, older: *older }));
        }
        Ok(all)
    }

    /// The places of those that are damaged. They are read in the order of the file.
    fn bad(
        &mut self,
        id: ContainerId,
        file: FileId,
        path: &Path,
        mut entries: Vec<DirectoryEntry>,
    ) -> Result<HashSet<u32>> {
        let mut bad = HashSet::new();
        if entries.is_empty() {
            return Ok(bad);
        }
        entries.sort_unstable_by_key(|entry| entry.offset);
        let mut records = Records::of(self.io, file, path, id)?;
        for entry in entries {
            match records.check(self.io, &entry, true) {
                Ok(()) => {}
                Err(error) if error.is_loss() => drop(bad.insert(entry.offset)),
                Err(error) => return Err(error),
            }
        }
        Ok(bad)
    }

    /// Whether a chunk is where `entry` says.
    fn is_good(&mut self, hash: ChunkHash, entry: &ChunkEntry) -> Result<bool> {
        let path = self.paths.container(entry.container);
        let checked = match self.io.open(&path, Open::Read).map_err(Error::io("open", &path)) {
            Ok(file) => {
                let records = Records::of(self.io, file, &path, entry.container);
                let checked = records
                    .and_then(|mut records| records.check(self.io, &entry.directory_entry(hash), true));
                self.io.close(file);
                checked
            }
            Err(error) => Err(error),
        };
        match checked {
            Ok(()) => Ok(true),
            Err(error) if error.is_loss() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
