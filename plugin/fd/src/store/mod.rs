//! The way to the store: what the plugin asks of whatever carries files to the daemon and back.
//!
//! # The contract
//! - One [`Session`] serves one Bacula job. Nothing reconnects behind the plugin's back: once a call has failed with
//!   anything but [`Kind::is_of_one_file`](crate::error::Kind::is_of_one_file), all later ones fail.
//! - [`Put::finish`] means that all bytes of the file are on their way and were counted, and that its place is known.
//!   Only then a reference goes to the volume.
//! - [`Session::commit`] means durable, for exactly the files that its [`Totals`] count. Only this makes a backup good.
//! - A call ends within a bounded time, also when the peer does not answer, and soon after [`About::cancelled`].
//! - [`Fetch::read`] may give wrong or too few bytes; the plugin verifies them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::Config;
use crate::error::StoreError;
use crate::reference::{Place, Reference, StoreId};

#[cfg(feature = "directory-store")]
pub mod directory;
pub mod net;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Files go to the store.
    Backup,
    /// Files come from it.
    Restore,
}

/// The Bacula job of a session.
#[derive(Debug, Clone)]
pub struct About {
    /// What it does.
    pub purpose: Purpose,
    /// Bacula's number of it.
    pub job_id: u32,
    /// Bacula's unique name of it.
    pub job_name: String,
    /// Set when the operator cancels the job.
    pub cancelled: Arc<AtomicBool>,
}

/// What both sides count, each for itself, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// References that went to the volume.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// BLAKE3 over length (8 bytes, little-endian) and digest of each.
    pub digest: [u8; 32],
}

/// What a committed job cost, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// That went over the wire, both ways.
    pub wire: u64,
    /// Of chunks that the store did not have.
    pub new: u64,
    /// That those take on its disk.
    pub stored: u64,
}

/// The store's word that a job is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What it counted.
    pub totals: Totals,
    /// What that cost.
    pub costs: Costs,
}

/// A way to stores.
pub trait Store: Send + Sync {
    /// Begin a session.
    ///
    /// # Errors
    /// When the store that `config` names does not take it.
    fn connect(&self, config: &Config, about: &About) -> Result<Box<dyn Session>, StoreError>;

    /// What an operator must be told with every job; `None` in a product.
    fn warning(&self) -> Option<&'static str> {
        None
    }
}

/// One job's time with a store.
pub trait Session: Send {
    /// The store's name.
    fn store(&self) -> StoreId;

    /// Begin a file. One at a time; a put that is dropped is abandoned.
    ///
    /// # Errors
    /// All errors are fatal for the job.
    fn put(&mut self) -> Result<Box<dyn Put + '_>, StoreError>;

    /// Make everything durable, and agree on what it was.
    ///
    /// # Errors
    /// When there is no receipt.
    fn commit(&mut self, totals: &Totals) -> Result<Receipt, StoreError>;

    /// Begin to read a file.
    ///
    /// # Errors
    /// When the store does not have it, or cannot give it.
    fn fetch(&mut self, reference: &Reference) -> Result<Box<dyn Fetch + '_>, StoreError>;
}

/// A file on its way to the store.
pub trait Put {
    /// Take the next bytes.
    ///
    /// # Errors
    /// All errors are fatal for the job.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// The file had `length` bytes with the BLAKE3 `digest`; where it is.
    ///
    /// # Errors
    /// All errors are fatal for the job.
    fn finish(self: Box<Self>, length: u64, digest: &[u8; 32]) -> Result<Place, StoreError>;
}

/// A file on its way back.
pub trait Fetch {
    /// Fill a part of `buffer`; 0 at the end.
    ///
    /// # Errors
    /// When bytes are damaged, or the store is lost.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError>;
}
