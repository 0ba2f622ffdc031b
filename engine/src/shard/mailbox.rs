//! What the front of a stream and a worker say to each other, and the bounded queues they say it in.
//!
//! Each pair of stream and worker has two single-producer single-consumer queues. The front never has more requests
//! outstanding than a queue holds, so neither side ever blocks on a full queue: back-pressure is the front's window.

use std::sync::{Arc, Mutex, PoisonError};

use gdd_kernels::{Chunker, Cut};
use gdd_uring::buffer::Shared;
use gdd_uring::io::Waker;

use crate::driver::Signal;
use crate::format::footer::DirectoryEntry;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::ChunkEntry;

/// Extents of one stream that may be in flight, and so the bound on everything queued for it.
pub const WINDOW: usize = 8;

/// Questions of one stream that may be open.
pub const QUESTIONS_MAX: usize = WINDOW;

/// Requests a queue holds: a cut or a question, and a placement, per extent in flight, and a flush.
const QUEUE_LENGTH: usize = 2 * WINDOW + 2;

/// From the front of a stream to a worker.
#[derive(Debug)]
pub enum Request {
    /// Cut and hash this extent as if a cut stood at its start.
    Cut {
        /// Number of the extent in the stream, given back.
        extent_number: u64,
        /// Its bytes.
        extent: Shared,
        /// An empty vector to fill, for reuse.
        cuts: Vec<Cut>,
        /// Cuts as this stream is cut.
        chunker: Chunker,
    },
    /// Store those of these chunks that are new; all of them belong to this worker.
    Place(Placement),
    /// Say which of these chunks the store has; all of them belong to this worker.
    Ask {
        /// Number of the question, given back.
        question: u64,
        /// Their hashes.
        hashes: Vec<ChunkHash>,
    },
    /// Answer when everything placed before is durable.
    Flush,
}

/// Chunks of one extent that belong to one worker.
#[derive(Debug)]
pub struct Placement {
    /// Number of the extent in the stream, given back.
    pub extent_number: u64,
    /// The extent's bytes.
    pub extent: Shared,
    /// Bytes of the chunks that span extents.
    pub seam: Arc<Vec<u8>>,
    /// The chunks, in stream order.
    pub chunks: Vec<Wanted>,
}

impl Placement {
    /// The bytes of one of its chunks.
    #[must_use]
    pub fn bytes(&self, chunk: &Wanted) -> &[u8] {
        let (start, len) = (chunk.start as usize, chunk.len as usize);
        let source: &[u8] = if chunk.in_seam { &self.seam } else { &self.extent };
        &source[start..start + len]
    }
}

/// A chunk to be stored unless it is known.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its identity, computed here from its bytes.
    pub hash: ChunkHash,
    /// Where it starts in the extent or the seam.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
    /// Whether it lies in the seam.
    pub in_seam: bool,
    /// To be stored again if this is the container that the store would read it from.
    pub away_from: Option<ContainerId>,
}

/// Where a known chunk is, or will be with its worker's next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// In which container.
    pub container: ContainerId,
    /// Byte offset of its record there.
    pub offset: u32,
    /// Bytes of the record's payload.
    pub stored_len: u32,
    /// Bytes of the chunk.
    pub raw_len: u32,
}

impl Stored {
    /// As a container's directory says.
    #[must_use]
    pub fn listed(container: ContainerId, entry: &DirectoryEntry) -> Self {
        let DirectoryEntry { offset, stored_len, raw_len, .. } = *entry;
        Self { container, offset, stored_len, raw_len }
    }
}

impl From<ChunkEntry> for Stored {
    fn from(entry: ChunkEntry) -> Self {
        let ChunkEntry { container, offset, stored_len, raw_len, .. } = entry;
        Self { container, offset, stored_len, raw_len }
    }
}

