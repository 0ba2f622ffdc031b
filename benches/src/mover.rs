//! Blocks in and out of one prepared file through our own door to the disk, at a fixed depth.
//!
//! Every block carries its number, and reading adds the numbers up: a rival that skipped blocks, or moved one twice, is
//! not faster but wrong, and the sum shows it. [`crate::tokio_mover`] does the same work with tokio-uring.

use std::io;
use std::path::Path;
use std::time::Duration;

use gdd_uring::buffer::{IoBuf, Pool};
use gdd_uring::io::{FileId, Io, IoSource, Op, Open, Tag, Wait};

use crate::corpus;

/// Where a block holds its number: its first bytes, little-endian.
pub const STAMP: usize = 8;

/// Longest wait for one completion before the device is believed dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is moved, from the file's beginning on. Sizes in bytes; the block a multiple of 4096.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes per operation.
    pub block: usize,
    /// Operations in flight.
    pub depth: usize,
    /// Blocks in all.
    pub count: u64,
}

impl Shape {
    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.block as u64 * self.count
    }

    /// Byte offset of a block.
    #[must_use]
    pub fn offset(&self, number: u64) -> u64 {
        self.block as u64 * number
    }

    /// What reading must return: the sum of all numbers.
    #[must_use]
    pub fn sum(&self) -> u64 {
        (0..self.count).sum()
    }
}

/// Make the file that all rivals share: its space allocated and written once, so that nobody measures the file system
/// looking for room.
///
/// # Errors
/// The disk is full or refused.
pub fn prepare(path: &Path, bytes: u64) -> io::Result<()> {
    let file = std::fs::File::create(path)?;
    let noise = corpus::random(9, 1 << 20);
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).map_or(noise.len(), |left| left.min(noise.len()));
        io::Write::write_all(&mut &file, &noise[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}

/// Write the number of a block into it.
///
/// # Panics
/// When the block is shorter than a number.
pub fn stamp(block: &mut [u8], number: u64) {
    block[..STAMP].copy_from_slice(&number.to_le_bytes());
}

/// The number in a block.
///
/// # Panics
/// As [`stamp`].
#[must_use]
pub fn stamped(block: &[u8]) -> u64 {
    u64::from_le_bytes(*block.first_chunk::<STAMP>().expect("a block is longer than its number"))
}

/// One thread's door, an open file, and registered buffers.
pub struct Mover {
    io: Box<dyn Io>,
    file: FileId,
    pool: Pool,
    shape: Shape,
}

impl Mover {
    /// Open `path`, which [`prepare`] made at least as long as the shape.
    ///
    /// # Errors
    /// The disk refused.
    pub fn open(source: &dyn IoSource, path: &Path, shape: Shape) -> io::Result<Self> {
        let mut io = source.open()?;
        let file = io.open(path, Open::Write)?;
        let pool = Pool::new(shape.block, shape.depth);
        io.register(&pool);
        Ok(Self { io, file, pool, shape })
    }

    /// Write every block once.
    ///
    /// # Errors
    /// The disk's own.
    pub fn write(&mut self) -> io::Result<()> {
        let file = self.file;
        let operation = |offset, number, mut buffer: IoBuf| {
            stamp(&mut buffer, number);
            Op::Write { file, offset, buffer }
        };
        self.each(operation, |_| {})
    }

    /// Read every block once; returns the sum of their numbers.
    ///
    /// # Errors
    /// The disk's own.
    pub fn read(&mut self) -> io::Result<u64> {
        let (file, mut sum) = (self.file, 0);
        self.each(|offset, _, buffer| Op::Read { file, offset, buffer }, |block| sum += stamped(block))?;
        Ok(sum)
    }

    /// Keep `depth` operations in flight until every block went through.
    fn each(
        &mut self,
        operation: impl Fn(u64, u64, IoBuf) -> Op,
        mut reap: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let (mut next, mut finished, mut done) = (0, 0, Vec::with_capacity(self.shape.depth));
        while finished < self.shape.count {
            while next < self.shape.count
                && let Some(buffer) = self.pool.take()
            {
                let op = operation(self.shape.offset(next), next, buffer);
                self.io.submit(Tag(next), op).map_err(|_| io::Error::other("the depth exceeds the ring"))?;
                next += 1;
            }
            self.io.poll(&mut done, Wait::For(PATIENCE))?;
            for one in done.drain(..) {
                let moved = one.result?;
                let buffer = one.buffer.expect("a transfer gives its buffer back");
                if moved != self.shape.block {
                    return Err(io::Error::other(format!("{moved} of {} bytes moved", self.shape.block)));
                }
                reap(&buffer);
                finished += 1;
            }
        }
        Ok(())
    }
}
