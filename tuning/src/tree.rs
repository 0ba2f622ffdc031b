//! The files of a machine below a root: `/` for this one, any other directory for a captured one.
//!
//! Advice must be testable on machines that nobody here has. So nothing in this crate opens a path of its own: all goes
//! through a [`Tree`], which notes what it read, so that it can be captured, and what it could not read, so that the
//! report says so.
//!
//! # Invariants
//! - At most [`FILE_SIZE_MAX`] bytes of a file and [`NAMES_MAX`] names of a directory are looked at.
//! - Only regular files are opened: a pipe in their place does not block us.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Bytes of a file that are looked at. /proc/interrupts of a machine with 256 cores has some hundred kilobytes.
pub const FILE_SIZE_MAX: u64 = 1 << 20;
/// Names of a directory that are looked at. /proc of a busy server has some ten thousand.
pub const NAMES_MAX: usize = 1 << 17;

/// A path that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// As on the machine, without the root.
    pub path: String,
    /// The reason, for people.
    pub why: String,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Notes {
    files: BTreeMap<String, Vec<u8>>,
    names: BTreeSet<String>,
    unseen: BTreeMap<String, String>,
}

/// See the module.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    notes: RefCell<Notes>,
}

impl Tree {
    /// The files below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), notes: RefCell::default() }
    }

    /// Whether it is this machine, and not a captured one.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The text of a file without white space around it; `None` where there is none or it cannot be read. What is not
    /// UTF-8 is replaced.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        match read(&self.place(path)) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                self.notes.borrow_mut().files.insert(path.to_owned(), bytes);
                Some(text)
            }
            Err(error) => {
                self.refused(path, &error);
                None
            }
        }
    }

    /// The first word of a file as a number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.split_whitespace().next()?.parse().ok()
    }

    /// The names in a directory, sorted; none where there is no such directory. Names that are not UTF-8 are left out.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        self.names_like(path, |_| true)
    }

    /// Those of them that are `wanted`.
    #[must_use]
    pub fn names_like(&self, path: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = match fs::read_dir(self.place(path)) {
            Ok(entries) => entries,
            Err(error) => {
                self.refused(path, &error);
                return Vec::new();
            }
        };
        let names = entries.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| wanted(name)).collect();
        names.sort();
        self.notes.borrow_mut().names.extend(names.iter().map(|name| format!("{path}/{name}")));
        names
    }

    /// Whether there is a file or directory of that name.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    /// Bytes of all files right below a directory; `None` where it cannot be looked at.
    #[must_use]
    pub fn size_below(&self, path: &str) -> Option<u64> {
        let place = self.place(path);
        if !place.is_dir() {
            return None;
        }
        let names = self.names(path);
        let sizes = names.iter().filter_map(|name| place.join(name).metadata().ok());
        Some(sizes.filter(fs::Metadata::is_file).map(|file| file.len()).sum())
    }

    /// Note that something could not be looked at.
    pub fn unseen(&self, path: &str, why: &str) {
        self.notes.borrow_mut().unseen.insert(path.to_owned(), why.to_owned());
    }

    /// All that could not be looked at.
    #[must_use]
    pub fn all_unseen(&self) -> Vec<Unseen> {
        let notes = self.notes.borrow();
        let unseen = notes.unseen.iter();
        unseen.map(|(path, why)| Unseen { path: path.clone(), why: why.clone() }).collect()
    }

    /// Every file that was read, with what was in it, and every name that was found in a directory, as an empty file
    /// where it was not read: what a captured tree must have for the same report.
    #[must_use]
    pub fn looked_at(&self) -> Vec<(String, Vec<u8>)> {
        let notes = self.notes.borrow();
        let is_folder = |name: &String| {
            let inside = format!("{name}/");
            let file = notes.files.range(inside.clone()..).next().map(|(path, _)| path);
            let named = notes.names.range(inside.clone()..).next();
            file.into_iter().chain(named).any(|path| path.starts_with(&inside))
        };
        let only_named =
            notes.names.iter().filter(|name| !notes.files.contains_key(*name) && !is_folder(name));
        let files = notes.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone()));
        files.chain(only_named.map(|name| (name.clone(), Vec::new()))).collect()
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file that is not there is nothing to speak of; one that is and refuses is.
    fn refused(&self, path: &str, error: &io::Error) {
        let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::InvalidInput];
        if !absent.contains(&error.kind()) {
            self.unseen(path, &error.to_string());
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_SIZE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_remembered() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/block")).unwrap();
        fs::write(root.path().join("sys/block/a"), b" 42 rest\xff\n").unwrap();
        let tree = Tree::at(root.path());
        assert_eq!(tree.text("/sys/block/a").as_deref(), Some("42 rest\u{fffd}"));
        assert_eq!(tree.number("/sys/block/a"), Some(42));
        assert_eq!(tree.names("/sys/block"), ["a"]);
        assert_eq!(tree.size_below("/sys/block"), Some(10));
        fs::write(root.path().join("sys/block/b"), b"").unwrap();
        assert_eq!(tree.names_like("/sys/block", |name| name == "b"), ["b"]);
        assert_eq!(tree.names("/sys"), ["block"]); // Not a file in a captured tree, since it has names in it.
        let (read, named) =
            (("/sys/block/a".to_owned(), b" 42 rest\xff\n".to_vec()), ("/sys/block/b".to_owned(), vec![]));
        assert_eq!(tree.looked_at(), [read, named]);
        assert!(!tree.is_live() && Tree::at(Path::new("/")).is_live());
    }

    #[test]
    fn what_is_not_there_is_no_complaint() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::at(root.path());
        assert_eq!((tree.text("/a"), tree.number("/a/b"), tree.size_below("/a")), (None, None, None));
        assert!(tree.names("/a").is_empty() && !tree.exists("/a") && tree.text("/").is_none());
        assert!(tree.all_unseen().is_empty());
        tree.unseen("/sys/block", "hidden");
        assert_eq!(tree.all_unseen(), [Unseen { path: "/sys/block".to_owned(), why: "hidden".to_owned() }]);
    }
}
