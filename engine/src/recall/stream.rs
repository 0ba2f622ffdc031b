//! A stream, chunk after chunk, read ahead.
//!
//! Entries are taken from the recipe in batches: those in the cache are held there, the others are located with one
//! look into the index, planned, and asked for. So at any time a window of the stream is in memory or on its way. How
//! long it is: see [`super::window`].
//!
//! # Invariants
//! - Bytes come in order, each checked. An error stands exactly where the bytes it concerns would, and ends the stream.
//! - The end is a checked statement: the recipe's entries add up to its trailer, and as many bytes were handed out.

use std::collections::{HashMap, HashSet, VecDeque};

use gdd_uring::buffer::Shared;
use gdd_uring::io::Wait;

use crate::error::{Error, Result};
use crate::format::recipe_block::RecipeEntry;
use crate::ids::{ChunkHash, WordHashed};
use crate::observe::Kind;

use super::Recall;
use super::entries::Entries;
use super::fetch::ReadId;
use super::locate::lost;
use super::plan::{self, Located};
use super::window::Width;

/// Entries in the window at most, however small or well cached they are.
const ENTRIES_MAX: usize = 1 << 14;

/// Where an entry's chunk is, or will be.
enum Source {
    Held(Shared),
    Read(ReadId, usize),
    Lost(Error),
}

/// An entry in the window.
struct Step {
    entry: RecipeEntry,
    source: Source,
}

/// A read that entries of the window wait for.
struct Pending {
    steps: usize,
    hashes: Vec<ChunkHash>,
}

/// See the module.
pub struct StreamReader<E> {
    recall: Recall,
    entries: E,
    /// Entries not yet in the window, and whether more follow.
    ahead: VecDeque<RecipeEntry>,
    more: bool,
    window: VecDeque<Step>,
    window_bytes: usize,
    width: Width,
    reads: HashMap<ReadId, Pending, WordHashed>,
    /// Which read brings a chunk of the window.
    coming: HashMap<ChunkHash, (ReadId, usize), WordHashed>,
    /// A piece that is handed out again.
    repeated: Option<(Shared, u32)>,
    bytes_given: u64,
    /// Chunk of the piece that was handed out last.
    given: Option<ChunkHash>,
    ended: bool,
}

impl<E: Entries> StreamReader<E> {
    pub(super) fn new(recall: Recall, entries: E) -> Self {
        let width_max = recall.config.window.min(recall.cache.capacity() / 4);
        Self {
            width: Width::new(width_max, recall.bounds().read_max),
            recall,
            entries,
            ahead: VecDeque::new(),
            more: true,
            window: VecDeque::new(),
            window_bytes: 0,
            reads: HashMap::default(),
            coming: HashMap::default(),
            repeated: None,
            bytes_given: 0,
            given: None,
            ended: false,
        }
    }

