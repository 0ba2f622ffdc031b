//! The streams that one session writes: into the store, counted and digested on the way.
//!
//! # Invariants
//! - A message is given back to the driver only when it, and all before it, would survive a power cut.
//! - Only a stream of which both sides counted the same gets a receipt. One that is left is named with what came.

use std::collections::{BTreeMap, VecDeque};

use gdd_engine::error::Result as EngineResult;
use gdd_engine::ingest::Put;
use gdd_engine::limits::EXTENT_SIZE;
use gdd_engine::observe::Since;
use gdd_link::{Answer, Trouble};
use gdd_ring::{Consumer, Incoming, Position};
use twox_hash::XxHash3_128;

use super::timing::Timing;
use super::trouble;
use crate::jobs::JobReport;

/// The ring is given back in so many steps: each costs a sync or two.
const STEPS: u64 = 8;

/// A stream.
struct Writing {
    put: Put,
    digest: XxHash3_128,
    /// Bytes that are kept whatever happens.
    kept: u64,
    /// Longest chunk: what may be held back, besides an extent that is not full.
    chunk_max: u64,
    /// Client and job, as the driver says.
    owner: (String, String),
}

/// A message in the ring.
struct Held {
    end: Position,
    /// Stream and end of its payload in it.
    until: Option<(u64, u64)>,
    /// When it was read.
    since: Since,
}

/// See the module.
#[derive(Default)]
pub(super) struct Streams {
    writing: BTreeMap<u64, Writing>,
    held: VecDeque<Held>,
    /// Payload bytes since the last mark.
    unmarked: u64,
}

impl Streams {
    /// Takes a stream in.
    pub(super) fn begin(&mut self, stream: u64, put: Put, chunk_max: u64, owner: (String, String)) {
        self.writing.insert(stream, Writing { put, digest: XxHash3_128::new(), kept: 0, chunk_max, owner });
    }

    /// Takes payload in: the rest of `incoming`, which starts at `offset`, and perhaps `starts` a file; it was read
    /// at `since`.
    pub(super) fn append(
        &mut self,
        stream: u64,
        (offset, starts): (u64, bool),
        since: Since,
        incoming: &mut Incoming<'_>,
    ) -> Result<u64, Trouble> {
        let end = incoming.message().end;
        let writing = self.writing.get_mut(&stream).ok_or_else(|| trouble::unknown(stream))?;
        let Writing { put, digest, .. } = writing;
        if offset != put.written() {
            let why = format!("byte {offset} of a stream that has {}", put.written());
            return Err(trouble::nonsense(&why));
        }
        let len = incoming.left();
        if starts {
            put.split().map_err(|error| trouble::store(&error))?;
        }
        put.write_with(len as usize, &mut |part| {
            incoming.copy(part);
            digest.write(part);
        })
        .map_err(|error| trouble::store(&error))?;
        self.unmarked += u64::from(len);
        self.held.push_back(Held { end, until: Some((stream, put.written())), since });
        Ok(len.into())
    }

    /// A message without payload was read at `since`.
    pub(super) fn pass(&mut self, end: Position, since: Since) {
        self.held.push_back(Held { end, until: None, since });
    }

    /// Gives back what is kept, and has more made durable: when a good part of the ring waits, or nothing has come for
    /// a while (`idle`).
    pub(super) fn settle(
        &mut self,
        consumer: &mut Consumer,
        capacity: u64,
        idle: bool,
        timing: &Timing,
    ) -> EngineResult<()> {
        let step = capacity / STEPS;
        let mark = self.unmarked >= step || (idle && self.unmarked > 0);
        let crowded = consumer.held() > capacity / 2;
        for writing in self.writing.values_mut().filter(|writing| writing.kept < writing.put.written()) {
            if mark {
                writing.put.mark()?;
            }
            let more = writing.put.durable()? - writing.kept;
            if more >= step || (more > 0 && (idle || crowded)) {
                writing.kept = writing.put.keep()?;
            }
        }
        if mark {
            self.unmarked = 0;
        }
        if crowded {
            self.push_on(consumer.held() > capacity / 4 * 3)?;
        }
        while let Some(held) = self.held.pop_front_if(|held| is_kept(&self.writing, held)) {
            consumer.release(held.end);
            if held.until.is_some() {
                timing.given_back(held.since);
            }
        }
        Ok(())
    }

    /// The oldest message holds up all others. If its stream goes on, that ends by itself; if not, its last bytes wait
    /// for a chunk's end that does not come. One that holds back a long stretch, to store some of it again, may wait
    /// for bytes that find no room (`full`).
    fn push_on(&mut self, full: bool) -> EngineResult<()> {
        let Some(Held { until: Some((stream, end)), .. }) = self.held.front() else { return Ok(()) };
        let Some(writing) = self.writing.get_mut(stream) else { return Ok(()) };
        let is_near = writing.put.written() - end <= EXTENT_SIZE + writing.chunk_max;
        if writing.kept < *end && (is_near || (full && writing.put.is_held_back()?)) {
            writing.put.flush()?;
            writing.kept = writing.put.written();
        } else {
            writing.put.mark()?;
        }
        Ok(())
    }

    /// Whether something waits to become durable.
    pub(super) fn is_waiting(&self) -> bool {
        self.held.iter().any(|held| held.until.is_some())
    }

    /// Makes a stream durable.
    pub(super) fn flush(&mut self, stream: u64) -> Result<Answer, Trouble> {
        let writing = self.writing.get_mut(&stream).ok_or_else(|| trouble::unknown(stream))?;
        writing.put.flush().map_err(|error| trouble::store(&error))?;
        writing.kept = writing.put.written();
        Ok(Answer::Done)
    }

    /// Ends a stream, if it is what was sent; else there is no receipt, and it is kept as it came: other sessions'
    /// blocks lie among its own, and each block is checked by itself.
    pub(super) fn finish(
        &mut self,
        stream: u64,
        bytes: u64,
        digest: u128,
    ) -> Result<(Answer, JobReport), Trouble> {
        let writing = self.writing.remove(&stream).ok_or_else(|| trouble::unknown(stream))?;
        let received = (writing.put.written(), writing.digest.finish_128());
        if received != (bytes, digest) {
            writing.put.finish().map_err(|error| trouble::store(&error))?;
            return Err(trouble::differs(stream, (bytes, digest), received));
        }
        let done = writing.put.finish().map_err(|error| trouble::store(&error))?;
        let (client, job) = writing.owner;
        let report = JobReport {
            client,
            job,
            logical_bytes: done.bytes,
            wire_bytes: done.bytes,
            new_bytes: done.new_bytes,
            stored_bytes: done.stored_bytes,
            ..JobReport::default()
        };
        Ok((Answer::Receipt { bytes: received.0, digest: received.1 }, report))
    }

    /// Nobody goes on with it: it is named with what came. `false` when there is no such stream.
    pub(super) fn abandon(&mut self, stream: u64) -> EngineResult<bool> {
        match self.writing.remove(&stream) {
            Some(writing) => writing.put.finish().map(|_| true),
            None => Ok(false),
        }
    }

    /// Whether this session writes `stream`.
    pub(super) fn has(&self, stream: u64) -> bool {
        self.writing.contains_key(&stream)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.writing.len()
    }

    /// Those that are open.
    pub(super) fn open(&self) -> Vec<u64> {
        self.writing.keys().copied().collect()
    }
}

fn is_kept(writing: &BTreeMap<u64, Writing>, held: &Held) -> bool {
    held.until.is_none_or(|(stream, end)| writing.get(&stream).is_none_or(|writing| writing.kept >= end))
}
