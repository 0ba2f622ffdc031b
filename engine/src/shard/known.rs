//! Is this chunk in the store? Asked in the order of what the answer costs: chunks not yet durable, recent container
//! directories, the filter, and only then the index.
//!
//! A point look-up in RocksDB costs 40 % of cutting and hashing a 20 KB chunk. Data that was stored together is asked
//! for together, so the first hit in a container loads that container's directory, and the index is asked no more.
//!
//! # Invariants
//! - "Known" is said only of a chunk whose bytes are durable or will be durable with this worker's next round.
//! - A doubt (damaged container, unchecked one, one that the vacuum empties, entry marked corrupted, length that
//!   differs) is never "known".

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gdd_uring::io::{Io, Op, Open};
use gdd_uring::{buffer::IoBuf, io::Done};

use super::counters::Counters;
use super::route;
use super::tag::{self, Kind};
use crate::container::doubts::Doubts;
use crate::container::tail::{self, Tail};
use crate::error::{Error, Result};
use crate::filter::{Answer, Filter};
use crate::format::StoreId;
use crate::format::footer::DirectoryEntry;
use crate::ids::{ChunkHash, ContainerId, WordHashed};
use crate::index::{ChunkEntry, ContainerState, Index, Status};
use crate::leaving::Leaving;
use crate::locality::LocalityCache;
use crate::observe::Stage;
use crate::paths::Paths;
use crate::planted::{self, Bug};
use crate::shard::mailbox::{Stored, Wanted};
use crate::suspects::Suspects;
use crate::unchecked::Unchecked;

/// Hashes looked up at once when a directory is compared with the index.
const LOOKUP_SIZE: usize = 1024;

/// Directory loads under way at once.
const LOADS_MAX: usize = 2;

/// Bytes read from the end of a container in the hope that its whole footer is there.
const FOOTER_GUESS: u64 = 512 << 10;

/// A directory being read.
struct Load {
    container: ContainerId,
    file: gdd_uring::io::FileId,
    end: u64,
}

/// See the module.
pub struct Known {
    worker: usize,
    workers: usize,
    paths: Paths,
    store: StoreId,
    index: Arc<dyn Index>,
    filter: Arc<Filter>,
    damaged: Arc<HashSet<ContainerId>>,
    suspects: Suspects,
    unchecked: Unchecked,
    leaving: Leaving,
    doubts: Doubts,
    locality: LocalityCache,
    /// Appended and not yet durable in the index: never forgotten before it is.
    pending: HashMap<ChunkHash, ChunkEntry, WordHashed>,
    loads: HashMap<u64, Load>,
    loads_begun: u64,
    /// Containers without a usable footer: asked once.
    unloadable: HashSet<ContainerId>,
    /// Sealed containers whose row was seen; how long each is.
    sealed: HashMap<ContainerId, u64>,
    counters: Arc<Counters>,
    /// Scratch of [`Known::locate`].
    hashes: Vec<ChunkHash>,
    places: Vec<Option<Stored>>,
    /// Scratch of [`Known::places`].
    asked: Vec<(usize, ChunkHash)>,
    unsure: Vec<ChunkHash>,
    answers: Vec<Answer>,
    found: Vec<Option<ChunkEntry>>,
}

/// What [`Known`] needs from the store.
pub struct Sources {
    /// Names in the store.
    pub paths: Paths,
    /// The store's identity.
    pub store: StoreId,
    /// The index.
    pub index: Arc<dyn Index>,
    /// The filter in front of it.
    pub filter: Arc<Filter>,
    /// Containers that recovery found missing or short: what they held counts as unknown, and is stored again.
    pub damaged: Arc<HashSet<ContainerId>>,
    /// Chunks that could not be given back: the same.
    pub suspects: Suspects,
    /// Containers that nobody has checked since the index was made anew: the same.
    pub unchecked: Unchecked,
    /// Containers that are being emptied: the same.
    pub leaving: Leaving,
    /// Where it is written down that a container cannot be read.
    pub doubts: Doubts,
    /// Bytes that container directories may take.
    pub locality_budget: usize,
}

