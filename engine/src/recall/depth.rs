//! How many pieces to keep in flight: as many as make this device faster, and no more.
//!
//! Ask too little and a disk idles between requests; ask too much and a chunk wanted now waits behind others that are
//! not. What `/sys` says of a device is not believed (virtual disks claim to rotate); what counts is whether twice the
//! depth brought more bytes per second. Counted only while the device is the bottleneck.
//!
//! Starts low, doubles while that pays, then stays, and now and then looks again.

use std::time::Duration;

/// Pieces in flight at first.
const DEPTH_START: usize = 16;
/// Fewest pieces in flight.
const DEPTH_MIN: usize = 4;
/// Pieces of one measurement.
const PIECES_PER_LOOK: u32 = 64;
/// Measurements between two searches.
const LOOKS_OF_REST: u32 = 64;
/// Doubling must bring one part in so many to be kept.
const GAIN_SHARE: u64 = 8;

/// See the module.
#[derive(Clone, Debug)]
pub struct Depth {
    depth: usize,
    depth_max: usize,
    /// Rate before the last doubling, bytes per second; none while resting.
    before: Option<u64>,
    searching: bool,
    rest: u32,
    since: Option<Duration>,
    pieces: u32,
    bytes: u64,
}

impl Depth {
    /// For a door that takes `capacity` operations.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let depth_max = capacity.max(1);
        Self {
            depth: DEPTH_START.min(depth_max),
            depth_max,
            before: None,
            searching: true,
            rest: 0,
            since: None,
            pieces: 0,
            bytes: 0,
        }
    }

    /// Pieces to keep in flight.
    #[must_use]
    pub fn get(&self) -> usize {
        self.depth
    }

    /// The device was not kept busy: what was counted says nothing about it.
    pub fn starved(&mut self) {
        self.since = None;
    }

    /// A piece of `bytes` came at `now`.
    pub fn arrived(&mut self, bytes: usize, now: Duration) {
        let Some(since) = self.since else {
            (self.since, self.pieces, self.bytes) = (Some(now), 0, 0);
            return;
        };
        self.pieces += 1;
        self.bytes += bytes as u64;
        if self.pieces < PIECES_PER_LOOK {
            return;
        }
        let nanoseconds = (now.saturating_sub(since)).as_nanos().max(1);
        let rate = u64::try_from(u128::from(self.bytes) * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX);
        self.since = None;
        self.judge(rate);
    }

    fn judge(&mut self, rate: u64) {
        if !self.searching {
            self.rest += 1;
            if self.rest >= LOOKS_OF_REST {
                (self.searching, self.rest) = (true, 0);
                self.depth = (self.depth / 2).clamp(DEPTH_MIN.min(self.depth_max), self.depth_max);
            }
            return;
        }
        let paid = self.before.is_none_or(|before| rate > before.saturating_add(before / GAIN_SHARE));
        if paid && self.depth < self.depth_max {
            self.before = Some(rate);
            self.depth = (self.depth * 2).min(self.depth_max);
        } else {
            if !paid {
                self.depth = (self.depth / 2).max(1);
            }
            (self.searching, self.before) = (false, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that serves `width` pieces at a time in `latency` each; returns the depth it is given in the end.
    fn settle(width: usize, capacity: usize, pieces: usize) -> (usize, Vec<usize>) {
        let latency = Duration::from_millis(1);
        let mut depth = Depth::new(capacity);
        let (mut now, mut seen) = (Duration::ZERO, Vec::new());
        for _ in 0..pieces {
            let in_service = u32::try_from(depth.get().min(width)).unwrap();
            now += latency / in_service;
            depth.arrived(512 << 10, now);
            seen.push(depth.get());
        }
        (depth.get(), seen)
    }

    #[test]
    fn a_wide_device_is_asked_for_more_and_a_narrow_one_is_not() {
        assert_eq!(settle(64, 32, 1000).0, 32);
        assert_eq!(settle(16, 32, 1000).0, 16);
        assert_eq!(settle(1, 32, 1000).0, 16);
    }

    #[test]
    fn it_looks_again_and_stays_in_bounds() {
        let (_, seen) = settle(1, 32, 100_000);
        assert!(seen.iter().all(|depth| (1..=32).contains(depth)));
        assert_eq!(*seen.last().unwrap(), 4, "a narrow device ends at the least");
        assert!(settle(64, 2, 10_000).1.iter().all(|depth| (1..=2).contains(depth)));
    }

    #[test]
    fn a_starved_device_is_not_judged() {
        let mut depth = Depth::new(32);
        for n in 0..10_000u32 {
            depth.starved();
            depth.arrived(1, Duration::from_secs(u64::from(n)));
        }
        assert_eq!(depth.get(), 16);
    }
}
