//! The header of a cold layer's file, `filter/<n>.gdf`: what the bits behind it mean, and whether they may be
//! believed.
//!
//! # Invariants
//! - While a store is open for writing, no header says clean: bits reach the disk in any order, so after a crash they
//!   are worthless.
//! - A clean header names the epoch it was closed in and the number of layers, so that a copy from another day, or a
//!   set with a layer missing, is recognised.

use crate::error::Result;
use crate::format::field::Field;
use crate::format::{HEADER_SIZE, Place, StoreId, check_block, seal};
use crate::ids::Epoch;

/// Version of the filter format. Another one means: rebuild.
pub const VERSION: u32 = 1;

const MAGIC_VALUE: [u8; 8] = *b"GDDFILT1";
const WHAT: &str = "filter header";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const STORE: Field<StoreId> = FORMAT.then();
const NUMBER: Field<u32> = STORE.then();
const FPR_PPM: Field<u32> = NUMBER.then();
const CAPACITY: Field<u64> = FPR_PPM.then();
const BLOCKS: Field<u64> = CAPACITY.then();
const PROBES: Field<u32> = BLOCKS.then();
const CLEAN: Field<u8> = PROBES.then();
const CLOSED_EPOCH: Field<Epoch> = CLEAN.then();
const LAYERS: Field<u32> = CLOSED_EPOCH.then();
const ITEMS: Field<u64> = LAYERS.then();
const DIGEST: Field<[u8; 32]> = ITEMS.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(DIGEST.end() <= CRC.start());

/// The header of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store it belongs to.
    pub store: StoreId,
    /// Number of this layer, from 0.
    pub number: u32,
    /// False-positive rate of the whole filter, in millionths.
    pub fpr_ppm: u32,
    /// Items for which this layer keeps its share of the rate.
    pub capacity: u64,
    /// 64-byte blocks of bits that follow.
    pub blocks: u64,
    /// Bits per item.
    pub probes: u32,
    /// Present when the filter was closed cleanly and has not been opened for writing since.
    pub closed: Option<Closed>,
}

/// What a clean close says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The epoch that ended with it.
    pub epoch: Epoch,
    /// Layers of the filter.
    pub layers: u32,
    /// Items in this layer.
    pub items: u64,
    /// BLAKE3 of all its bits.
    pub digest: [u8; 32],
}

impl Header {
    /// Encode into a block.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut block = [0; HEADER_SIZE];
        MAGIC.put(&mut block, MAGIC_VALUE);
        FORMAT.put(&mut block, VERSION);
        STORE.put(&mut block, self.store);
        NUMBER.put(&mut block, self.number);
        FPR_PPM.put(&mut block, self.fpr_ppm);
        CAPACITY.put(&mut block, self.capacity);
        BLOCKS.put(&mut block, self.blocks);
        PROBES.put(&mut block, self.probes);
        if let Some(closed) = &self.closed {
            CLEAN.put(&mut block, 1);
            CLOSED_EPOCH.put(&mut block, closed.epoch);
            LAYERS.put(&mut block, closed.layers);
            ITEMS.put(&mut block, closed.items);
            DIGEST.put(&mut block, closed.digest);
        }
        seal(&mut block);
        block
    }

    /// Decode the block at `place`.
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupt`] or [`crate::error::Error::Version`]; the filter takes both as a reason to
    /// rebuild.
    pub fn decode(block: &[u8], place: Place<'_>) -> Result<Self> {
        check_block(block, HEADER_SIZE, WHAT, place)?;
        place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "its magic", "another")?;
        place.version(VERSION, FORMAT.get(block))?;
        let closed = (CLEAN.get(block) == 1).then(|| Closed {
            epoch: CLOSED_EPOCH.get(block),
            layers: LAYERS.get(block),
            items: ITEMS.get(block),
            digest: DIGEST.get(block),
        });
        let probes = PROBES.get(block);
        place.require((8..=16).contains(&probes), WHAT, "8 to 16 bits per item", probes)?;
        Ok(Self {
            store: STORE.get(block),
            number: NUMBER.get(block),
            fpr_ppm: FPR_PPM.get(block),
            capacity: CAPACITY.get(block),
            blocks: BLOCKS.get(block),
            probes,
            closed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::format::testing::{place, refuses_damage};

    fn header(closed: Option<Closed>) -> Header {
        let store = StoreId([7; 16]);
        Header { store, number: 3, fpr_ppm: 1000, capacity: 1 << 40, blocks: 9, probes: 12, closed }
    }

    #[test]
    fn headers_round_trip_and_damage_is_refused() {
        let closed = Closed { epoch: Epoch(5), layers: 4, items: 77, digest: [9; 32] };
        for header in [header(None), header(Some(closed))] {
            let block = header.encode();
            assert_eq!(Header::decode(&block, place()).unwrap(), header);
            refuses_damage(&block, |block| Header::decode(block, place()));
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut block = header(None).encode();
        FORMAT.put(&mut block, VERSION + 1);
        seal(&mut block);
        assert!(matches!(Header::decode(&block, place()), Err(Error::Version { found: 2, known: 1, .. })));
    }

    #[test]
    fn an_impossible_probe_count_is_refused() {
        for probes in [0, 7, 17] {
            let block = Header { probes, ..header(None) }.encode();
            assert!(matches!(Header::decode(&block, place()), Err(Error::Corrupt { .. })), "{probes}");
        }
    }
}
