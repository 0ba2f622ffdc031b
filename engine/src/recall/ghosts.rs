//! What was evicted lately: keys only. Something read again soon after it was evicted deserved to stay.

use std::collections::{HashSet, VecDeque};

use crate::ids::ChunkHash;

/// The last so many keys, oldest first.
#[derive(Debug, Default)]
pub struct Ghosts {
    order: VecDeque<u64>,
    present: HashSet<u64>,
    count_max: usize,
}

impl Ghosts {
    /// Remember up to `count_max` keys.
    pub fn resize(&mut self, count_max: usize) {
        self.count_max = count_max;
    }

    /// Remember a key, forgetting the oldest if need be.
    pub fn add(&mut self, hash: ChunkHash) {
        while self.order.len() >= self.count_max.max(1) {
            let oldest = self.order.pop_front();
            oldest.map(|key| self.present.remove(&key));
        }
        // Two chunks with one prefix are one ghost: a hint, never an answer.
        if self.present.insert(hash.prefix()) {
            self.order.push_back(hash.prefix());
        }
    }

    /// Whether the key was remembered. It stays in line, and is forgotten in its turn.
    pub fn remove(&mut self, hash: &ChunkHash) -> bool {
        self.present.remove(&hash.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let hash = |n: u8| ChunkHash([n; 32]);
        let mut ghosts = Ghosts::default();
        ghosts.resize(3);
        (0..5).for_each(|n| ghosts.add(hash(n)));
        assert!(!ghosts.remove(&hash(0)) && !ghosts.remove(&hash(1)));
        assert!(ghosts.remove(&hash(2)) && ghosts.remove(&hash(4)));
        assert!(!ghosts.remove(&hash(4)), "once");
        for _ in 0..10 {
            ghosts.add(hash(7));
            assert!(ghosts.remove(&hash(7)));
        }
        assert!(ghosts.order.len() <= 3);
    }
}
