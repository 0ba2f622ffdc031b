//! The stream that a new one is compared with: the latest of its lineage, a window of its recipe around the place that
//! the new one has reached.
//!
//! # Invariants
//! - Whatever is told of it is a proposal: what is taken from it is asked for and compared, or proved by its mark.
//! - Memory: [`PIECES_MAX`] entries and as many marks, and one block of a recipe, however long the stream is.
//! - A recipe that cannot be read ends the window, not the new stream.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use gdd_uring::io::Io;

use super::region::Part;
use crate::core::Core;
use crate::error::Result;
use crate::format::recipe::lineage_mark;
use crate::format::recipe_block::{Line, Mark, RecipeEntry};
use crate::ids::{ChunkHash, WordHashed};
use crate::index::RecipeState;
use crate::recipe::RecipeReader;

/// Recipes that are tried.
const TRIES: usize = 3;
/// Entries that are held, at most, but for those that the place in question needs: some 3 MB.
const PIECES_MAX: usize = 1 << 15;
/// Parts of a stretch, at most.
const PARTS_MAX: usize = 1 << 10;

/// An entry and the byte of the stream at which it begins.
#[derive(Clone, Copy, Debug)]
struct Placed {
    start: u64,
    entry: RecipeEntry,
}

/// See the module.
pub struct Base {
    source: Option<(RecipeReader, Box<dyn Io>)>,
    lines: Vec<Line>,
    pieces: VecDeque<Placed>,
    /// Marks and where they begin.
    marks: VecDeque<(u64, Mark)>,
    /// Where chunks begin that are held and occur once in a row.
    places: HashMap<ChunkHash, u64, WordHashed>,
    /// Byte of the stream behind what was read, and behind what the marks so far describe.
    read: u64,
    marked_until: u64,
    bytes: u64,
}

