//! The `epoch` file: how many times the store was opened for writing.
//!
//! Replaced atomically (temporary file, sync, rename, directory sync) before anything of the new epoch is written.

use super::field::Field;
use super::{HEADER_SIZE, Place, StoreId, check_block, seal};
use crate::error::Result;
use crate::ids::Epoch;

/// Version of the epoch file.
pub const VERSION: u32 = 1;

const MAGIC_VALUE: [u8; 8] = *b"GDDEPOC1";
const WHAT: &str = "epoch file";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const STORE: Field<StoreId> = FORMAT.then();
const EPOCH: Field<Epoch> = STORE.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(EPOCH.end() <= CRC.start());

/// Encode `epoch` of `store` into a block.
#[must_use]
pub fn encode(store: StoreId, epoch: Epoch) -> Vec<u8> {
    let mut block = vec![0; HEADER_SIZE];
    MAGIC.put(&mut block, MAGIC_VALUE);
    FORMAT.put(&mut block, VERSION);
    STORE.put(&mut block, store);
    EPOCH.put(&mut block, epoch);
    seal(&mut block);
    block
}

/// Decode the epoch of `store`.
///
/// # Errors
/// `Corrupt` when damaged or another store's, `Version` when a newer gdd wrote it.
pub fn decode(block: &[u8], store: StoreId, place: Place<'_>) -> Result<Epoch> {
    check_block(block, HEADER_SIZE, WHAT, place)?;
    place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "magic GDDEPOC1", "another")?;
    place.version(VERSION, FORMAT.get(block))?;
    place.expect("store of the epoch file", store, STORE.get(block))?;
    Ok(EPOCH.get(block))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_damage, rows};
    use super::*;
    use proptest::prelude::*;

    const STORE_ID: StoreId = StoreId([3; 16]);

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Epoch file",
            HEADER_SIZE,
            &rows![magic: MAGIC, version: FORMAT, store: STORE, epoch: EPOCH, crc: CRC],
        );
    }

    #[test]
    fn damage_is_refused() {
        refuses_damage(&encode(STORE_ID, Epoch(4)), |bytes| decode(bytes, STORE_ID, place()));
    }

    #[test]
    fn the_epoch_of_another_store_is_refused() {
        assert!(decode(&encode(STORE_ID, Epoch(4)), StoreId([4; 16]), place()).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(epoch: u32) {
            prop_assert_eq!(decode(&encode(STORE_ID, Epoch(epoch)), STORE_ID, place()).unwrap(), Epoch(epoch));
        }
    }
}
