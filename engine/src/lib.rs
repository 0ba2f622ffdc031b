//! The store.

pub mod commit;
pub mod compress;
pub mod container;
pub mod core;
pub mod driver;
pub mod error;
pub mod filter;
pub mod format;
pub mod fsck;
pub mod get;
pub mod ids;
pub mod index;
pub mod ingest;
pub mod limits;
pub mod locality;
pub mod options;
pub mod paths;
pub mod poison;
pub mod progress;
pub mod rebuild;
pub mod recipe;
pub mod recover;
pub mod shard;
pub mod stats;
pub mod store;
pub mod superblocks;
#[cfg(test)]
mod testing;
