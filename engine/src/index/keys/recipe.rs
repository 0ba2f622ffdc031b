//! A stream: its name, its recipe, and what it added. A copy of the recipe file's header and trailer, for listing.

use crate::error::Result;
use crate::format::Place;
use crate::format::field::Field;
use crate::format::recipe::{ChunkParams, Owner, RecipeHeader, lineage_mark, name_problem};
use crate::format::recipe_trailer::RecipeTrailer;
use crate::ids::{Epoch, RecipeId};

use super::Kind;

/// Encoded size in bytes; the name is the key.
pub const SIZE: usize = 128;
const VERSION: u8 = 1;

const FRAME: Field<[u8; 2]> = Field::first();
const STATE: Field<u8> = FRAME.then();
const OWNER: Field<u8> = STATE.then();
const CREATED_EPOCH: Field<Epoch> = OWNER.then();
const RECIPE: Field<RecipeId> = CREATED_EPOCH.then();
const CREATED_UNIX: Field<u64> = RECIPE.then();
const LOGICAL_BYTES: Field<u64> = CREATED_UNIX.then();
const CHUNK_COUNT: Field<u64> = LOGICAL_BYTES.then();
const NEW_BYTES: Field<u64> = CHUNK_COUNT.then();
const NEW_CHUNKS: Field<u64> = NEW_BYTES.then();
const STORED_BYTES: Field<u64> = NEW_CHUNKS.then();
const CHUNK_MIN: Field<u32> = STORED_BYTES.then();
const CHUNK_AVG: Field<u32> = CHUNK_MIN.then();
const CHUNK_MAX: Field<u32> = CHUNK_AVG.then();
const DIGEST: Field<[u8; 32]> = CHUNK_MAX.then();
const LINEAGE_MARK: Field<u64> = DIGEST.then();
const SWITCH_AT: Field<u64> = LINEAGE_MARK.then();
const CRC: Field<u32> = SWITCH_AT.then();
const _: () = assert!(CRC.end() == SIZE);

/// A stream's place in its life. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum RecipeState {
    /// Stored: it can be read.
    Live = 1,
    /// Being removed: it is gone for readers, and its files go next, also after a crash.
    Deleting = 2,
}

impl RecipeState {
    /// Every state.
    pub const ALL: [Self; 2] = [Self::Live, Self::Deleting];
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RecipeRow {
    /// Its name.
    pub name: String,
    /// Its recipe.
    #[serde(serialize_with = "as_text")]
    pub recipe: RecipeId,
    /// Its place in its life.
    pub state: RecipeState,
    /// Who keeps it alive.
    pub owner: Owner,
    /// The epoch in which it was stored.
    #[serde(serialize_with = "as_number")]
    pub created_epoch: Epoch,
    /// When it was stored: seconds since 1970 by that machine's clock. For people only.
    pub created_unix: u64,
    /// Bytes of the stream.
    pub logical_bytes: u64,
    /// Chunks of the stream.
    pub chunk_count: u64,
    /// Bytes of the stream that no chunk had before.
    pub new_bytes: u64,
    /// Chunks that were new.
    pub new_chunks: u64,
    /// Bytes that the new chunks take in containers.
    pub stored_bytes: u64,
    /// How it was cut.
    pub params: ChunkParams,
    /// BLAKE3 over all encoded entries of its recipe.
    #[serde(serialize_with = "as_hex")]
    pub digest: [u8; 32],
    /// The mark of its lineage, see [`lineage_mark`]; 0 for none.
    #[serde(skip)]
    pub lineage_mark: u64,
    /// Byte from which on it was cut with other sizes; 0 for none. See
    /// [`Tuning`](crate::format::recipe_trailer::Tuning).
    #[serde(skip)]
    pub switch_at: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn as_text<S: serde::Serializer>(recipe: &RecipeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(recipe)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn as_number<S: serde::Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(epoch.0)
}

fn as_hex<S: serde::Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&crate::format::Hex(digest))
}

impl RecipeRow {
    /// The row of a live stream with this recipe.
    #[must_use]
    pub fn new(header: &RecipeHeader, trailer: &RecipeTrailer) -> Self {
        Self {
            name: header.name.clone(),
            recipe: header.recipe,
            state: RecipeState::Live,
            owner: header.owner,
            created_epoch: header.created_epoch,
            created_unix: header.created_unix,
            logical_bytes: trailer.logical_bytes,
            chunk_count: trailer.chunk_count,
            new_bytes: trailer.new_bytes,
            new_chunks: trailer.new_chunks,
            stored_bytes: trailer.stored_bytes,
            params: header.params,
            digest: trailer.digest,
            lineage_mark: lineage_mark(&header.lineage),
            switch_at: trailer.tuning.switch_at,
        }
    }

