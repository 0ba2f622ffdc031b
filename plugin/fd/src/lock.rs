//! One restored file at a time, for 9.6.7: it keeps the state of a file that is being restored in one place for all
//! jobs, and two restores at once end each other ("Second call to startRestoreFile").
//!
//! The lock is per file, so that restores interleave. It belongs to a job and is re-entrant for it.
//!
//! # Invariants
//! - Core clears its state after endRestoreFile has returned, and no later than before the job's next call. So a job
//!   that gave the lock back keeps others out until then, or for a second when it has nothing more to restore.
//! - Those who wait get it in their order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a waiter sleeps between two looks at whether its job still wants the lock.
const LOOK: Duration = Duration::from_millis(100);
/// Until then core has cleared its state, on a machine that gives its thread any time at all.
const SETTLING: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct State {
    owner: Option<u64>,
    /// Who gave it back, and when, if that job has not been heard of since.
    last: Option<(u64, Instant)>,
    waiting: VecDeque<u64>,
}

impl State {
    fn is_settled(&self) -> bool {
        self.owner.is_none() && self.last.is_none_or(|(_, since)| since.elapsed() >= SETTLING)
    }

    /// A call of `job`: core has cleared what it had for it.
    fn heard_of(&mut self, job: u64) {
        self.last = self.last.filter(|(last, _)| *last != job);
    }
}

/// The lock.
#[derive(Debug)]
pub struct RestoreLock {
    state: Mutex<State>,
    changed: Condvar,
}

impl Default for RestoreLock {
    fn default() -> Self {
        Self::new()
    }
}

impl RestoreLock {
    /// A free one.
    #[must_use]
    pub const fn new() -> Self {
        let state = State { owner: None, last: None, waiting: VecDeque::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Take it for `job`, which may have it already; `false` once `given_up` is true.
    pub fn acquire(&self, job: u64, given_up: impl Fn() -> bool) -> bool {
        let mut state = self.state();
        if state.owner == Some(job) {
            return true;
        }
        state.heard_of(job);
        state.waiting.push_back(job);
        self.changed.notify_all();
        while !(state.is_settled() && state.waiting.front() == Some(&job)) {
            if given_up() {
                state.waiting.retain(|waiting| *waiting != job);
                self.changed.notify_all();
                return false;
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting.pop_front();
        (state.owner, state.last) = (Some(job), None);
        true
    }

    /// Give it back in endRestoreFile, if `job` has it.
    pub fn release(&self, job: u64) {
        let mut state = self.state();
        if state.owner == Some(job) {
            (state.owner, state.last) = (None, Some((job, Instant::now())));
        }
    }

    /// Give it back for good: `job` restores nothing more.
    pub fn leave(&self, job: u64) {
        let mut state = self.state();
        state.heard_of(job);
        state.owner = state.owner.filter(|owner| *owner != job);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn it_is_re_entrant_for_its_job_and_closed_for_others() {
        let lock = RestoreLock::new();
        assert!(lock.acquire(1, || false) && lock.acquire(1, || false));
        assert!(!lock.acquire(2, || true));
        lock.leave(2);
        assert!(!lock.acquire(2, || true), "a stranger released it");
        lock.leave(1);
        assert!(lock.acquire(2, || true));
    }

    #[test]
    fn others_wait_for_the_next_call_of_the_one_that_released_it() {
        let lock = RestoreLock::new();
        assert!(lock.acquire(1, || false));
        let (asked, answer) = (AtomicU32::new(0), || false);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                lock.acquire(2, || {
                    asked.fetch_add(1, Ordering::SeqCst);
                    false
                })
            });
            while asked.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            lock.release(1);
            assert!(!lock.acquire(3, || true), "core may not be done with the file of job 1");
            // The next file of job 1 comes after the one that waited.
            let first = scope.spawn(|| lock.acquire(1, answer));
            assert!(other.join().unwrap_or(false));
            assert_eq!(lock.state().owner, Some(2));
            lock.leave(2);
            assert!(first.join().unwrap_or(false));
        });
        assert_eq!(lock.state().owner, Some(1));
        assert!(lock.state().waiting.is_empty());
    }

    #[test]
    fn one_that_restores_nothing_more_is_waited_for_a_while_only() {
        let lock = RestoreLock::new();
        assert!(lock.acquire(1, || false));
        lock.release(1);
        assert!(lock.acquire(2, || false));
    }

    #[test]
    fn one_at_a_time() {
        let (lock, inside) = (RestoreLock::new(), AtomicU32::new(0));
        thread::scope(|scope| {
            for job in 0..4 {
                let (lock, inside) = (&lock, &inside);
                scope.spawn(move || {
                    for _ in 0..50 {
                        assert!(lock.acquire(job, || false));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lock.release(job);
                    }
                    lock.leave(job);
                });
            }
        });
    }
}
