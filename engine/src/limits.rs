//! Every bound of the store, with the relation that justifies it.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Unit of direct I/O and of every aligned structure, in bytes.
pub const BLOCK_SIZE: u64 = 4 * KIB;

/// Largest chunk in bytes, whatever the chunking parameters.
pub const CHUNK_SIZE_MAX: u64 = 4 * MIB;

/// Bytes of stream handed to one worker at a time, and the most new data that a segment holds per worker.
pub const EXTENT_SIZE: u64 = 4 * MIB;

/// Bytes of a batch buffer when chunks are small; larger chunks get a larger buffer (see `container::writer`).
pub const BATCH_SIZE: u64 = MIB;

/// Default container capacity in bytes.
pub const CONTAINER_SIZE_DEFAULT: u64 = 128 * MIB;
/// Smallest container capacity (the simulator's): room for a header, one batch and a footer.
pub const CONTAINER_SIZE_MIN: u64 = 64 * KIB;
/// Largest container capacity: offsets inside a container are 32-bit.
pub const CONTAINER_SIZE_MAX: u64 = 1 << 30;
const _: () = assert!(CONTAINER_SIZE_MAX < u32::MAX as u64);

/// New bytes that a worker may have appended without a group commit. Bounds the pending map and the recovery scan.
pub const UNCOMMITTED_BYTES_MAX: u64 = 512 * MIB;

/// New bytes after which a worker commits although nobody waits: the end of a stream has no more than that to wait for.
pub const COMMIT_BYTES: u64 = 128 * MIB;
const _: () = assert!(COMMIT_BYTES < UNCOMMITTED_BYTES_MAX);

/// Longest stream name in bytes: it fits the recipe's header block.
pub const STREAM_NAME_MAX: usize = 1024;

/// Workers (engine threads) in one store.
pub const WORKERS_MAX: usize = 64;
