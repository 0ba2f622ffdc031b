//! The header block of a recipe file: whose stream this is, and how it was cut.
//!
//! A recipe lists the chunks of one stream in order. Its file is this header, blocks of entries
//! ([`super::recipe_block`]), and a trailer ([`super::recipe_trailer`]). Two copies exist; nothing can rebuild a
//! recipe.

use super::field::Field;
use super::{HEADER_SIZE, Place, StoreId, check_block, seal};
use crate::error::Result;
use crate::ids::{Epoch, RecipeId};
use crate::limits::STREAM_NAME_MAX;

/// Version of the recipe format: header, blocks and trailer.
pub const VERSION: u32 = 1;

const MAGIC_VALUE: [u8; 8] = *b"GDDRECI1";
const WHAT: &str = "recipe header";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const STORE: Field<StoreId> = FORMAT.then();
const RECIPE: Field<RecipeId> = STORE.then();
const CREATED_EPOCH: Field<Epoch> = RECIPE.then();
const CREATED_UNIX: Field<u64> = CREATED_EPOCH.then();
const CHUNK_MIN: Field<u32> = CREATED_UNIX.then();
const CHUNK_AVG: Field<u32> = CHUNK_MIN.then();
const CHUNK_MAX: Field<u32> = CHUNK_AVG.then();
const OWNER: Field<u8> = CHUNK_MAX.then();
const NAME_LEN: Field<u16> = OWNER.then();
const NAME: Field<[u8; STREAM_NAME_MAX]> = NAME_LEN.then();
const LINEAGE_LEN: Field<u16> = NAME.then();
const LINEAGE: Field<[u8; STREAM_NAME_MAX]> = LINEAGE_LEN.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(LINEAGE.end() <= CRC.start());

/// The chunking parameters a stream was cut with, so that its next version is cut alike. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChunkParams {
    /// Smallest chunk, except the last.
    pub min: u32,
    /// Size aimed at.
    pub avg: u32,
    /// Largest chunk.
    pub max: u32,
}

/// Who keeps a recipe alive. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Owner {
    /// An operator, by `gdd put`.
    Manual = 0,
    /// A Bacula volume (storage mode).
    Volume = 1,
    /// A Bacula job (bothsides mode).
    Job = 2,
}

impl Owner {
    /// Every owner.
    pub const ALL: [Self; 3] = [Self::Manual, Self::Volume, Self::Job];

    /// The owner with this number, if there is one.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|owner| *owner as u8 == id)
    }
}

/// The header block of a recipe file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeHeader {
    /// The store it belongs to.
    pub store: StoreId,
    /// The recipe.
    pub recipe: RecipeId,
    /// The epoch in which it was created.
    pub created_epoch: Epoch,
    /// When it was created: seconds since 1970 by that machine's clock. For people only.
    pub created_unix: u64,
    /// The stream's name: 1 to [`STREAM_NAME_MAX`] bytes.
    pub name: String,
    /// How the stream was cut; from its start, if the trailer says that the sizes changed.
    pub params: ChunkParams,
    /// Who keeps it alive.
    pub owner: Owner,
    /// Which streams it is a later or earlier version of: their common name, as usable as a stream's. Empty: of none.
    pub lineage: String,
}

/// The mark of a lineage in index rows, by which its streams are found; 0 for none. The first eight bytes of its
/// BLAKE3: two lineages may have one mark, so the recipe's header has the last word.
#[must_use]
pub fn lineage_mark(lineage: &str) -> u64 {
    let hash = blake3::hash(lineage.as_bytes());
    let mark = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"));
    if lineage.is_empty() { 0 } else { mark.max(1) }
}

/// Why `name` cannot name a stream, if so: a sentence for the operator.
#[must_use]
pub fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > STREAM_NAME_MAX {
        return Some(format!("a stream name has 1 to {STREAM_NAME_MAX} bytes, not {}", name.len()));
    }
    name.chars().any(char::is_control).then(|| format!("a stream name has no control characters: {name:?}"))
}

impl RecipeHeader {
    /// Encode into a block.
    ///
    /// # Panics
    /// When the name, or a lineage that is not empty, is one that [`name_problem`] refuses.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert_eq!(name_problem(&self.name), None, "names are checked before they are written");
        assert!(self.lineage.is_empty() || name_problem(&self.lineage).is_none(), "and so are lineages");
        let mut block = vec![0; HEADER_SIZE];
        MAGIC.put(&mut block, MAGIC_VALUE);
        FORMAT.put(&mut block, VERSION);
        STORE.put(&mut block, self.store);
        RECIPE.put(&mut block, self.recipe);
        CREATED_EPOCH.put(&mut block, self.created_epoch);
        CREATED_UNIX.put(&mut block, self.created_unix);
        CHUNK_MIN.put(&mut block, self.params.min);
        CHUNK_AVG.put(&mut block, self.params.avg);
        CHUNK_MAX.put(&mut block, self.params.max);
        OWNER.put(&mut block, self.owner as u8);
        put_text(&mut block, (NAME_LEN, NAME), &self.name);
        put_text(&mut block, (LINEAGE_LEN, LINEAGE), &self.lineage);
        seal(&mut block);
        block
    }

    /// Decode the header of `recipe` of `store`.
    ///
    /// # Errors
    /// `Corrupt` when damaged or written for another store or recipe; `Version`.
    pub fn decode(block: &[u8], store: StoreId, recipe: RecipeId, place: Place<'_>) -> Result<Self> {
        check_block(block, HEADER_SIZE, WHAT, place)?;
        place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "magic GDDRECI1", "another")?;
        place.version(VERSION, FORMAT.get(block))?;
        place.expect("store of the recipe", store, STORE.get(block))?;
        place.expect("id of the recipe", recipe, RECIPE.get(block))?;
        let owner = OWNER.get(block);
        let name = text(block, (NAME_LEN, NAME), "name of the recipe", place)?;
        let lineage = match LINEAGE_LEN.get(block) {
            0 => "",
            _ => text(block, (LINEAGE_LEN, LINEAGE), "lineage of the recipe", place)?,
        };
        Ok(Self {
            store,
            recipe,
            created_epoch: CREATED_EPOCH.get(block),
            created_unix: CREATED_UNIX.get(block),
            name: name.to_owned(),
            params: ChunkParams {
                min: CHUNK_MIN.get(block),
                avg: CHUNK_AVG.get(block),
                max: CHUNK_MAX.get(block),
            },
            owner: Owner::from_id(owner)
                .ok_or_else(|| place.refuse("owner of the recipe", "0..=2", owner))?,
            lineage: lineage.to_owned(),
        })
    }
}

