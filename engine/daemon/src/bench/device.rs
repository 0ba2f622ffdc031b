//! The disk itself, with no store in between: the ceiling of everything that the store does with it.
//!
//! Files are made as containers are: as long, and their space reserved before the first write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gdd_engine::error::Error;
use gdd_engine::limits::CONTAINER_SIZE_DEFAULT;
use gdd_uring::buffer::{IoBuf, Pool};
use gdd_uring::io::{self, Done, FileId, Io, IoSource, Op, Open, Tag, Wait};
use gdd_uring::probe::{self, Mode};

use super::data;
use crate::failure::{Failure, Result};
use crate::size::to_float;

/// How long one look for completions may take; they end it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many bytes each operation moves, and how many are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes.
    pub block: u64,
    /// Operations.
    pub depth: usize,
}

/// What the store itself uses for large transfers.
pub const LARGE: Load = Load { block: 1 << 20, depth: 8 };

/// Files on one disk, through one door.
pub struct Device {
    source: Arc<dyn IoSource>,
    io: Box<dyn Io>,
    folder: PathBuf,
    files: Vec<(PathBuf, FileId, u64)>,
    /// Buffers of each load so far: a ring registers a few pools only, and keeps them.
    pools: Vec<(Load, Pool)>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the disk, and durable in the end.
    Write,
    /// From the disk.
    Read,
}

impl Device {
    /// No files yet; they will lie in `folder`.
    ///
    /// # Errors
    /// The disk cannot be reached in this way.
    pub fn new(folder: &Path, mode: Mode) -> Result<Self> {
        let source = probe::probe(folder, mode, false).map_err(Error::io("test the disk below", folder))?;
        Self::through(source, folder)
    }

    /// These files, as far as they were written, for reading only.
    ///
    /// # Errors
    /// As [`Device::new`]; or they cannot be opened.
    pub fn of_files(folder: &Path, mode: Mode, files: &[(PathBuf, u64)]) -> Result<Self> {
        let source =
            probe::probe_read_only(folder, mode).map_err(Error::io("test the disk below", folder))?;
        let mut device = Self::through(source, folder)?;
        for (path, len) in files {
            let file = device.io.open(path, Open::Read).map_err(Error::io("open", path))?;
            device.files.push((path.clone(), file, *len));
        }
        Ok(device)
    }

    fn through(source: Arc<dyn IoSource>, folder: &Path) -> Result<Self> {
        let io = source.open().map_err(Error::io("open a door to", folder))?;
        Ok(Self { source, io, folder: folder.to_owned(), files: Vec::new(), pools: Vec::new() })
    }

    /// How the disk is reached.
    #[must_use]
    pub fn mode(&self) -> &str {
        self.source.mode()
    }

    /// Reserve files for `bytes`.
    ///
    /// # Errors
    /// The disk refused.
    pub fn prepare(&mut self, bytes: u64) -> Result<()> {
        for number in 0..bytes.div_ceil(CONTAINER_SIZE_DEFAULT) {
            let path = self.folder.join(format!("raw-{number}"));
            let file = self.io.open(&path, Open::Create).map_err(Error::io("create", &path))?;
            self.files.push((path.clone(), file, CONTAINER_SIZE_DEFAULT));
            let reserve = Op::Allocate { file, len: CONTAINER_SIZE_DEFAULT };
            io::run(self.io.as_mut(), reserve).map_err(Error::io("reserve space for", &path))?;
            self.io.sync_all(file).map_err(Error::io("sync", &path))?;
        }
        Ok(())
    }

    /// Move `bytes` through all files in order, and sync what was written; returns bytes per second.
    ///
    /// # Errors
    /// The disk refused.
    pub fn transfer(&mut self, way: Way, bytes: u64, load: Load) -> Result<f64> {
        let pool = self.pool(load);
        let mut first: Vec<IoBuf> = (0..load.depth).filter_map(|_| pool.take()).collect();
        for (number, buffer) in (0_u64..).zip(&mut first) {
            data::fill(buffer, number << 32);
        }
        let blocks = self.files.iter().flat_map(|(_, file, size)| {
            (0..size / load.block).map(move |number| (*file, number * load.block))
        });
        let wanted = usize::try_from(bytes / load.block).unwrap_or(usize::MAX);
        let blocks: Vec<(FileId, u64)> = blocks.take(wanted).collect();
        let started = Instant::now();
        pump(self.io.as_mut(), way, &blocks, first).map_err(Error::io("use files in", &self.folder))?;
        if way == Way::Write {
            for (path, file, _) in &self.files {
                io::datasync(self.io.as_mut(), *file).map_err(Error::io("sync", path))?;
            }
        }
        Ok(to_float(blocks.len() as u64 * load.block) / started.elapsed().as_secs_f64())
    }

