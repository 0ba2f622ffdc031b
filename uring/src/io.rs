//! The one seam between gdd and the operating system: files, durability, and the clock.
//!
//! Everything the store reads, writes, syncs or times goes through [`Io`], so that one and the same engine runs on
//! io_uring, on plain `pread`/`pwrite`, and on a seeded simulator that crashes and lies like real disks do.
//!
//! # Durability contract
//! - A completed `Write` is *accepted*: a power cut may lose it, whole or by 512-byte sectors, in any order.
//! - A completed `Datasync` makes durable every write to that file whose completion was reaped *before* the sync was
//!   submitted. Nothing else. Callers never overlap a sync with writes it should cover.
//! - A created, renamed or unlinked name is durable only after `sync_dir` of its directory.
//! - After a failed write or sync the file's contents are unknown; the same sync is never retried.
//!
//! # Ownership
//! A buffer moves into its operation and comes back in [`Done`], whether it worked or not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::{IoBuf, Pool};

/// An open file of one [`Io`]. Not valid in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// The caller's name for an operation, given back in its completion. Need not be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// A data operation. Offsets and buffer lengths are multiples of [`crate::buffer::ALIGN`].
#[derive(Debug)]
pub enum Op {
    /// Fill `buffer` from `offset`. Completes with fewer bytes only at the end of the file.
    Read {
        /// Where to read.
        file: FileId,
        /// Byte offset in the file.
        offset: u64,
        /// Its whole visible length is filled.
        buffer: IoBuf,
    },
    /// Write all of `buffer` at `offset`; short writes are continued by the backend.
    Write {
        /// Where to write.
        file: FileId,
        /// Byte offset in the file.
        offset: u64,
        /// Its whole visible length is written.
        buffer: IoBuf,
    },
    /// `fdatasync`: see the durability contract above.
    Datasync {
        /// What to sync.
        file: FileId,
    },
    /// `fallocate` mode 0: reserve space and extend the file, so that later writes neither extend nor run out.
    Allocate {
        /// What to extend.
        file: FileId,
        /// Final length in bytes.
        len: u64,
    },
}

/// A completed operation.
#[derive(Debug)]
#[must_use]
pub struct Done {
    /// The tag it was submitted with.
    pub tag: Tag,
    /// Bytes moved (0 for sync and allocate), or the error.
    pub result: io::Result<usize>,
    /// The buffer that went in, always, with the visible range it had.
    pub buffer: Option<IoBuf>,
}

/// How long [`Io::poll`] may wait for a first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Reap what is there.
    No,
    /// Until a completion, a wake-up, or this much time.
    For(Duration),
}

/// How to open a file. All opens are for direct I/O where the level allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Read an existing file.
    Read,
    /// Read and write an existing file.
    Write,
    /// Create a file that must not exist, for reading and writing.
    Create,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// File name, without the directory.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Wakes a thread that waits in [`Io::poll`]. Cheap when that thread is not waiting.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that runs `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// End the current wait, or the next one if none is under way. Never lost: what the caller published before this
    /// call is seen by the woken thread after its `poll` returns.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

/// One thread's door to the disk and the clock. Used only by the thread that opened it.
pub trait Io {
    /// Queue a data operation. It may start at once or at the next [`Io::poll`].
    ///
    /// # Errors
    /// The operation, given back, when [`Io::capacity`] operations are in flight: reap some and try again.
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op>;

    /// Start what is queued, and append completions to `done`, in any order.
    ///
    /// # Errors
    /// The ring itself failed (not an operation): the caller must stop using this `Io`, and the store.
    fn poll(&mut self, done: &mut Vec<Done>, wait: Wait) -> io::Result<()>;

    /// Operations submitted and not yet given back by `poll`.
    fn in_flight(&self) -> usize;

    /// The most operations that may be in flight.
    fn capacity(&self) -> usize;

    /// Register a pool's memory for cheaper operations. A refusal (`RLIMIT_MEMLOCK`) only costs speed; it returns
    /// false and the level's report says so.
    fn register(&mut self, pool: &Pool) -> bool;

    /// Wakes this `Io`'s thread from `poll`.
    fn waker(&self) -> Waker;

    /// Time since some fixed point; never goes back.
    fn now(&self) -> Duration;

