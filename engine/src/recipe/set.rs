//! The recipes of a store as files: which exist, in which copies, and how to remove or restore them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::recipe::RecipeHeader;
use crate::format::recipe_trailer::RecipeTrailer;
use crate::ids::RecipeId;
use crate::index::RecipeRow;
use crate::paths::TEMPORARY_EXTENSION;
use crate::poison::Poison;

use super::journal::{self, JOURNAL_EXTENSION};
use super::{RECIPE_EXTENSION, RecipeReader, RecipeTotals, RecipeWriter, Side, rest};

/// Both directories below `recipes`.
#[must_use]
pub fn directories(recipes: &Path) -> [PathBuf; 2] {
    Side::BOTH.map(|side| side.directory(recipes))
}

/// What lies in the recipe directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Every recipe that has a file, with the length of each copy.
    pub recipes: BTreeMap<RecipeId, [Option<u64>; 2]>,
    /// Unfinished files.
    pub temporary: Vec<PathBuf>,
    /// Recipes that have a journal.
    pub journals: BTreeSet<RecipeId>,
    /// Files that are not ours.
    pub foreign: Vec<PathBuf>,
}

/// List both directories. Reads no file.
///
/// # Errors
/// A directory cannot be read.
pub fn list(io: &mut dyn Io, recipes: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    for (slot, directory) in directories(recipes).into_iter().enumerate() {
        for entry in io.list(&directory).map_err(Error::io("list", &directory))? {
            let stem_of =
                |extension| entry.name.strip_suffix(extension)?.strip_suffix('.').and_then(RecipeId::parse);
            if let Some(recipe) = stem_of(RECIPE_EXTENSION) {
                listing.recipes.entry(recipe).or_default()[slot] = Some(entry.size);
            } else if let Some(recipe) = stem_of(JOURNAL_EXTENSION) {
                listing.journals.insert(recipe);
            } else if stem_of(TEMPORARY_EXTENSION).is_some() {
                listing.temporary.push(directory.join(&entry.name));
            } else {
                listing.foreign.push(directory.join(&entry.name));
            }
        }
    }
    Ok(listing)
}

/// Remove both copies of `recipe`, durably, and what may be left of its journal, from which recovery would make it
/// anew. What is gone already is fine, so that it can be run again.
///
/// # Errors
/// The disk refused.
pub fn remove(io: &mut dyn Io, recipes: &Path, recipe: RecipeId) -> Result<()> {
    for side in Side::BOTH {
        unlink(io, &side.file(recipes, recipe))?;
    }
    journal::remove(io, recipes, recipe)?;
    sync(io, recipes)
}

/// Remove unfinished files, durably. Only while no writer is at work. Returns how many there were.
///
/// # Errors
/// The disk refused.
pub fn remove_temporary(io: &mut dyn Io, recipes: &Path, listing: &Listing) -> Result<usize> {
    for path in &listing.temporary {
        unlink(io, path)?;
    }
    if !listing.temporary.is_empty() {
        sync(io, recipes)?;
    }
    Ok(listing.temporary.len())
}

/// A recipe read to its end.
#[derive(Debug)]
pub struct Checked {
    /// Its header.
    pub header: RecipeHeader,
    /// Its trailer, which the entries add up to.
    pub trailer: RecipeTrailer,
    /// Copies that are bad, and how.
    pub damage: Vec<(Side, Error)>,
}

/// Read all of `recipe`, from both copies as far as they are good.
///
/// # Errors
/// Neither copy, nor what is good of both, gives the whole recipe.
pub fn check(io: &mut dyn Io, recipes: &Path, recipe: RecipeId, store: StoreId) -> Result<Checked> {
    let mut reader = RecipeReader::open(io, recipes, recipe, store)?;
    let whole = reader.check(io);
    let (header, trailer) = (reader.header().clone(), reader.trailer().clone());
    let damage = reader.take_damage();
    reader.close(io);
    whole.map(|()| Checked { header, trailer, damage })
}

/// Check each copy of `recipe` to its end, and write bad or missing ones anew, from what is good. Returns the copies
/// that were written.
///
/// # Errors
/// The recipe cannot be read, see [`check`]; nothing was changed then. Or the disk refused the new copy.
pub fn repair(io: &mut dyn Io, recipes: &Path, recipe: RecipeId, store: StoreId) -> Result<Vec<Side>> {
    let mut bad = Vec::new();
    for side in Side::BOTH {
        match check_copy(io, recipes, recipe, store, side) {
            Ok(()) => {}
            Err(error) if error.is_damage() => bad.push(side),
            Err(error) => return Err(error),
        }
    }
    if bad.is_empty() {
        return Ok(bad);
    }
    let checked = check(io, recipes, recipe, store)?;
    for side in &bad {
        unlink(io, &side.temporary(recipes, recipe))?;
    }
    let mut reader = RecipeReader::open(io, recipes, recipe, store)?;
    let copied = copy(io, recipes, &mut reader, &bad);
    reader.close(io);
    let row = copied?;
    assert_eq!(row, RecipeRow::new(&checked.header, &checked.trailer), "a copy says what the original says");
    Ok(bad)
}

