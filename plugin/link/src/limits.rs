//! Every bound of the conversation, with the relation that justifies it.

use std::time::Duration;

/// Version of everything in this crate. Ends with different ones do not talk. 2: the welcome names the store.
pub const VERSION: u32 = 2;

/// A peer that was silent for so long, while something was owed, is lost.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a driver that only looks asks for a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
const _: () = assert!(HEARTBEAT.as_secs() * 10 < SILENCE_MAX.as_secs());

/// Bytes of the longest text in a message. Bacula's names have at most 127.
pub const TEXT_SIZE_MAX: usize = 1024;

/// Payload bytes in one message at most, either way: many fit the smallest useful ring, so that one can be written
/// while another is read.
pub const PART_SIZE_MAX: usize = 128 << 10;
/// Bytes of recalls that were asked for and have not come, at most. They fit the smallest ring down that is offered,
/// so a daemon that answers one never waits for a driver that waits for another answer.
pub const AHEAD_MAX: u64 = 4 << 20;
/// Bytes of the smallest ring that the daemon of this version offers for recalls.
pub const CAPACITY_DOWN_MIN: u64 = 8 << 20;
const _: () = assert!(AHEAD_MAX + (AHEAD_MAX / PART_SIZE_MAX as u64 + 64) * 1024 < CAPACITY_DOWN_MIN);
