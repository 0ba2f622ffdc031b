//! Makes empty containers ahead of need, so that no worker waits for `fallocate`, a header or a directory sync.
//!
//! Extending a file while writing it costs half the throughput and punts every direct write to a kernel thread (ext4,
//! kernel 6.18), so a container's space is reserved before it is used. A freed container file is better still: its
//! blocks were written before. Either way its space is taken before anything in it is acknowledged.
//!
//! # Crash consistency
//! temporary name -> space -> header -> sync -> final name -> directory sync -> handed out. A crash leaves a `.tmp`
//! file, which recovery removes, or an empty container without an index row, which recovery removes.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{self, FileId, Io, Op, Open, Waker};

use super::doubts::Doubts;
use super::scan;
use crate::driver::{Signal, Task, Turn};
use crate::error::{Error, Result};
use crate::format::container::ContainerHeader;
use crate::format::footer::DirectoryEntry;
use crate::format::{HEADER_SIZE, StoreId};
use crate::ids::{ContainerId, Epoch};
use crate::index::ContainerRow;
use crate::paths::{FREE_EXTENSION, Paths};
use crate::planted::{self, Bug};

/// A container to fill, durable on disk.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its id.
    pub id: ContainerId,
    /// What is in it.
    pub contents: Contents,
}

/// What a container to fill holds already.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Nothing but its header, which starts the chain of batches.
    Empty(ContainerHeader),
    /// What an earlier opening left in it when it was closed cleanly.
    Begun(ContainerRow, Vec<DirectoryEntry>),
}

/// Where workers ask for containers, and fetch them.
#[derive(Clone, Default)]
pub struct PrepareDesk(Arc<DeskState>);

#[derive(Default)]
struct DeskState {
    orders: Mutex<Orders>,
    signal: Signal,
}

#[derive(Default)]
struct Orders {
    waiting: VecDeque<(usize, Waker)>,
    ready: Vec<(usize, Result<Prepared, String>)>,
    closed: bool,
}

impl PrepareDesk {
    /// Order a container for `worker`, whom `waker` wakes when it is ready.
    pub fn order(&self, worker: usize, waker: Waker) {
        self.orders().waiting.push_back((worker, waker));
        self.0.signal.raise();
    }

    /// Fetch what was made for `worker`.
    pub fn fetch(&self, worker: usize) -> Option<Result<Prepared, String>> {
        let mut orders = self.orders();
        let slot = orders.ready.iter().position(|(owner, _)| *owner == worker)?;
        Some(orders.ready.swap_remove(slot).1)
    }

