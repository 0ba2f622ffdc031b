//! Where benches write: a folder of their own on the disk that is to be measured, removed afterwards.

use std::path::{Path, PathBuf};

use gdd_engine::error::Error;
use tempfile::TempDir;

use crate::args::Common;
use crate::failure::{Failure, Result};
use crate::size::show;

/// A folder that goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// On the disk of `--store`, beside the store if there is one; else in the current directory. `need` bytes must be
    /// free there.
    ///
    /// # Errors
    /// There is less room, or the directory cannot be written.
    pub fn new(common: &Common, need: u64) -> Result<Self> {
        Self::at(&place(common.store_named()), need)
    }

    /// The same on the very disk of a store: beside it, or in it where a disk of its own is mounted there.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub fn on_disk_of(store: &Path, need: u64) -> Result<Self> {
        let beside = place(Some(store.to_owned()));
        let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
        let same = device(store).is_none_or(|disk| device(&beside) == Some(disk));
        Self::at(if same { &beside } else { store }, need)
    }

    fn at(place: &Path, need: u64) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("gdd-bench-").tempdir_in(place);
        let folder = made.map_err(Failure::file("make a scratch folder in", place))?;
        let stats = rustix::fs::statvfs(folder.path()).map_err(std::io::Error::from);
        let stats = stats.map_err(Error::io("look at", place))?;
        let free = stats.f_bavail.saturating_mul(stats.f_frsize);
        if free < need {
            return Err(Failure::Failed(format!(
                "{} has {} free, this needs {}; choose another disk with --store, or fewer --bytes or --runs",
                place.display(),
                show(free),
                show(need)
            )));
        }
        Ok(Self { folder })
    }

    /// A name in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The nearest directory that exists and is no store.
fn place(named: Option<PathBuf>) -> PathBuf {
    let here = PathBuf::from(".");
    let mut place = named.unwrap_or_else(|| here.clone());
    while !place.is_dir() || place.join("gdd.store").exists() {
        match std::path::absolute(&place).ok().as_deref().and_then(Path::parent) {
            Some(parent) => place = parent.to_owned(),
            None => return here,
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        std::fs::create_dir(&store).unwrap();
        assert_eq!(place(Some(store.clone())), store);
        std::fs::write(store.join("gdd.store"), b"").unwrap();
        assert_eq!(place(Some(store.clone())), folder.path());
        assert_eq!(place(Some(store.join("not/there"))), folder.path());
        assert_eq!(place(None), Path::new("."));
    }
}
