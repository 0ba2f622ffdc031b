//! The work of [`crate::mover`] done with tokio-uring, as its documentation shows it.
//!
//! One task per operation in flight, each with a registered buffer of its own. The ring is tokio-uring's default.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::OFlags;
use tokio_uring::buf::fixed::{FixedBuf, FixedBufRegistry};
use tokio_uring::buf::{BoundedBuf, Slice};
use tokio_uring::fs::File;

use crate::corpus;
use crate::mover::{STAMP, Shape, stamp, stamped};

/// Alignment of memory that direct I/O asks for, in bytes.
const ALIGN: usize = 4096;

/// A runtime, an open file, and registered buffers.
pub struct TokioMover {
    // Dropped in this order: the file closes through the runtime.
    file: Rc<File>,
    registry: FixedBufRegistry<Vec<u8>>,
    runtime: tokio_uring::Runtime,
    shape: Shape,
}

/// What a task does with its blocks.
#[derive(Clone, Copy)]
enum Direction {
    Write,
    Read,
}

impl TokioMover {
    /// Open `path`, which [`crate::mover::prepare`] made at least as long as the shape.
    ///
    /// # Errors
    /// The kernel refuses io_uring, or the file system direct I/O.
    pub fn open(path: &Path, shape: Shape) -> io::Result<Self> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag is one bit below the sign");
        let file = std::fs::OpenOptions::new().read(true).write(true).custom_flags(direct).open(path)?;
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
        // Longer than a block, so that one fits at the first aligned address.
        let memory = |lane| corpus::random(lane, shape.block + ALIGN);
        let registry = FixedBufRegistry::new((0..shape.depth as u64).map(memory));
        let file = runtime.block_on(async {
            registry.register()?;
            Ok::<_, io::Error>(Rc::new(File::from_std(file)))
        })?;
        Ok(Self { file, registry, runtime, shape })
    }

    /// Write every block once.
    ///
    /// # Errors
    /// The disk's own.
    pub fn write(&mut self) -> io::Result<()> {
        self.each(Direction::Write).map(drop)
    }

    /// Read every block once; returns the sum of their numbers.
    ///
    /// # Errors
    /// The disk's own.
    pub fn read(&mut self) -> io::Result<u64> {
        self.each(Direction::Read)
    }

    fn each(&mut self, direction: Direction) -> io::Result<u64> {
        self.runtime.block_on(async {
            let tasks: Vec<_> = (0..self.shape.depth)
                .map(|lane| {
                    let buffer = self.registry.check_out(lane).expect("the last run gave all buffers back");
                    let start = buffer.as_ptr().align_offset(ALIGN);
                    let buffer = buffer.slice(start..start + self.shape.block);
                    let file = Rc::clone(&self.file);
                    tokio_uring::spawn(lane_of(file, buffer, self.shape, lane as u64, direction))
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.map_err(io::Error::other)??;
            }
            Ok(sum)
        })
    }
}

/// Move blocks `lane`, `lane + depth`, `lane + 2 depth`, and so on; returns the sum of the numbers read.
async fn lane_of(
    file: Rc<File>,
    mut buffer: Slice<FixedBuf>,
    shape: Shape,
    lane: u64,
    direction: Direction,
) -> io::Result<u64> {
    let mut sum = 0;
    for number in (lane..shape.count).step_by(shape.depth) {
        let offset = shape.offset(number);
        let moved = match direction {
            Direction::Write => {
                stamp(&mut buffer[..STAMP], number);
                let (result, back) = file.write_fixed_at(buffer, offset).await;
                buffer = back;
                result?
            }
            Direction::Read => {
                let (result, back) = file.read_fixed_at(buffer, offset).await;
                buffer = back;
                sum += stamped(&buffer[..STAMP]);
                result?
            }
        };
        if moved != shape.block {
            return Err(io::Error::other(format!("{moved} of {} bytes moved", shape.block)));
        }
    }
    Ok(sum)
}
