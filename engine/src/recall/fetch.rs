//! Reads in flight, for single chunks and for streams alike.
//!
//! A read waits until the device should get more and there is memory for it; then it is split into pieces, so that a
//! large chunk uses the device's width and can be checked while it comes. See [`super::depth`] for how many.
//!
//! # Invariants
//! - Reads begin in the order in which they were asked for, but for one that somebody waits for while nothing moves: it
//!   begins at once, in memory of its own if need be. So no reader waits for ever for memory that others hold.
//! - The door to the disk belongs to this alone.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use gdd_uring::buffer::{IoBuf, Shared};
use gdd_uring::io::{Done, FileId, Io, Op, Tag, Wait};

use super::RecallConfig;
use super::arrival::{Arrival, named};
use super::cache::{Room, SegmentCache};
use super::depth::Depth;
use super::files::Files;
use super::helper::{Checked, Helper};
use super::plan::Read;
use crate::error::{Error, Result};
use crate::ids::{ContainerId, WordHashed};
use crate::paths::Paths;

/// Pieces of a read; the number of a piece shares the tag with that of its read.
const PIECES_MAX: u64 = 1 << 16;

/// Longest single wait for the device; there is always another.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Names a read of one [`Fetcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadId(u64);

impl Hash for ReadId {
    /// Numbers in a row, spread over all bits: looked up several times for each chunk, and chosen by nobody outside.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

enum Job {
    Waiting(Read),
    Coming(Box<Arrival>),
    /// All of it came; the helper has it.
    Helped,
    Finished(Vec<Result<Shared>>),
}

struct Piece {
    tag: Tag,
    file: FileId,
    offset: u64,
    buffer: IoBuf,
}

/// See the module.
pub struct Fetcher {
    io: Box<dyn Io>,
    files: Files,
    paths: Paths,
    cache: Arc<SegmentCache>,
    piece_size: usize,
    pieces_alone: usize,
    depth: Depth,
    reads_begun: u64,
    jobs: HashMap<ReadId, Job, WordHashed>,
    waiting: VecDeque<ReadId>,
    pieces: VecDeque<Piece>,
    done: Vec<Done>,
    helper: Option<Helper>,
    /// Somebody waits for a single read, and nothing else is going on.
    alone: bool,
}

impl Fetcher {
    /// Reads of the store at `paths` through `io`.
    #[must_use]
    pub fn new(io: Box<dyn Io>, paths: Paths, cache: Arc<SegmentCache>, config: &RecallConfig) -> Self {
        Self {
            depth: Depth::new(io.capacity()),
            io,
            files: Files::new(paths.clone(), config.files_max),
            paths,
            cache,
            piece_size: config.piece_size,
            pieces_alone: config.pieces_alone.max(1),
            reads_begun: 0,
            jobs: HashMap::default(),
            waiting: VecDeque::new(),
            pieces: VecDeque::new(),
            done: Vec::new(),
            helper: None,
            alone: false,
        }
    }

    /// Let another thread check some of what comes from now on.
    pub fn start_helper(&mut self) {
        if self.helper.is_none() {
            self.helper = Helper::start(Arc::clone(&self.cache), self.io.waker());
        }
    }

    /// The time, by the door's clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.io.now()
    }

    /// Bytes that keep the device busy: as many as are in flight at once.
    #[must_use]
    pub fn bytes_in_flight_max(&self) -> usize {
        self.depth.get() * self.piece_size
    }

    /// Ask for a read. It starts at the next [`Fetcher::pump`] at which the device and the memory are ready for it.
    pub fn ask(&mut self, read: Read) -> ReadId {
        let id = ReadId(self.reads_begun);
        self.reads_begun += 1;
        self.jobs.insert(id, Job::Waiting(read));
        self.waiting.push_back(id);
        id
    }

    /// Whether a read has come and was checked.
    #[must_use]
    pub fn is_finished(&self, id: ReadId) -> bool {
        matches!(self.jobs.get(&id), Some(Job::Finished(_)))
    }

