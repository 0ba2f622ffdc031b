//! The index: where each chunk lies, how far each container is durable, and which streams exist.
//!
//! It answers the question that no single container can: is this chunk already stored? It is a cache: everything in
//! it can be rebuilt from containers and recipes (`gdd rebuild-index`), so damage here costs time, never data.
//!
//! # Durability contract
//! - [`Index::commit`] is atomic, and durable when it returns `Ok`. It is called only after the data it names is
//!   durable.
//! - A crash during a commit leaves all of it or nothing.
//! - After a failed commit nobody knows what is on disk: the index refuses everything until the store is reopened,
//!   which runs recovery.

pub mod batch;
#[cfg(test)]
mod conformance;
pub mod keys;
pub mod rocks;
mod rocks_options;
pub mod simulated;
mod tables;

pub use batch::Batch;
pub use keys::checked::CheckedRow;
pub use keys::chunk::{ChunkEntry, Status};
pub use keys::container::{ContainerRow, ContainerState};
pub use keys::holding::Holding;
pub use keys::meta::MetaKey;
pub use keys::recipe::{RecipeRow, RecipeState};

use crate::error::Result;
use crate::ids::{ChunkHash, ContainerId, DomainTag};

/// What an index has done and takes, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IndexStatistics {
    /// Chunks asked for.
    pub lookups: u64,
    /// Of those, chunks found.
    pub hits: u64,
    /// Commits made.
    pub commits: u64,
    /// Chunk rows written by them.
    pub chunks_committed: u64,
    /// Bytes on disk, logs included.
    pub disk_bytes: u64,
    /// Bytes of memory: write buffers, table readers, block cache.
    pub memory_bytes: u64,
}

/// See the module. Shared by all threads of a store.
pub trait Index: Send + Sync {
    /// Look up `hashes`; `out` is cleared, then holds one answer for each, in the same order. Condemned and corrupted
    /// chunks are reported as such: the caller decides.
    ///
    /// # Errors
    /// A row or a table file is damaged, or the index is poisoned.
    fn locate(&self, hashes: &[ChunkHash], out: &mut Vec<Option<ChunkEntry>>) -> Result<()>;

    /// Which of `hashes` somebody of `domain` has brought; `out` is cleared, then holds one answer for each, in the
    /// same order. Whether they are still stored is another question.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn holds(&self, domain: DomainTag, hashes: &[ChunkHash], out: &mut Vec<bool>) -> Result<()>;

    /// Every chunk whose stored copy is not to be relied on, in the order of hashes.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn suspects(&self) -> Result<Vec<ChunkHash>>;

    /// When each container was last checked, of those that were, by id.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn checked(&self) -> Result<Vec<(ContainerId, CheckedRow)>>;

    /// Apply `batch` atomically and durably.
    ///
    /// # Errors
    /// The outcome is unknown, and the index is poisoned from here on.
    fn commit(&self, batch: Batch) -> Result<()>;

    /// Every container, by id.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn containers(&self) -> Result<Vec<(ContainerId, ContainerRow)>>;

    /// One container's row.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn container(&self, id: ContainerId) -> Result<Option<ContainerRow>>;

    /// Every stream, by name, those being removed included.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn recipes(&self) -> Result<Vec<RecipeRow>>;

    /// The stream of this name.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn recipe(&self, name: &str) -> Result<Option<RecipeRow>>;

    /// Visit every chunk in the order of hashes, as of one moment. Stops at the first error of `visit`.
    ///
    /// # Errors
    /// As [`Index::locate`], or `visit`'s own.
    fn for_each_chunk(&self, visit: &mut dyn FnMut(ChunkHash, ChunkEntry) -> Result<()>) -> Result<()>;

    /// Number of chunks, roughly.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn chunk_count_estimate(&self) -> Result<u64>;

    /// The value last put under `key`.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>>;

    /// What it has done and takes.
    fn statistics(&self) -> IndexStatistics;

    /// Write out what is in memory only for speed, so that the next open is quick. Everything committed is durable
    /// without it. Refuses commits afterwards.
    ///
    /// # Errors
    /// As [`Index::commit`].
    fn close(&self) -> Result<()>;
}
