//! What carries the bytes: a connection that can be held twice, to read from one thread and write from another.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::RecvFlags;

/// A connection.
pub trait Transport: Read + Write + Sized {
    /// Another handle of the same connection.
    ///
    /// # Errors
    /// The operating system has no more of them.
    fn second(&self) -> io::Result<Self>;

    /// How long a read or a write may wait, for all handles; for ever with `None`.
    ///
    /// # Errors
    /// The operating system's.
    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Once, before the first byte.
    ///
    /// # Errors
    /// The operating system's.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a read would return at once, if that can be told.
    fn has_bytes(&self) -> bool {
        true
    }

    /// Ends both directions for all handles: a thread that waits in a read wakes up.
    ///
    /// # Errors
    /// The operating system's.
    fn hang_up(&self) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn second(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    fn has_bytes(&self) -> bool {
        let peeked = rustix::net::recv(self, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(peeked, Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR))
    }

    /// What is flushed leaves at once: we gather small messages ourselves.
    fn prepare(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn hang_up(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Both)
    }
}

impl Transport for UnixStream {
    fn second(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    fn hang_up(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Both)
    }
}