    /// Encode; the key is the name.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut value = [0; SIZE];
        STATE.put(&mut value, self.state as u8);
        OWNER.put(&mut value, self.owner as u8);
        CREATED_EPOCH.put(&mut value, self.created_epoch);
        RECIPE.put(&mut value, self.recipe);
        CREATED_UNIX.put(&mut value, self.created_unix);
        LOGICAL_BYTES.put(&mut value, self.logical_bytes);
        CHUNK_COUNT.put(&mut value, self.chunk_count);
        NEW_BYTES.put(&mut value, self.new_bytes);
        NEW_CHUNKS.put(&mut value, self.new_chunks);
        STORED_BYTES.put(&mut value, self.stored_bytes);
        CHUNK_MIN.put(&mut value, self.params.min);
        CHUNK_AVG.put(&mut value, self.params.avg);
        CHUNK_MAX.put(&mut value, self.params.max);
        DIGEST.put(&mut value, self.digest);
        LINEAGE_MARK.put(&mut value, self.lineage_mark);
        SWITCH_AT.put(&mut value, self.switch_at);
        super::seal(Kind::Recipe, VERSION, self.name.as_bytes(), &mut value);
        value
    }

    /// Decode the row found under `key`.
    ///
    /// # Errors
    /// `Corrupt` when damaged or another stream's; `Version`.
    pub fn decode(key: &[u8], value: &[u8], place: Place<'_>) -> Result<Self> {
        super::check(Kind::Recipe, VERSION, key, value, SIZE, place)?;
        let refuse = |expected: &str, found: String| place.refuse(Kind::Recipe.what(), expected, found);
        let name = std::str::from_utf8(key).map_err(|error| refuse("a name in UTF-8", error.to_string()))?;
        if let Some(problem) = name_problem(name) {
            return Err(refuse("a usable name", problem));
        }
        let (state, owner) = (STATE.get(value), OWNER.get(value));
        let known = RecipeState::ALL.into_iter().find(|known| *known as u8 == state);
        Ok(Self {
            name: name.to_owned(),
            recipe: RECIPE.get(value),
            state: known.ok_or_else(|| refuse("state 1 or 2", state.to_string()))?,
            owner: Owner::from_id(owner).ok_or_else(|| refuse("owner 0..=2", owner.to_string()))?,
            created_epoch: CREATED_EPOCH.get(value),
            created_unix: CREATED_UNIX.get(value),
            logical_bytes: LOGICAL_BYTES.get(value),
            chunk_count: CHUNK_COUNT.get(value),
            new_bytes: NEW_BYTES.get(value),
            new_chunks: NEW_CHUNKS.get(value),
            stored_bytes: STORED_BYTES.get(value),
            params: ChunkParams {
                min: CHUNK_MIN.get(value),
                avg: CHUNK_AVG.get(value),
                max: CHUNK_MAX.get(value),
            },
            digest: DIGEST.get(value),
            lineage_mark: LINEAGE_MARK.get(value),
            switch_at: SWITCH_AT.get(value),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::testing::{is_drawn, place, refuses_damage, rows};
    use proptest::prelude::*;

    pub(crate) fn example(name: &str, numbers: [u64; 7]) -> RecipeRow {
        RecipeRow {
            name: name.to_owned(),
            recipe: RecipeId(numbers[0]),
            state: RecipeState::Live,
            owner: Owner::Manual,
            created_epoch: Epoch(3),
            created_unix: numbers[1],
            logical_bytes: numbers[2],
            chunk_count: numbers[3],
            new_bytes: numbers[4],
            new_chunks: numbers[5],
            stored_bytes: numbers[6],
            params: ChunkParams { min: 1, avg: 2, max: 3 },
            digest: [4; 32],
            lineage_mark: 5,
            switch_at: 6,
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Stream row",
            SIZE,
            &rows![
                frame: FRAME, state: STATE, owner: OWNER, created_epoch: CREATED_EPOCH, recipe: RECIPE,
                created_unix: CREATED_UNIX, logical_bytes: LOGICAL_BYTES, chunk_count: CHUNK_COUNT,
                new_bytes: NEW_BYTES, new_chunks: NEW_CHUNKS, stored_bytes: STORED_BYTES,
                chunk_min: CHUNK_MIN, chunk_avg: CHUNK_AVG, chunk_max: CHUNK_MAX, digest: DIGEST,
                lineage_mark: LINEAGE_MARK, switch_at: SWITCH_AT, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let value = example("etc", [1, 2, 3, 4, 5, 6, 7]).encode();
        refuses_damage(&value, |value| RecipeRow::decode(b"etc", value, place()));
        assert!(RecipeRow::decode(b"usr", &value, place()).is_err(), "another stream's");
    }

    #[test]
    fn json_names_ids_as_text() {
        let json = serde_json::to_value(example("etc", [1, 2, 3, 4, 5, 6, 7])).unwrap();
        assert_eq!(json["recipe"], "0000000000000001");
        assert_eq!(json["state"], "live");
        assert_eq!(json["logical_bytes"], 3);
        assert_eq!(json["digest"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn numbers_never_change() {
        assert_eq!(RecipeState::ALL.map(|state| state as u8), [1, 2]);
    }

    proptest! {
        #[test]
        fn round_trip(name in "\\PC{1,200}", numbers: [u64; 7], deleting: bool) {
            let state = RecipeState::ALL[usize::from(deleting)];
            let row = RecipeRow { state, ..example(&name, numbers) };
            prop_assert_eq!(RecipeRow::decode(name.as_bytes(), &row.encode(), place()).unwrap(), row);
        }
    }
}
