//! A backup: files become one stream of chunks, of which the daemon gets those that it does not have.
//!
//! # Invariants
//! - A chunk's bytes are kept until the daemon knows the chunk's segment, does not want the chunk, or was sent it.
//! - Questions under way have at most as many chunks as the daemon allows, but for a single segment that has more.
//! - After an error every call fails.

use std::collections::{HashMap, VecDeque};

use gdd_wire::message::{Entry, FromClient, RowBuffer, SegmentQuery, Totals};
use gdd_wire::segment::{Segment, Segmenter};
use gdd_wire::{Session, StoreId};

use crate::cutter::{Chunk, Cutter};
use crate::error::ClientError;
use crate::line::Line;
use crate::link::Link;
use crate::listener::Event;
use crate::settings::Settings;

/// Questions under way at most: their answers fit any socket's buffers.
const QUESTIONS_MAX: usize = 1024;

/// Where a file is in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stream.
    pub stream: [u8; 16],
    /// Its first byte there.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// What a committed backup amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What both sides counted. Bytes are those of the stream; a file that was not ended has some of them.
    pub totals: Totals,
    /// Bytes of chunks that the store did not have.
    pub new_bytes: u64,
    /// Bytes that they take on its disk.
    pub stored_bytes: u64,
    /// Bytes over the connection, both ways, as counted here.
    pub wire_bytes: u64,
}

/// Chunks whose question has no answer yet.
enum Asked {
    Segment(Vec<Chunk>),
    Chunks(Vec<Chunk>),
}

/// A backup under way. Dropped without [`commit`](Self::commit), it is none.
pub struct Backup<L: Line> {
    link: Link<L>,
    stream: [u8; 16],
    memory: usize,
    ahead_max: u64,
    cutter: Cutter,
    segmenter: Segmenter,
    /// Of the segment that is being formed, in order.
    forming: VecDeque<Chunk>,
    /// By the number of the question.
    asked: HashMap<u64, Asked>,
    /// Chunks in `asked`.
    ahead: u64,
    number: u64,
    /// First byte of the file that is open, or was.
    file_start: u64,
    /// Bytes that were taken.
    bytes: u64,
    chunks: u64,
    recipe: blake3::Hasher,
    durable: u64,
    new: Vec<Chunk>,
    rows: RowBuffer<Entry>,
    over: bool,
}

impl<L: Line> Backup<L> {
    /// Begins a backup over a new connection. `job_name` and `file_set`, of 128 bytes at most each, are the same in
    /// every backup of that job: by them and the client's name the daemon finds the backup before, whose segments it
    /// knows.
    ///
    /// # Errors
    /// The daemon does not take it.
    pub fn begin(line: L, settings: &Settings, job_name: &str, file_set: &str) -> Result<Self, ClientError> {
        let mut link = Link::new(line, settings)?;
        let client = &settings.introduction.client;
        link.send(&FromClient::Begin { client, job_name, file_set })?;
        link.flush()?;
        let (stream, cut, ahead_max) = match link.next_long()? {
            Event::Begun { stream, cut, ahead_max } => (stream, cut, ahead_max),
            other => return Err(link.end(wrong("answer to begin", "begun", other))),
        };
        Ok(Self {
            stream,
            memory: settings.limits.memory,
            ahead_max: ahead_max.into(),
            cutter: Cutter::new(cut)?,
            segmenter: Segmenter::default(),
            forming: VecDeque::new(),
            asked: HashMap::new(),
            ahead: 0,
            number: 0,
            file_start: 0,
            bytes: 0,
            chunks: 0,
            recipe: blake3::Hasher::new(),
            durable: 0,
            new: Vec::new(),
            rows: RowBuffer::default(),
            over: false,
            link,
        })
    }

