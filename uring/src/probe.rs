//! Finds out, once per store directory, how its disk can be reached, and falls back honestly.
//!
//! ```text
//! uring+direct      ring for each thread, O_DIRECT
//! pwrite+direct     two threads for each door, O_DIRECT        when io_uring is refused
//! pwrite+buffered   the same through the page cache            when direct I/O does not exist or is not real
//! ```
//!
//! What a kernel or file system claims is not believed: each level passes a live test in the directory itself before it
//! is used, and each step down leaves one sentence with its remedy in [`IoSource::notes`].
//!
//! # What it does not do
//! It never steps down later: a ring that fails while a store is open is an error, not a silent change of mode in the
//! middle of a file.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::blocking::Blocking;
use crate::file::Access;
use crate::io::{Io, IoSource};
use crate::kernel::{self, Verdict};
pub use crate::live::TRIAL_PREFIX;
use crate::live::{self, Direct};
use crate::notes::Notes;
use crate::remedy;
use crate::ring::{self, Ring};

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The best level that works.
    #[default]
    Auto,
    /// io_uring with direct I/O, or an error.
    Uring,
    /// `pread` and `pwrite`, direct where possible.
    Pwrite,
    /// `pread` and `pwrite` through the page cache.
    Buffered,
}

/// A rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Uring,
    Pwrite,
    Buffered,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring+direct",
            Self::Pwrite => "pwrite+direct",
            Self::Buffered => "pwrite+buffered",
        }
    }
}

/// Opens doors of one level.
struct Source {
    level: Level,
    read_only: bool,
    notes: Arc<Notes>,
    epoch: Instant,
}

impl IoSource for Source {
    fn open(&self) -> io::Result<Box<dyn Io>> {
        let access = Access { direct: self.level != Level::Buffered, read_only: self.read_only };
        Ok(match self.level {
            Level::Uring => Box::new(Ring::open(access, Arc::clone(&self.notes), self.epoch)?),
            Level::Pwrite | Level::Buffered => Box::new(Blocking::open(access, self.epoch)?),
        })
    }

    fn mode(&self) -> &str {
        self.level.name()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.all()
    }
}

/// Probe a directory that will be written, leaving nothing behind in it.
///
/// # Errors
/// When the directory cannot be written, when its kernel would damage it, or when a level was demanded that does not
/// work. The message names the remedy.
pub fn probe(dir: &Path, mode: Mode, require_direct: bool) -> io::Result<Arc<dyn IoSource>> {
    choose(dir, mode, require_direct, false)
}

/// Probe a directory that will only be read. Writes nothing, and every door it opens refuses to change the disk.
///
/// # Errors
/// As [`probe`].
pub fn probe_read_only(dir: &Path, mode: Mode) -> io::Result<Arc<dyn IoSource>> {
    choose(dir, mode, false, true)
}

fn choose(dir: &Path, mode: Mode, require_direct: bool, read_only: bool) -> io::Result<Arc<dyn IoSource>> {
    let here = |e: io::Error| remedy::directory(dir, &e);
    let notes = Arc::new(Notes::default());
    match kernel::judge(live::is_ext4(dir).map_err(here)?) {
        Verdict::Good => {}
        Verdict::Old(why) => notes.add(why),
        Verdict::Broken(why) => return Err(here(io::Error::new(io::ErrorKind::Unsupported, why))),
    }
    let must_be_direct = require_direct || mode == Mode::Uring;
    let direct = match (mode, read_only) {
        (Mode::Buffered, _) => Direct::No("direct I/O was switched off by the I/O mode".to_owned()),
        (_, true) => live::direct_by_reading(dir).map_err(here)?,
        (_, false) => live::direct_by_writing(dir).map_err(here)?,
    };
    let mut level = match direct {
        Direct::Yes if mode == Mode::Pwrite => Level::Pwrite,
        Direct::Yes => Level::Uring,
        Direct::Untested(why) => {
            notes.add(format!("direct I/O is used untested: {why}"));
            if mode == Mode::Pwrite { Level::Pwrite } else { Level::Uring }
        }
        Direct::No(why) if must_be_direct => {
            let remedy = format!("{why}; use a directory on ext4 or xfs, or allow buffered I/O");
            return Err(here(io::Error::new(io::ErrorKind::Unsupported, remedy)));
        }
        Direct::No(why) => {
            notes.add(format!("files go through the page cache: {why}"));
            Level::Buffered
        }
    };
    loop {
        let source = Source { level, read_only, notes: Arc::clone(&notes), epoch: Instant::now() };
        match test(&source, dir) {
            Ok(()) => {
                tracing::info!(mode = level.name(), directory = %dir.display(), read_only, "disk probed");
                return Ok(Arc::new(source));
            }
            Err(why) if level == Level::Uring && mode == Mode::Auto => {
                level = Level::Pwrite;
                notes.add(format!("{why}; {level} is used instead"));
            }
            Err(why) => return Err(here(why)),
        }
    }
}

/// Whether a level works in `dir`.
fn test(source: &Source, dir: &Path) -> io::Result<()> {
    if source.level == Level::Uring {
        operations_known()?;
    }
    let mut io = source.open()?;
    if source.read_only {
        return Ok(()); // What reading can show was shown by `direct_by_reading`.
    }
    match live::round_trip(io.as_mut(), dir) {
        Err(e) if live::is_full(&e) => {
            source.notes.add(format!("{} was not tested: {e}; make room", source.level));
            Ok(())
        }
        other => other,
    }
}

/// Whether the kernel's ring knows every operation we submit.
fn operations_known() -> io::Result<()> {
    use io_uring::opcode as op;
    let (ring, _) = ring::build().map_err(|e| remedy::with(&e, &remedy::ring_refused(&e)))?;
    let mut known = io_uring::Probe::new();
    ring.submitter().register_probe(&mut known).map_err(|e| remedy::with(&e, &remedy::ring_refused(&e)))?;
    let needed = [
        ("READ", op::Read::CODE),
        ("WRITE", op::Write::CODE),
        ("READ_FIXED", op::ReadFixed::CODE),
        ("WRITE_FIXED", op::WriteFixed::CODE),
        ("FSYNC", op::Fsync::CODE),
        ("FALLOCATE", op::Fallocate::CODE),
        ("POLL_ADD", op::PollAdd::CODE),
    ];
    let missing: Vec<_> =
        needed.iter().filter(|(_, code)| !known.is_supported(*code)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!("io_uring of this kernel lacks {}: use 5.11 or newer", missing.join(", "));
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}