    /// The next piece of the stream, or nothing at its checked end. After an error there is nothing more.
    ///
    /// # Errors
    /// [`Error::ChunkLost`] for the chunk that comes next; the recipe is damaged; the index or the ring failed.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results does not end at an error")]
    pub fn next(&mut self) -> Result<Option<Shared>> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.advance();
        self.ended = !matches!(piece, Ok(Some(_)));
        if let Ok(Some(piece)) = &piece {
            self.bytes_given += piece.len() as u64;
        }
        piece
    }

    /// Bytes handed out so far.
    #[must_use]
    pub fn bytes_given(&self) -> u64 {
        self.bytes_given
    }

    /// The chunk that the last piece was of.
    #[must_use]
    pub fn chunk_given(&self) -> Option<ChunkHash> {
        self.given
    }

    /// The list of entries.
    #[must_use]
    pub fn entries(&self) -> &E {
        &self.entries
    }

    /// The same, to take something out of it.
    pub fn entries_mut(&mut self) -> &mut E {
        &mut self.entries
    }

    /// Stop, and take the access to chunks back.
    ///
    /// # Errors
    /// The ring failed.
    pub fn into_recall(mut self) -> Result<Recall> {
        self.recall.fetcher.abandon()?;
        Ok(self.recall)
    }

    fn advance(&mut self) -> Result<Option<Shared>> {
        if let Some((piece, left)) = &mut self.repeated {
            let piece = piece.clone();
            *left -= 1;
            if *left == 0 {
                self.repeated = None;
            }
            return Ok(Some(piece));
        }
        let start = self.recall.fetcher.now();
        self.fill()?;
        let Some(step) = self.window.pop_front() else { return self.end() };
        let (kind, chunk) = match step.source {
            Source::Held(chunk) => (Kind::CacheHit, chunk),
            Source::Read(id, number) => self.arrived(id, number, &step.entry.hash)?,
            Source::Lost(error) => return Err(error),
        };
        self.window_bytes -= cost(&step.entry);
        let piece = piece_of(&chunk, &step.entry)?;
        self.given = Some(step.entry.hash);
        if step.entry.repeat > 1 {
            self.repeated = Some((piece.clone(), step.entry.repeat - 1));
        }
        let latency = self.recall.fetcher.now().saturating_sub(start);
        self.recall.recorder.recalled(kind, latency);
        Ok(Some(piece))
    }

    /// The chunk of record `number` of a read, once it is there.
    fn arrived(&mut self, id: ReadId, number: usize, hash: &ChunkHash) -> Result<(Kind, Shared)> {
        let fetcher = &mut self.recall.fetcher;
        let kind = if fetcher.is_finished(id) { Kind::ReadAhead } else { Kind::Cold };
        fetcher.wait(id)?;
        let chunk = fetcher.chunk(id, number);
        self.release(id)?;
        match chunk {
            Some(chunk) => Ok((kind, chunk)),
            // Alone: its neighbours may have spoilt the read, or it was moved meanwhile. If not, this tells what is
            // wrong.
            None => Ok((Kind::Cold, self.recall.fetch(hash)?)),
        }
    }

    /// One entry less waits for a read.
    fn release(&mut self, id: ReadId) -> Result<()> {
        let pending = self.reads.get_mut(&id).expect("the window's reads are known");
        pending.steps -= 1;
        if pending.steps == 0 {
            let pending = self.reads.remove(&id).expect("it was there");
            for hash in &pending.hashes {
                self.coming.remove(hash);
            }
            self.recall.fetcher.take(id);
            self.recall.fetcher.pump(Wait::No)?;
        }
        Ok(())
    }

    /// Keep the window full.
    fn fill(&mut self) -> Result<()> {
        loop {
            let (window_max, batch_max) = self.width.bytes(self.recall.fetcher.bytes_in_flight_max());
            if self.window_bytes + batch_max > window_max || self.window.len() >= ENTRIES_MAX {
                break;
            }
            let batch = self.batch(batch_max)?;
            if batch.is_empty() {
                break;
            }
            self.resolve(batch)?;
            self.recall.fetcher.pump(Wait::No)?;
        }
        Ok(())
    }

    /// The next entries, of about `bytes`.
    fn batch(&mut self, bytes: usize) -> Result<Vec<RecipeEntry>> {
        let (mut batch, mut taken) = (Vec::new(), 0);
        while taken < bytes.max(1) && batch.len() < ENTRIES_MAX {
            if self.ahead.is_empty() && self.more {
                let mut block = Vec::new();
                self.more = self.entries.next_block(&mut block)?;
                self.ahead.extend(block);
            }
            let Some(entry) = self.ahead.pop_front() else { break };
            taken += cost(&entry);
            batch.push(entry);
        }
        Ok(batch)
    }

    /// Find out where each entry's chunk is, and ask for what is on disk.
    fn resolve(&mut self, batch: Vec<RecipeEntry>) -> Result<()> {
        let mut held: HashMap<ChunkHash, Shared, WordHashed> = HashMap::default();
        let (mut unknown, mut seen) = (Vec::new(), HashSet::<_, WordHashed>::default());
        for entry in &batch {
            if self.coming.contains_key(&entry.hash) || !seen.insert(entry.hash) {
                continue;
            }
            match self.recall.cache.get(&entry.hash) {
                Some(chunk) => drop(held.insert(entry.hash, chunk)),
                None => unknown.push(entry.hash),
            }
        }
        let mut lost = self.ask(&unknown)?;
        for entry in batch {
            let source = if let Some(&(id, number)) = self.coming.get(&entry.hash) {
                self.reads.get_mut(&id).expect("what is coming is read").steps += 1;
                Source::Read(id, number)
            } else if let Some(chunk) = held.get(&entry.hash) {
                Source::Held(chunk.clone())
            } else {
                // Only the first of them is ever told: the stream ends there.
                let error = lost.remove(&entry.hash);
                Source::Lost(error.unwrap_or_else(|| lost_again(&entry.hash)))
            };
            self.window_bytes += cost(&entry);
            self.window.push_back(Step { entry, source });
        }
        Ok(())
    }

    /// Locate, plan and ask for `unknown` chunks; returns those that cannot be had.
    fn ask(&mut self, unknown: &[ChunkHash]) -> Result<HashMap<ChunkHash, Error>> {
        let mut lost = HashMap::new(); // Allocates nothing while it is empty.
        if unknown.is_empty() {
            return Ok(lost);
        }
        self.recall.locate(unknown)?;
        let mut wanted: Vec<Located> = Vec::with_capacity(unknown.len());
        for (hash, answer) in unknown.iter().zip(self.recall.located.drain(..)) {
            match answer {
                Ok(located) => wanted.push(located),
                Err(error) => drop(lost.insert(*hash, error)),
            }
        }
        let reads = plan::plan(&wanted, &self.recall.bounds()).reads;
        self.width.planned(&reads, self.recall.fetcher.now());
        for read in reads {
            let hashes: Vec<ChunkHash> = read.records.iter().map(|record| record.hash).collect();
            let id = self.recall.fetcher.ask(read);
            for (number, hash) in hashes.iter().enumerate() {
                self.coming.insert(*hash, (id, number));
            }
            self.reads.insert(id, Pending { steps: 0, hashes });
        }
        Ok(lost)
    }

    /// No entry is left: was that all?
    fn end(&mut self) -> Result<Option<Shared>> {
        match self.entries.bytes() {
            Some(bytes) if bytes != self.bytes_given => Err(Error::Invalid(format!(
                "the stream ended after {} of {bytes} bytes, which its recipe should have noticed; report this",
                self.bytes_given
            ))),
            _ => Ok(None),
        }
    }
}

/// Bytes of the window that an entry takes.
fn cost(entry: &RecipeEntry) -> usize {
    entry.length as usize
}

fn lost_again(hash: &ChunkHash) -> Error {
    lost(hash, "it was lost earlier in this stream")
}

fn piece_of(chunk: &Shared, entry: &RecipeEntry) -> Result<Shared> {
    let (start, len) = (entry.chunk_offset as usize, entry.length as usize);
    if start + len > chunk.len() {
        let why = format!("the recipe wants bytes {start} to {} of its {}", start + len, chunk.len());
        return Err(lost(&entry.hash, why));
    }
    Ok(chunk.slice(start..start + len))
}
