//! After a crash: bring recipe files and the index's streams together.
//!
//! | found | done |
//! |---|---|
//! | temporary file | removed: it was never acknowledged |
//! | stream being removed | its files go, then its row |
//! | recipe without a row, whole | adopted: its chunks were durable before its files were |
//! | recipe without a row, not whole in any copy | noted, and given a row: no crash leaves one, so it is damage |
//! | recipe whose name another stream has | left alone, and noted |
//! | one copy missing or of another length | written anew from the other |
//! | row without a file | noted: an acknowledged stream is lost |
//! | row that was made when the recipe could not be read, and it can | made anew, also after a clean close |
//! | journal, and its stream has a row and a recipe that can be read | removed |
//! | journal, and its stream's recipe cannot be read | left alone, and noted |
//! | journal without, whose start the device cannot read | left alone, and noted |
//! | journal without | made a recipe, with a row; then removed: others rely on what it says |
//!
//! Nothing that may be somebody's only recipe is removed. A stream with a row and without a readable recipe keeps the
//! vacuum from freeing what it may need, until it is set aside (`gdd fsck --repair --apply`) or given up (`gdd rm`). It
//! may crash anywhere and be run again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::ids::RecipeId;
use crate::index::{Batch, Index, RecipeRow, RecipeState};
use crate::planted::{self, Bug};
use crate::poison::Poison;

use super::set::{self, Listing};
use super::{RecipeTotals, RecipeWriter, journal, rest};

/// Bring recipe files and rows together; after a clean close there is nothing to do but to end removals, and to look
/// again at what could not be read before. Findings for the operator go to `notes`.
///
/// # Errors
/// The disk or the index failed.
pub fn recover(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    index: &dyn Index,
    clean: bool,
    notes: &mut Vec<String>,
) -> Result<()> {
    let rows = index.recipes()?;
    let (deleting, live): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.state == RecipeState::Deleting);
    for row in &deleting {
        set::remove(io, recipes, row.recipe)?;
    }
    if !deleting.is_empty() {
        let removed_recipes = deleting.into_iter().map(|row| row.name).collect();
        index.commit(Batch { removed_recipes, ..Batch::default() })?;
    }
    look_again(io, recipes, store, index, &live, notes)?;
    if clean {
        return Ok(());
    }
    let listing = set::list(io, recipes)?;
    set::remove_temporary(io, recipes, &listing)?;
    adopt(io, recipes, store, index, (&listing, &live), notes)?;
    restore_copies(io, recipes, store, &listing, notes)?;
    for row in live.iter().filter(|row| !listing.recipes.contains_key(&row.recipe)) {
        notes.push(format!("stream {:?} is lost: recipe {} has no file", row.name, row.recipe));
    }
    salvage(io, recipes, store, index, &listing, notes)
}

/// Make recipes of the journals of streams that were never finished.
fn salvage(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    index: &dyn Index,
    listing: &Listing,
    notes: &mut Vec<String>,
) -> Result<()> {
    if listing.journals.is_empty() {
        return Ok(());
    }
    let rows = index.recipes()?;
    let known: BTreeSet<_> = rows.iter().map(|row| row.recipe).collect();
    let mut names: BTreeMap<String, RecipeId> = rows.into_iter().map(|row| (row.name, row.recipe)).collect();
    for &recipe in listing.journals.iter().rev() {
        if known.contains(&recipe)
            && let Err(error) = set::check(io, recipes, recipe, store)
        {
            notes.push(format!(
                "the journal of recipe {recipe} is kept, since the recipe cannot be read: {error}"
            ));
            continue;
        }
        let found = match known.contains(&recipe) {
            true => None,
            false => match journal::read(io, recipes, recipe, store) {
                Err(error) if error.is_damage() => {
                    notes.push(format!("the journal of recipe {recipe} is left alone: {error}"));
                    continue;
                }
                other => other?.filter(|(_, entries)| !entries.is_empty()),
            },
        };
        if let Some((header, entries)) = found {
            let name = header.name.clone();
            if let Some(other) = names.get(&name) {
                let what = format!("stream {name:?} has recipe {other}");
                notes.push(format!("the journal of recipe {recipe} is left alone: {what}"));
                continue;
            }
            let mut writer = RecipeWriter::create(io, recipes, header)?;
            for entry in &entries {
                writer.push_entry(io, *entry)?;
            }
            let row = writer.finish(io, RecipeTotals::default(), &Poison::default())?;
            let bytes = row.logical_bytes;
            index.commit(Batch { recipes: vec![row], ..Batch::default() })?;
            notes.push(format!("stream {name:?} was not finished: its first {bytes} bytes were kept"));
            names.insert(name, recipe);
        }
        journal::remove(io, recipes, recipe)?;
    }
    set::sync(io, recipes)
}

