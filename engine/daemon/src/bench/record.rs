//! What a bench leaves for `gdd bench report`: rates, rates over time, and whole distributions of times.
//!
//! It stands as `record` in the object that `--json` prints and `--save` writes.

use std::collections::BTreeMap;
use std::path::Path;

use gdd_engine::observe::{Histograms, Stage, decode, encode};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::report::{Hardware, Series};
use crate::failure::{Failure, Result};

/// See the module. Fields are only ever added.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Record {
    /// Which bench.
    pub bench: String,
    /// The machine, its disk and the program, on one line.
    pub hardware: String,
    /// What was asked for, on one line.
    pub options: String,
    /// Figures.
    pub rates: Vec<Rate>,
    /// Each run over time.
    pub flows: Vec<Flow>,
    /// Times.
    pub curves: Vec<Curve>,
}

/// A figure, measured several times, in bytes per second.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rate {
    /// Of what.
    pub name: String,
    /// In the order of measurement.
    pub values: Vec<f64>,
    /// What limits it, where that was measured.
    pub ceiling: Option<f64>,
}

/// One run over time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Flow {
    /// Of what: the name of a rate.
    pub group: String,
    /// Seconds since its start, and bytes per second since the point before.
    pub points: Vec<(f64, f64)>,
}

/// The times of one thing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Curve {
    /// Of what it is a part.
    pub group: String,
    /// Of what.
    pub name: String,
    /// All of them, in nanoseconds; see [`encode`].
    pub hdr: String,
}

impl Curve {
    /// Of a histogram of nanoseconds.
    #[must_use]
    pub fn of(group: &str, name: &str, histogram: &Histogram<u64>) -> Self {
        Self { group: group.to_owned(), name: name.to_owned(), hdr: encode(histogram) }
    }
}

impl Record {
    /// An empty one.
    #[must_use]
    pub fn new(bench: &str, hardware: &Hardware, options: String) -> Self {
        let hardware = hardware.to_string().trim_end().to_owned();
        Self { bench: bench.to_owned(), hardware, options, ..Self::default() }
    }

    /// Note a figure, unless it was not measured.
    pub fn rate(&mut self, name: &str, series: &Series, ceiling: Option<f64>) {
        if !series.is_empty() {
            self.rates.push(Rate { name: name.to_owned(), values: series.values.clone(), ceiling });
        }
    }

    /// The one in `path`.
    ///
    /// # Errors
    /// It cannot be read, or no bench wrote it.
    pub fn load(path: &Path) -> Result<Self> {
        let strange = |why: String| {
            let file = path.display();
            Failure::Usage(format!(
                "{file} was not written by `gdd bench ingest` or `recall` with --save: {why}"
            ))
        };
        let text = std::fs::read_to_string(path).map_err(Failure::file("read", path))?;
        let object: Value = serde_json::from_str(&text).map_err(|error| strange(error.to_string()))?;
        let record = object.get("record").ok_or_else(|| strange("it has no `record`".to_owned()))?;
        let record: Self =
            serde_json::from_value(record.clone()).map_err(|error| strange(error.to_string()))?;
        for curve in &record.curves {
            decode(&curve.hdr).map_err(|why| strange(format!("the times of {}: {why}", curve.name)))?;
        }
        Ok(record)
    }
}

/// Write what `--json` prints to `path` as well.
///
/// # Errors
/// It cannot be written.
pub fn save(path: Option<&Path>, object: &Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, format!("{object}\n")).map_err(Failure::file("write", path))
}

/// The times of a store's stages, kept apart by what was going on.
#[derive(Debug, Default)]
pub struct Stages {
    groups: BTreeMap<String, Vec<(Stage, Histogram<u64>)>>,
}

impl Stages {
    /// Do `work`, and count what `histograms` record meanwhile to `group`.
    pub fn during<T>(&mut self, histograms: &Histograms, group: &str, work: impl FnOnce() -> T) -> T {
        let before = histograms.all();
        let done = work();
        let kept = self.groups.entry(group.to_owned()).or_default();
        for (mut after, before) in histograms.all().into_iter().zip(before) {
            let less = after.histogram.subtract(&before.histogram);
            less.expect("what was recorded stays, so there is never less than before");
            if let Some((_, whole)) = kept.iter_mut().find(|(stage, _)| *stage == after.stage) {
                whole.add(&after.histogram).expect("both have the same bounds");
            } else {
                kept.push((after.stage, after.histogram));
            }
        }
        done
    }

    /// Those with anything in them, each group's in the order of the stages.
    #[must_use]
    pub fn curves(&self, groups: &[String]) -> Vec<Curve> {
        let kept = groups.iter().filter_map(|name| self.groups.get_key_value(name));
        let all =
            kept.flat_map(|(name, stages)| stages.iter().map(move |(stage, whole)| (name, stage, whole)));
        all.filter(|(.., whole)| !whole.is_empty())
            .map(|(group, stage, whole)| Curve::of(group, stage.name(), whole))
            .collect()
    }
}

/// `value` with `record` beside its other fields.
///
/// # Errors
/// It is no object.
pub fn with_record(value: &impl Serialize, record: &Record) -> Result<Value> {
    let mut object = serde_json::to_value(value)
        .map_err(|error| Failure::Failed(format!("the result cannot be written as JSON: {error}")))?;
    object["record"] = json!(record);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_kept_apart() {
        let histograms = Arc::new(Histograms::default());
        let recorder = histograms.recorder();
        let mut stages = Stages::default();
        for (group, count) in [("a", 3), ("b", 5), ("a", 4)] {
            stages.during(&histograms, group, || {
                (0..count).for_each(|_| recorder.record(Stage::Sync, Duration::from_millis(count)));
            });
        }
        let curves = stages.curves(&["b".to_owned(), "a".to_owned(), "c".to_owned()]);
        let found: Vec<_> =
            curves.iter().map(|one| (one.group.as_str(), decode(&one.hdr).unwrap().len())).collect();
        assert_eq!(found, [("b", 5), ("a", 7)]);
    }

    #[test]
    fn a_record_is_read_as_it_was_saved() {
        let mut record = Record { bench: "ingest".to_owned(), ..Record::default() };
        record.rate("new", &Series { values: vec![1.0, 2.0] }, Some(3.0));
        record.rate("nothing", &Series::new(), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        save(Some(&path), &with_record(&json!({ "runs": 2 }), &record).unwrap()).unwrap();
        let back = Record::load(&path).unwrap();
        assert_eq!(
            (back.bench.as_str(), back.rates.len(), &back.rates[0].values[..]),
            ("ingest", 1, &[1.0, 2.0][..])
        );
        std::fs::write(&path, "{}").unwrap();
        assert!(Record::load(&path).unwrap_err().line().contains("--save"));
    }
}
