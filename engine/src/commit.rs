//! The committer: one task that makes index changes durable, so that no worker ever waits for RocksDB's log.
//!
//! It merges whatever requests have arrived into one atomic, synced batch. A worker asks only after its data sync has
//! completed: data is durable before the index names it, and the index is durable before anybody hears "durable".

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::driver::{Signal, Task, Turn};
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{Batch, Index};
use crate::planted::{self, Bug};
use crate::poison::Poison;

/// Commit requests a worker may have outstanding: it starts a round only when the last one is durable.
const REQUESTS_MAX: usize = 2;

/// What somebody wants to be made durable.
#[derive(Debug)]
struct Order {
    batch: Batch,
    /// Chunks to forget, if the index still places them there.
    forgotten: Vec<(ChunkHash, ContainerId)>,
}

/// A worker's ends, or the vacuum's.
#[derive(Debug)]
pub struct CommitLink {
    requests: rtrb::Producer<Order>,
    answers: rtrb::Consumer<Result<(), String>>,
    committer: Signal,
}

impl CommitLink {
    /// Ask for `batch` to be made durable.
    pub fn send(&mut self, batch: Batch) {
        self.forget(batch, Vec::new());
    }

    /// The same, and in the same commit forget those of the chunks `forgotten` that the index still places in the
    /// container named with each: one that is stored anew meanwhile stays.
    pub fn forget(&mut self, batch: Batch, forgotten: Vec<(ChunkHash, ContainerId)>) {
        let sent = self.requests.push(Order { batch, forgotten }).is_ok();
        assert!(sent, "a worker has one commit outstanding");
        self.committer.raise();
    }

    /// The answer to the oldest request, if it is there.
    pub fn receive(&mut self) -> Option<Result<(), String>> {
        self.answers.pop().ok()
    }
}

impl Drop for CommitLink {
    fn drop(&mut self) {
        self.committer.raise(); // So that it notices the end.
    }
}

struct Client {
    requests: rtrb::Consumer<Order>,
    answers: rtrb::Producer<Result<(), String>>,
    wake: Box<dyn Fn() + Send>,
}

/// Where workers sign up.
#[derive(Clone, Default)]
pub struct CommitDesk {
    arrivals: Arc<Mutex<Vec<Client>>>,
    signal: Signal,
}

impl CommitDesk {
    /// Open queues for a worker that `wake` wakes.
    pub fn attach(&self, wake: impl Fn() + Send + 'static) -> CommitLink {
        let (requests, request_consumer) = rtrb::RingBuffer::new(REQUESTS_MAX);
        let (answer_producer, answers) = rtrb::RingBuffer::new(REQUESTS_MAX);
        let client = Client { requests: request_consumer, answers: answer_producer, wake: Box::new(wake) };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        self.signal.raise();
        CommitLink { requests, answers, committer: self.signal.clone() }
    }
}

/// See the module.
pub struct Committer {
    desk: CommitDesk,
    clients: Vec<Client>,
    clients_expected: usize,
    index: Arc<dyn Index>,
    poison: Poison,
}

impl Committer {
    /// A committer for `index`; it stops when `clients_expected` workers have signed up and gone.
    #[must_use]
    pub fn new(desk: CommitDesk, clients_expected: usize, index: Arc<dyn Index>, poison: Poison) -> Self {
        Self { desk, clients: Vec::new(), clients_expected, index, poison }
    }

    fn commit(&self, mut batch: Batch, forgotten: Vec<(ChunkHash, ContainerId)>) -> Result<(), String> {
        self.poison.check().map_err(|error| error.cause())?;
        if !forgotten.is_empty() {
            let gone = self.still_there(&batch, forgotten).map_err(|error| error.cause())?;
            batch.removed_chunks.extend(gone);
        }
        self.index.commit(batch).map_err(|error| {
            self.poison.set(&error.cause());
            error.cause()
        })
    }
}

impl Committer {
    /// Those of the chunks that the index, with `batch` applied, places where they were when somebody decided to forget
    /// them. Nobody but this task puts chunks into an open index, so the answer holds until the commit.
    fn still_there(
        &self,
        batch: &Batch,
        mut forgotten: Vec<(ChunkHash, ContainerId)>,
    ) -> crate::error::Result<Vec<ChunkHash>> {
        if !planted::has(Bug::ForgetMoved) {
            let moving: HashSet<ChunkHash> = batch.chunks.iter().map(|(hash, _)| *hash).collect();
            forgotten.retain(|(hash, _)| !moving.contains(hash));
        }
        let hashes: Vec<ChunkHash> = forgotten.iter().map(|(hash, _)| *hash).collect();
        let mut found = Vec::new();
        self.index.locate(&hashes, &mut found)?;
        let there = forgotten.into_iter().zip(found).filter(|((_, container), entry)| {
            planted::has(Bug::ForgetMoved) || entry.is_some_and(|entry| entry.container == *container)
        });
        Ok(there.map(|((hash, _), _)| hash).collect())
    }
}

impl Task for Committer {
    fn turn(&mut self) -> Turn {
        let arrivals =
            std::mem::take(&mut *self.desk.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        self.clients_expected = self.clients_expected.saturating_sub(arrivals.len());
        self.clients.extend(arrivals);
        let mut merged = Batch::default();
        let (mut forgotten, mut asked) = (Vec::new(), Vec::new());
        for (slot, client) in self.clients.iter_mut().enumerate() {
            if let Ok(order) = client.requests.pop() {
                merged.append(order.batch);
                forgotten.extend(order.forgotten);
                asked.push(slot);
            }
        }
        if !asked.is_empty() {
            let answer = self.commit(merged, forgotten);
            for slot in asked {
                let client = &mut self.clients[slot];
                let room = client.answers.push(answer.clone()).is_ok();
                assert!(
                    room || client.answers.is_abandoned(),
                    "a worker has room for every answer it is owed"
                );
                (client.wake)();
            }
            return Turn::Busy;
        }
        self.clients.retain(|client| !(client.requests.is_abandoned() && client.requests.is_empty()));
        if self.clients_expected == 0 && self.clients.is_empty() { Turn::Stopped } else { Turn::Idle }
    }

    fn wait(&mut self, limit: Duration) {
        self.desk.signal.wait(limit);
    }
}
