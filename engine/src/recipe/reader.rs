//! Reading a recipe block by block, each from whichever copy is good.

use std::path::{Path, PathBuf};

use gdd_uring::io::{self, FileId, Io, Open};

use crate::error::{Error, Result};
use crate::format::recipe::RecipeHeader;
use crate::format::recipe_block::{self, Line, RecipeEntry, encoded_len, entry_bytes};
use crate::format::recipe_trailer::RecipeTrailer;
use crate::format::{HEADER_SIZE, Place, StoreId};
use crate::ids::RecipeId;

use super::ahead::Ahead;
use super::{Side, block_count, block_offset, entries_in, trailer_offset};

/// See the module. End it with [`RecipeReader::close`], so that the `Io` does not keep its files open.
#[derive(Debug)]
pub struct RecipeReader {
    recipe: RecipeId,
    header: RecipeHeader,
    trailer: RecipeTrailer,
    copies: Copies,
    /// The next block.
    block_seq: u64,
    digest: blake3::Hasher,
    logical_bytes: u64,
    chunk_count: u64,
    /// Byte of the stream behind what the marks so far describe.
    marked_until: u64,
    /// Lines of the block that [`RecipeReader::next_block`] has read.
    lines: Vec<Line>,
}

/// The copies that still look good, the preferred one first.
#[derive(Debug)]
struct Copies {
    open: Vec<Copy>,
    /// What was wrong with which copy.
    damage: Vec<(Side, Error)>,
}

#[derive(Debug)]
struct Copy {
    side: Side,
    path: PathBuf,
    file: FileId,
    size: u64,
    ahead: Ahead,
}

impl RecipeReader {
    /// Open `recipe` of `store` below the directory `recipes`, from both copies as far as they are good.
    ///
    /// # Errors
    /// No copy has a good header and trailer: the error of the last one tried. `Version` when a newer gdd wrote it.
    pub fn open(io: &mut dyn Io, recipes: &Path, recipe: RecipeId, store: StoreId) -> Result<Self> {
        Self::open_sides(io, recipes, recipe, store, &Side::BOTH)
    }

    /// As [`RecipeReader::open`], from one copy only: to know whether it is good.
    ///
    /// # Errors
    /// As [`RecipeReader::open`].
    pub fn open_copy(
        io: &mut dyn Io,
        recipes: &Path,
        recipe: RecipeId,
        store: StoreId,
        side: Side,
    ) -> Result<Self> {
        Self::open_sides(io, recipes, recipe, store, &[side])
    }

    fn open_sides(
        io: &mut dyn Io,
        recipes: &Path,
        recipe: RecipeId,
        store: StoreId,
        sides: &[Side],
    ) -> Result<Self> {
        let mut copies = Copies { open: Vec::new(), damage: Vec::new() };
        for &side in sides {
            match Copy::open(io, recipes, recipe, side) {
                Ok(copy) => copies.open.push(copy),
                Err(error) => copies.damage.push((side, error)),
            }
        }
        let ends = copies.first_good(io, |io, copy| copy.ends(io, recipe, store));
        match ends {
            Ok((header, trailer)) => Ok(Self {
                recipe,
                header,
                trailer,
                copies,
                block_seq: 0,
                digest: blake3::Hasher::new(),
                logical_bytes: 0,
                chunk_count: 0,
                marked_until: 0,
                lines: Vec::new(),
            }),
            Err(error) => {
                copies.close(io);
                Err(error)
            }
        }
    }

    /// The recipe's header.
    #[must_use]
    pub fn header(&self) -> &RecipeHeader {
        &self.header
    }

    /// The recipe's trailer. Its totals are checked against the entries when the last one was read.
    #[must_use]
    pub fn trailer(&self) -> &RecipeTrailer {
        &self.trailer
    }

