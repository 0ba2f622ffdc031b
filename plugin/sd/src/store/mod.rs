//! The way to the store: what the driver asks of whatever carries payload to the daemon and back.
//!
//! One *stream* holds the payload that one session wrote to one volume while it was open, in order and without framing.
//! A session that comes back to a volume that was closed in between begins another stream.
//!
//! # The contract
//! - [`append`](Store::append) means accepted: the bytes are held by the transport until they are durable, and
//!   [`unreleased`](Store::unreleased) gives back those that are not, also after the daemon died.
//! - [`flush`](Store::flush) means durable: all that was appended survives a power loss, also if the stream is never
//!   finished.
//! - [`finish`](Store::finish) means acknowledged: both sides counted the same bytes and the same digest, and
//!   everything is durable. Only this makes a backup good.
//! - A connection that ends leaves its open streams as they are: the daemon keeps what it received as an abandoned
//!   stream.
//! - An error with [`lost`](StoreError::lost) voids every stream that was begun before and not finished; only
//!   `unreleased` and `abandon` still answer for them. `begin`, `recall`, `length`, `retire` and `id` connect anew: the
//!   next job may find a daemon again, this one does not.

use std::fmt;

use crate::block::SessionId;
use crate::label::About;

#[cfg(feature = "directory-store")]
pub mod directory;
pub mod refusing;
pub mod ring;

/// A volume's own name, random, made when its first label is written: file names and labels change, this does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub [u8; 16]);

impl fmt::Display for VolumeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VolumeId({self})")
    }
}

/// A store's own name, random, made with it and kept by its replicas.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "StoreId({self})")
    }
}

/// A payload stream, as the store names it. Never used twice in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// Why the store, or the way to it, refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{id}] {text}; {remedy}")]
pub struct StoreError {
    /// Stable name of the message, for example `GDD-SD-0007`.
    pub id: &'static str,
    /// What happened, in one line.
    pub text: String,
    /// What an operator can do.
    pub remedy: String,
    /// The connection is gone, with everything that was not finished.
    pub lost: bool,
}

/// What a finished stream is: as the store counted it, independently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Payload bytes.
    pub bytes: u64,
    /// XXH3-128 of them.
    pub digest: u128,
}

/// Bytes of a stream that were appended and are not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreleased {
    /// Where in the stream they start: everything before is durable.
    pub offset: u64,
    /// Up to the end of what was appended.
    pub bytes: Vec<u8>,
}

/// The transport. All calls block until they are answered, or until the transport's own deadline made them an error.
pub trait Store: Send {
    /// Begins a stream.
    ///
    /// # Errors
    /// No daemon, no permission, wrong version, store full or read-only: each with its id and remedy.
    fn begin(&mut self, volume: VolumeId, session: SessionId, about: &About) -> Result<StreamId, StoreError>;

    /// The next payload bytes of an open stream. `file_starts`: they are the first of another file.
    ///
    /// # Errors
    /// As `begin`; also when the daemon is another one than at `begin`.
    fn append(&mut self, stream: StreamId, file_starts: bool, bytes: &[u8]) -> Result<(), StoreError>;

    /// How many bytes of an open stream are durable by now. Cheap: it is asked for every block without payload, so
    /// that a daemon that is gone is noticed also by a job that sends only metadata.
    ///
    /// # Errors
    /// When the daemon is gone.
    fn durable(&mut self, stream: StreamId) -> Result<u64, StoreError>;

    /// Makes everything that was appended to an open stream durable.
    ///
    /// # Errors
    /// When that was not possible.
    fn flush(&mut self, stream: StreamId) -> Result<(), StoreError>;

    /// What the transport still holds of an open or void stream. Also after an error.
    ///
    /// # Errors
    /// When the transport does not hold it: then the blocks that refer to it cannot be read.
    fn unreleased(&mut self, stream: StreamId) -> Result<Unreleased, StoreError>;

    /// Ends a stream: everything is durable, and `bytes` and `digest` (XXH3-128) are what the store received too.
    ///
    /// # Errors
    /// When that is not so.
    fn finish(&mut self, stream: StreamId, bytes: u64, digest: u128) -> Result<Receipt, StoreError>;

    /// Forgets an open or void stream on this side. The daemon keeps what it has.
    fn abandon(&mut self, stream: StreamId);

    /// Fills `buffer` from `offset` of a stream. Consecutive calls mostly go on where the last one ended.
    ///
    /// # Errors
    /// When not all of these bytes are there; never fewer bytes, never others.
    fn recall(&mut self, stream: StreamId, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;

    /// How many bytes of a stream the store has; `None` when it does not know the stream.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    fn length(&mut self, stream: StreamId) -> Result<Option<u64>, StoreError>;

    /// Gives up every stream of a volume: it was truncated.
    ///
    /// # Errors
    /// When the daemon cannot be told; the streams stay in the store then.
    fn retire(&mut self, volume: VolumeId) -> Result<(), StoreError>;

    /// Which store it is.
    ///
    /// # Errors
    /// When the daemon does not answer.
    fn id(&mut self) -> Result<StoreId, StoreError>;

    /// Whether the daemon answers at all, asked before something that cannot be undone.
    ///
    /// # Errors
    /// When it does not.
    fn reachable(&mut self) -> Result<(), StoreError>;
}

/// The way to the store that configuration and build provide. What is wrong with them becomes an error of the first job
/// that needs the store: at the daemon's start nobody would see it.
pub fn connect() -> Box<dyn Store> {
    #[cfg(feature = "directory-store")]
    if let Some(folder) = std::env::var_os("GDD_DIRECTORY_STORE") {
        return Box::new(directory::DirectoryStore::new(folder.into()));
    }
    match crate::config::Config::load() {
        Ok(config) => Box::new(ring::RingStore::new(gdd_link::plugin_socket(&config.socket), config.users)),
        Err(error) => Box::new(refusing::RefusingStore::new(error)),
    }
}
