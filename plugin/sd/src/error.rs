//! What can go wrong in the driver. Every message has a stable id and names a remedy; all of them end the job.
//!
//! # Rules
//! - There is no "try again": a storage daemon that is told ENOSPC or EIO goes to the next volume and ends the job with
//!   "Backup OK". Whatever cannot be stored or read back is fatal for the job.
//! - An error is reported once, by the entry point where it stops.

use std::io;

use crate::block::SessionId;
use crate::store::{StoreError, StoreId, StreamId};

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call of the storage daemon failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store, or the way to it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An operating-system call on the volume file failed.
    #[error(
        "[GDD-SD-0101] cannot {action} {volume}: {source}; free space or repair the disk, then run the job again"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The volume's file.
        volume: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is no skeleton.
    #[error(
        "[GDD-SD-0102] {volume} is not a gdd volume: expected {expected}, found {found}; give the gdd device an \
         Archive Device and a Media Type of its own"
    )]
    NotOurs {
        /// The volume's file.
        volume: String,
        /// The magic of ours.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A skeleton from the future.
    #[error(
        "[GDD-SD-0103] {volume} has format version {found}, this driver reads up to {known}; upgrade gdd"
    )]
    Version {
        /// The volume's file.
        volume: String,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The skeleton itself is damaged.
    #[error(
        "[GDD-SD-0104] {volume} is damaged at byte {offset} of its file: {what}; restore the file from a copy, or take \
         the data from another job. Nothing was made up in its place"
    )]
    Damaged {
        /// The volume's file.
        volume: String,
        /// Where in the file.
        offset: u64,
        /// What was expected and found.
        what: String,
    },
    /// A block that was put together is not the one that was written.
    #[error(
        "[GDD-SD-0105] block at {position} of {volume}: XXH3 expected {expected:#018x}, found {found:#018x}; this is \
         the wrong store, or it is damaged: see `gdd fsck`. Nothing was handed out"
    )]
    Digest {
        /// The volume's file.
        volume: String,
        /// Logical position of the block.
        position: u64,
        /// As stored with the block.
        expected: u64,
        /// Of what was put together.
        found: u64,
    },
    /// The job has failed before.
    #[error("[GDD-SD-0107] session {}-{} has failed before, its blocks are refused; run the job again", .0.id, .0.time)]
    Dead(SessionId),
    /// The job was incomplete, and is resumed by another bacula-sd than it was begun by.
    #[error(
        "[GDD-SD-0117] session {}-{} was begun by another run of bacula-sd: this goes on with an incomplete job, and \
         whether all that its first run has sent was stored is not known any more; run the job anew, and set \
         Reschedule Incomplete Jobs = no in its Job resource", .0.id, .0.time
    )]
    Resumed(SessionId),
    /// A write into the middle.
    #[error(
        "[GDD-SD-0108] a block was to be written at {position} of {volume}, which ends at {end}; only appending is \
         supported: use a device of its own for this volume"
    )]
    Middle {
        /// The volume's file.
        volume: String,
        /// Where.
        position: u64,
        /// Logical size.
        end: u64,
    },
    /// The store acknowledged something else than what was sent.
    #[error(
        "[GDD-SD-0109] the receipt for stream {stream} says {found}, expected {expected}; run the job again, and \
         `gdd fsck` on the store"
    )]
    Receipt {
        /// The stream.
        stream: StreamId,
        /// Bytes and digest as counted here.
        expected: String,
        /// Bytes and digest in the receipt.
        found: String,
    },
    /// A write to a volume that is open for reading.
    #[error(
        "[GDD-SD-0110] {0} is open for reading only; close the device with `umount` and run the job again"
    )]
    ReadOnly(String),
    /// A panic was caught.
    #[error("[GDD-SD-0111] the driver failed ({0}); restart bacula-sd, run the job again, and report this")]
    Internal(String),
    /// No block has this size.
    #[error(
        "[GDD-SD-0112] a block of {found} bytes was to be written, expected 1 to {limit}; lower Maximum Block Size"
    )]
    Size {
        /// The size that was asked for.
        found: usize,
        /// The largest.
        limit: usize,
    },
    /// Append to a volume whose middle is damaged, or whose end could not be checked.
    #[error(
        "[GDD-SD-0113] {volume} cannot be appended to: {why}; `update volume` in bconsole: set it to Used"
    )]
    Sealed {
        /// The volume's file.
        volume: String,
        /// What is wrong with it.
        why: String,
    },
    /// A call without a volume.
    #[error(
        "[GDD-SD-0114] no volume is open on this device; `umount` and `mount` it, then run the job again"
    )]
    Closed,
    /// A volume of another store.
    #[error(
        "[GDD-SD-0116] {volume} belongs to store {expected}, and the gdd daemon serves {found}; start gdd on that \
         store, or on a replica of it (`gdd stats` shows which one a store is). Nothing was read or written"
    )]
    OtherStore {
        /// The volume's file.
        volume: String,
        /// The store in its header.
        expected: StoreId,
        /// The daemon's.
        found: StoreId,
    },
    /// Too many sessions at once.
    #[error("[GDD-SD-0115] {0} sessions are open on this device already; restart bacula-sd when no job runs")]
    Sessions(usize),
}

impl Error {
    /// Whether the way to the store broke: everything that was not finished is void.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Store(error) if error.lost)
    }
}

/// Names the file in an [`Error::Io`].
pub fn io_error<'a>(action: &'static str, volume: &'a str) -> impl Fn(io::Error) -> Error + use<'a> {
    move |source| Error::Io { action, volume: volume.to_owned(), source }
}
