//! Names: a tree of folders whose entries become durable only when their folder is synced.
//!
//! # Invariants
//! - The root is inode 0. Inodes are never reused while a simulation runs.
//! - A rename is one journal entry, so a power cut shows the old name or the new one, and never neither.
//! - What is made durable takes along the earlier entries about the same names, so that an old entry never undoes a
//!   newer one that was synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

use super::faults::errno;
use super::file::SimFile;

/// Names a file or folder for as long as the disk lives.
pub(super) type Ino = usize;

const ROOT: Ino = 0;

/// A folder: the names that calls see, and those that a power cut leaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    pub(super) shown: BTreeMap<String, Ino>,
    pub(super) kept: BTreeMap<String, Ino>,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Box<SimFile>),
    Folder(Folder),
}

/// A name in a folder.
type Key = (Ino, String);

/// A change of names that is not durable: a create or mkdir has only `made`, an unlink only `gone`, a rename both.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) ino: Ino,
    gone: Option<Key>,
    made: Option<Key>,
}

impl Record {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.gone.iter().chain(&self.made)
    }

    /// Whether it gives its inode a name.
    pub(super) fn makes(&self) -> bool {
        self.made.is_some()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) journal: Vec<Record>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::Folder(Folder::default())], journal: Vec::new() }
    }
}

/// The names on the way from the root.
fn parts(path: &Path) -> impl Iterator<Item = io::Result<&str>> {
    path.components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(name) => Some(name.to_str().ok_or_else(|| errno(libc::EINVAL))),
        Component::ParentDir | Component::Prefix(_) => Some(Err(errno(libc::EINVAL))),
    })
}

