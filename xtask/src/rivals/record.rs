//! What was measured, one line each in a file of tab-separated words: a run that was stopped goes on where it was.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::usage::Usage;
use crate::Result;

/// What is done with a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Store what the repository has never seen.
    New,
    /// Store the same again.
    Known,
    /// Store it with one block in a hundred changed.
    Changed,
    /// Give the last one back.
    Restore,
}

impl Step {
    const ALL: [Self; 4] = [Self::New, Self::Known, Self::Changed, Self::Restore];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
            Self::Changed => "changed",
            Self::Restore => "restore",
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Size of each corpus as asked for, and its seed: only equal ones compare.
    pub size: u64,
    /// See `size`.
    pub seed: u64,
    /// From 1.
    pub run: u64,
    /// `real`, `random` or `image`.
    pub corpus: String,
    /// Who.
    pub rival: String,
    /// What it said of itself.
    pub version: String,
    /// What was done.
    pub step: Step,
    /// Bytes of the corpus' files.
    pub bytes: u64,
    /// Until the command returned.
    pub usage: Usage,
    /// What a sync after it took, in seconds.
    pub sync_seconds: f64,
    /// Bytes that the step added to the repository's files, by allocated blocks; room taken ahead is left out.
    pub added: u64,
}

impl Record {
    /// Whether it belongs to the same place in the plan.
    pub fn is(&self, size: u64, seed: u64, run: u64, corpus: &str, rival: &str, version: &str) -> bool {
        (self.size, self.seed, self.run) == (size, seed, run)
            && (self.corpus.as_str(), self.rival.as_str(), self.version.as_str()) == (corpus, rival, version)
    }

    /// As a line.
    fn line(&self) -> String {
        let Usage { seconds, cpu_seconds, peak_kib } = self.usage;
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{seconds:.3}\t{cpu_seconds:.2}\t{peak_kib}\t{:.3}\t{}\n",
            self.size,
            self.seed,
            self.run,
            self.corpus,
            self.rival,
            self.version,
            self.step.name(),
            self.bytes,
            self.sync_seconds,
            self.added
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split('\t').collect();
        let &[size, seed, run, corpus, rival, version, step, bytes, seconds, cpu, peak, sync, added] =
            words.as_slice()
        else {
            return None;
        };
        let usage = Usage {
            seconds: seconds.parse().ok()?,
            cpu_seconds: cpu.parse().ok()?,
            peak_kib: peak.parse().ok()?,
        };
        Some(Self {
            size: size.parse().ok()?,
            seed: seed.parse().ok()?,
            run: run.parse().ok()?,
            corpus: corpus.to_owned(),
            rival: rival.to_owned(),
            version: version.to_owned(),
            step: Step::ALL.into_iter().find(|known| known.name() == step)?,
            bytes: bytes.parse().ok()?,
            usage,
            sync_seconds: sync.parse().ok()?,
            added: added.parse().ok()?,
        })
    }
}

/// Everything in `path`, nothing when it is not there yet.
pub fn load(path: &Path) -> Result<Vec<Record>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let odd = |number: usize| format!("{}:{}: no measurement; remove the line", path.display(), number + 1);
    text.lines().enumerate().map(|(number, line)| Record::parse(line).ok_or_else(|| odd(number))).collect()
}

/// Add `records` to `path`, all in one write: a corpus is measured whole or not at all.
pub fn append(path: &Path, records: &[Record]) -> Result {
    let text: String = records.iter().map(Record::line).collect();
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A measurement of a corpus of 1 GB that took `seconds`.
    pub fn record(rival: &str, corpus: &str, step: Step, seconds: f64, added: u64) -> Record {
        Record {
            size: 1 << 30,
            seed: 0,
            run: 1,
            corpus: corpus.to_owned(),
            rival: rival.to_owned(),
            version: format!("{rival} 1"),
            step,
            bytes: 1_000_000_000,
            usage: Usage { seconds, cpu_seconds: 2.0 * seconds, peak_kib: 100_000 },
            sync_seconds: 0.5,
            added,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("xtask-rivals-{}.tsv", std::process::id()));
        let _ = fs::remove_file(&path);
        assert_eq!(load(&path), Ok(Vec::new()));
        let records =
            Step::ALL.map(|step| record("borg", "real", step, 1.25, if step == Step::New { 7 } else { 0 }));
        append(&path, &records[..1]).unwrap();
        append(&path, &records[1..]).unwrap();
        let loaded = load(&path);
        fs::write(&path, "half a line").unwrap();
        let refused = load(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(loaded.as_deref(), Ok(records.as_slice()));
        assert!(refused.is_err_and(|error| error.contains(":1: no measurement")));
    }

    #[test]
    fn only_the_same_place_in_the_plan_counts_as_done() {
        let done = record("borg", "real", Step::New, 1.0, 0);
        assert!(done.is(1 << 30, 0, 1, "real", "borg", "borg 1"));
        assert!(!done.is(1 << 30, 0, 2, "real", "borg", "borg 1"));
        assert!(!done.is(1 << 30, 0, 1, "real", "borg", "borg 2"));
        assert!(!done.is(1 << 29, 0, 1, "real", "borg", "borg 1"));
    }
}
