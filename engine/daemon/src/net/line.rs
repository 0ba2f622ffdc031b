//! A client's connection, from which a session may read without waiting while the store owes it an answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gdd_wire::Transport;
use rustix::net::RecvFlags;

/// One handle of the connection. What was read in part stays in the record reader: nothing is lost by not waiting.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    /// A read that finds nothing says so at once, as if its time were over.
    hurried: Arc<AtomicBool>,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, hurried: Arc::default() }
    }

    /// Set for reads that do not wait.
    pub(super) fn hurried(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.hurried)
    }

    /// How long a read waits, and a write.
    pub(super) fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(read))?;
        self.stream.set_write_timeout(Some(write))
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.hurried.load(Ordering::Relaxed) {
            return self.stream.read(buffer);
        }
        rustix::net::recv(&self.stream, buffer, RecvFlags::DONTWAIT)
            .map(|(count, _)| count)
            .map_err(io::Error::from)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Transport for Line {
    fn second(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, hurried: self.hurried() })
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Transport::set_timeout(&self.stream, timeout)
    }

    fn prepare(&self) -> io::Result<()> {
        self.stream.prepare()
    }

    fn hang_up(&self) -> io::Result<()> {
        self.stream.hang_up()
    }
}
