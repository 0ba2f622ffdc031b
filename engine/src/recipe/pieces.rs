//! The good parts of a recipe that cannot be read whole, as streams of their own.
//!
//! Each run of blocks that are good in either copy becomes a stream: an exact stretch of the one that was lost, of
//! which only the place in it is not known. So what it needs is needed by a stream again, and is not freed before
//! somebody gives that up.
//!
//! Where a stream is made of slices, a run begins behind those whose marks are lost, and ends before those of which a
//! part is: what is kept can be proved.
//!
//! # Crash consistency
//! A piece is a recipe like any other: durable, then named in the index. Cut off and run again, it makes pieces of
//! other names beside those that there are.

use gdd_uring::io::Io;

use crate::core::Core;
use crate::error::Result;
use crate::format::recipe::{ChunkParams, Owner, RecipeHeader, name_problem};
use crate::format::recipe_block::Line;
use crate::ids::RecipeId;
use crate::index::{Batch, RecipeRow};

use super::rest::Rest;
use super::{RecipeTotals, RecipeWriter};

/// What the pieces of a stream are called: this, its name, and a number.
const PREFIX: &str = "salvaged/";
/// Bytes that a number takes, with its slash.
const NUMBER_LEN: usize = 12;

/// A stretch of a stream whose recipe is lost in parts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Piece {
    /// The stream that it is now.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Keep what is left of `recipe`, the recipe of the stream called `name`. Pieces are in the order of the stream.
///
/// # Errors
/// The disk or the index failed.
pub fn keep(core: &Core, io: &mut dyn Io, name: &str, recipe: RecipeId) -> Result<Vec<Piece>> {
    let mut rest = Rest::open(io, &core.paths.recipes(), recipe, core.store)?;
    let kept = all(core, io, name, recipe, &mut rest);
    rest.close(io);
    kept
}

fn all(core: &Core, io: &mut dyn Io, name: &str, recipe: RecipeId, rest: &mut Rest) -> Result<Vec<Piece>> {
    let long = format!("{PREFIX}{name}{}", "/".repeat(NUMBER_LEN));
    let base = if name_problem(&long).is_none() { name.to_owned() } else { recipe.to_string() };
    let (mut pieces, mut lines, mut block, mut number) = (Vec::new(), Vec::new(), 0, 0);
    while block < rest.block_count {
        if !rest.block(io, block, &mut lines)? {
            block += 1;
            continue;
        }
        let name = free_name(core, &base, &mut number)?;
        let mut writer = RecipeWriter::create(io, &core.paths.recipes(), header(core, name, rest))?;
        let mut sieve = Sieve::default();
        drop(lines.drain(..unproved(&lines)));
        let copied = loop {
            sieve.take(&lines);
            if let Err(error) = sieve.ready.drain(..).try_for_each(|line| writer.push_again(io, line)) {
                break Err(error);
            }
            block += 1;
            match rest.block(io, block, &mut lines) {
                Ok(true) if sieve.marked_until == 0 && unproved(&lines) > 0 => break Ok(()),
                Ok(true) if block < rest.block_count => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = copied {
            writer.abort(io);
            return Err(error);
        }
        let row = writer.finish(io, RecipeTotals::default(), &core.poison)?;
        let RecipeRow { name, logical_bytes: bytes, .. } = row.clone();
        core.index.commit(Batch { recipes: vec![row], ..Batch::default() })?;
        pieces.push(Piece { name, bytes });
    }
    Ok(pieces)
}

/// Lines at the start of a block up to the last slice that no mark in it describes.
fn unproved(lines: &[Line]) -> usize {
    let first = lines.iter().position(|line| matches!(line, Line::Mark(_))).unwrap_or(lines.len());
    let slice = |line: &Line| matches!(line, Line::Piece(entry) if entry.slice);
    lines[..first].iter().rposition(slice).map_or(0, |last| last + 1)
}

/// Holds lines back until all that their marks describe is there.
#[derive(Default)]
struct Sieve {
    at: u64,
    marked_until: u64,
    held: Vec<Line>,
    ready: Vec<Line>,
}

impl Sieve {
    fn take(&mut self, lines: &[Line]) {
        for line in lines {
            self.held.push(*line);
            match line {
                Line::Mark(mark) => {
                    self.marked_until = self.marked_until.max(self.at).saturating_add(mark.length.into());
                }
                Line::Piece(entry) => self.at = self.at.saturating_add(entry.bytes()),
            }
            if self.at >= self.marked_until {
                self.ready.append(&mut self.held);
            }
        }
    }
}

/// The next name that no stream has.
fn free_name(core: &Core, base: &str, number: &mut u64) -> Result<String> {
    loop {
        *number += 1;
        let name = format!("{PREFIX}{base}/{number}");
        if core.index.recipe(&name)?.is_none() {
            return Ok(name);
        }
    }
}

/// Of a stream of nobody but the operator, and no later version of any other.
fn header(core: &Core, name: String, rest: &Rest) -> RecipeHeader {
    let old = rest.header.as_ref();
    RecipeHeader {
        store: core.store,
        recipe: core.next_recipe(),
        created_epoch: core.epoch,
        created_unix: old.map_or(0, |header| header.created_unix),
        name,
        params: old.map_or_else(ChunkParams::default, |header| header.params),
        owner: Owner::Manual,
        lineage: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::recipe_block::{Mark, RecipeEntry};
    use crate::ids::ChunkHash;

    #[test]
    fn slices_are_kept_with_all_of_their_marks_or_not_at_all() {
        let hash = ChunkHash([7; 32]);
        let whole = Line::Piece(RecipeEntry::whole(hash, 100));
        let slice =
            |length| Line::Piece(RecipeEntry { hash, chunk_offset: 5, length, repeat: 1, slice: true });
        let mark = |length| Line::Mark(Mark { hash, length });
        let mut lines = vec![slice(1), whole, slice(2), whole, mark(20), mark(10), slice(30), whole];
        lines.extend([mark(20), slice(10)]);
        assert_eq!(unproved(&lines), 3, "the marks of the first slices are lost");
        let (first, rest) = lines[3..].split_at(2);
        let mut sieve = Sieve::default();
        sieve.take(first);
        assert_eq!(sieve.ready, [whole]);
        sieve.take(rest);
        assert_eq!(sieve.ready, [whole, mark(20), mark(10), slice(30), whole]);
        assert_eq!(sieve.held, [mark(20), slice(10)], "the rest of these is lost");
        assert_eq!(unproved(&[whole, mark(20), slice(10)]), 0);
    }
}
