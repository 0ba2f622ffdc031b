//! What a channel refuses, by who is to blame: the machine or the other end at set-up ([`Refused`]), the peer at work
//! ([`Violation`]), nobody ([`PushError::Full`]).
//!
//! A violation is final. The half that found it answers every later call with the same violation, and the session that
//! owns it ends in error: after one lie nothing that the peer wrote can be believed.

use std::io;

/// Why a channel or a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A capacity is not a power of two within the limits.
    #[error("ring capacity {found}: expected a power of two from {min} to {max}")]
    Capacity {
        /// Bytes asked for.
        found: u64,
        /// Fewest bytes.
        min: u64,
        /// Most bytes.
        max: u64,
    },
    /// The file could still change its length, which would kill whoever touches the lost pages (`SIGBUS`).
    #[error("shared memory with seals {found:#x}, expected at least {expected:#x} (shrink, grow, seal)")]
    Seals {
        /// Bits of `F_GET_SEALS`; 0 for a file that has none.
        found: u32,
        /// Bits that must be set.
        expected: u32,
    },
    /// The file is not as long as was announced.
    #[error("shared memory of {found} bytes, expected {expected}")]
    Size {
        /// Bytes of the file.
        found: u64,
        /// Bytes that the announced rings need.
        expected: u64,
    },
    /// A word of the ring's header, or of the announcement, is not what it must be.
    #[error("{what} is {found:#x}, expected {expected:#x}")]
    Header {
        /// Name of the word.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The value that it must have.
        expected: u64,
    },
    /// A descriptor that is not what it was sent as.
    #[error("descriptor {what}: {found}")]
    Descriptor {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// The process at the other end runs as a user that may not connect.
    #[error("peer runs as uid {found}, expected one of {expected:?}")]
    User {
        /// Its user.
        found: u32,
        /// Users that may connect.
        expected: Vec<u32>,
    },
    /// The process at the other end cannot be named: it lives in another pid namespace, or has ended already.
    #[error("peer process {pid}: {reason}")]
    Process {
        /// Its number as the kernel told it; 0 if it has none here.
        pid: i32,
        /// Why it cannot be watched.
        reason: &'static str,
    },
    /// A system call failed.
    #[error("{call}: {source}")]
    Io {
        /// Which one, and on what.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
}

impl Refused {
    /// For `map_err`: the failure of `call`.
    pub(crate) fn io<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { call, source: source.into() }
    }
}

/// What a peer did that no honest peer does. The session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A counter went back, or past what its owner can have reached.
    #[error("{counter} moved from {believed:#x} by {moved:#x}, expected at most {moved_max:#x}")]
    Counter {
        /// `head` (of a consumer) or `tail` (of a producer).
        counter: &'static str,
        /// Where it stood when it was last believed.
        believed: u64,
        /// Bytes from there to where it stands now, modulo 2^64: a step back is a huge step forward.
        moved: u64,
        /// Bytes that it could have moved.
        moved_max: u64,
    },
    /// A counter is not a multiple of the unit.
    #[error("{counter} is {found:#x}, expected a multiple of {expected}")]
    Unaligned {
        /// `head` or `tail`.
        counter: &'static str,
        /// Its value.
        found: u64,
        /// The unit, in bytes.
        expected: u64,
    },
    /// The consumer released a part of a message.
    #[error("head stops {found} bytes into message {seq}, expected all {expected} bytes or none")]
    Split {
        /// The message.
        seq: u64,
        /// Bytes of it that were released.
        found: u64,
        /// Bytes that it takes in the ring.
        expected: u64,
    },
    /// The producer published a part of a message.
    #[error("message of {expected} bytes in the ring, of which {found} are published")]
    Torn {
        /// Bytes published.
        found: u64,
        /// Bytes that the message takes in the ring, or its header when that is torn.
        expected: u64,
    },
    /// A payload is longer than this ring takes.
    #[error("payload of {found} bytes, expected at most {max}")]
    Length {
        /// Bytes that its header names.
        found: u64,
        /// Bytes that the ring takes.
        max: u64,
    },
    /// A message of another session.
    #[error("message of session {found:#018x}, expected {expected:#018x}")]
    Token {
        /// Its token.
        found: u64,
        /// The token of this session.
        expected: u64,
    },
    /// A message was left out, or came twice.
    #[error("message with number {found}, expected {expected}")]
    Sequence {
        /// Its number.
        found: u64,
        /// The number that is next.
        expected: u64,
    },
}

/// Why a message was not put into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No room now; the consumer has to release something first.
    #[error("ring is full: {room} bytes free, {needed} needed")]
    Full {
        /// Bytes free.
        room: u64,
        /// Bytes that the message takes in the ring.
        needed: u64,
    },
    /// It never fits.
    #[error("payload of {found} bytes, expected at most {max}")]
    TooLarge {
        /// Bytes of the payload.
        found: u64,
        /// Bytes that the ring takes.
        max: u64,
    },
    /// The consumer lied.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// How a peer was lost. Each is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The process has ended (pidfd), whoever may still hold its sockets.
    #[error("peer process {pid} has ended")]
    Ended {
        /// Its number.
        pid: i32,
    },
    /// The control socket was closed by everyone who had it.
    #[error("peer process {pid} has closed the connection")]
    HungUp {
        /// Its number.
        pid: i32,
    },
    /// The bell was closed by everyone who had the peer's end of it.
    #[error("peer has closed the bell of the channel")]
    Deaf,
}

/// Why a wait ended early.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The peer lied.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The peer is lost.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// A packet breaks the rules, or a system call failed.
    #[error(transparent)]
    Refused(#[from] Refused),
}
