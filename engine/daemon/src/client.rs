//! The command line's side of the control socket.

use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::control::{self, Asked, Hello, LINE_MAX, PROTOCOL, REQUEST_MAX, Reply, Request};
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::progress::Bar;

/// A daemon that says nothing for so long is none.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// Buffer of either direction, in bytes.
const BUFFER_SIZE: usize = 256 << 10;

/// A connection to a daemon.
pub struct Client {
    from: BufReader<UnixStream>,
    to: BufWriter<UnixStream>,
    /// What the daemon said first.
    pub hello: Hello,
}

impl Client {
    /// The daemon at `socket`.
    ///
    /// # Errors
    /// None answers (4), it refuses this user, or it speaks another protocol (5).
    pub fn connect(socket: &Path) -> Result<Self> {
        let nobody = |error| {
            Failure::Busy(format!("no daemon answers at {}: {error}; start gdd.service", socket.display()))
        };
        let stream = UnixStream::connect(socket).map_err(nobody)?;
        stream.set_read_timeout(Some(HELLO_LIMIT)).map_err(nobody)?;
        let other = stream.try_clone().map_err(nobody)?;
        let mut from = BufReader::with_capacity(BUFFER_SIZE, stream);
        let first: Value = control::receive(&mut from, REQUEST_MAX).map_err(nobody)?;
        if let Ok(Reply::Error { code, message, .. }) = serde_json::from_value(first.clone()) {
            return Err(Failure::Remote(code, message));
        }
        let hello: Hello = serde_json::from_value(first).map_err(|error| nobody(error.into()))?;
        if hello.protocol != PROTOCOL {
            let what = format!("expected control protocol {PROTOCOL}, found {}", hello.protocol);
            return Err(Failure::Remote(5, format!("{what}; use the daemon's own version of gdd")));
        }
        from.get_ref().set_read_timeout(None).map_err(nobody)?;
        Ok(Self { from, to: BufWriter::with_capacity(BUFFER_SIZE, other), hello })
    }

    /// The daemon at `socket` if it runs on the store in `dir`. One that is there and does not serve us is named in the
    /// log: what follows opens the store itself, which fails if that daemon has it.
    #[must_use]
    pub fn of_store(socket: &Path, dir: &Path) -> Option<Self> {
        match Self::connect(socket) {
            Ok(client) => (client.hello.store == dir.canonicalize().ok()?).then_some(client),
            Err(failure) => {
                if !is_vacant(socket) {
                    tracing::warn!("going on without the daemon: {}", failure.line());
                }
                None
            }
        }
    }

    /// Ask for something that is answered with a result alone.
    ///
    /// # Errors
    /// The daemon's.
    pub fn ask(mut self, request: Request) -> Result<Outcome> {
        self.send(request)?;
        self.result()
    }

    /// Ask for something with data; returns its length where known, when the data may follow.
    ///
    /// # Errors
    /// The daemon's.
    pub fn begin(&mut self, request: Request) -> Result<Option<u64>> {
        self.send(request)?;
        match self.reply()? {
            Reply::Progress { total, .. } => Ok(total),
            Reply::Error { code, message, .. } => Err(Failure::Remote(code, message)),
            Reply::Result(_) => Err(Failure::Failed("the daemon answered too early".to_owned())),
        }
    }

    /// Where the data comes from.
    pub fn data(&mut self) -> impl Read + '_ {
        control::Frames::new(&mut self.from)
    }

    /// Send data. When the daemon has gone, its last line says why.
    ///
    /// # Errors
    /// The daemon's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match control::send_data(&mut self.to, bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.result().err().unwrap_or_else(|| lost(error))),
        }
    }

    /// The data is whole.
    ///
    /// # Errors
    /// The daemon's.
    pub fn finish(mut self) -> Result<Outcome> {
        let _ = control::end_data(&mut self.to, true); // Its failure shows in the answer.
        self.result()
    }

    /// The last line.
    ///
    /// # Errors
    /// The daemon's.
    pub fn result(&mut self) -> Result<Outcome> {
        let mut bar = None;
        loop {
            match self.reply()? {
                Reply::Progress { stage, done, total } => {
                    let bar = bar.get_or_insert_with(|| Bar::bytes("work", None));
                    bar.follow_named(stage, done, total);
                }
                Reply::Result(outcome) => return Ok(outcome),
                Reply::Error { code, message, .. } => return Err(Failure::Remote(code, message)),
            }
        }
    }

    fn send(&mut self, request: Request) -> Result<()> {
        control::send(&mut self.to, &Asked { protocol: PROTOCOL, request }).map_err(lost)?;
        self.to.flush().map_err(lost)
    }

    fn reply(&mut self) -> Result<Reply> {
        control::receive(&mut self.from, LINE_MAX).map_err(lost)
    }
}

/// Whether nobody listens at `socket`: there is none, or its daemon has died.
fn is_vacant(socket: &Path) -> bool {
    let vacant = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    UnixStream::connect(socket).is_err_and(|error| vacant.contains(&error.kind()))
}

fn lost(error: std::io::Error) -> Failure {
    Failure::Failed(format!("the daemon ended before it answered: {error}; see its log"))
}
