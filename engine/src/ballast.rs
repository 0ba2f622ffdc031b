//! A file that does nothing but take up space, to be given up when the disk is full: freeing space takes some.
//!
//! The daemon makes it when it starts, and after a vacuum, where there is plenty of room. When a store is opened for
//! writing on a disk that is nearly full, it goes first, so that recovery, a removal and the vacuum can work.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::paths::Paths;

/// Containers that the vacuum may need at once: what it moves is spread over the engine's threads.
const CONTAINERS: u64 = 3;
/// Bytes that index, recipes and journals may need besides.
const SPARE: u64 = 32 << 20;
/// It is made only where so many times its size are free.
const ROOM: u64 = 4;

/// Bytes of the ballast of a store with containers of `container_size`.
#[must_use]
pub fn size(container_size: u64) -> u64 {
    CONTAINERS * container_size + SPARE
}

/// Give the ballast up if less than a container and something is free. Returns a note for the operator, if so.
///
/// # Errors
/// The file system does not answer.
pub fn give_up_if_full(paths: &Paths, container_size: u64) -> io::Result<Option<String>> {
    let (path, free) = (paths.ballast(), free_bytes(paths.root())?);
    if free >= container_size + SPARE {
        return Ok(None);
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(Some(format!(
            "the disk is full ({} MB free): the ballast was given up, so that space can be freed; remove streams, and \
             run `gdd vacuum`",
            free / 1_000_000
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Make the ballast if it is not there and there is plenty of room. It is a reserve: whether it was made matters to
/// nobody now, and a failure is none of the store's.
pub fn make(paths: &Paths, container_size: u64) {
    let (path, size) = (paths.ballast(), size(container_size));
    let is_there = path.metadata().is_ok_and(|file| file.len() == size);
    let room = free_bytes(paths.root()).unwrap_or(0);
    if is_there || room < ROOM * size {
        return;
    }
    let made = File::create(&path).and_then(|file| Ok(fallocate(file, FallocateFlags::empty(), 0, size)?));
    if let Err(error) = made {
        tracing::info!("no ballast: {error}");
        let _ = fs::remove_file(&path); // A part of it would pass for none.
    }
}

fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept_where_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        assert!(give_up_if_full(&paths, 1 << 20).unwrap().is_none());
        make(&paths, 1 << 20);
        make(&paths, 1 << 20);
        let made = paths.ballast().metadata();
        // A test machine may have little room.
        assert!(made.is_err() || made.is_ok_and(|file| file.len() == size(1 << 20)));
        let note = give_up_if_full(&paths, u64::MAX / 2).unwrap();
        assert_eq!(note.is_some_and(|note| note.contains("gdd vacuum")), !paths.ballast().exists());
        assert!(!paths.ballast().exists());
    }
}
