//! Latencies as HDR histograms: what a chunk costs half of the time, and what it costs when it is slow.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use gdd_engine::observe::write_hgrm;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::{Failure, Result};

/// Longest latency told apart, in nanoseconds: a minute.
const NS_MAX: u64 = 60_000_000_000;

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Measurements.
    pub count: u64,
    /// Half were no slower.
    pub p50: f64,
    /// Nine in ten were no slower.
    pub p90: f64,
    /// 99 in a hundred were no slower.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// One kind of access to chunks of one size.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// For tables.
    pub name: String,
    histogram: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let histogram = Histogram::new_with_bounds(1, NS_MAX, 3).expect("the bounds are in order");
        Self { name: name.into(), histogram }
    }

    /// What the engine recorded, in nanoseconds.
    #[must_use]
    pub fn of(name: impl Into<String>, histogram: Histogram<u64>) -> Self {
        Self { name: name.into(), histogram }
    }

    /// Note one.
    pub fn add(&mut self, latency: Duration) {
        self.histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(NS_MAX));
    }

    /// The percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |percentile| microseconds(self.histogram.value_at_percentile(percentile));
        let count = self.histogram.len();
        Percentiles {
            count,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            max: microseconds(self.histogram.max()),
        }
    }

    /// All of them, in nanoseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Write the distribution as HdrHistogram's tools do.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path, size: &str) -> Result<()> {
        let path = folder.join(format!("{}-{size}.hgrm", self.name.replace(", ", "-").replace(' ', "-")));
        let file = File::create(&path).map_err(Failure::file("create", &path))?;
        write_hgrm(&self.histogram, &mut BufWriter::new(file)).map_err(Failure::file("write", &path))
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    crate::size::to_float(nanoseconds) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latencies = Latencies::new("test, it");
        (1..=100).for_each(|count| latencies.add(Duration::from_micros(count)));
        let found = latencies.percentiles();
        assert_eq!(found.count, 100);
        for (found, wanted) in [(found.p50, 50.0), (found.p90, 90.0), (found.p99, 99.0), (found.max, 100.0)] {
            assert!((found - wanted).abs() < 0.2, "{found} {wanted}");
        }
        let folder = tempfile::tempdir().unwrap();
        latencies.write(folder.path(), "64k").unwrap();
        let text = std::fs::read_to_string(folder.path().join("test-it-64k.hgrm")).unwrap();
        assert!(text.contains("Percentile"), "{text}");
        let curve = crate::bench::chart::curve(latencies.histogram());
        assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1) && curve.len() > 5, "{curve:?}");
    }
}
