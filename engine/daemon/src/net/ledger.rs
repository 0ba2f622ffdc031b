//! What the backups of a domain have together, so that a quota holds for those that run at the same time.
//!
//! # Invariants
//! - What streams in the store have and what running backups have brought is at most the quota: a backup that would
//!   bring more is refused before it does. Without the sum, each of many backups at once could fill the quota alone.
//! - A backup that ends without a name gives back what it had taken; one that gets its name keeps it, and is counted
//!   once at each moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gdd_engine::error::Result;

use super::lock;

/// Bytes of a domain's backups that run, or have got their names since the service started.
#[derive(Debug, Default)]
struct Taken {
    /// Of all those: up when bytes come, down when a backup gives up.
    bytes: u64,
    /// Of each that runs, by its stream's name.
    running: BTreeMap<String, u64>,
}

/// See the module. All sessions of a domain share one.
#[derive(Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Taken>>);

/// One backup's part of it.
#[derive(Debug)]
pub(super) struct Share {
    taken: Arc<Mutex<Taken>>,
    name: String,
    /// As much may be taken in all, counted as [`Taken::bytes`].
    limit: u64,
    named: bool,
}

impl Ledger {
    /// A backup that will have `name` begins; `streams` are the names and bytes of those that the store has. None when
    /// the `quota` is used up.
    ///
    /// # Errors
    /// Of `streams`.
    pub(super) fn begin<I>(
        &self,
        name: String,
        quota: u64,
        streams: impl FnOnce() -> Result<I>,
    ) -> Result<Option<Share>>
    where
        I: Iterator<Item = (String, u64)>,
    {
        // Until it is added up nobody takes anything, and no name becomes another's.
        let mut taken = lock(&self.0);
        let others = streams()?.filter(|(name, _)| !taken.running.contains_key(name));
        let held: u64 = others.map(|(_, bytes)| bytes).sum();
        let left = quota.saturating_sub(held).saturating_sub(taken.running.values().sum());
        if left == 0 {
            return Ok(None);
        }
        taken.running.insert(name.clone(), 0);
        let limit = taken.bytes.saturating_add(left);
        drop(taken);
        Ok(Some(Share { taken: Arc::clone(&self.0), name, limit, named: false }))
    }
}

impl Share {
    /// The backup brings `bytes` more; whether they fit. Those that do not are not taken.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let mut taken = lock(&self.taken);
        let all = taken.bytes.saturating_add(bytes);
        if all > self.limit {
            return false;
        }
        taken.bytes = all;
        if let Some(own) = taken.running.get_mut(&self.name) {
            *own += bytes;
        }
        true
    }

    /// It has its name, and what it took is the store's to count.
    pub(super) fn named(mut self) {
        self.named = true;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        let own = taken.running.remove(&self.name).unwrap_or(0);
        if !self.named {
            taken.bytes -= own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(ledger: &Ledger, name: &str, streams: &[(&str, u64)]) -> Option<Share> {
        let streams: Vec<_> = streams.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
        ledger.begin(name.to_owned(), 100, || Ok(streams.into_iter())).unwrap()
    }

    #[test]
    fn those_at_once_share_one_quota() {
        let ledger = Ledger::default();
        let (one, two) = (begin(&ledger, "a", &[]).unwrap(), begin(&ledger, "b", &[]).unwrap());
        assert!(one.take(60));
        assert!(!two.take(60), "together it would be more than the quota");
        assert!(two.take(40) && !one.take(1));
        assert!(begin(&ledger, "c", &[]).is_none(), "nothing is left for a third");
        drop(two);
        assert!(one.take(40), "who gives up gives back");
        assert!(!one.take(1));
    }

    #[test]
    fn a_stream_is_counted_once_before_and_after_it_has_its_name() {
        let ledger = Ledger::default();
        let one = begin(&ledger, "a", &[]).unwrap();
        assert!(one.take(50));
        // It has its name in the store already, and its session has not said so yet.
        let two = begin(&ledger, "b", &[("a", 50)]).unwrap();
        one.named();
        assert!(two.take(50) && !two.take(1));
        drop(two);
        let three = begin(&ledger, "c", &[("a", 50)]).unwrap();
        assert!(three.take(50) && !three.take(1));
        // What is removed meanwhile is room for those that begin later.
        drop(three);
        assert!(begin(&ledger, "d", &[]).unwrap().take(100));
    }
}
