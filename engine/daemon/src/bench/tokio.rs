//! The same transfers through tokio-uring, for comparison only.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use gdd_engine::error::Error;
use gdd_engine::limits::BLOCK_SIZE;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;

use super::data;
use super::device::Way;
use crate::failure::Result;
use crate::size::to_float;

/// `O_DIRECT` on x86-64 and most others.
const O_DIRECT: u32 = rustix::fs::OFlags::DIRECT.bits();

/// Measures one block size and direction: given the work, which returns bytes per second.
pub type Measure<'a> = dyn FnMut(u64, Way, &mut dyn FnMut() -> Result<f64>) -> Result<()> + 'a;

/// Measure every block size in both directions, in a file at `path`.
///
/// # Errors
/// The disk refused, or this kernel refuses io_uring.
pub fn measure(
    path: &Path,
    bytes: u64,
    depth: usize,
    blocks: &[u64],
    measure: &mut Measure<'_>,
) -> Result<()> {
    prepare(path, bytes).map_err(Error::io("prepare", path))?;
    for block in blocks {
        for way in [Way::Write, Way::Read] {
            let mut work = || {
                let rate = tokio_uring::start(transfer(path, bytes, *block, depth, way));
                Ok(rate.map_err(Error::io("use", path))?)
            };
            measure(*block, way, &mut work)?;
        }
    }
    std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    Ok(())
}

/// A file whose blocks were written before.
fn prepare(path: &Path, bytes: u64) -> io::Result<()> {
    let file = std::fs::File::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    file.sync_all()?;
    tokio_uring::start(transfer(path, bytes, 1 << 20, 8, Way::Write)).map(drop)
}

/// Bytes per second.
async fn transfer(path: &Path, bytes: u64, block: u64, depth: usize, way: Way) -> io::Result<f64> {
    let flags = i32::try_from(O_DIRECT).map_err(io::Error::other)?;
    let file = std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let file = std::rc::Rc::new(File::from_std(file));
    let size = usize::try_from(block).map_err(io::Error::other)?;
    let mut spare: Vec<Vec<u8>> = (0_u64..).take(depth).map(|number| buffer(size, number)).collect();
    let mut running = VecDeque::new();
    let mut offsets = (0..bytes / block).map(|number| number * block);
    let started = Instant::now();
    loop {
        while let Some(bytes) = spare.pop() {
            let Some(offset) = offsets.next() else { break };
            running.push_back(tokio_uring::spawn(one(std::rc::Rc::clone(&file), bytes, size, offset, way)));
        }
        let Some(oldest) = running.pop_front() else { break };
        spare.push(oldest.await.map_err(io::Error::other)??);
    }
    if way == Way::Write {
        file.sync_data().await?;
    }
    let moved = bytes / block * block;
    Ok(to_float(moved) / started.elapsed().as_secs_f64())
}

/// A buffer with an aligned part of `size` bytes.
fn buffer(size: usize, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; size + alignment()];
    data::fill(&mut bytes, number << 32);
    bytes
}

fn alignment() -> usize {
    usize::try_from(BLOCK_SIZE).expect("a block fits memory")
}

async fn one(
    file: std::rc::Rc<File>,
    bytes: Vec<u8>,
    size: usize,
    offset: u64,
    way: Way,
) -> io::Result<Vec<u8>> {
    let start = bytes.as_ptr().align_offset(alignment());
    let part = bytes.slice(start..start + size);
    let (result, part) = match way {
        Way::Write => file.write_at(part, offset).submit().await,
        Way::Read => file.read_at(part, offset).await,
    };
    match result? {
        count if count == size => Ok(part.into_inner()),
        count => Err(io::Error::other(format!("{count} of {size} bytes were moved"))),
    }
}
