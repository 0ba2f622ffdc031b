//! One restored file at a time, for 9.6.7: it keeps the state of a file that is being restored in one place for all
//! jobs, and two restores at once end each other ("Second call to startRestoreFile").
//!
//! The lock is per file, so that restores interleave. It belongs to a job and is re-entrant for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a waiter sleeps between two looks at whether its job still wants the lock.
const LOOK: Duration = Duration::from_millis(100);
/// Core clears its state just after the call in which the lock is released.
const SETTLING: Duration = Duration::from_micros(300);

/// The lock.
#[derive(Debug, Default)]
pub struct RestoreLock {
    owner: Mutex<Option<u64>>,
    released: Condvar,
}

impl RestoreLock {
    /// A free one.
    #[must_use]
    pub const fn new() -> Self {
        Self { owner: Mutex::new(None), released: Condvar::new() }
    }

    /// Take it for `job`, which may have it already; `false` once `given_up` is true.
    pub fn acquire(&self, job: u64, given_up: impl Fn() -> bool) -> bool {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contended = false;
        while owner.is_some_and(|owner| owner != job) {
            if given_up() {
                return false;
            }
            contended = true;
            let waited = self.released.wait_timeout(owner, LOOK).unwrap_or_else(PoisonError::into_inner);
            owner = waited.0;
        }
        *owner = Some(job);
        drop(owner);
        if contended {
            thread::sleep(SETTLING);
        }
        true
    }

    /// Give it back, if `job` has it.
    pub fn release(&self, job: u64) {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if *owner == Some(job) {
            *owner = None;
            self.released.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn it_is_re_entrant_for_its_job_and_closed_for_others() {
        let lock = RestoreLock::new();
        assert!(lock.acquire(1, || false) && lock.acquire(1, || false));
        assert!(!lock.acquire(2, || true));
        lock.release(2);
        assert!(!lock.acquire(2, || true), "a stranger released it");
        lock.release(1);
        assert!(lock.acquire(2, || true));
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
                });
            }
        });
    }
}
