//! What becomes of a stretch of new chunks when the old bytes of the same place are at hand: slices of old chunks where
//! nothing has changed, and the changed blocks between them; or nothing, when that would not pay.
//!
//! Pure: no I/O.
//!
//! # Invariants
//! - The pieces add up to the stretch, in order, and each old one has the bytes that the stretch has there.
//! - Not sliced again and again until nothing is left of it: see [`compose`] for the three bounds.

use std::collections::HashMap;

use crate::ids::ChunkHash;

/// A part of a chunk that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The chunk.
    pub hash: ChunkHash,
    /// Where in it the part begins.
    pub offset: u32,
    /// Bytes of the part.
    pub len: u32,
}

/// Append a part; one that goes on where the last one ends makes that longer.
pub fn join(parts: &mut Vec<Part>, part: Part) {
    match parts.last_mut() {
        Some(last) if last.hash == part.hash && last.offset + last.len == part.offset => last.len += part.len,
        _ => parts.push(part),
    }
}

/// A piece of the stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it was.
    Old(Part),
    /// To be stored: so many bytes of the stretch, from this one on.
    Fresh {
        /// The first.
        at: usize,
        /// How many.
        len: u32,
    },
}

/// How stretches are compared, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Grain {
    /// What counts as changed when one byte of it has: blocks of the stream, from its start on.
    pub block: usize,
    /// The chunk size that the stream is cut for.
    pub chunk_avg: u32,
    /// Longest piece that can be stored.
    pub chunk_max: u32,
}

/// Pieces that a stretch may have besides those that its length allows.
const PIECES_SPARE: usize = 4;

/// The pieces of the stretch `new`, which begins at byte `start` of the stream; `old` are the bytes of `parts`, as
/// many. `chunk_len` knows the length of each part's chunk. None when slices do not pay:
///
/// - more than half of the stretch has changed;
/// - there would be more than one piece for two blocks, so that reading it back is reading crumbs;
/// - the chunks that it refers to, whole as they are kept and read, and what is stored, are more than twice the
///   stretch: then little is left of the old chunks, and they are kept for nothing once older versions are removed.
pub fn compose(
    start: u64,
    new: &[u8],
    (parts, old): (&[Part], &[u8]),
    chunk_len: &dyn Fn(&ChunkHash) -> u32,
    grain: &Grain,
) -> Option<Vec<Piece>> {
    assert_eq!(new.len(), old.len(), "a stretch is compared with as many bytes");
    let changed = changes(start, new, old, grain.block);
    let fresh: usize = changed.iter().map(|(from, to)| to - from).sum();
    if 2 * fresh > new.len() {
        return None;
    }
    let (mut pieces, mut cursor) = (Vec::new(), Cursor { parts, part: 0, at: 0 });
    let mut at = 0;
    for (from, to) in changed {
        cursor.take(from - at, &mut pieces);
        cursor.skip(to - from);
        store(from, to, grain, &mut pieces);
        at = to;
    }
    cursor.take(new.len() - at, &mut pieces);
    let mut chunks: HashMap<ChunkHash, u64> = HashMap::new();
    for piece in &pieces {
        if let Piece::Old(part) = piece {
            chunks.entry(part.hash).or_insert_with(|| u64::from(chunk_len(&part.hash)));
        }
    }
    let footprint = chunks.values().sum::<u64>() + fresh as u64;
    let crumbs = pieces.len() > PIECES_SPARE + new.len() / (2 * grain.block);
    let bloated = footprint > 2 * new.len() as u64 + u64::from(grain.chunk_avg);
    (!crumbs && !bloated).then_some(pieces)
}

/// Where the two differ, in whole blocks of the stream, in order. Changes with a single block between them are one: a
/// block costs less than two pieces.
fn changes(start: u64, new: &[u8], old: &[u8], block: usize) -> Vec<(usize, usize)> {
    let mut changed: Vec<(usize, usize)> = Vec::new();
    let mut from = 0;
    while from < new.len() {
        let in_block = usize::try_from((start + from as u64) % block as u64).expect("less than a block");
        let to = new.len().min(from + block - in_block);
        if new[from..to] != old[from..to] {
            match changed.last_mut() {
                Some(last) if from - last.1 <= block => last.1 = to,
                _ => changed.push((from, to)),
            }
        }
        from = to;
    }
    changed
}

/// The stretch from `from` to `to` is stored: in as many pieces as it takes, none much shorter than the others.
fn store(from: usize, to: usize, grain: &Grain, pieces: &mut Vec<Piece>) {
    let count = (to - from).div_ceil(grain.chunk_max as usize);
    for number in 0..count {
        let edge = |number: usize| from + (to - from) * number / count;
        let (at, end) = (edge(number), edge(number + 1));
        let len = u32::try_from(end - at).expect("no longer than a chunk");
        pieces.push(Piece::Fresh { at, len });
    }
}

/// How far the old parts are used up.
struct Cursor<'a> {
    parts: &'a [Part],
    part: usize,
    at: u32,
}