    /// The daemon's store.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.session().daemon.store
    }

    /// What both ends agreed on.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.link.session()
    }

    /// A file begins. One that was begun and not ended stays in the stream, and no [`Place`] leads to it.
    ///
    /// # Errors
    /// Of the connection.
    pub fn file_start(&mut self) -> Result<(), ClientError> {
        self.file_end().map(drop)?;
        self.file_start = self.bytes;
        Ok(())
    }

    /// The next bytes of the file. It may wait until the daemon has answered.
    ///
    /// # Errors
    /// Of the connection.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            let count = self.checked(|backup| backup.take(bytes))?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// The file is whole. Its place is known at once; the daemon has it when [`commit`](Self::commit) returns.
    ///
    /// # Errors
    /// Of the connection.
    pub fn file_end(&mut self) -> Result<Place, ClientError> {
        self.checked(|backup| {
            backup.cutter.end_file(&mut backup.new);
            backup.ask_new()
        })?;
        let (stream, offset) = (self.stream, self.file_start);
        Ok(Place { stream, offset, length: self.bytes - offset })
    }

    /// Everything was written: `files` of them, with a digest that only its maker understands. Waits until the daemon
    /// has made it durable, and compares what both have counted.
    ///
    /// # Errors
    /// There is no receipt, or it is for something else.
    pub fn commit(mut self, files: u64, files_digest: [u8; 32]) -> Result<Outcome, ClientError> {
        let outcome = self.checked(|backup| backup.committed(files, files_digest))?;
        self.link.goodbye();
        Ok(outcome)
    }

    fn committed(&mut self, files: u64, files_digest: [u8; 32]) -> Result<Outcome, ClientError> {
        self.cutter.end_file(&mut self.new);
        self.ask_new()?;
        if let Some(segment) = self.segmenter.finish() {
            self.ask(&segment)?;
        }
        while !self.asked.is_empty() {
            self.hear()?;
        }
        let recipe_digest = *self.recipe.finalize().as_bytes();
        let totals = Totals { files, bytes: self.bytes, chunks: self.chunks, files_digest, recipe_digest };
        self.link.send(&FromClient::Commit(totals))?;
        self.link.flush()?;
        let receipt = loop {
            match self.link.next_long()? {
                Event::Receipt(receipt) => break receipt,
                Event::Durable { bytes } => self.durable(bytes)?,
                other => return Err(wrong("answer to commit", "a receipt", other)),
            }
        };
        if receipt.totals != totals {
            let (expected, found) = (format!("{totals:?}"), format!("{:?}", receipt.totals));
            return Err(ClientError::Receipt { expected, found });
        }
        let wire_bytes = self.link.bytes();
        let gdd_wire::message::Receipt { new_bytes, stored_bytes, .. } = receipt;
        Ok(Outcome { totals, new_bytes, stored_bytes, wire_bytes })
    }

    /// Nothing works after an error.
    fn checked<T>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if self.over {
            return Err(ClientError::Over);
        }
        body(self).map_err(|error| {
            self.over = true;
            self.link.end(error)
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, ClientError> {
        while self.cutter.kept() > self.memory && !self.asked.is_empty() {
            self.hear()?;
        }
        let count = self.cutter.take(bytes, &mut self.new);
        self.bytes += count as u64;
        self.ask_new()?;
        Ok(count)
    }

    /// Puts new chunks into segments, asks for those that are whole, and hears what was answered meanwhile.
    fn ask_new(&mut self) -> Result<(), ClientError> {
        let new = std::mem::take(&mut self.new);
        for chunk in &new {
            self.chunks += 1;
            self.recipe.update(&chunk.hash).update(&chunk.len.to_le_bytes());
            self.forming.push_back(*chunk);
            if let Some(segment) = self.segmenter.push(&chunk.hash, chunk.len)? {
                self.ask(&segment)?;
            }
        }
        self.new = new;
        self.new.clear();
        while let Some(event) = self.link.try_next()? {
            self.answered(event)?;
        }
        Ok(())
    }

    fn ask(&mut self, segment: &Segment) -> Result<(), ClientError> {
        let count = u64::from(segment.count);
        while !self.asked.is_empty()
            && (self.ahead + count > self.ahead_max || self.asked.len() >= QUESTIONS_MAX)
        {
            self.hear()?;
        }
        let Segment { digest, count: chunk_count, length, .. } = *segment;
        let mut rows = RowBuffer::default();
        rows.push(SegmentQuery { digest, chunk_count, length })?;
        let number = self.next_number();
        self.link.send(&FromClient::Segments { number, segments: rows.rows()? })?;
        self.link.flush()?;
        let chunks = self.forming.drain(..usize::from(chunk_count)).collect();
        self.asked.insert(number, Asked::Segment(chunks));
        self.ahead += count;
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Waits for what the daemon says, and does what follows from it.
    fn hear(&mut self) -> Result<(), ClientError> {
        let event = self.link.next()?;
        self.answered(event)
    }

    fn answered(&mut self, event: Event) -> Result<(), ClientError> {
        match event {
            Event::Known { number, known } => match (self.asked.remove(&number), known.as_slice()) {
                (Some(Asked::Segment(chunks)), [true]) => self.done(&chunks),
                (Some(Asked::Segment(chunks)), [false]) => return self.ask_chunks(chunks),
                (found, bits) => return Err(stray("segments known", number, found.as_ref(), bits.len())),
            },
            Event::Wanted { number, wanted } => match self.asked.remove(&number) {
                Some(Asked::Chunks(chunks)) if chunks.len() == wanted.len() => {
                    self.send_wanted(number, &chunks, &wanted)?;
                    self.done(&chunks);
                }
                found => return Err(stray("wanted", number, found.as_ref(), wanted.len())),
            },
            Event::Durable { bytes } => self.durable(bytes)?,
            other => return Err(wrong("message during a backup", "an answer to a question", other)),
        }
        Ok(())
    }

    fn ask_chunks(&mut self, chunks: Vec<Chunk>) -> Result<(), ClientError> {
        self.rows.clear();
        for chunk in &chunks {
            self.rows.push(Entry { hash: chunk.hash, len: chunk.len })?;
        }
        let number = self.next_number();
        self.link.send(&FromClient::Chunks { number, entries: self.rows.rows()? })?;
        self.link.flush()?;
        self.asked.insert(number, Asked::Chunks(chunks));
        Ok(())
    }

    fn send_wanted(&mut self, number: u64, chunks: &[Chunk], wanted: &[bool]) -> Result<(), ClientError> {
        for (index, chunk) in (0..).zip(chunks) {
            if wanted[usize::from(index)] {
                let bytes = self.cutter.bytes(chunk);
                self.link.send(&FromClient::Chunk { number, index, bytes })?;
            }
        }
        self.link.flush()
    }

    fn done(&mut self, chunks: &[Chunk]) {
        chunks.iter().for_each(|chunk| self.cutter.release(chunk));
        self.ahead -= chunks.len() as u64;
    }

    fn durable(&mut self, bytes: u64) -> Result<(), ClientError> {
        if !(self.durable..=self.bytes).contains(&bytes) {
            let expected = format!("{} to {} bytes", self.durable, self.bytes);
            return Err(ClientError::unexpected("durable", expected, bytes));
        }
        self.durable = bytes;
        Ok(())
    }
}

/// An answer to nothing, or with another count of rows.
fn stray(what: &'static str, number: u64, question: Option<&Asked>, count: usize) -> ClientError {
    let expected = match question {
        Some(Asked::Segment(_)) => "segments known with 1 row".to_owned(),
        Some(Asked::Chunks(chunks)) => format!("wanted with {} rows", chunks.len()),
        None => "a number that was asked".to_owned(),
    };
    ClientError::unexpected(what, expected, format!("number {number} with {count} rows"))
}

/// What cannot be said here; a trouble is its own reason.
pub(crate) fn wrong(what: &'static str, expected: &'static str, event: Event) -> ClientError {
    match event {
        Event::Trouble { error, .. } => error,
        Event::Over(error) => error,
        other => ClientError::unexpected(what, expected, name_of(&other)),
    }
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Begun { .. } => "begun",
        Event::Known { .. } => "segments known",
        Event::Wanted { .. } => "wanted",
        Event::Durable { .. } => "durable",
        Event::Receipt(_) => "receipt",
        Event::Piece { .. } => "piece",
        Event::Fetched { .. } => "fetched",
        Event::Trouble { .. } => "trouble",
        Event::Over(_) => "the end",
    }
}
