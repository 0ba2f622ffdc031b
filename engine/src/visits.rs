//! Who is at work in an open store, and since when: what the vacuum waits for.
//!
//! Time is a count of visits, not a clock: of two moments it is only ever asked which came first.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A point in the life of one opening. The default is before every visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Stores a stream: from before its first chunk is looked up until its name is committed, or it is given up.
    Storing,
    /// Restores a stream: from before its name is looked up until its last byte was read.
    Reading,
}

/// See the module. Shared by all that use one open store.
#[derive(Clone, Debug, Default)]
pub struct Visits(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: BTreeSet<(Purpose, Moment)>,
}

/// Somebody at work; dropped, the work is over.
#[derive(Debug)]
pub struct Visit {
    visits: Visits,
    purpose: Purpose,
    begun: Moment,
}

impl Visits {
    /// Begin a visit.
    #[must_use]
    pub fn begin(&self, purpose: Purpose) -> Visit {
        let mut inner = self.lock();
        inner.next += 1;
        let begun = Moment(inner.next);
        inner.open.insert((purpose, begun));
        Visit { visits: self.clone(), purpose, begun }
    }

    /// Now: after every visit that has begun, and before those to come.
    #[must_use]
    pub fn now(&self) -> Moment {
        let mut inner = self.lock();
        inner.next += 1;
        Moment(inner.next)
    }

    /// Visits that began before `moment` and are not over.
    #[must_use]
    pub fn older(&self, purpose: Purpose, moment: Moment) -> usize {
        self.lock().open.range((purpose, Moment::default())..(purpose, moment)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visits.lock().open.remove(&(self.purpose, self.begun));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_visits_of_the_purpose_count() {
        let visits = Visits::default();
        let old = visits.begin(Purpose::Storing);
        let reading = visits.begin(Purpose::Reading);
        let moment = visits.now();
        let young = visits.begin(Purpose::Storing);
        assert_eq!(visits.older(Purpose::Storing, moment), 1);
        assert_eq!(visits.older(Purpose::Reading, moment), 1);
        drop(old);
        assert_eq!(visits.older(Purpose::Storing, moment), 0, "the young one began later");
        assert_eq!(visits.older(Purpose::Storing, visits.now()), 1);
        drop((reading, young));
        assert_eq!(visits.older(Purpose::Reading, moment) + visits.older(Purpose::Storing, visits.now()), 0);
        assert_eq!(visits.older(Purpose::Storing, Moment::default()), 0);
    }
}
