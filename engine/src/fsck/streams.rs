//! Streams: both copies of every recipe, and every chunk that a recipe names.

use std::collections::BTreeSet;

use super::report::AffectedStream;
use super::{Check, Part};
use crate::error::{Error, Result};
use crate::format::recipe_block::RecipeEntry;
use crate::ids::{ChunkHash, RecipeId};
use crate::index::{RecipeRow, RecipeState, Status};
use crate::recipe::journal::JOURNAL_EXTENSION;
use crate::recipe::{RecipeReader, Side, set};

impl Check<'_> {
    pub(super) fn streams(&mut self) -> Result<()> {
        let rows = self.index.recipes()?;
        let listing = set::list(self.io, &self.paths.recipes())?;
        for path in &listing.foreign {
            self.report.warn(Part::Foreign, path, 0, "not a file of this store".to_owned());
        }
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
            let path = Side::A.file(&self.paths.recipes(), *recipe);
            let what = "belongs to no stream: the next opening for writing settles it";
            self.report.warn(Part::Unsettled, &path, 0, what.to_owned());
        }
        for row in rows.iter().filter(|row| row.state == RecipeState::Live) {
            self.report.streams += 1;
            self.copies(row, listing.recipes.get(&row.recipe).copied().unwrap_or_default())?;
            if self.level >= 3 {
                self.chunks_of(row)?;
            }
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
                    Err(error) => Some(error.to_string()),
                },
            };
            match what {
                None => good += 1,
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
            Ok((0, 0)) => Ok(()),
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
                    Some(_) if self.report.bad.contains_key(&entry.hash) => Some("damaged"),
                    Some(_) => None,
                };
                let Some(why) = why else { continue };
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
        let path = Side::A.file(&self.paths.recipes(), row.recipe);
        match error {
            Error::Corrupt { .. } | Error::Version { .. } | Error::Io { .. } => {
                self.report.damage(Part::Recipe, &path, 0, format!("recipe of {:?}: {error}", row.name));
                self.lost(
                    row,
                    row.logical_bytes,
                    row.chunk_count,
                    error.is_loss() && !matches!(error, Error::Version { .. }),
                );
                Ok(())
            }
            other => Err(other),
        }
    }

    fn lost(&mut self, row: &RecipeRow, bytes_lost: u64, chunks_lost: u64, recipe_lost: bool) {
        let name = row.name.clone();
        self.report.affect(AffectedStream { name, bytes_lost, chunks_lost, recipe_lost });
    }
}
