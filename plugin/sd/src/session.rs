//! What is known of each job's session from one block to the next.
//!
//! A session that failed stays dead: whatever comes of it later is refused, on every device, so that no job can go on
//! with a hole in its stream. It is remembered by its id alone, which Bacula never uses twice: see [`Process`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::ThreadId;

use twox_hash::XxHash3_128;

use crate::block::{SessionId, Unparsed};
use crate::error::{Error, Result};
use crate::label::About;
use crate::limits::SESSIONS_MAX;
use crate::process::Process;
use crate::record::Thread;
use crate::store::StreamId;

/// A stream that is being written.
pub struct OpenStream {
    /// Its name in the store.
    pub id: StreamId,
    /// Bytes that were appended.
    pub bytes: u64,
    /// So many of them were made durable.
    pub durable: u64,
    digest: XxHash3_128,
}

impl fmt::Debug for OpenStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "OpenStream({}, {} bytes)", self.id, self.bytes)
    }
}

impl OpenStream {
    /// A stream without bytes.
    pub fn new(id: StreamId) -> Self {
        Self { id, bytes: 0, durable: 0, digest: XxHash3_128::new() }
    }

    /// Counts bytes that were appended.
    pub fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.write(bytes);
    }

    /// XXH3-128 of all bytes so far.
    pub fn digest(&self) -> u128 {
        self.digest.finish_128()
    }
}

/// A job's session on one device.
#[derive(Debug, Default)]
pub struct Session {
    /// Which record goes on in the next block.
    pub thread: Thread,
    /// Who the job is, once its first label was seen.
    pub about: About,
    /// The payload stream on the open volume.
    pub open: Option<OpenStream>,
    /// The thread that wrote its last block: in Bacula, a job has one thread of its own.
    pub writer: Option<ThreadId>,
    /// Blocks of this session, on all volumes.
    pub block_count: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Payload bytes that went to the store, on all volumes.
    pub payload_bytes: u64,
    /// Blocks that were stored verbatim.
    pub verbatim: u64,
    /// Why the first of them was.
    pub why_verbatim: Option<Unparsed>,
    touched: u64,
}

/// All sessions of a device.
#[derive(Debug, Default)]
pub struct Sessions {
    live: HashMap<SessionId, Session>,
    process: Arc<Process>,
    clock: u64,
}

impl Sessions {
    /// None yet, of a device of `process`.
    pub fn new(process: Arc<Process>) -> Self {
        Self { process, ..Self::default() }
    }

    /// The session with this id, made if it is new.
    ///
    /// # Errors
    /// As [`Sessions::admit`], or there are too many.
    pub fn get(&mut self, id: SessionId) -> Result<&mut Session> {
        self.admit(id)?;
        if !self.live.contains_key(&id) && self.live.len() >= SESSIONS_MAX {
            self.forget_one()?;
        }
        self.clock += 1;
        let session = self.live.entry(id).or_default();
        session.touched = self.clock;
        Ok(session)
    }

    /// Whether this session may go on, or begin.
    ///
    /// # Errors
    /// When it is dead, or new here and not of this process.
    pub fn admit(&self, id: SessionId) -> Result<()> {
        match self.live.contains_key(&id) {
            true if self.process.is_dead(id) => Err(Error::Dead(id)),
            true => Ok(()),
            false => self.process.admit(id),
        }
    }

    /// Ends a session well.
    pub fn end(&mut self, id: SessionId) -> Option<Session> {
        self.live.remove(&id)
    }

    /// Refuses everything of a session from now on, and returns what it had.
    pub fn kill(&mut self, id: SessionId) -> Option<Session> {
        self.process.kill(id);
        self.live.remove(&id)
    }

    /// The sessions that have a stream on the open volume, in order.
    pub fn with_stream(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> =
            self.live.iter().filter(|(_, session)| session.open.is_some()).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// The sessions whose last block this thread wrote, in order.
    pub fn of_thread(&self, thread: ThreadId) -> Vec<SessionId> {
        let its = |session: &Session| session.writer == Some(thread);
        let mut ids: Vec<_> =
            self.live.iter().filter(|(_, session)| its(session)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// A job that was cancelled leaves its session behind. The one that was silent longest goes.
    fn forget_one(&mut self) -> Result<()> {
        let idle = self.live.iter().filter(|(_, session)| session.open.is_none());
        let oldest = idle.min_by_key(|(_, session)| session.touched).map(|(id, _)| *id);
        let oldest = oldest.ok_or(Error::Sessions(self.live.len()))?;
        self.live.remove(&oldest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> SessionId {
        SessionId { id, time: 1 }
    }

    #[test]
    fn a_dead_session_stays_dead() {
        let mut sessions = Sessions::default();
        assert!(sessions.get(id(1)).is_ok());
        assert!(sessions.kill(id(1)).is_some());
        assert!(matches!(sessions.get(id(1)), Err(Error::Dead(dead)) if dead == id(1)));
        assert!(sessions.kill(id(1)).is_none() && sessions.admit(id(1)).is_err());
        assert!(sessions.get(id(2)).is_ok(), "another one lives");
    }

    #[test]
    fn a_session_that_died_on_one_device_is_dead_on_all() {
        let process = Arc::new(Process::new(Some(1)));
        let [mut here, mut there, mut elsewhere] = [(); 3].map(|()| Sessions::new(Arc::clone(&process)));
        assert!(there.get(id(1)).is_ok(), "it has begun there");
        here.kill(id(1));
        for sessions in [&mut there, &mut elsewhere] {
            assert!(matches!(sessions.get(id(1)), Err(Error::Dead(_))));
        }
    }

    #[test]
    fn sessions_are_bounded_and_the_silent_one_goes() {
        let mut sessions = Sessions::default();
        for number in 0..SESSIONS_MAX {
            sessions.get(id(u32::try_from(number).expect("small"))).expect("room").block_count = 1;
        }
        sessions.get(id(0)).expect("touched again");
        sessions.get(id(9_999)).expect("room was made");
        assert_eq!(sessions.live.len(), SESSIONS_MAX);
        assert!(sessions.live.contains_key(&id(0)) && !sessions.live.contains_key(&id(1)));
    }

    #[test]
    fn streams_are_not_forgotten() {
        let mut sessions = Sessions::default();
        for number in 0..SESSIONS_MAX {
            let session = sessions.get(id(u32::try_from(number).expect("small"))).expect("room");
            session.open = Some(OpenStream::new(StreamId(1)));
        }
        assert!(matches!(sessions.get(id(9_999)), Err(Error::Sessions(SESSIONS_MAX))));
    }
}
