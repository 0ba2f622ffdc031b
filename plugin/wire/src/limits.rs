//! Every bound of the channel, with the relation that justifies it.

use std::time::Duration;

/// Oldest and newest version of everything in this crate that this build speaks.
pub const VERSION_MIN: u16 = 1;
/// See [`VERSION_MIN`].
pub const VERSION_MAX: u16 = 1;

/// Bytes of a name in the handshake: Bacula's have at most 127.
pub const NAME_SIZE_MAX: usize = 128;
/// Bytes of a Noise message at most: an ephemeral key, three names with their lengths, a tag. All that anybody without
/// a key can make a daemon read and keep.
pub const HANDSHAKE_MESSAGE_SIZE_MAX: usize = 512;
const _: () = assert!(32 + 3 * (2 + NAME_SIZE_MAX) + 16 <= HANDSHAKE_MESSAGE_SIZE_MAX);
/// From the first byte to the last of a handshake, unless the caller says otherwise.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// Payload bytes of a record at most. Sealing is at its full speed from 16 KiB on; more would only make both ends keep
/// more memory for each connection.
pub const RECORD_PAYLOAD_MAX: usize = 256 << 10;
/// Bytes of a record's header, of its tag, and of the longest record.
pub const RECORD_HEADER_SIZE: usize = 5;
/// See [`RECORD_HEADER_SIZE`].
pub const RECORD_TAG_SIZE: usize = 16;
/// See [`RECORD_HEADER_SIZE`].
pub const RECORD_SIZE_MAX: usize = RECORD_HEADER_SIZE + RECORD_PAYLOAD_MAX + RECORD_TAG_SIZE;
/// Records in one direction at most. ChaCha20-Poly1305 would bear 2^64 under one key; this is 2^36, the bound of RFC
/// 9001 (6.6) for forgeries, which one connection ends at its first. With the smallest messages it is some TiB.
pub const RECORD_COUNT_MAX: u64 = 1 << 36;
/// From the first byte of a record to its last, unless the caller says otherwise: a peer that drips is a peer that is
/// stalled.
pub const RECORD_TIME_MAX: Duration = Duration::from_secs(60);
/// Sealed bytes that wait for a flush at most: fewer, larger writes for many small messages.
pub const UNSENT_SIZE_MAX: usize = 64 << 10;

/// Bytes of a chunk at most, as in the engine.
pub const CHUNK_SIZE_MAX: usize = 4 << 20;
/// Bytes of a message at most: the largest chunk and what says which it is.
pub const MESSAGE_SIZE_MAX: usize = CHUNK_SIZE_MAX + 64;
/// Chunks in one question at most.
pub const CHUNKS_PER_QUERY_MAX: usize = 4096;
/// Segments in one question at most.
pub const SEGMENTS_PER_QUERY_MAX: usize = 256;
/// Chunks of a segment at most.
pub const SEGMENT_CHUNKS_MAX: u16 = 1024;
/// Bytes of a segment at most: its length fits 32 bits, and a lost answer costs no more than this.
pub const SEGMENT_SIZE_MAX: u32 = 64 << 20;
const _: () = assert!(CHUNK_SIZE_MAX <= SEGMENT_SIZE_MAX as usize);
/// Bytes of a message's id, such as `GDD-FD-0040`, at most.
pub const TROUBLE_ID_SIZE_MAX: usize = 16;
/// Entries in one part of a recipe at most.
pub const ENTRIES_PER_PART_MAX: usize = 4096;
/// Bytes of a file's name at most: PATH_MAX of Linux.
pub const FILE_NAME_SIZE_MAX: usize = 4096;
/// Bytes of the text of an error at most.
pub const ERROR_TEXT_SIZE_MAX: usize = 512;
/// Bytes of a restore that one message carries at most: with its head it fits one record.
pub const DATA_SIZE_MAX: usize = RECORD_PAYLOAD_MAX - 64;
/// Bytes of a restore that may be asked for and not have come.
pub const WINDOW_MAX: u32 = 64 << 20;
// A question is one record: an entry has at most 45 bytes.
const _: () = assert!(CHUNKS_PER_QUERY_MAX * 45 + 64 <= RECORD_PAYLOAD_MAX);
