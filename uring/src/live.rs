//! The live tests of a directory: does direct I/O exist, is it real, and do bytes come back?
//!
//! tmpfs and btrfs take `O_DIRECT` and then use the page cache; they give themselves away by accepting what direct I/O
//! cannot do. Files made here are unnamed as soon as they are open, so that even a kill leaves at most an empty one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, StatxFlags};

use crate::buffer::{ALIGN, IoBuf, Pool};
use crate::file::{allocate, open_file};
use crate::io::{Io, Op, Open, datasync, run};

/// Magic number of ext2, ext3 and ext4; see `statfs(2)`.
const EXT4: u64 = 0xEF53;
/// How the names of files made here begin. A kill may leave one, empty: it means nothing.
pub const TRIAL_PREFIX: &str = ".gdd-probe-";
/// Bytes written and read back through a level.
const TRIAL_SIZE: usize = 16 * ALIGN;
/// Directory entries looked at for a file to read, and how deep.
const SEARCH_ENTRIES_MAX: usize = 1000;
const SEARCH_DEPTH_MAX: u32 = 3;

/// Whether files of a directory can be reached around the page cache.
#[derive(Debug)]
pub(crate) enum Direct {
    Yes,
    /// No sign against it, but nothing could be tried; why.
    Untested(String),
    /// Why not.
    No(String),
}

/// Removes a name when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = OsString::from(TRIAL_PREFIX);
        name.push(format!("{}-{number}", std::process::id()));
        Self(dir.join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Whether `dir` is on ext2, ext3 or ext4.
pub(crate) fn is_ext4(dir: &Path) -> io::Result<bool> {
    Ok(u64::try_from(rustix::fs::statfs(dir)?.f_type).is_ok_and(|kind| kind == EXT4))
}

/// Whether an error means "no space".
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Try direct I/O on a new file.
pub(crate) fn direct_by_writing(dir: &Path) -> io::Result<Direct> {
    let scratch = Scratch::new(dir);
    let file = match open_file(&scratch.0, Open::Create, true) {
        Err(e) if refuses_direct(&e) => {
            return Ok(Direct::No("the file system has no direct I/O".to_owned()));
        }
        Err(e) if is_full(&e) => return direct_by_reading(dir),
        other => other?,
    };
    drop(scratch);
    if let Some(why) = alignment_refused(&file)? {
        return Ok(Direct::No(why));
    }
    match reserve_and_write(&file) {
        Err(e) if is_full(&e) => return Ok(Direct::Untested(format!("{e}; make room"))),
        Err(e) if refuses_direct(&e) => {
            return Ok(Direct::No(format!("the file system refuses an aligned direct write ({e})")));
        }
        other => other?,
    }
    let block = IoBuf::zeroed(ALIGN);
    Ok(match file.write_at(&block[..ALIGN - 1], 0) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Direct::Yes,
        Err(e) => return Err(e),
        Ok(_) => not_real(),
    })
}

/// Try direct I/O on whatever file is there, without writing.
pub(crate) fn direct_by_reading(dir: &Path) -> io::Result<Direct> {
    let mut budget = SEARCH_ENTRIES_MAX;
    let Some(path) = some_file(dir, SEARCH_DEPTH_MAX, &mut budget)? else {
        return Ok(Direct::Untested("there is no file to read and none may be made".to_owned()));
    };
    let file = match open_file(&path, Open::Read, true) {
        Err(e) if refuses_direct(&e) => {
            return Ok(Direct::No("the file system has no direct I/O".to_owned()));
        }
        other => other?,
    };
    if let Some(why) = alignment_refused(&file)? {
        return Ok(Direct::No(why));
    }
    let mut block = IoBuf::zeroed(ALIGN);
    match file.read_at(&mut block, 0) {
        Err(e) if refuses_direct(&e) => {
            return Ok(Direct::No(format!("the file system refuses an aligned direct read ({e})")));
        }
        other => other?,
    };
    Ok(match file.read_at(&mut block[..ALIGN - 1], 0) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Direct::Yes,
        Err(e) => return Err(e),
        Ok(_) => not_real(),
    })
}

fn not_real() -> Direct {
    Direct::No("the file system accepts unaligned direct I/O, so it is not real (tmpfs, btrfs)".to_owned())
}

fn refuses_direct(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// What `statx` says against our alignment (Linux 6.1); nothing where it does not know.
fn alignment_refused(file: &File) -> io::Result<Option<String>> {
    let stat = match rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Err(rustix::io::Errno::NOSYS) => return Ok(None),
        other => other?,
    };
    if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Ok(None);
    }
    let (memory, offset) = (stat.stx_dio_mem_align, stat.stx_dio_offset_align);
    Ok(if offset == 0 {
        Some("the file system says that its files have no direct I/O".to_owned())
    } else if memory.max(offset) as usize > ALIGN {
        Some(format!(
            "the device wants direct I/O aligned to {} bytes, more than {ALIGN}",
            memory.max(offset)
        ))
    } else {
        None
    })
}

fn reserve_and_write(file: &File) -> io::Result<()> {
    allocate(file, TRIAL_SIZE as u64).map_err(cannot_reserve)?;
    file.write_all_at(&IoBuf::zeroed(ALIGN), 0)
}

/// A store that reserves no space could find the disk full after it promised to keep something.
fn cannot_reserve(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the file system cannot reserve space (fallocate: {error}); use ext4 or xfs"),
        ),
        _ => error,
    }
}

/// Reserve, write, sync and read back through a door, from registered memory where it takes that.
pub(crate) fn round_trip(io: &mut dyn Io, dir: &Path) -> io::Result<()> {
    let scratch = Scratch::new(dir);
    let file = io.open(&scratch.0, Open::Create)?;
    drop(scratch);
    run(io, Op::Allocate { file, len: 2 * TRIAL_SIZE as u64 }).map_err(cannot_reserve)?;
    let pool = Pool::new(TRIAL_SIZE, 2);
    let _only_speed = io.register(&pool);
    let mut painted = pool.take().expect("the pool is new");
    for (position, byte) in painted.iter_mut().enumerate() {
        *byte = u8::try_from(position % 251).expect("251 fits a byte");
    }
    let (_, painted) = run(io, Op::Write { file, offset: ALIGN as u64, buffer: painted })?;
    datasync(io, file)?;
    let buffer = pool.take().expect("the pool has two");
    let (count, back) = run(io, Op::Read { file, offset: ALIGN as u64, buffer })?;
    io.close(file);
    match (painted, back) {
        (Some(painted), Some(back)) if count == TRIAL_SIZE && *painted == *back => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the disk does not give back what was just written: replace it before trusting it with a backup",
        )),
    }
}

/// Some readable file below `dir` that has a whole block.
fn some_file(dir: &Path, depth: u32, budget: &mut usize) -> io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Some(left) = budget.checked_sub(1) else { return Ok(None) };
        *budget = left;
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            // A folder we may not enter holds nothing we could read.
            if let Ok(Some(found)) = some_file(&path, depth - 1, budget) {
                return Ok(Some(found));
            }
        } else if kind.is_file()
            && entry.metadata().is_ok_and(|meta| meta.len() >= ALIGN as u64)
            && File::open(&path).is_ok()
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
