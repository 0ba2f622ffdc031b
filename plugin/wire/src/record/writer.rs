//! The sending half of a connection.

use std::io::Write;

use super::{Kind, Sealer};
use crate::error::{Malformed, WireError};
use crate::limits::{MESSAGE_SIZE_MAX, RECORD_PAYLOAD_MAX, UNSENT_SIZE_MAX};

/// Sends messages. Small ones wait in memory for [`flush`](Self::flush), or until there are 64 KiB of them.
///
/// Dropping it sends nothing: what was not flushed is lost, and the peer, to whom no end was said, learns that data is
/// missing.
pub struct Writer<W> {
    inner: W,
    sealer: Sealer,
    unsent: Vec<u8>,
    bytes: u64,
    over: bool,
}

impl<W: Write> Writer<W> {
    /// Records go to `inner`, from number 0 on.
    #[must_use]
    pub fn new(inner: W, sealer: Sealer) -> Self {
        Self { inner, sealer, unsent: Vec::new(), bytes: 0, over: false }
    }

    /// The first record of a client: it has derived the keys. Leaves at once.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn confirm(&mut self) -> Result<(), WireError> {
        self.record(Kind::Confirm, &[], &[])?;
        self.flush()
    }

    /// Takes a message, `head` and then `tail`, in as many records as it needs.
    ///
    /// # Errors
    /// It is empty or longer than [`MESSAGE_SIZE_MAX`], and was not taken; otherwise as [`flush`](Self::flush).
    pub fn send(&mut self, mut head: &[u8], mut tail: &[u8]) -> Result<(), WireError> {
        let len = head.len() + tail.len();
        if !(1..=MESSAGE_SIZE_MAX).contains(&len) {
            let expected = format!("1 to {MESSAGE_SIZE_MAX} bytes");
            return Err(Malformed::new("message to send", expected, len).into());
        }
        while head.len() + tail.len() > RECORD_PAYLOAD_MAX {
            let of_head = head.len().min(RECORD_PAYLOAD_MAX);
            let of_tail = RECORD_PAYLOAD_MAX - of_head;
            self.record(Kind::Part, &head[..of_head], &tail[..of_tail])?;
            (head, tail) = (&head[of_head..], &tail[of_tail..]);
        }
        self.record(Kind::Message, head, tail)
    }

    /// Hands everything that was taken to the connection.
    ///
    /// # Errors
    /// The connection failed or the peer does not read. Some of it may have left; this direction is over.
    pub fn flush(&mut self) -> Result<(), WireError> {
        if self.over {
            return Err(WireError::Over);
        }
        self.write_out()
    }

    /// Says that nothing follows, and flushes. Nothing can be sent after it.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn end(&mut self) -> Result<(), WireError> {
        self.record(Kind::End, &[], &[])?;
        self.flush()?;
        self.over = true;
        Ok(())
    }

    /// Bytes handed to the connection so far, headers and tags included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The connection.
    #[must_use]
    pub fn transport(&self) -> &W {
        &self.inner
    }

    fn record(&mut self, kind: Kind, head: &[u8], tail: &[u8]) -> Result<(), WireError> {
        if self.over {
            return Err(WireError::Over);
        }
        let sealed = self.sealer.seal(kind, head, tail, &mut self.unsent);
        self.over |= sealed.is_err();
        sealed?;
        if self.unsent.len() < UNSENT_SIZE_MAX {
            return Ok(());
        }
        self.write_out()
    }

    fn write_out(&mut self) -> Result<(), WireError> {
        let written = self.inner.write_all(&self.unsent).and_then(|()| self.inner.flush());
        self.over |= written.is_err();
        written.map_err(|source| WireError::from_io("sending records", source))?;
        self.bytes += self.unsent.len() as u64;
        self.unsent.clear();
        Ok(())
    }
}
