//! The front of one stream: fills extents, has them cut on all workers, stitches the cuts in order, and routes each
//! chunk to the worker that owns its hash.
//!
//! One stream must use every core, yet its chunks must be exactly those that a serial chunker finds. So workers cut
//! extents speculatively, and only the seams between extents are cut again here.
//!
//! # Invariants
//! - Extents are stitched in stream order, whatever order the workers finish in.
//! - At most [`WINDOW`] extents are in flight: that bounds memory and every queue.
//! - The first failure is remembered and answered to every later call; nothing is retried.

pub mod deferred;
mod named;

use std::collections::VecDeque;

use gdd_kernels::{Chunker, Cut, Place, Stitched, Stitcher};
use gdd_uring::buffer::Shared;

use crate::driver::{Patience, Signal};
use crate::error::{Error, Result};
use crate::ids::ChunkHash;
use crate::shard::mailbox::{Added, Door, Link, Reply, Request, WINDOW, Wanted};
use crate::shard::route;
use crate::tuner::Sample;
use deferred::Batch;

/// A chunk of the stream, in stream order, for its recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamChunk {
    /// Its identity.
    pub hash: ChunkHash,
    /// Its length in bytes.
    pub len: u32,
}

/// An extent on its way through the workers.
struct Pending {
    extent: Shared,
    cuts: Option<Vec<Cut>>,
    /// A chunk ends where it does.
    ends: bool,
}

/// An extent whose chunks are being placed.
struct Owed {
    /// Workers that have not answered.
    workers: usize,
    sample: Sample,
}

/// See the module.
pub struct Front {
    links: Vec<Link>,
    signal: Signal,
    patience: Box<dyn Patience>,
    chunker: Chunker,
    stitcher: Stitcher,
    stitched: Stitched,
    /// Extents sent for cutting and not yet stitched; the first has number `stitch_next`.
    cutting: VecDeque<Pending>,
    stitch_next: u64,
    /// Where somebody else decides what is placed: extents that are stitched and not yet taken.
    deferred: Option<VecDeque<Batch>>,
    /// What is being placed; the first has number `place_next`.
    placing: VecDeque<Owed>,
    place_next: u64,
    /// Questions that were asked and whose answers were not taken; the first has number `question_next`.
    questions: VecDeque<named::Asked>,
    question_next: u64,
    /// What came of each extent that is placed.
    samples: Vec<Sample>,
    spare_cuts: Vec<Vec<Cut>>,
    chunks: Vec<StreamChunk>,
    added: Added,
    chunk_count: u64,
    /// Bytes of `chunk_count` chunks: all of the stream that was sent to be placed.
    placed_bytes: u64,
    /// Of those, bytes that would survive a power cut.
    durable_bytes: u64,
    /// What `durable_bytes` becomes when no worker owes an answer to a flush any more.
    flushing_bytes: u64,
    durable_owed: usize,
    failure: Option<String>,
}

impl Front {
    /// A front that talks to the workers behind `doors`; `tag` marks the stream in segment tables.
    #[must_use]
    pub fn new(doors: &[Door], tag: u64, chunker: Chunker, patience: Box<dyn Patience>) -> Self {
        let signal = Signal::default();
        Self {
            links: doors.iter().map(|door| door.attach(signal.clone(), tag)).collect(),
            signal,
            patience,
            stitcher: Stitcher::new(chunker.clone()),
            chunker,
            stitched: Stitched::default(),
            cutting: VecDeque::with_capacity(WINDOW),
            stitch_next: 0,
            deferred: None,
            placing: VecDeque::with_capacity(WINDOW),
            place_next: 0,
            questions: VecDeque::new(),
            question_next: 0,
            samples: Vec::new(),
            spare_cuts: Vec::new(),
            chunks: Vec::new(),
            added: Added::default(),
            chunk_count: 0,
            placed_bytes: 0,
            durable_bytes: 0,
            flushing_bytes: 0,
            durable_owed: 0,
            failure: None,
        }
    }

