//! The store: streams in, unique chunks in containers, streams out, byte for byte.
//!
//! ```text
//! put:  bytes -> extents -> cut -> hash -> known? -> container -> data sync -> index commit -> recipe -> done
//! get:  recipe -> locate -> plan -> read ahead -> verify -> hand out
//! ```
//!
//! A stage never imports a later one; [`store`] ties them together. Knows chunks, containers and streams; not Bacula,
//! sockets or flags. The bytes on disk are drawn in FORMAT.md, the threads in docs/architecture.md.

pub mod ballast;
pub mod commit;
pub mod compress;
pub mod container;
pub mod copy;
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
pub mod leaving;
pub mod limits;
pub mod locality;
pub mod observe;
pub mod opening;
pub mod options;
pub mod pace;
pub mod paths;
pub mod planted;
pub mod poison;
pub mod progress;
pub mod rebuild;
pub mod recall;
pub mod recipe;
pub mod recover;
pub mod repair;
pub mod scrub;
pub mod sealed;
pub mod shard;
pub mod stats;
pub mod stepped;
pub mod store;
pub mod superblocks;
pub mod suspects;
#[cfg(test)]
mod testing;
pub mod tuner;
pub mod unchecked;
pub mod vacuum;
pub mod visits;
