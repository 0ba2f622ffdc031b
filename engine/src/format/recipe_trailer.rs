//! The last block of a recipe file: what the whole must add up to.

use super::field::Field;
use super::recipe::ChunkParams;
use super::{HEADER_SIZE, Place, check_block, seal};
use crate::error::Result;
use crate::ids::RecipeId;

const MAGIC_VALUE: [u8; 8] = *b"GDDRECT1";
const WHAT: &str = "recipe trailer";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const RECIPE: Field<RecipeId> = FORMAT.then();
const BLOCK_COUNT: Field<u64> = RECIPE.then();
const ENTRY_COUNT: Field<u64> = BLOCK_COUNT.then();
const LOGICAL_BYTES: Field<u64> = ENTRY_COUNT.then();
const CHUNK_COUNT: Field<u64> = LOGICAL_BYTES.then();
const NEW_BYTES: Field<u64> = CHUNK_COUNT.then();
const NEW_CHUNKS: Field<u64> = NEW_BYTES.then();
const STORED_BYTES: Field<u64> = NEW_CHUNKS.then();
const DIGEST: Field<[u8; 32]> = STORED_BYTES.then();
const GENERATION: Field<u32> = DIGEST.then();
const VOTES: Field<i8> = GENERATION.then();
const SWITCH_AT: Field<u64> = VOTES.then();
const LATER_MIN: Field<u32> = SWITCH_AT.then();
const LATER_AVG: Field<u32> = LATER_MIN.then();
const LATER_MAX: Field<u32> = LATER_AVG.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(LATER_MAX.end() <= CRC.start());

/// What the chunk tuner leaves for the next stream of the same lineage; all zero where it was not at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// 1 for the first stream of its lineage; 0 when the tuner was off.
    pub generation: u32,
    /// Generations in a row that ask for larger chunks (above 0) or smaller ones (below 0).
    pub votes: i8,
    /// Byte of the stream from which on it was cut with other sizes, after a forced cut; 0 when it was not.
    pub switch_at: u64,
    /// Those sizes. A stream may be shorter than `switch_at`: then they are what its lineage had before it.
    pub later: ChunkParams,
}

/// The last block of a recipe file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeTrailer {
    /// The recipe.
    pub recipe: RecipeId,
    /// Blocks between header and trailer.
    pub block_count: u64,
    /// Entries in them.
    pub entry_count: u64,
    /// Bytes of the stream.
    pub logical_bytes: u64,
    /// Chunks of the stream: entries with their repeats.
    pub chunk_count: u64,
    /// Bytes of the stream that no chunk had before.
    pub new_bytes: u64,
    /// Chunks that were new.
    pub new_chunks: u64,
    /// Bytes that the new chunks take in containers, compressed, without headers.
    pub stored_bytes: u64,
    /// BLAKE3 over all encoded entries in order.
    pub digest: [u8; 32],
    /// The chunk tuner's record.
    pub tuning: Tuning,
}

impl RecipeTrailer {
    /// Encode into a block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; HEADER_SIZE];
        MAGIC.put(&mut block, MAGIC_VALUE);
        FORMAT.put(&mut block, super::recipe::VERSION);
        RECIPE.put(&mut block, self.recipe);
        BLOCK_COUNT.put(&mut block, self.block_count);
        ENTRY_COUNT.put(&mut block, self.entry_count);
        LOGICAL_BYTES.put(&mut block, self.logical_bytes);
        CHUNK_COUNT.put(&mut block, self.chunk_count);
        NEW_BYTES.put(&mut block, self.new_bytes);
        NEW_CHUNKS.put(&mut block, self.new_chunks);
        STORED_BYTES.put(&mut block, self.stored_bytes);
        DIGEST.put(&mut block, self.digest);
        GENERATION.put(&mut block, self.tuning.generation);
        VOTES.put(&mut block, self.tuning.votes);
        SWITCH_AT.put(&mut block, self.tuning.switch_at);
        LATER_MIN.put(&mut block, self.tuning.later.min);
        LATER_AVG.put(&mut block, self.tuning.later.avg);
        LATER_MAX.put(&mut block, self.tuning.later.max);
        seal(&mut block);
        block
    }

    /// Decode the trailer of `recipe`.
    ///
    /// # Errors
    /// `Corrupt` when damaged or written for another recipe; `Version`.
    pub fn decode(block: &[u8], recipe: RecipeId, place: Place<'_>) -> Result<Self> {
        check_block(block, HEADER_SIZE, WHAT, place)?;
        place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "magic GDDRECT1", "another")?;
        place.version(super::recipe::VERSION, FORMAT.get(block))?;
        place.expect("recipe of the trailer", recipe, RECIPE.get(block))?;
        Ok(Self {
            recipe,
            block_count: BLOCK_COUNT.get(block),
            entry_count: ENTRY_COUNT.get(block),
            logical_bytes: LOGICAL_BYTES.get(block),
            chunk_count: CHUNK_COUNT.get(block),
            new_bytes: NEW_BYTES.get(block),
            new_chunks: NEW_CHUNKS.get(block),
            stored_bytes: STORED_BYTES.get(block),
            digest: DIGEST.get(block),
            tuning: Tuning {
                generation: GENERATION.get(block),
                votes: VOTES.get(block),
                switch_at: SWITCH_AT.get(block),
                later: ChunkParams {
                    min: LATER_MIN.get(block),
                    avg: LATER_AVG.get(block),
                    max: LATER_MAX.get(block),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_damage, rows};
    use super::*;
    use proptest::prelude::*;

    const RECIPE_ID: RecipeId = RecipeId(9);

    fn example(n: [u64; 7]) -> RecipeTrailer {
        RecipeTrailer {
            recipe: RECIPE_ID,
            block_count: n[0],
            entry_count: n[1],
            logical_bytes: n[2],
            chunk_count: n[3],
            new_bytes: n[4],
            new_chunks: n[5],
            stored_bytes: n[6],
            digest: [3; 32],
            tuning: Tuning::default(),
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Recipe trailer",
            HEADER_SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, recipe: RECIPE, block_count: BLOCK_COUNT,
                entry_count: ENTRY_COUNT, logical_bytes: LOGICAL_BYTES, chunk_count: CHUNK_COUNT,
                new_bytes: NEW_BYTES, new_chunks: NEW_CHUNKS, stored_bytes: STORED_BYTES,
                digest: DIGEST, generation: GENERATION, votes: VOTES, switch_at: SWITCH_AT,
                later_min: LATER_MIN, later_avg: LATER_AVG, later_max: LATER_MAX, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let good = example([1, 2, 3, 4, 5, 6, 7]).encode();
        refuses_damage(&good, |bytes| RecipeTrailer::decode(bytes, RECIPE_ID, place()));
        assert!(RecipeTrailer::decode(&good, RecipeId(8), place()).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(numbers: [u64; 7], generation: u32, votes: i8, switch_at: u64, sizes: [u32; 3]) {
            let later = ChunkParams { min: sizes[0], avg: sizes[1], max: sizes[2] };
            let tuning = Tuning { generation, votes, switch_at, later };
            let trailer = RecipeTrailer { tuning, ..example(numbers) };
            prop_assert_eq!(RecipeTrailer::decode(&trailer.encode(), RECIPE_ID, place()).unwrap(), trailer);
        }
    }
}
