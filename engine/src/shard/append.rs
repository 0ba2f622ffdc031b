//! The write side of a worker: packs records into batches, batches into containers, and keeps writes in flight.
//!
//! # Invariants
//! - Appending either succeeds whole or changes nothing and says what it waits for.
//! - Every write carries the number of the commit round that will cover it.
//! - A sealed container's footer is written like a batch; the round that covers it records the container as sealed.

use std::collections::VecDeque;
use std::path::PathBuf;

use gdd_uring::buffer::Pool;
use gdd_uring::io::{FileId, Io, Op, Open, Tag, Waker};

use super::tag::{self, Kind};
use crate::container::batch::{BatchBuilder, Payload};
use crate::container::prepare::{PrepareDesk, Prepared};
use crate::container::writer::Writer;
use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::batch::BatchHeader;
use crate::format::footer::DirectoryEntry;
use crate::format::record::RecordHeader;
use crate::ids::ContainerId;
use crate::index::ContainerRow;
use crate::limits::{BATCH_SIZE, BLOCK_SIZE};
use crate::paths::Paths;

/// Batch buffers of one worker, and so the most batches it has in flight: enough to go on while a sync of an earlier
/// round holds up the device, as far as the memory budget allows.
const BUFFERS: std::ops::RangeInclusive<usize> = 8..=48;

/// A container is ordered ahead when the current one is this full.
const ORDER_AT_FULLNESS: f64 = 0.5;

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// All batch buffers are being written.
    Buffers,
    /// No container is ready yet.
    Container,
}

/// See the module.
pub struct Appender {
    worker: usize,
    store: StoreId,
    paths: Paths,
    pool: Pool,
    desk: PrepareDesk,
    waker: Waker,
    ordered: bool,
    ready: Option<Prepared>,
    current: Option<Writer>,
    batch: Option<BatchBuilder>,
    /// Sealed since the last round began; their footers are written or being written.
    retired: Vec<Writer>,
    /// Operations the ring had no room for.
    backlog: VecDeque<(Tag, Op)>,
    writes_in_flight: usize,
    /// Round that will cover what is written now.
    round: u64,
    written_since_round: bool,
}

/// What an [`Appender`] must know about sizes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The longest chunk.
    pub chunk_max: u32,
    /// A container.
    pub container: u64,
    /// Memory for batches.
    pub memory: usize,
}

impl Appender {
    /// An appender for `worker`, with no container yet.
    pub fn new(
        worker: usize,
        store: StoreId,
        paths: Paths,
        sizes: Sizes,
        desk: PrepareDesk,
        io: &mut dyn Io,
    ) -> Self {
        let framing = (BatchHeader::SIZE + RecordHeader::SIZE) as u64;
        let one_chunk = (u64::from(sizes.chunk_max) + framing).next_multiple_of(BLOCK_SIZE);
        let batch_size = one_chunk.max(BATCH_SIZE.min(sizes.container / 4 / BLOCK_SIZE * BLOCK_SIZE));
        let useful = usize::try_from(sizes.container / batch_size).unwrap_or(usize::MAX).saturating_add(2);
        let batch_size = usize::try_from(batch_size).expect("a batch fits memory");
        let buffers = (sizes.memory / batch_size).clamp(*BUFFERS.start(), *BUFFERS.end());
        let pool = Pool::new(batch_size, buffers.min(useful));
        io.register(&pool);
        Self {
            worker,
            store,
            paths,
            pool,
            desk,
            waker: io.waker(),
            ordered: false,
            ready: None,
            current: None,
            batch: None,
            retired: Vec::new(),
            backlog: VecDeque::new(),
            writes_in_flight: 0,
            round: 1,
            written_since_round: false,
        }
    }

    /// Pack one chunk of the stream tagged `stream`.
    ///
    /// # Errors
    /// The outer: the store failed. The inner: nothing was appended, try again after a completion.
    pub fn append(
        &mut self,
        io: &mut dyn Io,
        payload: &Payload<'_>,
        stream: u64,
    ) -> Result<Result<(ContainerId, DirectoryEntry), Blocked>> {
        if let Err(blocked) = self.make_room(io, payload.stored.len())? {
            return Ok(Err(blocked));
        }
        let (Some(writer), Some(batch)) = (self.current.as_mut(), self.batch.as_mut()) else {
            return Ok(Err(Blocked::Container));
        };
        let offset = batch.push(payload);
        Ok(Ok((writer.id, writer.note(offset, payload, stream))))
    }

    /// See to it that the current batch has room for a payload of `stored_len` bytes.
    fn make_room(&mut self, io: &mut dyn Io, stored_len: usize) -> Result<Result<(), Blocked>> {
        if let Some(batch) = &self.batch {
            let writer = self.current.as_ref().expect("a batch belongs to the current container");
            if batch.fits(stored_len) && writer.has_room(batch.length_with(stored_len)) {
                return Ok(Ok(()));
            }
            self.close_batch(io);
        }
        if self.current.as_ref().is_some_and(|writer| !writer.has_room(Writer::length_of_one(stored_len))) {
            self.seal(io);
        }
        if self.current.is_none() && !self.open_next(io)? {
            return Ok(Err(Blocked::Container));
        }
        self.order_ahead();
        let Some(buffer) = self.pool.take() else { return Ok(Err(Blocked::Buffers)) };
        self.batch = self.current.as_ref().map(|writer| writer.begin(buffer));
        Ok(Ok(()))
    }

