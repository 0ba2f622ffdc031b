//! What storing a stream did, for people and programs.

use super::slices::SliceTotals;
use crate::format::recipe::ChunkParams;

/// From where on a stream was cut with other chunk sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Switch {
    /// Byte of the stream.
    pub at: u64,
    /// Bytes.
    pub chunk_size_min: u32,
    /// Bytes.
    pub chunk_size_avg: u32,
    /// Bytes.
    pub chunk_size_max: u32,
}

/// What storing a stream did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PutSummary {
    /// The stream's name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Bytes of its chunks that the store did not have.
    pub new_bytes: u64,
    /// The same after compression, as they lie in containers.
    pub stored_bytes: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Those that the store did not have.
    pub new_chunks: u64,
    /// Bytes of chunks that the store had, and that were stored again beside the new ones to be restored faster.
    pub rewritten_bytes: u64,
    /// Those chunks.
    pub rewritten_chunks: u64,
    /// `bytes / new_bytes`; 0 when nothing was new.
    pub dedup_ratio: f64,
    /// From the start to the durable end.
    pub seconds: f64,
    /// `bytes / seconds`.
    pub throughput_bytes_per_second: f64,
    /// What its earlier and later versions have in common, if somebody said.
    pub lineage: Option<String>,
    /// What of it was stored as slices of older chunks, where that was tried.
    pub slices: Option<SliceTotals>,
    /// Bytes; how it was cut from its start.
    pub chunk_size_min: u32,
    /// Bytes.
    pub chunk_size_avg: u32,
    /// Bytes.
    pub chunk_size_max: u32,
    /// Other chunk sizes for the rest of it, if the tuner has chosen some.
    pub chunk_size_switch: Option<Switch>,
    /// Why these sizes: a sentence for the operator.
    pub chunk_size_why: String,
}

/// From where on it was cut otherwise.
pub(super) fn switch_of((at, sizes): (u64, ChunkParams)) -> Switch {
    Switch { at, chunk_size_min: sizes.min, chunk_size_avg: sizes.avg, chunk_size_max: sizes.max }
}

/// For rates.
#[expect(clippy::cast_precision_loss, reason = "a rate for people needs no more than 53 bits")]
pub(super) fn to_float(bytes: u64) -> f64 {
    bytes as f64
}

/// How many times larger a stream is than what was new of it; 0 when nothing was.
pub(super) fn ratio(bytes: u64, new_bytes: u64) -> f64 {
    if new_bytes == 0 { 0.0 } else { to_float(bytes) / to_float(new_bytes) }
}
