//! Writing a recipe while its stream is stored: bounded memory, both copies, nothing visible until it is whole.

use std::path::{Path, PathBuf};

use gdd_uring::io::{Io, Open};

use crate::error::{Error, Result};
use crate::format::HEADER_SIZE;
use crate::format::recipe::RecipeHeader;
use crate::format::recipe_block::{
    Line, Mark, RECIPE_BLOCK_ENTRIES, RECIPE_BLOCK_SIZE, RecipeEntry, encode_into, encoded_len, entry_bytes,
};
use crate::format::recipe_trailer::{RecipeTrailer, Tuning};
use crate::ids::ChunkHash;
use crate::index::RecipeRow;
use crate::planted::{self, Bug};
use crate::poison::Poison;

use super::pair::{self, Target};
use super::{Side, block_count, set, trailer_offset};

/// Encoded bytes that are collected before they are written: a short recipe takes one write per copy.
const PENDING_MAX: usize = HEADER_SIZE + RECIPE_BLOCK_SIZE + HEADER_SIZE;

/// What only the ingest pipeline knows of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecipeTotals {
    /// Bytes of the stream that no chunk had before.
    pub new_bytes: u64,
    /// Chunks that were new.
    pub new_chunks: u64,
    /// Bytes that the new chunks take in containers.
    pub stored_bytes: u64,
    /// The chunk tuner's record.
    pub tuning: Tuning,
}

/// See the module. It takes the `Io` with each call, because its thread has but one; end it with
/// [`RecipeWriter::finish`] or [`RecipeWriter::abort`], else its temporary files stay until recovery.
#[derive(Debug)]
pub struct RecipeWriter {
    recipes: PathBuf,
    header: RecipeHeader,
    sides: Vec<Side>,
    /// Whether nothing had the final names before, so that a failure may remove them.
    is_new: bool,
    targets: Vec<Target>,
    /// Encoded, not yet written; belongs at `written`.
    pending: Vec<u8>,
    written: u64,
    /// The block under construction.
    entries: Vec<Line>,
    digest: blake3::Hasher,
    entry_count: u64,
    logical_bytes: u64,
    chunk_count: u64,
}

impl RecipeWriter {
    /// Start both copies of a recipe below the directory `recipes`, under temporary names.
    ///
    /// # Errors
    /// The disk refused.
    pub fn create(io: &mut dyn Io, recipes: &Path, header: RecipeHeader) -> Result<Self> {
        Self::begin(io, recipes, header, &Side::BOTH, true)
    }

    /// Write some copies of an existing recipe anew. The old ones keep their names until the new ones are durable.
    pub(super) fn replace(
        io: &mut dyn Io,
        recipes: &Path,
        header: RecipeHeader,
        sides: &[Side],
    ) -> Result<Self> {
        Self::begin(io, recipes, header, sides, false)
    }

    fn begin(
        io: &mut dyn Io,
        recipes: &Path,
        header: RecipeHeader,
        sides: &[Side],
        is_new: bool,
    ) -> Result<Self> {
        let pending = header.encode();
        let mut writer = Self {
            recipes: recipes.to_owned(),
            header,
            sides: sides.to_vec(),
            is_new,
            targets: Vec::with_capacity(sides.len()),
            pending,
            written: 0,
            entries: Vec::with_capacity(RECIPE_BLOCK_ENTRIES),
            digest: blake3::Hasher::new(),
            entry_count: 0,
            logical_bytes: 0,
            chunk_count: 0,
        };
        for side in sides {
            let path = side.temporary(recipes, writer.header.recipe);
            match io.open(&path, Open::Create) {
                Ok(file) => writer.targets.push(Target { file, path }),
                Err(error) => {
                    writer.abort(io);
                    return Err(Error::io("create", &path)(error));
                }
            }
        }
        Ok(writer)
    }

    /// Append all of the chunk `hash`, which has `length` bytes. See [`RecipeWriter::push_entry`].
    ///
    /// # Errors
    /// The disk refused: abort.
    pub fn push(&mut self, io: &mut dyn Io, hash: ChunkHash, length: u32) -> Result<()> {
        self.push_entry(io, RecipeEntry::whole(hash, length))
    }

    /// Append a piece. One like the last one only makes it repeat. Writes when enough has come together.
    ///
    /// # Errors
    /// The disk refused: abort.
    pub fn push_entry(&mut self, io: &mut dyn Io, entry: RecipeEntry) -> Result<()> {
        self.logical_bytes += entry.bytes();
        self.chunk_count += u64::from(entry.repeat);
        if let Some(Line::Piece(last)) = self.entries.last_mut()
            && last.is_like(&entry)
            && let Some(repeat) = last.repeat.checked_add(entry.repeat)
        {
            last.repeat = repeat;
            return Ok(());
        }
        self.push_line(io, Line::Piece(entry))
    }

    /// Append a mark for the bytes that follow.
    ///
    /// # Errors
    /// The disk refused: abort.
    pub fn push_mark(&mut self, io: &mut dyn Io, mark: Mark) -> Result<()> {
        self.push_line(io, Line::Mark(mark))
    }

