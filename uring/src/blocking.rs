//! The backend for machines that refuse io_uring: two threads per door that call `pread` and `pwrite`.
//!
//! Containers, systemd units and hardened kernels often deny io_uring, so this is what many stores will run on. Two
//! threads keep two large operations in flight, which is enough for most of a disk's sequential speed.
//!
//! On the buffered level, where direct I/O does not exist, a sync also drops the file from the page cache: a backup is
//! not read again soon, and should not push out what is.
//!
//! # Invariants
//! - A job belongs to the queue, or to one thread, or to the finished list; its buffer moves with it.
//! - Dropping the door drops queued jobs, waits for running ones, and only then frees buffers.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::abort::AbortOnPanic;
use crate::buffer::Pool;
use crate::doorbell::Doorbell;
use crate::file::{self, Access, Files};
use crate::in_flight::{Pending, Work, admit};
use crate::io::{Done, Entry, FileId, Io, Op, Open, Tag, Wait, Waker};
use crate::ring::CAPACITY;
use crate::transfer::{Next, Transfer, Way};

/// Threads of one door.
const THREADS: usize = 2;

struct Job {
    pending: Pending,
    file: Arc<File>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    finished: Vec<(FileId, Done)>,
    closing: bool,
}

/// What the door, its threads and its wakers share.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    /// A job was queued, or the door closes.
    work: Condvar,
    /// A job finished, or somebody rang.
    news: Condvar,
    bell: Doorbell,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.bell.ring(|| {
            // Taking the lock puts this after the sleeper's last look, or before it.
            let _state = self.state();
            self.news.notify_one();
        });
    }

    /// What each thread does until the door closes.
    fn serve(&self, direct: bool) {
        // A thread that panics takes its operation with it, and the door would wait for that for ever: recovery after
        // an abort is the tested path.
        let _guard = AbortOnPanic;
        let mut state = self.state();
        loop {
            if state.closing {
                return;
            }
            let Some(job) = state.queue.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let id = job.pending.file;
            let done = execute(job, direct);
            state = self.state();
            state.finished.push((id, done));
            self.news.notify_one();
        }
    }
}

/// See the module.
pub(crate) struct Blocking {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
    files: Files,
    /// Completions that needed no thread.
    ready: Vec<Done>,
    /// Files of the operations that threads have, to refuse closing one in use.
    busy: Vec<FileId>,
    epoch: Instant,
}

impl Blocking {
    /// Start a door's threads.
    pub(crate) fn open(access: Access, epoch: Instant) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let files = Files::new(access);
        let mut door = Self { desk, threads: Vec::new(), files, ready: Vec::new(), busy: Vec::new(), epoch };
        for _ in 0..THREADS {
            let desk = Arc::clone(&door.desk);
            let body = move || desk.serve(access.direct);
            door.threads.push(std::thread::Builder::new().name("gdd-io".to_owned()).spawn(body)?);
        }
        Ok(door)
    }

    fn collect(&mut self, mut state: MutexGuard<'_, State>, done: &mut Vec<Done>) {
        for (file, one) in state.finished.drain(..) {
            let at = self.busy.iter().position(|busy| *busy == file).expect("a finished job was begun");
            self.busy.swap_remove(at);
            done.push(one);
        }
    }
}

fn execute(job: Job, direct: bool) -> Done {
    let Job { mut pending, file } = job;
    let result = match &mut pending.work {
        Work::Datasync => datasync(&file, direct),
        Work::Allocate(len) => file::allocate(&file, *len).map(|()| 0),
        Work::Move(transfer, buffer) => transfer_all(&file, transfer, buffer),
    };
    Done { tag: pending.tag, result, buffer: pending.into_buffer() }
}

fn datasync(file: &File, direct: bool) -> io::Result<usize> {
    rustix::fs::fdatasync(file)?;
    if !direct {
        // Advice: a refusal only costs memory.
        let _kept = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    }
    Ok(0)
}

fn transfer_all(file: &File, transfer: &mut Transfer, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let (from, len, offset) = transfer.attempt();
        let moved = match transfer.way() {
            Way::Read => file.read_at(&mut buffer[from..from + len], offset),
            Way::Write => file.write_at(&buffer[from..from + len], offset),
        };
        let count = match moved {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        match transfer.advance(count) {
            Next::Again => {}
            Next::Finished(total) => return Ok(total),
            Next::Failed(error) => return Err(error),
        }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.closing = true;
        let dropped = std::mem::take(&mut state.queue);
        drop(state);
        self.desk.work.notify_all();
        drop(dropped);
        for thread in self.threads.drain(..) {
            thread.join().expect("an I/O thread that panics aborts the process");
        }
        // A waker may keep the desk alive, but not the buffers on it.
        self.desk.state().finished.clear();
    }
}

impl Io for Blocking {
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op> {
        if self.in_flight() >= self.capacity() {
            return Err(op);
        }
        match admit(&self.files, tag, op) {
            Err(done) => self.ready.push(done),
            Ok(pending) => {
                let file = Arc::clone(&self.files.get(pending.file).expect("an admitted file is open").file);
                self.busy.push(pending.file);
                self.desk.state().queue.push_back(Job { pending, file });
                self.desk.work.notify_one();
            }
        }
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>, wait: Wait) -> io::Result<()> {
        let begun = done.len();
        done.append(&mut self.ready);
        let desk = Arc::clone(&self.desk);
        let mut state = desk.state();
        if let Wait::For(limit) = wait {
            let start = Instant::now();
            while done.len() == begun && state.finished.is_empty() {
                let left = limit.saturating_sub(start.elapsed());
                if !left.is_zero() && desk.bell.doze() {
                    (state, _) = desk.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                }
                desk.bell.rise();
                if desk.bell.answer() || left.is_zero() {
                    break;
                }
            }
        }
        self.collect(state, done);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.busy.len() + self.ready.len()
    }

    fn capacity(&self) -> usize {
        CAPACITY as usize
    }

    /// There is nothing to register with: system calls take any memory equally fast.
    fn register(&mut self, _pool: &Pool) -> bool {
        true
    }

    fn waker(&self) -> Waker {
        let desk = Arc::clone(&self.desk);
        Waker::new(move || desk.ring())
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        self.files.open(path, how, |_| None)
    }

    fn close(&mut self, file: FileId) {
        assert!(!self.busy.contains(&file), "no operation of a closed file is in flight");
        self.files.close(file);
    }

    fn size(&mut self, file: FileId) -> io::Result<u64> {
        self.files.size(file)
    }

    fn truncate(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.files.truncate(file, len)
    }

    fn sync_all(&mut self, file: FileId) -> io::Result<()> {
        self.files.sync_all(file)
    }

    fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.files.rename(source, target)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.files.unlink(path)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.files.create_dir(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        file::sync_dir(path)
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        file::list(path)
    }

    fn free_bytes(&mut self, path: &Path) -> io::Result<u64> {
        file::free_bytes(path)
    }
}
