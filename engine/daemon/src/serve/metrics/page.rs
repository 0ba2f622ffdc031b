//! A page in Prometheus' text exposition format 0.0.4.
//!
//! # Invariants
//! - Each family has one HELP and one TYPE line, before all of its samples, which stand together.

use std::fmt::{self, Write};

use gdd_engine::observe::Times;

use crate::size::to_float;

/// The content type that scrapers expect.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NS_PER_SECOND: f64 = 1e9;

/// Upper bounds of a histogram's buckets in nanoseconds: three to each power of ten, from a microsecond to 10 seconds.
const BOUNDS_NS: [u64; 22] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Label names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    samples: String,
}

/// See the module.
#[derive(Default)]
pub struct Page(Vec<Family>);

impl Page {
    /// Something that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: Labels<'_>, value: f64) {
        let samples = self.family(name, help, "gauge");
        sample(samples, name, labels, value);
    }

    /// Something that only rises until the daemon is restarted. Its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: Labels<'_>, value: f64) {
        debug_assert!(name.ends_with("_total"), "{name}: a counter's name says so");
        let samples = self.family(name, help, "counter");
        sample(samples, name, labels, value);
    }

    /// Times, in seconds.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, labels: Labels<'_>, times: &Times) {
        let samples = self.family(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        let mut recorded = times.histogram.iter_recorded().peekable();
        let mut below = 0;
        for bound in BOUNDS_NS {
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= bound) {
                below += step.count_since_last_iteration();
            }
            let bound = (to_float(bound) / NS_PER_SECOND).to_string();
            sample(samples, &bucket, &[labels, &[("le", &bound)]].concat(), to_float(below));
        }
        let count = to_float(times.histogram.len());
        sample(samples, &bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        sample(samples, &format!("{name}_sum"), labels, to_float(times.sum) / NS_PER_SECOND);
        sample(samples, &format!("{name}_count"), labels, count);
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> &mut String {
        let place = self.0.iter().position(|family| family.name == name).unwrap_or_else(|| {
            self.0.push(Family { name, help, kind, samples: String::new() });
            self.0.len() - 1
        });
        &mut self.0[place].samples
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Family { name, help, kind, samples } in &self.0 {
            write!(f, "# HELP {name} {}\n# TYPE {name} {kind}\n{samples}", escape(help, false))?;
        }
        Ok(())
    }
}

fn sample(samples: &mut String, name: &str, labels: Labels<'_>, value: f64) {
    samples.push_str(name);
    for (place, (label, value)) in labels.iter().enumerate() {
        let before = if place == 0 { '{' } else { ',' };
        let _ = write!(samples, "{before}{label}=\"{}\"", escape(value, true)); // A string takes everything.
    }
    let _ = writeln!(samples, "{} {}", if labels.is_empty() { "" } else { "}" }, number(value));
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    }
}

/// As the format wants texts: in label values quotes are escaped, too.
fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use gdd_engine::observe::{Histograms, Stage};

    #[test]
    fn families_stand_together_and_texts_are_escaped() {
        let mut page = Page::default();
        page.gauge("gdd_a", "One\nline.", &[("name", "a \"b\" \\ c\n")], 1.5);
        page.counter("gdd_b_total", "Another.", &[], 3.0);
        page.gauge("gdd_a", "One\nline.", &[("name", "d")], f64::INFINITY);
        let expected = "# HELP gdd_a One\\nline.\n# TYPE gdd_a gauge\n\
                        gdd_a{name=\"a \\\"b\\\" \\\\ c\\n\"} 1.5\ngdd_a{name=\"d\"} +Inf\n\
                        # HELP gdd_b_total Another.\n# TYPE gdd_b_total counter\ngdd_b_total 3\n";
        assert_eq!(page.to_string(), expected);
    }

    #[test]
    fn buckets_count_what_is_at_most_their_bound() {
        let histograms = Arc::new(Histograms::default());
        let recorder = histograms.recorder();
        for micros in [0, 1, 3, 99, 2_000_000, 50_000_000] {
            recorder.record(Stage::Sync, Duration::from_micros(micros));
        }
        let mut page = Page::default();
        page.histogram("gdd_stage_seconds", "Time.", &[("stage", "sync")], &histograms.times(Stage::Sync));
        let text = page.to_string();
        for line in [
            "gdd_stage_seconds_bucket{stage=\"sync\",le=\"0.0000025\"} 2",
            "gdd_stage_seconds_bucket{stage=\"sync\",le=\"0.000005\"} 3",
            "gdd_stage_seconds_bucket{stage=\"sync\",le=\"0.0001\"} 4",
            "gdd_stage_seconds_bucket{stage=\"sync\",le=\"2.5\"} 5",
            "gdd_stage_seconds_bucket{stage=\"sync\",le=\"+Inf\"} 6",
            "gdd_stage_seconds_sum{stage=\"sync\"} 52.000103",
            "gdd_stage_seconds_count{stage=\"sync\"} 6",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
