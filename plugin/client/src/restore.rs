//! A restore: ranges of streams, asked for in windows of which several are under way.
//!
//! Files of a job lie one behind the other in its stream, and come back in that order. A range that begins where the
//! one before ended, or a little behind, is taken for the next file, and what lies behind it is asked for ahead of
//! time, each time more of it: a small file would cost a round trip of its own otherwise.
//!
//! # Invariants
//! - What is handed out of a range follows byte for byte, and is of chunks whose BLAKE3 was right.
//! - A range that failed leaves nothing behind: what still comes of it is passed over.
//! - What goes wrong with bytes that were asked for ahead of time is no range's failure: they are asked for again
//!   when a range needs them, and what goes wrong then is that range's. Nor is what goes wrong between two ranges.
//! - At most [`WINDOWS`] requests are under way, whatever was asked ahead.

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
/// Bytes that are asked for behind the first range that goes on from another; twice as many at each further one.
const AHEAD_MIN: u64 = 64 << 10;
/// Bytes that are read and passed over where a restore leaves some files out.
const SKIP_MAX: u64 = 64 << 10;
/// Bytes that pieces of a window may have above it: they are whole chunks.
const EXCESS: u64 = 2 * gdd_wire::limits::CHUNK_SIZE_MAX as u64;

/// A part of a stream, asked for.
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
    /// No range needed it when it was asked.
    is_ahead: bool,
    /// Bytes that the daemon may still send for it.
    allowed: u64,
}

