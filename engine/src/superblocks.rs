//! The few blocks that say what a store is: the superblock, in two copies, and the count of its openings.

use std::path::Path;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{self, Io, Open};

use crate::error::{Error, Result};
use crate::format::superblock::Superblock;
use crate::format::{HEADER_SIZE, Place, StoreId, epoch};
use crate::ids::Epoch;
use crate::paths::{Paths, TEMPORARY_EXTENSION};

/// An epoch that is not the next one is so much above the last that is known: ids that were given out and are not known
/// here are not given out again.
pub const EPOCH_MARGIN: u32 = 1000;

/// Read the superblock from whichever copy is good; also says what is wrong with the other.
///
/// # Errors
/// `NotAStore` when there is neither copy; otherwise the first copy's error when both are bad.
pub fn read(io: &mut dyn Io, paths: &Paths) -> Result<(Superblock, Option<String>)> {
    let [first, second] = paths.superblocks();
    let (one, two) = (read_copy(io, &first), read_copy(io, &second));
    match (one, two) {
        (Ok(Some(one)), Ok(Some(two))) if one == two => Ok((one, None)),
        (Ok(Some(one)), Ok(Some(_))) => {
            let place = Place::new(&second, 0);
            let error = place.refuse("superblock copy", "what gdd.store says", "something else");
            Ok((one, Some(error.to_string())))
        }
        (Ok(Some(good)), Ok(None)) => Ok((good, Some(format!("{} is missing", second.display())))),
        (Ok(None), Ok(Some(good))) => Ok((good, Some(format!("{} is missing", first.display())))),
        (Ok(Some(good)), Err(error)) | (Err(error), Ok(Some(good)))
            if !matches!(error, Error::Version { .. }) =>
        {
            Ok((good, Some(error.to_string())))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(None), Ok(None)) => Err(Error::NotAStore {
            path: paths.root().to_owned(),
            why: "it has no file gdd.store".to_owned(),
        }),
    }
}

/// Write both copies, durably, one after the other.
///
/// # Errors
/// The disk failed.
pub fn write(io: &mut dyn Io, paths: &Paths, superblock: &Superblock) -> Result<()> {
    let [first, second] = paths.superblocks();
    let block = superblock.encode();
    replace_block(io, paths.root(), &second, &block)?;
    replace_block(io, paths.root(), &first, &block)
}

/// The epoch of the last read-write opening; 0 when there was none.
///
/// # Errors
/// The file is missing, damaged or another store's; the message names the remedy.
pub fn read_epoch(io: &mut dyn Io, paths: &Paths, store: StoreId) -> Result<Epoch> {
    let path = paths.epoch();
    let place = Place::new(&path, 0);
    let epoch = match read_block(io, &path) {
        Ok(Some(block)) => epoch::decode(&block, store, place),
        Ok(None) => Err(place.refuse("epoch file", "a file", "none")),
        Err(error) if error.is_loss() => Err(place.refuse("epoch file", "readable", error)),
        Err(error) => Err(error),
    };
    epoch.map_err(|error| match error {
        Error::Corrupt { path, offset, what, expected, found } => {
            let found = format!(
                "{found}; `gdd fsck --repair --apply` makes it anew, and so does `gdd rebuild-index`"
            );
            Error::Corrupt { path, offset, what, expected, found }
        }
        other => other,
    })
}

/// Record an epoch, durably: before it is used for anything.
///
/// # Errors
/// The disk failed.
pub fn write_epoch(io: &mut dyn Io, paths: &Paths, store: StoreId, epoch: Epoch) -> Result<()> {
    replace_block(io, paths.root(), &paths.epoch(), &epoch::encode(store, epoch))
}

fn read_copy(io: &mut dyn Io, path: &Path) -> Result<Option<Superblock>> {
    match read_block(io, path)? {
        Some(block) => Superblock::decode(&block, Place::new(path, 0)).map(Some),
        None => Ok(None),
    }
}

fn read_block(io: &mut dyn Io, path: &Path) -> Result<Option<IoBuf>> {
    let file = match io.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let block = io::read_at(io, file, 0, HEADER_SIZE).map_err(Error::io("read", path));
    io.close(file);
    block.map(Some)
}

/// Replace a file of one block atomically and durably.
fn replace_block(io: &mut dyn Io, directory: &Path, path: &Path, block: &[u8]) -> Result<()> {
    let temporary = path.with_extension(TEMPORARY_EXTENSION);
    match io.unlink(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &temporary)(error));
        }
        _ => {}
    }
    let file = io.open(&temporary, Open::Create).map_err(Error::io("create", &temporary))?;
    let mut buffer = IoBuf::zeroed(HEADER_SIZE);
    buffer.copy_from_slice(block);
    let written = io::write_at(io, file, 0, buffer).map_err(Error::io("write", &temporary));
    let synced = written.and_then(|()| io.sync_all(file).map_err(Error::io("sync", &temporary)));
    io.close(file);
    synced?;
    io.rename(&temporary, path).map_err(Error::io("rename", &temporary))?;
    io.sync_dir(directory).map_err(Error::io("sync", directory))
}
