//! Why a job cannot go on.

use std::io;
use std::time::Duration;

use gdd_kernels::ParamsError;
use gdd_wire::{Malformed, WireError};

/// Why a call failed. But for a [`Trouble`](Self::Trouble) that is not fatal, and for a fetch whose data are damaged,
/// all later calls fail, too.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon's name leads nowhere, or nobody is there.
    #[error("{server}: cannot {doing}: {source}")]
    Unreachable {
        /// Host and port, as they were given.
        server: String,
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The channel failed, or its handshake.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Not a sign of the daemon.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The daemon said goodbye, and something was still to come.
    #[error("the daemon ended the connection before the job was done")]
    Ended,
    /// The daemon cannot do it, and says why.
    #[error("the daemon says [{id}] {text}; {remedy}")]
    Trouble {
        /// Its stable id.
        id: String,
        /// What happened.
        text: String,
        /// What to do about it.
        remedy: String,
        /// Whether it ends the job.
        fatal: bool,
    },
    /// The daemon said what it must not say there.
    #[error("{what}: expected {expected}, found {found}; daemon and client disagree on the protocol")]
    Unexpected {
        /// Which part.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What came.
        found: String,
    },
    /// The daemon wants chunks cut in a way that is impossible.
    #[error("the daemon's chunk sizes: {0}")]
    Cut(#[from] ParamsError),
    /// The receipt is for other data than were sent.
    #[error("the daemon's receipt: expected {expected}, found {found}")]
    Receipt {
        /// Counted here.
        expected: String,
        /// Counted there.
        found: String,
    },
    /// A piece of a restore is not what it should be.
    #[error("stream byte {offset}: {what}: expected {expected}, found {found}")]
    Damaged {
        /// Where in the stream.
        offset: u64,
        /// Which property.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What came.
        found: String,
    },
    /// An earlier error has ended the connection.
    #[error("the connection is over: an earlier error has ended it")]
    Over,
    /// The system has no more threads.
    #[error("cannot start the thread that listens to the daemon: {0}")]
    Thread(io::Error),
}

impl ClientError {
    pub(crate) fn unexpected(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self::Unexpected { what, expected: expected.to_string(), found: found.to_string() }
    }

    /// Whether only one request failed, and others may still succeed.
    #[must_use]
    pub fn is_of_one_request(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Trouble { fatal: false, .. })
    }
}

impl From<Malformed> for ClientError {
    fn from(malformed: Malformed) -> Self {
        Self::Wire(malformed.into())
    }
}