    /// Write the batch under construction, if it holds anything.
    pub fn close_batch(&mut self, io: &mut dyn Io) {
        let Some(batch) = self.batch.take().filter(|batch| !batch.is_empty()) else { return };
        let batch = batch.close();
        let writer = self.current.as_mut().expect("a batch belongs to the current container");
        writer.advance(&batch);
        let op = Op::Write { file: writer.file, offset: batch.position.offset, buffer: batch.buffer };
        self.write(io, op);
    }

    /// Seal the current container, if there is one.
    pub fn seal(&mut self, io: &mut dyn Io) {
        self.close_batch(io);
        let Some(mut writer) = self.current.take() else { return };
        let (offset, buffer) = writer.seal(self.store);
        self.write(io, Op::Write { file: writer.file, offset, buffer });
        self.retired.push(writer);
    }

    fn write(&mut self, io: &mut dyn Io, op: Op) {
        self.written_since_round = true;
        self.writes_in_flight += 1;
        self.backlog.push_back((tag::of(Kind::Write, self.round), op));
        self.submit_backlog(io);
    }

    /// Give the ring what it had no room for before. Returns whether anything was submitted.
    pub fn submit_backlog(&mut self, io: &mut dyn Io) -> bool {
        let mut any = false;
        while let Some((tag, op)) = self.backlog.pop_front() {
            if let Err(op) = io.submit(tag, op) {
                self.backlog.push_front((tag, op));
                break;
            }
            any = true;
        }
        any
    }

    /// Queue an operation that is not a write (a sync).
    pub fn submit(&mut self, io: &mut dyn Io, tag: Tag, op: Op) {
        self.backlog.push_back((tag, op));
        self.submit_backlog(io);
    }

    /// A write completed.
    pub fn write_done(&mut self) {
        self.writes_in_flight -= 1;
    }

    /// Writes submitted and not completed.
    #[must_use]
    pub fn writes_in_flight(&self) -> usize {
        self.writes_in_flight
    }

    /// Whether anything was written that no round covers yet, or is waiting in an open batch.
    #[must_use]
    pub fn has_uncovered(&self) -> bool {
        self.written_since_round || self.batch.as_ref().is_some_and(|batch| !batch.is_empty())
    }

    /// Begin a commit round: everything appended so far belongs to it. Returns its number, the files to sync, the
    /// watermarks to record, and the containers that are complete.
    pub fn begin_round(&mut self, io: &mut dyn Io) -> RoundPlan {
        self.close_batch(io);
        let mut plan =
            RoundPlan { number: self.round, files: Vec::new(), rows: Vec::new(), retired: Vec::new() };
        for writer in self.retired.drain(..) {
            plan.files.push(writer.file);
            plan.rows.push((writer.id, writer.row()));
            plan.retired.push(Retired {
                file: writer.file,
                path: writer.path.clone(),
                end: writer.row().durable_len,
            });
        }
        if let Some(writer) = self.current.as_ref().filter(|_| self.written_since_round) {
            plan.files.push(writer.file);
            plan.rows.push((writer.id, writer.row()));
        }
        self.round += 1;
        self.written_since_round = false;
        plan
    }

    /// The container being filled.
    #[must_use]
    pub fn current(&self) -> Option<&Writer> {
        self.current.as_ref()
    }

    /// Fetch a container that was ordered, and order one ahead of need. Returns whether one arrived.
    ///
    /// # Errors
    /// It could not be made: full disk, or worse.
    pub fn fetch_container(&mut self) -> Result<bool, String> {
        if !self.ordered || self.ready.is_some() {
            return Ok(false);
        }
        let Some(prepared) = self.desk.fetch(self.worker) else { return Ok(false) };
        self.ordered = false;
        self.ready = Some(prepared?);
        Ok(true)
    }

    fn open_next(&mut self, io: &mut dyn Io) -> Result<bool> {
        let Some(prepared) = self.ready.take() else {
            self.order();
            return Ok(false);
        };
        let path: PathBuf = self.paths.container(prepared.id);
        let file: FileId = io.open(&path, Open::Write).map_err(Error::io("open", &path))?;
        self.current = Some(Writer::new(prepared, file, path));
        Ok(true)
    }

    fn order_ahead(&mut self) {
        if self.ready.is_none() && self.current.as_ref().is_some_and(|w| w.fullness() >= ORDER_AT_FULLNESS) {
            self.order();
        }
    }

    fn order(&mut self) {
        if !self.ordered {
            self.ordered = true;
            self.desk.order(self.worker, self.waker.clone());
        }
    }
}

/// What a commit round has to do.
#[derive(Debug)]
pub struct RoundPlan {
    /// The round's number; writes tagged with it or a lower one belong to it.
    pub number: u64,
    /// Files to sync once those writes are complete.
    pub files: Vec<FileId>,
    /// Watermarks to record after the sync.
    pub rows: Vec<(ContainerId, ContainerRow)>,
    /// Sealed containers, to be closed when the round is durable.
    pub retired: Vec<Retired>,
}

/// A sealed container.
#[derive(Debug)]
pub struct Retired {
    /// Its open file.
    pub file: FileId,
    /// Where it lies.
    pub path: PathBuf,
    /// Where its footer ends, in bytes.
    pub end: u64,
}
