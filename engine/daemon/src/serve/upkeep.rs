//! Work in the background that keeps the store whole: when it is due, how far it is, how it ended, and how it is
//! stopped.
//!
//! One thread for each kind. Whoever asks for the work at the control socket does it on his own thread, and it shows
//! here like the other.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gdd_engine::index::MetaKey;
use gdd_engine::progress::Progress;
use gdd_engine::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::metrics::Page;
use super::service::Service;
use crate::failure::{Failure, Result};
use crate::size::{grouped, show, to_float};

/// How often a thread that waits for the next run looks whether it is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often somebody who asked hears how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Numbers of reports that are summed up over all runs, by the work's name: field, metric, and its help.
const SUMMED: [(&str, &str, &str, &str); 8] = [
    ("vacuum", "freed_bytes", "gdd_vacuum_freed_bytes_total", "Bytes of containers that it has freed."),
    ("vacuum", "freed_containers", "gdd_vacuum_freed_containers_total", "Containers that it has freed."),
    ("vacuum", "moved_bytes", "gdd_vacuum_moved_bytes_total", "Bytes that it has moved out of those."),
    ("vacuum", "lost_chunks", "gdd_vacuum_lost_chunks_total", "Chunks that it could not read."),
    ("scrub", "bytes_read", "gdd_scrub_read_bytes_total", "Bytes that it has checked."),
    (
        "scrub",
        "containers_damaged",
        "gdd_scrub_damaged_containers_total",
        "Containers that it found damaged.",
    ),
    ("scrub", "chunks_bad", "gdd_scrub_bad_chunks_total", "Chunks that cannot be given back."),
    ("scrub", "copies_repaired", "gdd_scrub_repaired_copies_total", "Copies of recipes that it wrote anew."),
];
/// A run that left something waiting, or failed, is followed by another after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Bytes of a report that are remembered for the next daemon; a longer one is shown by this daemon only.
const REPORT_SIZE_MAX: usize = 1 << 20;

/// A kind of work.
pub trait Job: Send + Sync + 'static {
    /// Its name in `gdd status`.
    fn name(&self) -> &'static str;
    /// How often it is done; never, when there is none.
    fn every(&self) -> Option<Duration>;
    /// When it was last done on this store, in seconds since 1970; if it never was, it is noted as done now.
    ///
    /// # Errors
    /// The index failed.
    fn last_done(&self, store: &Store) -> Result<u64>;
    /// Where the index remembers how it ended.
    fn report_key(&self) -> MetaKey;
    /// Do it, beside whatever else goes on.
    ///
    /// # Errors
    /// The store failed, or somebody does it already.
    fn run(&self, store: &Store, board: &Board) -> Result<Ran>;
}

/// How a run ended.
pub struct Ran {
    /// What came of it, for programs.
    pub report: Value,
    /// The same for people, on one line.
    pub line: String,
    /// Something is left that only waits for others.
    pub again_soon: bool,
}

/// What is known of the work, and how it is told to stop.
#[derive(Default)]
pub struct Board {
    shown: Mutex<Shown>,
    bell: Condvar,
}

#[derive(Default)]
struct Shown {
    stop: bool,
    running: Option<(Instant, Progress)>,
    last: Option<Last>,
    /// Runs of this daemon that ended, and of those, runs that failed.
    runs: u64,
    failures: u64,
    /// See [`SUMMED`]; in its order.
    sums: [u64; SUMMED.len()],
}

/// How a run ended, of this daemon or one before.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Last {
    /// When, in seconds since 1970.
    unix: u64,
    line: String,
    report: Value,
}

