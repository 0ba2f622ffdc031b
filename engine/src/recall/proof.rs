//! What is made of slices is proved before it is handed out.
//!
//! A chunk's BLAKE3 says nothing of which part of it belongs where. So the recipe marks, for every stretch that is made
//! of slices, what chunks the stream was cut into when it was stored: the restored bytes must hash to these. A mistake
//! in slicing, of any generation, is so an error that names a place, and never other bytes.
//!
//! # Invariants
//! - No byte of a marked stretch is given before all of its mark, and of those that share a piece with it, was hashed.
//! - At most one largest chunk and two pieces are held.

use std::collections::VecDeque;

use gdd_uring::buffer::Shared;

use crate::error::{Error, Result};
use crate::format::recipe_block::Mark;

use super::locate::lost;

/// See the module.
#[derive(Debug, Default)]
pub struct Proof {
    /// Marks to come, by place.
    marks: VecDeque<(u64, Mark)>,
    /// Byte of the stream behind what was taken.
    at: u64,
    hasher: blake3::Hasher,
    /// Pieces that were taken and not given, with their ends.
    held: VecDeque<(u64, Shared)>,
    /// Byte of the stream before which everything is proved, or was not marked.
    proved: u64,
}

impl Proof {
    /// Of a stream that is read from byte `at` on.
    #[must_use]
    pub fn new(at: u64) -> Self {
        Self { at, proved: at, ..Self::default() }
    }

    /// Marks of bytes that were not taken yet, in order.
    pub fn expect(&mut self, marks: impl Iterator<Item = (u64, Mark)>) {
        self.marks.extend(marks);
    }

    /// The next piece of the stream.
    ///
    /// # Errors
    /// [`Error::ChunkLost`]: a marked stretch that ends in it has other bytes.
    pub fn take(&mut self, piece: Shared) -> Result<()> {
        let end = self.at + piece.len() as u64;
        let mut bytes: &[u8] = &piece;
        while let Some(&(start, mark)) = self.marks.front()
            && start < end
        {
            let (skip, mark_end) = (start.saturating_sub(self.at), start + u64::from(mark.length));
            let part_end = mark_end.min(end);
            let (from, to) = (to_usize(skip), to_usize(part_end - self.at));
            self.hasher.update(&bytes[from..to]);
            bytes = &bytes[to..];
            self.at = part_end;
            if part_end < mark_end {
                break;
            }
            let found = self.hasher.finalize();
            self.hasher.reset();
            if *found.as_bytes() != mark.hash.0 {
                return Err(wrong(start, &mark));
            }
            self.proved = mark_end;
            self.marks.pop_front();
        }
        self.at = end;
        self.held.push_back((end, piece));
        if self.marks.front().is_none_or(|(start, _)| *start >= end) {
            self.proved = end;
        }
        Ok(())
    }

    /// The next piece that may be given.
    pub fn give(&mut self) -> Option<Shared> {
        let (end, _) = self.held.front()?;
        if *end > self.proved { None } else { self.held.pop_front().map(|(_, piece)| piece) }
    }

    /// Whether everything that was taken was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.marks.is_empty()
    }
}

fn wrong(start: u64, mark: &Mark) -> Error {
    let end = start + u64::from(mark.length);
    let why = format!("the slices that stand for it, bytes {start} to {end} of the stream, give other bytes");
    lost(&mark.hash, why)
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("a piece is in memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChunkHash;
    use gdd_uring::buffer::IoBuf;
    use proptest::prelude::*;

    fn piece(bytes: &[u8]) -> Shared {
        let mut buffer = IoBuf::zeroed(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer.freeze()
    }

    /// Feed `bytes` from `from` on in parts that end at `cuts`; what was given, or the error.
    fn feed(bytes: &[u8], from: usize, cuts: &[usize], marks: &[(u64, Mark)]) -> Result<Vec<u8>> {
        let (mut proof, mut given, mut at) = (Proof::new(from as u64), Vec::new(), from);
        proof.expect(marks.iter().copied().filter(|(start, _)| *start >= from as u64));
        for cut in cuts.iter().copied().chain([bytes.len()]).filter(|cut| *cut > from) {
            proof.take(piece(&bytes[at..cut]))?;
            at = cut;
            while let Some(part) = proof.give() {
                given.extend_from_slice(&part);
                let open = marks.iter().find(|(start, mark)| {
                    *start >= from as u64 && *start + u64::from(mark.length) > at as u64 && *start < at as u64
                });
                let proved = open.map_or(at, |(start, _)| usize::try_from(*start).unwrap());
                assert!(from + given.len() <= proved, "nothing is given before it is proved");
            }
        }
        assert!(proof.is_empty());
        Ok(given)
    }

    proptest! {
        #[test]
        fn bytes_pass_when_they_are_right_and_only_then(
            len in 1usize..400, from in 0usize..400, spoilt in 0usize..400,
            mut cuts in prop::collection::vec(0usize..400, 0..20),
            lens in prop::collection::vec((0usize..60, 1usize..60), 0..8),
        ) {
            let bytes: Vec<u8> = (0..len).map(|n| (n * 31 % 251).to_le_bytes()[0]).collect();
            let from = from % len;
            cuts.iter_mut().for_each(|cut| *cut %= len);
            cuts.sort_unstable();
            cuts.dedup();
            let (mut marks, mut at) = (Vec::new(), 0);
            for (gap, mark_len) in lens {
                let start = at + gap;
                at = start + mark_len;
                if at <= len {
                    let hash = ChunkHash::of(&bytes[start..at]);
                    marks.push((start as u64, Mark { hash, length: u32::try_from(mark_len).unwrap() }));
                }
            }
            prop_assert_eq!(feed(&bytes, from, &cuts, &marks).unwrap(), &bytes[from..]);
            let spoilt = spoilt % len;
            let mut bad = bytes.clone();
            bad[spoilt] ^= 1;
            let covered = marks.iter().any(|(start, mark)| {
                *start >= from as u64 && (*start..*start + u64::from(mark.length)).contains(&(spoilt as u64))
            });
            prop_assert_eq!(feed(&bad, from, &cuts, &marks).is_err(), covered);
        }
    }
}
