//! A second core for checking what a stream reads.
//!
//! Hashing 3 GB/s and planning reads of as much is more than one core does. The reader hands finished reads over while
//! the helper keeps up, and checks them itself when it does not; so both cores work, and with one core nothing is lost.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;

use gdd_uring::buffer::Shared;
use gdd_uring::io::Waker;

use super::arrival::Arrival;
use super::cache::SegmentCache;
use super::fetch::ReadId;
use crate::error::Result;
use crate::ids::ContainerId;

/// Reads that wait for the helper; with more, the reader does one itself.
const QUEUE_MAX: usize = 2;

/// A read that was checked.
pub struct Checked {
    /// Which.
    pub id: ReadId,
    /// From which container.
    pub container: ContainerId,
    /// Its chunks.
    pub chunks: Vec<Result<Shared>>,
}

/// See the module.
pub struct Helper {
    /// Absent while it is being dropped.
    jobs: Option<SyncSender<(ReadId, Box<Arrival>)>>,
    done: Receiver<Checked>,
    out: usize,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    /// Start a helper that wakes its reader by `waker`. None when the system gives no thread: it does without.
    #[must_use]
    pub fn start(cache: Arc<SegmentCache>, waker: Waker) -> Option<Self> {
        let (jobs, orders) = sync_channel::<(ReadId, Box<Arrival>)>(QUEUE_MAX);
        let (results, done) = channel();
        let work = move || {
            for (id, arrival) in orders {
                let container = arrival.read().container;
                let chunks = arrival.finish(&cache);
                if results.send(Checked { id, container, chunks }).is_err() {
                    return;
                }
                waker.wake();
            }
        };
        let thread = std::thread::Builder::new().name("gdd-verify".to_owned()).spawn(work).ok()?;
        Some(Self { jobs: Some(jobs), done, out: 0, thread: Some(thread) })
    }

    /// Reads handed over and not yet back.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out
    }

    /// Hand a read over.
    ///
    /// # Errors
    /// The read, given back: the helper has enough to do.
    pub fn offer(&mut self, id: ReadId, arrival: Box<Arrival>) -> Result<(), Box<Arrival>> {
        let Some(jobs) = &self.jobs else { return Err(arrival) };
        match jobs.try_send((id, arrival)) {
            Ok(()) => {
                self.out += 1;
                Ok(())
            }
            Err(TrySendError::Full((_, arrival)) | TrySendError::Disconnected((_, arrival))) => Err(arrival),
        }
    }

    /// A read that came back, if one did.
    pub fn fetch(&mut self) -> Option<Checked> {
        match self.done.try_recv() {
            Ok(checked) => {
                self.out -= 1;
                Some(checked)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                assert_eq!(self.out, 0, "the helper gives everything back");
                None
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the helper of a reader panicked");
        }
    }
}
