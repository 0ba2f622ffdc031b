//! What a tree looks like, so that it can be compared with what came back: type, mode, owner, size, time, link target,
//! hard links, device number, extended attributes, digest.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::stream::digest;
use crate::{Error, Result, xattrs};

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type, and what identifies the content: digest and size, link target, device number.
    pub kind: Kind,
    /// Permission bits, with set-user-id and its relatives; 0 for a symbolic link.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds since 1970; `None` where it does not count (symbolic links, or [`Snapshot::without_times`]).
    pub modified: Option<i64>,
    /// The first path (in order) with the same inode: itself, unless it is a hard link.
    pub first_link: PathBuf,
    /// Extended attributes: ACLs, capabilities, user attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A type with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: length in bytes and BLAKE3 digest.
    File(u64, blake3::Hash),
    /// A directory.
    Folder,
    /// A symbolic link and where it points.
    Symlink(PathBuf),
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character (`true`) or block device and its number.
    Device(bool, u64),
}

/// A tree, by path relative to its root. The root itself is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Snapshot {
    /// Read the tree below `root`; every file is read in whole.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut entries = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for item in fs::read_dir(root.join(&folder))? {
                let path = folder.join(item?.file_name());
                let metadata = fs::symlink_metadata(root.join(&path))?;
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                entries.insert(path, metadata);
            }
        }
        let mut first_links = HashMap::new();
        let mut snapshot = Self::default();
        for (path, metadata) in entries {
            let inode = (metadata.dev(), metadata.ino());
            let linked = !metadata.is_dir() && metadata.nlink() > 1;
            let first_link = if linked {
                first_links.entry(inode).or_insert_with(|| path.clone()).clone()
            } else {
                path.clone()
            };
            let kind = kind(&root.join(&path), &metadata)?;
            let symlink = metadata.is_symlink();
            let mode = if symlink { 0 } else { metadata.mode() & 0o7777 };
            let modified = (!symlink).then(|| metadata.mtime());
            let owner = (metadata.uid(), metadata.gid());
            let xattrs = xattrs::of(&root.join(&path))?;
            snapshot.entries.insert(path, Entry { kind, mode, owner, modified, first_link, xattrs });
        }
        Ok(snapshot)
    }

    /// The same, with no time in it.
    #[must_use]
    pub fn without_times(mut self) -> Self {
        self.entries.values_mut().for_each(|entry| entry.modified = None);
        self
    }

    /// The same, with no time of a folder in it: Bacula sets a folder's time when it meets the folder, and files of a
    /// later backup that are put into it after that change the time again.
    #[must_use]
    pub fn without_folder_times(mut self) -> Self {
        let folders = self.entries.values_mut().filter(|entry| entry.kind == Kind::Folder);
        folders.for_each(|entry| entry.modified = None);
        self
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is under `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(Path::new(path))
    }

    /// One line per entry that is missing, extra or different in `other`; none when the trees are equal.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in &self.entries {
            match other.entries.get(path) {
                None => lines.push(format!("{path:?} is missing")),
                Some(found) if found != entry => {
                    lines.push(format!("{path:?}: expected {entry:?}, found {found:?}"))
                }
                Some(_) => {}
            }
        }
        let extra = other.entries.keys().filter(|path| !self.entries.contains_key(*path));
        lines.extend(extra.map(|path| format!("{path:?} is extra")));
        lines
    }
}

/// One line per entry of `original` that is missing, extra or different in `restored`; none when the trees are equal.
/// Everything is read in whole.
///
/// # Errors
/// Those of the file system.
pub fn compare(original: &Path, restored: &Path) -> Result<Vec<String>> {
    let read = |root: &Path| Snapshot::of(root).map_err(Error::io(format!("cannot read {}", root.display())));
    Ok(read(original)?.differences(&read(restored)?))
}

fn kind(path: &Path, metadata: &Metadata) -> io::Result<Kind> {
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        Kind::File(metadata.len(), digest(File::open(path)?)?)
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(path)?)
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else {
        Kind::Device(kind.is_char_device(), metadata.rdev())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/f"), "bytes").unwrap();
        fs::hard_link(folder.path().join("d/f"), folder.path().join("g")).unwrap();
        symlink("d/f", folder.path().join("s")).unwrap();
        folder
    }

    #[test]
    fn a_copy_is_equal_and_every_change_is_seen() {
        let stamped = |path: &Path| {
            for file in ["g", "d"] {
                let file = File::open(path.join(file)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(9)).unwrap();
            }
        };
        let original = tree();
        stamped(original.path());
        let first = Snapshot::of(original.path()).unwrap();
        assert_eq!(first.len(), 4);
        assert_eq!(first.get("g").unwrap().first_link, Path::new("d/f"));
        let changes: [fn(&Path); 8] = [
            |root| fs::write(root.join("g"), "other").unwrap(),
            |root| fs::remove_file(root.join("s")).unwrap(),
            |root| fs::write(root.join("new"), "").unwrap(),
            |root| fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o700)).unwrap(),
            |root| {
                fs::remove_file(root.join("g")).unwrap();
                fs::write(root.join("g"), "bytes").unwrap(); // Same bytes, no longer the same inode.
            },
            |root| {
                fs::remove_file(root.join("s")).unwrap();
                symlink("g", root.join("s")).unwrap();
            },
            |root| assert!(xattrs::set(&root.join("g"), "user.colour", b"red").unwrap()),
            |root| {
                let file = File::options().write(true).open(root.join("g")).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            },
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let other = tree();
            stamped(other.path());
            assert_eq!(compare(original.path(), other.path()).unwrap(), Vec::<String>::new());
            change(other.path());
            let differences = first.differences(&Snapshot::of(other.path()).unwrap());
            assert!(!differences.is_empty(), "change {index}");
        }
    }
}