/// Check one copy of `recipe` to its end.
///
/// # Errors
/// It is missing or damaged.
pub fn check_copy(
    io: &mut dyn Io,
    recipes: &Path,
    recipe: RecipeId,
    store: StoreId,
    side: Side,
) -> Result<()> {
    let mut reader = RecipeReader::open_copy(io, recipes, recipe, store, side)?;
    let whole = reader.check(io);
    reader.close(io);
    whole
}

fn copy(io: &mut dyn Io, recipes: &Path, reader: &mut RecipeReader, sides: &[Side]) -> Result<RecipeRow> {
    let mut writer = RecipeWriter::replace(io, recipes, reader.header().clone(), sides)?;
    if let Err(error) = copy_entries(io, reader, &mut writer) {
        writer.abort(io);
        return Err(error);
    }
    let trailer = reader.trailer();
    let RecipeTrailer { new_bytes, new_chunks, stored_bytes, tuning, .. } = *trailer;
    writer.finish(io, RecipeTotals { new_bytes, new_chunks, stored_bytes, tuning }, &Poison::default())
}

fn copy_entries(io: &mut dyn Io, reader: &mut RecipeReader, writer: &mut RecipeWriter) -> Result<()> {
    let mut lines = Vec::new();
    while reader.next_lines(io, &mut lines)? {
        for line in lines.drain(..) {
            writer.push_again(io, line)?;
        }
    }
    Ok(())
}

/// The streams that the recipe files make, for an index that is being rebuilt.
#[derive(Debug, Default)]
pub struct Rows {
    /// By name. Of recipes with one name the newest that can be read stands.
    pub rows: Vec<RecipeRow>,
    /// Those of them whose recipe cannot be read. They have a row all the same: what they need is not known, and while
    /// there is a stream of which that is so, the vacuum frees nothing.
    pub unreadable: Vec<String>,
    /// One for each file that is left out, cannot be read, or had to be read from its other copy.
    pub notes: Vec<String>,
}

/// See [`Rows`].
///
/// # Errors
/// A directory cannot be read, a newer gdd wrote a recipe, or something failed that says nothing about the data.
pub fn rows(io: &mut dyn Io, recipes: &Path, store: StoreId) -> Result<Rows> {
    let listing = list(io, recipes)?;
    let mut notes: Vec<_> =
        listing.foreign.iter().map(|path| format!("{}: not ours", path.display())).collect();
    let (mut rows, mut lost) = (BTreeMap::<String, RecipeRow>::new(), Vec::new());
    for &recipe in listing.recipes.keys() {
        let checked = match check(io, recipes, recipe, store) {
            Ok(checked) => checked,
            Err(error) if error.is_damage() => {
                lost.push((recipe, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        notes.extend(checked.damage.iter().map(|(_, error)| format!("recipe {recipe}, one copy: {error}")));
        // Ids grow with time, and the listing is sorted by them.
        let row = RecipeRow::new(&checked.header, &checked.trailer);
        if let Some(older) = rows.insert(row.name.clone(), row) {
            notes.push(format!("recipe {} of {:?} is left out: {recipe} is newer", older.recipe, older.name));
        }
    }
    let mut unreadable = Vec::new();
    for (recipe, error) in lost {
        let row = rest::row(io, recipes, recipe, store, &|name| rows.contains_key(name))?;
        notes.push(format!(
            "recipe {recipe} cannot be read: {error}; its stream {:?} stays listed, and the vacuum frees nothing until \
             `gdd fsck --repair --apply` has set it aside",
            row.name
        ));
        unreadable.push(row.name.clone());
        rows.insert(row.name.clone(), row);
    }
    Ok(Rows { rows: rows.into_values().collect(), unreadable, notes })
}

pub(super) fn unlink(io: &mut dyn Io, path: &Path) -> Result<()> {
    match io.unlink(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn sync(io: &mut dyn Io, recipes: &Path) -> Result<()> {
    for directory in directories(recipes) {
        io.sync_dir(&directory).map_err(Error::io("sync", &directory))?;
    }
    Ok(())
}
