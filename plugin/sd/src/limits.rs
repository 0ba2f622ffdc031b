//! Every bound of the driver, with the relation that justifies it.

/// Largest block that Bacula itself accepts, in bytes.
pub const BLOCK_SIZE_MAX: usize = 20_000_000;

/// Largest body of a skeleton entry in bytes: a verbatim block, or a parsed one whose records are all literal and of
/// length 0, each of which may take three bytes more than in the block (see `skeleton::group`).
pub const ENTRY_BODY_MAX: usize = 2 * BLOCK_SIZE_MAX;

/// Blocks in a group: what a seek reads and decodes at most before the block that it wants.
pub const GROUP_BLOCKS_MAX: u32 = 64;
/// Skeleton bytes in a group, except that the last entry may go beyond.
pub const GROUP_SIZE_MAX: u64 = 256 * 1024;

/// Bytes of payload in one patch entry.
pub const PATCH_SIZE_MAX: usize = 1 << 20;
const _: () = assert!(PATCH_SIZE_MAX + 64 <= ENTRY_BODY_MAX);

/// Bytes of the skeleton read at a time.
pub const READ_SIZE: usize = 256 * 1024;

/// Dead sessions that a process remembers one by one: 180 failed jobs a day for a year. Of older ones it remembers that
/// there were some, and lets none begin again.
pub const DEAD_SESSIONS_MAX: usize = 65_536;

/// Sessions with state. A job that vanishes without its end label leaves one behind.
pub const SESSIONS_MAX: usize = 4096;
