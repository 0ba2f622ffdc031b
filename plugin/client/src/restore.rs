//! A restore: ranges of streams, asked for in windows of which several are under way.
//!
//! # Invariants
//! - What is handed out follows byte for byte on what was handed out before, and is of chunks whose BLAKE3 was right.
//! - A range that failed, or was given up, leaves nothing behind: what still comes of it is passed over.

use std::collections::VecDeque;

use gdd_wire::message::FromClient;
use gdd_wire::{Session, StoreId};

use crate::backup::wrong;
use crate::error::ClientError;
use crate::line::Line;
use crate::link::Link;
use crate::listener::Event;
use crate::settings::Settings;

/// Windows of a large range that are under way.
const WINDOWS: u64 = 4;
/// Bytes that pieces of a window may have above it: they are whole chunks.
const EXCESS: u64 = 2 * gdd_wire::limits::CHUNK_SIZE_MAX as u64;

/// A part of a range, asked for.
struct Request {
    number: u64,
    /// What was asked.
    start: u64,
    end: u64,
    /// Where the next piece must begin; where the first may not be behind.
    at: u64,
    /// Verified pieces, and how much of the first was read.
    pieces: VecDeque<Vec<u8>>,
    /// All pieces are here.
    is_whole: bool,
    /// Bytes that the daemon may still send for it.
    allowed: u64,
}

/// A restore under way.
pub struct Restore<L: Line> {
    link: Link<L>,
    window: u64,
    number: u64,
    /// In the order of the range.
    requests: VecDeque<Request>,
    /// Bytes of the front request's first piece that were read.
    read: usize,
    /// Requests of ranges that nobody reads any more, whose end has not come, and what may still come of each.
    given_up: Vec<(u64, u64)>,
}

impl<L: Line> Restore<L> {
    /// Begins a restore over a new connection.
    ///
    /// # Errors
    /// The daemon does not take it.
    pub fn begin(line: L, settings: &Settings) -> Result<Self, ClientError> {
        let window = (settings.limits.window / WINDOWS).max(1);
        let link = Link::new(line, settings)?;
        let requests = VecDeque::new();
        Ok(Self { link, window, number: 0, requests, read: 0, given_up: Vec::new() })
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

    /// Begins to read `length` bytes of `stream` from `offset` on; none is asked for where there are none.
    ///
    /// # Errors
    /// Of the connection; or the range has no end within 64 bits.
    pub fn fetch(
        &mut self,
        stream: [u8; 16],
        offset: u64,
        length: u64,
    ) -> Result<Fetching<'_, L>, ClientError> {
        self.give_up();
        let end = offset.checked_add(length);
        let end = end.ok_or_else(|| ClientError::unexpected("range", "an end within 64 bits", length))?;
        let mut fetching = Fetching { restore: self, stream, asked: offset, end, failed: false };
        fetching.ask()?;
        Ok(fetching)
    }

    /// Ends the connection in good order.
    pub fn finish(self) {
        self.link.goodbye();
    }

    /// What still comes of earlier ranges is nobody's.
    fn give_up(&mut self) {
        let open = self.requests.drain(..).filter(|request| !request.is_whole);
        self.given_up.extend(open.map(|request| (request.number, request.allowed)));
        self.read = 0;
    }

    /// Waits for what the daemon says, and puts it where it belongs.
    fn hear(&mut self) -> Result<(), ClientError> {
        let event = self.link.next()?;
        let number = match &event {
            Event::Piece { number, .. } | Event::Fetched { number, .. } => *number,
            Event::Trouble { number: Some(number), .. } => *number,
            _ => return Err(self.link.end(wrong("message during a restore", "a piece", event))),
        };
        let ends = !matches!(event, Event::Piece { .. });
        let len = if let Event::Piece { bytes, .. } = &event { bytes.len() as u64 } else { 0 };
        if let Some(index) = self.given_up.iter().position(|(given_up, _)| *given_up == number) {
            let allowed = &mut self.given_up[index].1;
            *allowed = allowed.saturating_sub(len);
            if ends {
                self.link.disallow(self.given_up.swap_remove(index).1);
            }
            return Ok(());
        }
        let open = self.requests.iter_mut().find(|request| request.number == number && !request.is_whole);
        let Some(request) = open else {
            let error = ClientError::unexpected("restore", "a number that was asked", number);
            return Err(self.link.end(error));
        };
        request.allowed = request.allowed.saturating_sub(len);
        if ends {
            self.link.disallow(request.allowed);
        }
        match event {
            Event::Piece { offset, hash, bytes, .. } => request.piece(offset, &hash, bytes),
            Event::Fetched { length, .. } => request.fetched(length),
            other => {
                request.is_whole = true; // Nothing more comes of it.
                Err(wrong("restore", "a piece", other))
            }
        }
    }
}

