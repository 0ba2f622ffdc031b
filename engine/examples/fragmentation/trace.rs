//! What a restore reads, and what that would cost a disk that rotates.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gdd_engine::limits::BLOCK_SIZE;
use gdd_uring::buffer::Pool;
use gdd_uring::io::{Done, Entry, FileId, Io, Op, Open, Tag, Wait, Waker};

/// The model: a seek that is not forward over a little, in seconds, and bytes per second.
const SEEK: f64 = 0.008;
const RATE: f64 = 160e6;

/// A read, in the order of asking.
struct Read {
    path: Arc<PathBuf>,
    offset: u64,
    len: u64,
}

/// Every read of a door to the disk.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<Read>>>);

/// What the reads come to.
pub struct Cost {
    pub containers: usize,
    pub reads: usize,
    pub seeks: usize,
    pub bytes: u64,
    /// By the model.
    pub seconds: f64,
}

impl Trace {
    /// Its cost on a disk with one head that serves the reads as they were asked for: 160 MB/s, and 8 ms where a read
    /// does not begin where the last one ended; or, if it begins further on in the same file, the time in which the gap
    /// goes by under the head, if that is less. A block that ends one read and begins the next is in the drive's cache.
    pub fn cost(&self) -> Cost {
        let reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let containers: BTreeSet<&Path> = reads.iter().map(|read| read.path.as_path()).collect();
        let mut cost =
            Cost { containers: containers.len(), reads: reads.len(), seeks: 0, bytes: 0, seconds: 0.0 };
        let mut last: Option<(&Path, u64)> = None;
        for read in reads.iter() {
            let near =
                last.filter(|(path, end)| *path == read.path.as_path() && *end <= read.offset + BLOCK_SIZE);
            let way = near.map_or(SEEK, |(_, end)| SEEK.min(read.offset.saturating_sub(end) as f64 / RATE));
            cost.seeks += usize::from(way >= SEEK);
            cost.bytes += read.len;
            cost.seconds += way + read.len as f64 / RATE;
            last = Some((&read.path, read.offset + read.len));
        }
        cost
    }
}

/// A door to the disk that writes down what is read through it.
pub struct Traced {
    io: Box<dyn Io>,
    trace: Trace,
    paths: HashMap<FileId, Arc<PathBuf>>,
}

impl Traced {
    pub fn new(io: Box<dyn Io>, trace: Trace) -> Self {
        Self { io, trace, paths: HashMap::new() }
    }
}

impl Io for Traced {
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op> {
        let read = match &op {
            Op::Read { file, offset, buffer } => self.paths.get(file).map(|path| Read {
                path: Arc::clone(path),
                offset: *offset,
                len: buffer.len() as u64,
            }),
            _ => None,
        };
        self.io.submit(tag, op)?;
        self.trace.0.lock().unwrap_or_else(PoisonError::into_inner).extend(read);
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>, wait: Wait) -> io::Result<()> {
        self.io.poll(done, wait)
    }

    fn in_flight(&self) -> usize {
        self.io.in_flight()
    }

    fn capacity(&self) -> usize {
        self.io.capacity()
    }

    fn register(&mut self, pool: &Pool) -> bool {
        self.io.register(pool)
    }

    fn waker(&self) -> Waker {
        self.io.waker()
    }

    fn now(&self) -> Duration {
        self.io.now()
    }

    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        let file = self.io.open(path, how)?;
        self.paths.insert(file, Arc::new(path.to_owned()));
        Ok(file)
    }

    fn close(&mut self, file: FileId) {
        self.io.close(file);
    }

    fn size(&mut self, file: FileId) -> io::Result<u64> {
        self.io.size(file)
    }

    fn truncate(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.io.truncate(file, len)
    }

    fn sync_all(&mut self, file: FileId) -> io::Result<()> {
        self.io.sync_all(file)
    }

    fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.io.rename(source, target)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.io.unlink(path)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.io.create_dir(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.io.sync_dir(path)
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        self.io.list(path)
    }

    fn free_bytes(&mut self, path: &Path) -> io::Result<u64> {
        self.io.free_bytes(path)
    }
}
