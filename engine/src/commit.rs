//! The committer: one task that makes index changes durable, so that no worker ever waits for RocksDB's log.
//!
//! It merges whatever requests have arrived into one atomic, synced batch. A worker asks only after its data sync has
//! completed: data is durable before the index names it, and the index is durable before anybody hears "durable".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::driver::{Signal, Task, Turn};
use crate::index::{Batch, Index};
use crate::poison::Poison;

/// Commit requests a worker may have outstanding: it starts a round only when the last one is durable.
const REQUESTS_MAX: usize = 2;

/// A worker's ends.
#[derive(Debug)]
pub struct CommitLink {
    requests: rtrb::Producer<Batch>,
    answers: rtrb::Consumer<Result<(), String>>,
    committer: Signal,
}

impl CommitLink {
    /// Ask for `batch` to be made durable.
    pub fn send(&mut self, batch: Batch) {
        let sent = self.requests.push(batch).is_ok();
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
    requests: rtrb::Consumer<Batch>,
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

    fn commit(&self, batch: Batch) -> Result<(), String> {
        self.poison.check().map_err(|error| error.cause())?;
        self.index.commit(batch).map_err(|error| {
            self.poison.set(&error.cause());
            error.cause()
        })
    }
}

impl Task for Committer {
    fn turn(&mut self) -> Turn {
        let arrivals =
            std::mem::take(&mut *self.desk.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        self.clients_expected = self.clients_expected.saturating_sub(arrivals.len());
        self.clients.extend(arrivals);
        let mut merged = Batch::default();
        let mut asked = Vec::new();
        for (slot, client) in self.clients.iter_mut().enumerate() {
            if let Ok(batch) = client.requests.pop() {
                merged.append(batch);
                asked.push(slot);
            }
        }
        if !asked.is_empty() {
            let answer = self.commit(merged);
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
