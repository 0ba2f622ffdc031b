//! Histograms in the forms that HdrHistogram's own tools read: as text for its plotter (`.hgrm`), and whole, in base64.

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// Steps per half of the distance to 100 %, as other writers of this format have it.
const TICKS_PER_HALF: u32 = 5;

/// Values are recorded in nanoseconds and written in microseconds.
const NS_PER_US: f64 = 1000.0;

/// Write the percentile distribution of `histogram` to `out`.
///
/// # Errors
/// As `out`.
#[expect(clippy::cast_precision_loss, reason = "latencies and counts for a plot")]
pub fn write_hgrm(histogram: &Histogram<u64>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / NS_PER_US, step.quantile_iterated_to());
        if quantile < 1.0 {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {total:>10}")?;
        }
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_US, histogram.stdev() / NS_PER_US);
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let max = histogram.max() as f64 / NS_PER_US;
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {:>12}]", histogram.len())?;
    let (buckets, halves) = (histogram.buckets(), histogram.distinct_values());
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {halves:>12}]")
}

/// The whole histogram: HdrHistogram's format V2, compressed, in base64, as its log files have it.
#[must_use]
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.expect("memory takes every histogram of counts that fit 63 bits");
    BASE64_STANDARD.encode(bytes)
}

/// The histogram that [`encode`] wrote.
///
/// # Errors
/// A sentence: the text is none.
pub fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("no base64: {error}"))?;
    let read = Deserializer::new().deserialize(&mut bytes.as_slice());
    read.map_err(|error| format!("no histogram in HdrHistogram's format V2: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_comes_back_from_base64() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000).for_each(|n| histogram.record(n * n).unwrap());
        let text = encode(&histogram);
        assert!(text.starts_with("HISTFAAA"), "the mark by which other tools know it: {text}");
        assert_eq!(decode(&text).unwrap(), histogram);
        assert!(decode("").is_err() && decode("HISTFAAA").is_err() && decode("?").is_err());
    }

    #[test]
    fn percentiles_rise_to_the_total() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000).for_each(|n| histogram.record(n * 1000).unwrap());
        let mut out = Vec::new();
        write_hgrm(&histogram, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(
            rows.len() > 10 && rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]),
            "{text}"
        );
        let last = rows.last().unwrap();
        assert!((last[0] - 1000.0).abs() < 1.0 && (last[2] - 1000.0).abs() < 0.5, "{last:?}");
        assert!(text.contains("Total count    =         1000"), "{text}");
    }
}
