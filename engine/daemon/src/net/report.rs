//! What sessions do and what became of those that were: the figures of `gdd status`.
//!
//! # Invariants
//! - A backup is counted when it has its receipt, with the numbers that its job's log has; nothing else counts as one.
//! - Only the last [`REPORTS_MAX`] jobs are remembered, however many clients there are.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gdd_engine::ingest::named::NamedSummary;
use gdd_wire::Report;

/// Jobs that are remembered after their end: a night of most sites. Each takes about half a kilobyte.
pub const REPORTS_MAX: usize = 256;

/// A session, for people.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SessionStatus {
    /// Where the client is.
    pub address: String,
    /// The domain of its key.
    pub domain: String,
    /// The key's id.
    pub key: String,
    /// The client, as it says.
    pub client: String,
    /// Its job, as it says.
    pub job: String,
    /// This run of the job, as it says: the unique name in Bacula's log.
    pub run: String,
    /// Its program, as it says.
    pub program: String,
    /// The stream of its backup, 32 hex digits, or nothing.
    pub stream: String,
    /// Bytes of the backup so far.
    pub logical_bytes: u64,
    /// Bytes over the connection, both ways.
    pub wire_bytes: u64,
    /// Those that came.
    pub received_bytes: u64,
    /// Those that went.
    pub sent_bytes: u64,
    /// Bytes of chunks that the store did not have.
    pub new_bytes: u64,
    /// What they take on disk.
    pub stored_bytes: u64,
    /// Bytes given back.
    pub bytes_back: u64,
    /// Time in which its domain's rate held it up.
    pub held_up_seconds: f64,
    /// Since it connected.
    pub seconds: f64,
}

/// What came of all sessions since the start.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Backups with a receipt.
    pub receipts: u64,
    /// Sessions that gave something back and ended well.
    pub restores: u64,
    /// Sessions that did not end well.
    pub broken: u64,
    /// Files of the backups with a receipt.
    pub files: u64,
    /// Bytes of them.
    pub logical_bytes: u64,
    /// What of them went over the network, both ways.
    pub wire_bytes: u64,
    /// Bytes of chunks that the store did not have.
    pub new_bytes: u64,
    /// What they take on disk.
    pub stored_bytes: u64,
    /// Bytes given back, in all sessions that have ended.
    pub bytes_back: u64,
    /// Time in which a rate held sessions up that have ended.
    pub held_up_seconds: f64,
}

/// What became of a job.
#[derive(Clone, Debug, serde::Serialize)]
pub struct JobReport {
    /// Its session. Of a backup with a receipt the bytes are those of the job's log.
    #[serde(flatten)]
    pub session: SessionStatus,
    /// `backup` or `restore`.
    pub kind: &'static str,
    /// `receipt`, `restored`, or why it was neither; after a receipt also why the client left without a goodbye.
    pub outcome: String,
    /// Files of a backup with a receipt.
    pub files: u64,
    /// Bytes backed up for each that was stored; none when nothing was.
    pub ratio: Option<f64>,
    /// Per cent of the bytes that were not stored.
    pub savings_percent: f64,
    /// When it ended, in seconds since 1970.
    pub ended: u64,
    #[serde(skip)]
    report: Option<Report>,
}

impl JobReport {
    /// Of a session that is over: `report` is of a backup that has its receipt, `trouble` says why it did not end well.
    pub(super) fn new(
        mut session: SessionStatus,
        began: bool,
        report: Option<Report>,
        trouble: Option<String>,
    ) -> Self {
        let kind = if began { "backup" } else { "restore" };
        let well = if began { "receipt" } else { "restored" };
        let outcome = match (report, trouble) {
            (_, None) => well.to_owned(),
            // The backup is in the store, and perhaps its client does not know it.
            (Some(_), Some(trouble)) => format!("{well}, and then: {trouble}"),
            (None, Some(trouble)) => trouble,
        };
        let numbers = report.unwrap_or_default();
        if report.is_some() {
            let Report { logical_bytes, wire_bytes, new_bytes, stored_bytes, .. } = numbers;
            (session.logical_bytes, session.wire_bytes) = (logical_bytes, wire_bytes);
            (session.new_bytes, session.stored_bytes) = (new_bytes, stored_bytes);
        }
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        Self {
            session,
            kind,
            outcome,
            files: numbers.files,
            ratio: numbers.ratio(),
            savings_percent: numbers.savings_percent(),
            ended,
            report,
        }
    }

