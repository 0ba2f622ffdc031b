//! From a chunk's hash word to its place in the cache: a hash table of fixed size without pointers.
//!
//! A table that grows copies itself and for that moment needs three times its memory, which no budget foresees. This
//! one gets its size once. Hash words are uniformly distributed, so they are scaled to a bucket as they are;
//! collisions go to the next bucket, and a removal closes the gap, so that there are no tombstones.

/// Where a chunk's directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Number of the container's slot.
    pub slot: u32,
    /// Number of the entry in it.
    pub entry: u32,
}

/// Bucket of no chunk: there are never so many slots.
const EMPTY: Spot = Spot { slot: u32::MAX, entry: 0 };

#[derive(Clone, Copy, Debug)]
struct Bucket {
    word: u64,
    spot: Spot,
}

/// Bytes of one bucket.
pub const BUCKET_BYTES: usize = size_of::<Bucket>();
const _: () = assert!(BUCKET_BYTES == 16);

/// See the module.
#[derive(Debug)]
pub struct Table {
    buckets: Box<[Bucket]>,
    len: usize,
}

impl Table {
    /// A table of so many buckets, at least two.
    #[must_use]
    pub fn new(buckets: usize) -> Self {
        let empty = Bucket { word: 0, spot: EMPTY };
        Self { buckets: vec![empty; buckets.max(2)].into_boxed_slice(), len: 0 }
    }

    /// Where the chunk with this word is.
    #[must_use]
    #[inline]
    pub fn get(&self, word: u64) -> Option<Spot> {
        self.find(word).ok().map(|at| self.buckets[at].spot)
    }

    /// Put the chunk with this word there; whatever was there under the same word is forgotten.
    ///
    /// # Panics
    /// When the table is full: its owner bounds the chunks by fewer than the buckets.
    pub fn put(&mut self, word: u64, spot: Spot) {
        match self.find(word) {
            Ok(at) => self.buckets[at].spot = spot,
            Err(at) => {
                assert!(self.len + 1 < self.buckets.len(), "the budget bounds the entries below the buckets");
                self.buckets[at] = Bucket { word, spot };
                self.len += 1;
            }
        }
    }

    /// Forget the chunk with this word, if `spot` is where it is.
    pub fn remove(&mut self, word: u64, spot: Spot) {
        let Ok(mut gap) = self.find(word) else { return };
        if self.buckets[gap].spot != spot {
            return;
        }
        self.len -= 1;
        let mut at = gap;
        loop {
            self.buckets[gap].spot = EMPTY;
            // Move up the first follower that may stand at the gap: one whose home is not between gap and itself.
            loop {
                at = self.next(at);
                let follower = self.buckets[at];
                if follower.spot == EMPTY {
                    return;
                }
                let from_home = self.distance(self.home(follower.word), at);
                if from_home >= self.distance(gap, at) {
                    self.buckets[gap] = follower;
                    gap = at;
                    break;
                }
            }
        }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buckets.len() * BUCKET_BYTES
    }

    /// Chunks in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bucket of `word`, or the free one where it would go.
    #[inline]
    fn find(&self, word: u64) -> Result<usize, usize> {
        let mut at = self.home(word);
        loop {
            let bucket = &self.buckets[at];
            if bucket.spot == EMPTY {
                return Err(at);
            }
            if bucket.word == word {
                return Ok(at);
            }
            at = self.next(at);
        }
    }

    #[inline]
    fn home(&self, word: u64) -> usize {
        let scaled = u128::from(word) * self.buckets.len() as u128;
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of buckets")]
        let home = (scaled >> 64) as usize;
        home
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    /// Steps from one bucket on to another, around the end.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn spot(entry: u32) -> Spot {
        Spot { slot: 1, entry }
    }

    proptest! {
        #[test]
        fn it_does_what_a_hash_map_does(steps in prop::collection::vec((0u64..40, any::<bool>()), 0..400)) {
            // Few and clustered words in few buckets: long runs, around the end too.
            let word = |key: u64| if key.is_multiple_of(3) { u64::MAX - key } else { key << 58 | key };
            let mut table = Table::new(48);
            let mut model = HashMap::new();
            for (number, (key, put)) in (0..).zip(steps) {
                let at = spot(number);
                if put {
                    table.put(word(key), at);
                    model.insert(key, at);
                } else if let Some(known) = model.remove(&key) {
                    table.remove(word(key), spot(u32::MAX));
                    prop_assert_eq!(table.get(word(key)), Some(known), "a stale removal does nothing");
                    table.remove(word(key), known);
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..40 {
                    prop_assert_eq!(table.get(word(key)), model.get(&key).copied());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "the budget bounds")]
    fn overfilling_is_a_bug() {
        let mut table = Table::new(4);
        (0..4).for_each(|word| table.put(word, spot(0)));
    }
}
