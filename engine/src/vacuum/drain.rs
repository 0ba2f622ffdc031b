//! Emptying one container: what is needed of it is stored anew, verified to be elsewhere, and only then forgotten here.

use std::path::Path;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{FileId, Open};

use super::Vacuum;
use crate::container::{free, salvage, tail};
use crate::driver::Signal;
use crate::error::{Error, Result};
use crate::format::HEADER_SIZE;
use crate::format::footer::DirectoryEntry;
use crate::format::recipe_block::RecipeEntry;
use crate::get;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{Batch, ChunkEntry, ContainerRow, ContainerState, Status};
use crate::ingest::front::Front;
use crate::planted::{self, Bug};
use crate::recall::entries::Entries;
use crate::shard::mailbox::Wanted;
use crate::visits::Purpose;

/// Hashes looked up at once.
const LOOKUP_SIZE: usize = 1024;
/// Chunks in one extent, at most, however small they are.
const EXTENT_CHUNKS_MAX: usize = 4096;
/// What the chunks' new places say of the stream that brought them.
const STREAM_TAG: u64 = u64::MAX;

impl Vacuum<'_> {
    /// Empty the container `id`, which nobody comes to rely on any more, and free it.
    pub(super) fn drain(&mut self, id: ContainerId, row: &ContainerRow) -> Result<()> {
        let directory = match self.directory(id, row)? {
            Some(directory) => directory,
            None => {
                self.broken.insert(id);
                self.by_search(id)?
            }
        };
        let emptied = self.core.leaving.departure(id).and_then(|departure| departure.emptied);
        if emptied.is_none() {
            // What is being stored again is not suspect any more, and not durable yet.
            if self.core.suspects.twice() {
                self.carrier().finish()?;
            }
            let Here { placed, stray } = self.needed_here(id, &directory)?;
            self.move_out(&placed)?;
            self.rescue(id, &stray)?;
            if !planted::has(Bug::FreeUndrained)
                && !planted::has(Bug::FreeBeforeDurable)
                && self.holds_needed(id, row, &directory)?
            {
                return self.quarantine(id, row);
            }
            self.core.leaving.emptied(id, self.core.visits.now());
        }
        self.free(id, row, &directory)
    }

    /// The records of a container; nothing if that cannot be read.
    pub(super) fn directory(
        &mut self,
        id: ContainerId,
        row: &ContainerRow,
    ) -> Result<Option<Vec<DirectoryEntry>>> {
        if !row.state.has_footer() && row.state != ContainerState::Quarantined {
            return Ok(None);
        }
        let path = self.core.paths.container(id);
        let store = (self.core.store, id);
        let opened = self.io.open(&path, Open::Read).map_err(Error::io("open", &path));
        let footer = opened.and_then(|file| {
            let end = self.end_of(file, &path, row);
            let footer =
                end.and_then(|end| tail::read(self.io.as_mut(), (file, &path), store, end, &mut |_| {}));
            self.io.close(file);
            footer
        });
        match footer {
            Ok(footer) => Ok(Some(footer.entries)),
            Err(error) if error.is_loss() => {
                tracing::warn!("{error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What is found record by record in a container whose directory cannot be read, and what the index places there.
    fn by_search(&mut self, id: ContainerId) -> Result<Vec<DirectoryEntry>> {
        let path = self.core.paths.container(id);
        let opened = self.io.open(&path, Open::Read).map_err(Error::io("open", &path));
        let found = opened.and_then(|file| {
            let found = salvage::salvage(self.io.as_mut(), file, &path, id, HEADER_SIZE as u64);
            self.io.close(file);
            found
        });
        let mut listed = match found {
            Ok(found) => found,
            Err(error) if error.is_loss() => Vec::new(),
            Err(error) => return Err(error),
        };
        listed.extend(self.by_index(id)?);
        listed.sort_by_key(|entry| entry.offset);
        listed.dedup_by_key(|entry| entry.offset);
        Ok(listed)
    }

    /// What the index places in a container, in the order of the file.
    fn by_index(&mut self, id: ContainerId) -> Result<Vec<DirectoryEntry>> {
        let mut listed = Vec::new();
        self.core.index.for_each_chunk(&mut |hash, entry| {
            if entry.container == id {
                listed.push(entry.directory_entry(hash));
            }
            Ok(())
        })?;
        listed.sort_by_key(|entry| entry.offset);
        Ok(listed)
    }

    /// Where its footer ends. Of one that could not be read when its row was made, the row does not know.
    fn end_of(&mut self, file: FileId, path: &Path, row: &ContainerRow) -> Result<u64> {
        if row.record_count > 0 {
            return Ok(row.durable_len);
        }
        self.io.size(file).map_err(Error::io("read the length of", path))
    }

    /// What streams may need of it, in the order of the file.
    fn needed_here(&self, id: ContainerId, directory: &[DirectoryEntry]) -> Result<Here> {
        let (mut here, mut found) = (Here::default(), Vec::new());
        for part in directory.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|entry| entry.hash).collect();
            self.core.index.locate(&hashes, &mut found)?;
            for (entry, row) in part.iter().zip(&found).filter(|(entry, _)| self.needed.may_have(&entry.hash))
            {
                match row {
                    Some(row) if row.container == id && row.offset == entry.offset => {
                        here.placed.extend((row.status == Status::Live).then_some(*entry));
                    }
                    // Elsewhere, and whole as far as is known.
                    Some(row) if !self.is_doubtful(&entry.hash, row) => {}
                    _ => here.stray.push(*entry),
                }
            }
        }
        Ok(here)
    }

    /// Whether nobody would be told that a chunk is known because of `row`.
    fn is_doubtful(&self, hash: &ChunkHash, row: &ChunkEntry) -> bool {
        let (core, id) = (self.core, row.container);
        core.suspects.has(hash) || core.damaged.contains(&id) || core.leaving.has(id)
    }

    /// Whether something is needed that is here, or may be, and nowhere else.
    fn holds_needed(
        &mut self,
        id: ContainerId,
        row: &ContainerRow,
        directory: &[DirectoryEntry],
    ) -> Result<bool> {
        let Here { placed, stray } = self.needed_here(id, directory)?;
        if !placed.is_empty() {
            return Ok(true);
        }
        // A mark may be wrong, and would keep what cannot be read for ever: here it is looked up exactly.
        let stray = stray.into_iter().map(|entry| entry.hash).collect();
        if self.is_named(&stray)? {
            return Ok(true);
        }
        let unlisted = self.broken.contains(&id) && self.directory(id, row)?.is_none();
        Ok(unlisted && self.misses_some()?)
    }

    /// Store these chunks anew, durably. Those that cannot be read stay where they are, and are suspect from now on.
    fn move_out(&mut self, needed: &[DirectoryEntry]) -> Result<()> {
        if needed.is_empty() || planted::has(Bug::FreeUndrained) {
            return Ok(());
        }
        let core = self.core;
        let mut carrier = self.carrier();
        let mut rest = needed;
        while !rest.is_empty() {
            let listed = Listed { entries: rest.to_vec(), taken: false };
            let mut stream = get::recall(core, self.shelf)?.stream(listed);
            let mut given = 0;
            let lost = loop {
                match stream.next() {
                    Ok(Some(bytes)) => {
                        carrier.take(rest[given].hash, &bytes)?;
                        given += 1;
                        self.moved(bytes.len() as u64)?;
                    }
                    Ok(None) => break false,
                    Err(Error::ChunkLost { .. }) => break true,
                    Err(error) => return Err(error),
                }
            };
            rest = &rest[given..];
            if lost && let Some((first, others)) = rest.split_first() {
                core.suspects.note(first.hash);
                self.report.lost_chunks += 1;
                rest = others;
            }
        }
        carrier.finish()
    }

    /// Store chunks anew that the index does not look for here: it has lost them, or what it has elsewhere is damaged,
    /// and this is an older copy. Those that cannot be read stay where they are.
    fn rescue(&mut self, id: ContainerId, stray: &[DirectoryEntry]) -> Result<()> {
        if stray.is_empty() || planted::has(Bug::FreeUndrained) {
            return Ok(());
        }
        let mut recall = get::recall(self.core, self.shelf)?;
        let mut carrier = self.carrier();
        for entry in stray {
            let place = ChunkEntry::new(id, entry, Status::Live, self.core.epoch);
            match recall.chunk_at(&entry.hash, place) {
                Ok(bytes) => {
                    carrier.take(entry.hash, &bytes)?;
                    self.moved(bytes.len() as u64)?;
                }
                Err(Error::ChunkLost { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        carrier.finish()
    }

    fn carrier(&self) -> Carrier {
        let core = self.core;
        let chunker = gdd_kernels::Chunker::new(core.params);
        Carrier::new(Front::new(&core.doors, STREAM_TAG, chunker, (self.patience)()), core.extent_size)
    }

    /// A chunk of `bytes` is on its way.
    fn moved(&mut self, bytes: u64) -> Result<()> {
        self.report.moved_chunks += 1;
        self.report.moved_bytes += bytes;
        self.pace.spend(bytes)?;
        let (done, total) = (self.report.moved_bytes, Some(self.to_move));
        self.tell("move", done, total);
        Ok(())
    }

    /// Forget the container, unless somebody may still be reading what he found in it.
    fn free(&mut self, id: ContainerId, row: &ContainerRow, directory: &[DirectoryEntry]) -> Result<()> {
        let departure = self.core.leaving.departure(id);
        let Some(emptied) = departure.and_then(|departure| departure.emptied) else { return Ok(()) };
        let readers = self.core.visits.older(Purpose::Reading, emptied);
        if readers > 0 && !planted::has(Bug::FreeUnderReader) {
            return Ok(());
        }
        let is_broken = self.broken.contains(&id) || self.core.found_damaged(id);
        if row.state == ContainerState::Quarantined || is_broken {
            return self.retire(id, directory);
        }
        if planted::has(Bug::UnlinkBeforeCommit) {
            free::to_pool(self.io.as_mut(), &self.core.paths, id)?;
        }
        let freed = ContainerRow { state: ContainerState::Free, ..*row };
        let forgotten = directory.iter().map(|entry| (entry.hash, id)).collect();
        self.forget(Batch { containers: vec![(id, freed)], ..Batch::default() }, forgotten)?;
        self.core.poison.check()?;
        free::finish(self.io.as_mut(), &self.core.paths, self.core.index.as_ref(), id)
            .inspect_err(|error| self.core.poison.set(error))?;
        self.report.freed_containers += 1;
        self.report.freed_bytes += row.durable_len;
        Ok(())
    }

    /// Put a damaged container away: its file is kept, and the store knows nothing of it any more. A crash between
    /// leaves a container without a file, which the next run puts away.
    fn retire(&mut self, id: ContainerId, directory: &[DirectoryEntry]) -> Result<()> {
        free::to_quarantine(self.io.as_mut(), &self.core.paths, id)
            .inspect_err(|error| self.core.poison.set(error))?;
        let forgotten = directory.iter().map(|entry| (entry.hash, id)).collect();
        self.forget(Batch { removed_containers: vec![id], ..Batch::default() }, forgotten)?;
        self.report.retired.push(id.to_string());
        Ok(())
    }

    /// Have the committer forget chunks, which alone knows what is being stored at this moment.
    fn forget(&mut self, batch: Batch, forgotten: Vec<(ChunkHash, ContainerId)>) -> Result<()> {
        let (signal, mut patience) = (Signal::default(), (self.patience)());
        let raised = signal.clone();
        let mut link = self.core.commit.attach(move || raised.raise());
        link.forget(batch, forgotten);
        loop {
            match link.receive() {
                Some(answer) => return answer.map_err(Error::Poisoned),
                None => patience.pause(&signal),
            }
        }
    }

    /// Keep the container: something needed in it cannot be read.
    fn quarantine(&mut self, id: ContainerId, row: &ContainerRow) -> Result<()> {
        if row.state == ContainerState::Quarantined {
            return Ok(());
        }
        let path = self.core.paths.container(id);
        tracing::warn!("{} is quarantined: not all that is needed of it can be read", path.display());
        let kept = ContainerRow { state: ContainerState::Quarantined, ..*row };
        self.commit(Batch { containers: vec![(id, kept)], ..Batch::default() })
    }
}

/// What streams may need of a container.
#[derive(Default)]
struct Here {
    /// What the index looks for here.
    placed: Vec<DirectoryEntry>,
    /// What it looks for nowhere, or where it is not to be relied on.
    stray: Vec<DirectoryEntry>,
}

/// Chunks on their way to the workers, packed into extents.
struct Carrier {
    front: Front,
    extent_size: usize,
    filling: Option<IoBuf>,
    filled: usize,
    chunks: Vec<Wanted>,
}

impl Carrier {
    fn new(front: Front, extent_size: usize) -> Self {
        Self { front, extent_size, filling: None, filled: 0, chunks: Vec::new() }
    }

    /// One chunk, verified.
    fn take(&mut self, hash: ChunkHash, bytes: &[u8]) -> Result<()> {
        let room = self.filling.as_ref().map_or(0, |extent| extent.len() - self.filled);
        if room < bytes.len() || self.chunks.len() >= EXTENT_CHUNKS_MAX {
            self.send()?;
        }
        let size = self.extent_size.max(bytes.len());
        let extent = self.filling.get_or_insert_with(|| IoBuf::zeroed(size));
        extent[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        let number = |value: usize| u32::try_from(value).expect("an extent is small");
        self.chunks.push(Wanted {
            hash,
            start: number(self.filled),
            len: number(bytes.len()),
            in_seam: false,
            away_from: None,
        });
        self.filled += bytes.len();
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let Some(mut extent) = self.filling.take() else { return Ok(()) };
        extent.truncate(std::mem::take(&mut self.filled));
        let chunks = std::mem::take(&mut self.chunks);
        self.front.give(&extent.freeze(), &chunks).map(drop)
    }

    /// Returns when all of it is durable.
    fn finish(mut self) -> Result<()> {
        self.send()?;
        if planted::has(Bug::FreeBeforeDurable) {
            return Ok(());
        }
        self.front.finish()
    }
}

/// Chunks of a container, in the order of the file, as a stream.
struct Listed {
    entries: Vec<DirectoryEntry>,
    taken: bool,
}

impl Entries for Listed {
    fn next_block(&mut self, entries: &mut Vec<RecipeEntry>) -> Result<bool> {
        if std::mem::replace(&mut self.taken, true) {
            return Ok(false);
        }
        entries.extend(self.entries.iter().map(|entry| RecipeEntry::whole(entry.hash, entry.raw_len)));
        Ok(true)
    }

    fn bytes(&self) -> Option<u64> {
        None
    }
}