    /// For people: the words of the job's log, or what else is known.
    #[must_use]
    pub fn line(&self) -> String {
        let SessionStatus { client, domain, run, seconds, held_up_seconds, .. } = &self.session;
        let what = match (&self.report, self.kind) {
            (Some(report), _) => format!("{}, {report}", self.outcome),
            (None, "restore") => format!("{}, {} B given back", self.outcome, self.session.bytes_back),
            (None, _) => self.outcome.clone(),
        };
        let held_up =
            if *held_up_seconds > 0.0 { format!(", held up {held_up_seconds:.1} s") } else { String::new() };
        format!("{} {run}, client {client}, domain {domain}: {what}, {seconds:.1} s{held_up}", self.kind)
    }
}

/// What is remembered of sessions that are over.
#[derive(Debug, Default)]
pub(super) struct Book {
    counts: Counts,
    reports: VecDeque<JobReport>,
}

impl Book {
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = &JobReport> {
        self.reports.iter()
    }

    /// A backup has its receipt. What the store took of it is counted, also where the client must not know.
    pub(super) fn receipt(&mut self, report: &Report, done: &NamedSummary) {
        let counts = &mut self.counts;
        counts.receipts += 1;
        counts.files += report.files;
        counts.logical_bytes += report.logical_bytes;
        counts.wire_bytes += report.wire_bytes;
        counts.new_bytes += done.new_bytes;
        counts.stored_bytes += done.stored_bytes;
    }

    /// A session is over. One that neither backed up nor gave back, and ended well, is no job.
    pub(super) fn close(&mut self, report: JobReport, broken: bool) {
        let (session, counts) = (&report.session, &mut self.counts);
        counts.broken += u64::from(broken);
        counts.bytes_back += session.bytes_back;
        counts.held_up_seconds += session.held_up_seconds;
        if report.outcome == "restored" {
            if session.bytes_back == 0 {
                return;
            }
            counts.restores += 1;
        }
        if self.reports.len() == REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(run: usize) -> JobReport {
        let session = SessionStatus { run: run.to_string(), bytes_back: 1, ..SessionStatus::default() };
        JobReport::new(session, false, None, None)
    }

    #[test]
    fn only_the_last_are_remembered_and_all_are_counted() {
        let mut book = Book::default();
        (0..REPORTS_MAX + 3).for_each(|run| book.close(restore(run), false));
        assert_eq!(book.reports().count(), REPORTS_MAX);
        assert_eq!(book.reports().next().unwrap().session.run, "3");
        assert_eq!(book.counts().restores, REPORTS_MAX as u64 + 3);
    }

    #[test]
    fn a_trouble_is_told_with_a_receipt_and_without() {
        let gone = || Some("the connection was cut".to_owned());
        let good = JobReport::new(SessionStatus::default(), true, Some(Report::default()), gone());
        assert_eq!(good.outcome, "receipt, and then: the connection was cut");
        assert!(good.line().starts_with("backup ") && good.line().contains(" savings "), "{}", good.line());
        let bad = JobReport::new(SessionStatus::default(), true, None, gone());
        assert!(bad.line().contains("the connection was cut") && !bad.line().contains("receipt"));
        let mut book = Book::default();
        book.close(JobReport::new(SessionStatus::default(), false, None, None), false);
        assert_eq!((book.reports().count(), book.counts().restores), (0, 0), "nothing was asked for");
    }
}
