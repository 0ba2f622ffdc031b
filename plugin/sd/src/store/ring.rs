//! The product's way to the store: the daemon, through rings in shared memory.
//!
//! One connection for each device, made when it is first needed. All streams of the device go through its one ring, and
//! what the daemon releases from it is durable.
//!
//! # Invariants
//! - A connection that is lost is not made again behind a stream that was begun on it: its streams are void, and what
//!   they had in the ring stays readable here until they are abandoned.
//! - The daemon runs as root, as the user that plugin.toml names, or as we do.

mod errors;
mod line;
mod reading;

use std::collections::HashMap;
use std::path::PathBuf;

use gdd_link::answer::Answer;
use gdd_link::request::{self, Request};

use super::{Receipt, Store, StoreError, StoreId, StreamId, Unreleased, VolumeId};
use crate::block::SessionId;
use crate::label::About;
use line::Line;

/// A stream that was begun and neither finished nor abandoned.
struct Sent {
    line: u64,
    appended: u64,
}

/// See the module.
pub struct RingStore {
    socket: PathBuf,
    users: Vec<u32>,
    /// By number; all but the current one are lost, and kept for what is in their rings.
    lines: HashMap<u64, Line>,
    current: u64,
    streams: HashMap<StreamId, Sent>,
}

impl RingStore {
    /// The daemon at `socket`, which runs as one of `users`.
    pub fn new(socket: PathBuf, users: Vec<u32>) -> Self {
        Self { socket, users, lines: HashMap::new(), current: 0, streams: HashMap::new() }
    }

    /// A connection that works, as far as a look can tell; the number of it is `current`. It is only for what does not
    /// depend on the one before: a daemon that was restarted between two jobs is no trouble of the next.
    fn line(&mut self) -> Result<&mut Line, StoreError> {
        if !self.lines.get_mut(&self.current).is_some_and(Line::is_alive) {
            let line = Line::connect(&self.socket, &self.users)?;
            self.current += 1;
            self.lines.insert(self.current, line);
            self.sweep();
        }
        self.lines.get_mut(&self.current).ok_or_else(|| errors::nonsense("no connection"))
    }

    /// The connection of an open stream, and what was sent.
    fn sent(&mut self, stream: StreamId) -> Result<(&mut Line, &mut Sent), StoreError> {
        let sent = self.streams.get_mut(&stream).ok_or_else(|| errors::unknown(stream))?;
        let line = self.lines.get_mut(&sent.line).ok_or_else(|| errors::unknown(stream))?;
        Ok((line, sent))
    }

    /// Forgets connections that nobody needs.
    fn sweep(&mut self) {
        let (streams, current) = (&self.streams, self.current);
        self.lines.retain(|number, line| {
            (*number == current && !line.is_broken()) || streams.values().any(|sent| sent.line == *number)
        });
    }

    fn ask(&mut self, stream: u64, request: &Request) -> Result<(u64, Answer), StoreError> {
        self.line()?.ask(stream, request)
    }
}

impl Store for RingStore {
    fn begin(&mut self, volume: VolumeId, session: SessionId, about: &About) -> Result<StreamId, StoreError> {
        let about = request::About {
            session: (session.id, session.time),
            job_id: about.job_id,
            job: about.job.clone(),
            job_name: about.job_name.clone(),
            client: about.client.clone(),
            file_set: about.file_set.clone(),
        };
        let (stream, _) = self.ask(0, &Request::Begin { volume: volume.0, about })?;
        if self.streams.contains_key(&StreamId(stream)) {
            return Err(errors::nonsense("a stream that exists"));
        }
        self.streams.insert(StreamId(stream), Sent { line: self.current, appended: 0 });
        Ok(StreamId(stream))
    }

    fn append(&mut self, stream: StreamId, file_starts: bool, bytes: &[u8]) -> Result<(), StoreError> {
        let (line, sent) = self.sent(stream)?;
        line.append(stream.0, sent.appended, file_starts, bytes)?;
        sent.appended += bytes.len() as u64;
        Ok(())
    }

    fn durable(&mut self, stream: StreamId) -> Result<u64, StoreError> {
        self.sent(stream)?.0.durable(stream.0)
    }

    fn flush(&mut self, stream: StreamId) -> Result<(), StoreError> {
        match self.sent(stream)?.0.ask(stream.0, &Request::Flush)? {
            (_, Answer::Done) => Ok(()),
            _ => Err(errors::nonsense("no answer to a flush")),
        }
    }

    fn unreleased(&mut self, stream: StreamId) -> Result<Unreleased, StoreError> {
        let (line, sent) = self.sent(stream)?;
        Ok(line.unreleased(stream.0, sent.appended))
    }

    fn finish(&mut self, stream: StreamId, bytes: u64, digest: u128) -> Result<Receipt, StoreError> {
        let (line, _) = self.sent(stream)?;
        match line.ask(stream.0, &Request::Finish { bytes, digest })? {
            (_, Answer::Receipt { bytes, digest }) => {
                line.forget(stream.0);
                self.streams.remove(&stream);
                self.sweep();
                Ok(Receipt { bytes, digest })
            }
            _ => Err(errors::nonsense("no answer to a finish")),
        }
    }

    fn abandon(&mut self, stream: StreamId) {
        if let Ok((line, _)) = self.sent(stream) {
            // If it cannot be told any more, it sees the connection end, which says the same.
            let _ = line.tell(stream.0, &Request::Abandon);
            line.forget(stream.0);
        }
        self.streams.remove(&stream);
        self.sweep();
    }

    fn recall(&mut self, stream: StreamId, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.line()?.recall(stream.0, offset, buffer)
    }

    fn length(&mut self, stream: StreamId) -> Result<Option<u64>, StoreError> {
        match self.ask(stream.0, &Request::Length)? {
            (_, Answer::Length(length)) => Ok(length),
            _ => Err(errors::nonsense("no answer to a length")),
        }
    }

    fn retire(&mut self, volume: VolumeId) -> Result<(), StoreError> {
        self.ask(0, &Request::Retire { volume: volume.0 }).map(|_| ())
    }

    fn id(&mut self) -> Result<StoreId, StoreError> {
        Ok(self.line()?.store())
    }

    fn reachable(&mut self) -> Result<(), StoreError> {
        self.ask(0, &Request::Reachable).map(|_| ())
    }
}
