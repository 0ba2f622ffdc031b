//! A directory as a tar stream: the same tree gives the same bytes, so that an unchanged one is found stored already.
//!
//! Names are sorted, relative to the directory (which is `./` itself), and so are hard links. Times have nanoseconds;
//! owners are numbers; extended attributes are kept. File contents go straight from the file into the sink's memory.
//!
//! # Invariants
//! - What is stored is what was there: a file that cannot be read, has gone, or changed while it was read is an error.
//! - Symbolic links are never followed below the directory, also not when one takes the place of a file meanwhile.
//!
//! # What it does not do
//! Holes are stored as the zeros that a reader sees. Sockets cannot be stored in tar: they are left out, and counted.
//! It enters other file systems that are mounted below.

mod entry;
mod xattr;

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::failure::{Failure, Result};
use entry::{BLOCK, Entry, Kind};
pub use xattr::Attributes;

/// Where the stream goes.
pub trait Sink {
    /// Take these bytes.
    ///
    /// # Errors
    /// The sink failed.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Take everything that `source` gives until its end; returns how much that was. `place` is its name in messages.
    ///
    /// # Errors
    /// The sink or the source failed, or the user wants to stop.
    fn read_from(&mut self, source: &mut dyn Read, place: &Path) -> Result<u64>;
}

/// What went into a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Regular files, hard links to them counted once.
    pub files: u64,
    /// Further names of files that have several.
    pub hard_links: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links, devices and pipes.
    pub others: u64,
    /// Sockets, which were left out.
    pub sockets_left_out: u64,
    /// Whether the store itself lies in the tree, and was left out.
    pub store_left_out: bool,
}

/// Device and inode number: what a file is, whatever its name.
pub type Identity = (u64, u64);

/// Write the tree below `root` as a tar stream, leaving out the directory `except`.
///
/// # Errors
/// See the module's invariants; or the sink failed.
pub fn write(root: &Path, except: Option<Identity>, sink: &mut dyn Sink) -> Result<Totals> {
    let top = File::open(root).map_err(Failure::file("open", root))?;
    let mut walk = Walk {
        root,
        except,
        sink,
        levels: Vec::new(),
        links: HashMap::new(),
        attributes: Attributes::default(),
        totals: Totals::default(),
    };
    walk.enter(top.into(), Vec::new())?;
    walk.run()?;
    walk.sink.write(&[0; 2 * BLOCK])?; // The end of an archive.
    Ok(walk.totals)
}

/// A directory being worked through.
struct Level {
    directory: OwnedFd,
    /// Names still to do, in reverse order.
    names: Vec<CString>,
    /// Its path from the root, empty or with a slash at the end.
    path: Vec<u8>,
}