    /// No more orders: the preparer stops.
    pub fn close(&self) {
        self.orders().closed = true;
        self.0.signal.raise();
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every container of this opening has in common.
#[derive(Clone)]
pub struct Plan {
    /// Where the store lies.
    pub paths: Paths,
    /// The store's identity.
    pub store: StoreId,
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// Length of a container in bytes.
    pub capacity: u64,
    /// Containers that an earlier opening left unsealed and whole: filled first.
    pub begun: Vec<(ContainerId, ContainerRow)>,
    /// Where it is written down that one of those is not whole.
    pub doubts: Doubts,
}

/// See the module.
pub struct Preparer {
    desk: PrepareDesk,
    io: Box<dyn Io>,
    plan: Plan,
    made: u32,
}

impl Preparer {
    /// A preparer that serves `desk`.
    #[must_use]
    pub fn new(desk: PrepareDesk, io: Box<dyn Io>, plan: Plan) -> Self {
        Self { desk, io, plan, made: 0 }
    }

    fn prepare(&mut self) -> Result<Prepared> {
        while let Some((id, row)) = self.plan.begun.pop() {
            match self.reread(id, &row) {
                Ok(entries) => return Ok(Prepared { id, contents: Contents::Begun(row, entries) }),
                Err(error) => {
                    tracing::warn!("container {id} is not filled further: {error}; run `gdd fsck`");
                    if error.is_loss() {
                        self.plan.doubts.give_up(id, Some(row))?;
                    }
                }
            }
        }
        self.create()
    }

    /// The directory of a container that was closed cleanly before it was full.
    fn reread(&mut self, id: ContainerId, row: &ContainerRow) -> Result<Vec<DirectoryEntry>> {
        let path = self.plan.paths.container(id);
        let file = self.io.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        let scanned = scan::scan(self.io.as_mut(), file, &path, self.plan.store, id, &mut |_| Ok(()));
        self.io.close(file);
        let scanned = scanned?;
        if scanned.end != row.durable_len || scanned.chain != row.chain {
            let stop = scanned.stop.map_or_else(|| "end of file".to_owned(), |error| error.to_string());
            return Err(Error::corrupt(
                &path,
                scanned.end,
                "data",
                format!("up to {}", row.durable_len),
                stop,
            ));
        }
        Ok(scanned.entries)
    }

    fn create(&mut self) -> Result<Prepared> {
        let id = ContainerId::of(self.plan.epoch, self.made);
        self.made += 1;
        let (temporary, path) = (self.plan.paths.container_temporary(id), self.plan.paths.container(id));
        self.refuse_to_replace(&path)?;
        let file = self.reserve(&temporary)?;
        let header = ContainerHeader {
            store: self.plan.store,
            container: id,
            created_epoch: self.plan.epoch,
            capacity: self.plan.capacity,
        };
        let mut block = IoBuf::zeroed(HEADER_SIZE);
        block.copy_from_slice(&header.encode());
        io::write_at(self.io.as_mut(), file, 0, block).map_err(Error::io("write", &temporary))?;
        // Not a data sync: the length has just changed, and a recycled file may have been truncated when it was sealed.
        self.io.sync_all(file).map_err(Error::io("sync", &temporary))?;
        self.io.close(file);
        self.io.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        let directory = self.plan.paths.containers();
        if planted::has(Bug::SkipDirectorySync) {
            return Ok(Prepared { id, contents: Contents::Empty(header) });
        }
        self.io.sync_dir(&directory).map_err(Error::io("sync", &directory))?;
        Ok(Prepared { id, contents: Contents::Empty(header) })
    }

    /// Ids are given out once. A file of that name is somebody's, and a rename would end it.
    fn refuse_to_replace(&mut self, path: &Path) -> Result<()> {
        match self.io.open(path, Open::Read) {
            Ok(file) => self.io.close(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(_) => {} // There is something.
        }
        Err(Error::io("create", path)(ErrorKind::AlreadyExists.into()))
    }

    /// A file of the right length under the temporary name: a free one if there is one, else a new one.
    fn reserve(&mut self, temporary: &Path) -> Result<FileId> {
        let file = match self.take_free(temporary)? {
            Some(file) => file,
            None => self.io.open(temporary, Open::Create).map_err(Error::io("create", temporary))?,
        };
        let capacity = self.plan.capacity;
        let reserved = io::run(self.io.as_mut(), Op::Allocate { file, len: capacity });
        if let Err(error) = reserved {
            self.io.close(file);
            let _ = self.io.unlink(temporary); // Best effort: recovery removes it too.
            return Err(Error::io("reserve space for", temporary)(error));
        }
        Ok(file)
    }

    fn take_free(&mut self, temporary: &Path) -> Result<Option<FileId>> {
        let pool = self.plan.paths.pool();
        let names = self.io.list(&pool).map_err(Error::io("list", &pool))?;
        let free = names
            .iter()
            .find(|entry| entry.name.ends_with(FREE_EXTENSION) && entry.size <= self.plan.capacity);
        let Some(free) = free else { return Ok(None) };
        let source = pool.join(&free.name);
        self.io.rename(&source, temporary).map_err(Error::io("rename", &source))?;
        self.io.sync_dir(&pool).map_err(Error::io("sync", &pool))?;
        self.io.open(temporary, Open::Write).map(Some).map_err(Error::io("open", temporary))
    }
}

impl Task for Preparer {
    fn turn(&mut self) -> Turn {
        let next = {
            let mut orders = self.desk.orders();
            if orders.closed && orders.waiting.is_empty() {
                return Turn::Stopped;
            }
            orders.waiting.pop_front()
        };
        let Some((worker, waker)) = next else { return Turn::Idle };
        let made = self.prepare().map_err(|error| error.to_string());
        self.desk.orders().ready.push((worker, made));
        waker.wake();
        Turn::Busy
    }

    fn wait(&mut self, limit: Duration) {
        self.desk.0.signal.wait(limit);
    }
}
