//! The segments of the last backup of the same client, job and file set, by digest.
//!
//! The store remembers no segments: the recipe of the last stream is cut again. A backup follows the one before it, so
//! a window of that stream is held around the place that the new one has reached, and slides with it. Outside of it a
//! segment counts as unknown, and its chunks are asked for by name: more hashes travel, and no more data.
//!
//! # Invariants
//! - At most [`Limits::window_chunks`](super::Limits::window_chunks) chunks and a segment, or [`SEGMENTS_MIN`]
//!   segments, and one block of a recipe are held, however long the stream is.
//! - A recipe that cannot be read ends the window, not the backup.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use gdd_engine::core::Core;
use gdd_engine::error::{Error, Result};
use gdd_engine::format::recipe::lineage_mark;
use gdd_engine::format::recipe_block::RecipeEntry;
use gdd_engine::index::RecipeState;
use gdd_engine::ingest::front::StreamChunk;
use gdd_engine::recipe::RecipeReader;
use gdd_uring::io::Io;
use gdd_wire::message::SegmentQuery;
use gdd_wire::segment::{Segment, Segmenter};

/// Segments that are held however long they are: a window with none ahead of the place that the backup has reached
/// would always be behind it.
const SEGMENTS_MIN: usize = 4;
/// Recipes that are tried.
const TRIES: usize = 3;

/// See the module.
#[derive(Default)]
pub(super) struct Past {
    /// Chunks that are held.
    window: u64,
    source: Option<(RecipeReader, Box<dyn Io>)>,
    /// Entries of a block, with how often each is still to come.
    ahead: VecDeque<(StreamChunk, u32)>,
    segmenter: Segmenter,
    /// Read, and in no segment yet.
    loose: Vec<StreamChunk>,
    segments: VecDeque<([u8; 32], Arc<[StreamChunk]>)>,
    /// Number of the first segment held.
    first: u64,
    held: u64,
    numbers: HashMap<[u8; 32], u64>,
}

impl Past {
    /// Of the latest stream of `lineage` whose name begins with `prefix`, `window` chunks of it at a time; empty where
    /// there is none.
    ///
    /// # Errors
    /// The index or the disk failed.
    pub(super) fn of(core: &Core, lineage: &str, prefix: &str, window: u64) -> Result<Self> {
        let mark = lineage_mark(lineage);
        let mut rows = core.index.recipes()?;
        rows.retain(|row| {
            row.state == RecipeState::Live && row.lineage_mark == mark && row.name.starts_with(prefix)
        });
        rows.sort_by_key(|row| Reverse(row.recipe)); // Ids grow with time.
        let mut past = Self { window, ..Self::default() };
        for row in rows.iter().take(TRIES) {
            let mut io = core.open_io()?;
            match RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store) {
                Ok(reader) if reader.header().lineage == lineage => {
                    past.source = Some((reader, io));
                    break;
                }
                Ok(reader) => reader.close(io.as_mut()),
                Err(error) => tracing::warn!("stream {:?} does not help {lineage:?}: {error}", row.name),
            }
        }
        past.fill();
        Ok(past)
    }

    /// The chunks of a segment, if it is in the window.
    pub(super) fn find(&mut self, asked: &SegmentQuery) -> Option<Arc<[StreamChunk]>> {
        let number = self.numbers.get(&asked.digest).copied();
        let Some(number) = number else {
            // Perhaps it is gone: the stream of today is as far as that in the old one.
            self.slide(asked.chunk_count.into(), self.first + self.segments.len() as u64 / 2);
            return None;
        };
        let index = usize::try_from(number - self.first).expect("a held segment is after the first");
        let chunks = Arc::clone(&self.segments[index].1);
        self.slide(chunks.len() as u64, number);
        let bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let same = (chunks.len(), bytes) == (asked.chunk_count.into(), asked.length.into());
        same.then_some(chunks)
    }

    /// Forget segments of some `count` chunks before segment `until`, while half of the window is behind it.
    fn slide(&mut self, count: u64, until: u64) {
        let mut left = 2 * count;
        let half = self.segments.len() as u64 / 2;
        while self.source.is_some() && left > 0 && until.saturating_sub(self.first) >= half.max(1) {
            let Some((digest, chunks)) = self.segments.pop_front() else { break };
            if self.numbers.get(&digest) == Some(&self.first) {
                self.numbers.remove(&digest);
            }
            self.first += 1;
            self.held -= chunks.len() as u64;
            left = left.saturating_sub(chunks.len() as u64);
        }
        self.fill();
    }

    /// Keep the window full.
    fn fill(&mut self) {
        let needs = |past: &Self| {
            past.segments.len() < SEGMENTS_MIN || past.held + (past.loose.len() as u64) < past.window
        };
        while self.source.is_some() && needs(self) {
            if let Err(error) = self.step() {
                tracing::warn!("the last stream's recipe does not help further: {error}");
                self.source = None;
            }
        }
    }

    /// Take the next chunk, or at the end what is left.
    fn step(&mut self) -> Result<()> {
        if let Some((chunk, left)) = self.ahead.front_mut() {
            let chunk = *chunk;
            *left -= 1;
            if *left == 0 {
                self.ahead.pop_front();
            }
            self.loose.push(chunk);
            let cut = self.segmenter.push(&chunk.hash.0, chunk.len);
            if let Some(segment) = cut.map_err(|error| Error::Invalid(error.to_string()))? {
                self.hold(segment);
            }
            return Ok(());
        }
        let Some((reader, io)) = &mut self.source else { return Ok(()) };
        let mut entries = Vec::new();
        if reader.next_block(io.as_mut(), &mut entries)? {
            if entries.iter().any(|entry| entry.slice) {
                return Err(Error::Invalid("it has slices of chunks, which no client has".to_owned()));
            }
            let chunk = |entry: &RecipeEntry| StreamChunk { hash: entry.hash, len: entry.length };
            self.ahead.extend(entries.iter().map(|entry| (chunk(entry), entry.repeat)));
            return Ok(());
        }
        if let Some((reader, mut io)) = self.source.take() {
            reader.close(io.as_mut());
        }
        if let Some(segment) = self.segmenter.finish() {
            self.hold(segment);
        }
        Ok(())
    }

    fn hold(&mut self, segment: Segment) {
        let chunks: Arc<[StreamChunk]> = self.loose.drain(..usize::from(segment.count)).collect();
        self.numbers.insert(segment.digest, self.first + self.segments.len() as u64);
        self.held += chunks.len() as u64;
        self.segments.push_back((segment.digest, chunks));
    }
}
