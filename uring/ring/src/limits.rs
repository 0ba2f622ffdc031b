//! Every bound of a channel, with the relation that justifies it.

use crate::layout::LINE_SIZE;

/// Bytes of a kibibyte.
const KIB: u64 = 1024;
/// Bytes of a mebibyte.
const MIB: u64 = 1024 * KIB;

/// Bytes of the largest page of the machines that we run on (aarch64 may have 64 KiB; x86-64 has 4 KiB). Parts of a
/// channel that are mapped apart start at its multiples.
pub const PAGE_SIZE_MAX: u64 = 64 * KIB;

/// Data bytes of the smallest ring.
pub const CAPACITY_MIN: u64 = PAGE_SIZE_MAX;
/// Data bytes of the largest ring. A session holds this much memory from its first moment: it is a guard against a
/// wrong option, not a recommendation.
pub const CAPACITY_MAX: u64 = 1024 * MIB;
/// Data bytes of the ring from the plugin to the daemon, unless the daemon is told otherwise. What is in it is not yet
/// durable, so it covers one group commit (about 10 ms at 4 GB/s is 40 MiB).
pub const CAPACITY_UP: u64 = 64 * MIB;
/// Data bytes of the ring from the daemon to the plugin, unless the daemon is told otherwise.
pub const CAPACITY_DOWN: u64 = 32 * MIB;
const _: () = assert!(CAPACITY_MIN.is_power_of_two() && CAPACITY_MAX.is_power_of_two());
const _: () = assert!(CAPACITY_UP.is_power_of_two() && CAPACITY_DOWN.is_power_of_two());
const _: () = assert!(CAPACITY_MIN <= CAPACITY_DOWN && CAPACITY_UP <= CAPACITY_MAX);

/// Bytes of every unit in a ring: records start at its multiples, and counters are its multiples.
pub const UNIT_SIZE: u64 = 8;
/// Bytes of what precedes each payload.
pub const HEADER_SIZE: u64 = 24;
const _: () = assert!(HEADER_SIZE.is_multiple_of(UNIT_SIZE));

/// Bytes of the largest payload in a large ring: two of Bacula's largest blocks (4 000 000 bytes).
pub const PAYLOAD_SIZE_MAX: u64 = 8 * MIB;
const _: () = assert!(PAYLOAD_SIZE_MAX < u32::MAX as u64); // The length of a payload is a u32.

/// Where both counters of a new ring stand: one unit below the wrap of `u64`. So every session wraps its counters with
/// its first message, and that path is the one that is always tested.
pub const COUNTER_FIRST: u64 = u64::MAX - (UNIT_SIZE - 1);
const _: () = assert!(COUNTER_FIRST.is_multiple_of(UNIT_SIZE));

/// Longest sleep before a sleeper looks for itself, in milliseconds: a peer that does not ring costs this, not a hang.
pub const SLEEP_MS_MAX: u64 = 100;
/// Longest spin before a sleep, in microseconds; only with more than `SPIN_CORES_MORE_THAN` cores.
pub const SPIN_US_MAX: u64 = 20;
/// With so few cores, spinning takes the core that the peer needs.
pub const SPIN_CORES_MORE_THAN: usize = 2;

/// Bytes of the largest packet on the control socket.
pub const PACKET_SIZE_MAX: usize = 4096;
/// File descriptors in one packet at most.
pub const PACKET_FDS_MAX: usize = 4;

/// Bytes of the largest payload that a ring of `capacity` bytes takes: half of it, so that one message can be written
/// while another is read.
#[must_use]
pub const fn payload_size_max(capacity: u64) -> u64 {
    let half = capacity / 2 - HEADER_SIZE;
    if half < PAYLOAD_SIZE_MAX { half } else { PAYLOAD_SIZE_MAX }
}
const _: () = assert!(HEADER_SIZE + payload_size_max(CAPACITY_MIN) <= CAPACITY_MIN);
const _: () = assert!(CAPACITY_MIN > 4 * LINE_SIZE as u64);