    /// Open or create a file.
    ///
    /// # Errors
    /// As `open(2)`.
    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId>;

    /// Close a file. No operation of it may be in flight.
    fn close(&mut self, file: FileId);

    /// Length in bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    fn size(&mut self, file: FileId) -> io::Result<u64>;

    /// Set the length in bytes. No operation of the file may be in flight.
    ///
    /// # Errors
    /// As `ftruncate(2)`.
    fn truncate(&mut self, file: FileId, len: u64) -> io::Result<()>;

    /// `fsync`: contents and length. Blocks.
    ///
    /// # Errors
    /// As `fsync(2)`; never retried.
    fn sync_all(&mut self, file: FileId) -> io::Result<()>;

    /// Rename atomically, replacing `target`.
    ///
    /// # Errors
    /// As `rename(2)`.
    fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()>;

    /// Remove a file's name.
    ///
    /// # Errors
    /// As `unlink(2)`.
    fn unlink(&mut self, path: &Path) -> io::Result<()>;

    /// Create a directory; one that exists is fine.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    fn create_dir(&mut self, path: &Path) -> io::Result<()>;

    /// Make the directory's names durable. Blocks.
    ///
    /// # Errors
    /// As `fsync(2)`; fatal to the caller.
    fn sync_dir(&mut self, path: &Path) -> io::Result<()>;

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// As `readdir(3)`; a name that is not UTF-8 is an error, since the store makes none.
    fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Bytes an ordinary user may still write to the file system that holds `path`.
    ///
    /// # Errors
    /// As `statvfs(3)`.
    fn free_bytes(&mut self, path: &Path) -> io::Result<u64>;
}

/// Opens an [`Io`] for each thread that needs one, all on the same disk and level.
pub trait IoSource: Send + Sync {
    /// Open a door for the calling thread.
    ///
    /// # Errors
    /// The message names the remedy.
    fn open(&self) -> io::Result<Box<dyn Io>>;

    /// How the disk is reached, for logs and `gdd stats`: `uring+direct`, `pwrite+direct`, `pwrite+buffered`, `sim`.
    fn mode(&self) -> &str;

    /// Fallbacks and findings of the probe, one sentence each, with the remedy.
    fn notes(&self) -> Vec<String>;
}

/// Wait for one operation on an otherwise idle `io`. For control paths, not for the data path.
///
/// # Errors
/// The operation's own, or the ring's.
///
/// # Panics
/// When other operations are in flight.
pub fn run(io: &mut dyn Io, op: Op) -> io::Result<(usize, Option<IoBuf>)> {
    assert_eq!(io.in_flight(), 0, "a blocking helper runs on an idle ring");
    if io.submit(Tag(u64::MAX), op).is_err() {
        return Err(io::Error::other("an idle ring refused an operation"));
    }
    let mut done = Vec::with_capacity(1);
    while done.is_empty() {
        io.poll(&mut done, Wait::For(Duration::from_secs(1)))?;
    }
    let Done { result, buffer, .. } = done.remove(0);
    Ok((result?, buffer))
}

/// Read `len` bytes at `offset`, both aligned; fewer at the end of the file.
///
/// # Errors
/// As `pread(2)`.
pub fn read_at(io: &mut dyn Io, file: FileId, offset: u64, len: usize) -> io::Result<IoBuf> {
    let (count, buffer) = run(io, Op::Read { file, offset, buffer: IoBuf::zeroed(len) })?;
    let mut buffer = buffer.ok_or_else(|| io::Error::other("a read gives its buffer back"))?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Write all of `buffer` at `offset`, both aligned.
///
/// # Errors
/// As `pwrite(2)`.
pub fn write_at(io: &mut dyn Io, file: FileId, offset: u64, buffer: IoBuf) -> io::Result<()> {
    run(io, Op::Write { file, offset, buffer }).map(drop)
}

/// Make the file's completed writes durable.
///
/// # Errors
/// As `fdatasync(2)`; never retried.
pub fn datasync(io: &mut dyn Io, file: FileId) -> io::Result<()> {
    run(io, Op::Datasync { file }).map(drop)
}

/// Seconds since 1970 by this machine's clock: to show people, never to decide anything.
#[must_use]
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
