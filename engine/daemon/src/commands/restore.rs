//! Where a restored stream goes: a pipe, a new file, or a device.
//!
//! # Invariants
//! - A new file has its name only when all of it is durable; until then it lies beside under another name, and is
//!   removed when anything fails.
//! - A device or pipe that exists is written in place and never replaced by a file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gdd_uring::buffer::Shared;
use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};

/// The most that the kernel gives a pipe without privileges, in bytes.
const PIPE_SIZE: usize = 1 << 20;

/// The shortest run of zeros that becomes a hole: a block of the file system.
const HOLE_MIN: usize = 4096;

/// See the module.
#[derive(Debug)]
pub enum Target {
    /// Standard output.
    Stdout(File),
    /// A file that gets its name in the end, with the bytes so far and where it stands.
    New {
        /// The file under its temporary name.
        file: NamedTempFile,
        /// Its name to be.
        path: PathBuf,
        /// Bytes so far, holes included.
        len: u64,
        /// Where the next write would go.
        position: u64,
    },
    /// A device, a pipe, or the like.
    InPlace(File, PathBuf),
}

impl Target {
    /// Standard output.
    ///
    /// # Errors
    /// It is closed.
    pub fn stdout() -> Result<Self> {
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(Failure::stdout)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE_SIZE); // Only for speed; it may be no pipe.
        Ok(Self::Stdout(File::from(out)))
    }

    /// What `path` names, or a new file.
    ///
    /// # Errors
    /// It is a directory, or cannot be made or opened.
    pub fn file(path: &Path) -> Result<Self> {
        let path = match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(Failure::Usage(format!("{} is a directory; name a file in it", path.display())));
            }
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(Failure::file("open", path))?;
                return Ok(Self::InPlace(file, path.to_owned()));
            }
            // The file that a link points to is replaced, not the link.
            Ok(_) => path.canonicalize().map_err(Failure::file("find", path))?,
            Err(_) => path.to_owned(),
        };
        let stem =
            path.file_name().ok_or_else(|| Failure::Usage(format!("{} names no file", path.display())))?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(stem.to_string_lossy().chars().take(64).collect::<String>());
        prefix.push(".gdd-");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(0o666)) // The umask takes its part.
            .tempfile_in(folder_of(&path))
            .map_err(Failure::file("make a file beside", &path))?;
        Ok(Self::New { file, path, len: 0, position: 0 })
    }

    /// Write `batch` behind what is there.
    ///
    /// # Errors
    /// The disk or the reader of the pipe refused.
    pub fn write(&mut self, batch: &[Shared]) -> Result<()> {
        match self {
            Self::Stdout(out) => write_all(out, batch).map_err(Failure::stdout),
            Self::InPlace(file, path) => write_all(file, batch).map_err(Failure::file("write", path)),
            Self::New { file, path, len, position } => {
                for run in batch.chunk_by(|a, b| is_hole(a) == is_hole(b)) {
                    let bytes: u64 = run.iter().map(|chunk| chunk.len() as u64).sum();
                    if !run.first().is_some_and(is_hole) {
                        let file = file.as_file_mut();
                        write_behind(file, run, *len, position).map_err(Failure::file("write", path))?;
                    }
                    *len += bytes;
                }
                Ok(())
            }
        }
    }

    /// Make it whole: durable, and under its name.
    ///
    /// # Errors
    /// The disk refused; a new file is gone then.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::InPlace(file, path) => {
                let device = file.metadata().is_ok_and(|meta| meta.file_type().is_block_device());
                if device { file.sync_all().map_err(Failure::file("sync", &path)) } else { Ok(()) }
            }
            Self::New { file, path, len, .. } => {
                file.as_file().set_len(len).map_err(Failure::file("set the length of", &path))?;
                file.as_file().sync_all().map_err(Failure::file("sync", &path))?;
                file.persist(&path).map_err(|error| Failure::file("name", &path)(error.error))?;
                let folder = folder_of(&path);
                let sync = File::open(folder).and_then(|folder| folder.sync_all());
                sync.map_err(Failure::file("sync", folder))
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Write at `len`, which lies behind `position` when a hole was left.
fn write_behind(file: &mut File, run: &[Shared], len: u64, position: &mut u64) -> io::Result<()> {
    if *position != len {
        file.seek(SeekFrom::Start(len))?;
    }
    write_all(file, run)?;
    *position = len + run.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
    Ok(())
}

fn write_all(file: &mut File, batch: &[Shared]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        batch.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| IoSlice::new(chunk)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a chunk is long and all zero. The first bytes of nearly every other chunk decide.
fn is_hole(chunk: &Shared) -> bool {
    chunk.len() >= HOLE_MIN && chunk[..16] == [0; 16] && chunk[16..] == chunk[..chunk.len() - 16]
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdd_uring::buffer::IoBuf;
    use std::os::unix::fs::MetadataExt;

    fn chunk(bytes: &[u8]) -> Shared {
        let mut buffer = IoBuf::zeroed(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer.freeze()
    }

    #[test]
    fn zeros_are_recognised_to_the_last_byte() {
        for len in [HOLE_MIN - 1, HOLE_MIN, 5000, 65_536] {
            let mut bytes = vec![0; len];
            assert_eq!(is_hole(&chunk(&bytes)), len >= HOLE_MIN, "{len}");
            for at in [0, 15, 16, 31, len / 2, len - 1] {
                bytes[at] = 1;
                assert!(!is_hole(&chunk(&bytes)), "{len} {at}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn a_new_file_is_exact_and_sparse() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("restored");
        let (zeros, data) = (vec![0; 1 << 20], vec![7; 5000]);
        let mut target = Target::file(&path).unwrap();
        let mut expected: Vec<u8> = Vec::new();
        for batch in [[&zeros, &data], [&data, &zeros], [&zeros, &zeros]] {
            target.write(&batch.map(|bytes| chunk(bytes))).unwrap();
            expected.extend(batch.into_iter().flatten());
        }
        assert!(!path.exists(), "it has no name before it is whole");
        target.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
        let blocks = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(blocks < 1 << 20, "{blocks} bytes are allocated");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("restored");
        std::fs::write(&path, b"earlier").unwrap();
        let mut target = Target::file(&path).unwrap();
        target.write(&[chunk(b"half")]).unwrap();
        drop(target);
        assert_eq!(std::fs::read(&path).unwrap(), b"earlier");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_followed_and_a_device_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&path, b"earlier").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut target = Target::file(&link).unwrap();
        target.write(&[chunk(b"later")]).unwrap();
        target.finish().unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"later");
        let mut target = Target::file(Path::new("/dev/null")).unwrap();
        assert!(matches!(target, Target::InPlace(..)));
        target.write(&[chunk(b"gone")]).unwrap();
        target.finish().unwrap();
        assert!(matches!(Target::file(folder.path()), Err(Failure::Usage(_))));
    }
}