/// A restore under way.
pub struct Restore<L: Line> {
    link: Link<L>,
    window: u64,
    number: u64,
    /// The stream that was read last, how far, and how far it was asked for.
    stream: [u8; 16],
    at: u64,
    asked: u64,
    /// Bytes to ask for behind a range.
    ahead: u64,
    /// In the order of the stream, without gaps: all between `at` and `asked`.
    requests: VecDeque<Request>,
    /// Bytes of the front request's first piece that were read.
    read: usize,
    /// Requests that nobody reads any more, whose end has not come, and what may still come of each.
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
        let (requests, given_up) = (VecDeque::new(), Vec::new());
        let (stream, at, asked, ahead) = ([0; 16], 0, 0, 0);
        Ok(Self { link, window, number: 0, stream, at, asked, ahead, requests, read: 0, given_up })
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
        let end = offset.checked_add(length);
        let end = end.ok_or_else(|| ClientError::unexpected("range", "an end within 64 bits", length))?;
        let near = self.at..=self.asked.saturating_add(SKIP_MAX);
        let is_next = self.stream == stream && near.contains(&offset);
        if is_next {
            self.ahead = (2 * self.ahead).max(AHEAD_MIN).min(self.window * (WINDOWS - 1));
        } else {
            self.give_up(0);
            (self.stream, self.at, self.asked, self.ahead) = (stream, offset, offset, 0);
        }
        let mut fetching = Fetching { restore: self, start: offset, end, failed: false };
        fetching.ask()?;
        Ok(fetching)
    }

    /// Ends the connection in good order.
    pub fn finish(self) {
        self.link.goodbye();
    }

    /// What still comes of the requests from `first` on is nobody's.
    fn give_up(&mut self, first: usize) {
        if let Some(request) = self.requests.get(first) {
            self.asked = request.start.max(self.at); // Of the first one, some may have been read.
        }
        let open = self.requests.drain(first..).filter(|request| !request.is_whole);
        self.given_up.extend(open.map(|request| (request.number, request.allowed)));
        if first == 0 {
            self.read = 0;
        }
    }

    /// Asks for the next `length` bytes.
    fn request(&mut self, length: u64, is_ahead: bool) -> Result<(), ClientError> {
        self.number += 1;
        let (number, stream, offset) = (self.number, self.stream, self.asked);
        let allowed = length + EXCESS;
        self.link.allow(allowed);
        self.link.send(&FromClient::Fetch { number, stream, offset, length })?;
        self.asked += length;
        let (pieces, is_whole) = (VecDeque::new(), false);
        let (start, end) = (offset, self.asked);
        self.requests.push_back(Request {
            number,
            start,
            end,
            at: start,
            pieces,
            is_whole,
            is_ahead,
            allowed,
        });
        Ok(())
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
        let open = |request: &Request| request.number == number && !request.is_whole;
        let Some(index) = self.requests.iter().position(open) else {
            let error = ClientError::unexpected("restore", "a number that was asked", number);
            return Err(self.link.end(error));
        };
        let request = &mut self.requests[index];
        request.allowed = request.allowed.saturating_sub(len);
        if ends {
            self.link.disallow(request.allowed);
        }
        let heard = match event {
            Event::Piece { offset, hash, bytes, .. } => request.piece(offset, &hash, bytes),
            Event::Fetched { length, .. } => request.fetched(length),
            other => {
                request.is_whole = true; // Nothing more comes of it.
                Err(wrong("restore", "a piece", other))
            }
        };
        if heard.is_err() && request.is_ahead {
            // The stream's end, most likely. Less is asked for next time, so that its last files do not
            // cost a round trip each.
            self.ahead = (self.requests[index].end - self.requests[index].start) / 4;
            self.give_up(index);
            return Ok(());
        }
        heard
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

/// A range that is being read. What was asked for behind it stays for the next one.
pub struct Fetching<'a, L: Line> {
    restore: &'a mut Restore<L>,
    start: u64,
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
        let read = match self.next(buffer) {
            // Of a file before, which nobody wants: a range is not read from its side.
            Err(error) if error.is_of_one_request() && self.restore.at < self.start => {
                self.begin_anew(buffer)
            }
            other => other,
        };
        read.inspect_err(|_| self.failed = true)
    }

    fn begin_anew(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        self.restore.give_up(0);
        (self.restore.at, self.restore.asked) = (self.start, self.start);
        self.ask()?;
        self.next(buffer)
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        while self.restore.at < self.end {
            let Restore { requests, at, read, .. } = &mut *self.restore;
            let Some(request) = requests.front_mut() else {
                self.ask()?;
                continue;
            };
            if let Some(piece) = request.pieces.front() {
                let rest = &piece[*read..];
                let limit = if *at < self.start { self.start - *at } else { self.end - *at };
                let count = rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
                // Bytes before the range were asked for ahead of time, and are skipped.
                let is_skipped = *at < self.start;
                let count = if is_skipped { count } else { count.min(buffer.len()) };
                if !is_skipped {
                    buffer[..count].copy_from_slice(&rest[..count]);
                }
                *read += count;
                *at += count as u64;
                if *read == piece.len() {
                    request.pieces.pop_front();
                    *read = 0;
                }
                if !is_skipped {
                    return Ok(count);
                }
            } else if request.is_whole {
                requests.pop_front();
                self.ask()?;
            } else {
                self.restore.hear()?;
            }
        }
        Ok(0)
    }

    /// Asks for as many windows as may be under way: of this range, then of what may be wanted next.
    fn ask(&mut self) -> Result<(), ClientError> {
        let Self { restore, end, .. } = self;
        let before = restore.asked;
        while restore.asked < *end && (restore.requests.len() as u64) < WINDOWS {
            let length = restore.window.min(*end - restore.asked);
            restore.request(length, false)?;
        }
        let behind = restore.asked.checked_sub(*end);
        if let Some(behind) = behind.filter(|behind| *behind < restore.ahead / 2)
            && (restore.requests.len() as u64) < WINDOWS
            && restore.asked.checked_add(restore.ahead).is_some()
        {
            restore.request(restore.window.min(restore.ahead - behind), true)?;
        }
        if restore.asked == before { Ok(()) } else { restore.link.flush() }
    }
}

impl<L: Line> Drop for Fetching<'_, L> {
    fn drop(&mut self) {
        if self.failed {
            self.restore.give_up(0);
            (self.restore.asked, self.restore.ahead) = (self.restore.at, 0);
            self.restore.stream = [0; 16];
        }
    }
}
