//! [`Io`] on a simulated disk, and the source of such doors.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::disk::SimDisk;
use super::faults::{OpKind, errno};
use super::flight::{Flight, Work};
use super::hits::Hit;
use super::names::Ino;
use super::world::World;
use crate::buffer::{ALIGN, IoBuf, Pool};
use crate::io::{Done, Entry, FileId, Io, IoSource, Op, Open, Tag, Wait, Waker};

/// Operations in flight in one door, unless the source says otherwise.
const CAPACITY: usize = 64;
/// One poll in so many holds back a part of the completions that it could give out.
const HOLD_BACK_ONE_IN: u64 = 4;

/// Opens doors to one simulated disk.
#[derive(Clone, Debug)]
pub struct SimSource {
    disk: SimDisk,
    capacity: usize,
}

impl SimSource {
    /// Doors to `disk`.
    #[must_use]
    pub fn new(disk: SimDisk) -> Self {
        Self { disk, capacity: CAPACITY }
    }

    /// The same with room for `capacity` operations in flight in each door.
    ///
    /// # Panics
    /// When `capacity` is 0.
    #[must_use]
    pub fn with_capacity(mut self, capacity: usize) -> Self {
        assert!(capacity > 0, "a door that takes no operation never makes progress");
        self.capacity = capacity;
        self
    }
}

impl IoSource for SimSource {
    fn open(&self) -> io::Result<Box<dyn Io>> {
        let mut world = self.disk.world();
        let door = world.ready.len();
        world.ready.push(Vec::new());
        drop(world);
        let (disk, capacity) = (self.disk.clone(), self.capacity);
        Ok(Box::new(SimIo { disk, door, capacity, in_flight: 0, files: Vec::new(), rung: Arc::default() }))
    }

    fn mode(&self) -> &'static str {
        "sim"
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    ino: Ino,
    writable: bool,
}

/// One thread's door to a [`SimDisk`].
#[derive(Debug)]
pub struct SimIo {
    disk: SimDisk,
    door: usize,
    capacity: usize,
    in_flight: usize,
    /// By [`FileId`]; never given out twice.
    files: Vec<Option<Handle>>,
    rung: Arc<AtomicBool>,
}

impl SimIo {
    fn world(&self) -> MutexGuard<'_, World> {
        self.disk.world()
    }

    fn handle(&self, file: FileId) -> io::Result<Handle> {
        let handle = self.files.get(file.0 as usize).copied().flatten();
        handle.ok_or_else(|| errno(libc::EBADF))
    }

    /// Why an operation cannot start, as direct I/O would say.
    fn check(&self, file: FileId, work: &Work) -> io::Result<Ino> {
        let aligned = |offset: u64, buffer: &IoBuf| {
            let whole = |number: u64| number.is_multiple_of(ALIGN as u64);
            whole(offset) && whole(buffer.len() as u64) && whole(buffer.as_ptr().addr() as u64)
        };
        let (offset, len, changes) = match work {
            Work::Read(offset, buffer) | Work::Write(offset, buffer) if !aligned(*offset, buffer) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Work::Read(offset, buffer) => (*offset, buffer.len() as u64, false),
            Work::Write(offset, buffer) => (*offset, buffer.len() as u64, true),
            Work::Datasync => (0, 0, false),
            Work::Allocate(len) => (0, *len, true),
        };
        let handle = self.handle(file)?;
        if changes && !handle.writable {
            return Err(errno(libc::EBADF));
        }
        if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(errno(libc::EFBIG));
        }
        Ok(handle.ino)
    }
}

fn is_nothing(work: &Work) -> bool {
    match work {
        Work::Read(_, buffer) | Work::Write(_, buffer) => buffer.is_empty(),
        Work::Allocate(len) => *len == 0,
        Work::Datasync => false,
    }
}

