//! What a restore reads, and what that would cost a disk that rotates.

use std::collections::{BTreeSet, HashMap, VecDeque};
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

/// What was read through a door to the disk.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Tally>>);

#[derive(Default)]
struct Tally {
    containers: BTreeSet<Arc<PathBuf>>,
    cost: Cost,
}

/// What the reads come to.
#[derive(Clone, Default)]
pub struct Cost {
    pub containers: usize,
    pub reads: usize,
    pub seeks: usize,
    pub bytes: u64,
    /// By the model.
    pub seconds: f64,
}

impl Trace {
    pub fn cost(&self) -> Cost {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Cost { containers: tally.containers.len(), ..tally.cost.clone() }
    }
}

/// A disk with one head that serves reads as they are asked for: 160 MB/s, and 8 ms where a read does not begin where
/// the last one ended; or, if it begins further on in the same file, the time in which the gap goes by under the head,
/// if that is less. A block that ends one read and begins the next is in the drive's cache.
#[derive(Default)]
struct Disk {
    last: Option<(Arc<PathBuf>, u64)>,
    /// When it has done all that it was asked for.
    idle: Duration,
    /// What is in flight, in the order of asking, and when it is done.
    due: VecDeque<(Tag, Duration)>,
    /// What the disk below has done before its time.
    early: HashMap<Tag, Done>,
    /// The moment at which the last answer was there: the clock of whoever reads from it. Nothing else takes time.
    now: Duration,
}

impl Disk {
    fn asked(&mut self, tag: Tag, path: &Arc<PathBuf>, (offset, len): (u64, u64), tally: &mut Tally) {
        let near = self.last.take().filter(|(last, end)| last == path && *end <= offset + BLOCK_SIZE);
        let way = near.map_or(SEEK, |(_, end)| SEEK.min(offset.saturating_sub(end) as f64 / RATE));
        let seconds = way + len as f64 / RATE;
        tally.cost.seeks += usize::from(way >= SEEK);
        tally.cost.reads += 1;
        tally.cost.bytes += len;
        tally.cost.seconds += seconds;
        tally.containers.insert(Arc::clone(path));
        self.last = Some((Arc::clone(path), offset + len));
        self.idle = self.idle.max(self.now) + Duration::from_secs_f64(seconds);
        self.due.push_back((tag, self.idle));
    }

    /// The next answer, if the disk below has it.
    fn next(&mut self) -> Option<Done> {
        let (tag, due) = self.due.front()?;
        let done = self.early.remove(tag)?;
        self.now = self.now.max(*due);
        self.due.pop_front();
        Some(done)
    }
}

/// A door to the disk, with the clock of the model.
pub struct Traced {
    io: Box<dyn Io>,
    trace: Trace,
    disk: Disk,
    paths: HashMap<FileId, Arc<PathBuf>>,
}

impl Traced {
    pub fn new(io: Box<dyn Io>, trace: Trace) -> Self {
        Self { io, trace, disk: Disk::default(), paths: HashMap::new() }
    }
}

impl Io for Traced {
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op> {
        let read = match &op {
            Op::Read { file, offset, buffer } => {
                self.paths.get(file).map(|path| (Arc::clone(path), *offset, buffer.len() as u64))
            }
            _ => None,
        };
        self.io.submit(tag, op)?;
        if let Some((path, offset, len)) = read {
            let mut tally = self.trace.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.disk.asked(tag, &path, (offset, len), &mut tally);
        }
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>, wait: Wait) -> io::Result<()> {
        if let Some(next) = self.disk.next() {
            done.push(next);
            return Ok(());
        }
        let mut below = Vec::new();
        self.io.poll(&mut below, wait)?;
        for answer in below {
            if self.disk.due.iter().any(|(tag, _)| *tag == answer.tag) {
                self.disk.early.insert(answer.tag, answer);
            } else {
                done.push(answer);
            }
        }
        done.extend(self.disk.next());
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.io.in_flight() + self.disk.early.len()
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
        self.disk.now
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