impl Known {
    /// The knowledge of worker number `worker` of `workers`.
    #[must_use]
    pub fn new(worker: usize, workers: usize, sources: Sources, counters: Arc<Counters>) -> Self {
        Self {
            worker,
            workers,
            paths: sources.paths,
            store: sources.store,
            index: sources.index,
            filter: sources.filter,
            damaged: sources.damaged,
            suspects: sources.suspects,
            unchecked: sources.unchecked,
            leaving: sources.leaving,
            doubts: sources.doubts,
            locality: LocalityCache::new(sources.locality_budget),
            pending: HashMap::default(),
            loads: HashMap::new(),
            loads_begun: 0,
            unloadable: HashSet::new(),
            sealed: HashMap::new(),
            counters,
            hashes: Vec::new(),
            places: Vec::new(),
            asked: Vec::new(),
            unsure: Vec::new(),
            answers: Vec::new(),
            found: Vec::new(),
        }
    }

    /// For each chunk, what is to be done with it; one verdict per chunk, in order.
    ///
    /// # Errors
    /// The index failed, or a known chunk has another length: its hash collides or its entry is damaged.
    pub fn locate(&mut self, io: &mut dyn Io, chunks: &[Wanted], verdicts: &mut Vec<Verdict>) -> Result<()> {
        let (mut hashes, mut places) = (std::mem::take(&mut self.hashes), std::mem::take(&mut self.places));
        hashes.clear();
        hashes.extend(chunks.iter().map(|chunk| chunk.hash));
        let asked = self.places(io, &hashes, &mut places);
        verdicts.clear();
        verdicts.extend(chunks.iter().zip(&places).map(|(chunk, place)| Verdict::of(chunk, place.as_ref())));
        let mut known =
            chunks.iter().zip(&places).filter_map(|(chunk, place)| Some((chunk, place.as_ref()?)));
        let alike = known.try_for_each(|(chunk, place)| same_length(chunk, place.raw_len));
        (self.hashes, self.places) = (hashes, places);
        asked.and(alike)
    }

    /// For each hash, where its chunk is if that is known; in order.
    ///
    /// # Errors
    /// The index failed.
    pub fn places(
        &mut self,
        io: &mut dyn Io,
        hashes: &[ChunkHash],
        places: &mut Vec<Option<Stored>>,
    ) -> Result<()> {
        places.clear();
        self.asked.clear();
        self.unsure.clear();
        for (slot, hash) in hashes.iter().enumerate() {
            let near = match self.pending.get(hash) {
                Some(entry) => Some(Stored::from(*entry)),
                None if self.suspects.has(hash) => {
                    places.push(None);
                    continue;
                }
                None => self.near(hash),
            };
            if near.is_none() {
                self.asked.push((slot, *hash));
                self.unsure.push(*hash);
            }
            places.push(near);
        }
        let begun = self.counters.stages.begin(|| io.now());
        self.filter.query_many(&self.unsure, &mut self.answers);
        if !self.unsure.is_empty() {
            self.counters.stages.end(Stage::Filter, begun, || io.now());
        }
        let mut answers = self.answers.iter();
        self.asked.retain(|_| answers.next().is_some_and(|answer| *answer != Answer::New));
        self.counters.near_hits.add(places.iter().flatten().count());
        self.ask_index(io, places)
    }

    /// The place of a chunk that a recent directory lists, in a container that stays.
    fn near(&mut self, hash: &ChunkHash) -> Option<Stored> {
        let (container, entry) = self.locality.get(hash)?;
        (!leaves(&self.leaving, container)).then(|| Stored::listed(container, &entry))
    }

