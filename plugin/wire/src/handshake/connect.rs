//! The handshake over a connection, with one deadline for all of it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::{
    ANSWER_HEADER_SIZE, Answer, HELLO_HEADER_SIZE, Identity, Initiator, Introduction, Session, StoreId,
    answer_len, hello_len, refusal, respond,
};
use crate::error::WireError;
use crate::key::{Key, KeyId, KeyRing};
use crate::record::{Opener, Reader, Sealer, Writer};
use crate::transport::Transport;

/// How long a client looks for an answer without sleeping.
const WATCH_MAX: Duration = Duration::from_micros(500);

/// Both directions of a connection whose handshake is done. They are independent: one thread may send while another
/// receives. The connection has no timeout: what waiting is worth is the owner's to say
/// ([`Transport::set_timeout`]).
pub struct Channel<T> {
    /// What comes.
    pub reader: Reader<T>,
    /// What goes.
    pub writer: Writer<T>,
}

/// A client's channel.
pub struct Connected<T> {
    /// To the daemon.
    pub channel: Channel<T>,
    /// What both agree on.
    pub session: Session,
}

/// A daemon's channel.
pub struct Accepted<T> {
    /// To the client.
    pub channel: Channel<T>,
    /// What both agree on.
    pub session: Session,
    /// What the client says about itself.
    pub introduction: Introduction,
    /// The domain that its key belongs to.
    pub domain: String,
    /// The key that it has.
    pub key: KeyId,
}

/// Makes a channel to a daemon that has `key`, and `expected` as its store where one is given.
///
/// # Errors
/// The daemon refuses or is silent, is not the one that has the key, or serves another store.
pub fn connect<T: Transport>(
    mut transport: T,
    key: &Key,
    introduction: &Introduction,
    expected: Option<StoreId>,
    time_max: Duration,
) -> Result<Connected<T>, WireError> {
    let deadline = Deadline::new(time_max);
    transport.prepare().map_err(|source| WireError::from_io("preparing the connection", source))?;
    let (initiator, hello) = Initiator::start(key, introduction)?;
    deadline.write(&mut transport, "sending the hello", &hello)?;
    watch(&transport);
    let mut answer = vec![0; ANSWER_HEADER_SIZE];
    deadline.read(&mut transport, "waiting for the daemon's answer", &mut answer).map_err(refused)?;
    let header = answer.first_chunk().expect("a header was read");
    answer.resize(ANSWER_HEADER_SIZE + answer_len(header)?, 0);
    deadline.read(&mut transport, "reading the daemon's answer", &mut answer[ANSWER_HEADER_SIZE..])?;
    let (session, keys) = initiator.finish(&answer, expected)?;
    let mut channel = channel(transport, &keys.up, &keys.down)?;
    deadline.arm(channel.writer.transport(), "confirming the session")?;
    channel.writer.confirm()?;
    disarm(channel.writer.transport())?;
    Ok(Connected { channel, session })
}

/// Makes a channel to a client that has a key of `ring`. It returns when the client has proved that; nothing should be
/// counted as that client's doing before.
///
/// # Errors
/// The client is silent, is not one of ours or has no such key. It was told nothing, but for the versions that this
/// daemon speaks where they were the reason.
pub fn accept<T: Transport>(
    mut transport: T,
    ring: &KeyRing,
    identity: &Identity,
    time_max: Duration,
) -> Result<Accepted<T>, WireError> {
    let deadline = Deadline::new(time_max);
    transport.prepare().map_err(|source| WireError::from_io("preparing the connection", source))?;
    let mut hello = vec![0; HELLO_HEADER_SIZE];
    deadline.read(&mut transport, "waiting for a client's hello", &mut hello)?;
    let len = match hello_len(hello.first_chunk().expect("a header was read")) {
        Err(error @ WireError::Version { .. }) => {
            deadline.write(&mut transport, "refusing a client's version", &refusal())?;
            return Err(error);
        }
        other => other?,
    };
    hello.resize(HELLO_HEADER_SIZE + len, 0);
    deadline.read(&mut transport, "reading a client's hello", &mut hello[HELLO_HEADER_SIZE..])?;
    let Answer { bytes, session, keys, introduction, domain, key } = respond(&hello, ring, identity)?;
    deadline.write(&mut transport, "answering a client", &bytes)?;
    let mut channel = channel(transport, &keys.down, &keys.up)?;
    deadline.arm(channel.reader.transport(), "waiting for a client's confirmation")?;
    channel.reader.set_record_time_max(deadline.left("waiting for a client's confirmation")?);
    channel.reader.confirmed()?;
    channel.reader.set_record_time_max(crate::limits::RECORD_TIME_MAX);
    disarm(channel.reader.transport())?;
    Ok(Accepted { channel, session, introduction, domain, key })
}

