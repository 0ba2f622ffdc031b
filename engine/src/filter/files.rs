//! Opening the files of a cold filter: all of them as they were closed, or none.
//!
//! A filter that misses an item makes the store forget what it has, so every doubt (a crash, a changed bit, a missing
//! layer, another store's file, yesterday's copy) ends in a rebuild from the index. Only the operating system's own
//! errors are errors here.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::FilterConfig;
use super::header::{Closed, Header};
use super::layer::{EXTENSION, Layer, path_of};
use crate::error::{Error, Result};
use crate::format::{HEADER_SIZE, Place};
use crate::ids::Epoch;

/// The layers of a filter, or why they cannot be believed.
pub type Loaded = Result<Vec<Layer>, String>;

/// Load all layers in `dir`, which must have been closed in epoch `closed_in`. Nothing is changed.
///
/// # Errors
/// Of the operating system.
pub fn load(dir: &Path, config: &FilterConfig, closed_in: Option<Epoch>, writable: bool) -> Result<Loaded> {
    let count = match count_files(dir)? {
        Ok(0) => return Ok(Err("there is none".into())),
        Ok(count) => count,
        Err(why) => return Ok(Err(why)),
    };
    let mut headers = Vec::new();
    for number in 0..count {
        match read_header(&path_of(dir, number))?
            .and_then(|header| check(header, config, number, count, closed_in))
        {
            Ok(header) => headers.push(header),
            Err(why) => return Ok(Err(format!("layer {number}: {why}"))),
        }
    }
    let mut layers = Vec::new();
    for (number, (header, closed)) in (0..count).zip(headers) {
        match Layer::open(&path_of(dir, number), header, &closed, writable)? {
            Ok(layer) => layers.push(layer),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(layers))
}

/// Remove every layer in `dir`, which is made if it is not there.
///
/// # Errors
/// Of the operating system.
pub fn remove(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    for entry in std::fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let path = entry.map_err(Error::io("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    sync_directory(dir)
}

/// Make the names in `dir` durable.
///
/// # Errors
/// As `fsync`.
pub fn sync_directory(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
}

/// How many layers there are: numbered from 0 without a gap.
fn count_files(dir: &Path) -> Result<Result<u32, String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ok(0)),
        other => other.map_err(Error::io("list", dir))?,
    };
    let mut count = 0;
    for entry in entries {
        let path = entry.map_err(Error::io("list", dir))?.path();
        count += u32::from(path.extension().is_some_and(|extension| extension == EXTENSION));
    }
    if count > super::cold::LAYERS_MAX {
        return Ok(Err(format!("{count} layers, expected at most {}", super::cold::LAYERS_MAX)));
    }
    let missing = (0..count).find(|number| !path_of(dir, *number).exists());
    Ok(missing.map_or(Ok(count), |number| Err(format!("layer {number} is missing"))))
}

/// Read and decode a header; what is wrong with it is `Ok(Err(why))`.
fn read_header(path: &Path) -> Result<Result<Header, String>> {
    let mut block = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(HEADER_SIZE as u64).read_to_end(&mut block).map_err(Error::io("read", path))?;
    Ok(Header::decode(&block, Place::new(path, 0)).map_err(|refusal| refusal.to_string()))
}

/// Whether this is layer `number` of `count` of this store's filter, closed when it should have been.
fn check(
    header: Header,
    config: &FilterConfig,
    number: u32,
    count: u32,
    closed_in: Option<Epoch>,
) -> Result<(Header, Closed), String> {
    let Some(closed) = header.closed else { return Err("not closed cleanly".into()) };
    if header.store != config.store {
        return Err(format!("belongs to store {}, this is {}", header.store, config.store));
    }
    if header.number != number {
        return Err(format!("says that it is layer {}", header.number));
    }
    if closed.layers != count {
        return Err(format!("closed with {} layers, there are {count}", closed.layers));
    }
    if Some(closed.epoch) != closed_in {
        return Err(format!("closed in epoch {}, the store was open for writing since", closed.epoch.0));
    }
    if header.fpr_ppm != config.fpr_ppm {
        return Err(format!("made for {} ppm, configured are {}", header.fpr_ppm, config.fpr_ppm));
    }
    if header.blocks == 0 || header.blocks > BLOCKS_MAX {
        return Err(format!("{} blocks", header.blocks));
    }
    Ok((header, closed))
}

/// Blocks of 64 bytes in the largest file that can be mapped.
const BLOCKS_MAX: u64 = 1 << 40;
