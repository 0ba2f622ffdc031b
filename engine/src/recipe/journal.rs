//! What is known so far of a stream that has no end yet, so that a crash does not take what others rely on.
//!
//! Several jobs write to one Bacula volume at once, and a restore of one reads over the blocks of the others. So what a
//! job was told to be safe must be readable also when another job, in the middle of its stream, dies with the daemon.
//! A journal holds the entries of such a stream as they become durable; recovery makes a recipe of it.
//!
//! Both copies are a header block, as a recipe's, and blocks of entries, each as short as it may be and behind the one
//! before: nothing is written twice, so what was secured stays secured.
//!
//! # Invariants
//! - An entry is pushed only when its chunk is durable.
//! - There are no files before the first [`Journal::secure`], and none after the recipe has its row in the index.
//!
//! # Crash consistency
//! blocks -> data sync of both copies (-> sync of both directories, the first time) -> secured. Recovery reads each
//! copy up to its first bad block, takes the longer one, writes the recipe, names it in the index, and only then
//! removes the journal; so it may crash anywhere and be run again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gdd_uring::io::{self, Io, Open};

use crate::error::{Error, Result};
use crate::format::recipe::RecipeHeader;
use crate::format::recipe_block::{
    self, Line, RECIPE_BLOCK_ENTRIES, RECIPE_BLOCK_SIZE, RecipeEntry, encode_into, encoded_len,
};
use crate::format::{HEADER_SIZE, Place, StoreId};
use crate::ids::{ChunkHash, RecipeId};
use crate::planted::{self, Bug};

use super::pair::{self, Target};
use super::{Side, set};

/// File name extension of a journal.
pub const JOURNAL_EXTENSION: &str = "gdj";

/// See the module.
#[derive(Debug)]
pub struct Journal {
    recipes: PathBuf,
    header: RecipeHeader,
    /// Empty until the first entries are secured.
    targets: Vec<Target>,
    written: u64,
    block_seq: u64,
    /// Not yet written.
    entries: Vec<RecipeEntry>,
}

impl Journal {
    /// Of the stream that `header` names; below the directory `recipes`.
    #[must_use]
    pub fn new(recipes: &Path, header: RecipeHeader) -> Self {
        let recipes = recipes.to_owned();
        Self { recipes, header, targets: Vec::new(), written: 0, block_seq: 0, entries: Vec::new() }
    }

    /// Note a whole chunk that is durable.
    pub fn push(&mut self, hash: ChunkHash, length: u32) {
        if let Some(last) = self.entries.last_mut()
            && (last.hash, last.length) == (hash, length)
            && let Some(repeat) = last.repeat.checked_add(1)
        {
            last.repeat = repeat;
            return;
        }
        self.entries.push(RecipeEntry::whole(hash, length));
    }

    /// Make everything that was pushed survive a crash.
    ///
    /// # Errors
    /// The disk refused; the journal is worth nothing any more.
    pub fn secure(&mut self, io: &mut dyn Io) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let is_new = self.targets.is_empty();
        let mut bytes = Vec::new();
        if is_new {
            self.create(io)?;
            bytes = self.header.encode();
        }
        for entries in self.entries.chunks(RECIPE_BLOCK_ENTRIES) {
            let (start, len) = (bytes.len(), encoded_len(entries.len()));
            bytes.resize(start + len, 0);
            let lines: Vec<Line> = entries.iter().copied().map(Line::Piece).collect();
            encode_into(&mut bytes[start..], self.header.recipe, self.block_seq, &lines);
            self.block_seq += 1;
        }
        self.entries.clear();
        pair::write_all(io, &self.targets, self.written, &bytes)?;
        self.written += bytes.len() as u64;
        if planted::has(Bug::SkipJournalSync) {
            return Ok(());
        }
        pair::sync_all(io, &self.targets)?;
        if is_new { set::sync(io, &self.recipes) } else { Ok(()) }
    }

    /// The stream has its recipe, or is not to be kept: remove the files, as far as the disk lets us; recovery removes
    /// the rest of a stream that has its recipe.
    pub fn remove(self, io: &mut dyn Io) {
        for target in self.targets {
            io.close(target.file);
            let _ = io.unlink(&target.path); // Best effort, as documented.
        }
    }

    /// Leave the files for recovery.
    pub fn leave(self, io: &mut dyn Io) {
        self.targets.into_iter().for_each(|target| io.close(target.file));
    }

    fn create(&mut self, io: &mut dyn Io) -> Result<()> {
        for side in Side::BOTH {
            let path = file(side, &self.recipes, self.header.recipe);
            let file = io.open(&path, Open::Create).map_err(Error::io("create", &path))?;
            self.targets.push(Target { file, path });
        }
        Ok(())
    }
}

