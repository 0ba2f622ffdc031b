//! The data that our figures refer to, made anew on any machine: `cargo xtask corpora DIR [--seed N]`.
//!
//! - `real.tar`: up to 2 GiB of files from /usr, chosen and ordered by the seed; it depends on what is installed.
//! - `random-N`: eight files of 512 MiB that nothing compresses.
//! - `image-a`: 2 GiB of `real.tar`, 1 GiB of random bytes, 1 GiB of zeros, as in a virtual machine's disk.
//! - `image-b`: the same with 1 % of its 4 KiB blocks, chosen at random, replaced by random ones.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::Run;

const GIB: u64 = 1 << 30;
const BLOCK: u64 = 4096;
/// Of so many blocks one is replaced in `image-b`.
const CHANGED_SHARE: usize = 100;

/// How much of each to make, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of real files, at most.
    real: u64,
    /// Of all `random-N` together.
    random: u64,
    /// Of each image: half of it real, a quarter random, a quarter zeros.
    image: u64,
}

impl Sizes {
    /// What our figures refer to.
    const FULL: Self = Self { real: 2 * GIB, random: 4 * GIB, image: 4 * GIB };

    /// Every corpus of about `bytes`.
    pub const fn each(bytes: u64) -> Self {
        Self { real: bytes, random: bytes, image: bytes }
    }
}

/// Make the corpora.
pub fn run(arguments: &[String]) -> Result {
    let (folder, seed) = match arguments {
        [folder] => (folder, 0),
        [folder, flag, seed] if flag == "--seed" => {
            (folder, seed.parse().map_err(|_| format!("--seed takes a number, not {seed:?}"))?)
        }
        _ => return Err("usage: cargo xtask corpora DIR [--seed N]; it takes 17 GB there".to_owned()),
    };
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    make(&folder, Sizes::FULL, seed)
}

/// Make them below `folder`, which exists.
pub fn make(folder: &Path, sizes: Sizes, seed: u64) -> Result {
    fill(folder, sizes, &mut Random(seed)).map_err(|error| format!("in {}: {error}", folder.display()))
}

fn fill(folder: &Path, sizes: Sizes, random: &mut Random) -> std::io::Result<()> {
    let list = folder.join("real.list");
    let (count, bytes) = choose(Path::new("/usr"), sizes.real, random, &list)?;
    println!("real.tar: {count} files, {bytes} bytes");
    let tar = folder.join("real.tar");
    let packed = Run::new("tar")
        .words("--owner=0 --group=0 --numeric-owner --mtime=@1700000000 --no-recursion -C / --null -cf")
        .arg(&tar)
        .arg("-T")
        .arg(&list)
        .run();
    packed.map_err(std::io::Error::other)?;
    let part = sizes.random / 8 / BLOCK * BLOCK;
    for number in 0..8 {
        let mut file = BufWriter::new(File::create(folder.join(format!("random-{number}")))?);
        noise(&mut file, part, random)?;
        file.flush()?;
    }
    println!("random-0 to random-7: {part} bytes each");
    let quarter = sizes.image / 4 / BLOCK * BLOCK;
    let (first, second) = (folder.join("image-a"), folder.join("image-b"));
    let mut image = BufWriter::new(File::create(&first)?);
    let real = std::io::copy(&mut File::open(&tar)?.take(2 * quarter), &mut image)?;
    zeros(&mut image, 2 * quarter - real)?;
    noise(&mut image, quarter, random)?;
    zeros(&mut image, quarter)?;
    image.flush()?;
    drop(image);
    fs::copy(&first, &second)?;
    let changed = scatter(&second, 4 * quarter, random)?;
    println!("image-a, image-b: {} bytes each, {changed} blocks of {BLOCK} bytes differ", 4 * quarter);
    Ok(())
}

/// Choose files below `root` up to `bytes`, in a random order; their names go to `list`, each ended by a NUL.
fn choose(root: &Path, bytes: u64, random: &mut Random, list: &Path) -> std::io::Result<(usize, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.extend(entry.metadata().map(|metadata| (entry.path(), metadata.len())));
            }
        }
    }
    files.sort();
    for last in (1..files.len()).rev() {
        files.swap(last, random.below(last + 1));
    }
    let (mut count, mut total) = (0, 0);
    let mut names = BufWriter::new(File::create(list)?);
    for (path, size) in files {
        if total + size <= bytes {
            names.write_all(path.as_os_str().as_encoded_bytes().strip_prefix(b"/").unwrap_or_default())?;
            names.write_all(&[0])?;
            (count, total) = (count + 1, total + size);
        }
    }
    names.flush()?;
    Ok((count, total))
}

/// Replace one block in [`CHANGED_SHARE`]; every choice of so many is as likely as any other (Knuth's algorithm S,
/// volume 2, 3.4.2). Returns how many.
fn scatter(path: &Path, bytes: u64, random: &mut Random) -> std::io::Result<usize> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    let blocks = usize::try_from(bytes / BLOCK).expect("a block's number fits");
    let changed = blocks / CHANGED_SHARE;
    let mut left = changed;
    for block in 0..blocks {
        if random.below(blocks - block) < left {
            file.seek(SeekFrom::Start(block as u64 * BLOCK))?;
            noise(&mut file, BLOCK, random)?;
            left -= 1;
        }
    }
    Ok(changed)
}

fn noise(out: &mut impl Write, bytes: u64, random: &mut Random) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    for _ in 0..bytes / 4096 {
        for word in buffer.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes());
        }
        out.write_all(&buffer)?;
    }
    Ok(())
}

fn zeros(out: &mut impl Write, bytes: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::repeat(0).take(bytes), out).map(drop)
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_in_a_hundred_changes() {
        let path = std::env::temp_dir().join(format!("gdd-corpora-{}", std::process::id()));
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        let changed = scatter(&path, 1 << 20, &mut Random(7)).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let differ = bytes.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0)).count();
        assert_eq!((changed, differ, bytes.len()), (2, 2, 1 << 20));
    }
}
