//! How far a read or write has come, and what to ask for next.
//!
//! The kernel may move fewer bytes than asked: at a signal, at the end of the file, or when the disk fills up. Direct
//! I/O must go on at an aligned place, so the next attempt starts at the last whole [`ALIGN`] block and repeats a part
//! of one. An attempt that gets no further than the one before ends the matter, so the number of attempts is bounded.

use std::io;

use crate::buffer::{ALIGN, IoBuf};

/// Bytes asked for in one attempt. The kernel moves at most 2 GiB less a page per call; longer operations go in parts.
const ATTEMPT_SIZE_MAX: usize = 1 << 30;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

/// Progress of one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    way: Way,
    offset: u64,
    len: usize,
    /// Bytes moved; never goes back.
    total: usize,
    /// Start of the next attempt in the buffer: `total` rounded down.
    from: usize,
}

/// What one attempt led to.
#[derive(Debug)]
pub(crate) enum Next {
    /// Ask for the rest.
    Again,
    /// Complete with this many bytes.
    Finished(usize),
    /// Complete with this error.
    Failed(io::Error),
}

impl Transfer {
    /// Begin a transfer of the whole visible `buffer`.
    ///
    /// # Errors
    /// `InvalidInput` when offset, length or address is not a multiple of [`ALIGN`], or the end passes 2^63: direct
    /// I/O would refuse it, and a backend that is kinder than a disk would hide the mistake.
    pub(crate) fn new(way: Way, offset: u64, buffer: &IoBuf) -> io::Result<Self> {
        let aligned = offset.is_multiple_of(ALIGN as u64)
            && buffer.len().is_multiple_of(ALIGN)
            && (buffer.as_ptr() as usize).is_multiple_of(ALIGN);
        let fits = offset.checked_add(buffer.len() as u64).is_some_and(|end| i64::try_from(end).is_ok());
        if !aligned || !fits {
            let (len, address) = (buffer.len(), buffer.as_ptr());
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("offset {offset}, length {len} and address {address:p} must be multiples of {ALIGN}"),
            ));
        }
        Ok(Self { way, offset, len: buffer.len(), total: 0, from: 0 })
    }

    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// The next attempt: where in the buffer it starts, how long it is, and where in the file.
    pub(crate) fn attempt(&self) -> (usize, usize, u64) {
        (self.from, (self.len - self.from).min(ATTEMPT_SIZE_MAX), self.offset + self.from as u64)
    }

    /// Whether nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Account for `count` bytes that the last attempt moved.
    pub(crate) fn advance(&mut self, count: usize) -> Next {
        let reached = (self.from + count).min(self.len);
        if reached == self.len {
            return Next::Finished(self.len);
        }
        if reached <= self.total {
            return match self.way {
                Way::Read => Next::Finished(self.total), // The end of the file.
                Way::Write => Next::Failed(io::Error::new(
                    io::ErrorKind::WriteZero,
                    format!("the file took {} of {} bytes and no more", self.total, self.len),
                )),
            };
        }
        self.total = reached;
        self.from = reached - reached % ALIGN;
        Next::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(way: Way, blocks: usize) -> Transfer {
        Transfer::new(way, 8192, &IoBuf::zeroed(blocks * ALIGN)).unwrap()
    }

    #[test]
    fn a_short_attempt_is_continued_from_a_whole_block() {
        let mut write = begin(Way::Write, 4);
        assert_eq!(write.attempt(), (0, 4 * ALIGN, 8192));
        assert!(matches!(write.advance(ALIGN + 512), Next::Again));
        assert_eq!(write.attempt(), (ALIGN, 3 * ALIGN, 8192 + ALIGN as u64));
        assert!(matches!(write.advance(2 * ALIGN), Next::Again));
        assert!(matches!(write.advance(ALIGN), Next::Finished(n) if n == 4 * ALIGN));
    }

    #[test]
    fn a_read_ends_where_the_file_does() {
        let mut read = begin(Way::Read, 4);
        assert!(matches!(read.advance(2 * ALIGN + 77), Next::Again));
        assert_eq!(read.attempt().0, 2 * ALIGN);
        assert!(matches!(read.advance(77), Next::Finished(n) if n == 2 * ALIGN + 77));
        assert!(matches!(begin(Way::Read, 1).advance(0), Next::Finished(0)));
    }

    #[test]
    fn a_write_that_stalls_fails() {
        let mut write = begin(Way::Write, 2);
        assert!(matches!(write.advance(512), Next::Again));
        assert!(matches!(write.advance(512), Next::Failed(e) if e.kind() == io::ErrorKind::WriteZero));
        assert!(matches!(begin(Way::Write, 2).advance(0), Next::Failed(_)));
    }

    #[test]
    fn any_sequence_of_short_attempts_ends() {
        for step in [1, 511, 512, 4095, 4096, 4097, 9000] {
            let mut read = begin(Way::Read, 9);
            let mut attempts = 0;
            let moved = loop {
                attempts += 1;
                let (_, len, _) = read.attempt();
                match read.advance(step.min(len)) {
                    Next::Again => {}
                    Next::Finished(count) => break count,
                    Next::Failed(e) => unreachable!("{e}"),
                }
            };
            assert!(attempts <= 10 && (moved == 9 * ALIGN || step < ALIGN), "step {step}: {moved}");
        }
    }
}
