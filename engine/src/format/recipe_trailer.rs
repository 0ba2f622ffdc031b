//! The last block of a recipe file: what the whole must add up to.

use super::field::Field;
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
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(DIGEST.end() <= CRC.start());

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
                digest: DIGEST, crc: CRC,
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
        fn round_trip(numbers: [u64; 7]) {
            let trailer = example(numbers);
            prop_assert_eq!(RecipeTrailer::decode(&trailer.encode(), RECIPE_ID, place()).unwrap(), trailer);
        }
    }
}
