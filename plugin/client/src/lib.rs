//! The client's side of bothsides mode: a backup or a restore of one job over one connection to the daemon.
//!
//! A [`Backup`] cuts what it is given with the daemon's chunk sizes, asks whether the daemon knows it, segments
//! first, and sends what it does not. A [`Restore`] asks for ranges of a stream, several at once, and verifies each
//! chunk. Many questions are under way at a time, so that the distance to the daemon costs time once and not for each
//! of them.
//!
//! # Invariants
//! - Nothing reconnects. After the first error every call fails, and whoever has no receipt has no backup.
//! - [`Backup::commit`] returns only when the daemon's totals equal those that were counted here.
//! - A restore hands out nothing whose BLAKE3 is not the one that came with it, and nothing out of its place.
//! - Every wait ends: after [`Limits::silence`] without a sign of the daemon, and soon after `cancelled` is set. One
//!   thread for each connection listens and keeps this promise, and takes what comes whatever the others do, so that
//!   two full socket buffers never wait for each other.
//! - Memory is bounded by [`Limits::memory`] and one segment, or by [`Limits::window`].
//!
//! What this does not do: verify whole files; who has a file's digest does that.

mod backup;
mod cutter;
mod error;
mod line;
mod link;
mod listener;
pub mod reference;
mod restore;
mod settings;

pub use backup::{Backup, Outcome, Place};
pub use error::ClientError;
pub use line::{Line, dial};
pub use restore::{Fetching, Restore};
pub use settings::{Limits, Settings};
