//! Data in memory, ready to be stored: random, so that nothing of it is known and nothing can be compressed.

use gdd_engine::limits::EXTENT_SIZE;
use gdd_uring::buffer::{IoBuf, Shared};

use crate::failure::{Failure, Result};
use crate::size::show;

/// Weyl increment of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream in memory, in extents as the engine takes them.
#[derive(Debug)]
pub struct Extents {
    extents: Vec<Shared>,
    /// Numbers used so far: no two fills have anything in common.
    used: u64,
}

impl Extents {
    /// At least `bytes`, whole extents, all new.
    ///
    /// # Errors
    /// They do not fit the memory that is free.
    pub fn random(bytes: u64) -> Result<Self> {
        let free = super::report::memory("MemAvailable").unwrap_or(u64::MAX);
        if bytes > free / 4 * 3 {
            let (bytes, free) = (show(bytes), show(free));
            return Err(Failure::Failed(format!(
                "{bytes} do not fit the free memory, {free}; use fewer --bytes"
            )));
        }
        let count = bytes.div_ceil(EXTENT_SIZE).max(1);
        let size = usize::try_from(EXTENT_SIZE).expect("an extent fits memory");
        let extents = (0..count).map(|_| IoBuf::zeroed(size).freeze()).collect();
        let mut extents = Self { extents, used: 0 };
        extents.renew();
        Ok(extents)
    }

    /// Replace all data by other data, in the same memory where nobody holds it any more.
    pub fn renew(&mut self) {
        for extent in &mut self.extents {
            let size = extent.len();
            let old = std::mem::replace(extent, IoBuf::zeroed(0).freeze());
            let mut buffer = old.thaw().unwrap_or_else(|_| IoBuf::zeroed(size));
            fill(&mut buffer, self.used);
            self.used += size as u64 / 8;
            *extent = buffer.freeze();
        }
    }

    /// The extents, in order.
    #[must_use]
    pub fn all(&self) -> &[Shared] {
        &self.extents
    }

    /// The same, as `count` streams of nearly equal length.
    pub fn parts(&self, count: usize) -> impl Iterator<Item = &[Shared]> {
        let total = self.extents.len();
        (0..count).map(move |part| &self.extents[total * part / count..total * (part + 1) / count])
    }

    /// Their length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.len() as u64).sum()
    }
}

/// Fill with SplitMix64's output from number `first` on.
pub fn fill(buffer: &mut [u8], first: u64) {
    let (words, _) = buffer.as_chunks_mut::<8>();
    for (word, number) in words.iter_mut().zip(first..) {
        let mut mixed = number.wrapping_mul(GAMMA);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *word = (mixed ^ (mixed >> 31)).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_repeated() {
        let mut extents = Extents::random(2 * EXTENT_SIZE).unwrap();
        let mut words = std::collections::HashSet::new();
        let mut count = 0;
        for _ in 0..2 {
            for extent in extents.all() {
                for word in extent.as_chunks::<8>().0.iter().step_by(61) {
                    words.insert(*word);
                    count += 1;
                }
            }
            extents.renew();
        }
        assert_eq!(words.len(), count);
    }

    #[test]
    fn parts_add_up() {
        let extents = Extents::random(5 * EXTENT_SIZE).unwrap();
        for count in 1..8 {
            let whole: usize = extents.parts(count).map(<[Shared]>::len).sum();
            assert_eq!(whole, extents.all().len());
        }
    }
}