    /// Append a line of another recipe. See [`RecipeWriter::push_entry`].
    ///
    /// # Errors
    /// The disk refused: abort.
    pub(super) fn push_again(&mut self, io: &mut dyn Io, line: Line) -> Result<()> {
        match line {
            Line::Piece(entry) => self.push_entry(io, entry),
            Line::Mark(mark) => self.push_mark(io, mark),
        }
    }

    fn push_line(&mut self, io: &mut dyn Io, line: Line) -> Result<()> {
        if self.entries.len() == RECIPE_BLOCK_ENTRIES {
            self.close_block();
            if self.pending.len() + RECIPE_BLOCK_SIZE + HEADER_SIZE > PENDING_MAX {
                self.flush(io)?;
            }
        }
        self.entries.push(line);
        Ok(())
    }

    /// Make both copies whole and durable under their names. The stream's chunks must be durable already.
    ///
    /// # Errors
    /// The disk refused. What was begun is removed; where that cannot be made durable, a crash may bring a whole recipe
    /// of a stream that nobody was told of. Recovery would keep it, so nothing that it needs may be freed until then:
    /// `poison` is set.
    pub fn finish(mut self, io: &mut dyn Io, totals: RecipeTotals, poison: &Poison) -> Result<RecipeRow> {
        match self.write_rest(io, totals) {
            Ok(trailer) => {
                let row = RecipeRow::new(&self.header, &trailer);
                self.publish(io, poison).map(|()| row)
            }
            Err(error) => {
                self.abort(io);
                Err(error)
            }
        }
    }

    /// Remove the temporary files, as far as the disk lets us; recovery removes the rest.
    pub fn abort(self, io: &mut dyn Io) {
        for target in self.targets {
            io.close(target.file);
            let _ = io.unlink(&target.path); // Best effort, as documented.
        }
    }

    fn write_rest(&mut self, io: &mut dyn Io, totals: RecipeTotals) -> Result<RecipeTrailer> {
        self.close_block();
        let trailer = RecipeTrailer {
            recipe: self.header.recipe,
            block_count: block_count(self.entry_count),
            entry_count: self.entry_count,
            logical_bytes: self.logical_bytes,
            chunk_count: self.chunk_count,
            new_bytes: totals.new_bytes,
            new_chunks: totals.new_chunks,
            stored_bytes: totals.stored_bytes,
            digest: *self.digest.finalize().as_bytes(),
            tuning: totals.tuning,
        };
        let end = self.written + self.pending.len() as u64;
        assert_eq!(Some(end), trailer_offset(self.entry_count), "the trailer lies where readers look for it");
        self.pending.extend(trailer.encode());
        self.flush(io)?;
        pair::sync_all(io, &self.targets)?;
        Ok(trailer)
    }

    /// Give the finished files their names.
    fn publish(self, io: &mut dyn Io, poison: &Poison) -> Result<()> {
        self.targets.iter().for_each(|target| io.close(target.file));
        self.rename(io).inspect_err(|_| {
            // Nobody was told of a new stream, and nobody shall be: not even after a crash.
            let named = self.sides.iter().filter(|_| self.is_new);
            let named = named.map(|side| side.file(&self.recipes, self.header.recipe));
            let temporary = self.targets.iter().map(|target| target.path.clone());
            let gone = named.chain(temporary).try_for_each(|path| set::unlink(io, &path));
            if let Err(error) = gone.and_then(|()| self.sync_names(io)) {
                give_up(poison, &error);
            }
        })?;
        // After a failure no later sync says anything of these names.
        self.sync_names(io).inspect_err(|error| give_up(poison, error))
    }

    fn rename(&self, io: &mut dyn Io) -> Result<()> {
        for (side, target) in self.sides.iter().zip(&self.targets) {
            let named = side.file(&self.recipes, self.header.recipe);
            io.rename(&target.path, &named).map_err(Error::io("rename", &target.path))?;
        }
        Ok(())
    }

    fn sync_names(&self, io: &mut dyn Io) -> Result<()> {
        for side in &self.sides {
            let directory = side.directory(&self.recipes);
            io.sync_dir(&directory).map_err(Error::io("sync", &directory))?;
        }
        Ok(())
    }

    fn close_block(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let (start, len) = (self.pending.len(), encoded_len(self.entries.len()));
        self.pending.resize(start + len, 0);
        let block = &mut self.pending[start..];
        encode_into(block, self.header.recipe, block_count(self.entry_count), &self.entries);
        let count = u32::try_from(self.entries.len()).expect("a block holds few entries");
        self.digest.update(entry_bytes(block, count));
        self.entry_count += u64::from(count);
        self.entries.clear();
    }

    fn flush(&mut self, io: &mut dyn Io) -> Result<()> {
        pair::write_all(io, &self.targets, self.written, &self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// A crash may bring the stream back: nothing that it needs may be freed until then.
fn give_up(poison: &Poison, error: &Error) {
    if !planted::has(Bug::GiveUpUnsynced) {
        poison.set(error);
    }
}