    /// The chunk of record `number` of a finished read; nothing when it could not be read.
    #[must_use]
    pub fn chunk(&self, id: ReadId, number: usize) -> Option<Shared> {
        match self.jobs.get(&id) {
            Some(Job::Finished(chunks)) => chunks[number].as_ref().ok().cloned(),
            _ => None,
        }
    }

    /// Every chunk of a finished read, which is then forgotten.
    ///
    /// # Panics
    /// When it is not finished.
    pub fn take(&mut self, id: ReadId) -> Vec<Result<Shared>> {
        let finished = self.jobs.remove(&id).and_then(|job| match job {
            Job::Finished(chunks) => Some(chunks),
            _ => None,
        });
        finished.expect("a read is taken when it has come")
    }

    /// Forget every read, when those under way have come.
    ///
    /// # Errors
    /// The ring failed.
    pub fn abandon(&mut self) -> Result<()> {
        self.waiting.clear();
        while !self.is_idle() {
            self.pump(Wait::For(WAIT_MAX))?;
        }
        self.jobs.clear();
        Ok(())
    }

    /// Read now, and wait for it. Returns the chunk of each record.
    ///
    /// # Errors
    /// The ring failed.
    pub fn fetch(&mut self, read: Read) -> Result<Vec<Result<Shared>>> {
        self.alone = self.is_idle() && self.waiting.is_empty();
        let id = self.ask(read);
        let waited = self.wait(id);
        self.alone = false;
        waited.map(|()| self.take(id))
    }

    /// Wait until a read has come.
    ///
    /// # Errors
    /// The ring failed. What is wrong with the read itself is told by [`Fetcher::take`].
    pub fn wait(&mut self, id: ReadId) -> Result<()> {
        if self.is_finished(id) {
            return Ok(()); // As for most chunks of a read: only its last one needs to keep things moving.
        }
        self.pump(Wait::No)?;
        while !self.is_finished(id) {
            if self.is_idle() {
                self.begin_now(id);
                self.pump(Wait::No)?;
            } else {
                self.pump(Wait::For(WAIT_MAX))?;
            }
        }
        Ok(())
    }

    /// Whether nothing moves.
    fn is_idle(&self) -> bool {
        self.io.in_flight() == 0 && self.pieces.is_empty() && self.done.is_empty() && self.helper_out() == 0
    }

    fn helper_out(&self) -> usize {
        self.helper.as_ref().map_or(0, Helper::out)
    }

    /// Keep things moving: begin what can begin, take what came, check it.
    ///
    /// # Errors
    /// The ring failed.
    pub fn pump(&mut self, wait: Wait) -> Result<()> {
        self.top_up();
        let wait = if self.done.is_empty() && !self.take_checked() { wait } else { Wait::No };
        if self.io.in_flight() > 0 || (self.helper_out() > 0 && wait != Wait::No) {
            self.poll(wait)?;
        }
        let mut touched: Vec<ReadId> = Vec::new();
        for done in std::mem::take(&mut self.done) {
            self.absorb(done, &mut touched);
        }
        if self.io.in_flight() == 0 {
            self.depth.starved();
        }
        if self.top_up() > 0 {
            self.poll(Wait::No)?; // The device works while we check what came.
        }
        for id in touched {
            self.check(id);
        }
        self.take_checked();
        Ok(())
    }

    /// Take what the helper has checked. Returns whether there was any.
    fn take_checked(&mut self) -> bool {
        let mut any = false;
        while let Some(Checked { id, container, chunks }) = self.helper.as_mut().and_then(Helper::fetch) {
            self.finished(id, container, chunks);
            any = true;
        }
        any
    }

    fn finished(&mut self, id: ReadId, container: ContainerId, chunks: Vec<Result<Shared>>) {
        if chunks.iter().any(Result::is_err) {
            // Perhaps another file has its name by now: look again next time.
            self.files.forget(self.io.as_mut(), container);
        }
        self.jobs.insert(id, Job::Finished(chunks));
    }

