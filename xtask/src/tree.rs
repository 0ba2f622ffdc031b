//! Compare two directory trees entry by entry: type, mode, size, link target, hard links and every byte.
//!
//! The bytes are compared themselves, not through a digest: both trees are at hand, and nothing is stronger.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::Result;

const COMPARE_BUFFER_SIZE: usize = 1 << 16;

/// What a comparison looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Regular files, each compared byte by byte.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Symbolic links, directories and special files.
    pub others: u64,
    /// One line per difference.
    pub differences: Vec<String>,
}

/// Compare what lies under `source` with what lies under `target`; the two roots themselves are not compared.
pub fn compare(source: &Path, target: &Path) -> Result<Compared> {
    let left = list(source).map_err(|error| format!("cannot walk {}: {error}", source.display()))?;
    let right = list(target).map_err(|error| format!("cannot walk {}: {error}", target.display()))?;
    let mut compared = Compared::default();
    for path in left.union(&right) {
        let differ = match (left.contains(path), right.contains(path)) {
            (true, true) => entry(&source.join(path), &target.join(path), &mut compared)
                .map_err(|error| format!("cannot compare {}: {error}", path.display()))?,
            (true, false) => Some("is missing from the restored tree".to_owned()),
            _ => Some("is only in the restored tree".to_owned()),
        };
        compared.differences.extend(differ.map(|what| format!("{}: {what}", path.display())));
    }
    compared.differences.extend(hard_links(source, target, left.intersection(&right))?);
    Ok(compared)
}

/// Every path under `root`, relative to it.
fn list(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(root.join(&folder))? {
            let item = item?;
            let path = folder.join(item.file_name());
            if item.file_type()?.is_dir() {
                folders.push(path.clone());
            }
            paths.insert(path);
        }
    }
    Ok(paths)
}

/// The first difference between two entries of the same name.
fn entry(source: &Path, target: &Path, compared: &mut Compared) -> io::Result<Option<String>> {
    let (left, right) = (fs::symlink_metadata(source)?, fs::symlink_metadata(target)?);
    if left.file_type() != right.file_type() {
        return Ok(Some(format!("was {}, came back as {}", kind(&left), kind(&right))));
    }
    if left.is_symlink() {
        compared.others += 1;
        let (from, to) = (fs::read_link(source)?, fs::read_link(target)?);
        return Ok((from != to).then(|| format!("pointed to {}, now to {}", from.display(), to.display())));
    }
    if left.mode() != right.mode() {
        return Ok(Some(format!("had mode {:o}, now {:o}", left.mode(), right.mode())));
    }
    if !left.is_file() {
        compared.others += 1;
        return Ok((left.rdev() != right.rdev()).then(|| "is another device".to_owned()));
    }
    compared.files += 1;
    compared.bytes += left.len();
    if left.len() != right.len() {
        return Ok(Some(format!("had {} bytes, now {}", left.len(), right.len())));
    }
    let differs = first_difference(&mut File::open(source)?, &mut File::open(target)?)?;
    Ok(differs.map(|offset| format!("differs at byte {offset}")))
}

/// Offset of the first byte that differs between two readers of equal length.
fn first_difference(source: &mut impl Read, target: &mut impl Read) -> io::Result<Option<u64>> {
    let (mut left, mut right) = ([0; COMPARE_BUFFER_SIZE], [0; COMPARE_BUFFER_SIZE]);
    let mut offset = 0;
    loop {
        let length = source.read(&mut left)?;
        if length == 0 {
            return Ok(None);
        }
        target.read_exact(&mut right[..length])?;
        if left[..length] != right[..length] {
            let at = left.iter().zip(&right).take(length).position(|(a, b)| a != b).unwrap_or(0);
            return Ok(Some(offset + at as u64));
        }
        offset += length as u64;
    }
}

