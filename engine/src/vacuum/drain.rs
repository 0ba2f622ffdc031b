//! Emptying one container: what is needed of it is stored anew, verified to be elsewhere, and only then forgotten here.

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::Open;

use super::Vacuum;
use crate::container::{free, tail};
use crate::driver::Signal;
use crate::error::{Error, Result};
use crate::format::footer::DirectoryEntry;
use crate::format::recipe_block::RecipeEntry;
use crate::get;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{Batch, ContainerRow, ContainerState, Status};
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
                self.by_index(id)?
            }
        };
        let emptied = self.core.leaving.departure(id).and_then(|departure| departure.emptied);
        if emptied.is_none() {
            let needed = self.needed_here(id, &directory)?;
            self.move_out(&needed)?;
            if !planted::has(Bug::FreeUndrained)
                && !planted::has(Bug::FreeBeforeDurable)
                && !self.needed_here(id, &directory)?.is_empty()
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
            let end = row.durable_len;
            let footer = tail::read(self.io.as_mut(), (file, &path), store, end, &mut |_| {});
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

    /// What the index places in a container whose directory cannot be read, in the order of the file.
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

    /// What streams need of it, in the order of the file: marked, and not stored elsewhere.
    fn needed_here(&self, id: ContainerId, directory: &[DirectoryEntry]) -> Result<Vec<DirectoryEntry>> {
        let (mut needed, mut found) = (Vec::new(), Vec::new());
        for part in directory.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|entry| entry.hash).collect();
            self.core.index.locate(&hashes, &mut found)?;
            let here = part.iter().zip(&found).filter(|(entry, row)| {
                row.is_some_and(|row| {
                    row.container == id && row.offset == entry.offset && row.status == Status::Live
                })
            });
            needed.extend(here.map(|(entry, _)| *entry).filter(|entry| self.needed.may_have(&entry.hash)));
        }
        Ok(needed)
    }

    /// Store these chunks anew, durably. Those that cannot be read stay where they are, and are suspect from now on.
    fn move_out(&mut self, needed: &[DirectoryEntry]) -> Result<()> {
        if needed.is_empty() || planted::has(Bug::FreeUndrained) {
            return Ok(());
        }
        let core = self.core;
        let chunker = gdd_kernels::Chunker::new(core.params);
        let mut carrier =
            Carrier::new(Front::new(&core.doors, STREAM_TAG, chunker, (self.patience)()), core.extent_size);
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
                        self.report.moved_chunks += 1;
                        self.report.moved_bytes += bytes.len() as u64;
                        self.pace.spend(bytes.len() as u64)?;
                        let done = self.report.moved_bytes;
                        (self.progress)(crate::progress::Progress {
                            stage: "move",
                            done,
                            total: Some(self.to_move),
                        });
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

    /// Forget the container, unless somebody may still be reading what he found in it.
    fn free(&mut self, id: ContainerId, row: &ContainerRow, directory: &[DirectoryEntry]) -> Result<()> {
        let departure = self.core.leaving.departure(id);
        let Some(emptied) = departure.and_then(|departure| departure.emptied) else { return Ok(()) };
        let readers = self.core.visits.older(Purpose::Reading, emptied);
        if readers > 0 && !planted::has(Bug::FreeUnderReader) {
            return Ok(());
        }
        if row.state == ContainerState::Quarantined || self.broken.contains(&id) {
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
