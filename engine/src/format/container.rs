//! The header block of a container file: whose it is, in which life.
//!
//! A container file is recycled under a new id with a new header. Everything in it names its container, so what an
//! earlier life left behind is never taken for data of this one.

use super::field::Field;
use super::{HEADER_SIZE, Place, StoreId, check_block, seal};
use crate::error::Result;
use crate::ids::{ContainerId, Epoch};
use crate::limits;

/// Version of the container format.
pub const VERSION: u32 = 1;

const MAGIC_VALUE: [u8; 8] = *b"GDDCONT1";
const WHAT: &str = "container header";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const STORE: Field<StoreId> = FORMAT.then();
const CONTAINER: Field<ContainerId> = STORE.then();
const CREATED_EPOCH: Field<Epoch> = CONTAINER.then();
const CAPACITY: Field<u64> = CREATED_EPOCH.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(CAPACITY.end() <= CRC.start());

/// The header block of a container file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerHeader {
    /// The store it belongs to.
    pub store: StoreId,
    /// Its id in this life.
    pub container: ContainerId,
    /// The epoch in which it was created.
    pub created_epoch: Epoch,
    /// Bytes reserved for header, batches and footer.
    pub capacity: u64,
}

impl ContainerHeader {
    /// Encoded size in bytes.
    pub const SIZE: usize = HEADER_SIZE;

    /// Encode into a block.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        assert!(self.capacity <= limits::CONTAINER_SIZE_MAX);
        let mut block = [0; Self::SIZE];
        MAGIC.put(&mut block, MAGIC_VALUE);
        FORMAT.put(&mut block, VERSION);
        STORE.put(&mut block, self.store);
        CONTAINER.put(&mut block, self.container);
        CREATED_EPOCH.put(&mut block, self.created_epoch);
        CAPACITY.put(&mut block, self.capacity);
        seal(&mut block);
        block
    }

    /// The chain before batch 0 of the container with this header.
    #[must_use]
    pub fn chain(&self) -> [u8; 32] {
        super::batch::chain_of_header(&self.encode())
    }

    /// Decode a block, of whichever container of whichever store.
    ///
    /// # Errors
    /// `Corrupt` when it is no container header or damaged, `Version` when a newer gdd wrote it.
    pub fn decode(block: &[u8], place: Place<'_>) -> Result<Self> {
        check_block(block, HEADER_SIZE, WHAT, place)?;
        place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "magic GDDCONT1", "another")?;
        place.version(VERSION, FORMAT.get(block))?;
        let capacity = CAPACITY.get(block);
        place.require(capacity <= limits::CONTAINER_SIZE_MAX, WHAT, "a capacity up to 1 GiB", capacity)?;
        Ok(Self {
            store: STORE.get(block),
            container: CONTAINER.get(block),
            created_epoch: CREATED_EPOCH.get(block),
            capacity,
        })
    }

    /// Refuse a good header that belongs to another store or container.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn expect(&self, store: StoreId, container: ContainerId, place: Place<'_>) -> Result<()> {
        place.expect("store of the container", store, self.store)?;
        place.expect("id of the container", container, self.container)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_damage, rows};
    use super::*;
    use proptest::prelude::*;

    fn example() -> ContainerHeader {
        ContainerHeader {
            store: StoreId([1; 16]),
            container: ContainerId(0x0000_0007_0000_0009),
            created_epoch: Epoch(7),
            capacity: 1 << 20,
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Container header",
            HEADER_SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, store: STORE, container: CONTAINER,
                created_epoch: CREATED_EPOCH, capacity: CAPACITY, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        refuses_damage(&example().encode(), |bytes| ContainerHeader::decode(bytes, place()));
    }

    #[test]
    fn a_header_of_another_life_or_store_is_refused() {
        let header = example();
        assert!(header.expect(header.store, header.container, place()).is_ok());
        assert!(header.expect(header.store, ContainerId(1), place()).is_err());
        assert!(header.expect(StoreId([2; 16]), header.container, place()).is_err());
    }

    #[test]
    fn each_life_starts_another_chain() {
        let mut next = example();
        next.container.0 += 1;
        assert_ne!(next.chain(), example().chain());
        assert_eq!(example().chain(), *blake3::hash(&example().encode()).as_bytes());
    }

    proptest! {
        #[test]
        fn round_trip(store: [u8; 16], container: u64, epoch: u32, capacity in 0..=limits::CONTAINER_SIZE_MAX) {
            let header = ContainerHeader {
                store: StoreId(store), container: ContainerId(container), created_epoch: Epoch(epoch), capacity,
            };
            prop_assert_eq!(ContainerHeader::decode(&header.encode(), place()).unwrap(), header);
        }
    }
}
