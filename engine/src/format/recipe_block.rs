//! A block of recipe entries: up to 64 KiB, checked on its own, so that reading streams.
//!
//! Most lines of a recipe are whole chunks. Where little of a chunk has changed since the stream's last version, there
//! are slices of old chunks around what is new instead; before them stand marks, which say what chunks the stream was
//! cut into there: the next version is compared with those, and what is restored is checked by them.

use super::field::Field;
use super::{Bytes, Crc, Place};
use crate::error::Result;
use crate::ids::{ChunkHash, RecipeId};
use crate::limits::CHUNK_SIZE_MAX;

/// Largest block in bytes. All blocks of a recipe but the last have this size.
pub const RECIPE_BLOCK_SIZE: usize = 64 << 10;
/// Encoded size of the block's header in bytes.
pub const RECIPE_BLOCK_HEADER_SIZE: usize = 48;
/// Encoded size of an entry in bytes.
pub const RECIPE_ENTRY_SIZE: usize = 48;
/// Entries in a full block.
pub const RECIPE_BLOCK_ENTRIES: usize = (RECIPE_BLOCK_SIZE - RECIPE_BLOCK_HEADER_SIZE) / RECIPE_ENTRY_SIZE;

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"GRBL");
const WHAT: &str = "recipe block";

const MAGIC: Field<u32> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const RECIPE: Field<RecipeId> = FORMAT.then();
const BLOCK_SEQ: Field<u64> = RECIPE.then();
const ENTRY_COUNT: Field<u32> = BLOCK_SEQ.then();
const LENGTH: Field<u32> = ENTRY_COUNT.then();
const RESERVED: Field<[u8; 12]> = LENGTH.then();
/// Covers the whole block with this field as zero. (The one checksum that does not stand last: the entries follow.)
const CRC: Field<u32> = RESERVED.then();
const _: () = assert!(CRC.end() == RECIPE_BLOCK_HEADER_SIZE);

const ENTRY_HASH: Field<ChunkHash> = Field::first();
const ENTRY_CHUNK_OFFSET: Field<u32> = ENTRY_HASH.then();
const ENTRY_LENGTH: Field<u32> = ENTRY_CHUNK_OFFSET.then();
const ENTRY_REPEAT: Field<u32> = ENTRY_LENGTH.then();
const ENTRY_FLAGS: Field<u32> = ENTRY_REPEAT.then();
const _: () = assert!(ENTRY_FLAGS.end() == RECIPE_ENTRY_SIZE);

/// Flags of an entry that is all of a chunk.
const FLAGS_WHOLE: u32 = 0;
/// Flags of an entry that is a part of one.
const FLAGS_SLICE: u32 = 1;
/// Flags of a mark, which is no part of the stream.
const FLAGS_MARK: u32 = 2;

/// A piece of a stream: `length` bytes of a chunk from `chunk_offset`, `repeat` times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipeEntry {
    /// The chunk.
    pub hash: ChunkHash,
    /// Where in the chunk the piece starts; 0 when the whole chunk is meant.
    pub chunk_offset: u32,
    /// Bytes of the piece, 1 to [`CHUNK_SIZE_MAX`].
    pub length: u32,
    /// How many times it follows itself, at least 1.
    pub repeat: u32,
    /// Not all of the chunk is meant.
    pub slice: bool,
}

/// What the chunker has cut where the stream is made of slices: the next bytes, behind those of a mark right before
/// this one, are a chunk of this hash. It is not stored as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// BLAKE3 of those bytes.
    pub hash: ChunkHash,
    /// How many they are, 1 to [`CHUNK_SIZE_MAX`].
    pub length: u32,
}

/// A line of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A part of the stream.
    Piece(RecipeEntry),
    /// What is to be known of the parts that follow.
    Mark(Mark),
}

impl RecipeEntry {
    /// All of a chunk of `length` bytes, once.
    #[must_use]
    pub fn whole(hash: ChunkHash, length: u32) -> Self {
        Self { hash, chunk_offset: 0, length, repeat: 1, slice: false }
    }

    /// Bytes of the stream that it stands for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.length) * u64::from(self.repeat)
    }

    /// Whether `other` is the same piece of the same chunk, however often each follows itself.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        *self == Self { repeat: self.repeat, ..*other }
    }

    fn holds(&self) -> bool {
        let end = u64::from(self.chunk_offset) + u64::from(self.length);
        let placed = self.slice || self.chunk_offset == 0;
        self.repeat > 0 && self.length > 0 && end <= CHUNK_SIZE_MAX && placed
    }
}

