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
//!
//! A store that is open and at work is checked by [`check_open`]; what that leaves out stands in its module, `beside`.

mod beside;
mod containers;
mod records;
mod report;
mod streams;

use std::collections::HashMap;
use std::path::Path;

use gdd_uring::io::Io;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::ids::{ChunkHash, ContainerId};
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
    /// Where the records of bad chunks were, so that a chunk that is stored again meanwhile is not called lost.
    places: HashMap<ChunkHash, (ContainerId, u32)>,
    beside: Option<Beside<'a>>,
}

/// The store is open and at work.
struct Beside<'a> {
    core: &'a Core,
    /// Whether to go on.
    go_on: &'a mut dyn FnMut() -> bool,
}

/// Check the store in `dir` up to `level`.
///
/// # Errors
/// No store, a newer format, another process that writes to it, an index that cannot be opened (the message names the
/// remedy), or a disk that fails.
pub fn check(dir: &Path, level: u8, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    known_level(level)?;
    let paths = Paths::new(dir);
    if !paths.superblocks().iter().any(|path| path.exists()) {
        return Err(Error::NotAStore { path: dir.to_owned(), why: "it has no file gdd.store".to_owned() });
    }
    let _lock = store::lock(&paths, Access::ReadOnly)?;
    let source = store::probe_io(dir, Access::ReadOnly, options)?;
    let mut io = source.open().map_err(Error::io("open an I/O ring for", dir))?;
    let mut report = Report::new(level);
    let store = identity(io.as_mut(), &paths, &mut report)?;
    let index = RocksIndex::open_read_only(&paths.index(), store, options.budget().index)?;
    check_files(io.as_mut(), &paths, store, &index, report, progress, None)
}

/// Check a store that is open and at work, up to `level`. `go_on` is asked now and then.
///
/// # Errors
/// [`Error::Cancelled`] when `go_on` said to stop; else as [`check`].
pub fn check_open(
    core: &Core,
    level: u8,
    progress: &mut dyn FnMut(Progress),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Report> {
    known_level(level)?;
    let mut io = core.open_io()?;
    let mut report = Report::new(level);
    report.beside = true;
    let store = identity(io.as_mut(), &core.paths, &mut report)?;
    let beside = Some(Beside { core, go_on });
    check_files(io.as_mut(), &core.paths, store, core.index.as_ref(), report, progress, beside)
}

fn known_level(level: u8) -> Result<()> {
    match level {
        0..=LEVEL_MAX => Ok(()),
        _ => Err(Error::Invalid(format!("there is no level {level}; the deepest is {LEVEL_MAX}"))),
    }
}

/// Which store it is, by the few blocks that say so.
fn identity(io: &mut dyn Io, paths: &Paths, report: &mut Report) -> Result<StoreId> {
    let (superblock, note) = superblocks::read(io, paths)?;
    if let Some(note) = note {
        report.warn(Part::Superblock, paths.root(), 0, note);
    }
    if let Err(error) = superblocks::read_epoch(io, paths, superblock.store) {
        report.damage(Part::Epoch, &paths.epoch(), 0, error.to_string());
    }
    Ok(superblock.store)
}

/// The same for a store of the simulation, which brings its own disk and index and takes no lock.
///
/// # Errors
/// A disk that fails, or no readable superblock.
pub fn check_simulated(io: &mut dyn Io, paths: &Paths, index: &dyn Index, level: u8) -> Result<Report> {
    let (superblock, _) = superblocks::read(io, paths)?;
    check_files(io, paths, superblock.store, index, Report::new(level), &mut |_| {}, None)
}

/// Containers, then streams; `report` says how deep, and what was found before.
fn check_files<'a>(
    io: &'a mut dyn Io,
    paths: &'a Paths,
    store: StoreId,
    index: &'a dyn Index,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
    beside: Option<Beside<'a>>,
) -> Result<Report> {
    let (level, total, places) = (report.level, None, HashMap::new());
    let mut check = Check { io, paths, store, index, level, report, progress, total, places, beside };
    match check.beside.as_ref().map(|beside| beside.core) {
        Some(core) => check.containers_beside(core)?,
        None => check.containers()?,
    }
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