    /// Append the next block's entries to `entries`, at most
    /// [`RECIPE_BLOCK_ENTRIES`](recipe_block::RECIPE_BLOCK_ENTRIES), without the marks between them. Returns false,
    /// once, at the end, when the recipe has proved whole.
    ///
    /// # Errors
    /// No copy has a good block here, or the whole does not add up to its trailer.
    pub fn next_block(&mut self, io: &mut dyn Io, entries: &mut Vec<RecipeEntry>) -> Result<bool> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        let more = self.next_lines(io, &mut lines);
        entries.extend(lines.iter().filter_map(|line| match line {
            Line::Piece(entry) => Some(*entry),
            Line::Mark(_) => None,
        }));
        self.lines = lines;
        more
    }

    /// As [`RecipeReader::next_block`], with the marks where they stand.
    ///
    /// # Errors
    /// As [`RecipeReader::next_block`].
    pub fn next_lines(&mut self, io: &mut dyn Io, entries: &mut Vec<Line>) -> Result<bool> {
        if self.block_seq == self.trailer.block_count {
            self.check_totals()?;
            return Ok(false);
        }
        let (recipe, block_seq) = (self.recipe, self.block_seq);
        let len = encoded_len(entries_in(block_seq, self.trailer.entry_count));
        let start = entries.len();
        let end = trailer_offset(self.trailer.entry_count).unwrap_or_default();
        let block = self.copies.first_good(io, |io, copy| {
            entries.truncate(start);
            let offset = block_offset(block_seq);
            let block = copy.ahead.read(io, copy.file, (offset, len), end);
            let block = block.map_err(Error::io("read", &copy.path))?;
            recipe_block::decode(&block, recipe, block_seq, entries, Place::new(&copy.path, offset))?;
            Ok(block)
        })?;
        let count = u32::try_from(entries.len() - start).expect("a block holds few entries");
        self.digest.update(entry_bytes(&block, count));
        for line in &entries[start..] {
            self.take_in(line)?;
        }
        self.block_seq += 1;
        Ok(true)
    }

    /// Count a line. What is made of slices is described by marks, so that it can be checked when it is restored.
    fn take_in(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Mark(mark) => {
                let start = self.marked_until.max(self.logical_bytes);
                self.marked_until = start.saturating_add(u64::from(mark.length));
                let within = self.marked_until <= self.trailer.logical_bytes;
                self.place().require(
                    within,
                    "marks of the recipe",
                    "within the stream",
                    self.marked_until,
                )?;
            }
            Line::Piece(entry) => {
                self.logical_bytes = self.logical_bytes.saturating_add(entry.bytes());
                self.chunk_count = self.chunk_count.saturating_add(u64::from(entry.repeat));
                let described = !entry.slice || self.logical_bytes <= self.marked_until;
                self.place().require(described, "slices of chunks", "marks before them", "none")?;
            }
        }
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        let path = self.copies.open.first().map(|copy| copy.path.as_path());
        Place::new(path.unwrap_or(Path::new("recipe")), block_offset(self.block_seq))
    }

    /// Read to the end, for the checks alone.
    ///
    /// # Errors
    /// As [`RecipeReader::next_block`].
    pub fn check(&mut self, io: &mut dyn Io) -> Result<()> {
        let mut entries = Vec::new();
        while self.next_block(io, &mut entries)? {
            entries.clear();
        }
        Ok(())
    }

    /// Copies found bad so far, and how. The stream was read from the other one.
    #[must_use]
    pub fn damage(&self) -> &[(Side, Error)] {
        &self.copies.damage
    }

    pub(super) fn take_damage(&mut self) -> Vec<(Side, Error)> {
        std::mem::take(&mut self.copies.damage)
    }

    /// Close its files.
    pub fn close(self, io: &mut dyn Io) {
        self.copies.close(io);
    }

    fn check_totals(&self) -> Result<()> {
        let (place, trailer) = (self.place(), &self.trailer);
        place.expect("bytes of the stream", trailer.logical_bytes, self.logical_bytes)?;
        place.expect("chunks of the stream", trailer.chunk_count, self.chunk_count)?;
        let digest = self.digest.finalize();
        place.require(
            trailer.digest == *digest.as_bytes(),
            "digest of the recipe",
            "that of the trailer",
            "another",
        )
    }
}

impl Copies {
    /// What `read` gives for the first copy that it does not refuse. A refused copy is noted, once, and asked last
    /// from then on: other blocks of it may still be good.
    fn first_good<T>(
        &mut self,
        io: &mut dyn Io,
        mut read: impl FnMut(&mut dyn Io, &mut Copy) -> Result<T>,
    ) -> Result<T> {
        let (mut last, mut failure) = (None, None);
        for _ in 0..self.open.len() {
            match read(io, &mut self.open[0]) {
                Ok(value) => return Ok(value),
                Err(error @ Error::Version { .. }) => return Err(error),
                Err(error) if !error.is_loss() => {
                    self.open.rotate_left(1);
                    failure = Some(error);
                }
                Err(error) => {
                    let side = self.open[0].side;
                    self.open.rotate_left(1);
                    last = Some(error);
                    if !self.damage.iter().any(|(known, _)| *known == side) {
                        self.damage.extend(last.take().map(|error| (side, error)));
                    }
                }
            }
        }
        // A copy that could not be tried, for want of descriptors or memory, may be good: nothing is known to be lost.
        let untried = self.damage.iter().position(|(_, error)| !error.is_loss());
        if let Some(error) = failure.or_else(|| untried.map(|at| self.damage.swap_remove(at).1)) {
            return Err(error);
        }
        // Every copy was refused: the error is either here or, when it was the first one of its copy, among the
        // damage.
        match last.or_else(|| self.damage.pop().map(|(_, error)| error)) {
            Some(error) => Err(error),
            None => Err(Error::Invalid("a recipe is read from at least one copy".to_owned())),
        }
    }

    fn close(self, io: &mut dyn Io) {
        self.open.into_iter().for_each(|copy| io.close(copy.file));
    }
}

impl Copy {
    fn open(io: &mut dyn Io, recipes: &Path, recipe: RecipeId, side: Side) -> Result<Self> {
        let path = side.file(recipes, recipe);
        let file = io.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        match io.size(file) {
            Ok(size) => Ok(Self { side, path, file, size, ahead: Ahead::default() }),
            Err(error) => {
                io.close(file);
                Err(Error::io("measure", &path)(error))
            }
        }
    }

    /// Header and trailer.
    fn ends(
        &self,
        io: &mut dyn Io,
        recipe: RecipeId,
        store: StoreId,
    ) -> Result<(RecipeHeader, RecipeTrailer)> {
        let header =
            RecipeHeader::decode(&self.read(io, 0, HEADER_SIZE)?, store, recipe, Place::new(&self.path, 0))?;
        let end = self.size.saturating_sub(HEADER_SIZE as u64);
        let place = Place::new(&self.path, end);
        let aligned = end.is_multiple_of(HEADER_SIZE as u64) && end > 0;
        place.require(aligned, "length of the recipe", "blocks, at least two", self.size)?;
        let trailer = RecipeTrailer::decode(&self.read(io, end, HEADER_SIZE)?, recipe, place)?;
        place.expect("blocks of the recipe", block_count(trailer.entry_count), trailer.block_count)?;
        let expected = trailer_offset(trailer.entry_count);
        place.require(expected == Some(end), "place of the trailer", format_args!("{expected:?}"), end)?;
        Ok((header, trailer))
    }

    fn read(&self, io: &mut dyn Io, offset: u64, len: usize) -> Result<gdd_uring::buffer::IoBuf> {
        io::read_at(io, self.file, offset, len).map_err(Error::io("read", &self.path))
    }
}