impl Io for SimIo {
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op> {
        if self.in_flight >= self.capacity {
            return Err(op);
        }
        self.in_flight += 1;
        let (file, work, kind) = match op {
            Op::Read { file, offset, buffer } => (file, Work::Read(offset, buffer), OpKind::Read),
            Op::Write { file, offset, buffer } => (file, Work::Write(offset, buffer), OpKind::Write),
            Op::Datasync { file } => (file, Work::Datasync, OpKind::Datasync),
            Op::Allocate { file, len } => (file, Work::Allocate(len), OpKind::Allocate),
        };
        let checked = self.check(file, &work);
        let mut world = self.disk.world();
        let (number, fault) = world.begin(kind);
        let over = match (&checked, world.refusal(kind)) {
            (_, Err(error)) => Some(Err(error)),
            (Err(_), _) => None,
            (Ok(_), Ok(())) if is_nothing(&work) => Some(Ok(0)),
            (Ok(_), Ok(())) => None,
        };
        let (ino, over) = match (checked, over) {
            (Ok(ino), over) => (ino, over),
            (Err(error), over) => (Ino::default(), Some(over.unwrap_or(Err(error)))),
        };
        let (door, mark) = (self.door, world.reaps);
        let flight = Flight { door, tag, number, file, ino, work, fault, mark, moved: 0, stop: 0, parts: 0 };
        world.log.push(|| format!("#{number} door {door} {flight:?}"));
        match over {
            Some(result) => world.finish(flight, result),
            None => world.launch(flight),
        }
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>, wait: Wait) -> io::Result<()> {
        let mut world = self.disk.world();
        let tick = world.latency.call;
        world.pass(tick);
        if let Wait::For(limit) = wait
            && world.ready[self.door].is_empty()
            && !self.rung.swap(false, Ordering::Acquire)
        // Pairs with the Release of the waker.
        {
            let end = world.clock.saturating_add(limit);
            let until = world.next_due(Some(self.door)).map_or(end, |due| due.min(end));
            let time = until.saturating_sub(world.clock);
            world.pass(time);
        }
        let mut ready = std::mem::take(&mut world.ready[self.door]);
        world.rng.shuffle(&mut ready);
        let later = if ready.len() > 1 && world.rng.below(HOLD_BACK_ONE_IN) == 0 {
            world.hits.add(Hit::HeldBack);
            let kept = 1 + world.rng.index(ready.len() - 1);
            ready.split_off(kept)
        } else {
            Vec::new()
        };
        world.ready[self.door] = later;
        self.in_flight -= ready.len();
        for one in ready {
            world.reaps += 1;
            if one.parts > 0 {
                let at = world.reaps;
                world.tree.file_mut(one.ino).reap(one.number, one.parts, at);
            }
            done.push(one.done);
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn register(&mut self, _pool: &Pool) -> bool {
        true
    }

    fn waker(&self) -> Waker {
        let rung = Arc::clone(&self.rung);
        Waker::new(move || rung.store(true, Ordering::Release))
    }

    fn now(&self) -> Duration {
        self.world().clock
    }

    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        let ino = self.world().open(path, how)?;
        let id = u32::try_from(self.files.len()).expect("no run opens 2^32 files");
        self.files.push(Some(Handle { ino, writable: how != Open::Read }));
        Ok(FileId(id))
    }

    /// # Panics
    /// When an operation of this door on the file is in flight.
    fn close(&mut self, file: FileId) {
        let Some(handle) = self.files.get_mut(file.0 as usize).and_then(Option::take) else { return };
        let mut world = self.disk.world();
        let flies = |flight: &Flight| flight.door == self.door && flight.file == file;
        let busy =
            world.queue.values().any(flies) || world.ready[self.door].iter().any(|one| one.file == file);
        assert!(!busy, "no operation of a closed file is in flight");
        world.close(handle.ino);
    }

    fn size(&mut self, file: FileId) -> io::Result<u64> {
        let ino = self.handle(file)?.ino;
        let mut world = self.disk.world();
        world.call(OpKind::Size, Path::new(""))?;
        Ok(world.tree.file(ino).shown.len())
    }

    fn truncate(&mut self, file: FileId, len: u64) -> io::Result<()> {
        let handle = self.handle(file)?;
        if !handle.writable {
            return Err(errno(libc::EINVAL));
        }
        self.world().truncate(handle.ino, len)
    }

    fn sync_all(&mut self, file: FileId) -> io::Result<()> {
        let ino = self.handle(file)?.ino;
        self.world().sync_all(ino)
    }

    fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.world().rename(source, target)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.world().unlink(path)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.world().create_dir(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.world().sync_dir(path)
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        self.world().list(path)
    }

    fn free_bytes(&mut self, path: &Path) -> io::Result<u64> {
        self.world().free_bytes(path)
    }
}

impl Drop for SimIo {
    /// The process is gone: of what was in flight, some had taken effect and some never will.
    fn drop(&mut self) {
        let mut world = self.disk.world();
        world.abandon(self.door);
        for handle in self.files.iter().flatten() {
            world.close(handle.ino);
        }
    }
}
