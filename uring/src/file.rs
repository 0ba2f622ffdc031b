//! Open files and names: the part of [`crate::io::Io`] that the ring and the blocking backend share.
//!
//! Metadata goes through plain system calls on the caller's thread: it is rare, and io_uring would hand it to a kernel
//! worker anyway.
//!
//! # Invariants
//! - A [`FileId`] is never given out twice by one table, so a stale one cannot reach another file.
//! - Every descriptor is close-on-exec: a forked child must not keep a container open or a lock held.
//! - A failed sync is reported and never retried, also not after `EINTR`.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::io::{Entry, FileId, Open};

/// Permission bits of new files and folders: what is backed up may be private.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// How files of one source are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// With `O_DIRECT`.
    pub(crate) direct: bool,
    /// Refuse everything that changes the disk.
    pub(crate) read_only: bool,
}

/// One open file.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: Arc<File>,
    /// Its slot in the ring's table of registered files, if it got one.
    pub(crate) slot: Option<u32>,
}

/// The open files of one `Io`.
#[derive(Debug)]
pub(crate) struct Files {
    access: Access,
    next: u32,
    open: HashMap<FileId, OpenFile>,
}

impl Files {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, next: 0, open: HashMap::new() }
    }

    /// Open or create a file; `slot` is asked for a registered slot once it is open.
    pub(crate) fn open(
        &mut self,
        path: &Path,
        how: Open,
        slot: impl FnOnce(&File) -> Option<u32>,
    ) -> io::Result<FileId> {
        if how != Open::Read {
            self.writable()?;
        }
        let file = open_file(path, how, self.access.direct)?;
        let id = FileId(self.next);
        self.next =
            self.next.checked_add(1).ok_or_else(|| io::Error::other("this door opened 2^32 files"))?;
        self.open.insert(id, OpenFile { slot: slot(&file), file: Arc::new(file) });
        Ok(id)
    }

    /// Forget a file. Its descriptor closes when the returned handle is dropped.
    pub(crate) fn close(&mut self, id: FileId) -> Option<OpenFile> {
        self.open.remove(&id)
    }

    /// An open file, or `EBADF`.
    pub(crate) fn get(&self, id: FileId) -> io::Result<&OpenFile> {
        self.open.get(&id).ok_or_else(|| rustix::io::Errno::BADF.into())
    }

    pub(crate) fn size(&self, id: FileId) -> io::Result<u64> {
        Ok(self.get(id)?.file.metadata()?.len())
    }

    pub(crate) fn truncate(&self, id: FileId, len: u64) -> io::Result<()> {
        self.writable()?;
        self.get(id)?.file.set_len(len)
    }

    pub(crate) fn sync_all(&self, id: FileId) -> io::Result<()> {
        Ok(rustix::fs::fsync(&*self.get(id)?.file)?)
    }

    pub(crate) fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.writable()?;
        std::fs::rename(source, target)
    }

    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        self.writable()?;
        std::fs::remove_file(path)
    }

    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.writable()?;
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn writable(&self) -> io::Result<()> {
        if self.access.read_only { Err(rustix::io::Errno::ROFS.into()) } else { Ok(()) }
    }
}

/// Open `path`, close-on-exec, with `O_DIRECT` where asked.
pub(crate) fn open_file(path: &Path, how: Open, direct: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(how != Open::Read).create_new(how == Open::Create).mode(FILE_MODE);
    if direct {
        options.custom_flags(libc::O_DIRECT);
    }
    options.open(path)
}

/// `fallocate` mode 0, which may be interrupted; space found so far stays reserved.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Make a directory's names durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
    Ok(rustix::fs::fsync(&folder)?)
}

/// Names in a directory, sorted.
pub(crate) fn list(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // Removed since `readdir` saw it.
            other => other?,
        };
        let name = entry.file_name().into_string().map_err(|name| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: the name {name:?} is not UTF-8, so it is not ours", path.display()),
            )
        })?;
        let is_dir = meta.is_dir();
        entries.push(Entry { name, size: if is_dir { 0 } else { meta.len() }, is_dir });
    }
    entries.sort();
    Ok(entries)
}

/// Bytes an ordinary user may still write below `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stats = rustix::fs::statvfs(path)?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn descriptors_do_not_survive_exec() {
        let dir = tempfile::tempdir().unwrap();
        let file = open_file(&dir.path().join("file"), Open::Create, false).unwrap();
        let flags = rustix::io::fcntl_getfd(&file).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "descriptor {}", file.as_raw_fd());
    }

    #[test]
    fn a_read_only_table_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"kept").unwrap();
        let mut files = Files::new(Access { direct: false, read_only: true });
        let id = files.open(&path, Open::Read, |_| None).unwrap();
        let refused = Some(libc::EROFS);
        assert_eq!(files.open(&path, Open::Write, |_| None).unwrap_err().raw_os_error(), refused);
        assert_eq!(files.truncate(id, 0).unwrap_err().raw_os_error(), refused);
        assert_eq!(files.unlink(&path).unwrap_err().raw_os_error(), refused);
        assert_eq!(files.rename(&path, &dir.path().join("b")).unwrap_err().raw_os_error(), refused);
        assert_eq!(files.create_dir(&dir.path().join("c")).unwrap_err().raw_os_error(), refused);
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_foreign_name_is_an_error() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();
        assert_eq!(list(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