    /// Hand over the next bytes of the stream; waits while the window is full. With `ends`, a chunk ends where they do,
    /// as if the stream ended there.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn send(&mut self, extent: Shared, ends: bool) -> Result<()> {
        self.pump()?;
        while self.cutting.len() + self.placing.len() >= WINDOW {
            self.pause()?;
        }
        let extent_number = self.stitch_next + self.cutting.len() as u64;
        let worker = worker_of(extent_number, self.links.len());
        let cuts = self.spare_cuts.pop().unwrap_or_default();
        let chunker = self.chunker.clone();
        self.links[worker].send(Request::Cut { extent_number, extent: extent.clone(), cuts, chunker });
        self.cutting.push_back(Pending { extent, cuts: None, ends });
        self.pump()
    }

    /// Cut everything that was sent, as if the stream ended there.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn cut_all(&mut self) -> Result<()> {
        while !self.cutting.is_empty() {
            self.pause()?;
        }
        self.cut_here(); // The end of the stream is only known now: what is left of it lies in the seam.
        Ok(())
    }

    /// End the stream: returns when every chunk of it is durable. What is placed by others was, by now.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn finish(&mut self) -> Result<()> {
        if self.deferred.is_none() {
            self.cut_all()?;
        }
        self.await_flush()?; // The one that was begun before does not cover the end.
        self.begin_flush();
        self.await_flush()?;
        assert!(self.placing.is_empty(), "a worker answers a flush after every placement before it");
        Ok(())
    }

    /// Ask for what was placed so far to be made durable, without waiting; nothing while that is under way already.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn mark(&mut self) -> Result<()> {
        self.pump()?;
        if self.durable_owed == 0 && self.placed_bytes > self.durable_bytes {
            self.begin_flush();
        }
        Ok(())
    }

    /// Bytes of the stream, from its start, that would survive a power cut.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn durable_bytes(&mut self) -> Result<u64> {
        self.pump()?;
        Ok(self.durable_bytes)
    }

    /// Whether all that was placed is durable.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn is_durable(&mut self) -> Result<bool> {
        self.pump()?;
        Ok(self.durable_owed == 0 && self.placed_bytes == self.durable_bytes)
    }

    /// Wait until what was sent is placed, but for the last bytes whose chunk is not complete.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn settle(&mut self) -> Result<()> {
        while !self.cutting.is_empty() || !self.placing.is_empty() {
            self.pause()?;
        }
        Ok(())
    }

    /// End the last chunk where the stream stands now, and cut what follows with `chunker`.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn switch(&mut self, chunker: Chunker) -> Result<()> {
        self.settle()?;
        self.cut_here();
        self.stitcher = Stitcher::new(chunker.clone());
        self.chunker = chunker;
        Ok(())
    }

    /// Let the workers get on: returns after something may have changed.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn wait(&mut self) -> Result<()> {
        self.pause()
    }

    /// Chunks stitched since the last call, in stream order.
    pub fn take_chunks(&mut self) -> std::vec::Drain<'_, StreamChunk> {
        self.chunks.drain(..)
    }

    /// What came of the extents that were placed since the last call, in stream order.
    pub fn take_samples(&mut self) -> std::vec::Drain<'_, Sample> {
        self.samples.drain(..)
    }

    /// What the stream added to the store so far, and the chunks it has so far.
    #[must_use]
    pub fn added(&self) -> (Added, u64) {
        (self.added, self.chunk_count)
    }

    /// Take in every reply that is there, and stitch what can be.
    fn pump(&mut self) -> Result<()> {
        for worker in 0..self.links.len() {
            while let Some(reply) = self.links[worker].receive() {
                self.take(worker, reply);
            }
            if self.links[worker].is_over() && self.failure.is_none() {
                self.failure = Some("a worker ended before the stream did".to_owned());
            }
        }
        while self.failure.is_none() && self.cutting.front().is_some_and(|first| first.cuts.is_some()) {
            self.stitch();
        }
        self.failure.as_ref().map_or(Ok(()), |why| Err(Error::Poisoned(why.clone())))
    }

    fn pause(&mut self) -> Result<()> {
        self.patience.pause(&self.signal);
        self.pump()
    }

    fn take(&mut self, worker: usize, reply: Reply) {
        match reply {
            Reply::Cuts { extent_number, cuts } => {
                let slot = index_of(extent_number, self.stitch_next);
                self.cutting[slot].cuts = Some(cuts);
            }
            Reply::Placed { extent_number, added } => {
                self.added += added;
                let slot = index_of(extent_number, self.place_next);
                self.placing[slot].workers -= 1;
                self.placing[slot].sample.new_bytes += added.bytes;
                self.retire_placed();
            }
            Reply::Known { question, places } => self.answered(worker, question, &places),
            Reply::Durable => {
                self.durable_owed -= 1;
                if self.durable_owed == 0 {
                    self.durable_bytes = self.flushing_bytes;
                }
            }
            Reply::Failed(why) => {
                self.failure.get_or_insert(why);
            }
        }
    }

    /// Settle the true chunks of the first extent, and place them.
    fn stitch(&mut self) {
        let Some(Pending { extent, cuts: Some(mut cuts), ends }) = self.cutting.pop_front() else { return };
        self.stitcher.extent(&extent, &cuts, ends, &mut self.stitched);
        self.stitch_next += 1;
        cuts.clear();
        self.spare_cuts.push(cuts);
        self.pass_on(extent, false);
    }

    /// Place what was stitched, or leave that to whoever asked for it.
    fn pass_on(&mut self, extent: Shared, last: bool) {
        if self.deferred.is_some() { self.put_aside(extent, last) } else { self.place(extent) }
    }

    /// Send the stitched chunks to the workers that own them.
    fn place(&mut self, extent: Shared) {
        let workers = self.links.len();
        let expected = self.stitched.chunks.len() / workers + self.stitched.chunks.len() / 4 + 8;
        let mut shares: Vec<Vec<Wanted>> = (0..workers).map(|_| Vec::with_capacity(expected)).collect();
        let mut bytes = 0;
        for piece in self.stitched.chunks.drain(..) {
            bytes += u64::from(piece.len);
            let hash = ChunkHash(piece.hash);
            self.chunks.push(StreamChunk { hash, len: piece.len });
            let in_seam = piece.place == Place::Seam;
            let (start, len, away_from) = (piece.start, piece.len, None);
            shares[route(&hash, workers)].push(Wanted { hash, start, len, in_seam, away_from });
            self.chunk_count += 1;
        }
        let seam = std::mem::take(&mut self.stitched.seam);
        self.distribute(&extent, seam, shares, bytes);
    }

    fn begin_flush(&mut self) {
        assert_eq!(self.durable_owed, 0, "one flush at a time: a queue has room for one");
        for link in &mut self.links {
            link.send(Request::Flush);
        }
        self.durable_owed = self.links.len();
        self.flushing_bytes = self.placed_bytes;
    }

    fn await_flush(&mut self) -> Result<()> {
        while self.durable_owed > 0 {
            self.pause()?;
        }
        Ok(())
    }

    fn retire_placed(&mut self) {
        while let Some(Owed { workers: 0, sample }) = self.placing.front() {
            self.samples.push(*sample);
            self.placing.pop_front();
            self.place_next += 1;
        }
    }

    /// Complete the chunk that is not, as if the stream ended here; nothing is being cut.
    fn cut_here(&mut self) {
        self.stitcher.extent(&[], &[], true, &mut self.stitched);
        self.pass_on(IoEmpty::extent(), true);
    }
}

/// The empty extent that ends a stream.
struct IoEmpty;

impl IoEmpty {
    fn extent() -> Shared {
        gdd_uring::buffer::IoBuf::zeroed(0).freeze()
    }
}

/// Extents go round the workers in turn.
fn worker_of(extent_number: u64, workers: usize) -> usize {
    usize::try_from(extent_number % workers as u64).expect("a worker number is small")
}

fn index_of(extent_number: u64, first: u64) -> usize {
    let distance = extent_number.checked_sub(first).expect("a reply is for an extent in flight");
    usize::try_from(distance).expect("the window is small")
}
