//! A fast seeded generator: the same seed gives the same bytes on every machine and in every version of this crate.

/// xoshiro256++ (Blackman and Vigna, 2019), seeded by SplitMix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// The generator number `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self([1, 2, 3, 4].map(|word| mix(seed, word)))
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let word = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        word
    }

    /// A number in `0..bound`, with the small bias of a widening multiplication.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a range has at least one number");
        below(self.word(), bound)
    }

    /// A place in something of `len` things.
    ///
    /// # Panics
    /// When `len` is 0.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("it is below a length")
    }

    /// Fill `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.word().to_le_bytes());
        }
        let rest = words.into_remainder();
        let last = self.word().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Two numbers to one, well mixed (the finalizer of SplitMix64): random access into a random sequence.
#[must_use]
pub fn mix(seed: u64, index: u64) -> u64 {
    let word = seed.rotate_left(32).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Scale 64 random bits to `0..bound`.
#[must_use]
pub(crate) fn below(word: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(word) * u128::from(bound)) >> 64)
        .expect("a word scaled by a word has a one-word head")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_never_changes() {
        let mut random = Random::new(42);
        let words: Vec<_> = (0..3).map(|_| random.word()).collect();
        // From a second implementation, written from the paper in another language.
        assert_eq!(words, [0x47ce_051b_b56f_a141, 0x7410_5f03_a796_49b4, 0x4e81_1db8_637e_eeab]);
    }

    #[test]
    fn bytes_do_not_depend_on_how_the_tail_falls() {
        let mut long = [0; 24];
        Random::new(1).fill(&mut long);
        for length in 0..24 {
            let mut short = vec![0; length];
            Random::new(1).fill(&mut short);
            assert_eq!(short, long[..length]);
        }
    }

    #[test]
    fn numbers_below_a_bound_cover_it() {
        let mut random = Random::new(7);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[usize::try_from(random.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (130..270).contains(&count)), "{seen:?}");
    }
}