    fn ask_index(&mut self, io: &mut dyn Io, places: &mut [Option<Stored>]) -> Result<()> {
        if self.asked.is_empty() {
            return Ok(());
        }
        let hashes: Vec<ChunkHash> = self.asked.iter().map(|(_, hash)| *hash).collect();
        self.found.clear();
        let begun = self.counters.stages.begin(|| io.now());
        self.index.locate(&hashes, &mut self.found)?;
        self.counters.stages.end(Stage::Index, begun, || io.now());
        self.counters.index_lookups.add(hashes.len());
        for at in 0..self.asked.len() {
            let slot = self.asked[at].0;
            let Some(entry) = self.found[at] else {
                self.filter.was_false();
                continue;
            };
            let gone = self.damaged.contains(&entry.container)
                || self.unchecked.has(entry.container)
                || leaves(&self.leaving, entry.container);
            if entry.status != Status::Live || gone {
                continue;
            }
            places[slot] = self.want_directory(io, entry.container)?.then(|| entry.into());
        }
        Ok(())
    }

    /// Whether a chunk was appended since its verdict was asked for (it occurs twice in one extent).
    #[must_use]
    pub fn is_pending(&self, hash: &ChunkHash) -> bool {
        self.pending.contains_key(hash)
    }

    /// A chunk was appended; whether it was suspect before. The filter hears of it before the index does.
    pub fn appended(&mut self, hash: ChunkHash, entry: ChunkEntry) -> bool {
        self.filter.insert(&hash);
        self.pending.insert(hash, entry);
        self.suspects.clear(&hash)
    }

    /// Chunks are durable in the index.
    pub fn durable(&mut self, entries: &[(ChunkHash, ChunkEntry)]) {
        for (hash, entry) in entries {
            self.pending.remove(hash);
            self.locality.remove_chunk(hash); // An older copy, whether or not there is room for this one.
            self.locality.add_entry(entry.container, entry.directory_entry(*hash));
        }
    }

    /// Start to read the directory of a sealed container, unless it is here or on its way. Returns whether what the
    /// container holds is to be relied on: not, if its file is gone or the index knows no such container.
    fn want_directory(&mut self, io: &mut dyn Io, container: ContainerId) -> Result<bool> {
        let on_its_way = self.loads.values().any(|load| load.container == container);
        if on_its_way || self.unloadable.contains(&container) || self.locality.contains_container(container) {
            return Ok(true);
        }
        let end = match self.sealed.get(&container) {
            Some(end) => *end,
            None => match self.index.container(container)? {
                Some(row) if row.state == ContainerState::Sealed => {
                    self.sealed.insert(container, row.durable_len);
                    row.durable_len
                }
                Some(_) => {
                    self.unloadable.insert(container);
                    return Ok(true);
                }
                None => {
                    self.suspects.raise()?; // It is stored beside what the file may hold.
                    return Ok(false);
                }
            },
        };
        if self.loads.len() >= LOADS_MAX {
            return Ok(true);
        }
        let path = self.paths.container(container);
        let file = match io.open(&path, Open::Read).map_err(Error::io("open", &path)) {
            Ok(file) => file,
            Err(error) => {
                self.unusable(container, &error)?;
                return Ok(!error.is_loss());
            }
        };
        self.read_tail(io, Load { container, file, end }, FOOTER_GUESS.min(end));
        Ok(true)
    }

    /// A container's directory cannot be had. If that is for a reason that says something about the data, nobody is
    /// told from here on that what the container holds is known; who was told may find it damaged, and fsck names it.
    fn unusable(&mut self, container: ContainerId, error: &Error) -> Result<()> {
        self.unloadable.insert(container);
        if !error.is_loss() || leaves(&self.leaving, container) {
            return Ok(());
        }
        tracing::warn!("what container {container} holds is stored again when it comes again: {error}");
        self.doubts.give_up(container, None)
    }

