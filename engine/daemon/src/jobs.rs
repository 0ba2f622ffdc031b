//! What came of the streams of storage mode, and of the command line, since the daemon started: sums, and the last few
//! one by one. Bothsides mode has a book of its own, of files and restores too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gdd_wire::Report;

/// Backups that are remembered one by one.
const LAST_MAX: usize = 10;

/// One backup with a receipt.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct JobReport {
    /// The client, as it says; nothing where nobody did.
    pub client: String,
    /// Its job, as it says.
    pub job: String,
    /// Bytes of the backup.
    pub logical_bytes: u64,
    /// What of them came to the daemon: over the network, or through a ring.
    pub wire_bytes: u64,
    /// Bytes of chunks that the store did not have.
    pub new_bytes: u64,
    /// What they take on disk.
    pub stored_bytes: u64,
    /// Bytes backed up for each that was stored; none when nothing was.
    pub ratio: Option<f64>,
    /// Per cent of the bytes that were not stored.
    pub savings_percent: f64,
    /// When it ended, in seconds since 1970.
    pub ended: u64,
}

impl JobReport {
    /// With ratio and savings, from the bytes.
    fn rated(self) -> Self {
        let Self { logical_bytes, wire_bytes, new_bytes, stored_bytes, .. } = self;
        let numbers = Report { files: 0, logical_bytes, wire_bytes, new_bytes, stored_bytes };
        Self { ratio: numbers.ratio(), savings_percent: numbers.savings_percent(), ..self }
    }

    /// For people.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { client, job, logical_bytes, new_bytes, stored_bytes, savings_percent, .. } = self;
        let ratio = self.ratio.map_or_else(|| "all known".to_owned(), |ratio| format!("{ratio:.2}:1"));
        format!(
            "job {job}, client {client}: logical {logical_bytes} B, new {new_bytes} B, stored {stored_bytes} B, \
             ratio {ratio}, savings {savings_percent:.2} %"
        )
    }
}

/// Sums since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct JobSums {
    /// Backups with a receipt.
    pub receipts: u64,
    /// Their bytes.
    pub logical_bytes: u64,
    /// What of them came to the daemon.
    pub wire_bytes: u64,
    /// Bytes of chunks that the store did not have.
    pub new_bytes: u64,
    /// What they take on disk.
    pub stored_bytes: u64,
    /// Bytes given back to restores.
    pub bytes_back: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Jobs {
    done: Mutex<Done>,
    /// `Relaxed`: a number for people.
    bytes_back: AtomicU64,
}

#[derive(Debug, Default)]
struct Done {
    sums: JobSums,
    last: VecDeque<JobReport>,
}

impl Jobs {
    /// A backup has its receipt.
    pub fn note(&self, report: JobReport) {
        let mut done = self.lock();
        let Done { sums, last } = &mut *done;
        sums.receipts += 1;
        sums.logical_bytes += report.logical_bytes;
        sums.wire_bytes += report.wire_bytes;
        sums.new_bytes += report.new_bytes;
        sums.stored_bytes += report.stored_bytes;
        if last.len() == LAST_MAX {
            last.pop_front();
        }
        last.push_back(report.rated());
    }

    /// Bytes were given back.
    pub fn gave_back(&self, bytes: u64) {
        self.bytes_back.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The sums so far.
    #[must_use]
    pub fn sums(&self) -> JobSums {
        JobSums { bytes_back: self.bytes_back.load(Ordering::Relaxed), ..self.lock().sums }
    }

    /// The last backups, the latest last.
    #[must_use]
    pub fn last(&self) -> Vec<JobReport> {
        self.lock().last.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_add_up_and_few_are_remembered() {
        let jobs = Jobs::default();
        for number in 0..LAST_MAX as u64 + 5 {
            jobs.note(JobReport { logical_bytes: 1000, stored_bytes: number, ..JobReport::default() });
        }
        jobs.gave_back(7);
        let (sums, last) = (jobs.sums(), jobs.last());
        assert_eq!((sums.receipts, sums.logical_bytes, sums.bytes_back), (15, 15_000, 7));
        assert_eq!((last.len(), last[LAST_MAX - 1].stored_bytes), (LAST_MAX, 14));
    }

    #[test]
    fn a_report_says_what_was_saved() {
        let of = |logical_bytes, stored_bytes| {
            let report = JobReport { logical_bytes, stored_bytes, ..JobReport::default() }.rated();
            (report.ratio, report.savings_percent)
        };
        assert_eq!(of(1000, 250), (Some(4.0), 75.0));
        assert_eq!(of(1000, 0), (None, 100.0));
        assert_eq!(of(0, 0), (None, 0.0));
        let line =
            JobReport { job: "nightly".to_owned(), logical_bytes: 8, ..JobReport::default() }.rated().line();
        assert!(
            line.starts_with("job nightly, ") && line.ends_with("ratio all known, savings 100.00 %"),
            "{line}"
        );
    }
}
