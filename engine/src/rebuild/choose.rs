//! Of a chunk that is stored more than once, the copy that the index is to look for.
//!
//! The younger one, as a rule: it was stored because the older one was not to be relied on, or is on its way out. But
//! that one may have rotted since, and nobody told. So where there are two, they are read and hashed; a store has few
//! of them, and only they cost that. So are those that the old index did not place where they are, if it was kept: such
//! a record may be the damaged copy of a chunk that was healed elsewhere, and freed there since.

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
    /// The old index looked for it elsewhere, or not at all.
    strange: bool,
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
        let found = self.found(id, entries)?;
        let groups = || found.chunk_by(|one, other| one.entry.hash == other.entry.hash);
        let is_twice = |group: &[Found]| group.len() > 1 || group[0].older.is_some();
        let is_doubtful = |group: &[Found]| is_twice(group) || group[0].strange;
        let doubtful = groups().filter(|group| is_doubtful(group)).flatten().map(|found| found.entry);
        let bad = self.bad(id, file, path, doubtful.collect())?;
        let (mut chosen, epoch) = (Vec::with_capacity(found.len()), self.epoch_last);
        for group in groups() {
            let youngest = group.last().expect("a group has a member");
            let take =
                |found: &Found| (found.entry.hash, ChunkEntry::new(id, &found.entry, Status::Live, epoch));
            if !is_doubtful(group) {
                chosen.push(take(youngest));
                continue;
            }
            self.rebuilt.chunks_twice += u64::from(is_twice(group));
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
    fn found(&mut self, id: ContainerId, entries: &[DirectoryEntry]) -> Result<Vec<Found>> {
        let mut sorted = entries.to_vec();
        sorted.sort_unstable_by_key(|entry| (entry.hash, entry.offset));
        let (mut all, mut rows) = (Vec::with_capacity(sorted.len()), Vec::new());
        for part in sorted.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|entry| entry.hash).collect();
            self.index.locate(&hashes, &mut rows)?;
            let found = part.iter().zip(&rows);
            let before = all.len();
            all.extend(found.map(|(entry, older)| Found { entry: *entry, older: *older, strange: false }));
            self.ask_old(id, &hashes, &mut all[before..]);
        }
        Ok(all)
    }

    /// Mark those that the old index does not place here. If it cannot say, nothing of what it said is relied on.
    fn ask_old(&mut self, id: ContainerId, hashes: &[ChunkHash], found: &mut [Found]) {
        let Some(old) = self.old else { return };
        let mut rows = Vec::new();
        if let Err(error) = old.locate(hashes, &mut rows) {
            self.rebuilt.notes.push(format!("the old index cannot be read: {error}"));
            (self.old, self.is_cut_off) = (None, true);
            // Of those that it was asked about before, what it says stands.
            if let Some(marks) = &mut self.marks {
                marks.checked.clear();
            }
            return;
        }
        for (found, row) in found.iter_mut().zip(rows) {
            let here = row.is_some_and(|row| row.container == id && row.offset == found.entry.offset);
            found.strange = !here;
        }
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