    fn read_tail(&mut self, io: &mut dyn Io, load: Load, len: u64) {
        let number = self.loads_begun;
        self.loads_begun += 1;
        let buffer = IoBuf::zeroed(usize::try_from(len).expect("a footer fits memory"));
        let op = Op::Read { file: load.file, offset: load.end - len, buffer };
        if io.submit(tag::of(Kind::Directory, number), op).is_ok() {
            self.loads.insert(number, load);
        } else {
            io.close(load.file); // No room in the ring: the next hit tries again.
        }
    }

    /// A directory was read.
    ///
    /// # Errors
    /// The index failed.
    pub fn directory_read(&mut self, io: &mut dyn Io, number: u64, done: Done) -> Result<()> {
        let Some(load) = self.loads.remove(&number) else { return Ok(()) };
        let read =
            done.buffer.filter(|buffer| done.result.as_ref().is_ok_and(|count| *count == buffer.len()));
        let path = self.paths.container(load.container);
        let file = load.file;
        let parsed = match &read {
            Some(bytes) => tail::parse(bytes, load.end, self.store, load.container, &path),
            None => match done.result {
                // As much as was asked for, and less came.
                Ok(_) => {
                    Err(Error::corrupt(&path, load.end, "container footer", "whole", "the end of the file"))
                }
                Err(error) => Err(Error::io("read", &path)(error)),
            },
        };
        let adopted = match parsed {
            Ok(Tail::Whole(footer)) => self.adopt(load.container, footer.entries),
            Ok(Tail::Needs(len)) => {
                self.read_tail(io, load, len);
                return Ok(());
            }
            Err(error) => self.unusable(load.container, &error),
        };
        io.close(file);
        adopted
    }

    fn adopt(&mut self, container: ContainerId, mut entries: Vec<DirectoryEntry>) -> Result<()> {
        entries.retain(|entry| route(&entry.hash, self.workers) == self.worker);
        if self.suspects.twice() {
            self.keep_what_is_here(container, &mut entries)?;
        }
        self.locality.insert_container(container, &entries);
        self.counters.directories_loaded.add(1);
        Ok(())
    }

    /// Leave out what the index places elsewhere: the container lists an older copy, and nobody may be told that a
    /// chunk is known because of it. The other one's container may be leaving, and with it goes the chunk's row.
    fn keep_what_is_here(&mut self, container: ContainerId, entries: &mut Vec<DirectoryEntry>) -> Result<()> {
        let mut here = Vec::with_capacity(entries.len());
        for part in entries.chunks(LOOKUP_SIZE) {
            let hashes: Vec<ChunkHash> = part.iter().map(|entry| entry.hash).collect();
            self.index.locate(&hashes, &mut self.found)?;
            let there = part.iter().zip(&self.found).filter(|(entry, row)| {
                row.is_some_and(|row| row.container == container && row.offset == entry.offset)
            });
            here.extend(there.map(|(entry, _)| *entry));
        }
        self.counters.index_lookups.add(entries.len());
        *entries = here;
        Ok(())
    }
}

/// What is to be done with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Known,
    /// It is not.
    New,
    /// It is, in a container that it is to leave.
    Away,
}

impl Verdict {
    fn of(chunk: &Wanted, place: Option<&Stored>) -> Self {
        match place {
            None => Self::New,
            Some(place) if chunk.away_from == Some(place.container) => Self::Away,
            Some(_) => Self::Known,
        }
    }
}

/// Whether nobody may rely on what is in `container`.
fn leaves(leaving: &Leaving, container: ContainerId) -> bool {
    leaving.has(container) && !planted::has(Bug::HitInLeaving)
}

/// A hit of another length is refused: either two contents share a hash, or the entry is damaged.
fn same_length(chunk: &Wanted, raw_len: u32) -> Result<()> {
    if chunk.len == raw_len {
        return Ok(());
    }
    Err(Error::ChunkLost {
        hash: chunk.hash.to_string(),
        why: format!("known with length {raw_len}, now {}; run `gdd fsck`", chunk.len),
    })
}
