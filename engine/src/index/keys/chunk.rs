//! Where a chunk lies: 32 bytes, the most numerous row by far.

use crate::error::Result;
use crate::format::Place;
use crate::format::codec::Codec;
use crate::format::field::Field;
use crate::format::footer::DirectoryEntry;
use crate::ids::{ChunkHash, ContainerId, Epoch};

use super::Kind;

/// Encoded size in bytes.
pub const SIZE: usize = 32;
const VERSION: u8 = 1;

const FRAME: Field<[u8; 2]> = Field::first();
const CODEC: Field<u8> = FRAME.then();
const STATUS: Field<u8> = CODEC.then();
const OFFSET: Field<u32> = STATUS.then();
const CONTAINER: Field<ContainerId> = OFFSET.then();
const STORED_LEN: Field<u32> = CONTAINER.then();
const RAW_LEN: Field<u32> = STORED_LEN.then();
const PIN_EPOCH: Field<Epoch> = RAW_LEN.then();
const CRC: Field<u32> = PIN_EPOCH.then();
const _: () = assert!(CRC.end() == SIZE);

/// Whether a chunk may be given out and deduplicated against. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Status {
    /// It may.
    Live = 0,
    /// Its bytes are known to be damaged: a lookup misses, so that the next backup brings it again.
    Corrupted = 1,
    /// The vacuum decided to free it: a lookup misses.
    Condemned = 2,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Live, Self::Corrupted, Self::Condemned];
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// In which container.
    pub container: ContainerId,
    /// Byte offset of its record header there.
    pub offset: u32,
    /// Bytes of the payload.
    pub stored_len: u32,
    /// Bytes of the chunk.
    pub raw_len: u32,
    /// How the payload is encoded.
    pub codec: Codec,
    /// Whether it may be used.
    pub status: Status,
    /// The last epoch in which somebody relied on it: the vacuum spares it.
    pub pin_epoch: Epoch,
}

impl ChunkEntry {
    /// The entry of a record that a container's directory lists.
    #[must_use]
    pub fn new(container: ContainerId, record: &DirectoryEntry, status: Status, pin_epoch: Epoch) -> Self {
        Self {
            container,
            offset: record.offset,
            stored_len: record.stored_len,
            raw_len: record.raw_len,
            codec: record.codec,
            status,
            pin_epoch,
        }
    }

    /// As the container's directory lists it.
    #[must_use]
    pub fn directory_entry(&self, hash: ChunkHash) -> DirectoryEntry {
        DirectoryEntry {
            hash,
            offset: self.offset,
            stored_len: self.stored_len,
            raw_len: self.raw_len,
            codec: self.codec,
        }
    }

    /// Encode the row of `hash`.
    #[must_use]
    pub fn encode(&self, hash: &ChunkHash) -> [u8; SIZE] {
        let mut value = [0; SIZE];
        CODEC.put(&mut value, self.codec.id());
        STATUS.put(&mut value, self.status as u8);
        OFFSET.put(&mut value, self.offset);
        CONTAINER.put(&mut value, self.container);
        STORED_LEN.put(&mut value, self.stored_len);
        RAW_LEN.put(&mut value, self.raw_len);
        PIN_EPOCH.put(&mut value, self.pin_epoch);
        super::seal(Kind::Chunk, VERSION, &hash.0, &mut value);
        value
    }

    /// Decode the row of `hash`.
    ///
    /// # Errors
    /// `Corrupt` when damaged or another chunk's; `Version`.
    pub fn decode(hash: &ChunkHash, value: &[u8], place: Place<'_>) -> Result<Self> {
        super::check(Kind::Chunk, VERSION, &hash.0, value, SIZE, place)?;
        let (codec, status) = (CODEC.get(value), STATUS.get(value));
        let refuse = |found: u8| place.refuse(Kind::Chunk.what(), "a known codec and status", found);
        Ok(Self {
            container: CONTAINER.get(value),
            offset: OFFSET.get(value),
            stored_len: STORED_LEN.get(value),
            raw_len: RAW_LEN.get(value),
            codec: Codec::from_id(codec).ok_or_else(|| refuse(codec))?,
            status: Status::ALL
                .into_iter()
                .find(|known| *known as u8 == status)
                .ok_or_else(|| refuse(status))?,
            pin_epoch: PIN_EPOCH.get(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{is_drawn, place, refuses_damage, rows};
    use proptest::prelude::*;

    fn example() -> ChunkEntry {
        ChunkEntry {
            container: ContainerId(7),
            offset: 8,
            stored_len: 9,
            raw_len: 10,
            codec: Codec::Zstd,
            status: Status::Condemned,
            pin_epoch: Epoch(11),
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Chunk row",
            SIZE,
            &rows![
                frame: FRAME, codec: CODEC, status: STATUS, offset: OFFSET, container: CONTAINER,
                stored_len: STORED_LEN, raw_len: RAW_LEN, pin_epoch: PIN_EPOCH, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let hash = ChunkHash::of(b"x");
        refuses_damage(&example().encode(&hash), |value| ChunkEntry::decode(&hash, value, place()));
    }

    #[test]
    fn the_row_of_another_chunk_is_refused() {
        let value = example().encode(&ChunkHash::of(b"x"));
        assert!(ChunkEntry::decode(&ChunkHash::of(b"y"), &value, place()).is_err());
    }

    #[test]
    fn numbers_never_change() {
        assert_eq!(Status::ALL.map(|status| status as u8), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn round_trip(hash: [u8; 32], container: u64, numbers: [u32; 4], codec in 0usize..3, status in 0usize..3) {
            let hash = ChunkHash(hash);
            let entry = ChunkEntry {
                container: ContainerId(container), offset: numbers[0], stored_len: numbers[1], raw_len: numbers[2],
                codec: Codec::ALL[codec], status: Status::ALL[status], pin_epoch: Epoch(numbers[3]),
            };
            prop_assert_eq!(ChunkEntry::decode(&hash, &entry.encode(&hash), place()).unwrap(), entry);
            let listed = entry.directory_entry(hash);
            prop_assert_eq!(ChunkEntry::new(entry.container, &listed, entry.status, entry.pin_epoch), entry);
        }
    }
}
