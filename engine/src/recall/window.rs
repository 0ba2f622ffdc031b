//! How much of a stream is read ahead: little where it lies in one piece, much where it is scattered, or comes slowly.
//!
//! Where the stream's chunks lie side by side, more than what keeps the device busy gains nothing, and costs: memory
//! used long ago has left the CPU's caches, and memory never used must be found first. Where they are scattered, a long
//! window brings chunks of the same places together into one read. And where the device is slow, caches are not what
//! anybody waits for, and a head that goes from one worker's container to the next one's may be: there, too, the window
//! is long, and is filled in long parts, within each of which a head goes forward.

use std::time::Duration;

use super::plan::Read;

/// Of what is in flight, a window has three for two: what was read is checked and handed out meanwhile.
const SHARE: (usize, usize) = (3, 2);

/// A window is filled in so many parts: while one is handed out, the others are on their way. From a slow device all
/// but one come together: what is left lasts for longer than planning takes.
const PARTS: usize = 4;

/// A stream of which less comes in a second is slow. Devices without a head are faster.
const SLOW: u64 = 500_000_000;

/// So much is looked at together, bytes.
const LOOK: u64 = 32 << 20;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Width {
    bytes_max: usize,
    read_max: u64,
    scattered: bool,
    slow: bool,
    /// Planned since then.
    bytes: u64,
    since: Option<Duration>,
}

impl Width {
    /// At most `bytes_max`, for reads of at most `read_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize, read_max: u64) -> Self {
        Self { bytes_max, read_max, scattered: false, slow: false, bytes: 0, since: None }
    }

    /// A batch is read in this way, from `now` on. Scattered is one whose reads are not half as long as they might be.
    pub fn planned(&mut self, reads: &[Read], now: Duration) {
        let bytes: u64 = reads.iter().map(|read| read.len as u64).sum();
        let since = *self.since.get_or_insert(now);
        if self.bytes >= LOOK {
            let rate = u128::from(self.bytes) * 1_000_000_000 / now.saturating_sub(since).as_nanos().max(1);
            self.slow = rate < u128::from(SLOW);
            (self.since, self.bytes) = (Some(now), 0);
        }
        self.bytes += bytes;
        self.scattered = reads.len() > 1 && bytes / (reads.len() as u64) < self.read_max / 2;
    }

    /// Bytes of the window, and how many of them are planned together, where `in_flight` bytes keep the device busy.
    #[must_use]
    pub fn bytes(&self, in_flight: usize) -> (usize, usize) {
        let most = self.bytes_max;
        let window =
            if self.scattered || self.slow { most } else { (in_flight / SHARE.1 * SHARE.0).min(most) };
        let part = window / PARTS;
        (window, if self.slow { window - part } else { part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ContainerId;

    const MIB: usize = 1 << 20;

    fn reads(count: usize, len: usize) -> Vec<Read> {
        let read = Read { container: ContainerId(1), start: 0, len, raw_len: 0, records: Vec::new() };
        vec![read; count]
    }

    #[test]
    fn a_scattered_stream_has_all_of_the_window_and_a_straight_one_what_the_device_needs() {
        let mut width = Width::new(32 * MIB, MIB as u64);
        assert_eq!(width.bytes(8 * MIB).0, 12 * MIB);
        assert_eq!(width.bytes(32 * MIB).0, 32 * MIB, "never more than allowed");
        width.planned(&reads(50, 60_000), Duration::ZERO);
        assert_eq!(width.bytes(8 * MIB).0, 32 * MIB);
        width.planned(&reads(3, MIB), Duration::ZERO);
        assert_eq!(width.bytes(8 * MIB).0, 12 * MIB, "it is straight again");
        width.planned(&reads(1, 4096), Duration::ZERO);
        assert_eq!(width.bytes(8 * MIB).0, 12 * MIB, "one read is not scattered");
    }
    #[test]
    fn a_slow_stream_has_all_of_the_window_until_it_is_fast_again() {
        let mut width = Width::new(32 * MIB, MIB as u64);
        let mut batch = |milliseconds| {
            width.planned(&reads(32, MIB), Duration::from_millis(milliseconds));
            let (window, part) = width.bytes(8 * MIB);
            (window / MIB, part / MIB)
        };
        assert_eq!(batch(1000), (12, 3), "nothing is known yet");
        assert_eq!(batch(1200), (32, 24), "168 MB/s");
        assert_eq!(batch(1400), (32, 24));
        assert_eq!(batch(1410), (12, 3), "3.4 GB/s");
        assert_eq!(batch(1410), (12, 3), "a clock that stands still");
        assert_eq!(batch(0), (12, 3), "or goes back");
    }
}