/// Both copies of the journal of `recipe`, if there is one.
#[must_use]
pub fn files(recipes: &Path, recipe: RecipeId) -> [PathBuf; 2] {
    Side::BOTH.map(|side| file(side, recipes, recipe))
}

/// One copy of the journal of `recipe`.
fn file(side: Side, recipes: &Path, recipe: RecipeId) -> PathBuf {
    side.directory(recipes).join(format!("{recipe}.{JOURNAL_EXTENSION}"))
}

/// What a journal says: up to its first bad block, of the copy that has more.
///
/// # Errors
/// A newer gdd wrote it, neither copy's header can be read, or the disk failed. Nothing when there is one to be read in
/// both that is none: then nothing was secured.
pub fn read(
    io: &mut dyn Io,
    recipes: &Path,
    recipe: RecipeId,
    store: StoreId,
) -> Result<Option<(RecipeHeader, Vec<RecipeEntry>)>> {
    let (mut best, mut unreadable): (Option<(RecipeHeader, Vec<RecipeEntry>)>, _) = (None, None);
    for side in Side::BOTH {
        let path = file(side, recipes, recipe);
        let copy = match io.open(&path, Open::Read) {
            Ok(copy) => copy,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let found = read_copy(io, copy, &path, recipe, store);
        io.close(copy);
        match found {
            Ok(found) if best.as_ref().is_none_or(|best| bytes_of(&best.1) < bytes_of(&found.1)) => {
                best = Some(found);
            }
            Ok(_) | Err(Error::Corrupt { .. }) => {}
            // No crash leaves a place that the device cannot read: it may have been a good header.
            Err(error) if error.is_damage() => unreadable = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unreadable {
        Some(error) if best.is_none() => Err(error),
        _ => Ok(best),
    }
}

/// The longest stretch of blocks at the start of `len` bytes that `read` gives; nothing when not even the first can be
/// read.
fn readable<T>(mut read: impl FnMut(usize) -> Result<T>, len: usize) -> Result<Option<T>> {
    for blocks in (1..=len / HEADER_SIZE).rev() {
        match read(blocks * HEADER_SIZE) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.is_loss() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Bytes of the stream that `entries` are.
#[must_use]
pub fn bytes_of(entries: &[RecipeEntry]) -> u64 {
    entries.iter().map(RecipeEntry::bytes).sum()
}

fn read_copy(
    io: &mut dyn Io,
    copy: io::FileId,
    path: &Path,
    recipe: RecipeId,
    store: StoreId,
) -> Result<(RecipeHeader, Vec<RecipeEntry>)> {
    let size = io.size(copy).map_err(Error::io("measure", path))?;
    let mut read =
        |offset: u64, len: usize| io::read_at(io, copy, offset, len).map_err(Error::io("read", path));
    let place = Place::new(path, 0);
    place.require(size >= HEADER_SIZE as u64, "journal of a recipe", "a header", size)?;
    let header = RecipeHeader::decode(&read(0, HEADER_SIZE)?, store, recipe, place)?;
    let (mut entries, mut offset) = (Vec::new(), HEADER_SIZE as u64);
    for block_seq in 0.. {
        let left = usize::try_from(size - offset).unwrap_or(usize::MAX).min(RECIPE_BLOCK_SIZE);
        let left = left / HEADER_SIZE * HEADER_SIZE;
        if left == 0 {
            break;
        }
        let Some(block) = readable(|len| read(offset, len), left)? else { break };
        let mut lines = Vec::new();
        match recipe_block::decode(&block, recipe, block_seq, &mut lines, Place::new(path, offset)) {
            Ok(block) => offset += u64::from(block.length),
            Err(Error::Corrupt { .. }) => break,
            Err(error) => return Err(error),
        }
        for line in lines {
            match line {
                Line::Piece(entry) if !entry.slice => entries.push(entry),
                _ => return Err(place.refuse("journal of a recipe", "whole chunks", "a slice or a mark")),
            }
        }
    }
    Ok((header, entries))
}

/// Remove both copies of the journal of `recipe`; `set::sync` makes that durable.
///
/// # Errors
/// The disk refused.
pub fn remove(io: &mut dyn Io, recipes: &Path, recipe: RecipeId) -> Result<()> {
    Side::BOTH.into_iter().try_for_each(|side| set::unlink(io, &file(side, recipes, recipe)))
}
