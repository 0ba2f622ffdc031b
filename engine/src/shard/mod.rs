//! A worker: owns a share of the hash space, a core, a ring, and the container it fills.
//!
//! It cuts and hashes extents for any stream, and for the chunks whose hash it owns decides "known or new", appends
//! what is new, and commits in groups. Because every hash has one owner, two streams that bring the same new chunk at
//! the same moment store it once, without a lock.
//!
//! # Invariants
//! - Placements of a stream are done in order; a flush is answered after all of them are durable.
//! - After a failure every stream is told, and nothing more is acknowledged.

pub mod append;
pub mod counters;
pub mod known;
pub mod mailbox;
pub mod round;
mod streams;
mod tag;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gdd_uring::io::{Done, FileId, Io, Op, Wait};

use crate::commit::CommitLink;
use crate::compress::Compressor;
use crate::container::batch::Payload;
use crate::driver::{Task, Turn};
use crate::error::{Error, Result};
use crate::ids::{ChunkHash, Epoch};
use crate::index::{ChunkEntry, Status};
use crate::limits::COMMIT_BYTES;
use crate::observe::{Since, Stage};
use crate::planted::{self, Bug};
use crate::poison::Poison;
use append::{Appender, Blocked, Retired};
use counters::Counters;
use known::{Known, Verdict};
use mailbox::{Added, Door, Reply};
use round::Round;
use streams::{CutOrder, Head, Placing, Question, Streams};
use tag::Kind;

/// The worker that owns `hash`, of `workers`. Taken from a word of the hash that no table is keyed by.
#[must_use]
pub fn route(hash: &ChunkHash, workers: usize) -> usize {
    usize::try_from(hash.word(3) % workers as u64).expect("a worker number is small")
}

/// What a worker is made of.
pub struct Parts {
    /// Its door to the disk.
    pub io: Box<dyn Io>,
    /// Where streams announce themselves.
    pub door: Door,
    /// Compresses, or not.
    pub compressor: Compressor,
    /// Knows what is stored.
    pub known: Known,
    /// Stores what is new.
    pub appender: Appender,
    /// Makes it durable.
    pub commit: CommitLink,
    /// The store's first failure.
    pub poison: Poison,
    /// Counts.
    pub counters: Arc<Counters>,
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// New bytes that may wait for a commit.
    pub uncommitted_max: u64,
    /// Raised when the store closes.
    pub stop: Arc<AtomicBool>,
}

/// See the module.
pub struct Shard {
    parts: Parts,
    streams: Streams,
    round: Option<Round>,
    /// Appended since the last round began.
    staged: Vec<(ChunkHash, ChunkEntry)>,
    staged_bytes: u64,
    /// Of those, chunks whose old copy is suspect.
    healed: Vec<ChunkHash>,
    /// Streams whose flush the next round answers.
    waiters: Vec<u64>,
    done: Vec<Done>,
    /// Rounds ended so far.
    rounds: u64,
    /// When the round under way reached its stage.
    round_since: Since,
    failed: bool,
    /// The store closes: what is staged is committed now.
    closing: bool,
}

