//! The receiving half of a connection.

use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::{Kind, Opener};
use crate::error::{Malformed, WireError};
use crate::limits::{
    MESSAGE_SIZE_MAX, RECORD_HEADER_SIZE, RECORD_SIZE_MAX, RECORD_TAG_SIZE, RECORD_TIME_MAX,
};

/// Bytes that one read asks for when less would do: several small records in one call.
const READ_AHEAD: usize = 16 << 10;

/// Receives messages. They are opened in the buffer that they were read into, and lent from there.
pub struct Reader<R> {
    inner: R,
    opener: Opener,
    buffer: Vec<u8>,
    /// What was read and not yet used.
    unread: Range<usize>,
    /// The message whose parts are coming; of use only while `assembling`.
    message: Vec<u8>,
    assembling: bool,
    /// When the first byte of the record at the front of `unread` was there.
    begun: Option<Instant>,
    record_time_max: Duration,
    bytes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Broken,
}

impl<R: Read> Reader<R> {
    /// Records come from `inner`, from number 0 on.
    #[must_use]
    pub fn new(inner: R, opener: Opener) -> Self {
        Self {
            inner,
            opener,
            buffer: Vec::new(),
            unread: 0..0,
            message: Vec::new(),
            assembling: false,
            begun: None,
            record_time_max: RECORD_TIME_MAX,
            bytes: 0,
            state: State::Open,
        }
    }

    /// How long a record may take from its first byte to its last. It is looked at when bytes come, so the wait is
    /// longer by the timeout of the connection at most.
    pub fn set_record_time_max(&mut self, time_max: Duration) {
        self.record_time_max = time_max;
    }

    /// The next message; none after the sender's end.
    ///
    /// # Errors
    /// [`WireError::Timeout`] of the connection itself leaves everything as it was, and the call may be repeated. After
    /// any other error every call fails.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, WireError> {
        loop {
            let (kind, payload) = match self.state {
                State::Open => self.record()?,
                State::Ended => return Ok(None),
                State::Broken => return Err(WireError::Over),
            };
            match (kind, self.assembling) {
                (Kind::Message, false) => return Ok(Some(&self.buffer[payload])),
                (Kind::Message, true) => {
                    self.gather(payload)?;
                    self.assembling = false;
                    return Ok(Some(&self.message));
                }
                (Kind::Part, assembling) => {
                    if !assembling {
                        self.message.clear();
                        self.assembling = true;
                    }
                    self.gather(payload)?;
                }
                (Kind::End, false) => self.state = State::Ended,
                (Kind::End | Kind::Confirm, _) => {
                    let found = format!("{kind:?}");
                    return Err(self.broken(Malformed::new("record", "a message or a part", found).into()));
                }
            }
        }
    }

    /// The client's first record.
    ///
    /// # Errors
    /// Another came, or it does not verify.
    pub fn confirmed(&mut self) -> Result<(), WireError> {
        match self.record()?.0 {
            Kind::Confirm => Ok(()),
            other => {
                let found = format!("{other:?}");
                Err(self.broken(Malformed::new("first record of a client", "Confirm", found).into()))
            }
        }
    }

    /// After the sender's end: waits until it closes the connection, too.
    ///
    /// # Errors
    /// The end was not said, more bytes came, or the connection failed.
    pub fn closed(&mut self) -> Result<(), WireError> {
        if self.state != State::Ended {
            return Err(WireError::Over);
        }
        let mut after = self.unread.len();
        while after == 0 {
            match self.inner.read(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(count) => after = count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(WireError::from_io("waiting for the peer to close", error)),
            }
        }
        Err(self.broken(Malformed::new("after the end", "nothing", "more bytes").into()))
    }

    /// Bytes that came so far, headers and tags included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The connection.
    #[must_use]
    pub fn transport(&self) -> &R {
        &self.inner
    }

    fn gather(&mut self, payload: Range<usize>) -> Result<(), WireError> {
        let len = self.message.len() + payload.len();
        if len > MESSAGE_SIZE_MAX {
            let expected = format!("at most {MESSAGE_SIZE_MAX} bytes");
            return Err(self.broken(Malformed::new("message", expected, len).into()));
        }
        self.message.extend_from_slice(&self.buffer[payload]);
        Ok(())
    }

    /// Opens the next record; where its payload stands in the buffer.
    fn record(&mut self) -> Result<(Kind, Range<usize>), WireError> {
        self.fill("reading the header of a record", RECORD_HEADER_SIZE)?;
        let mut header = [0; RECORD_HEADER_SIZE];
        header.copy_from_slice(&self.buffer[self.unread.start..][..RECORD_HEADER_SIZE]);
        let (kind, len) = match Opener::header(header) {
            Ok(header) => header,
            Err(error) => return Err(self.broken(error.into())),
        };
        self.fill("reading a record", RECORD_HEADER_SIZE + len + RECORD_TAG_SIZE)?;
        let start = self.unread.start + RECORD_HEADER_SIZE;
        let end = start + len + RECORD_TAG_SIZE;
        if let Err(error) = self.opener.open(header, &mut self.buffer[start..end]) {
            return Err(self.broken(error));
        }
        self.unread.start = end;
        self.begun = None;
        Ok((kind, start..start + len))
    }

    /// Reads until `size` bytes are unread.
    fn fill(&mut self, doing: &'static str, size: usize) -> Result<(), WireError> {
        debug_assert!(size <= RECORD_SIZE_MAX);
        self.make_room(size);
        while self.unread.len() < size {
            let asked = self.unread.start + size.max(READ_AHEAD);
            let asked = asked.min(self.buffer.len());
            let count = match self.inner.read(&mut self.buffer[self.unread.end..asked]) {
                Ok(0) => {
                    let found = self.unread.len();
                    return Err(self.broken(WireError::Truncated { doing, expected: size, found }));
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => match WireError::from_io(doing, error) {
                    timeout @ WireError::Timeout { .. } if !self.is_late() => return Err(timeout),
                    WireError::Timeout { .. } => return Err(self.late(doing)),
                    other => return Err(self.broken(other)),
                },
            };
            self.unread.end += count;
            self.bytes += count as u64;
            if self.unread.len() < size && self.is_late() {
                return Err(self.late(doing));
            }
        }
        Ok(())
    }

    /// Whether the record that has begun takes too long; from here on, it has begun.
    fn is_late(&mut self) -> bool {
        !self.unread.is_empty()
            && self.begun.get_or_insert_with(Instant::now).elapsed() > self.record_time_max
    }

    fn late(&mut self, doing: &'static str) -> WireError {
        let limit = Some(self.record_time_max);
        self.broken(WireError::Timeout { doing, limit })
    }

    /// The buffer has place for `size` bytes from the first unread one on.
    fn make_room(&mut self, size: usize) {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        if self.unread.start + size > self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.buffer.len() < size {
            self.buffer.resize(size.max(READ_AHEAD), 0);
        }
    }

    fn broken(&mut self, error: WireError) -> WireError {
        self.state = State::Broken;
        error
    }
}