impl Board {
    /// Wait for at most so long; whether to go on.
    pub fn rest(&self, wait: Duration) -> bool {
        let shown = self.lock();
        if wait.is_zero() || shown.stop {
            return !shown.stop;
        }
        let waited = self.bell.wait_timeout_while(shown, wait, |shown| !shown.stop);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    /// It is so far.
    pub fn tell(&self, progress: Progress) {
        if let Some((_, shown)) = &mut self.lock().running {
            *shown = progress;
        }
    }

    /// Do the work on `store`, show how it goes and ends, and remember that under `key` for the next daemon.
    ///
    /// # Errors
    /// Somebody does it already; or the work's.
    pub fn run_on(&self, store: &Store, key: MetaKey, work: impl FnOnce() -> Result<Ran>) -> Result<Ran> {
        let ran = self.run(store.core().unix_seconds(), work);
        let last = self.lock().last.clone().map(|last| json!(last).to_string().into_bytes());
        if let Some(last) = last.filter(|last| last.len() <= REPORT_SIZE_MAX)
            && let Err(error) = store.note(key, last)
        {
            tracing::warn!("how it ended is not remembered: {error}");
        }
        ran
    }

    /// Show how it ended under the last daemon.
    pub fn recall(&self, store: &Store, key: MetaKey) {
        let noted = store.noted(key).ok().flatten();
        let last = noted.and_then(|noted| serde_json::from_slice(&noted).ok());
        let mut shown = self.lock();
        if shown.last.is_none() {
            shown.last = last;
        }
    }

    /// Do the work, begun at `unix`, and show how it goes and ends.
    fn run(&self, unix: u64, work: impl FnOnce() -> Result<Ran>) -> Result<Ran> {
        let mut shown = self.lock();
        if shown.running.is_some() {
            let what = "the daemon is at work on it already; `gdd status` shows how far it is";
            return Err(Failure::Busy(what.to_owned()));
        }
        shown.running = Some((Instant::now(), Progress { stage: "begin", done: 0, total: None }));
        drop(shown);
        let ran = work();
        let mut shown = self.lock();
        let seconds = shown.running.take().map_or(0, |(since, _)| since.elapsed().as_secs());
        shown.runs += 1;
        shown.failures += u64::from(ran.is_err());
        if let Ok(ran) = &ran {
            for (sum, (_, field, ..)) in shown.sums.iter_mut().zip(SUMMED) {
                *sum += ran.report[field].as_u64().unwrap_or(0);
            }
        }
        let (report, line) = match &ran {
            Ok(ran) => (ran.report.clone(), ran.line.clone()),
            Err(failure) => (json!({ "error": failure.line() }), format!("FAILED: {}", failure.line())),
        };
        let unix = unix.saturating_add(seconds);
        shown.last = Some(Last { unix, line, report });
        ran
    }

    /// No more.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.bell.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Value {
        let shown = self.lock();
        let running = shown.running.as_ref().map(|(since, progress)| {
            let Progress { stage, done, total } = progress;
            json!({ "seconds": since.elapsed().as_secs_f64(), "stage": stage, "done": done, "total": total })
        });
        let last = shown.last.as_ref();
        json!({
            "running": running, "last": last.map(|last| &last.report), "last_unix": last.map(|last| last.unix),
        })
    }

    fn metrics(&self, name: &str, page: &mut Page) {
        let shown = self.lock();
        let job = [("job", name)];
        let running = shown.running.as_ref().map(|(_, progress)| progress);
        for (metric, help, value) in [
            ("gdd_upkeep_running", "1 while it runs.", u64::from(running.is_some())),
            ("gdd_upkeep_done_bytes", "How far the run is.", running.map_or(0, |progress| progress.done)),
            (
                "gdd_upkeep_goal_bytes",
                "How far it will go.",
                running.and_then(|progress| progress.total).unwrap_or(0),
            ),
        ] {
            page.gauge(metric, help, &job, to_float(value));
        }
        page.counter("gdd_upkeep_runs_total", "Runs that have ended.", &job, to_float(shown.runs));
        page.counter("gdd_upkeep_failures_total", "Of those, failed.", &job, to_float(shown.failures));
        let ended = shown.last.as_ref().map_or(0, |last| last.unix);
        let help = "When the last run ended, in seconds since 1970; 0: never.";
        page.gauge("gdd_upkeep_ended_time_seconds", help, &job, to_float(ended));
        for (sum, (_, _, metric, help)) in shown.sums.iter().zip(SUMMED).filter(|(_, row)| row.0 == name) {
            page.counter(metric, help, &[], to_float(*sum));
        }
    }

    fn lines(&self) -> Vec<String> {
        let shown = self.lock();
        let running = shown.running.as_ref().map(|(since, progress)| {
            let of = progress.total.map_or_else(String::new, |total| format!(" of {}", show(total)));
            let (stage, done) = (progress.stage, show(progress.done));
            format!("running for {} s: {stage}, {done}{of}", grouped(since.elapsed().as_secs()))
        });
        let last = shown.last.as_ref().map(|last| last.line.clone());
        running.into_iter().chain(last).collect()
    }
}

/// Somebody who asked for work and waits for it.
pub struct Asker<'a> {
    told: RefCell<&'a mut dyn FnMut(Progress) -> bool>,
    is_there: Cell<bool>,
    said: Cell<Option<Instant>>,
}

impl<'a> Asker<'a> {
    /// One who hears how far it is, by a call that says whether he is still there.
    pub fn new(told: &'a mut dyn FnMut(Progress) -> bool) -> Self {
        Self { told: RefCell::new(told), is_there: Cell::new(true), said: Cell::new(None) }
    }

    /// It is so far; he hears it now and then.
    pub fn tell(&self, progress: Progress) {
        if self.said.get().is_none_or(|said| said.elapsed() >= TELL_EVERY) {
            self.said.set(Some(Instant::now()));
            self.is_there.set(self.is_there.get() && self.told.borrow_mut()(progress));
        }
    }