    /// Registered buffers for a load, all of them free.
    fn pool(&mut self, load: Load) -> Pool {
        if let Some((_, pool)) = self.pools.iter().find(|(known, _)| *known == load) {
            return pool.clone();
        }
        let pool = Pool::new(usize::try_from(load.block).expect("a block fits memory"), load.depth);
        self.io.register(&pool);
        self.pools.push((load, pool.clone()));
        pool
    }

    /// Read as many bytes as `buffers` have, one after another in some file, all at once; returns how long it took.
    ///
    /// # Errors
    /// The disk refused.
    pub fn read_somewhere(&mut self, random: u64, buffers: &mut Vec<IoBuf>) -> Result<Duration> {
        let size: u64 = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        let fitting: Vec<_> = self.files.iter().filter(|(_, _, len)| *len >= size).collect();
        let choice = usize::try_from(random % (fitting.len().max(1) as u64)).unwrap_or(0);
        let (path, file, len) = fitting.get(choice).ok_or_else(|| {
            Failure::Failed(format!("no file in {} has {size} bytes", self.folder.display()))
        })?;
        let block = gdd_engine::limits::BLOCK_SIZE;
        let mut offset = (random >> 16) % ((len - size) / block + 1) * block;
        let (mut done, count) = (Vec::with_capacity(buffers.len()), buffers.len());
        let started = Instant::now();
        for buffer in buffers.drain(..) {
            let length = buffer.len() as u64;
            let read = Op::Read { file: *file, offset, buffer };
            if self.io.submit(Tag(offset), read).is_err() {
                return Err(Failure::Failed(format!("fewer than {count} reads may be in flight")));
            }
            offset += length;
        }
        while done.len() < count {
            self.io.poll(&mut done, Wait::For(PATIENCE)).map_err(Error::io("read", path))?;
        }
        let took = started.elapsed();
        for Done { result, buffer, .. } in done {
            result.map_err(Error::io("read", path))?;
            buffers.extend(buffer);
        }
        Ok(took)
    }

    /// Remove the files that were prepared.
    ///
    /// # Errors
    /// The disk refused.
    pub fn remove(&mut self) -> Result<()> {
        for (path, file, _) in self.files.drain(..) {
            self.io.close(file);
            self.io.unlink(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

/// Keep as many operations in flight as there are buffers, until all blocks are done.
fn pump(io: &mut dyn Io, way: Way, blocks: &[(FileId, u64)], mut buffers: Vec<IoBuf>) -> std::io::Result<()> {
    let (mut next, mut done) = (blocks.iter(), Vec::new());
    let mut left = blocks.len();
    while left > 0 {
        while let Some(buffer) = buffers.pop() {
            let Some((file, offset)) = next.next() else { break };
            let op = match way {
                Way::Write => Op::Write { file: *file, offset: *offset, buffer },
                Way::Read => Op::Read { file: *file, offset: *offset, buffer },
            };
            io.submit(Tag(*offset), op).map_err(|_| std::io::Error::other("the ring has no room"))?;
        }
        io.poll(&mut done, Wait::For(PATIENCE))?;
        for Done { result, buffer, .. } in done.drain(..) {
            result?;
            buffers.extend(buffer);
            left -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut device = Device::new(folder.path(), Mode::Auto).unwrap();
        let bytes = 4 << 20;
        device.prepare(bytes).unwrap();
        for way in [Way::Write, Way::Read] {
            assert!(device.transfer(way, bytes, LARGE).unwrap() > 0.0);
        }
        let mut pieces: Vec<IoBuf> = (0..8).map(|_| IoBuf::zeroed(8192)).collect();
        device.read_somewhere(u64::MAX / 3, &mut pieces).unwrap();
        assert_eq!(pieces.len(), 8, "buffers come back");
        device.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