fn channel<T: Transport>(transport: T, send: &[u8; 32], receive: &[u8; 32]) -> Result<Channel<T>, WireError> {
    let second =
        transport.second().map_err(|source| WireError::from_io("splitting the connection", source))?;
    let reader = Reader::new(transport, Opener::new(receive));
    Ok(Channel { reader, writer: Writer::new(second, Sealer::new(send)) })
}

fn disarm<T: Transport>(transport: &T) -> Result<(), WireError> {
    transport.set_timeout(None).map_err(|source| WireError::from_io("preparing the connection", source))
}

/// Look for the daemon's answer for a moment before sleeping until it comes: on a fast network it takes no longer than
/// falling asleep and being woken. The daemon, to whom anybody may connect, never waits like this.
fn watch<T: Transport>(transport: &T) {
    let start = Instant::now();
    while start.elapsed() < WATCH_MAX && !transport.has_bytes() {
        std::thread::yield_now();
    }
}

/// A daemon that closes instead of an answer, with or without our hello unread.
fn refused(error: WireError) -> WireError {
    match error {
        WireError::Truncated { found: 0, .. } => WireError::Refused,
        WireError::Io { source, .. } if source.kind() == ErrorKind::ConnectionReset => WireError::Refused,
        other => other,
    }
}

/// When a handshake has to be done. Each read and write has what is left, so that a peer that drips gains nothing.
struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    fn left(&self, doing: &'static str) -> Result<Duration, WireError> {
        let left = self.limit.saturating_sub(self.start.elapsed());
        if left.is_zero() { Err(self.missed(doing)) } else { Ok(left) }
    }

    fn missed(&self, doing: &'static str) -> WireError {
        WireError::Timeout { doing, limit: Some(self.limit) }
    }

    fn arm<T: Transport>(&self, transport: &T, doing: &'static str) -> Result<(), WireError> {
        let left = self.left(doing)?;
        transport.set_timeout(Some(left)).map_err(|source| WireError::from_io(doing, source))
    }

    fn read<T: Transport>(
        &self,
        transport: &mut T,
        doing: &'static str,
        buffer: &mut [u8],
    ) -> Result<(), WireError> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.arm(transport, doing)?;
            match transport.read(&mut buffer[filled..]) {
                Ok(0) => return Err(WireError::Truncated { doing, expected: buffer.len(), found: filled }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(doing, error)),
            }
        }
        Ok(())
    }

    /// All of these fit the buffer of any socket: one write, one timeout.
    fn write<T: Transport>(
        &self,
        transport: &mut T,
        doing: &'static str,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        self.arm(transport, doing)?;
        let written = transport.write_all(bytes).and_then(|()| transport.flush());
        written.map_err(|error| self.failed(doing, error))
    }

    fn failed(&self, doing: &'static str, error: std::io::Error) -> WireError {
        match WireError::from_io(doing, error) {
            WireError::Timeout { .. } => self.missed(doing),
            other => other,
        }
    }
}
