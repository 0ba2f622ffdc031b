//! The connection to the daemon: TCP, prepared so that a peer that is gone is noticed.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use gdd_wire::Transport;
use rustix::net::sockopt;

use crate::error::ClientError;

/// A connection whose two directions wait for different times.
pub trait Line: Transport + Send + Sync + 'static {
    /// How long a read and a write may wait without a byte, for all handles.
    ///
    /// # Errors
    /// The operating system's.
    fn set_waits(&self, read: Duration, write: Duration) -> io::Result<()>;
}

impl Line for TcpStream {
    fn set_waits(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read))?;
        self.set_write_timeout(Some(write))
    }
}

impl Line for UnixStream {
    fn set_waits(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read))?;
        self.set_write_timeout(Some(write))
    }
}

/// Connects to `server`, HOST:PORT, at the first of its addresses that answers; all of them have `time_max` together.
/// Looking the name up has the resolver's own bound (resolv.conf(5)). Data that nobody acknowledges for `silence` end
/// the connection (TCP_USER_TIMEOUT, RFC 5482).
///
/// # Errors
/// [`ClientError::Unreachable`].
pub fn dial(server: &str, time_max: Duration, silence: Duration) -> Result<TcpStream, ClientError> {
    let failed = |doing| {
        let server = server.to_owned();
        move |source| ClientError::Unreachable { server, doing, source }
    };
    let start = Instant::now();
    let addresses = server.to_socket_addrs().map_err(failed("look it up"))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = time_max.saturating_sub(start.elapsed());
        if left.is_zero() {
            last = io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {time_max:?}"));
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(line) => {
                watch(&line, silence).map_err(failed("prepare the connection"))?;
                return Ok(line);
            }
            Err(error) => last = error,
        }
    }
    Err(failed("connect")(last))
}

/// Lets the kernel notice a host that is gone, and keeps firewalls from forgetting an idle connection.
fn watch(line: &TcpStream, silence: Duration) -> io::Result<()> {
    sockopt::set_socket_keepalive(line, true)?;
    sockopt::set_tcp_keepidle(line, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(line, Duration::from_secs(20))?;
    let ms = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(line, ms)?;
    Ok(())
}
