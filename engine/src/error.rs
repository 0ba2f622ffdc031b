//! What can go wrong in a store, and what the caller should do about it.
//!
//! # Rules
//! - Disk contents are *refused* with the file, the offset, what was expected and what was found; never asserted.
//! - After a failed write or sync the store is poisoned: every later write answers [`Error::Poisoned`], and only
//!   a reopen, which runs recovery, heals it. Nothing is retried (ATC'20 "Can applications recover from fsync
//!   failures?").
//! - An error is logged once, where it stops. It carries the remedy when there is one.

use std::io;
use std::path::{Path, PathBuf};

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error numbers that mean that data is lost: EIO, ENXIO, ENOENT, ENODATA, EBADMSG, EILSEQ, EUCLEAN, EREMOTEIO.
const LOSSES: [i32; 8] = [5, 6, 2, 61, 74, 84, 117, 121];

/// What was tried when an error number may mean that: a write, a sync or a new name that fails loses nothing that was
/// there, and is a failure whatever its number.
const READS: [&str; 5] = ["open", "read", "read the length of", "measure", "look at"];

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operating-system call failed.
    #[error("{action} {path}: {source}{remedy}", path = path.display(), remedy = remedy_of(source))]
    Io {
        /// What was tried, as a verb: "read", "write", "sync", "create".
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Bytes on disk are not what was written there.
    #[error("{path} at byte {offset}: {what}: expected {expected}, found {found}", path = path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Which structure.
        what: &'static str,
        /// What a good one has.
        expected: String,
        /// What is there.
        found: String,
    },
    /// No store here.
    #[error("{path} is not a gdd store: {why}; create one with `gdd init {path}`", path = path.display())]
    NotAStore {
        /// Where we looked.
        path: PathBuf,
        /// What is missing or foreign.
        why: String,
    },
    /// A format that this version does not know.
    #[error("{path} has format version {found}, this gdd reads up to {known}; upgrade gdd", path = path.display())]
    Version {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Another process holds the store.
    #[error("{path} is in use by another process{holder}; wait for it, or stop it", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// ` (pid N)` when known, else empty.
        holder: String,
    },
    /// A name that no stream has.
    #[error("no stream named {0:?}; `gdd ls` lists them")]
    NoSuchStream(String),
    /// A name that a stream already has.
    #[error("a stream named {0:?} exists; remove it first with `gdd rm`, or choose another name")]
    StreamExists(String),
    /// A caller's argument is out of range.
    #[error("{0}")]
    Invalid(String),
    /// A chunk that a recipe names cannot be given back.
    #[error("chunk {hash}: {why}")]
    ChunkLost {
        /// Which chunk, in hex.
        hash: String,
        /// Missing from the index, damaged, or condemned.
        why: String,
    },
    /// Long work was told to stop. What it did before stays.
    #[error("told to stop; what was done so far stays done")]
    Cancelled,
    /// Somebody does already what only one may do at a time.
    #[error("{0}")]
    Busy(String),
    /// The index failed.
    #[error("index: {0}")]
    Index(String),
    /// The store failed earlier and accepts nothing more.
    #[error("the store stopped accepting data after an earlier failure: {0}; reopen it to run recovery")]
    Poisoned(String),
}

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::Corrupt`].
    pub fn corrupt(
        path: &Path,
        offset: u64,
        what: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corrupt { path: path.to_owned(), offset, what, expected: expected.into(), found: found.into() }
    }

    /// Whether what was to be read is gone or not what was written, for good as far as this machine can tell: damage,
    /// not a failure of the work that met it. Of the system's errors those that a device or file system gives for a
    /// place that it cannot read, or a file that is not there; not those for a lack of memory, descriptors or rights,
    /// and none that a write or a sync has met.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Version { .. } | Self::ChunkLost { .. } => true,
            Self::Io { action, source, .. } if READS.contains(action) => {
                source.kind() == io::ErrorKind::UnexpectedEof
                    || source.raw_os_error().is_some_and(|number| LOSSES.contains(&number))
            }
            _ => false,
        }
    }

    /// Whether it is damage: a loss, but for what a newer gdd wrote, which that gdd can read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.is_loss() && !matches!(self, Self::Version { .. })
    }

    /// What happened, without the sentence around an earlier failure: that one is told once, by whoever tells it last.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Poisoned(why) => why.clone(),
            other => other.to_string(),
        }
    }

    /// The process exit code for this error: 1 failed, 2 usage, 3 damage found, 4 busy, 5 incompatible version.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Corrupt { .. } | Self::ChunkLost { .. } => 3,
            Self::Locked { .. } | Self::Busy(_) => 4,
            Self::Version { .. } => 5,
            Self::Invalid(_) => 2,
            _ => 1,
        }
    }
}

fn remedy_of(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => {
            "; free space on this file system, then try again (nothing acknowledged is lost)"
        }
        io::ErrorKind::QuotaExceeded => {
            "; raise the quota or free space, then try again (nothing acknowledged is lost)"
        }
        io::ErrorKind::PermissionDenied => "; check the owner and mode of the store directory",
        io::ErrorKind::ReadOnlyFilesystem => "; remount the file system read-write",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_read_is_lost_and_a_failed_write_is_a_failure() {
        let error = |action, number| Error::Io {
            action,
            path: PathBuf::from("f"),
            source: io::Error::from_raw_os_error(number),
        };
        let (eio, enoent, enomem, emfile, eacces) = (5, 2, 12, 24, 13);
        for action in READS {
            assert!(error(action, eio).is_loss() && error(action, enoent).is_damage(), "{action}");
            for number in [enomem, emfile, eacces] {
                assert!(!error(action, number).is_loss(), "{action} {number}");
            }
        }
        for action in ["write", "sync", "create", "rename", "remove", "truncate", "list"] {
            assert!(!error(action, eio).is_loss(), "{action}");
        }
        let newer = Error::Version { path: PathBuf::from("f"), found: 2, known: 1 };
        assert!(newer.is_loss() && !newer.is_damage());
    }
}
