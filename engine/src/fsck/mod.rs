//! Checks a whole store and changes nothing.
//!
//! Four levels, each including the ones before: 0 the few blocks that say what the store is, its lists of containers
//! and streams; 1 every header, footer and watermark, and that index and containers agree; 2 every payload's CRC-32 and
//! the chain of every container; 3 every chunk's BLAKE3, and every stream chunk by chunk.
//!
//! # Invariants
//! - Nothing is written, created or locked exclusively, on any path.
//! - Damage is never an error: it is a [`Finding`], and the check goes on. Only a store that cannot be opened at all,
//!   or a disk that fails, ends it.
//! - A chunk counts as bad once, and every stream that needs it is named.

mod containers;
mod records;
mod report;
mod streams;

use std::path::Path;

use gdd_uring::io::Io;

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::index::Index;
use crate::index::rocks::RocksIndex;
use crate::options::{Access, Options};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::{store, superblocks};
pub use report::{AffectedStream, Finding, Part, Report, Severity};

/// The deepest level.
pub const LEVEL_MAX: u8 = 3;

/// What every part of a check needs.
struct Check<'a> {
    io: &'a mut dyn Io,
    paths: &'a Paths,
    store: StoreId,
    index: &'a dyn Index,
    level: u8,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
    total: Option<u64>,
}

/// Check the store in `dir` up to `level`.
///
/// # Errors
/// No store, a newer format, another process that writes to it, an index that cannot be opened (the message names the
/// remedy), or a disk that fails.
pub fn check(dir: &Path, level: u8, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    if level > LEVEL_MAX {
        return Err(Error::Invalid(format!("there is no level {level}; the deepest is {LEVEL_MAX}")));
    }
    let paths = Paths::new(dir);
    if !paths.superblocks().iter().any(|path| path.exists()) {
        return Err(Error::NotAStore { path: dir.to_owned(), why: "it has no file gdd.store".to_owned() });
    }
    let _lock = store::lock(&paths, Access::ReadOnly)?;
    let source = store::probe_io(dir, Access::ReadOnly, options)?;
    let mut io = source.open().map_err(Error::io("open an I/O ring for", dir))?;
    let (superblock, note) = superblocks::read(io.as_mut(), &paths)?;
    let mut report = Report::new(level);
    if let Some(note) = note {
        report.warn(Part::Superblock, paths.root(), 0, note);
    }
    if let Err(error) = superblocks::read_epoch(io.as_mut(), &paths, superblock.store) {
        report.damage(Part::Epoch, &paths.epoch(), 0, error.to_string());
    }
    let index = RocksIndex::open_read_only(&paths.index(), superblock.store, options.budget().index)?;
    check_files(io.as_mut(), &paths, superblock.store, &index, report, progress)
}

/// The same for a store of the simulation, which brings its own disk and index and takes no lock.
///
/// # Errors
/// A disk that fails, or no readable superblock.
pub fn check_simulated(io: &mut dyn Io, paths: &Paths, index: &dyn Index, level: u8) -> Result<Report> {
    let (superblock, _) = superblocks::read(io, paths)?;
    check_files(io, paths, superblock.store, index, Report::new(level), &mut |_| {})
}

/// Containers, then streams; `report` says how deep, and what was found before.
fn check_files(
    io: &mut dyn Io,
    paths: &Paths,
    store: StoreId,
    index: &dyn Index,
    report: Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report> {
    let level = report.level;
    let mut check = Check { io, paths, store, index, level, report, progress, total: None };
    check.containers()?;
    check.streams()?;
    Ok(check.report.finish())
}

impl Check<'_> {
    /// Count bytes looked at, and tell whoever watches.
    fn advance(&mut self, bytes: u64) {
        self.report.bytes_read += bytes;
        let (done, total) = (self.report.bytes_read, self.total);
        (self.progress)(Progress { stage: "check", done, total });
    }
}
