//! Giving back the file of a container in which nothing is needed.
//!
//! # Crash consistency
//! row says "free" (with the commit that forgets the last chunks in it) -> file moved to the pool or removed,
//! directories synced -> row removed. A crash before the last step leaves a free row, and the next opening does the
//! rest; without a row, a file of that name would be settled as one that a crash left.

use std::io::ErrorKind;

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::ids::ContainerId;
use crate::index::{Batch, Index};
use crate::paths::{CONTAINER_EXTENSION, FREE_EXTENSION, Paths};

/// Files that the pool keeps for reuse; more are removed, for the room on the disk.
const POOL_FILES_MAX: usize = 4;

/// Do the rest for a container whose row says that it is free.
///
/// # Errors
/// The disk or the index failed; it can be run again.
pub fn finish(io: &mut dyn Io, paths: &Paths, index: &dyn Index, id: ContainerId) -> Result<()> {
    let pool = paths.pool();
    let waiting = io.list(&pool).map_err(Error::io("list", &pool))?;
    let gone = if waiting.len() < POOL_FILES_MAX { to_pool(io, paths, id) } else { remove(io, paths, id) };
    match gone {
        Err(Error::Io { ref source, .. }) if source.kind() == ErrorKind::NotFound => {
            // It was done already, but perhaps not durably.
            sync(io, paths)?;
        }
        other => other?,
    }
    index.commit(Batch { removed_containers: vec![id], ..Batch::default() })
}

/// Move the file of a container without a row to the pool, for its space to be used again.
///
/// # Errors
/// The disk failed.
pub fn to_pool(io: &mut dyn Io, paths: &Paths, id: ContainerId) -> Result<()> {
    let path = paths.container(id);
    let target = paths.pool().join(format!("{id}.{FREE_EXTENSION}"));
    io.rename(&path, &target).map_err(Error::io("rename", &path))?;
    sync(io, paths)
}

/// Remove the file of a container without a row.
///
/// # Errors
/// The disk failed.
pub fn remove(io: &mut dyn Io, paths: &Paths, id: ContainerId) -> Result<()> {
    let path = paths.container(id);
    io.unlink(&path).map_err(Error::io("remove", &path))?;
    sync(io, paths)
}

/// Move the damaged file of a container in which nothing is needed out of the way, durably. One that is missing stays
/// so.
///
/// # Errors
/// The disk failed.
pub fn to_quarantine(io: &mut dyn Io, paths: &Paths, id: ContainerId) -> Result<()> {
    let (path, folder) = (paths.container(id), paths.quarantine());
    match io.create_dir(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("create", &folder)(error));
        }
        _ => io.sync_dir(paths.root()).map_err(Error::io("sync", paths.root()))?,
    }
    let target = folder.join(format!("{id}.{CONTAINER_EXTENSION}"));
    match io.rename(&path, &target) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("rename", &path)(error)),
        _ => {}
    }
    io.sync_dir(&folder).map_err(Error::io("sync", &folder))?;
    sync(io, paths)
}

fn sync(io: &mut dyn Io, paths: &Paths) -> Result<()> {
    for directory in [paths.pool(), paths.containers()] {
        io.sync_dir(&directory).map_err(Error::io("sync", &directory))?;
    }
    Ok(())
}
