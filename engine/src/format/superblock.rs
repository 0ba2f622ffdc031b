//! The superblock: what makes a directory a store, with the settings it was created with.
//!
//! Written once by `gdd init`, in two files (`gdd.store` and `gdd.store.copy`), and never changed.

use super::codec::Compression;
use super::field::Field;
use super::{HEADER_SIZE, Place, StoreId, check_block, seal};
use crate::error::Result;
use crate::limits;

/// Version of a store whose recipes hold nothing but whole chunks.
pub const VERSION: u32 = 1;
/// Version of one whose recipes may hold slices, and the newest that is known: a reader refuses any later one, and one
/// that does not know slices refuses this.
pub const VERSION_SLICES: u32 = 2;

const MAGIC_VALUE: [u8; 8] = *b"GDDSTORE";
const WHAT: &str = "superblock";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const STORE: Field<StoreId> = FORMAT.then();
const CREATED_UNIX: Field<u64> = STORE.then();
const CHUNK_MIN: Field<u32> = CREATED_UNIX.then();
const CHUNK_AVG: Field<u32> = CHUNK_MIN.then();
const CHUNK_MAX: Field<u32> = CHUNK_AVG.then();
const CONTAINER_SIZE: Field<u64> = CHUNK_MAX.then();
const CODEC: Field<u8> = CONTAINER_SIZE.then();
const LEVEL: Field<i8> = CODEC.then();
const FILTER_PPM: Field<u32> = LEVEL.then();
const TUNER: Field<u8> = FILTER_PPM.then();
const SLICES: Field<u8> = TUNER.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(SLICES.end() <= CRC.start());

/// What a store was created with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Settings {
    /// Smallest chunk in bytes, except a stream's last.
    pub chunk_size_min: u32,
    /// Chunk size aimed at, in bytes; a power of two.
    pub chunk_size_avg: u32,
    /// Largest chunk in bytes.
    pub chunk_size_max: u32,
    /// Capacity of a container file in bytes, a multiple of [`limits::BLOCK_SIZE`].
    pub container_size: u64,
    /// How new chunks are compressed.
    pub compression: Compression,
    /// False-positive rate that the cold filter keeps, in millionths.
    pub filter_fpr_ppm: u32,
    /// Whether the chunk tuner may choose other chunk sizes for new lineages.
    pub tuner: bool,
    /// Whether streams may be stored as slices of old chunks around what has changed.
    pub slices: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chunk_size_min: 4 << 10,
            chunk_size_avg: 16 << 10,
            chunk_size_max: 64 << 10,
            container_size: limits::CONTAINER_SIZE_DEFAULT,
            compression: Compression::None,
            filter_fpr_ppm: 1000,
            tuner: false,
            slices: false,
        }
    }
}

impl Settings {
    /// Why these settings cannot be used, if so: a sentence for the operator.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let (min, avg, max) = (self.chunk_size_min, self.chunk_size_avg, self.chunk_size_max);
        if min < 64 || u64::from(max) > limits::CHUNK_SIZE_MAX {
            return Some(format!(
                "chunk sizes are {min}..={max} bytes; they must lie within 64..={}",
                limits::CHUNK_SIZE_MAX
            ));
        }
        if min > avg || avg > max || !avg.is_power_of_two() {
            return Some(format!(
                "chunk sizes must be min <= avg <= max with avg a power of two, not {min}, {avg}, {max}"
            ));
        }
        let containers = limits::CONTAINER_SIZE_MIN..=limits::CONTAINER_SIZE_MAX;
        if !containers.contains(&self.container_size)
            || !self.container_size.is_multiple_of(limits::BLOCK_SIZE)
        {
            return Some(format!(
                "container size is {} bytes; it must be a multiple of {} within {}..={}",
                self.container_size,
                limits::BLOCK_SIZE,
                containers.start(),
                containers.end()
            ));
        }
        if u64::from(max) > self.container_size / 4 {
            return Some(format!("a chunk of {max} bytes is more than a quarter of a container"));
        }
        if let Compression::Zstd { level } = self.compression
            && !(1..=22).contains(&level)
        {
            return Some(format!("zstd level is {level}; it must lie within 1..=22"));
        }
        if self.slices && self.tuner {
            return Some(
                "slices and tuner cannot both be on: one keeps cuts that the other changes".to_owned(),
            );
        }
        if !(1..=100_000).contains(&self.filter_fpr_ppm) {
            return Some(format!(
                "filter rate is {} ppm; it must lie within 1..=100000",
                self.filter_fpr_ppm
            ));
        }
        None
    }
}

/// The superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The store's name.
    pub store: StoreId,
    /// When `gdd init` made it: seconds since 1970 by that machine's clock. For people only.
    pub created_unix: u64,
    /// What it was created with.
    pub settings: Settings,
}

