//! The good parts of a recipe that cannot be read whole, as streams of their own.
//!
//! Each run of blocks that are good in either copy becomes a stream: an exact stretch of the one that was lost, of
//! which only the place in it is not known. So what it needs is needed by a stream again, and is not freed before somebody
//! gives that up.
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
        let mut stretch = Stretch::default();
        let copied = loop {
            if let Err(error) = lines.iter().try_for_each(|line| stretch.take(io, &mut writer, *line)) {
                break Err(error);
            }
            block += 1;
            match rest.block(io, block, &mut lines) {
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

/// What was read of a run and is not written: marks, and pieces before all that they describe. At a run's edges marks
/// may be there without their pieces, and slices without their marks; neither can be checked, so they are left out.
#[derive(Default)]
struct Stretch {
    lines: Vec<Line>,
    /// Bytes that the marks describe, and that the pieces behind them have.
    marked: u64,
    pieced: u64,
}

impl Stretch {
    fn take(&mut self, io: &mut dyn Io, writer: &mut RecipeWriter, line: Line) -> Result<()> {
        match line {
            Line::Piece(entry) if self.lines.is_empty() => {
                return if entry.slice { Ok(()) } else { writer.push_entry(io, entry) };
            }
            Line::Piece(entry) => self.pieced += entry.bytes(),
            Line::Mark(mark) => self.marked += u64::from(mark.length),
        }
        self.lines.push(line);
        if self.pieced < self.marked {
            return Ok(());
        }
        (self.marked, self.pieced) = (0, 0);
        self.lines.drain(..).try_for_each(|line| match line {
            Line::Piece(entry) => writer.push_entry(io, entry),
            Line::Mark(mark) => writer.push_mark(io, mark),
        })
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
