//! Writing a recipe anew that is lost in both copies here, from the same stream's recipe in another store.

use std::path::Path;

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::recipe::RecipeHeader;
use crate::index::RecipeRow;
use crate::poison::Poison;

use super::rest::Rest;
use super::{RecipeReader, RecipeTotals, RecipeWriter, Side, set};

/// Where the stream is whole.
pub struct Source<'a> {
    /// A door to that store.
    pub io: &'a mut dyn Io,
    /// Its recipe, of which nothing is read yet.
    pub reader: &'a mut RecipeReader,
}

/// Whether every block that is left of the recipe of `row` says what the source's says there.
///
/// # Errors
/// Either disk failed, or the source's recipe is not whole.
pub fn agrees(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    row: &RecipeRow,
    source: Source<'_>,
) -> Result<bool> {
    let mut rest = Rest::open(io, recipes, row.recipe, store)?;
    let agreed = compare(io, &mut rest, source);
    rest.close(io);
    agreed
}

fn compare(io: &mut dyn Io, rest: &mut Rest, source: Source<'_>) -> Result<bool> {
    let Source { io: from, reader } = source;
    let (mut theirs, mut left, mut blocks) = (Vec::new(), Vec::new(), 0);
    while reader.next_lines(from, &mut theirs)? {
        if rest.block(io, blocks, &mut left)? && left != theirs {
            return Ok(false);
        }
        theirs.clear();
        blocks += 1;
    }
    for beyond in blocks..rest.block_count {
        if rest.block(io, beyond, &mut left)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Write both copies of the recipe of `row`, of `store`, below the directory `recipes`. Its chunks are durable there.
/// Returns its new row.
///
/// # Errors
/// Either disk failed, or the source's recipe is not whole.
pub fn renew(
    io: &mut dyn Io,
    recipes: &Path,
    store: StoreId,
    row: &RecipeRow,
    source: Source<'_>,
    poison: &Poison,
) -> Result<RecipeRow> {
    let Source { io: from, reader } = source;
    let header = RecipeHeader {
        store,
        recipe: row.recipe,
        created_epoch: row.created_epoch,
        created_unix: row.created_unix,
        name: row.name.clone(),
        owner: row.owner,
        ..reader.header().clone()
    };
    let tuning = reader.trailer().tuning;
    for side in Side::BOTH {
        set::unlink(io, &side.temporary(recipes, row.recipe))?;
    }
    let mut writer = RecipeWriter::replace(io, recipes, header, &Side::BOTH)?;
    let mut entries = Vec::new();
    let copied = loop {
        match reader.next_lines(from, &mut entries) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        if let Err(error) = entries.drain(..).try_for_each(|line| writer.push_again(io, line)) {
            break Err(error);
        }
    };
    if let Err(error) = copied {
        writer.abort(io);
        return Err(error);
    }
    let RecipeRow { new_bytes, new_chunks, stored_bytes, .. } = *row;
    let written = writer.finish(io, RecipeTotals { new_bytes, new_chunks, stored_bytes, tuning }, poison)?;
    if written.digest != reader.trailer().digest {
        let why = format!("{:?}: its recipe, written anew, has another digest; report this", row.name);
        return Err(Error::Invalid(why));
    }
    Ok(written)
}