/// Files that shared an inode and no longer do, or the reverse.
fn hard_links<'a>(
    source: &Path,
    target: &Path,
    paths: impl Iterator<Item = &'a PathBuf>,
) -> Result<Vec<String>> {
    let mut first_by_inode: [BTreeMap<(u64, u64), &PathBuf>; 2] = Default::default();
    let mut differences = Vec::new();
    for path in paths {
        let mut partners = [None, None];
        for ((root, first), partner) in [source, target].iter().zip(&mut first_by_inode).zip(&mut partners) {
            let metadata = fs::symlink_metadata(root.join(path))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            if metadata.is_file() {
                *partner = Some(*first.entry((metadata.dev(), metadata.ino())).or_insert(path));
            }
        }
        if let (Some(left), Some(right)) = (partners[0], partners[1])
            && left != right
        {
            differences.push(format!(
                "{}: was linked to {}, now to {}",
                path.display(),
                left.display(),
                right.display()
            ));
        }
    }
    Ok(differences)
}

fn kind(metadata: &fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    match (kind.is_file(), kind.is_dir(), kind.is_symlink(), kind.is_fifo()) {
        (true, ..) => "a file",
        (_, true, ..) => "a directory",
        (_, _, true, _) => "a symbolic link",
        (.., true) => "a FIFO",
        _ => "a socket or device",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Two equal trees in a fresh directory, removed on drop.
    struct Pair(PathBuf);

    impl Pair {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("xtask-tree-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            for side in ["a", "b"] {
                let side = root.join(side);
                fs::create_dir_all(side.join("folder/empty")).unwrap();
                fs::write(side.join("folder/file"), vec![7; 3 * COMPARE_BUFFER_SIZE]).unwrap();
                fs::hard_link(side.join("folder/file"), side.join("same")).unwrap();
                symlink("folder/file", side.join("link")).unwrap();
            }
            Self(root)
        }

        fn differences(&self) -> Vec<String> {
            compare(&self.0.join("a"), &self.0.join("b")).unwrap().differences
        }
    }

    impl Drop for Pair {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn equal_trees_are_equal_and_counted() {
        let pair = Pair::new("equal");
        let compared = compare(&pair.0.join("a"), &pair.0.join("b")).unwrap();
        let bytes = 6 * COMPARE_BUFFER_SIZE as u64;
        assert_eq!(compared, Compared { files: 2, bytes, others: 3, differences: vec![] });
    }

    #[test]
    fn one_changed_byte_is_found_and_located() {
        let pair = Pair::new("byte");
        let mut bytes = vec![7; 3 * COMPARE_BUFFER_SIZE];
        bytes[COMPARE_BUFFER_SIZE + 5] ^= 1;
        fs::write(pair.0.join("b/folder/file"), bytes).unwrap(); // In place, so that the hard link stays.
        let expected = format!("differs at byte {}", COMPARE_BUFFER_SIZE + 5);
        assert!(pair.differences().iter().all(|line| line.contains(&expected)));
        assert_eq!(pair.differences().len(), 2);
    }

    #[test]
    fn every_other_kind_of_difference_is_found() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage, &str); 6] = [
            ("lost", |b| fs::remove_file(b.join("link")).unwrap(), "is missing"),
            ("extra", |b| fs::write(b.join("extra"), "").unwrap(), "is only in"),
            (
                "mode",
                |b| fs::set_permissions(b.join("same"), PermissionsExt::from_mode(0o400)).unwrap(),
                "mode",
            ),
            ("size", |b| fs::write(b.join("same"), "short").unwrap(), "bytes"),
            (
                "target",
                |b| {
                    fs::remove_file(b.join("link")).unwrap();
                    symlink("elsewhere", b.join("link")).unwrap();
                },
                "pointed to",
            ),
            (
                "unlinked",
                |b| {
                    fs::copy(b.join("same"), b.join("copy")).unwrap();
                    fs::rename(b.join("copy"), b.join("same")).unwrap();
                },
                "was linked",
            ),
        ];
        for (name, damage, expected) in damages {
            let pair = Pair::new(name);
            damage(&pair.0.join("b"));
            let differences = pair.differences();
            assert!(differences.iter().any(|line| line.contains(expected)), "{name}: {differences:?}");
        }
    }
}
