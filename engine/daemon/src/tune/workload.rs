//! What a trial times: gdd's own transfers on the store's disk, in files as containers are.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gdd_engine::limits::CONTAINER_SIZE_DEFAULT;
use gdd_tuning::finding::Workload;
use gdd_uring::buffer::{IoBuf, Pool};
use gdd_uring::probe::Mode;
use rustix::fs::Advice;

use crate::bench::device::{Device, LARGE, Load, Way};
use crate::failure::{Failure, Result};
use crate::size::to_float;

/// Random reads of one measurement.
const READS: u64 = 1024;
/// Bytes of a random read: a large chunk.
const READ_SIZE: usize = 64 << 10;
/// How long syncs are counted beside buffered writes.
const BESIDE: Duration = Duration::from_secs(2);
/// Bytes of a piece of what is read or written through the page cache.
const PIECE: usize = 1 << 20;
/// How much longer than a transfer the buffered writer's file is, before it begins anew.
const BESIDE_TIMES: u64 = 4;

/// Files in a folder of their own, and what is done with them.
pub(super) struct Bench {
    folder: PathBuf,
    bytes: u64,
    device: Device,
    random: u64,
}

/// Bytes that must be free for transfers of `bytes`.
pub(super) fn need(bytes: u64) -> u64 {
    // The direct files, the buffered one, and the one that is written beside.
    bytes.next_multiple_of(CONTAINER_SIZE_DEFAULT) + bytes + bytes * BESIDE_TIMES
}

impl Bench {
    /// Make the files.
    ///
    /// # Errors
    /// The disk refused.
    pub(super) fn new(folder: &Path, mode: Mode, bytes: u64) -> Result<Self> {
        let mut device = Device::new(folder, mode)?;
        device.prepare(bytes)?;
        device.transfer(Way::Write, bytes, LARGE)?; // From here on, blocks exist, as in recycled containers.
        let bench = Self { folder: folder.to_owned(), bytes, device, random: 1 };
        let path = bench.join("buffered");
        let mut file = File::create(&path).map_err(Failure::file("make", &path))?;
        let piece = vec![1_u8; PIECE];
        for _ in 0..bytes / PIECE as u64 {
            file.write_all(&piece).map_err(Failure::file("write", &path))?;
        }
        file.sync_all().map_err(Failure::file("sync", &path))?;
        Ok(bench)
    }

    /// How the disk is reached.
    pub(super) fn mode(&self) -> &str {
        self.device.mode()
    }

    fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Bytes per second.
    ///
    /// # Errors
    /// The disk refused.
    pub(super) fn rate(&mut self, workload: Workload) -> Result<f64> {
        match workload {
            Workload::Write => self.device.transfer(Way::Write, self.bytes, LARGE),
            Workload::Read => self.device.transfer(Way::Read, self.bytes, LARGE),
            Workload::RandomRead => self.random_reads(),
            Workload::BufferedRead => self.buffered_read(),
            Workload::FreshMemory => Ok(fresh_memory(self.bytes)),
            Workload::SyncBeside => self.sync_beside(),
        }
    }

    fn random_reads(&mut self) -> Result<f64> {
        let mut buffers = vec![IoBuf::zeroed(READ_SIZE)];
        let mut took = Duration::ZERO;
        for _ in 0..READS {
            // Xorshift: any places do, and other ones each time, since the host keeps what was read.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            took += self.device.read_somewhere(self.random, &mut buffers)?;
        }
        Ok(to_float(READS * READ_SIZE as u64) / took.as_secs_f64())
    }

    fn buffered_read(&self) -> Result<f64> {
        let path = self.join("buffered");
        let mut file = File::open(&path).map_err(Failure::file("open", &path))?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
            .map_err(std::io::Error::from)
            .map_err(Failure::file("drop the page cache of", &path))?;
        let mut piece = vec![0_u8; PIECE];
        let started = Instant::now();
        for _ in 0..self.bytes / PIECE as u64 {
            file.read_exact(&mut piece).map_err(Failure::file("read", &path))?;
        }
        Ok(to_float(self.bytes) / started.elapsed().as_secs_f64())
    }

    fn sync_beside(&mut self) -> Result<f64> {
        let (path, bytes, over) = (self.join("beside"), self.bytes, AtomicBool::new(false));
        let load = Load { block: PIECE as u64, depth: 1 };
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| buffered_writes(&path, bytes * BESIDE_TIMES, &over));
            let (started, mut count, mut took) = (Instant::now(), 0, 0.0);
            let synced = loop {
                if started.elapsed() >= BESIDE {
                    break Ok(to_float(count * load.block) / took);
                }
                match self.device.transfer(Way::Write, load.block, load) {
                    // Without the time that filling the buffer takes.
                    Ok(rate) => (count, took) = (count + 1, took + to_float(load.block) / rate),
                    Err(failure) => break Err(failure),
                }
            };
            over.store(true, Ordering::Relaxed); // Read by `buffered_writes`, which hands nothing over.
            let written =
                beside.join().unwrap_or_else(|_| Err(Failure::Failed("the writer died".to_owned())));
            written.and(synced)
        })
    }
}

/// Write a file again and again until it is over; then let the disk come to rest.
fn buffered_writes(path: &Path, bytes: u64, over: &AtomicBool) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let mut file = file.map_err(Failure::file("open", path))?;
    let (piece, mut at) = (vec![2_u8; PIECE], 0);
    while !over.load(Ordering::Relaxed) {
        if at >= bytes {
            file.seek(SeekFrom::Start(0)).map_err(Failure::file("write", path))?;
            at = 0;
        }
        file.write_all(&piece).map_err(Failure::file("write", path))?;
        at += PIECE as u64;
    }
    file.sync_all().map_err(Failure::file("sync", path))
}

/// Fill buffers that nobody has touched, from a source that is in the processor's cache.
fn fresh_memory(bytes: u64) -> f64 {
    let source = vec![3_u8; PIECE / 4];
    let count = usize::try_from(bytes / PIECE as u64).unwrap_or(1);
    let started = Instant::now();
    let pool = Pool::new(PIECE, count);
    let mut buffers: Vec<IoBuf> = (0..count).filter_map(|_| pool.take()).collect();
    for buffer in &mut buffers {
        for part in buffer.chunks_exact_mut(source.len()) {
            part.copy_from_slice(&source);
        }
    }
    let took = started.elapsed();
    std::hint::black_box(&buffers);
    to_float(bytes) / took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_moves_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Bench::new(folder.path(), Mode::Auto, 4 << 20).unwrap();
        let all = [
            Workload::Write,
            Workload::Read,
            Workload::RandomRead,
            Workload::BufferedRead,
            Workload::FreshMemory,
            Workload::SyncBeside,
        ];
        for workload in all {
            assert!(bench.rate(workload).unwrap() > 0.0, "{}", workload.name());
        }
    }
}
