//! The corpora as directories, since most rivals take nothing else: `real`, `random`, `image-a` and `image-b`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::record::Step;
use crate::shell::Run;
use crate::{Result, corpora};

/// One corpus, its steps in order, and the directory that each step stores; a restore is compared with its own.
pub struct Corpus {
    /// As `--corpus` takes it.
    pub name: &'static str,
    /// Step and directory.
    pub steps: &'static [(Step, &'static str)],
}

/// What is measured.
pub const CORPORA: [Corpus; 3] = [
    Corpus { name: "real", steps: &[(Step::New, "real"), (Step::Known, "real"), (Step::Restore, "real")] },
    Corpus { name: "random", steps: &[(Step::New, "random"), (Step::Restore, "random")] },
    Corpus {
        name: "image",
        steps: &[(Step::New, "image-a"), (Step::Changed, "image-b"), (Step::Restore, "image-b")],
    },
];

/// Make them below `folder` unless they are there, whole.
pub fn make(folder: &Path, size: u64, seed: u64) -> Result {
    let done = folder.join("done");
    if done.exists() {
        return Ok(());
    }
    let problem = |error: io::Error| format!("in {}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(problem)?;
    }
    let raw = folder.join("raw");
    for name in ["raw", "real", "random", "image-a", "image-b"] {
        fs::create_dir_all(folder.join(name)).map_err(problem)?;
    }
    corpora::make(&raw, corpora::Sizes::each(size), seed)?;
    // Copies have plain modes and no hard links, which not every rival keeps.
    Run::new("env")
        .words("--chdir=/ xargs --null --arg-file")
        .arg(raw.join("real.list"))
        .words("cp --parents --no-preserve=mode --target-directory")
        .arg(folder.join("real"))
        .run()?;
    for number in 0..8 {
        let name = format!("random-{number}");
        fs::rename(raw.join(&name), folder.join("random").join(&name)).map_err(problem)?;
    }
    for name in ["image-a", "image-b"] {
        fs::rename(raw.join(name), folder.join(name).join("image")).map_err(problem)?;
    }
    fs::remove_dir_all(raw).map_err(problem)?;
    File::create(done).map(drop).map_err(problem)
}

/// Read every file below `folder`, so that the next reader finds it in memory; returns how many bytes there are.
pub fn warm(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    walk(folder, &mut |path, metadata| {
        bytes += metadata.len();
        io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
    })?;
    Ok(bytes)
}

/// Bytes that the files below `folder` take on the disk; 0 when there is no such folder.
pub fn allocated(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    if folder.exists() {
        walk(folder, &mut |_, metadata| {
            bytes += metadata.blocks() * 512;
            Ok(())
        })?;
    }
    Ok(bytes)
}

/// Call `each` for every regular file below `folder`.
fn walk(folder: &Path, each: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                each(&entry.path(), &metadata)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_counted() {
        let folder = std::env::temp_dir().join(format!("xtask-rivals-walk-{}", std::process::id()));
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/one"), [1; 5000]).unwrap();
        fs::write(folder.join("two"), [1; 7]).unwrap();
        let (bytes, blocks) = (warm(&folder).unwrap(), allocated(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(bytes, 5007);
        assert!(blocks >= 8192, "two files of one block or more: {blocks}");
        assert_eq!(allocated(&folder).unwrap(), 0);
    }

    #[test]
    fn every_corpus_ends_with_a_restore_of_what_was_stored_last() {
        for corpus in &CORPORA {
            let [.., stored, restored] = corpus.steps else { panic!("{}: two steps at least", corpus.name) };
            assert_eq!((restored.0, restored.1), (Step::Restore, stored.1));
        }
    }
}
