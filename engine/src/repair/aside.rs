//! Moving to `quarantine/` what the store cannot use, durably. Nothing there is ever overwritten or removed.

use std::fs;
use std::path::{Path, PathBuf};

use gdd_uring::io::Io;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::fsck::{Part, Report};
use crate::index::Batch;
use crate::recipe::pieces::{self, Piece};
use crate::recipe::{Side, journal, set};

/// Files that are none of the store's. Of more than a report lists, the next repair takes the rest.
pub(super) fn foreign(core: &Core, found: &Report) -> Result<Vec<PathBuf>> {
    let mut io = core.open_io()?;
    let files = found.findings.iter().filter(|finding| finding.part == Part::Foreign);
    files.filter_map(|finding| set_aside(core, io.as_mut(), &finding.file).transpose()).collect()
}

/// A stream whose recipe was set aside.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Aside {
    /// Its name.
    pub name: String,
    /// Its length, as far as that could be read.
    pub bytes: Option<u64>,
    /// What of it is kept, as streams of their own.
    pub pieces: Vec<Piece>,
    /// Where its recipe's files lie now.
    pub files: Vec<PathBuf>,
}

/// A stream of whose recipe no copy can be read, nor both together, unless recovery has mended it meanwhile: then there
/// is nothing. First its good parts become streams, so that nothing frees what they need. A crash between leaves a
/// stream that is set aside again.
pub(super) fn stream(core: &Core, name: &str) -> Result<Option<Aside>> {
    let Some(row) = core.index.recipe(name)? else { return Ok(None) };
    let mut io = core.open_io()?;
    match set::check(io.as_mut(), &core.paths.recipes(), row.recipe, core.store) {
        Ok(_) => return Ok(None),
        Err(error) if error.is_damage() => {}
        Err(error) => return Err(error),
    }
    let pieces = pieces::keep(core, io.as_mut(), name, row.recipe)?;
    let files = Side::BOTH.map(|side| side.file(&core.paths.recipes(), row.recipe));
    // Recovery would make a stream of its journal, whose chunks nothing keeps.
    let journals = journal::files(&core.paths.recipes(), row.recipe);
    let moved =
        files.iter().chain(&journals).filter_map(|file| set_aside(core, io.as_mut(), file).transpose());
    let files = moved.collect::<Result<Vec<_>>>()?;
    core.index.commit(Batch { removed_recipes: vec![name.to_owned()], ..Batch::default() })?;
    let bytes = Some(row.logical_bytes).filter(|bytes| *bytes > 0);
    Ok(Some(Aside { name: name.to_owned(), bytes, pieces, files }))
}

/// Where `file` lies now; nothing when it is not there.
fn set_aside(core: &Core, io: &mut dyn Io, file: &Path) -> Result<Option<PathBuf>> {
    let folder = core.paths.quarantine();
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let target = free_name(&folder, core.paths.root(), file);
    match fs::rename(file, &target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        moved => moved.map_err(Error::io("rename", file))?,
    }
    for directory in [folder.as_path(), core.paths.root()].into_iter().chain(file.parent()) {
        io.sync_dir(directory).map_err(Error::io("sync", directory))?;
    }
    Ok(Some(target))
}

/// Its path in the store with dashes for slashes, and a number if that is taken.
fn free_name(folder: &Path, root: &Path, file: &Path) -> PathBuf {
    let inside = file.strip_prefix(root).unwrap_or(file);
    let name = inside.to_string_lossy().replace('/', "-");
    let (mut free, mut number) = (folder.join(&name), 0);
    while free.symlink_metadata().is_ok() {
        number += 1;
        free = folder.join(format!("{name}.{number}"));
    }
    free
}