impl Line {
    fn encode_into(&self, slot: &mut [u8]) {
        let (entry, flags) = match *self {
            Self::Piece(entry) => (entry, if entry.slice { FLAGS_SLICE } else { FLAGS_WHOLE }),
            Self::Mark(mark) => (RecipeEntry::whole(mark.hash, mark.length), FLAGS_MARK),
        };
        assert!(entry.holds(), "entries are checked before they are written");
        ENTRY_HASH.put(slot, entry.hash);
        ENTRY_CHUNK_OFFSET.put(slot, entry.chunk_offset);
        ENTRY_LENGTH.put(slot, entry.length);
        ENTRY_REPEAT.put(slot, entry.repeat);
        ENTRY_FLAGS.put(slot, flags);
    }

    fn decode(slot: &[u8], place: Place<'_>) -> Result<Self> {
        let flags = ENTRY_FLAGS.get(slot);
        let known = [FLAGS_WHOLE, FLAGS_SLICE, FLAGS_MARK].contains(&flags);
        place.require(known, "flags of the recipe entry", "0, 1 or 2", flags)?;
        let entry = RecipeEntry {
            hash: ENTRY_HASH.get(slot),
            chunk_offset: ENTRY_CHUNK_OFFSET.get(slot),
            length: ENTRY_LENGTH.get(slot),
            repeat: ENTRY_REPEAT.get(slot),
            slice: flags == FLAGS_SLICE,
        };
        if !entry.holds() || (flags == FLAGS_MARK && entry.repeat > 1) {
            return Err(place.refuse("recipe entry", "a piece of a chunk", format_args!("{entry:?}")));
        }
        let RecipeEntry { hash, length, .. } = entry;
        Ok(if flags == FLAGS_MARK { Self::Mark(Mark { hash, length }) } else { Self::Piece(entry) })
    }
}

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipeBlockHeader {
    /// Number of this block in its recipe, from 0.
    pub block_seq: u64,
    /// Entries in it.
    pub entry_count: u32,
    /// Bytes in all, a multiple of 4096.
    pub length: u32,
}

/// Bytes of a block with `entries`.
#[must_use]
pub fn encoded_len(entries: usize) -> usize {
    (RECIPE_BLOCK_HEADER_SIZE + entries * RECIPE_ENTRY_SIZE).next_multiple_of(super::HEADER_SIZE)
}

/// Encode a block into `out`.
///
/// # Panics
/// When there is no entry or more than [`RECIPE_BLOCK_ENTRIES`], or `out` is not [`encoded_len`] bytes long.
pub fn encode_into(out: &mut [u8], recipe: RecipeId, block_seq: u64, entries: &[Line]) {
    assert!((1..=RECIPE_BLOCK_ENTRIES).contains(&entries.len()));
    assert_eq!(out.len(), encoded_len(entries.len()));
    out.fill(0);
    MAGIC.put(out, MAGIC_VALUE);
    FORMAT.put(out, super::recipe::VERSION);
    RECIPE.put(out, recipe);
    BLOCK_SEQ.put(out, block_seq);
    ENTRY_COUNT.put(out, u32::try_from(entries.len()).expect("a block holds few entries"));
    LENGTH.put(out, u32::try_from(out.len()).expect("a block is short"));
    for (slot, entry) in out[RECIPE_BLOCK_HEADER_SIZE..].chunks_exact_mut(RECIPE_ENTRY_SIZE).zip(entries) {
        entry.encode_into(slot);
    }
    let crc = checksum(out);
    CRC.put(out, crc);
}

/// The bytes of a block that hold entries: what the recipe's digest covers.
#[must_use]
pub fn entry_bytes(block: &[u8], entry_count: u32) -> &[u8] {
    &block[RECIPE_BLOCK_HEADER_SIZE..RECIPE_BLOCK_HEADER_SIZE + entry_count as usize * RECIPE_ENTRY_SIZE]
}

/// Whether `bytes` start like a block, as opposed to the trailer that follows the last one.
#[must_use]
pub fn starts_like_a_block(bytes: &[u8]) -> bool {
    bytes.len() >= MAGIC.end() && MAGIC.get(bytes) == MAGIC_VALUE
}

