//! One writer, or many readers, on one store: `flock` on a file that stays for ever.
//!
//! A killed process keeps its descriptors until the kernel has finished its io_uring requests, so the lock of a dead
//! daemon can outlive it by a moment; the new one tries for [`PATIENCE`] before it gives up.
//!
//! # What it does not do
//! It does not protect against processes that do not ask, nor across machines on file systems whose `flock` is local.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

/// How long a lock is tried for.
pub const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path}: in use by {}; stop it, or wait for it to end", name(*holder))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Process id, where `/proc/locks` shows it.
        holder: Option<u32>,
    },
    /// The file cannot be opened or locked.
    #[error("{path}: {source}")]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// As `open(2)` or `flock(2)`.
        source: io::Error,
    },
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
#[must_use = "a lock that is dropped at once protects nothing"]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Take the lock alone, making its file if there is none.
    ///
    /// # Errors
    /// When it is held, by anyone, for [`PATIENCE`].
    pub fn exclusive(path: &Path) -> Result<Self, LockError> {
        Self::exclusive_within(path, PATIENCE)
    }

    /// As [`Lock::exclusive`], with another patience.
    ///
    /// # Errors
    /// When it is held for that long.
    pub fn exclusive_within(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        take(path, &options, FlockOperation::NonBlockingLockExclusive, patience)
    }

    /// Take the lock together with other readers. Writes nothing, so it works on a read-only file system.
    ///
    /// # Errors
    /// When it is held by a writer for [`PATIENCE`].
    pub fn shared(path: &Path) -> Result<Self, LockError> {
        Self::shared_within(path, PATIENCE)
    }

    /// As [`Lock::shared`], with another patience.
    ///
    /// # Errors
    /// When it is held by a writer for that long.
    pub fn shared_within(path: &Path, patience: Duration) -> Result<Self, LockError> {
        take(path, OpenOptions::new().read(true), FlockOperation::NonBlockingLockShared, patience)
    }
}

fn take(
    path: &Path,
    options: &OpenOptions,
    how: FlockOperation,
    patience: Duration,
) -> Result<Lock, LockError> {
    let failed = |source| LockError::Io { path: path.to_owned(), source };
    let file = options.open(path).map_err(failed)?;
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&file, how) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < patience => {
                std::thread::sleep(RETRY_INTERVAL);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { path: path.to_owned(), holder: holder(&file) });
            }
            Err(e) => return Err(failed(e.into())),
        }
    }
}

/// The process that holds a lock on `file`, where the kernel says so.
fn holder(file: &File) -> Option<u32> {
    let meta = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    find_holder(&locks, &format!("{major:02x}:{minor:02x}:{}", meta.ino()))
}

/// The pure part of [`holder`]; `file` is `major:minor:inode` as `/proc/locks` writes it. Waiting processes, marked
/// by an arrow, are not holders.
fn find_holder(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_flock = fields.next() == Some("FLOCK");
        let pid = fields.nth(2)?.parse().ok()?;
        (is_flock && fields.next() == Some(file) && pid != 0).then_some(pid)
    })
}

fn name(holder: Option<u32>) -> String {
    let Some(pid) = holder else { return "another process".to_owned() };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(command) => format!("process {pid} ({})", command.trim()),
        Err(_) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn one_writer_or_many_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(
            matches!(Lock::shared_within(&path, NOW), Err(LockError::Io { .. })),
            "a reader makes no file"
        );
        let writer = Lock::exclusive_within(&path, NOW).unwrap();
        for refused in [Lock::exclusive_within(&path, NOW), Lock::shared_within(&path, NOW)] {
            let Err(e @ LockError::Held { holder, .. }) = refused else { unreachable!("{refused:?}") };
            assert_eq!(holder, Some(std::process::id()), "{e}");
            assert!(e.to_string().contains(&std::process::id().to_string()));
        }
        drop(writer);
        let first = Lock::shared_within(&path, NOW).unwrap();
        let second = Lock::shared_within(&path, NOW).unwrap();
        assert!(Lock::exclusive_within(&path, NOW).is_err());
        drop((first, second));
        drop(Lock::exclusive_within(&path, NOW).unwrap());
    }

    #[test]
    fn a_lock_that_is_let_go_in_time_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(5 * RETRY_INTERVAL);
            drop(held);
        });
        let _mine = Lock::exclusive_within(&path, Duration::from_secs(600)).unwrap();
        late.join().unwrap();
    }

    #[test]
    fn waiting_and_foreign_lines_are_skipped() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 fe:00:78 0 EOF\n4: FLOCK  ADVISORY  READ 14 fe:00:77 0 EOF\n";
        assert_eq!(find_holder(locks, "fe:00:77"), Some(14));
        assert_eq!(find_holder(locks, "fe:00:79"), None);
        assert_eq!(find_holder("garbage\n\n1:", "fe:00:77"), None);
    }
}
