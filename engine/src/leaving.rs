//! Containers that the vacuum empties: what they hold counts as unknown, so that nobody comes to rely on it.
//!
//! A container leaves before it is emptied, and whoever stored a stream by then may have been told that a chunk in it
//! is known. So each remembers since when it leaves ([`crate::visits`]); only when the last older visit is over is it
//! certain what is still needed of it.
//!
//! # Invariants
//! - Once in, never out: a freed container's id is never used again, and a lookup that saw an old directory of it must
//!   find it here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::ids::ContainerId;
use crate::visits::Moment;

/// How far a container is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// No visit that began later relies on it.
    pub since: Moment,
    /// Nothing in it is needed, but by readings that began before.
    pub emptied: Option<Moment>,
}

/// See the module. Shared by all that store in one open store.
#[derive(Clone, Default)]
pub struct Leaving(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether there are any: the usual answer costs one load.
    any: AtomicBool,
    containers: RwLock<BTreeMap<ContainerId, Departure>>,
}

impl Leaving {
    /// Containers that an earlier opening has begun to empty: nobody of this one relies on them.
    #[must_use]
    pub fn of(containers: impl IntoIterator<Item = ContainerId>) -> Self {
        let departure = Departure { since: Moment::default(), emptied: None };
        let containers: BTreeMap<_, _> = containers.into_iter().map(|id| (id, departure)).collect();
        let any = AtomicBool::new(!containers.is_empty());
        Self(Arc::new(Inner { any, containers: RwLock::new(containers) }))
    }

    /// From here on nobody is told that what is in `id` is known. `now` is asked when that is so.
    pub fn add(&self, id: ContainerId, now: impl FnOnce() -> Moment) {
        let mut containers = self.0.containers.write().unwrap_or_else(PoisonError::into_inner);
        self.0.any.store(true, Ordering::Release);
        // Under the lock: a lookup of before has ended, and the next one waits and sees the container.
        containers.insert(id, Departure { since: now(), emptied: None });
    }

    /// Whether what it holds counts as unknown.
    #[must_use]
    pub fn has(&self, id: ContainerId) -> bool {
        self.0.any.load(Ordering::Acquire) && self.lock().contains_key(&id)
    }

    /// How far it is; nothing for one that stays.
    #[must_use]
    pub fn departure(&self, id: ContainerId) -> Option<Departure> {
        self.lock().get(&id).copied()
    }

    /// Nothing in it is needed any more, at `moment`.
    pub fn emptied(&self, id: ContainerId, moment: Moment) {
        let mut containers = self.0.containers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(departure) = containers.get_mut(&id) {
            departure.emptied = Some(moment);
        }
    }

    fn lock(&self) -> RwLockReadGuard<'_, BTreeMap<ContainerId, Departure>> {
        self.0.containers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visits::Visits;

    #[test]
    fn what_leaves_stays_known_as_leaving() {
        let (leaving, visits) = (Leaving::of([ContainerId(1)]), Visits::default());
        assert!(leaving.has(ContainerId(1)) && !leaving.has(ContainerId(2)));
        leaving.add(ContainerId(2), || visits.now());
        assert!(leaving.clone().has(ContainerId(2)));
        assert_eq!(leaving.departure(ContainerId(2)).map(|departure| departure.emptied), Some(None));
        leaving.emptied(ContainerId(2), visits.now());
        assert!(leaving.departure(ContainerId(2)).is_some_and(|departure| departure.emptied.is_some()));
        assert!(leaving.departure(ContainerId(3)).is_none() && !Leaving::default().has(ContainerId(1)));
    }
}