impl Superblock {
    /// Encode into a block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert_eq!(self.settings.problem(), None, "settings are checked before they are written");
        let mut block = vec![0; HEADER_SIZE];
        let settings = &self.settings;
        MAGIC.put(&mut block, MAGIC_VALUE);
        FORMAT.put(&mut block, if settings.slices { VERSION_SLICES } else { VERSION });
        STORE.put(&mut block, self.store);
        CREATED_UNIX.put(&mut block, self.created_unix);
        CHUNK_MIN.put(&mut block, settings.chunk_size_min);
        CHUNK_AVG.put(&mut block, settings.chunk_size_avg);
        CHUNK_MAX.put(&mut block, settings.chunk_size_max);
        CONTAINER_SIZE.put(&mut block, settings.container_size);
        let (codec, level) = settings.compression.id();
        CODEC.put(&mut block, codec);
        LEVEL.put(&mut block, level);
        FILTER_PPM.put(&mut block, settings.filter_fpr_ppm);
        TUNER.put(&mut block, u8::from(settings.tuner));
        SLICES.put(&mut block, u8::from(settings.slices));
        seal(&mut block);
        block
    }

    /// Decode a block.
    ///
    /// # Errors
    /// `Corrupt` when it is no superblock or damaged, `Version` when a newer gdd wrote it.
    pub fn decode(block: &[u8], place: Place<'_>) -> Result<Self> {
        check_block(block, HEADER_SIZE, WHAT, place)?;
        place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "magic GDDSTORE", "another")?;
        let version = FORMAT.get(block);
        if version != VERSION {
            place.version(VERSION_SLICES, version)?;
        }
        let slices = SLICES.get(block);
        let expected = u8::from(version == VERSION_SLICES);
        place.require(
            slices == expected,
            WHAT,
            format_args!("slices {expected} in version {version}"),
            slices,
        )?;
        let codec = (CODEC.get(block), LEVEL.get(block));
        let tuner = TUNER.get(block);
        place.require(tuner <= 1, WHAT, "tuner 0 or 1", tuner)?;
        let settings = Settings {
            chunk_size_min: CHUNK_MIN.get(block),
            chunk_size_avg: CHUNK_AVG.get(block),
            chunk_size_max: CHUNK_MAX.get(block),
            container_size: CONTAINER_SIZE.get(block),
            compression: Compression::from_id(codec.0, codec.1)
                .ok_or_else(|| place.refuse(WHAT, "a compression", format!("{codec:?}")))?,
            filter_fpr_ppm: FILTER_PPM.get(block),
            tuner: tuner == 1,
            slices: slices == 1,
        };
        match settings.problem() {
            None => Ok(Self { store: STORE.get(block), created_unix: CREATED_UNIX.get(block), settings }),
            Some(problem) => Err(place.refuse(WHAT, "usable settings", problem)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_damage, rows};
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    fn example() -> Superblock {
        Superblock { store: StoreId([7; 16]), created_unix: 1_700_000_000, settings: Settings::default() }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Superblock",
            HEADER_SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, store: STORE, created_unix: CREATED_UNIX,
                chunk_min: CHUNK_MIN, chunk_avg: CHUNK_AVG, chunk_max: CHUNK_MAX,
                container_size: CONTAINER_SIZE, codec: CODEC, level: LEVEL, filter_ppm: FILTER_PPM,
                tuner: TUNER, slices: SLICES, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        refuses_damage(&example().encode(), |bytes| Superblock::decode(bytes, place()));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut block = example().encode();
        FORMAT.put(&mut block, VERSION_SLICES + 1);
        seal(&mut block);
        let refused = Superblock::decode(&block, place());
        assert!(matches!(refused, Err(Error::Version { found: 3, known: 2, .. })), "{refused:?}");
    }

    #[test]
    fn a_store_with_slices_is_one_of_version_2_and_no_other_is() {
        let mut superblock = example();
        assert_eq!(FORMAT.get(&superblock.encode()), 1);
        superblock.settings.slices = true;
        let good = superblock.encode();
        assert_eq!(FORMAT.get(&good), 2, "a gdd that does not know slices refuses it");
        for (version, slices) in [(VERSION, 1), (VERSION_SLICES, 0), (VERSION_SLICES, 2)] {
            let mut block = good.clone();
            FORMAT.put(&mut block, version);
            SLICES.put(&mut block, slices);
            seal(&mut block);
            assert!(matches!(Superblock::decode(&block, place()), Err(Error::Corrupt { .. })));
        }
        superblock.settings.tuner = true;
        assert!(superblock.settings.problem().is_some_and(|problem| problem.contains("tuner")));
    }

    #[test]
    fn unusable_settings_are_refused_although_the_checksum_holds() {
        for (field, value) in [(CHUNK_MIN, 0), (CHUNK_AVG, 5000), (CHUNK_MAX, u32::MAX), (FILTER_PPM, 0)] {
            let mut block = example().encode();
            field.put(&mut block, value);
            seal(&mut block);
            assert!(matches!(Superblock::decode(&block, place()), Err(Error::Corrupt { .. })));
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            store: [u8; 16], created_unix: u64, shift in 8u32..20, which in 0u8..3, codec in 0usize..4,
            containers in 1024u64..2048, level in 1i8..=22, filter_fpr_ppm in 1u32..=100_000,
        ) {
            let avg = 1 << shift;
            let zstd = Compression::Zstd { level };
            let choices = [Compression::None, Compression::Lz4, zstd, Compression::Auto];
            let superblock = Superblock {
                store: StoreId(store),
                created_unix,
                settings: Settings {
                    chunk_size_min: avg / 4, chunk_size_avg: avg, chunk_size_max: avg * 2,
                    container_size: containers * 4096, compression: choices[codec], filter_fpr_ppm,
                    tuner: which == 1, slices: which == 2,
                },
            };
            prop_assert_eq!(Superblock::decode(&superblock.encode(), place()).unwrap(), superblock);
        }
    }
}
