//! A rate over time: bytes are counted as they pass, and looked at now and then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::size::to_float;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// See the module. `Relaxed` throughout: the numbers are for a picture.
#[derive(Debug, Default)]
pub struct Sampler {
    bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Sampler {
    /// Bytes have passed.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Do `work`, which counts its bytes here. Returns seconds since its start, each with the bytes per second since
    /// the look before; the last is its end.
    pub fn during<T: Send>(work: impl FnOnce(&Self) -> T + Send) -> (T, Vec<(f64, f64)>) {
        let sampler = Self::default();
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| sampler.look());
            let done = work(&sampler);
            sampler.is_over.store(true, Ordering::Relaxed);
            looking.thread().unpark();
            (done, looking.join().unwrap_or_default())
        })
    }

    fn look(&self) -> Vec<(f64, f64)> {
        let started = Instant::now();
        let mut seen = vec![(Duration::ZERO, 0)];
        while !self.is_over.load(Ordering::Relaxed) {
            // From the look before, however late that was: two looks close together show a rate that never was.
            let due = seen.last().map_or(Duration::ZERO, |last: &(Duration, u64)| last.0) + LOOK_EVERY;
            std::thread::park_timeout(due.saturating_sub(started.elapsed()));
            if started.elapsed() >= due {
                seen.push((started.elapsed(), self.bytes.load(Ordering::Relaxed)));
            }
        }
        // The end belongs to the look before when it follows closely: a rate over an instant means nothing.
        let end = (started.elapsed(), self.bytes.load(Ordering::Relaxed));
        seen.pop_if(|last| !last.0.is_zero() && end.0 - last.0 < LOOK_EVERY / 2);
        seen.push(end);
        let rate = |pair: &[(Duration, u64)]| {
            let seconds = (pair[1].0 - pair[0].0).as_secs_f64().max(1e-9);
            (pair[1].0.as_secs_f64(), to_float(pair[1].1 - pair[0].1) / seconds)
        };
        seen.windows(2).map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_in_the_rates() {
        let (done, points) = Sampler::during(|sampler| {
            for _ in 0..20 {
                sampler.add(1_000_000);
                std::thread::sleep(Duration::from_millis(10));
            }
            7
        });
        let (mut last, mut bytes) = (0.0, 0.0);
        for (at, rate) in &points {
            assert!(*at > last, "{points:?}");
            bytes += rate * (at - last);
            last = *at;
        }
        assert_eq!(done, 7);
        assert!((bytes - 20e6).abs() < 1.0 && points.len() >= 2, "{points:?}");
    }
}