/// A length and the bytes behind it.
type Text = (Field<u16>, Field<[u8; STREAM_NAME_MAX]>);

fn put_text(block: &mut [u8], (len, bytes): Text, text: &str) {
    len.put(block, u16::try_from(text.len()).expect("a name fits its field"));
    block[bytes.start()..bytes.start() + text.len()].copy_from_slice(text.as_bytes());
}

fn text<'a>(block: &'a [u8], (len, bytes): Text, what: &'static str, place: Place<'_>) -> Result<&'a str> {
    let len = usize::from(len.get(block));
    place.require(len <= STREAM_NAME_MAX, what, "at most 1024 bytes", len)?;
    let text = std::str::from_utf8(&block[bytes.start()..bytes.start() + len])
        .map_err(|error| place.refuse(what, "UTF-8", error))?;
    match name_problem(text) {
        None => Ok(text),
        Some(problem) => Err(place.refuse(what, "a usable one", problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_damage, rows};
    use super::*;
    use proptest::prelude::*;

    fn example(name: &str) -> RecipeHeader {
        RecipeHeader {
            store: StoreId([1; 16]),
            recipe: RecipeId(9),
            created_epoch: Epoch(2),
            created_unix: 3,
            name: name.to_owned(),
            params: ChunkParams { min: 4096, avg: 16384, max: 65536 },
            owner: Owner::Manual,
            lineage: String::new(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<RecipeHeader> {
        RecipeHeader::decode(bytes, StoreId([1; 16]), RecipeId(9), place())
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Recipe header",
            HEADER_SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, store: STORE, recipe: RECIPE,
                created_epoch: CREATED_EPOCH, created_unix: CREATED_UNIX, chunk_min: CHUNK_MIN,
                chunk_avg: CHUNK_AVG, chunk_max: CHUNK_MAX, owner: OWNER, name_len: NAME_LEN,
                name: NAME, lineage_len: LINEAGE_LEN, lineage: LINEAGE, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        refuses_damage(&example("etc").encode(), decode);
    }

    #[test]
    fn another_recipe_is_refused() {
        let bytes = example("etc").encode();
        assert!(RecipeHeader::decode(&bytes, StoreId([1; 16]), RecipeId(8), place()).is_err());
        assert!(RecipeHeader::decode(&bytes, StoreId([2; 16]), RecipeId(9), place()).is_err());
    }

    #[test]
    fn unusable_names_are_refused_although_the_checksum_holds() {
        let with_name = |len: u16, first: u8| {
            let mut block = example("etc").encode();
            NAME_LEN.put(&mut block, len);
            block[NAME.start()] = first;
            seal(&mut block);
            block
        };
        assert!(decode(&with_name(3, b'x')).is_ok());
        for (len, first) in [(0, b'x'), (1025, b'x'), (u16::MAX, b'x'), (3, 0xff), (3, b'\n')] {
            assert!(decode(&with_name(len, first)).is_err(), "{len} {first}");
        }
        let mut block = RecipeHeader { lineage: "etc".to_owned(), ..example("etc") }.encode();
        block[LINEAGE.start()] = b'\n';
        seal(&mut block);
        assert!(decode(&block).is_err(), "an unusable lineage");
        assert!(name_problem(&"x".repeat(STREAM_NAME_MAX)).is_none());
        assert!(name_problem(&"x".repeat(STREAM_NAME_MAX + 1)).is_some());
    }

    #[test]
    fn lineages_have_marks() {
        assert_eq!(lineage_mark(""), 0);
        assert_ne!(lineage_mark("etc"), 0);
        assert_ne!(lineage_mark("etc"), lineage_mark("usr"));
    }

    proptest! {
        #[test]
        fn round_trip(
            name in "\\PC{1,200}", lineage in "\\PC{0,200}", epoch: u32, unix: u64, owner in 0usize..3,
            params: [u32; 3],
        ) {
            let header = RecipeHeader {
                lineage,
                created_epoch: Epoch(epoch), created_unix: unix, owner: Owner::ALL[owner],
                params: ChunkParams { min: params[0], avg: params[1], max: params[2] },
                ..example(&name)
            };
            prop_assert_eq!(decode(&header.encode()).unwrap(), header);
        }
    }
}