    /// Whether he is still there.
    pub fn is_there(&self) -> bool {
        self.is_there.get()
    }
}

/// The thread that does one kind of work.
pub struct Keeper {
    name: &'static str,
    every: Option<Duration>,
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Begin to wait for the first time that it is due.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(job: impl Job, store: Arc<Store>, board: Arc<Board>) -> Result<Self> {
        let (name, every) = (job.name(), job.every());
        board.recall(&store, job.report_key());
        let mut keeper = Self { name, every, board: Arc::clone(&board), thread: None };
        if let Some(every) = every {
            let thread = std::thread::Builder::new().name(format!("gdd-{name}"));
            let body = move || keep(&job, every, &store, &board);
            let failed = |error| Failure::Failed(format!("cannot start a thread: {error}"));
            keeper.thread = Some(thread.spawn(body).map_err(failed)?);
        }
        Ok(keeper)
    }
}

fn keep(job: &dyn Job, every: Duration, store: &Store, board: &Board) {
    let name = job.name();
    let mut due = match job.last_done(store) {
        // Done after now, by a clock that ran ahead: nobody knows when.
        Ok(last) if last > store.core().unix_seconds() => 0,
        Ok(last) => last.saturating_add(every.as_secs()),
        Err(failure) => return tracing::error!("{name} does not run: {}", failure.line()),
    };
    while board.rest(LOOK_EVERY) {
        let now = store.core().unix_seconds();
        if now < due {
            continue;
        }
        let wait = match board.run_on(store, job.report_key(), || job.run(store, board)) {
            Ok(ran) => {
                tracing::info!("{name}: {}", ran.line);
                if ran.again_soon { AGAIN_AFTER.min(every) } else { every }
            }
            Err(failure) => {
                tracing::warn!("{name}: {}", failure.line());
                AGAIN_AFTER.min(every)
            }
        };
        due = store.core().unix_seconds().saturating_add(wait.as_secs());
    }
}

impl Service for Keeper {
    fn name(&self) -> &'static str {
        self.name
    }

    fn status(&self) -> Value {
        let mut status = self.board.status();
        status["every_seconds"] = json!(self.every.map(|every| every.as_secs()));
        status
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.board.lines();
        if !lines.is_empty() {
            return lines;
        }
        vec![match self.every {
            Some(every) => format!("every {}, not yet", crate::span::show(every.as_secs())),
            None => format!("never by itself; `gdd {}` runs it", self.name),
        }]
    }

    fn metrics(&self, page: &mut Page) {
        self.board.metrics(self.name, page);
    }

    fn stop(self: Box<Self>, deadline: Instant) -> bool {
        self.board.stop();
        let Some(thread) = self.thread else { return true };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        thread.join().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_how_work_goes_and_ends() {
        let board = Board::default();
        let ran = board.run(100, || {
            board.tell(Progress { stage: "move", done: 5_000_000, total: Some(10_000_000) });
            assert_eq!(board.lines(), ["running for 0 s: move, 5.00 MB of 10.00 MB"]);
            assert_eq!(board.status()["running"]["done"], 5_000_000);
            assert!(matches!(board.run(100, || panic!("not twice at once")), Err(Failure::Busy(_))));
            Ok(Ran {
                report: json!({ "freed": 7, "freed_bytes": 9 }),
                line: "freed 7".to_owned(),
                again_soon: false,
            })
        });
        assert!(ran.is_ok());
        assert_eq!(board.lines(), ["freed 7"]);
        let status = board.status();
        assert!(status["last"]["freed"] == 7 && status["last_unix"].as_u64() >= Some(100), "{status}");
        assert!(board.run(100, || Err(Failure::Busy("later".to_owned()))).is_err());
        assert_eq!(board.lines(), ["FAILED: later"]);
        let mut page = Page::default();
        board.metrics("vacuum", &mut page);
        let text = page.to_string();
        for line in [
            "gdd_upkeep_running{job=\"vacuum\"} 0",
            "gdd_upkeep_runs_total{job=\"vacuum\"} 2",
            "gdd_upkeep_failures_total{job=\"vacuum\"} 1",
            "gdd_vacuum_freed_bytes_total 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("scrub"), "{text}");
    }

    #[test]
    fn a_rest_ends_when_it_is_told_to() {
        let board = Board::default();
        assert!(board.rest(Duration::ZERO) && board.rest(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let resting = scope.spawn(|| board.rest(Duration::from_secs(600)));
            board.stop();
            assert!(!resting.join().unwrap(), "it would wait for ten minutes otherwise");
        });
    }
}
