//! What is needed: every chunk that a stream's recipe names.

use std::collections::HashSet;
use std::time::Instant;

use gdd_uring::io::Io;

use super::Vacuum;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::filter::set::ChunkSet;
use crate::ids::{ChunkHash, RecipeId};
use crate::index::{RecipeRow, RecipeState};
use crate::recipe::RecipeReader;

/// Chunks beyond the index's estimate that there is room for.
const ROOM_SPARE: u64 = 1024;

/// Chunks that streams need, and the streams that were asked.
pub(super) struct Needed {
    chunks: ChunkSet,
    streams: HashSet<RecipeId>,
}

impl Needed {
    /// Nothing yet, with room for the chunks of a store that has `chunks`.
    pub(super) fn new(chunks: u64) -> Self {
        Self { chunks: ChunkSet::new(chunks / 4 * 5 + ROOM_SPARE), streams: HashSet::new() }
    }

    /// Whether a stream may need it.
    pub(super) fn may_have(&self, hash: &ChunkHash) -> bool {
        self.chunks.may_have(hash)
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.chunks.memory_bytes()
    }
}

impl Vacuum<'_> {
    /// Mark what the streams need that have come since the last time. What was marked stays so in this run, although
    /// its stream may have been removed meanwhile.
    pub(super) fn mark(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut rows = self.core.index.recipes()?;
        rows.retain(|row| row.state == RecipeState::Live && !self.needed.streams.contains(&row.recipe));
        let total = rows.iter().map(|row| row.logical_bytes).sum();
        let mut done = 0;
        for row in rows {
            self.pace.check()?;
            self.tell("mark", done, Some(total));
            done += row.logical_bytes;
            match mark_stream(self.core, self.io.as_mut(), &row, &self.needed.chunks) {
                Ok(()) => self.report.streams += 1,
                Err(_) if self.is_gone(&row)? => {}
                Err(error) => return Err(unreadable(&row, &error)),
            }
            self.needed.streams.insert(row.recipe);
        }
        self.tell("mark", done, Some(total));
        self.report.seconds_marking += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Whether a stream names a chunk that the index looks for nowhere, which takes a look-up of everything; once in a
    /// run, and only in a damaged store. What was missed and is stored meanwhile still counts.
    pub(super) fn misses_some(&mut self) -> Result<bool> {
        if let Some(misses) = self.misses {
            return Ok(misses);
        }
        let (core, mut found) = (self.core, Vec::new());
        let misses = self.any_block(&mut |hashes| {
            core.index.locate(hashes, &mut found)?;
            Ok(found.iter().any(Option::is_none))
        })?;
        Ok(*self.misses.insert(misses))
    }

    /// Whether a stream names one of `chunks`; reads every recipe, if there are any.
    pub(super) fn is_named(&mut self, chunks: &HashSet<ChunkHash>) -> Result<bool> {
        if chunks.is_empty() {
            return Ok(false);
        }
        self.any_block(&mut |hashes| Ok(hashes.iter().any(|hash| chunks.contains(hash))))
    }

    /// Whether `look` says so of a block of a stream's recipe.
    fn any_block(&mut self, look: &mut dyn FnMut(&[ChunkHash]) -> Result<bool>) -> Result<bool> {
        for row in self.core.index.recipes()?.into_iter().filter(|row| row.state == RecipeState::Live) {
            self.pace.check()?;
            let mut any = false;
            let read = for_each_block(self.core, self.io.as_mut(), &row, &mut |hashes| {
                any = any || look(hashes)?;
                Ok(())
            });
            match read {
                Err(error) if !self.is_gone(&row)? => return Err(unreadable(&row, &error)),
                _ if any => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Whether the stream was removed while it was read.
    fn is_gone(&self, row: &RecipeRow) -> Result<bool> {
        let now = self.core.index.recipe(&row.name)?;
        Ok(now.is_none_or(|now| now.recipe != row.recipe || now.state != RecipeState::Live))
    }
}

fn mark_stream(core: &Core, io: &mut dyn Io, row: &RecipeRow, chunks: &ChunkSet) -> Result<()> {
    for_each_block(core, io, row, &mut |hashes| {
        hashes.iter().for_each(|hash| chunks.insert(hash));
        Ok(())
    })
}

/// Visit the chunks of a stream, a block of its recipe after another.
fn for_each_block(
    core: &Core,
    io: &mut dyn Io,
    row: &RecipeRow,
    visit: &mut dyn FnMut(&[ChunkHash]) -> Result<()>,
) -> Result<()> {
    let mut reader = RecipeReader::open(io, &core.paths.recipes(), row.recipe, core.store)?;
    let (mut entries, mut hashes) = (Vec::new(), Vec::new());
    let whole = loop {
        entries.clear();
        match reader.next_block(io, &mut entries) {
            Ok(true) => {
                hashes.clear();
                hashes.extend(entries.iter().map(|entry| entry.hash));
                if let Err(error) = visit(&hashes) {
                    break Err(error);
                }
            }
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    reader.close(io);
    whole
}

fn unreadable(row: &RecipeRow, error: &Error) -> Error {
    let name = &row.name;
    Error::Invalid(format!(
        "nothing is freed: what stream {name:?} needs cannot be told ({error}); `gdd fsck` says what is wrong with it, \
         and once it is given up with `gdd rm` the vacuum goes on"
    ))
}