impl Tree {
    pub(super) fn file(&self, ino: Ino) -> &SimFile {
        match &self.nodes[ino] {
            Node::File(file) => file,
            Node::Folder(_) => unreachable!("inode {ino} was opened as a file"),
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> &mut SimFile {
        match &mut self.nodes[ino] {
            Node::File(file) => file,
            Node::Folder(_) => unreachable!("inode {ino} was opened as a file"),
        }
    }

    pub(super) fn folder(&self, ino: Ino) -> io::Result<&Folder> {
        match &self.nodes[ino] {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    fn folder_mut(&mut self, ino: Ino) -> &mut Folder {
        match &mut self.nodes[ino] {
            Node::Folder(folder) => folder,
            Node::File(_) => unreachable!("inode {ino} was looked up as a folder"),
        }
    }

    /// Walk to what `path` names now.
    pub(super) fn find(&self, path: &Path) -> io::Result<Ino> {
        let mut at = ROOT;
        for name in parts(path) {
            at = *self.folder(at)?.shown.get(name?).ok_or_else(|| errno(libc::ENOENT))?;
        }
        Ok(at)
    }

    /// Walk to a file.
    pub(super) fn find_file(&self, path: &Path) -> io::Result<Ino> {
        let ino = self.find(path)?;
        match &self.nodes[ino] {
            Node::File(_) => Ok(ino),
            Node::Folder(_) => Err(errno(libc::EISDIR)),
        }
    }

    /// Walk to the folder that holds, or would hold, `path`; with the last name.
    pub(super) fn parent(&self, path: &Path) -> io::Result<Key> {
        let mut names = parts(path).collect::<io::Result<Vec<_>>>()?;
        let last = names.pop().ok_or_else(|| errno(libc::EEXIST))?;
        let mut at = ROOT;
        for name in names {
            at = *self.folder(at)?.shown.get(name).ok_or_else(|| errno(libc::ENOENT))?;
        }
        self.folder(at)?;
        Ok((at, last.to_owned()))
    }

    /// Give a new node a name that must not exist.
    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<Ino> {
        let (dir, name) = self.parent(path)?;
        if self.folder(dir)?.shown.contains_key(&name) {
            return Err(errno(libc::EEXIST));
        }
        let ino = self.nodes.len();
        self.nodes.push(node);
        self.record(Record { ino, gone: None, made: Some((dir, name)) });
        Ok(ino)
    }

    /// Rename a file, replacing a file. Folders are not renamed: the store never does.
    pub(super) fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        let ino = self.find_file(source)?;
        let (gone, made) = (self.parent(source)?, self.parent(target)?);
        match self.folder(made.0)?.shown.get(&made.1) {
            Some(&old) if old == ino => return Ok(()),
            Some(&old) if matches!(self.nodes[old], Node::Folder(_)) => return Err(errno(libc::EISDIR)),
            _ => {}
        }
        self.record(Record { ino, gone: Some(gone), made: Some(made) });
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.find_file(path)?;
        let gone = self.parent(path)?;
        self.record(Record { ino, gone: Some(gone), made: None });
        Ok(())
    }

    fn record(&mut self, record: Record) {
        if let Some((dir, name)) = &record.gone {
            self.folder_mut(*dir).shown.remove(name);
            self.link(record.ino, -1);
        }
        if let Some((dir, name)) = &record.made {
            if let Some(old) = self.folder_mut(*dir).shown.insert(name.clone(), record.ino) {
                self.link(old, -1);
            }
            self.link(record.ino, 1);
        }
        self.journal.push(record);
    }

    fn link(&mut self, ino: Ino, by: i32) {
        if let Node::File(file) = &mut self.nodes[ino] {
            file.links = file.links.checked_add_signed(by).expect("a file has as many names as were given");
        }
    }

    /// Make a record durable. A name that meanwhile means another file is left alone.
    pub(super) fn keep(&mut self, record: &Record) {
        if let Some((dir, name)) = &record.gone {
            let kept = &mut self.folder_mut(*dir).kept;
            if kept.get(name) == Some(&record.ino) {
                kept.remove(name);
            }
        }
        if let Some((dir, name)) = &record.made {
            self.folder_mut(*dir).kept.insert(name.clone(), record.ino);
        }
    }

    /// Give a new node a durable name.
    pub(super) fn create_durably(&mut self, path: &Path, node: Node) -> io::Result<()> {
        self.create(path, node)?;
        let record = self.journal.pop().expect("a create is the last record");
        self.keep(&record);
        Ok(())
    }

    /// Make a folder and those on the way to it, durably.
    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        for path in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            match self.find(path) {
                Ok(ino) => drop(self.folder(ino)?),
                Err(_) => self.create_durably(path, Node::Folder(Folder::default()))?,
            }
        }
        Ok(())
    }

    /// Remove a file's name durably; no earlier record brings it back.
    pub(super) fn unlink_durably(&mut self, path: &Path) -> io::Result<Ino> {
        let ino = self.find_file(path)?;
        self.unlink(path)?;
        let (dir, name) = self.parent(path)?;
        let about = |record: &Record| record.keys().any(|key| key.0 == dir && key.1 == name);
        let (about, rest) = std::mem::take(&mut self.journal).into_iter().partition(about);
        self.journal = rest;
        about.iter().for_each(|record| self.keep(record));
        Ok(ino)
    }

    /// Exchange two files under their names, at every stage of durability.
    pub(super) fn swap(&mut self, left: &Path, right: &Path) -> io::Result<()> {
        let (left, right) = (self.find_file(left)?, self.find_file(right)?);
        let (first, second) = (left.min(right), left.max(right));
        if first != second {
            let (low, high) = self.nodes.split_at_mut(second);
            std::mem::swap(&mut low[first], &mut high[0]);
            let (low, high) = (self.file(first), self.file(second));
            let (links, opens) = ((low.links, high.links), (low.opens, high.opens));
            let low = self.file_mut(first);
            (low.links, low.opens) = (links.1, opens.1);
            let high = self.file_mut(second);
            (high.links, high.opens) = (links.0, opens.0);
        }
        Ok(())
    }

    /// Take out of the journal what a sync of `dir` covers, in order.
    pub(super) fn take_covered(&mut self, dir: Ino) -> Vec<Record> {
        if self.journal.is_empty() {
            return Vec::new();
        }
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let mut covered = Vec::new();
        let mut rest = Vec::new();
        for record in std::mem::take(&mut self.journal).into_iter().rev() {
            if record.keys().any(|key| key.0 == dir || keys.contains(key)) {
                keys.extend(record.keys().cloned());
                covered.push(record);
            } else {
                rest.push(record);
            }
        }
        rest.reverse();
        covered.reverse();
        self.journal = rest;
        covered
    }

    /// Restart from the durable names: what calls see is what was kept, and what has no name is gone.
    pub(super) fn restart(&mut self) {
        self.journal.clear();
        let mut links = vec![0_u32; self.nodes.len()];
        let mut open = vec![ROOT];
        links[ROOT] = 1;
        while let Some(ino) = open.pop() {
            if let Node::Folder(folder) = &mut self.nodes[ino] {
                folder.shown = folder.kept.clone();
                for &child in folder.kept.values() {
                    links[child] += 1;
                    open.push(child);
                }
            }
        }
        for (node, links) in self.nodes.iter_mut().zip(links) {
            match node {
                Node::File(file) if links > 0 => (file.links, file.opens) = (links, 0),
                Node::Folder(_) if links > 0 => {}
                _ => *node = Node::Folder(Folder::default()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Node {
        Node::File(Box::default())
    }

    fn kept(tree: &Tree) -> Vec<&str> {
        tree.folder(ROOT).unwrap().kept.keys().map(String::as_str).collect()
    }

    fn sync(tree: &mut Tree, dir: Ino) {
        for record in tree.take_covered(dir) {
            tree.keep(&record);
        }
    }

    #[test]
    fn names_are_durable_only_after_a_sync() {
        let mut tree = Tree::default();
        let ino = tree.create(Path::new("/a"), file()).unwrap();
        assert_eq!(kept(&tree), [""; 0]);
        sync(&mut tree, ROOT);
        assert_eq!(kept(&tree), ["a"]);
        tree.rename(Path::new("/a"), Path::new("/b")).unwrap();
        assert_eq!((kept(&tree), tree.find(Path::new("b")).unwrap()), (vec!["a"], ino));
        sync(&mut tree, ROOT);
        assert_eq!(kept(&tree), ["b"]);
        tree.unlink(Path::new("/b")).unwrap();
        assert_eq!(tree.file(ino).links, 0);
        tree.restart();
        assert_eq!((tree.find(Path::new("b")).unwrap(), tree.file(ino).links), (ino, 1));
    }

    #[test]
    fn a_synced_rename_is_not_undone_by_its_own_create() {
        let mut tree = Tree::default();
        let dir = tree.create(Path::new("/d"), Node::Folder(Folder::default())).unwrap();
        sync(&mut tree, ROOT);
        tree.create(Path::new("/a"), file()).unwrap();
        tree.rename(Path::new("/a"), Path::new("/d/a")).unwrap();
        sync(&mut tree, dir);
        assert!(tree.journal.is_empty(), "the create of the old name went along");
        assert_eq!(kept(&tree), ["d"]);
    }

    #[test]
    fn errors_are_those_of_linux() {
        let mut tree = Tree::default();
        tree.create(Path::new("/a"), file()).unwrap();
        let code = |result: io::Result<Ino>| result.unwrap_err().raw_os_error().unwrap();
        assert_eq!(code(tree.find(Path::new("/x/y"))), libc::ENOENT);
        assert_eq!(code(tree.find(Path::new("/a/y"))), libc::ENOTDIR);
        assert_eq!(code(tree.create(Path::new("/a"), file())), libc::EEXIST);
        assert_eq!(code(tree.find_file(Path::new("/"))), libc::EISDIR);
        assert_eq!(code(tree.find(Path::new("/../a"))), libc::EINVAL);
    }
}