impl Request {
    fn piece(&mut self, offset: u64, hash: &[u8; 32], bytes: Vec<u8>) -> Result<(), ClientError> {
        let damaged = |what, expected: String, found: String| {
            Err(ClientError::Damaged { offset, what, expected, found })
        };
        let end = offset.saturating_add(bytes.len() as u64);
        let is_first = self.at == self.start && self.pieces.is_empty();
        let fits = if is_first { offset <= self.at && end > self.at } else { offset == self.at };
        if !fits || self.at >= self.end {
            let expected = format!("from {} to {}", self.at, self.end);
            return damaged("place of a piece", expected, format!("from {offset} to {end}"));
        }
        let found = blake3::hash(&bytes);
        if found.as_bytes() != hash {
            return damaged("BLAKE3", blake3::Hash::from_bytes(*hash).to_string(), found.to_string());
        }
        let before = usize::try_from(self.at - offset).expect("less than a piece");
        let until = usize::try_from(end.min(self.end) - offset).expect("no more than a piece");
        let mut bytes = bytes;
        bytes.truncate(until);
        bytes.drain(..before);
        self.at = end.min(self.end);
        self.pieces.push_back(bytes);
        Ok(())
    }

    fn fetched(&mut self, length: u64) -> Result<(), ClientError> {
        self.is_whole = true;
        let wanted = self.end - self.start;
        if self.at == self.end && length == wanted {
            return Ok(());
        }
        let found = format!("{} of {length} announced", self.at - self.start);
        let expected = format!("{wanted} bytes");
        Err(ClientError::Damaged { offset: self.at, what: "length", expected, found })
    }
}

/// A range that is being read. Dropped, it is given up.
pub struct Fetching<'a, L: Line> {
    restore: &'a mut Restore<L>,
    stream: [u8; 16],
    /// So far the range was asked for.
    asked: u64,
    end: u64,
    failed: bool,
}

impl<L: Line> Fetching<'_, L> {
    /// Fills a part of `buffer`, waiting for bytes; 0 at the range's end, or where `buffer` is empty.
    ///
    /// # Errors
    /// Of the connection; or the daemon cannot give this range; or what it gave is damaged. The last two leave the
    /// connection good for other ranges.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        if self.failed {
            return Err(ClientError::Over);
        }
        self.next(buffer).inspect_err(|_| self.failed = true)
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        loop {
            let Some(request) = self.restore.requests.front_mut() else { return Ok(0) };
            if let Some(piece) = request.pieces.front() {
                let rest = &piece[self.restore.read..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.restore.read += count;
                if self.restore.read == piece.len() {
                    request.pieces.pop_front();
                    self.restore.read = 0;
                }
                return Ok(count);
            }
            if request.is_whole {
                self.restore.requests.pop_front();
                self.ask()?;
            } else {
                self.restore.hear()?;
            }
        }
    }

    /// Asks for as many windows as may be under way.
    fn ask(&mut self) -> Result<(), ClientError> {
        let before = self.asked;
        while self.asked < self.end && (self.restore.requests.len() as u64) < WINDOWS {
            let length = self.restore.window.min(self.end - self.asked);
            self.restore.number += 1;
            let (number, stream, offset) = (self.restore.number, self.stream, self.asked);
            let allowed = length + EXCESS;
            self.restore.link.allow(allowed);
            self.restore.link.send(&FromClient::Fetch { number, stream, offset, length })?;
            self.asked += length;
            let (pieces, is_whole) = (VecDeque::new(), false);
            let (start, end) = (offset, self.asked);
            let request = Request { number, start, end, at: start, pieces, is_whole, allowed };
            self.restore.requests.push_back(request);
        }
        if self.asked == before { Ok(()) } else { self.restore.link.flush() }
    }
}

impl<L: Line> Drop for Fetching<'_, L> {
    fn drop(&mut self) {
        self.restore.give_up();
    }
}