/// Decode block `block_seq` of `recipe` from the start of `bytes` (more may follow), appending to `entries`.
///
/// # Errors
/// `Corrupt` when damaged, cut off, or of another recipe or place in it; `Version`. `entries` may then hold some.
pub fn decode(
    bytes: &[u8],
    recipe: RecipeId,
    block_seq: u64,
    entries: &mut Vec<Line>,
    place: Place<'_>,
) -> Result<RecipeBlockHeader> {
    place.require(
        bytes.len() >= RECIPE_BLOCK_HEADER_SIZE,
        WHAT,
        "a header of 48 bytes",
        Bytes(bytes.len()),
    )?;
    place.require(MAGIC.get(bytes) == MAGIC_VALUE, WHAT, "magic GRBL", "another")?;
    let entry_count = ENTRY_COUNT.get(bytes);
    let length = LENGTH.get(bytes);
    let counts = 1..=RECIPE_BLOCK_ENTRIES;
    let lengths_hold =
        counts.contains(&(entry_count as usize)) && encoded_len(entry_count as usize) == length as usize;
    place.require(
        lengths_hold,
        WHAT,
        "lengths in bounds",
        format_args!("{length} bytes for {entry_count} entries"),
    )?;
    place.require(length as usize <= bytes.len(), WHAT, Bytes(length as usize), Bytes(bytes.len()))?;
    let block = &bytes[..length as usize];
    place.expect(WHAT, Crc(checksum(block)), Crc(CRC.get(block)))?;
    place.version(super::recipe::VERSION, FORMAT.get(block))?;
    place.expect("recipe of the block", recipe, RECIPE.get(block))?;
    place.expect("number of the block", block_seq, BLOCK_SEQ.get(block))?;
    for (number, slot) in entry_bytes(block, entry_count).chunks_exact(RECIPE_ENTRY_SIZE).enumerate() {
        let place = place.plus(RECIPE_BLOCK_HEADER_SIZE + number * RECIPE_ENTRY_SIZE);
        entries.push(Line::decode(slot, place)?);
    }
    Ok(RecipeBlockHeader { block_seq, entry_count, length })
}

fn checksum(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CRC.start()]);
    hasher.update(&[0; 4]);
    hasher.update(&block[CRC.end()..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_changed_bytes, rows};
    use super::*;
    use proptest::prelude::*;

    const RECIPE_ID: RecipeId = RecipeId(9);

    fn encode(seq: u64, entries: &[Line]) -> Vec<u8> {
        let mut out = vec![0; encoded_len(entries.len())];
        encode_into(&mut out, RECIPE_ID, seq, entries);
        out
    }

    fn decode_all(bytes: &[u8], seq: u64) -> Result<Vec<Line>> {
        let mut entries = Vec::new();
        decode(bytes, RECIPE_ID, seq, &mut entries, place()).map(|_| entries)
    }

    fn example(count: u32) -> Vec<Line> {
        let hash = ChunkHash::of(b"x");
        let line = |n: u32| match n % 3 {
            0 => Line::Piece(RecipeEntry { repeat: n + 1, ..RecipeEntry::whole(hash, n + 1) }),
            1 => Line::Mark(Mark { hash, length: n + 1 }),
            _ => {
                Line::Piece(RecipeEntry { hash, chunk_offset: n, length: n + 1, repeat: n + 1, slice: true })
            }
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Recipe block header",
            RECIPE_BLOCK_HEADER_SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, recipe: RECIPE, block_seq: BLOCK_SEQ,
                entry_count: ENTRY_COUNT, length: LENGTH, reserved: RESERVED, crc: CRC,
            ],
        );
        is_drawn(
            "Recipe entry",
            RECIPE_ENTRY_SIZE,
            &rows![
                hash: ENTRY_HASH, chunk_offset: ENTRY_CHUNK_OFFSET, length: ENTRY_LENGTH,
                repeat: ENTRY_REPEAT, flags: ENTRY_FLAGS,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let good = encode(7, &example(3));
        refuses_changed_bytes(&good, |bytes| decode_all(bytes, 7));
        for len in [0, 1, 47, 48, 4095] {
            assert!(decode_all(&good[..len], 7).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_block_of_another_recipe_or_place_is_refused() {
        let good = encode(7, &example(3));
        assert!(decode_all(&good, 6).is_err());
        assert!(decode(&good, RecipeId(8), 7, &mut Vec::new(), place()).is_err());
    }

    #[test]
    fn impossible_entries_are_refused_although_the_checksum_holds() {
        for (field, value) in [
            (ENTRY_LENGTH, 0),
            (ENTRY_LENGTH, u32::MAX),
            (ENTRY_REPEAT, 0),
            (ENTRY_FLAGS, 3),
            (ENTRY_CHUNK_OFFSET, 1),
        ] {
            let mut block = encode(7, &example(3));
            field.put(&mut block[RECIPE_BLOCK_HEADER_SIZE..], value);
            let crc = checksum(&block);
            CRC.put(&mut block, crc);
            assert!(decode_all(&block, 7).is_err());
        }
    }

    #[test]
    fn a_full_block_is_64_kib() {
        assert_eq!(encoded_len(RECIPE_BLOCK_ENTRIES), RECIPE_BLOCK_SIZE);
        assert_eq!(RECIPE_BLOCK_ENTRIES, 1364);
    }

    proptest! {
        #[test]
        fn round_trip(count in 1u32..=1364, seq: u64, more in 0usize..5000) {
            let entries = example(count);
            let mut bytes = encode(seq, &entries);
            bytes.resize(bytes.len() + more, 7);
            prop_assert_eq!(decode_all(&bytes, seq).unwrap(), entries);
        }
    }
}
