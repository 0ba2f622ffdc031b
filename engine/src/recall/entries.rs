//! What a stream consists of: the pieces that its recipe lists, or a list from memory.

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::format::recipe_block::{Line, Mark, RecipeEntry};
use crate::recipe::RecipeReader;

/// Entries that a list from memory gives at once.
const BLOCK_ENTRIES: usize = 1 << 10;

/// What lists the chunks of a stream.
pub trait Entries {
    /// Append some of the next entries; returns false, and appends nothing, at the end, when the list has proved whole.
    ///
    /// # Errors
    /// The list is damaged.
    fn next_block(&mut self, entries: &mut Vec<RecipeEntry>) -> Result<bool>;

    /// Bytes of the whole stream, when the end was reached.
    fn bytes(&self) -> Option<u64>;
}

/// The entries of a recipe, through a door of their own: reading them must not wait for the stream's reads.
pub struct RecipeEntries {
    reader: RecipeReader,
    io: Box<dyn Io>,
    /// Bytes to leave out at the start, and of those the ones that are still to come.
    offset: u64,
    skip: u64,
    /// The chunk in which the offset lies is not cut, and there are no slices.
    whole: bool,
    lines: Vec<Line>,
    /// Byte of the stream behind the entries read so far, and behind what the marks so far describe.
    read: u64,
    marked_until: u64,
    /// Marks of bytes behind the offset, with their places, that nobody has taken.
    marks: Vec<(u64, Mark)>,
}

impl RecipeEntries {
    /// The entries of `reader`, which was opened through `io`.
    #[must_use]
    pub fn new(reader: RecipeReader, io: Box<dyn Io>) -> Self {
        Self::from(reader, io, 0)
    }

    /// The entries from byte `offset` of the stream on, which is at most its length.
    #[must_use]
    pub fn from(reader: RecipeReader, io: Box<dyn Io>, offset: u64) -> Self {
        Self {
            reader,
            io,
            offset,
            skip: offset,
            whole: false,
            lines: Vec::new(),
            read: 0,
            marked_until: 0,
            marks: Vec::new(),
        }
    }

    /// The same from the start of the chunk in which byte `offset` lies. A stream with slices of chunks ends in an
    /// error: its receiver checks each piece by the hash of its chunk.
    #[must_use]
    pub fn whole_from(reader: RecipeReader, io: Box<dyn Io>, offset: u64) -> Self {
        Self { whole: true, ..Self::from(reader, io, offset) }
    }

    /// Where in the stream the first entry begins, once it was taken.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The recipe.
    #[must_use]
    pub fn reader(&self) -> &RecipeReader {
        &self.reader
    }

    /// The marks that stood before the entries taken so far, each with the byte of the stream where its chunk begins.
    /// Those that begin before the offset are left out.
    pub fn take_marks(&mut self) -> std::vec::Drain<'_, (u64, Mark)> {
        self.marks.drain(..)
    }
}

impl RecipeEntries {
    /// Append what a block has from the offset on.
    fn take_in(&mut self, entries: &mut Vec<RecipeEntry>) -> Result<()> {
        for line in std::mem::take(&mut self.lines) {
            let entry = match line {
                Line::Mark(mark) => {
                    let start = self.marked_until.max(self.read);
                    self.marked_until = start + u64::from(mark.length);
                    if start >= self.offset {
                        self.marks.push((start, mark));
                    }
                    continue;
                }
                Line::Piece(entry) => entry,
            };
            self.read = self.read.saturating_add(entry.bytes());
            if self.whole && entry.slice {
                let name = &self.reader.header().name;
                let why = "has slices of chunks, which are given to nobody who checks chunks; `gdd get` restores it";
                return Err(Error::Invalid(format!("{name:?} {why}")));
            }
            if self.skip == 0 {
                entries.push(entry);
                continue;
            }
            let entry = if self.whole { self.widened(entry) } else { entry };
            entries.extend(left_of(entry, &mut self.skip).into_iter().flatten());
        }
        Ok(())
    }

    /// Skip less, so that no chunk of `entry` is cut.
    fn widened(&mut self, entry: RecipeEntry) -> RecipeEntry {
        if self.skip < entry.bytes() {
            let part = self.skip % u64::from(entry.length);
            self.skip -= part;
            self.offset -= part;
        }
        entry
    }
}

impl Entries for RecipeEntries {
    fn next_block(&mut self, entries: &mut Vec<RecipeEntry>) -> Result<bool> {
        let start = entries.len();
        loop {
            self.lines.clear();
            let more = self.reader.next_lines(self.io.as_mut(), &mut self.lines)?;
            self.take_in(entries)?;
            if !more || entries.len() > start {
                return Ok(more);
            }
        }
    }

    fn bytes(&self) -> Option<u64> {
        self.reader.trailer().logical_bytes.checked_sub(self.offset)
    }
}

/// What is left of `entry` when `skip` bytes before it were to be left out: up to a piece of one chunk, and its
/// repeats.
fn left_of(mut entry: RecipeEntry, skip: &mut u64) -> [Option<RecipeEntry>; 2] {
    if *skip >= entry.bytes() {
        *skip -= entry.bytes();
        return [None, None];
    }
    let (whole, part) = (*skip / u64::from(entry.length), *skip % u64::from(entry.length));
    *skip = 0;
    entry.repeat -= u32::try_from(whole).expect("fewer than it repeats");
    if part == 0 {
        return [Some(entry), None];
    }
    let part = u32::try_from(part).expect("less than its length");
    let first = RecipeEntry {
        chunk_offset: entry.chunk_offset + part,
        length: entry.length - part,
        repeat: 1,
        slice: true,
        ..entry
    };
    let rest = RecipeEntry { repeat: entry.repeat - 1, ..entry };
    [Some(first), Some(rest).filter(|rest| rest.repeat > 0)]
}

/// Entries from memory: for benches and partial restores.
#[derive(Debug)]
pub struct Listed(pub std::vec::IntoIter<RecipeEntry>);

impl Entries for Listed {
    fn next_block(&mut self, entries: &mut Vec<RecipeEntry>) -> Result<bool> {
        let before = entries.len();
        entries.extend(self.0.by_ref().take(BLOCK_ENTRIES));
        Ok(entries.len() > before)
    }

    fn bytes(&self) -> Option<u64> {
        None
    }
}