impl Cursor<'_> {
    /// The next `len` bytes of the old parts are pieces.
    fn take(&mut self, len: usize, pieces: &mut Vec<Piece>) {
        self.walk(len, &mut |part| match pieces.last_mut() {
            Some(Piece::Old(last)) if last.hash == part.hash && last.offset + last.len == part.offset => {
                last.len += part.len;
            }
            _ => pieces.push(Piece::Old(part)),
        });
    }

    fn skip(&mut self, len: usize) {
        self.walk(len, &mut |_| {});
    }

    fn walk(&mut self, mut len: usize, visit: &mut dyn FnMut(Part)) {
        while len > 0 {
            let whole = self.parts[self.part];
            let left = whole.len - self.at;
            let taken = u32::try_from(len).unwrap_or(u32::MAX).min(left);
            visit(Part { hash: whole.hash, offset: whole.offset + self.at, len: taken });
            len -= taken as usize;
            self.at += taken;
            if self.at == whole.len {
                (self.part, self.at) = (self.part + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRAIN: Grain = Grain { block: 16, chunk_avg: 64, chunk_max: 128 };

    /// Old chunks, each twice as long as the part of it that the stretch has.
    fn old_parts(lens: &[u8]) -> (Vec<Part>, HashMap<ChunkHash, Vec<u8>>, Vec<u8>) {
        let (mut parts, mut chunks, mut bytes) = (Vec::new(), HashMap::new(), Vec::new());
        for (number, len) in lens.iter().enumerate() {
            let len = u32::from(*len) + 1;
            let chunk: Vec<u8> =
                (0..2 * len as usize).map(|n| (n * 7 + number * 13).to_le_bytes()[0]).collect();
            let part = Part { hash: ChunkHash::of(&chunk), offset: len / 2, len };
            bytes.extend(&chunk[part.offset as usize..][..len as usize]);
            chunks.insert(part.hash, chunk);
            parts.push(part);
        }
        (parts, chunks, bytes)
    }

    fn len_of(chunks: &HashMap<ChunkHash, Vec<u8>>) -> impl Fn(&ChunkHash) -> u32 + '_ {
        |hash| u32::try_from(chunks[hash].len()).unwrap()
    }

    #[test]
    fn one_changed_block_is_all_that_is_stored() {
        let (parts, chunks, old) = old_parts(&[199]);
        let mut new = old.clone();
        new[100] ^= 1; // Byte 105 of the stream: block 6, which ends at byte 112, the stretch's 107.
        let found = compose(5, &new, (&parts, &old), &len_of(&chunks), &GRAIN);
        let hash = parts[0].hash;
        let expected = [
            Piece::Old(Part { hash, offset: 100, len: 91 }),
            Piece::Fresh { at: 91, len: 16 },
            Piece::Old(Part { hash, offset: 207, len: 93 }),
        ];
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn it_is_stored_whole_when_slices_do_not_pay() {
        let len_of = |_: &ChunkHash| 200;
        let spoilt = |lens: &[u8], every: usize, until: usize| {
            let (parts, _, old) = old_parts(lens);
            let mut new = old.clone();
            (0..until).step_by(every).for_each(|at| new[at] ^= 1);
            compose(0, &new, (&parts, &old), &len_of, &GRAIN)
        };
        let half = [96, 112].map(|until| spoilt(&[199], 1, until).is_some());
        assert_eq!(half, [true, false], "more than half has changed");
        let crumbs = [96, 48].map(|every| spoilt(&[199, 255], every, 456).is_some());
        assert_eq!(crumbs, [true, false], "one block in three, in 20 pieces");
        let (parts, _, old) = old_parts(&[199]);
        let long = |_: &ChunkHash| 1000;
        assert!(
            compose(0, &old, (&parts, &old), &long, &GRAIN).is_none(),
            "a chunk is kept for little of it"
        );
    }

    proptest! {
        #[test]
        fn pieces_are_the_stretch(
            start in 0u64..100, lens in prop::collection::vec(any::<u8>(), 1..6),
            spoilt in prop::collection::vec(any::<u16>(), 0..5),
        ) {
            let (parts, chunks, old) = old_parts(&lens);
            let mut new = old.clone();
            let len = new.len();
            spoilt.iter().for_each(|at| new[usize::from(*at) % len] ^= 0x55);
            let Some(pieces) = compose(start, &new, (&parts, &old), &len_of(&chunks), &GRAIN) else { return Ok(()) };
            let (mut bytes, mut fresh) = (Vec::<u8>::new(), 0);
            for piece in &pieces {
                match piece {
                    Piece::Old(part) => {
                        bytes.extend(&chunks[&part.hash][part.offset as usize..][..part.len as usize]);
                    }
                    Piece::Fresh { at, len } => {
                        prop_assert!(*len <= GRAIN.chunk_max);
                        bytes.extend(&new[*at..][..*len as usize]);
                        fresh += len;
                    }
                }
            }
            prop_assert!(bytes == new, "the pieces add up");
            prop_assert!(fresh as usize * 2 <= len && fresh as usize <= spoilt.len() * 2 * GRAIN.block);
        }
    }
}
