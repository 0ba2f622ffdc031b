//! Whether what was restored has reached its disk: a write that succeeds may be in memory only, and fail later, when
//! nobody listens any more: a server that is full, a thin volume without room below it, a cable.
//!
//! Of a local file system one sync at the job's end tells of every such failure since the first byte (Linux 5.8:
//! syncfs(2) reports errors of writeback since the descriptor was opened). Others, and older kernels, tell of it only
//! who syncs the file itself, or closes it, and that is done with each of theirs before it gets its name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use gdd_plugin_abi::close::close;
use rustix::fs::{StatVfsMountFlags, fstatfs, fstatvfs, syncfs};

/// File systems whose data a sync of the whole brings to a disk of this machine, or says that it could not: ext2 to 4,
/// XFS, Btrfs, F2FS, ZFS, tmpfs. Not overlayfs, which does not pass on what the one below it has met. The numbers are
/// of Linux's include/uapi/linux/magic.h and of statfs(2).
const LOCAL: [u64; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0x0102_1994];

/// Where a job has put files.
#[derive(Debug, Default)]
pub struct Disks(HashMap<u64, Disk>);

#[derive(Debug)]
struct Disk {
    /// Its first file, as it was before a byte was written: it hears of all failures since.
    first: File,
    is_local: bool,
}

impl Disks {
    /// Note where `file` is, into which nothing was written yet.
    ///
    /// # Errors
    /// Its file system cannot be asked.
    pub fn note(&mut self, file: &File) -> io::Result<()> {
        let device = file.metadata()?.dev();
        if let Entry::Vacant(disk) = self.0.entry(device) {
            let kind = fstatfs(file)?.f_type;
            let is_local = tells_all() && u64::try_from(kind).is_ok_and(|kind| LOCAL.contains(&kind));
            disk.insert(Disk { first: file.try_clone()?, is_local });
        }
        Ok(())
    }

    /// All of `file` was written, and it is about to get its name.
    ///
    /// # Errors
    /// Its data did not reach whoever keeps it.
    pub fn written(&self, file: &File) -> io::Result<()> {
        let device = file.metadata()?.dev();
        match self.0.get(&device) {
            Some(disk) if disk.is_local => Ok(()), // At the end, all at once.
            _ => {
                file.sync_all()?;
                close(file.try_clone()?) // Who writes only then does so at the close of each descriptor.
            }
        }
    }

    /// The job has put everything where it belongs. Forgets all.
    ///
    /// # Errors
    /// Something of it did not reach its disk.
    pub fn settle(&mut self) -> io::Result<()> {
        let mut settled = Ok(());
        for Disk { first, is_local } in std::mem::take(&mut self.0).into_values() {
            let synced = syncfs(&first);
            // Of the others each file was synced: what is wrong there now is somebody else's.
            if is_local {
                settled = settled.and(synced.map_err(io::Error::from)).and_then(|()| demand_alive(&first));
            }
        }
        settled
    }
}

/// Refuse a file system that has found itself broken and takes no more: nothing is left to sync there, so a sync of all
/// of it finds nothing wrong.
fn demand_alive(first: &File) -> io::Result<()> {
    first.sync_all()?;
    match fstatvfs(first)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        false => Ok(()),
        true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
    }
}

/// Whether this kernel's `syncfs` reports what has failed before it was called.
fn tells_all() -> bool {
    rustix::system::uname().release().to_str().ok().and_then(version).is_some_and(|version| version >= (5, 8))
}

/// Of a release such as `5.10.0-28-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|sign: char| !sign.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(version("5.10.0-28-amd64"), Some((5, 10)));
        assert_eq!(version("4.18.0-553.el8.x86_64"), Some((4, 18)));
        assert_eq!(version("6.18"), Some((6, 18)));
        assert_eq!((version("five"), version("6"), version("")), (None, None, None));
    }

    #[test]
    fn each_disk_is_noted_once_and_settled() {
        let folder = tempfile::tempdir().unwrap();
        let mut disks = Disks::default();
        for name in ["a", "b"] {
            let file = File::create(folder.path().join(name)).unwrap();
            disks.note(&file).unwrap();
            disks.written(&file).unwrap();
        }
        assert_eq!(disks.0.len(), 1);
        disks.settle().unwrap();
        assert!(disks.0.is_empty());
        let proc = File::open("/proc/self/status").unwrap();
        disks.note(&proc).unwrap();
        assert!(disks.0.values().all(|disk| !disk.is_local), "it is no disk");
        disks.settle().unwrap();
    }
}