    /// Check what came of a read; all of it, if all came and the helper has enough to do.
    fn check(&mut self, id: ReadId) {
        let Some(Job::Coming(arrival)) = self.jobs.get_mut(&id) else { return };
        if !arrival.is_complete() {
            if self.alone || self.helper.is_none() {
                arrival.advance();
            }
            return;
        }
        let Some(Job::Coming(arrival)) = self.jobs.insert(id, Job::Helped) else { return };
        let container = arrival.read().container;
        self.files.give_back(container);
        let refused = match &mut self.helper {
            Some(helper) => helper.offer(id, arrival).err(),
            None => Some(arrival),
        };
        if let Some(arrival) = refused {
            let chunks = arrival.finish(&self.cache);
            self.finished(id, container, chunks);
        }
    }

    fn poll(&mut self, wait: Wait) -> Result<()> {
        self.io.poll(&mut self.done, wait).map_err(Error::io("read from", self.paths.root()))
    }

    /// Begin waiting reads and submit pieces while the device should get more. Returns the pieces submitted.
    fn top_up(&mut self) -> usize {
        let mut submitted = 0;
        let depth = if self.alone { self.pieces_alone } else { self.depth.get() };
        while self.io.in_flight() < depth {
            let Some(piece) = self.pieces.pop_front() else {
                if self.begin_next() {
                    continue;
                }
                self.depth.starved();
                break;
            };
            let Piece { tag, file, offset, buffer } = piece;
            if let Err(Op::Read { buffer, .. }) = self.io.submit(tag, Op::Read { file, offset, buffer }) {
                self.pieces.push_front(Piece { tag, file, offset, buffer });
                break;
            }
            submitted += 1;
        }
        submitted
    }

    /// Begin the read asked for first, if there is memory for it.
    fn begin_next(&mut self) -> bool {
        let Some(&id) = self.waiting.front() else { return false };
        let Some(Job::Waiting(read)) = self.jobs.get(&id) else { return false };
        let Some(room) = self.cache.room(read.len) else { return false };
        self.waiting.pop_front();
        self.begin(id, room);
        true
    }

    /// Begin a read out of turn.
    fn begin_now(&mut self, id: ReadId) {
        let Some(Job::Waiting(read)) = self.jobs.get(&id) else { return };
        let room = self.cache.room(read.len).unwrap_or_else(|| Room::private(read.len));
        self.waiting.retain(|waiting| *waiting != id);
        self.begin(id, room);
    }

    fn begin(&mut self, id: ReadId, room: Room) {
        let Some(Job::Waiting(read)) = self.jobs.remove(&id) else { return };
        let path = self.files.path(read.container);
        let file = match self.files.take(self.io.as_mut(), read.container) {
            Ok(file) => file,
            Err(error) => {
                let action =
                    if error.kind() == std::io::ErrorKind::NotFound { "missing" } else { "cannot be opened" };
                let why = |record| named(record, format_args!("{} is {action}: {error}", path.display()));
                let chunks = read.records.iter().map(|record| Err(why(record))).collect();
                self.jobs.insert(id, Job::Finished(chunks));
                return;
            }
        };
        let mut offset = read.start;
        let (arrival, pieces) = Arrival::begin(read, path, room, self.piece_size, self.cache.trust());
        for (number, buffer) in (0u64..).zip(pieces) {
            assert!(number < PIECES_MAX, "a read is a few MiB");
            let len = buffer.len() as u64;
            self.pieces.push_back(Piece { tag: Tag(id.0 * PIECES_MAX + number), file, offset, buffer });
            offset += len;
        }
        self.jobs.insert(id, Job::Coming(Box::new(arrival)));
    }

    fn absorb(&mut self, done: Done, touched: &mut Vec<ReadId>) {
        let id = ReadId(done.tag.0 / PIECES_MAX);
        let number = usize::try_from(done.tag.0 % PIECES_MAX).expect("a piece's number is small");
        let buffer = done.buffer.expect("a read gives its buffer back");
        let now = self.io.now();
        self.depth.arrived(buffer.len(), now);
        let Some(Job::Coming(arrival)) = self.jobs.get_mut(&id) else { return };
        arrival.piece(number, buffer, done.result);
        if touched.last() != Some(&id) {
            touched.push(id);
        }
    }
}