/// Recipes that could not be read when their rows were made: a disk may give again what it did not.
fn look_again(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    index: &dyn Index,
    live: &[RecipeRow],
    notes: &mut Vec<String>,
) -> Result<()> {
    for row in live.iter().filter(|row| rest::is_makeshift(row)) {
        let now = match set::check(io, recipes, row.recipe, store) {
            Ok(checked) => RecipeRow::new(&checked.header, &checked.trailer),
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error),
        };
        if now.name != row.name && live.iter().any(|other| other.name == now.name) {
            continue; // Its own name is another stream's.
        }
        notes.push(format!("stream {:?} can be read again, as {:?}", row.name, now.name));
        let removed_recipes = vec![row.name.clone()];
        index.commit(Batch { removed_recipes, recipes: vec![now], ..Batch::default() })?;
    }
    Ok(())
}

fn adopt(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    index: &dyn Index,
    (listing, live): (&Listing, &[RecipeRow]),
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut names: BTreeMap<String, RecipeId> =
        live.iter().map(|row| (row.name.clone(), row.recipe)).collect();
    let known: BTreeSet<_> = live.iter().map(|row| row.recipe).collect();
    let (mut adopted, mut lost) = (Vec::new(), Vec::new());
    // Ids grow with time: of several recipes with one name the newest comes first, and stands.
    for &recipe in listing.recipes.keys().rev().filter(|recipe| !known.contains(recipe)) {
        let checked = match set::check(io, recipes, recipe, store) {
            Ok(checked) => checked,
            Err(error) if error.is_damage() => {
                notes.push(format!("recipe {recipe} belongs to no stream and is not whole: {error}"));
                lost.push(recipe);
                continue;
            }
            Err(error) => return Err(error),
        };
        let name = checked.header.name.clone();
        if let Some(other) = names.get(&name) {
            notes.push(format!("recipe {recipe} is left alone: stream {name:?} has recipe {other}"));
            continue;
        }
        names.insert(name, recipe);
        adopted.push(RecipeRow::new(&checked.header, &checked.trailer));
    }
    let whole = adopted.len();
    for recipe in lost {
        let row = rest::row(io, recipes, recipe, store, &|name| names.contains_key(name))?;
        names.insert(row.name.clone(), recipe);
        adopted.push(row);
    }
    if adopted.is_empty() {
        return Ok(());
    }
    if !planted::has(Bug::AdoptUnsyncedNames) {
        set::sync(io, recipes)?; // Their names may be as fresh as their last rename.
    }
    let (kept, unreadable) = adopted.split_at(whole);
    notes.extend(
        kept.iter().map(|row| format!("stream {:?} was whole but not yet acknowledged: kept", row.name)),
    );
    notes.extend(unreadable.iter().map(|row| {
        let (name, recipe) = (&row.name, row.recipe);
        format!("stream {name:?} has recipe {recipe}, which cannot be read: until that is set aside nothing is freed")
    }));
    index.commit(Batch { recipes: adopted, ..Batch::default() })
}

/// Cheap: looks at lengths only. `gdd fsck` reads both copies.
fn restore_copies(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    listing: &Listing,
    notes: &mut Vec<String>,
) -> Result<()> {
    let unequal = listing.recipes.iter().filter(|(_, sizes)| sizes[0] != sizes[1]);
    for (&recipe, _) in unequal {
        match set::repair(io, recipes, recipe, store) {
            Ok(sides) => {
                notes.push(format!("recipe {recipe}: copy {sides:?} was written anew from the other"))
            }
            Err(error @ Error::Version { .. }) => return Err(error),
            // A full or failing disk must not keep the store from opening: the good copy is still there.
            Err(error) => {
                notes.push(format!("recipe {recipe}: a copy is bad and cannot be written anew: {error}"))
            }
        }
    }
    Ok(())
}
