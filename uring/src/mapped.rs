//! A file in memory as a slice of atomic words, for the cold part of the filter.
//!
//! Touching a page of a mapping that the file no longer has, or that the disk has no room for, kills the process with
//! `SIGBUS`. So the file is locked and its space reserved before it is mapped, and its length never changes after.
//!
//! # Invariants
//! - While a mapping exists its file is locked, shared for readers and alone for a writer: no process that asks for the
//!   lock can cut the file. A process that does not ask still could; the store's directory is private for that reason.
//! - Every block of a writable mapping is reserved, also where a copy made the file sparse.
//!
//! # Crash consistency
//! Words reach the disk in any order, whole pages at a time, until [`Mapped::flush`] returns. What is stored must be
//! usable in any such state, or be marked unclean by its owner before the first store.
#![expect(unsafe_code, reason = "maps a file and shares it as atomics")]

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::FlockOperation;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};

use crate::buffer::ALIGN;
use crate::file::allocate;

/// Bytes of a word.
const WORD_SIZE: usize = size_of::<AtomicU64>();
const _: () = assert!(ALIGN.is_multiple_of(WORD_SIZE));
// Words are stored as the CPU has them, and the format says little-endian.
const _: () = assert!(cfg!(target_endian = "little"));

/// Why a file was not mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Its length is not what its owner wrote down.
    #[error("{path}: {found} bytes long, expected {expected}")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Another process maps it.
    #[error("{path}: mapped by another process; stop it, or wait for it to end")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened, reserved, locked or mapped.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// As the system call that failed.
        source: io::Error,
    },
}

/// A mapped file.
#[derive(Debug)]
pub struct Mapped {
    path: PathBuf,
    file: File,
    start: NonNull<AtomicU64>,
    words: usize,
    writable: bool,
}

