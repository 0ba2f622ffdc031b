//! How much of a stream is read ahead: little where it lies in one piece, much where it is scattered.
//!
//! Where the stream's chunks lie side by side, more than what keeps the device busy gains nothing, and costs: memory
//! used long ago has left the CPU's caches, and memory never used must be found first. Where they are scattered, a long
//! window brings chunks of the same places together into one read.

use super::plan::Read;

/// Of what is in flight, a window has three for two: what was read is checked and handed out meanwhile.
const SHARE: (usize, usize) = (3, 2);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Width {
    bytes_max: usize,
    read_max: u64,
    scattered: bool,
}

impl Width {
    /// At most `bytes_max`, for reads of at most `read_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize, read_max: u64) -> Self {
        Self { bytes_max, read_max, scattered: false }
    }

    /// A batch is read in this way. Scattered is one whose reads are not half as long as they might be.
    pub fn planned(&mut self, reads: &[Read]) {
        let bytes: u64 = reads.iter().map(|read| read.len as u64).sum();
        self.scattered = reads.len() > 1 && bytes / (reads.len() as u64) < self.read_max / 2;
    }

    /// Bytes of the window, where `in_flight` bytes keep the device busy.
    #[must_use]
    pub fn bytes(&self, in_flight: usize) -> usize {
        if self.scattered { self.bytes_max } else { (in_flight / SHARE.1 * SHARE.0).min(self.bytes_max) }
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
        assert_eq!(width.bytes(8 * MIB), 12 * MIB);
        assert_eq!(width.bytes(32 * MIB), 32 * MIB, "never more than allowed");
        width.planned(&reads(50, 60_000));
        assert_eq!(width.bytes(8 * MIB), 32 * MIB);
        width.planned(&reads(3, MIB));
        assert_eq!(width.bytes(8 * MIB), 12 * MIB, "it is straight again");
        width.planned(&reads(1, 4096));
        assert_eq!(width.bytes(8 * MIB), 12 * MIB, "one read is not scattered");
    }
}
