//! Looking at a simulated disk from outside, and damaging it at rest.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::SimDisk;
use super::faults::errno;
use super::file::{SimFile, What};
use super::image::{Image, PAGE};
use super::names::{Ino, Node, Tree};

/// A file of a simulated disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimEntry {
    /// Where it is.
    pub path: PathBuf,
    /// Length in bytes.
    pub size: u64,
}

/// A place whose reads are made to go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimDamage {
    /// The file.
    pub path: PathBuf,
    /// Bytes, by whole pages; also beyond the end of the file's last bytes.
    pub range: Range<u64>,
}

/// All bytes of an image.
fn bytes_of(image: &Image) -> Vec<u8> {
    let mut bytes =
        vec![0; usize::try_from(image.len()).expect("a simulated file that is read whole is small")];
    image.read(0, &mut bytes);
    bytes
}

/// Every file with its path, sorted.
fn walk(tree: &Tree) -> Vec<(PathBuf, Ino)> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::from("/"), 0)];
    while let Some((path, ino)) = open.pop() {
        match &tree.nodes[ino] {
            Node::File(_) => found.push((path, ino)),
            Node::Folder(folder) => {
                open.extend(folder.shown.iter().map(|(name, ino)| (path.join(name), *ino)));
            }
        }
    }
    found.sort();
    found
}

impl SimDisk {
    /// All files that have a name now, sorted by path.
    #[must_use]
    pub fn files(&self) -> Vec<SimEntry> {
        let world = self.world();
        let entry = |(path, ino)| SimEntry { path, size: world.tree.file(ino).shown.len() };
        walk(&world.tree).into_iter().map(entry).collect()
    }

    /// The true bytes of a file, whatever reads would give.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.world();
        Ok(bytes_of(&world.tree.file(world.tree.find_file(path)?).shown))
    }

    /// Put a file, durably, without counting as an operation: the set-up of a test. Replaces an existing one.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn put_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        if world.tree.find(path).is_ok() {
            world.unlink_durably(path)?;
        }
        let mut image = Image::default();
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(PAGE), 0);
        image.write(0, &Arc::from(padded));
        image.set_len(bytes.len() as u64);
        let file = SimFile::durable(image);
        world.used += file.charged;
        world.tree.create_durably(path, Node::File(Box::new(file)))
    }

    /// Write all files below a real directory, for a look with other tools. Bytes are the true ones.
    ///
    /// # Errors
    /// Those of the real file system.
    pub fn export(&self, dir: &Path) -> io::Result<()> {
        for SimEntry { path, .. } in self.files() {
            let target = dir.join(path.strip_prefix("/").unwrap_or(&path));
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(target, self.contents(&path)?)?;
        }
        Ok(())
    }

    /// Where reads go wrong, by drawn faults or by the calls below.
    #[must_use]
    pub fn damaged(&self) -> Vec<SimDamage> {
        let world = self.world();
        let mut found = Vec::new();
        for (path, ino) in walk(&world.tree) {
            let ranges = world.tree.file(ino).damage.ranges();
            found.extend(ranges.map(|range| SimDamage { path: path.clone(), range }));
        }
        found
    }

    fn harm(&self, path: &Path, offset: u64, harm: impl FnOnce(&mut SimFile)) -> io::Result<()> {
        let mut world = self.world();
        let ino = world.tree.find_file(path)?;
        let file = world.tree.file_mut(ino);
        if offset >= file.shown.len() {
            return Err(errno(libc::EINVAL));
        }
        harm(file);
        Ok(())
    }

    /// Turn over one bit (0 is the lowest) of the byte at `offset`, until it is overwritten or healed.
    ///
    /// # Errors
    /// As `open(2)`; `EINVAL` beyond the end of the file. So with the others below.
    ///
    /// # Panics
    /// When `bit` is above 7.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        assert!(bit < 8, "a byte has 8 bits");
        self.harm(path, offset, |file| file.damage.flip(offset, 1 << bit))
    }

    /// The 512-byte sector that holds `offset` reads as zeros, until it is overwritten or healed.
    ///
    /// # Errors
    /// As [`SimDisk::flip_bit`].
    pub fn zero_sector(&self, path: &Path, offset: u64) -> io::Result<()> {
        self.harm(path, offset, |file| file.damage.zero(offset))
    }

    /// The 512-byte sector that holds `offset` cannot be read (`EIO`), until it is overwritten or healed.
    ///
    /// # Errors
    /// As [`SimDisk::flip_bit`].
    pub fn latent_error(&self, path: &Path, offset: u64) -> io::Result<()> {
        self.harm(path, offset, |file| file.damage.kill(offset))
    }

    /// Cut a file, durably and for good.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn cut_file(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut world = self.world();
        let ino = world.tree.find_file(path)?;
        world.charged(ino, |file| {
            let kept = Arc::make_mut(&mut file.kept);
            kept.set_len(len.min(kept.len()));
            file.change(0, 0, What::SetLen(len), false);
        });
        Ok(())
    }

    /// Exchange the contents of two files, durably and for good.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn swap_files(&self, left: &Path, right: &Path) -> io::Result<()> {
        self.world().tree.swap(left, right)
    }

    /// Remove a file, durably and for good.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.world().unlink_durably(path)
    }
}
