//! What is left of a recipe that cannot be read whole: its name, and every block that is good in either copy.
//!
//! One bad block in both copies must not take a stream with all that can still be said of it. So such a recipe keeps a
//! row in the index, by which the vacuum knows that it does not know everything, and its good blocks can be kept as
//! streams of their own.

use std::path::{Path, PathBuf};

use gdd_uring::io::{self, FileId, Io, Open};

use crate::error::{Error, Result};
use crate::format::recipe::{ChunkParams, Owner, RecipeHeader};
use crate::format::recipe_block::{self, Line, RECIPE_BLOCK_SIZE};
use crate::format::recipe_trailer::RecipeTrailer;
use crate::format::{HEADER_SIZE, Place, StoreId};
use crate::ids::RecipeId;
use crate::index::RecipeRow;

use super::{Side, block_offset};

/// What streams are called whose name cannot be read either, or is taken by another one.
const NAMELESS: &str = "unreadable/";

/// Whether a stream's row was made when its recipe could not be read.
#[must_use]
pub fn is_makeshift(row: &RecipeRow) -> bool {
    row.digest == [0; 32] || row.name == format!("{NAMELESS}{}", row.recipe)
}

/// See the module. End it with [`Rest::close`].
#[derive(Debug)]
pub struct Rest {
    recipe: RecipeId,
    copies: Vec<Copy>,
    /// The header of the first copy that has a good one.
    pub header: Option<RecipeHeader>,
    /// The same of its trailer.
    pub trailer: Option<RecipeTrailer>,
    /// Blocks that there are, or were: as the trailer says, else as the lengths of the files say.
    pub block_count: u64,
}

#[derive(Debug)]
struct Copy {
    path: PathBuf,
    file: FileId,
    size: u64,
}

impl Rest {
    /// Look at what is left of `recipe` of `store` below the directory `recipes`.
    ///
    /// # Errors
    /// Something failed that says nothing about the data; or a newer gdd wrote it.
    pub fn open(io: &mut dyn Io, recipes: &Path, recipe: RecipeId, store: StoreId) -> Result<Self> {
        let mut rest = Self { recipe, copies: Vec::new(), header: None, trailer: None, block_count: 0 };
        match rest.look(io, recipes, store) {
            Ok(()) => Ok(rest),
            Err(error) => {
                rest.close(io);
                Err(error)
            }
        }
    }

    fn look(&mut self, io: &mut dyn Io, recipes: &Path, store: StoreId) -> Result<()> {
        for side in Side::BOTH {
            let path = side.file(recipes, self.recipe);
            let Some(file) = or_lost(io.open(&path, Open::Read).map_err(Error::io("open", &path)))? else {
                continue;
            };
            let size = or_lost(io.size(file).map_err(Error::io("measure", &path)))?.unwrap_or(0);
            self.copies.push(Copy { path, file, size });
        }
        for copy in &self.copies {
            if self.header.is_none() && copy.size >= HEADER_SIZE as u64 {
                let decode =
                    |block: &[u8], place: Place<'_>| RecipeHeader::decode(block, store, self.recipe, place);
                self.header = copy.block(io, 0, decode)?;
            }
            let end = copy.size.saturating_sub(HEADER_SIZE as u64);
            if self.trailer.is_none() && end > 0 && end.is_multiple_of(HEADER_SIZE as u64) {
                let decode =
                    |block: &[u8], place: Place<'_>| RecipeTrailer::decode(block, self.recipe, place);
                self.trailer = copy.block(io, end, decode)?;
            }
        }
        let longest = self.copies.iter().map(|copy| copy.size).max().unwrap_or(0);
        let by_length = longest.saturating_sub(2 * HEADER_SIZE as u64).div_ceil(RECIPE_BLOCK_SIZE as u64);
        self.block_count = self.trailer.as_ref().map_or(by_length, |trailer| trailer.block_count);
        Ok(())
    }

    /// Put the lines of block `block_seq` into `lines`, which is cleared, from the first copy in which it is good.
    /// Whether there is one.
    ///
    /// # Errors
    /// As [`Rest::open`].
    pub fn block(&mut self, io: &mut dyn Io, block_seq: u64, lines: &mut Vec<Line>) -> Result<bool> {
        let offset = block_offset(block_seq);
        for copy in &self.copies {
            let left = usize::try_from(copy.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let len = left.min(RECIPE_BLOCK_SIZE) / HEADER_SIZE * HEADER_SIZE;
            // The last block is shorter, and a trailer behind it that cannot be read says nothing of it.
            for len in [len, len.saturating_sub(HEADER_SIZE)].into_iter().filter(|len| *len > 0) {
                lines.clear();
                let read = io::read_at(io, copy.file, offset, len).map_err(Error::io("read", &copy.path));
                let place = Place::new(&copy.path, offset);
                let decoded =
                    read.and_then(|bytes| recipe_block::decode(&bytes, self.recipe, block_seq, lines, place));
                if or_lost(decoded)?.is_some() {
                    return Ok(true);
                }
            }
        }
        lines.clear();
        Ok(false)
    }

    /// A row for it. Its name is its own as far as that can be read and `is_taken` does not know it.
    #[must_use]
    pub fn row(&self, store: StoreId, is_taken: &dyn Fn(&str) -> bool) -> RecipeRow {
        let recipe = self.recipe;
        let mut header = self.header.clone().unwrap_or_else(|| RecipeHeader {
            store,
            recipe,
            created_epoch: recipe.epoch(),
            created_unix: 0,
            name: String::new(),
            params: ChunkParams::default(),
            owner: Owner::Manual,
            lineage: String::new(),
        });
        if header.name.is_empty() || is_taken(&header.name) {
            header.name = format!("{NAMELESS}{recipe}");
        }
        let trailer = self.trailer.clone().unwrap_or_else(|| RecipeTrailer {
            recipe,
            block_count: 0,
            entry_count: 0,
            logical_bytes: 0,
            chunk_count: 0,
            new_bytes: 0,
            new_chunks: 0,
            stored_bytes: 0,
            digest: [0; 32],
            tuning: Default::default(),
        });
        RecipeRow::new(&header, &trailer)
    }

    /// Close its files.
    pub fn close(self, io: &mut dyn Io) {
        self.copies.into_iter().for_each(|copy| io.close(copy.file));
    }
}

/// A row for a recipe that cannot be read; see [`Rest::row`].
///
/// # Errors
/// As [`Rest::open`].
pub fn row(
    io: &mut dyn Io,
    recipes: &Path,
    recipe: RecipeId,
    store: StoreId,
    is_taken: &dyn Fn(&str) -> bool,
) -> Result<RecipeRow> {
    let rest = Rest::open(io, recipes, recipe, store)?;
    let row = rest.row(store, is_taken);
    rest.close(io);
    Ok(row)
}

impl Copy {
    /// What `decode` makes of one block; nothing when it is damaged.
    fn block<T>(
        &self,
        io: &mut dyn Io,
        offset: u64,
        decode: impl FnOnce(&[u8], Place<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let read = io::read_at(io, self.file, offset, HEADER_SIZE).map_err(Error::io("read", &self.path));
        or_lost(read.and_then(|block| decode(&block, Place::new(&self.path, offset))))
    }
}

/// Nothing for what is lost; any other failure stays one.
fn or_lost<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}
