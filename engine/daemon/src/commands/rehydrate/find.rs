//! Which files are references. Nothing is changed here.
//!
//! # Invariants
//! - Symbolic links are not followed, and only regular files of exactly a reference's length are opened.
//! - A file that begins as a reference and is none is an error: it was one, and its data would be lost silently.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gdd_client::reference::{MAGIC, Reference, SIZE};
use rustix::fs::OFlags;

/// A file that is a reference.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// To what.
    pub reference: Reference,
}

/// What became of the paths that were named.
#[derive(Debug, Default)]
pub struct Search {
    /// References, in the order of names.
    pub found: Vec<Found>,
    /// Files of other kinds and content.
    pub untouched: u64,
    /// Paths that could not be looked at, or are no good references, and why.
    pub failed: Vec<(PathBuf, String)>,
}

impl Search {
    /// Look at `path`, and at all that is below it.
    pub fn walk(&mut self, path: &Path) {
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => match names(&path) {
                    Ok(names) => open.extend(names),
                    Err(error) => self.failed.push((path, format!("cannot list it: {error}"))),
                },
                Ok(meta) => self.look(path, &meta),
                Err(error) => self.failed.push((path, format!("cannot look at it: {error}"))),
            }
        }
    }

    fn look(&mut self, path: PathBuf, meta: &Metadata) {
        if !meta.is_file() || meta.len() != SIZE as u64 {
            self.untouched += 1;
            return;
        }
        match open(&path).and_then(|file| read(&file)) {
            Err(error) => self.failed.push((path, format!("cannot read it: {error}"))),
            Ok(None) => self.untouched += 1,
            Ok(Some(bytes)) if !bytes.starts_with(&MAGIC) => self.untouched += 1,
            Ok(Some(bytes)) => match Reference::decode(&bytes) {
                Ok(reference) => self.found.push(Found { path, reference }),
                Err(error) => self.failed.push((path, format!("a damaged reference: {error}"))),
            },
        }
    }
}

/// Open what is still no link; a pipe that took its place keeps nobody waiting.
///
/// # Errors
/// As `open(2)`.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// A reference's bytes; nothing when `file` has more, fewer, or is no file.
///
/// # Errors
/// As `pread(2)`.
pub fn read(file: &File) -> io::Result<Option<[u8; SIZE]>> {
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() != SIZE as u64 {
        return Ok(None);
    }
    let mut bytes = [0; SIZE];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// What a directory has, the last name first, as they are taken from the end.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}
