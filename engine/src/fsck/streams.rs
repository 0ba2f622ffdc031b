//! Streams: both copies of every recipe, and every chunk that a recipe names.

use std::collections::BTreeSet;

use super::report::AffectedStream;
use super::{Check, Part};
use crate::error::{Error, Result};
use crate::format::recipe_block::RecipeEntry;
use crate::ids::{ChunkHash, RecipeId};
use crate::index::{RecipeRow, RecipeState, Status};
use crate::recipe::journal::JOURNAL_EXTENSION;
use crate::recipe::set::Listing;
use crate::recipe::{RecipeReader, Side, rest, set};

impl Check<'_> {
    pub(super) fn streams(&mut self) -> Result<()> {
        let rows = self.index.recipes()?;
        let listing = set::list(self.io, &self.paths.recipes())?;
        for path in &listing.foreign {
            self.report.warn(Part::Foreign, path, 0, "not a file of this store".to_owned());
        }
        if self.beside.is_none() {
            self.unsettled(&rows, &listing)?;
        }
        for row in rows.iter().filter(|row| row.state == RecipeState::Live) {
            self.demand_time()?;
            self.report.streams += 1;
            self.copies(row, listing.recipes.get(&row.recipe).copied().unwrap_or_default())?;
            if self.level >= 3 {
                self.chunks_of(row)?;
            }
        }
        Ok(())
    }

    /// What a crash left, and what is on its way in a store that is at work.
    fn unsettled(&mut self, rows: &[RecipeRow], listing: &Listing) -> Result<()> {
        for path in &listing.temporary {
            let what = "not a finished recipe: the next opening for writing settles it";
            self.report.warn(Part::Unsettled, path, 0, what.to_owned());
        }
        for recipe in &listing.journals {
            let path = Side::A.directory(&self.paths.recipes()).join(format!("{recipe}.{JOURNAL_EXTENSION}"));
            let what = "of a stream that was not finished: the next opening for writing keeps what it says";
            self.report.warn(Part::Unsettled, &path, 0, what.to_owned());
        }
        let known: BTreeSet<RecipeId> = rows.iter().map(|row| row.recipe).collect();
        for recipe in listing.recipes.keys().filter(|recipe| !known.contains(recipe)) {
            self.unlisted(*recipe)?;
        }
        Ok(())
    }

    /// A recipe that the index does not know: of a stream that was not acknowledged when the store crashed, or one that
    /// the index has lost. No crash leaves one that cannot be read.
    fn unlisted(&mut self, recipe: RecipeId) -> Result<()> {
        let recipes = self.paths.recipes();
        let path = Side::A.file(&recipes, recipe);
        let read = (self.level > 0).then(|| set::check(self.io, &recipes, recipe, self.store));
        match read.transpose() {
            Ok(_) => {
                let what =
                    "belongs to no stream: the next opening after a crash, or `gdd rebuild-index`, adopts it";
                self.report.warn(Part::Unsettled, &path, 0, what.to_owned());
            }
            Err(error) if error.is_loss() => {
                let what = format!("belongs to no stream, and cannot be read: {error}");
                self.report.damage(Part::RecipeUnlisted, &path, 0, what);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Both copies of one recipe, each by itself.
    fn copies(&mut self, row: &RecipeRow, sizes: [Option<u64>; 2]) -> Result<()> {
        let recipes = self.paths.recipes();
        let mut good = 0;
        for (side, size) in Side::BOTH.into_iter().zip(sizes) {
            let path = side.file(&recipes, row.recipe);
            let what = match size {
                None => Some("missing".to_owned()),
                Some(_) if self.level == 0 => None,
                Some(_) => match set::check_copy(self.io, &recipes, row.recipe, self.store, side) {
                    Ok(()) => None,
                    Err(error) if error.is_loss() => Some(error.to_string()),
                    Err(error) => return Err(error),
                },
            };
            match what {
                None => good += 1,
                Some(_) if self.is_gone(row)? => return Ok(()),
                Some(what) => self.report.damage(
                    Part::RecipeCopy,
                    &path,
                    0,
                    format!("copy of the recipe of {:?}: {what}", row.name),
                ),
            }
        }
        // With no good copy, what is good of both may still give the whole; level 3 tries that.
        if good == 0 && self.level < 3 {
            self.lost(row, row.logical_bytes, row.chunk_count, false);
        }
        Ok(())
    }

    /// Every chunk of one stream must be in the index, usable, and not found bad.
    fn chunks_of(&mut self, row: &RecipeRow) -> Result<()> {
        let mut reader = match RecipeReader::open(self.io, &self.paths.recipes(), row.recipe, self.store) {
            Ok(reader) => reader,
            Err(error) => return self.unreadable(row, error),
        };
        let outcome = self.entries_of(row, &mut reader);
        reader.close(self.io);
        match outcome {
            Ok((0, 0)) => {
                if rest::is_makeshift(row) {
                    let path = Side::A.file(&self.paths.recipes(), row.recipe);
                    let what =
                        format!("{:?} can be read again: the next opening for writing says so", row.name);
                    self.report.warn(Part::Unsettled, &path, 0, what);
                }
                Ok(())
            }
            Ok((bytes, chunks)) => {
                self.lost(row, bytes, chunks, false);
                Ok(())
            }
            Err(error) => self.unreadable(row, error),
        }
    }

    /// Bytes and chunks of the stream that are lost.
    fn entries_of(&mut self, row: &RecipeRow, reader: &mut RecipeReader) -> Result<(u64, u64)> {
        let (mut bytes, mut chunks) = (0, 0);
        let mut entries: Vec<RecipeEntry> = Vec::new();
        let mut found = Vec::new();
        let path = Side::A.file(&self.paths.recipes(), row.recipe);
        while reader.next_block(self.io, &mut entries)? {
            self.demand_time()?;
            let hashes: Vec<ChunkHash> = entries.iter().map(|entry| entry.hash).collect();
            self.index.locate(&hashes, &mut found)?;
            for (entry, located) in entries.iter().zip(&found) {
                let end = u64::from(entry.chunk_offset) + u64::from(entry.length);
                let why = match located {
                    None => Some("not in the index; run `gdd rebuild-index`"),
                    Some(chunk) if chunk.status != Status::Live => Some("marked as unusable"),
                    Some(chunk) if u64::from(chunk.raw_len) < end => Some("shorter than the recipe says"),
                    Some(chunk) if !entry.slice && u64::from(chunk.raw_len) > end => {
                        Some("longer than the recipe says")
                    }
                    Some(chunk) if self.is_bad(entry.hash, chunk) => Some("damaged"),
                    Some(_) => None,
                };
                let Some(why) = why else { continue };
                if self.is_gone(row)? {
                    return Ok((0, 0)); // Then its chunks may go, too.
                }
                bytes += entry.bytes();
                chunks += u64::from(entry.repeat);
                if self.report.bad_chunk(entry.hash, why.to_owned()) {
                    self.report.chunks_unknown += u64::from(located.is_none());
                    self.report.damage(
                        Part::Chunk,
                        &path,
                        0,
                        format!("chunk {} of {:?}: {why}", entry.hash, row.name),
                    );
                }
            }
            entries.clear();
        }
        Ok((bytes, chunks))
    }

    fn unreadable(&mut self, row: &RecipeRow, error: Error) -> Result<()> {
        if self.is_gone(row)? {
            return Ok(());
        }
        let path = Side::A.file(&self.paths.recipes(), row.recipe);
        if !error.is_loss() {
            return Err(error);
        }
        self.report.damage(Part::Recipe, &path, 0, format!("recipe of {:?}: {error}", row.name));
        self.lost(row, row.logical_bytes, row.chunk_count, error.is_damage());
        Ok(())
    }

    fn lost(&mut self, row: &RecipeRow, bytes_lost: u64, chunks_lost: u64, recipe_lost: bool) {
        let name = row.name.clone();
        self.report.affect(AffectedStream { name, bytes_lost, chunks_lost, recipe_lost });
    }
}