impl Shard {
    /// A worker made of `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            streams: Streams::default(),
            round: None,
            staged: Vec::new(),
            staged_bytes: 0,
            healed: Vec::new(),
            waiters: Vec::new(),
            done: Vec::new(),
            rounds: 0,
            round_since: Since::default(),
            failed: false,
            closing: false,
        }
    }

    fn step(&mut self) -> Result<bool> {
        let mut busy = self.reap()?;
        busy |= self.streams.receive(&self.parts.door);
        busy |= self.fetch()?;
        busy |= self.answer()?;
        busy |= self.place()?;
        busy |= self.cut();
        busy |= self.advance_round()?;
        Ok(busy)
    }

    /// Take in completions.
    fn reap(&mut self) -> Result<bool> {
        let mut done = std::mem::take(&mut self.done);
        self.parts.io.poll(&mut done, Wait::No).map_err(ring_failed)?;
        let busy = !done.is_empty();
        let mut first_failure = Ok(());
        for done in done.drain(..) {
            first_failure = first_failure.and(self.completed(done));
        }
        self.done = done;
        first_failure?;
        Ok(self.parts.appender.submit_backlog(self.parts.io.as_mut()) || busy)
    }

    fn completed(&mut self, done: Done) -> Result<()> {
        match tag::parse(done.tag) {
            Some((Kind::Write, number)) => {
                self.parts.appender.write_done();
                let wanted = done.buffer.as_ref().map_or(0, |buffer| buffer.len());
                let written = done.result.map_err(|error| device_failed("write", &error))?;
                if written != wanted {
                    return Err(device_failed("write", &format!("{written} of {wanted} bytes written")));
                }
                if let Some(round) = &mut self.round {
                    round.write_done(number);
                }
            }
            Some((Kind::Sync, number)) => {
                let again = |error: &std::io::Error| !gdd_uring::sim::is_power_cut(error);
                if planted::has(Bug::RetrySync) && done.result.as_ref().is_err_and(again) {
                    self.sync(FileId(u32::try_from(number).expect("a file id")));
                    return Ok(());
                }
                done.result.map_err(|error| device_failed("sync", &error))?;
                self.round.as_mut().expect("a sync belongs to the round under way").sync_done();
            }
            Some((Kind::Directory, number)) => {
                self.parts.known.directory_read(self.parts.io.as_mut(), number, done)?;
            }
            None => {
                return Err(device_failed("reap", &format!("a completion nobody asked for: {:?}", done.tag)));
            }
        }
        Ok(())
    }

    /// Fetch what others made for this worker.
    fn fetch(&mut self) -> Result<bool> {
        self.parts.appender.fetch_container().map_err(Error::Poisoned)
    }

    /// Answer what streams want to know of chunks; that waits for nothing.
    fn answer(&mut self) -> Result<bool> {
        let mut busy = false;
        for at in 0..self.streams.count() {
            let stream = self.streams.number(at);
            while let Some(Question { question, hashes }) = self.streams.take_question(stream) {
                let mut places = Vec::with_capacity(hashes.len());
                self.parts.known.places(self.parts.io.as_mut(), &hashes, &mut places)?;
                self.streams.reply(stream, Reply::Known { question, places });
                busy = true;
            }
        }
        Ok(busy)
    }

    /// Work on the placements at the head of each stream, until all are done or blocked.
    fn place(&mut self) -> Result<bool> {
        let mut busy = false;
        for at in 0..self.streams.count() {
            let stream = self.streams.number(at);
            while let Some(head) = self.streams.take_head(stream) {
                match head {
                    Head::Flush => {
                        self.waiters.push(stream);
                        busy = true;
                    }
                    Head::Place(mut placing) => {
                        if self.place_one(stream, &mut placing)? {
                            let (extent_number, added) = (placing.placement.extent_number, placing.added);
                            drop(placing); // Before the reply: the front reuses the extent as soon as it hears.
                            self.streams.reply(stream, Reply::Placed { extent_number, added });
                            busy = true;
                        } else {
                            self.streams.put_back(stream, placing);
                            break;
                        }
                    }
                }
            }
        }
        Ok(busy)
    }

    /// Returns whether the placement is complete; if not, it is blocked and keeps its place.
    fn place_one(&mut self, stream: u64, placing: &mut Placing) -> Result<bool> {
        // What was unknown may have been appended by another stream and made durable since: after a round, ask again.
        if placing.located_in != Some(self.rounds) {
            let chunks = &placing.placement.chunks[placing.next..];
            self.parts.known.locate(self.parts.io.as_mut(), chunks, &mut placing.verdicts)?;
            placing.located_in = Some(self.rounds);
            placing.located_from = placing.next;
        }
        let (begun, before) = (self.begin(), placing.added);
        let placed = self.append_unknown(stream, placing)?;
        if placing.added != before {
            self.end(Stage::Append, begun);
        }
        Ok(placed)
    }

    /// Append the chunks of `placing` that are not known. Returns whether there was room for all.
    fn append_unknown(&mut self, stream: u64, placing: &mut Placing) -> Result<bool> {
        while placing.next < placing.placement.chunks.len() {
            let chunk = placing.placement.chunks[placing.next];
            let verdict = placing.verdicts[placing.next - placing.located_from];
            let stays = verdict == Verdict::Known || self.parts.known.is_pending(&chunk.hash);
            if !stays && !self.append(stream, placing, verdict)? {
                return Ok(false);
            }
            placing.next += 1;
        }
        Ok(true)
    }

    /// Store the next chunk of `placing`. Returns whether there was room.
    fn append(&mut self, stream: u64, placing: &mut Placing, verdict: Verdict) -> Result<bool> {
        if self.staged_bytes >= self.parts.uncommitted_max && self.round.is_some() {
            return Ok(false); // The commit under way must finish first: this bounds what a crash can leave to replay.
        }
        let chunk = placing.placement.chunks[placing.next];
        let raw = placing.placement.bytes(&chunk);
        let (codec, stored) = self.parts.compressor.compress(raw);
        let next = placing.placement.chunks.get(placing.next + 1);
        let next = next.map_or(&[][..], |next| placing.placement.bytes(next));
        let payload = Payload { hash: chunk.hash, raw_len: chunk.len, codec, stored, next };
        let tag = self.streams.tag(stream);
        match self.parts.appender.append(self.parts.io.as_mut(), &payload, tag)? {
            Ok((container, entry)) => {
                let entry = ChunkEntry::new(container, &entry, Status::Live, self.parts.epoch);
                let stored_len = u64::from(entry.stored_len);
                if self.parts.known.appended(chunk.hash, entry) {
                    self.healed.push(chunk.hash);
                }
                self.staged.push((chunk.hash, entry));
                self.staged_bytes += stored_len;
                self.parts.counters.appended.add(1);
                let bytes = u64::from(chunk.len);
                placing.added += match verdict {
                    Verdict::Away => {
                        Added { rewritten_chunks: 1, rewritten_bytes: bytes, ..Added::default() }
                    }
                    _ => Added { chunks: 1, bytes, stored_bytes: stored_len, ..Added::default() },
                };
                Ok(true)
            }
            Err(blocked) => {
                if blocked == Blocked::Buffers {
                    self.parts.counters.waits_for_device.add(1);
                }
                Ok(false)
            }
        }
    }

    /// Cut and hash one extent, of whichever stream is next.
    fn cut(&mut self) -> bool {
        let Some(order) = self.streams.next_cut() else { return false };
        let CutOrder { stream, extent_number, extent, mut cuts, chunker } = order;
        let begun = self.begin();
        chunker.cut_and_hash(&extent, false, &mut cuts);
        self.end(Stage::CutHash, begun);
        drop(extent); // Before the reply: the front reuses the extent as soon as it may.
        self.streams.reply(stream, Reply::Cuts { extent_number, cuts });
        true
    }

    /// Move the group commit on.
    fn advance_round(&mut self) -> Result<bool> {
        let Some(round) = &mut self.round else { return Ok(self.begin_round()) };
        if let Some(files) = round.start_sync() {
            self.round_since = self.end(Stage::Write, self.round_since);
            files.into_iter().for_each(|file| self.sync(file));
            return Ok(true);
        }
        if let Some(batch) = round.start_commit() {
            self.round_since = self.end(Stage::Sync, self.round_since);
            self.parts.commit.send(batch);
            return Ok(true);
        }
        match self.parts.commit.receive() {
            None => Ok(false),
            Some(Err(why)) => Err(Error::Poisoned(why)),
            Some(Ok(())) => {
                self.end(Stage::Commit, self.round_since);
                self.end_round();
                Ok(true)
            }
        }
    }

    fn sync(&mut self, file: FileId) {
        let tag = tag::of(Kind::Sync, u64::from(file.0));
        self.parts.appender.submit(self.parts.io.as_mut(), tag, Op::Datasync { file });
    }

    /// Begin a round if somebody waits for one, or enough is waiting.
    fn begin_round(&mut self) -> bool {
        let due = self.closing
            || !self.waiters.is_empty()
            || self.staged_bytes >= COMMIT_BYTES.min(self.parts.uncommitted_max / 2);
        if !due {
            return false;
        }
        let waiters = std::mem::take(&mut self.waiters);
        if !self.parts.appender.has_uncovered() {
            assert!(self.staged.is_empty(), "what was appended was written, or waits in a batch");
            waiters.into_iter().for_each(|stream| self.streams.reply(stream, Reply::Durable));
            return true;
        }
        let plan = self.parts.appender.begin_round(self.parts.io.as_mut());
        let entries = std::mem::take(&mut self.staged);
        self.staged_bytes = 0;
        let (healed, writes) = (std::mem::take(&mut self.healed), self.parts.appender.writes_in_flight());
        self.round = Some(Round::new(plan, writes, entries, healed, waiters));
        self.round_since = self.begin();
        true
    }

    fn end_round(&mut self) {
        let Some(round) = self.round.take() else { return };
        self.parts.known.durable(&round.entries);
        for Retired { file, path, end } in round.retired {
            // What was reserved and not used. It may come back after a crash: the index knows where the footer ends.
            if let Err(error) = self.parts.io.truncate(file, end) {
                tracing::warn!("{} keeps unused space behind byte {end}: {error}", path.display());
            }
            self.parts.io.close(file);
        }
        self.rounds += 1;
        self.parts.counters.rounds.add(1);
        round.waiters.into_iter().for_each(|stream| self.streams.reply(stream, Reply::Durable));
    }

    /// A stage begins.
    fn begin(&self) -> Since {
        self.parts.counters.stages.begin(|| self.parts.io.now())
    }

    /// A stage ends, and the next one begins.
    fn end(&self, stage: Stage, begun: Since) -> Since {
        self.parts.counters.stages.end(stage, begun, || self.parts.io.now())
    }

    /// The store failed: tell every stream, now and later.
    fn fail(&mut self, error: &Error) {
        self.parts.poison.set(&error.cause());
        self.failed = true;
    }

    fn refuse(&mut self) -> bool {
        let why = self.parts.poison.why().unwrap_or("the store failed").to_owned();
        self.streams.receive(&self.parts.door) | self.streams.fail_all(&why)
    }

    /// Whether the store is closing and nothing is left to do. What was appended and not flushed belongs to streams
    /// that were abandoned; it is committed all the same, so that the next opening finds it instead of recovering it.
    fn may_stop(&mut self) -> bool {
        if !self.parts.stop.load(Ordering::Acquire) || !self.streams.is_empty() {
            return false;
        }
        if self.failed {
            return self.parts.io.in_flight() == 0;
        }
        if self.round.is_none() && self.parts.appender.has_uncovered() {
            self.closing = true; // Makes a round due.
            return false;
        }
        self.round.is_none() && self.parts.io.in_flight() == 0
    }
}

impl Task for Shard {
    fn turn(&mut self) -> Turn {
        if self.may_stop() {
            return Turn::Stopped;
        }
        if !self.failed && self.parts.poison.why().is_none() {
            match self.step() {
                Ok(true) => return Turn::Busy,
                Ok(false) => return Turn::Idle,
                Err(error) => self.fail(&error),
            }
        }
        self.failed = true;
        let mut done = Vec::new();
        let reaped = self.parts.io.poll(&mut done, Wait::No).is_ok() && !done.is_empty();
        if self.refuse() || reaped { Turn::Busy } else { Turn::Idle }
    }

    fn wait(&mut self, limit: Duration) {
        let mut done = std::mem::take(&mut self.done);
        let polled = self.parts.io.poll(&mut done, Wait::For(limit));
        self.done = done;
        if let Err(error) = polled {
            self.fail(&ring_failed(error));
        }
    }
}

fn ring_failed(error: std::io::Error) -> Error {
    Error::Poisoned(format!("the I/O ring failed: {error}"))
}

fn device_failed(action: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Poisoned(format!("{action} of a container failed: {error}"))
}
