//! The storage daemon's driver: bacula-sd loads it, and every job on its device is deduplicated, while volumes,
//! catalog, restores and tools behave as operators know them.
//!
//! bacula-sd writes blocks of 64 KiB or so, in which files, metadata and headers alternate, shifted by every block
//! boundary: a deduplicating store that is given blocks finds nothing twice. So each block is taken apart as it is
//! written. The content of files goes to the daemon as one stream per job and volume; all the rest stays in the
//! volume's file, the *skeleton*, which is some thousandths of the size. Reading puts the exact bytes together again
//! and verifies them before Bacula sees one.
//!
//! # Invariants
//! - Bacula hears of success only after the daemon's receipt.
//! - A block comes back bit by bit as it was written, or the job ends in error. Nothing is filled up, skipped or
//!   shortened.
//! - Nothing unwinds into Bacula, no thread of ours runs in it, and nothing of the store's code is in it.
//!
//! Layers, each knowing only those before: `bytes`, `block` and `record`, `process`, `session`, `skeleton`, `volume`,
//! `device`, `driver`. The way to the daemon is behind [`store::Store`].

pub mod block;
pub mod bytes;
pub mod config;
pub mod device;
pub mod driver;
pub mod error;
pub mod label;
pub mod limits;
pub mod process;
pub mod record;
pub mod session;
pub mod skeleton;
pub mod store;
pub mod volume;
