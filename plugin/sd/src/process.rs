//! What all devices of one bacula-sd know together: which sessions have failed, and which are not of this process.
//!
//! To Bacula "incomplete" outranks "failed": a job of more than ten files that was stopped, or whose client died, ends
//! incomplete whatever the driver says of it, with files in the catalog whose blocks may be on no volume. Resumed, it
//! goes on with the same session and leaves those files out, on whatever device is free, perhaps after a restart.
//!
//! # Invariants
//! - A session that has failed on one device is refused on all.
//! - A session of another run of bacula-sd is refused: whether it had failed died with that process.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::block::SessionId;
use crate::error::{Error, Result};
use crate::limits::DEAD_SESSIONS_MAX;

/// The sessions that have failed.
#[derive(Debug, Default)]
struct Dead {
    ids: BTreeSet<SessionId>,
    /// Of those that there was no room for, the last: this one and all before it may be dead.
    forgotten: Option<SessionId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Process {
    session_time: Option<u32>,
    dead: Mutex<Dead>,
}

impl Process {
    /// A process that gives its jobs this VolSessionTime; `None` for a tool, which copies blocks of any session.
    pub fn new(session_time: Option<u32>) -> Self {
        Self { session_time, dead: Mutex::default() }
    }

    /// Whether this session has failed.
    pub fn is_dead(&self, id: SessionId) -> bool {
        self.dead().ids.contains(&id)
    }

    /// Whether this session, of which a device knows nothing, may begin there.
    ///
    /// # Errors
    /// When it has failed, or may have, or is of another process.
    pub fn admit(&self, id: SessionId) -> Result<()> {
        if self.session_time.is_some_and(|time| time != id.time) {
            return Err(Error::Resumed(id));
        }
        let dead = self.dead();
        if dead.ids.contains(&id) || dead.forgotten.is_some_and(|last| id <= last) {
            return Err(Error::Dead(id));
        }
        Ok(())
    }

    /// Refuses this session from now on.
    pub fn kill(&self, id: SessionId) {
        let mut dead = self.dead();
        dead.ids.insert(id);
        if dead.ids.len() > DEAD_SESSIONS_MAX {
            let oldest = dead.ids.pop_first();
            dead.forgotten = dead.forgotten.max(oldest);
        }
    }

    /// A panic elsewhere leaves the set as it is: it is changed by single calls.
    fn dead(&self) -> MutexGuard<'_, Dead> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: usize) -> SessionId {
        SessionId { id: u32::try_from(id).expect("small"), time: 1 }
    }

    #[test]
    fn the_dead_are_refused_also_when_they_are_forgotten() {
        let process = Process::default();
        for number in 1..=DEAD_SESSIONS_MAX + 10 {
            process.kill(id(number));
        }
        assert_eq!(process.dead().ids.len(), DEAD_SESSIONS_MAX);
        for number in [1, 10, 11, DEAD_SESSIONS_MAX] {
            assert!(matches!(process.admit(id(number)), Err(Error::Dead(_))), "{number}");
        }
        assert!(!process.is_dead(id(1)), "it may live on a device");
        assert!(process.admit(id(DEAD_SESSIONS_MAX + 11)).is_ok());
    }

    #[test]
    fn sessions_of_another_process_do_not_begin() {
        let process = Process::new(Some(1));
        assert!(process.admit(id(1)).is_ok());
        let error = process.admit(SessionId { id: 1, time: 2 }).expect_err("another one's");
        assert!(error.to_string().contains("GDD-SD-0117"), "{error}");
    }
}