struct Walk<'a> {
    root: &'a Path,
    except: Option<Identity>,
    sink: &'a mut dyn Sink,
    levels: Vec<Level>,
    /// First name of each file that has several.
    links: HashMap<Identity, Vec<u8>>,
    attributes: Attributes,
    totals: Totals,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<()> {
        while let Some(mut level) = self.levels.pop() {
            let Some(name) = level.names.pop() else { continue };
            let path = [&level.path[..], name.as_bytes()].concat();
            let below = self.entry(&level.directory, &name, &path)?;
            self.levels.push(level);
            if let Some(directory) = below {
                self.enter(directory, [&path[..], b"/"].concat())?;
            }
        }
        Ok(())
    }

    /// Write a directory's own entry, and note its names.
    fn enter(&mut self, directory: OwnedFd, path: Vec<u8>) -> Result<()> {
        let stat = rustix::fs::fstat(&directory).map_err(|error| self.failed("look at", &path, error))?;
        let entry_name = if path.is_empty() { b"./" } else { &path[..] };
        let attributes = self.attributes.of_file(directory.as_fd());
        let attributes = attributes.map_err(|error| self.failed("read the attributes of", &path, error))?;
        self.sink
            .write(&Entry { path: entry_name, stat: &stat, kind: Kind::Directory, attributes }.encode())?;
        self.totals.directories += 1;
        let names = names(&directory).map_err(|error| self.failed("list", &path, error))?;
        self.levels.push(Level { directory, names, path });
        Ok(())
    }

    /// Write one entry; a directory is given back, open, to be entered.
    fn entry(&mut self, directory: &OwnedFd, name: &CString, path: &[u8]) -> Result<Option<OwnedFd>> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed("look at", path, error))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.directory(directory, name, path, &stat);
        }
        if kind == FileType::Socket {
            self.totals.sockets_left_out += 1;
            return Ok(None);
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity(&stat)) {
                let kind = Kind::HardLink(first);
                self.sink.write(&Entry { path, stat: &stat, kind, attributes: Vec::new() }.encode())?;
                self.totals.hard_links += 1;
                return Ok(None);
            }
            self.links.insert(identity(&stat), path.to_vec());
        }
        if kind == FileType::RegularFile {
            self.file(directory, name, path, &stat)?;
        } else {
            self.special(directory, name, path, (&stat, kind))?;
        }
        Ok(None)
    }

    fn directory(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        path: &[u8],
        stat: &Stat,
    ) -> Result<Option<OwnedFd>> {
        if Some(identity(stat)) == self.except {
            self.totals.store_left_out = true;
            return Ok(None);
        }
        self.open(parent, name, path, OFlags::DIRECTORY, stat).map(Some)
    }

    fn file(&mut self, directory: &OwnedFd, name: &CString, path: &[u8], seen: &Stat) -> Result<()> {
        // Not to hang, should a pipe have taken its place since.
        let file = self.open(directory, name, path, OFlags::NONBLOCK, seen)?;
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed("look at", path, error))?;
        let attributes = self.attributes.of_file(file.as_fd());
        let attributes = attributes.map_err(|error| self.failed("read the attributes of", path, error))?;
        self.sink.write(&Entry { path, stat: &stat, kind: Kind::File, attributes }.encode())?;
        let (size, place) = (size_of(&stat), self.place(path));
        let file = File::from(file);
        let count = self.sink.read_from(&mut (&file).take(size), &place)?;
        let after = rustix::fs::fstat(&file).map_err(|error| self.failed("look at", path, error))?;
        if count != size || size_of(&after) != size || modified(&after) != modified(&stat) {
            return Err(changed(&place));
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.sink.write(&[0; BLOCK][..usize::try_from(padding).expect("padding is under a block")])?;
        self.totals.files += 1;
        Ok(())
    }

    /// A symbolic link, device or pipe.
    fn special(
        &mut self,
        directory: &OwnedFd,
        name: &CString,
        path: &[u8],
        (stat, kind): (&Stat, FileType),
    ) -> Result<()> {
        let attributes = self.attributes.of_name(directory.as_fd(), name);
        let attributes = attributes.map_err(|error| self.failed("read the attributes of", path, error))?;
        let target;
        let kind = match kind {
            FileType::Symlink => {
                target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(|error| self.failed("read the link", path, error))?;
                Kind::SymbolicLink(target.as_bytes())
            }
            FileType::Fifo => Kind::Pipe,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => {
                let place = self.place(path);
                return Err(Failure::Failed(format!(
                    "{} is of a kind that tar cannot store",
                    place.display()
                )));
            }
        };
        self.sink.write(&Entry { path, stat, kind, attributes }.encode())?;
        self.totals.others += 1;
        Ok(())
    }

    /// Open what `seen` described, or fail when another thing has taken its place.
    fn open(
        &self,
        parent: &OwnedFd,
        name: &CString,
        path: &[u8],
        flags: OFlags,
        seen: &Stat,
    ) -> Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|error| self.failed("open", path, error))?;
        let found = rustix::fs::fstat(&file).map_err(|error| self.failed("look at", path, error))?;
        if identity(&found) == identity(seen) { Ok(file) } else { Err(changed(&self.place(path))) }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    fn failed(&self, action: &str, path: &[u8], error: rustix::io::Errno) -> Failure {
        Failure::file(action, &self.place(path))(error.into())
    }
}

/// Names in a directory, in reverse byte order.
fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// What a file is, whatever its name.
fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn modified(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).expect("a file's size is not negative")
}

fn changed(place: &Path) -> Failure {
    Failure::Failed(format!(
        "{} changed while it was read; nothing was stored: stop its writer, or read a snapshot",
        place.display()
    ))
}

#[cfg(test)]
mod tests;
