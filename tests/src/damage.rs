//! Seeded damage to a store directory: what disks, controllers, file systems and people do to files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Unit in which disks lose data, in bytes.
const SECTOR_SIZE: usize = 4096;

/// Damage one file of the store in `root`, and say what was done. The kind of file is chosen first, so that the few
/// small files that say what a store is are hit as often as the many large ones.
///
/// # Errors
/// Those of the file system.
///
/// # Panics
/// When there is no file.
pub fn strike(root: &Path, random: &mut Random) -> io::Result<String> {
    let mut kinds: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for path in files(root)? {
        let kind = kind_of(root, &path);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, paths)) => paths.push(path),
            None => kinds.push((kind, vec![path])),
        }
    }
    let (_, paths) = pick(&kinds, random);
    let path = pick(paths, random);
    let other = pick(paths, random);
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let done = match random.below(8) {
        0 => remove(path),
        1 => truncate(path, random),
        2 => swap(path, other),
        3 => rewrite(path, |bytes| misdirect(bytes, random)),
        4 => rewrite(path, |bytes| zero(bytes, random)),
        5 => rewrite(path, |bytes| append(bytes, random)),
        _ => rewrite(path, |bytes| flip(bytes, random)),
    };
    Ok(format!("{name}: {}", done?))
}

/// Every file below `root`, in order.
///
/// # Errors
/// Those of the file system.
pub fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut open } else { &mut found };
            list.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The folder right below the root, or the name of a file that lies there.
fn kind_of(root: &Path, path: &Path) -> String {
    let first = path.strip_prefix(root).ok().and_then(|path| path.iter().next());
    first.unwrap_or_default().to_string_lossy().into_owned()
}

fn pick<'a, T>(all: &'a [T], random: &mut Random) -> &'a T {
    &all[below(all.len(), random)]
}

fn below(bound: usize, random: &mut Random) -> usize {
    usize::try_from(random.below(bound.max(1) as u64)).expect("less than a length")
}

fn remove(path: &Path) -> io::Result<String> {
    fs::remove_file(path)?;
    Ok("removed".to_owned())
}

fn truncate(path: &Path, random: &mut Random) -> io::Result<String> {
    let old = fs::metadata(path)?.len();
    let new = random.below(old.max(1));
    fs::OpenOptions::new().write(true).open(path)?.set_len(new)?;
    Ok(format!("truncated from {old} to {new} bytes"))
}

/// Contents, not names: as when two files were restored from the wrong places.
fn swap(path: &Path, other: &Path) -> io::Result<String> {
    let [mine, theirs] = [fs::read(path)?, fs::read(other)?];
    fs::write(path, theirs)?;
    fs::write(other, mine)?;
    Ok(format!("swapped with {}", other.display()))
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>) -> String) -> io::Result<String> {
    let mut bytes = fs::read(path)?;
    let done = change(&mut bytes);
    fs::write(path, bytes)?;
    Ok(done)
}

/// A whole sector lands elsewhere in the same file.
fn misdirect(bytes: &mut [u8], random: &mut Random) -> String {
    let sectors = bytes.len() / SECTOR_SIZE;
    if sectors < 2 {
        return flip(bytes, random);
    }
    let [from, to] = [below(sectors, random), below(sectors, random)].map(|sector| sector * SECTOR_SIZE);
    bytes.copy_within(from..from + SECTOR_SIZE, to);
    format!("the sector at {from} was also written at {to}")
}

fn zero(bytes: &mut [u8], random: &mut Random) -> String {
    let start = below(bytes.len(), random);
    let end = bytes.len().min(start + 1 + below(2 * SECTOR_SIZE, random));
    bytes[start..end].fill(0);
    format!("bytes {start}..{end} zeroed")
}

fn append(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let mut garbage = vec![0; 1 + below(SECTOR_SIZE, random)];
    random.fill(&mut garbage);
    bytes.extend_from_slice(&garbage);
    format!("{} bytes of garbage appended", garbage.len())
}

fn flip(bytes: &mut [u8], random: &mut Random) -> String {
    if bytes.is_empty() {
        return "empty, left alone".to_owned();
    }
    let flips: Vec<_> = (0..=random.below(4))
        .map(|_| {
            let (at, bit) = (below(bytes.len(), random), random.below(8));
            bytes[at] ^= 1 << bit;
            format!("{at}.{bit}")
        })
        .collect();
    format!("bits flipped at {}", flips.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untouched::Untouched;
    use std::collections::BTreeSet;

    fn store() -> tempfile::TempDir {
        let root = crate::workspace::scratch("damage");
        for folder in ["index", "containers"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for (number, name) in ["index/1", "index/2", "containers/1", "containers/2", "top"].iter().enumerate()
        {
            let mut bytes = vec![0; 5 * SECTOR_SIZE];
            Random::new(number as u64 + 1).fill(&mut bytes);
            fs::write(root.path().join(name), bytes).unwrap();
        }
        root
    }

    #[test]
    fn one_seed_one_damage_and_all_kinds_are_hit() {
        let said: Vec<_> = (0..40)
            .map(|seed| {
                let [first, second] = [store(), store()];
                let strike = |root: &Path| strike(root, &mut Random::new(seed)).unwrap();
                let [one, two] = [&first, &second]
                    .map(|folder| strike(folder.path()).replace(folder.path().to_str().unwrap(), ""));
                assert_eq!(one, two);
                one
            })
            .collect();
        let kinds: BTreeSet<_> = said.iter().filter_map(|what| what.split(['/', ':']).next()).collect();
        assert_eq!(kinds, BTreeSet::from(["index", "containers", "top"]));
        for word in ["removed", "truncated", "swapped", "sector", "zeroed", "garbage", "flipped"] {
            assert!(said.iter().any(|what| what.contains(word)), "{word}: {said:#?}");
        }
    }

    #[test]
    fn most_strikes_change_the_store() {
        let changed = (0..40).filter(|&seed| {
            let folder = store();
            let before = Untouched::of(folder.path()).unwrap();
            strike(folder.path(), &mut Random::new(seed)).unwrap();
            before != Untouched::of(folder.path()).unwrap()
        });
        assert!(changed.count() > 30);
    }
}
