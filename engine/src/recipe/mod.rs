//! Recipes on disk: what makes a stream of chunks, in two copies.
//!
//! Containers can be rebuilt into an index, but nothing can be rebuilt into a recipe: it alone knows a stream. So
//! each recipe is a file of its own in two directories, every block of it is checked, and a reader takes each block
//! from whichever copy is good.
//!
//! # Invariants
//! - Both copies hold the same bytes, and never change once they have their name.
//! - Block `n` lies at a place computed from `n`, so a good block in one copy stands in for a bad one in the other.
//!
//! # Crash consistency
//! temporary names -> data sync of both -> rename both -> sync both directories -> row in the index -> acknowledged.
//! The chunks were durable before. What a crash leaves: temporary files, removed by recovery; and finished files
//! without a row, whose stream is whole and is adopted. Of a stream that is promised in parts, see [`journal`].

mod ahead;
pub mod journal;
pub mod pair;
pub mod pieces;
pub mod reader;
pub mod recover;
pub mod renew;
pub mod rest;
pub mod set;
#[cfg(test)]
mod tests;
pub mod writer;

pub use journal::Journal;
pub use reader::RecipeReader;
pub use writer::{RecipeTotals, RecipeWriter};

use std::path::{Path, PathBuf};

use crate::format::HEADER_SIZE;
use crate::format::recipe_block::{RECIPE_BLOCK_ENTRIES, RECIPE_BLOCK_SIZE, encoded_len};
use crate::ids::RecipeId;
use crate::paths::TEMPORARY_EXTENSION;

/// File name extension of a recipe.
pub const RECIPE_EXTENSION: &str = "gdr";

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `recipes/a`.
    A,
    /// `recipes/b`.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Its directory below `recipes`.
    #[must_use]
    pub fn directory(self, recipes: &Path) -> PathBuf {
        recipes.join(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }

    /// This copy of `recipe`.
    #[must_use]
    pub fn file(self, recipes: &Path, recipe: RecipeId) -> PathBuf {
        self.directory(recipes).join(format!("{recipe}.{RECIPE_EXTENSION}"))
    }

    /// This copy of `recipe` while it is being written.
    #[must_use]
    pub fn temporary(self, recipes: &Path, recipe: RecipeId) -> PathBuf {
        self.directory(recipes).join(format!("{recipe}.{TEMPORARY_EXTENSION}"))
    }
}

/// Byte offset of block `block_seq` in a recipe file.
fn block_offset(block_seq: u64) -> u64 {
    HEADER_SIZE as u64 + block_seq * RECIPE_BLOCK_SIZE as u64
}

/// Blocks that `entry_count` entries take.
fn block_count(entry_count: u64) -> u64 {
    entry_count.div_ceil(RECIPE_BLOCK_ENTRIES as u64)
}

/// Entries in block `block_seq` of a recipe with `entry_count` entries.
fn entries_in(block_seq: u64, entry_count: u64) -> usize {
    let rest = entry_count.saturating_sub(block_seq.saturating_mul(RECIPE_BLOCK_ENTRIES as u64));
    usize::try_from(rest).unwrap_or(usize::MAX).min(RECIPE_BLOCK_ENTRIES)
}

/// Byte offset of the trailer of a recipe with `entry_count` entries; `None` when no file is that long.
fn trailer_offset(entry_count: u64) -> Option<u64> {
    let Some(last) = block_count(entry_count).checked_sub(1) else { return Some(HEADER_SIZE as u64) };
    let before = last.checked_mul(RECIPE_BLOCK_SIZE as u64)?.checked_add(HEADER_SIZE as u64)?;
    before.checked_add(encoded_len(entries_in(last, entry_count)) as u64)
}
