//! Which buffer of the segment cache goes next: first-in-first-out with a probation queue.
//!
//! A restore reads everything once. In a plain LRU that pushes out what several restores share. Here a newcomer waits
//! in a short probation queue and leaves it for good unless it was used again; only then does it enter the main queue,
//! where each further use buys one more round (S3-FIFO: Yang et al., "FIFO queues are all you need for cache eviction",
//! SOSP 2023).
//!
//! # Invariants
//! - A key is in exactly one queue from `admit` to the `victim` call that returns it.
//! - A pinned key is passed over, never returned; when all are pinned there is no victim.

use std::collections::VecDeque;

/// Most uses that are remembered, and so rounds that a key in the main queue can survive without another.
pub const USES_MAX: u8 = 3;

/// The probation queue gives up its oldest once it holds this share of all keys: one in ten.
const PROBATION_SHARE: usize = 10;

/// What the queues ask about a key.
pub trait Judge {
    /// Whether somebody outside holds it.
    fn is_pinned(&self, key: u32) -> bool;
    /// Uses since it came, up to [`USES_MAX`].
    fn uses(&self, key: u32) -> u8;
    /// Set that number.
    fn set_uses(&mut self, key: u32, uses: u8);
}

/// The two queues, oldest first.
#[derive(Debug, Default)]
pub struct Queues {
    probation: VecDeque<u32>,
    main: VecDeque<u32>,
}

impl Queues {
    /// Add a newcomer.
    pub fn admit(&mut self, key: u32) {
        self.probation.push_back(key);
    }

    /// Choose a key to evict and forget it.
    pub fn victim(&mut self, judge: &mut impl Judge) -> Option<u32> {
        let crowded = self.probation.len() * PROBATION_SHARE > self.probation.len() + self.main.len();
        if crowded {
            self.oldest_on_probation(judge).or_else(|| self.oldest_unused(judge))
        } else {
            let tried = self.oldest_unused(judge).or_else(|| self.oldest_on_probation(judge));
            tried.or_else(|| self.oldest_unused(judge)) // Of those that have just left probation.
        }
    }

    fn oldest_on_probation(&mut self, judge: &mut impl Judge) -> Option<u32> {
        for _ in 0..self.probation.len() {
            let key = self.probation.pop_front()?;
            if judge.uses(key) > 0 {
                judge.set_uses(key, 0);
                self.main.push_back(key);
            } else if judge.is_pinned(key) {
                self.probation.push_back(key);
            } else {
                return Some(key);
            }
        }
        None
    }

    fn oldest_unused(&mut self, judge: &mut impl Judge) -> Option<u32> {
        for _ in 0..self.main.len() * usize::from(USES_MAX + 1) {
            let key = self.main.pop_front()?;
            let uses = judge.uses(key);
            if uses == 0 && !judge.is_pinned(key) {
                return Some(key);
            }
            judge.set_uses(key, uses.saturating_sub(1));
            self.main.push_back(key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    #[derive(Default)]
    struct Notes {
        uses: HashMap<u32, u8>,
        pinned: HashSet<u32>,
    }

    impl Judge for Notes {
        fn is_pinned(&self, key: u32) -> bool {
            self.pinned.contains(&key)
        }
        fn uses(&self, key: u32) -> u8 {
            self.uses.get(&key).copied().unwrap_or(0)
        }
        fn set_uses(&mut self, key: u32, uses: u8) {
            self.uses.insert(key, uses);
        }
    }

    #[test]
    fn a_scan_leaves_what_is_used_again() {
        let (mut queues, mut notes) = (Queues::default(), Notes::default());
        for key in 0..10 {
            queues.admit(key);
        }
        notes.set_uses(3, 1);
        for key in 100..1000 {
            let victim = queues.victim(&mut notes).unwrap();
            assert_ne!(victim, 3, "scanned key {key}");
            queues.admit(key);
        }
    }

    #[test]
    fn an_old_favourite_goes_once_it_is_no_longer_used() {
        let (mut queues, mut notes) = (Queues::default(), Notes::default());
        queues.admit(1);
        notes.set_uses(1, USES_MAX);
        assert_eq!(queues.victim(&mut notes), Some(1), "alone, it goes at once");
    }

    #[test]
    fn who_leaves_probation_can_go_at_once() {
        let (mut queues, mut notes) = (Queues::default(), Notes::default());
        for key in 0..20 {
            queues.admit(key);
            notes.set_uses(key, 1);
            notes.pinned.insert(key);
        }
        assert_eq!(queues.victim(&mut notes), None, "all are pinned, and in the main queue now");
        queues.admit(20);
        notes.set_uses(20, 1);
        assert_eq!(queues.victim(&mut notes), Some(20));
    }

    proptest! {
        #[test]
        fn every_key_leaves_once_and_never_while_pinned(
            uses in prop::collection::vec(0u8..=USES_MAX, 1..40),
            pinned in prop::collection::vec(any::<bool>(), 40),
        ) {
            let (mut queues, mut notes) = (Queues::default(), Notes::default());
            for (key, uses) in (0u32..).zip(&uses) {
                queues.admit(key);
                notes.set_uses(key, *uses);
                if pinned[key as usize] {
                    notes.pinned.insert(key);
                }
            }
            let mut left: HashSet<u32> = (0u32..).take(uses.len()).collect();
            while let Some(victim) = queues.victim(&mut notes) {
                prop_assert!(!notes.pinned.contains(&victim));
                prop_assert!(left.remove(&victim));
            }
            prop_assert!(left.iter().all(|key| notes.pinned.contains(key)), "all that is left is pinned");
            notes.pinned.clear();
            while let Some(victim) = queues.victim(&mut notes) {
                prop_assert!(left.remove(&victim));
            }
            prop_assert!(left.is_empty());
        }
    }
}