impl Base {
    /// Of the latest stream of `lineage`; none where there is none.
    ///
    /// # Errors
    /// The index or the disk failed.
    pub fn of(core: &Core, lineage: &str) -> Result<Option<Self>> {
        let mark = lineage_mark(lineage);
        let mut rows = core.index.recipes()?;
        rows.retain(|row| row.state == RecipeState::Live && row.lineage_mark == mark);
        rows.sort_by_key(|row| Reverse(row.recipe)); // Ids grow with time.
        for row in rows.iter().take(TRIES) {
            let mut io = core.open_io()?;
            match RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store) {
                Ok(reader) if reader.header().lineage == lineage => return Ok(Some(Self::from(reader, io))),
                Ok(reader) => reader.close(io.as_mut()),
                Err(error) => {
                    tracing::warn!("stream {:?} is not compared with {lineage:?}: {error}", row.name)
                }
            }
        }
        Ok(None)
    }

    fn from(reader: RecipeReader, io: Box<dyn Io>) -> Self {
        let bytes = reader.trailer().logical_bytes;
        Self {
            source: Some((reader, io)),
            lines: Vec::new(),
            pieces: VecDeque::new(),
            marks: VecDeque::new(),
            places: HashMap::default(),
            read: 0,
            marked_until: 0,
            bytes,
        }
    }

    /// Bytes of the stream.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hold what lies between `from` and `to`, and what there is room for on both sides.
    pub fn reach(&mut self, from: u64, to: u64) {
        while self.source.is_some() && (self.read < to || self.pieces.len() < PIECES_MAX / 2) {
            if let Err(error) = self.next_block() {
                tracing::warn!("the last stream's recipe does not help further: {error}");
                self.source = None;
            }
            while self.pieces.len() > PIECES_MAX
                && let Some(first) = self.pieces.front().copied()
                && first.start + first.entry.bytes() <= from
            {
                self.forget(&first);
            }
        }
        // So that the window goes on when it is full: what is far behind makes room.
        let behind = self.pieces.partition_point(|piece| piece.start + piece.entry.bytes() <= from);
        for _ in PIECES_MAX / 4..behind {
            if let Some(first) = self.pieces.front().copied() {
                self.forget(&first);
            }
        }
    }

    fn forget(&mut self, first: &Placed) {
        self.pieces.pop_front();
        let end = first.start + first.entry.bytes();
        if self.places.get(&first.entry.hash) == Some(&first.start) {
            self.places.remove(&first.entry.hash);
        }
        while self.marks.front().is_some_and(|(start, mark)| start + u64::from(mark.length) <= end) {
            self.marks.pop_front();
        }
    }

    fn next_block(&mut self) -> Result<()> {
        let Some((reader, io)) = &mut self.source else { return Ok(()) };
        self.lines.clear();
        if !reader.next_lines(io.as_mut(), &mut self.lines)? {
            if let Some((reader, mut io)) = self.source.take() {
                reader.close(io.as_mut());
            }
            return Ok(());
        }
        for line in &self.lines {
            match *line {
                Line::Mark(mark) => {
                    let start = self.marked_until.max(self.read);
                    self.marked_until = start + u64::from(mark.length);
                    self.marks.push_back((start, mark));
                }
                Line::Piece(entry) => {
                    if entry.repeat == 1 && !entry.slice {
                        self.places.insert(entry.hash, self.read);
                    }
                    self.pieces.push_back(Placed { start: self.read, entry });
                    self.read = self.read.saturating_add(entry.bytes());
                }
            }
        }
        Ok(())
    }

    /// Whether byte `at` belongs to a whole chunk called `hash`, stored or marked.
    #[must_use]
    pub fn is_of(&self, at: u64, hash: &ChunkHash) -> bool {
        let stored = self.piece(at).is_some_and(|piece| !piece.entry.slice && piece.entry.hash == *hash);
        stored || self.mark(at).is_some_and(|(_, mark)| mark.hash == *hash)
    }

    /// Where a chunk begins that occurs once in a row, if it is held.
    #[must_use]
    pub fn place(&self, hash: &ChunkHash) -> Option<u64> {
        self.places.get(hash).copied()
    }

    /// Whether slices stand for the `len` bytes at `at` whose chunk is called `hash`.
    #[must_use]
    pub fn is_marked(&self, at: u64, hash: &ChunkHash, len: u32) -> bool {
        self.mark(at).is_some_and(|(start, mark)| start == at && mark == Mark { hash: *hash, length: len })
    }

    /// What the stretch from `from` to `to` is made of; none when not all of it is held, or it is very many parts.
    #[must_use]
    pub fn parts(&self, from: u64, to: u64) -> Option<Vec<Part>> {
        let (mut parts, mut at) = (Vec::<Part>::new(), from);
        let mut number = self.number(from)?;
        while at < to {
            let Placed { start, entry } = *self.pieces.get(number)?;
            let in_piece =
                u32::try_from((at - start) % u64::from(entry.length)).expect("less than its length");
            let left = u32::try_from(to - at).unwrap_or(u32::MAX);
            let len = (entry.length - in_piece).min(left);
            let part = Part { hash: entry.hash, offset: entry.chunk_offset + in_piece, len };
            if parts.len() == PARTS_MAX {
                return None;
            }
            parts.push(part);
            at += u64::from(len);
            if at == start + entry.bytes() {
                number += 1;
            }
        }
        Some(parts)
    }

    fn number(&self, at: u64) -> Option<usize> {
        let behind = self.pieces.partition_point(|piece| piece.start <= at);
        let number = behind.checked_sub(1)?;
        let piece = &self.pieces[number];
        (at < piece.start + piece.entry.bytes()).then_some(number)
    }

    fn piece(&self, at: u64) -> Option<&Placed> {
        self.number(at).map(|number| &self.pieces[number])
    }

    fn mark(&self, at: u64) -> Option<(u64, Mark)> {
        let behind = self.marks.partition_point(|(start, _)| *start <= at);
        let (start, mark) = *self.marks.get(behind.checked_sub(1)?)?;
        (at < start + u64::from(mark.length)).then_some((start, mark))
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if let Some((reader, mut io)) = self.source.take() {
            reader.close(io.as_mut());
        }
    }
}