// SAFETY: the memory is reached only as shared atomics, from any thread; the mapping is undone by whoever drops it.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Create a file of `words` zeros, which must not exist, reserve its space, and map it.
    ///
    /// # Errors
    /// As `open(2)`, `fallocate(2)` and `mmap(2)`; a file that could not be completed is removed.
    ///
    /// # Panics
    /// When `words` is zero or more than fits in memory.
    pub fn create(path: &Path, words: usize) -> Result<Self, MapError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|source| MapError::Io { path: path.to_owned(), source })?;
        let mapped = Self::prepare(path, file, words, true, true);
        if mapped.is_err() {
            // The error that matters is the first one.
            let _gone = std::fs::remove_file(path);
        }
        mapped
    }

    /// Map an existing file of exactly `words` words for reading and writing.
    ///
    /// # Errors
    /// When its length differs, and as [`Mapped::create`].
    ///
    /// # Panics
    /// As [`Mapped::create`].
    pub fn open(path: &Path, words: usize) -> Result<Self, MapError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|source| MapError::Io { path: path.to_owned(), source })?;
        Self::prepare(path, file, words, true, false)
    }

    /// Map an existing file of exactly `words` words for reading. A store changes this mapping alone, never the file.
    ///
    /// # Errors
    /// When its length differs, and as [`Mapped::create`].
    ///
    /// # Panics
    /// As [`Mapped::create`].
    pub fn open_read_only(path: &Path, words: usize) -> Result<Self, MapError> {
        let file = File::open(path).map_err(|source| MapError::Io { path: path.to_owned(), source })?;
        Self::prepare(path, file, words, false, false)
    }

    /// Lock, then measure, then reserve, then map: in this order nobody can cut the file between two steps.
    fn prepare(path: &Path, file: File, words: usize, writable: bool, new: bool) -> Result<Self, MapError> {
        assert!(words > 0, "a mapping has at least one word");
        let len = words.checked_mul(WORD_SIZE).expect("a mapping fits in memory");
        let failed = |source: io::Error| MapError::Io { path: path.to_owned(), source };
        let how = if writable {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        };
        match rustix::fs::flock(&file, how) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(MapError::InUse { path: path.to_owned() }),
            other => other.map_err(|e| failed(e.into()))?,
        }
        let found = file.metadata().map_err(failed)?.len();
        if !new && found != len as u64 {
            return Err(MapError::Length { path: path.to_owned(), expected: len as u64, found });
        }
        if writable {
            allocate(&file, len as u64).map_err(failed)?;
        }
        // A reader's mapping is writable but private, so that a store to one of its words is no fault.
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let kind = if writable { MapFlags::SHARED } else { MapFlags::PRIVATE | MapFlags::NORESERVE };
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, kind, &file, 0) }
            .map_err(|e| failed(e.into()))?;
        let start = NonNull::new(start.cast()).expect("a mapping is not at address zero");
        Ok(Self { path: path.to_owned(), file, start, words, writable })
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `words` long, page aligned and lives as long as `self`; the file behind it is locked,
        // reserved and never shortened. Zeroed or not, any bytes are valid words.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Write all changed pages to the disk and wait (`msync`). Blocks.
    ///
    /// # Errors
    /// As `msync(2)`; never retried, and what is on the disk is then unknown.
    pub fn flush(&self) -> Result<(), MapError> {
        self.flush_range(0..self.words)
    }

    /// As [`Mapped::flush`], for the pages that hold `range`, in words.
    ///
    /// # Errors
    /// As [`Mapped::flush`].
    ///
    /// # Panics
    /// When `range` is not inside the mapping, or the mapping is read-only.
    pub fn flush_range(&self, range: Range<usize>) -> Result<(), MapError> {
        assert!(self.writable, "only a writable mapping has changes");
        assert!(range.start <= range.end && range.end <= self.words, "the range lies inside the mapping");
        let first = range.start * WORD_SIZE / ALIGN * ALIGN;
        let len = range.end * WORD_SIZE - first;
        // SAFETY: the range was checked to lie inside the mapping and starts on a page; syncing changes no memory.
        let synced = unsafe {
            let start = self.start.as_ptr().cast::<u8>().add(first);
            rustix::mm::msync(start.cast(), len, MsyncFlags::SYNC)
        };
        synced.map_err(|e| MapError::Io { path: self.path.clone(), source: e.into() })
    }

    /// Make the file's length and reserved space durable; its name is the directory's business.
    ///
    /// # Errors
    /// As `fsync(2)`; never retried.
    pub fn sync_file(&self) -> Result<(), MapError> {
        rustix::fs::fsync(&self.file).map_err(|e| MapError::Io { path: self.path.clone(), source: e.into() })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `prepare`, unmapped once, and all borrows of `words` have ended.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.words * WORD_SIZE) };
        if let Err(e) = unmapped {
            tracing::error!("{}: munmap: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::Ordering;

    #[test]
    fn words_outlive_the_mapping() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        let words = 3 * ALIGN / WORD_SIZE + 5;
        let mapped = Mapped::create(&path, words).unwrap();
        assert!(mapped.words().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        for (position, word) in mapped.words().iter().enumerate() {
            word.fetch_or(position as u64 * 3, Ordering::Relaxed);
        }
        mapped.flush().unwrap();
        mapped.flush_range(words - 1..words).unwrap();
        mapped.sync_file().unwrap();
        drop(mapped);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[7 * WORD_SIZE..8 * WORD_SIZE], 21_u64.to_le_bytes());
        let back = Mapped::open_read_only(&path, words).unwrap();
        assert!(
            back.words().iter().enumerate().all(|(at, word)| word.load(Ordering::Relaxed) == at as u64 * 3)
        );
    }

    #[test]
    fn a_length_that_differs_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        drop(Mapped::create(&path, 512).unwrap());
        assert!(matches!(Mapped::create(&path, 512), Err(MapError::Io { .. })), "a file is never replaced");
        File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        let refused = Mapped::open(&path, 512).unwrap_err();
        assert!(matches!(refused, MapError::Length { expected: 4096, found: 100, .. }), "{refused}");
        assert!(Mapped::open_read_only(&path, 512).is_err());
    }

    #[test]
    fn a_writer_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        let writer = Mapped::create(&path, 512).unwrap();
        assert!(matches!(Mapped::open(&path, 512), Err(MapError::InUse { .. })));
        assert!(matches!(Mapped::open_read_only(&path, 512), Err(MapError::InUse { .. })));
        drop(writer);
        let _first = Mapped::open_read_only(&path, 512).unwrap();
        let _second = Mapped::open_read_only(&path, 512).unwrap();
        assert!(matches!(Mapped::open(&path, 512), Err(MapError::InUse { .. })));
    }

    #[test]
    fn a_sparse_copy_is_filled_in_before_it_is_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        File::create(&path).unwrap().set_len(64 * 4096).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().blocks(), 0);
        let mapped = Mapped::open(&path, 64 * 512).unwrap();
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 64 * 4096);
        mapped.words()[64 * 512 - 1].store(1, Ordering::Relaxed);
    }
}