/// From a worker to the front of a stream.
#[derive(Debug)]
pub enum Reply {
    /// The speculative cuts of an extent.
    Cuts {
        /// Which extent.
        extent_number: u64,
        /// Its cuts, as if one stood at its start.
        cuts: Vec<Cut>,
    },
    /// A placement is done: its chunks are known or appended, not yet durable.
    Placed {
        /// Which extent.
        extent_number: u64,
        /// What it added.
        added: Added,
    },
    /// Which chunks the store has.
    Known {
        /// Which question.
        question: u64,
        /// Where each chunk is that is known, in the order of the question.
        places: Vec<Option<Stored>>,
    },
    /// Everything placed before the flush is durable.
    Durable,
    /// The worker cannot go on; the stream must fail.
    Failed(String),
}

/// What storing chunks added to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Chunks that were new.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their bytes in containers, after compression, without framing.
    pub stored_bytes: u64,
    /// Chunks that were known, and stored again to lie beside the new ones.
    pub rewritten_chunks: u64,
    /// Their bytes.
    pub rewritten_bytes: u64,
}

impl std::ops::AddAssign for Added {
    fn add_assign(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.bytes += other.bytes;
        self.stored_bytes += other.stored_bytes;
        self.rewritten_chunks += other.rewritten_chunks;
        self.rewritten_bytes += other.rewritten_bytes;
    }
}

/// The worker's ends of one stream's queues.
#[derive(Debug)]
pub struct Attachment {
    requests: rtrb::Consumer<Request>,
    replies: rtrb::Producer<Reply>,
    front: Signal,
    tag: u64,
}

impl Attachment {
    /// The mark of the stream's chunks in segment tables: its recipe's id.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The next request, if there is one.
    pub fn receive(&mut self) -> Option<Request> {
        self.requests.pop().ok()
    }

    /// Whether the front is gone and nothing of it is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Order matters: abandoned is read first, so a request pushed before the front left is still seen.
        self.requests.is_abandoned() && self.requests.is_empty()
    }

    /// Answer. A front that left gets nothing.
    pub fn reply(&mut self, reply: Reply) {
        let pushed = self.replies.push(reply).is_ok();
        assert!(pushed || self.replies.is_abandoned(), "a front has room for every reply it is owed");
        self.front.raise();
    }
}

/// The front's ends of its queues with one worker.
#[derive(Debug)]
pub struct Link {
    requests: rtrb::Producer<Request>,
    replies: rtrb::Consumer<Reply>,
    worker: Waker,
}

impl Link {
    /// Send a request. The front's window keeps the queue from filling.
    pub fn send(&mut self, request: Request) {
        let sent = self.requests.push(request).is_ok();
        assert!(sent, "the window bounds the requests outstanding");
        self.worker.wake();
    }

    /// The next reply, if there is one.
    pub fn receive(&mut self) -> Option<Reply> {
        self.replies.pop().ok()
    }

    /// Whether the worker is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.replies.is_abandoned() && self.replies.is_empty()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.worker.wake(); // So that it notices the end.
    }
}

/// Where fronts announce themselves to a worker. Control path: a lock, taken once per stream and once per look.
#[derive(Clone, Debug)]
pub struct Door {
    arrivals: Arc<Mutex<Vec<Attachment>>>,
    worker: Waker,
}

impl Door {
    /// The door of the worker that `worker` wakes.
    #[must_use]
    pub fn new(worker: Waker) -> Self {
        Self { arrivals: Arc::default(), worker }
    }

    /// Open queues between a front, awaited on `front`, and this worker; `tag` marks the stream in segment tables.
    #[must_use]
    pub fn attach(&self, front: Signal, tag: u64) -> Link {
        let (request_producer, requests) = rtrb::RingBuffer::new(QUEUE_LENGTH);
        let (replies, reply_consumer) = rtrb::RingBuffer::new(QUEUE_LENGTH);
        let attachment = Attachment { requests, replies, front, tag };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(attachment);
        self.worker.wake();
        Link { requests: request_producer, replies: reply_consumer, worker: self.worker.clone() }
    }

    /// The worker takes what arrived.
    pub fn arrivals(&self) -> Vec<Attachment> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wake the worker, to make it look at something else.
    pub fn wake(&self) {
        self.worker.wake();
    }
}
