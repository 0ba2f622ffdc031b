//! What can go wrong on the channel. After any of these, but for [`WireError::Timeout`] of a reader, that direction is
//! dead.

use std::io;
use std::time::Duration;

use crate::handshake::StoreId;
use crate::key::KeyId;

/// Why there is no channel, or no next message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The operating system said no.
    #[error("the connection failed while {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The peer was silent or did not read.
    #[error(
        "the peer was silent too long while {doing} (limit {limit:?}, nothing where it is the socket's own)"
    )]
    Timeout {
        /// What was waited for.
        doing: &'static str,
        /// How long, where this crate kept the time.
        limit: Option<Duration>,
    },
    /// The connection was closed, and the sender had not said that it was done.
    #[error(
        "the connection was closed while {doing}: expected {expected} bytes, found {found}; data is missing"
    )]
    Truncated {
        /// What was read.
        doing: &'static str,
        /// Bytes that this needs.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// The daemon closed the connection instead of an answer. It says nothing else to whom it does not know.
    #[error(
        "the daemon closed the connection during the handshake: it does not have this key, it takes no more \
         connections, or it was stopped"
    )]
    Refused,
    /// A client came with a key that is not in the ring, or with an id of ours and another key, or was tampered with.
    #[error("a client with key id {key} was refused: unknown key, wrong key, or changed on the way")]
    Denied {
        /// What the client said, which proves nothing.
        key: KeyId,
    },
    /// The peer speaks no version that we do. It said so in clear: somebody on the way may have.
    #[error("no common version: expected {}..={}, found {}..={}", ours.0, ours.1, theirs.0, theirs.1)]
    Version {
        /// Oldest and newest of this build.
        ours: (u16, u16),
        /// Oldest and newest of the peer.
        theirs: (u16, u16),
    },
    /// The daemon is another one than the client was told to expect.
    #[error("the daemon has another store: expected {expected}, found {found}")]
    Store {
        /// The pinned one.
        expected: StoreId,
        /// The daemon's.
        found: StoreId,
    },
    /// A message of the handshake does not verify.
    #[error("{what} does not verify: another key, or changed on the way")]
    Unverified {
        /// Which.
        what: &'static str,
    },
    /// A record does not verify: changed, repeated, out of order, or of another connection.
    #[error("record {number} does not verify: it was changed, repeated, moved, or is of another connection")]
    Tampered {
        /// Which record of this direction was expected.
        number: u64,
    },
    /// The peer's bytes are not what this protocol has in this place.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// As many records as one connection may have.
    #[error("this direction has had {0} records, as many as one connection may have")]
    Exhausted(u64),
    /// An error before this one ended this direction, or its end was already said.
    #[error("this direction of the connection is over")]
    Over,
    /// No random numbers.
    #[error("no random numbers for a handshake: {0}")]
    Random(String),
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}")]
pub struct Malformed {
    /// Which part.
    pub what: &'static str,
    /// What a good one has.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self { what, expected: expected.to_string(), found: found.to_string() }
    }
}

impl WireError {
    /// What the operating system said to a read or a write.
    pub(crate) fn from_io(doing: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout { doing, limit: None },
            _ => Self::Io { doing, source },
        }
    }
}
