//! How the store's state machines get their turns: each on a thread of its own, or stepped by one seeded loop.
//!
//! A worker, the committer and the preparer are [`Task`]s: they never block inside a turn. The same code therefore
//! runs pinned to cores in production and interleaved by a seed in the simulator, where any schedule can be replayed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What a turn achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done; another turn may do more.
    Busy,
    /// Nothing to do until a message or a completion arrives.
    Idle,
    /// The task ended and must not be called again.
    Stopped,
}

/// A state machine of the store.
pub trait Task {
    /// Do what can be done without waiting.
    fn turn(&mut self) -> Turn;

    /// Sleep until a message or completion arrives, at most `limit`. Only called on a thread of its own, after an idle
    /// turn.
    fn wait(&mut self, limit: Duration);
}

/// Longest sleep of an idle task. Wake-ups are never lost by design; this bounds the damage if one were.
const IDLE_WAIT_MAX: Duration = Duration::from_millis(100);

/// Turns an idle task takes before it sleeps: a message often follows within microseconds.
const IDLE_TURNS_MAX: u32 = 16;

/// Give `task` the calling thread until it stops.
pub fn run(task: &mut dyn Task) {
    let mut idle_turns = 0;
    loop {
        match task.turn() {
            Turn::Busy => idle_turns = 0,
            Turn::Stopped => return,
            Turn::Idle if idle_turns < IDLE_TURNS_MAX => {
                idle_turns += 1;
                std::hint::spin_loop();
            }
            Turn::Idle => {
                task.wait(IDLE_WAIT_MAX);
                idle_turns = 0;
            }
        }
    }
}

/// A one-bit event: raised by any thread, awaited by one.
#[derive(Clone, Debug, Default)]
pub struct Signal(Arc<SignalState>);

#[derive(Debug, Default)]
struct SignalState {
    /// Raised and not yet seen. Swapped with `AcqRel`: what the raiser wrote before is seen by the waiter after.
    raised: AtomicBool,
    sleeping: Mutex<bool>,
    wake: Condvar,
}

impl Signal {
    /// Raise the event; a waiter returns now or at its next wait.
    pub fn raise(&self) {
        if self.0.raised.swap(true, Ordering::AcqRel) {
            return; // Raised already: the waiter has not looked yet, and will.
        }
        let sleeping = self.0.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        if *sleeping {
            self.0.wake.notify_one();
        }
    }

    /// Wait until the event is raised, at most `limit`, and lower it. Returns whether it was raised.
    pub fn wait(&self, limit: Duration) -> bool {
        if self.0.raised.swap(false, Ordering::AcqRel) {
            return true;
        }
        let mut sleeping = self.0.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        // Checked again under the lock: a raiser that came between sees `sleeping` only after we wait.
        if !self.0.raised.load(Ordering::Acquire) {
            *sleeping = true;
            sleeping = self.0.wake.wait_timeout(sleeping, limit).unwrap_or_else(PoisonError::into_inner).0;
            *sleeping = false;
        }
        drop(sleeping);
        self.0.raised.swap(false, Ordering::AcqRel)
    }
}

/// How a caller's thread passes the time until its signal is raised.
pub trait Patience {
    /// Return when `signal` was raised, or after a while.
    fn pause(&mut self, signal: &Signal);
}

/// Patience of a real thread: sleep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sleep;

impl Patience for Sleep {
    fn pause(&mut self, signal: &Signal) {
        signal.wait(IDLE_WAIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_raised_before_the_wait_is_not_lost() {
        let signal = Signal::default();
        signal.raise();
        assert!(signal.wait(Duration::ZERO));
        assert!(!signal.wait(Duration::ZERO), "it is lowered by the wait");
    }

    #[test]
    fn a_waiter_sees_what_was_written_before_every_raise() {
        let signal = Signal::default();
        let (raiser, count) = (signal.clone(), Arc::new(std::sync::atomic::AtomicU32::new(0)));
        let written = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            for _ in 0..10_000 {
                written.fetch_add(1, Ordering::Relaxed);
                raiser.raise();
            }
        });
        while count.load(Ordering::Relaxed) < 10_000 {
            signal.wait(Duration::from_secs(5));
        }
        thread.join().unwrap();
    }
}
