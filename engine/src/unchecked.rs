//! Containers that nobody has checked since the index was made anew and the old one could not be asked.
//!
//! The index alone knows which chunks cannot be given back. When it is lost, that is too, and the next backup would
//! find such data "known", store nothing, and succeed. So what these containers hold counts as unknown until a scrub
//! has read them: it is restored as before, and stored again when it comes again.
//!
//! # Invariants
//! - A container leaves the set when its check is durable in the index, or at the end of a scrub of all.
//! - Containers of later epochs are never in it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::Result;
use crate::ids::{ContainerId, Epoch};
use crate::index::{Index, MetaKey};

/// See the module. Shared by all that store in one open store.
#[derive(Clone, Default)]
pub struct Unchecked(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether there are any: the usual answer costs one load.
    any: AtomicBool,
    containers: RwLock<HashSet<ContainerId>>,
}

impl Unchecked {
    /// What `index` says: of the containers up to the epoch of its mark, those without a check.
    ///
    /// # Errors
    /// The index failed.
    pub fn of(index: &dyn Index) -> Result<Self> {
        let mark = index.meta(MetaKey::Unchecked)?.unwrap_or_default();
        let Ok(last) = mark.as_slice().try_into().map(u32::from_le_bytes) else { return Ok(Self::default()) };
        let checked: HashSet<ContainerId> = index.checked()?.into_iter().map(|(id, _)| id).collect();
        let ids = index.containers()?.into_iter().map(|(id, _)| id);
        let unchecked = ids.filter(|id| id.epoch() <= Epoch(last) && !checked.contains(id));
        let containers: HashSet<ContainerId> = unchecked.collect();
        let any = AtomicBool::new(!containers.is_empty());
        Ok(Self(Arc::new(Inner { any, containers: RwLock::new(containers) })))
    }

    /// The value of [`MetaKey::Unchecked`] for an index that is made anew now; `last` is the epoch so far.
    #[must_use]
    pub fn mark(last: Epoch) -> Vec<u8> {
        last.0.to_le_bytes().to_vec()
    }

    /// Whether what it holds counts as unknown.
    #[must_use]
    pub fn has(&self, id: ContainerId) -> bool {
        self.0.any.load(Ordering::Acquire)
            && self.0.containers.read().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// It was checked, durably.
    pub fn checked(&self, id: ContainerId) {
        if self.has(id) {
            self.0.containers.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }

    /// All that there is was checked.
    pub fn clear(&self) {
        self.0.containers.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.any.store(false, Ordering::Release); // Whoever has seen it set looks, and finds nothing.
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.containers.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::simulated::SimulatedIndex;
    use crate::index::{Batch, CheckedRow, ContainerRow};

    #[test]
    fn it_holds_what_is_older_than_the_mark_and_has_no_check() {
        let index = SimulatedIndex::new(1);
        let [old, checked, new] = [(3, 1), (3, 2), (4, 1)].map(|(epoch, n)| ContainerId::of(Epoch(epoch), n));
        let row = ContainerRow::empty(0);
        let containers = [old, checked, new].map(|id| (id, row)).to_vec();
        let checks = vec![(checked, CheckedRow { unix: 1, bad: 0 })];
        index.commit(Batch { containers, checked: checks, ..Batch::default() }).unwrap();
        assert_eq!(Unchecked::of(&index).unwrap().count(), 0, "no mark");
        let mark = |value| Batch { meta: vec![(MetaKey::Unchecked, value)], ..Batch::default() };
        index.commit(mark(Unchecked::mark(Epoch(3)))).unwrap();
        let unchecked = Unchecked::of(&index).unwrap();
        assert!(unchecked.has(old) && !unchecked.has(checked) && !unchecked.has(new));
        unchecked.clone().checked(old);
        assert!(!unchecked.has(old) && unchecked.count() == 0);
        index.commit(mark(Vec::new())).unwrap();
        assert_eq!(Unchecked::of(&index).unwrap().count(), 0, "the mark was taken away");
    }
}
