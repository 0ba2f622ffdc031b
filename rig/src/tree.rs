//! A directory tree with everything that a backup meets: empty, tiny, sparse and large files, hard and symbolic links,
//! names that are not UTF-8, names with newlines and spaces, long names, deep folders, odd modes and old times, and on
//! request extended attributes, thousands of tiny files and one huge file.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::random::Random;
use crate::stream::{Content, Stream};
use crate::xattrs;

/// How much ordinary data the tree has beside its oddities.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Ordinary files, in folders of 32.
    pub files: u64,
    /// Longest ordinary file in bytes; lengths are spread evenly below it.
    pub file_size_max: u64,
    /// Apparent length of the sparse file in bytes; it holds 8 KiB of data.
    pub sparse_size: u64,
    /// Files of a few bytes in one folder.
    pub tiny_files: u64,
    /// Length of one incompressible file in bytes; 0 for none.
    pub huge_size: u64,
    /// Whether some files have extended attributes. A tar stream drops them unless it is told not to.
    pub xattrs: bool,
}

impl Shape {
    /// A few MiB, for tests that run often.
    pub const SMALL: Self = Self {
        files: 100,
        file_size_max: 200_000,
        sparse_size: 3 << 20,
        tiny_files: 0,
        huge_size: 0,
        xattrs: false,
    };
    /// About 25 MiB in 1200 entries, for backups.
    pub const BACKUP: Self = Self { tiny_files: 1000, huge_size: 10 << 20, xattrs: true, ..Self::SMALL };
}

/// Build the tree number `seed` in `root`, which must exist and be empty.
///
/// # Errors
/// Those of the file system.
pub fn build(root: &Path, seed: u64, shape: Shape) -> io::Result<()> {
    let mut random = Random::new(seed);
    ordinary_files(root, &mut random, shape)?;
    odd_lengths(&root.join("lengths"), seed)?;
    sparse(&root.join("sparse"), shape.sparse_size)?;
    links(&root.join("links"))?;
    odd_names(&root.join("names"))?;
    odd_modes_and_times(&root.join("modes"))?;
    tiny_files(&root.join("tiny"), shape.tiny_files)?;
    if shape.huge_size > 0 {
        let mut stream = Stream::new(Content::Random, seed ^ 1, shape.huge_size);
        io::copy(&mut stream, &mut File::create(root.join("huge"))?)?;
    }
    if shape.xattrs {
        attributes(&root.join("attributes"), seed)?;
    }
    let deep = root.join(["deep"; 60].join("/"));
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("bottom"), "reached")?;
    fs::create_dir(root.join("empty"))
}

fn ordinary_files(root: &Path, random: &mut Random, shape: Shape) -> io::Result<()> {
    let contents = [Content::Random, Content::Text, Content::Zeros];
    for file in 0..shape.files {
        let folder = root.join(format!("files/{}", file / 32));
        fs::create_dir_all(&folder)?;
        let length = random.below(shape.file_size_max.max(1));
        let content = contents[usize::try_from(random.below(3)).expect("three kinds")];
        let mut stream = Stream::new(content, random.word(), length);
        io::copy(&mut stream, &mut File::create(folder.join(format!("{file}.dat")))?)?;
    }
    Ok(())
}

fn tiny_files(folder: &Path, count: u64) -> io::Result<()> {
    if count > 0 {
        fs::create_dir(folder)?;
    }
    (0..count).try_for_each(|file| fs::write(folder.join(file.to_string()), file.to_string()))
}

/// Extended attributes on a file, a folder and two names of one file; the place must have them.
fn attributes(folder: &Path, seed: u64) -> io::Result<()> {
    fs::create_dir(folder)?;
    let long = vec![b'x'; 1000];
    for (index, value) in [b"".as_slice(), b"\0\xff", &seed.to_le_bytes(), &long].into_iter().enumerate() {
        let path = folder.join(index.to_string());
        fs::write(&path, value)?;
        if !xattrs::set(&path, "user.gdd.test", value)? {
            let what = format!("{} is on a file system without extended attributes", folder.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
    }
    fs::hard_link(folder.join("3"), folder.join("3-again"))?;
    xattrs::set(folder, "user.of-a-folder", b"yes").map(drop)
}

/// Lengths around those of tar blocks, pages and chunks.
fn odd_lengths(folder: &Path, seed: u64) -> io::Result<()> {
    fs::create_dir(folder)?;
    for length in [0, 1, 511, 512, 513, 4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 1 << 20] {
        let mut stream = Stream::new(Content::Random, seed, length);
        io::copy(&mut stream, &mut File::create(folder.join(length.to_string()))?)?;
    }
    Ok(())
}

/// A hole, data, a hole, data at the very end; and a file that is one hole.
fn sparse(folder: &Path, length: u64) -> io::Result<()> {
    fs::create_dir(folder)?;
    let mut file = File::create(folder.join("holes"))?;
    for end in [length / 2, length] {
        file.seek(SeekFrom::Start(end.saturating_sub(4096)))?;
        file.write_all(&[0x5a; 4096])?;
    }
    File::create(folder.join("hole"))?.set_len(length)
}

fn links(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::write(folder.join("first"), "linked twice")?;
    fs::hard_link(folder.join("first"), folder.join("second"))?;
    symlink("first", folder.join("relative"))?;
    symlink("/nonexistent/target", folder.join("dangling"))?;
    symlink("..", folder.join("upwards"))?;
    symlink(OsStr::from_bytes(b"not-utf8-\xff"), folder.join("to-not-utf8"))?;
    symlink("t".repeat(300), folder.join("long-target")) // Longer than a tar header's field.
}

fn odd_names(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    let long = "n".repeat(255); // The longest name a file system takes; longer than a tar header's field.
    let names: [&[u8]; 8] = [
        b" ",
        b"two words",
        b"line\nbreak",
        b"-rf",
        b"quote'\"`$",
        b"\xff\xfe",
        b"\xc3\xa4",
        long.as_bytes(),
    ];
    for name in names {
        fs::write(folder.join(OsStr::from_bytes(name)), name)?;
    }
    let nested = folder.join("p".repeat(120)).join("q".repeat(120));
    fs::create_dir_all(&nested)?;
    fs::write(nested.join("r".repeat(120)), "a path longer than a tar header's two fields")
}

/// Times are whole seconds, as a plain tar stream keeps them; one lies before 1970.
fn odd_modes_and_times(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    for mode in [0o400, 0o444, 0o600, 0o640, 0o755, 0o777, 0o4755, 0o2755, 0o1644] {
        let path = folder.join(format!("{mode:o}"));
        fs::write(&path, "mode")?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o640.into(), 0)?;
    for (name, seconds) in [("epoch", 0), ("y2001", 1_000_000_000), ("y2040", 2_208_988_800)] {
        let file = File::create(folder.join(name))?;
        file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    #[test]
    fn the_same_seed_builds_the_same_tree() {
        let [first, second, other] = [5, 5, 6].map(|seed| {
            let folder = tempfile::tempdir().unwrap();
            build(folder.path(), seed, Shape { files: 10, ..Shape::SMALL }).unwrap();
            folder
        });
        let [first, second, other] =
            [&first, &second, &other].map(|tree| Snapshot::of(tree.path()).unwrap().without_times());
        assert_eq!(first.differences(&second), Vec::<String>::new());
        assert!(!first.differences(&other).is_empty());
    }

    #[test]
    fn the_sparse_file_has_holes() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        sparse(&folder.path().join("s"), 64 << 20).unwrap();
        let metadata = fs::metadata(folder.path().join("s/holes")).unwrap();
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    }
}
