//! Proof that nobody wrote: every file's bytes, length, inode and times to the nanosecond.
//!
//! The change time is the witness that no program can set back: a file that was written and put back as it was, renamed
//! and renamed again, or given other permissions, has a later one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::stream::digest;

/// All that is below one directory, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untouched {
    entries: BTreeMap<PathBuf, Witness>,
    files_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness {
    inode: u64,
    mode: u32,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    digest: Option<blake3::Hash>,
}

impl Untouched {
    /// Look at everything below `root`, and at `root` itself.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut entries = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                for entry in fs::read_dir(&path)? {
                    open.push(entry?.path());
                }
            }
            let witness = Witness {
                inode: metadata.ino(),
                mode: metadata.mode(),
                len: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
                digest: if metadata.is_file() { Some(digest(File::open(&path)?)?) } else { None },
            };
            entries.insert(path, witness);
        }
        Ok(Self { entries, files_only: false })
    }

    /// The same without directories: whoever makes a file to try the disk, and removes it, leaves a later time on one.
    #[must_use]
    pub fn files_only(mut self) -> Self {
        self.entries.retain(|_, witness| witness.digest.is_some());
        self.files_only = true;
        self
    }

    /// Demand that `root` is still as it was.
    ///
    /// # Panics
    /// When anything was touched; names it, and says after what.
    pub fn demand(&self, root: &Path, after: &str) {
        let now = Self::of(root).expect("a store that was readable is still readable");
        let now = if self.files_only { now.files_only() } else { now };
        let paths: BTreeSet<_> = self.entries.keys().chain(now.entries.keys()).collect();
        let touched: Vec<_> =
            paths.into_iter().filter(|path| self.entries.get(*path) != now.entries.get(*path)).collect();
        assert!(touched.is_empty(), "{after} has written to {touched:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn reading_is_no_touch_and_every_touch_is_seen() {
        let folder = crate::workspace::scratch("untouched");
        let file = folder.path().join("file");
        fs::write(&file, "bytes").unwrap();
        let touches: [fn(&Path); 5] = [
            |file| fs::write(file, "BYTES").unwrap(),
            |file| fs::write(file.with_extension("new"), "").unwrap(),
            |file| fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap(),
            |file| fs::rename(file, file.with_extension("moved")).unwrap(),
            |file| fs::remove_file(file.with_extension("moved")).unwrap(),
        ];
        for (index, touch) in touches.into_iter().enumerate() {
            let before = Untouched::of(folder.path()).unwrap();
            before.demand(folder.path(), "looking");
            std::thread::sleep(std::time::Duration::from_millis(20)); // Longer than a tick of the file system's clock.
            touch(&file);
            assert_ne!(before, Untouched::of(folder.path()).unwrap(), "touch {index}");
        }
    }

    #[test]
    fn a_file_that_came_and_went_is_seen_only_by_its_directory() {
        let folder = crate::workspace::scratch("came-and-went");
        fs::write(folder.path().join("file"), "bytes").unwrap();
        let before = Untouched::of(folder.path()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(folder.path().join("new"), "").unwrap();
        fs::remove_file(folder.path().join("new")).unwrap();
        assert_ne!(before, Untouched::of(folder.path()).unwrap());
        before.files_only().demand(folder.path(), "a visit");
    }
}
