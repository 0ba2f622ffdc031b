//! A container's watermark: how far it is known to be durable and whole.
//!
//! Below the watermark anything invalid is damage, and reported; above it is the tail of a crash, and replayed or
//! cut.

use crate::error::Result;
use crate::format::Place;
use crate::format::field::Field;
use crate::ids::ContainerId;

use super::Kind;

/// Encoded size in bytes.
pub const SIZE: usize = 88;
const VERSION: u8 = 1;

const FRAME: Field<[u8; 2]> = Field::first();
const STATE: Field<u8> = FRAME.then();
const PAD: Field<u8> = STATE.then();
const BATCH_SEQ: Field<u32> = PAD.then();
const DURABLE_LEN: Field<u64> = BATCH_SEQ.then();
const CAPACITY: Field<u64> = DURABLE_LEN.then();
const RAW_BYTES: Field<u64> = CAPACITY.then();
const STORED_BYTES: Field<u64> = RAW_BYTES.then();
const CHAIN: Field<[u8; 32]> = STORED_BYTES.then();
const RECORD_COUNT: Field<u32> = CHAIN.then();
const RESERVED: Field<u64> = RECORD_COUNT.then();
const CRC: Field<u32> = RESERVED.then();
const _: () = assert!(CRC.end() == SIZE);

/// A container's place in its life. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ContainerState {
    /// Batches are still appended.
    Open = 1,
    /// Its footer is durable; nothing in it changes any more.
    Sealed = 2,
    /// Something below its watermark is damaged: it is read where possible, and never appended to or freed. What it
    /// holds counts as unknown.
    Quarantined = 3,
    /// Nothing in it is needed; its file may be recycled under another id.
    Free = 4,
    /// The vacuum moves what is needed out of it. What it holds counts as unknown, and is read as before.
    Draining = 5,
}

impl ContainerState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Open, Self::Sealed, Self::Quarantined, Self::Free, Self::Draining];

    /// Whether nothing is appended any more: a footer ends it, unless it was damaged before it was full.
    #[must_use]
    pub fn has_footer(self) -> bool {
        matches!(self, Self::Sealed | Self::Draining)
    }
}

/// A container's watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// Its place in its life.
    pub state: ContainerState,
    /// Bytes known to be durable: header and batches; when sealed the whole file, footer included.
    pub durable_len: u64,
    /// Batches within it.
    pub batch_seq: u32,
    /// Records within it.
    pub record_count: u32,
    /// The chain after its last batch.
    pub chain: [u8; 32],
    /// Bytes reserved for the file.
    pub capacity: u64,
    /// Sum of its records' `raw_len`.
    pub raw_bytes: u64,
    /// Sum of its records' `stored_len`.
    pub stored_bytes: u64,
}

/// The key of `id`'s row.
#[must_use]
pub fn key(id: ContainerId) -> [u8; 8] {
    id.0.to_le_bytes()
}

/// The container whose row has this key.
///
/// # Errors
/// `Corrupt` when it is no such key.
pub fn of_key(key: &[u8], place: Place<'_>) -> Result<ContainerId> {
    let bytes =
        key.try_into().map_err(|_| place.refuse(Kind::Container.what(), "a key of 8 bytes", key.len()))?;
    Ok(ContainerId(u64::from_le_bytes(bytes)))
}

impl ContainerRow {
    /// Of a container of `capacity` bytes in which nothing is known to be durable, not even its header.
    #[must_use]
    pub fn empty(capacity: u64) -> Self {
        Self {
            state: ContainerState::Open,
            durable_len: 0,
            batch_seq: 0,
            record_count: 0,
            chain: [0; 32],
            capacity,
            raw_bytes: 0,
            stored_bytes: 0,
        }
    }

    /// Encode the row of `id`.
    #[must_use]
    pub fn encode(&self, id: ContainerId) -> [u8; SIZE] {
        let mut value = [0; SIZE];
        STATE.put(&mut value, self.state as u8);
        BATCH_SEQ.put(&mut value, self.batch_seq);
        DURABLE_LEN.put(&mut value, self.durable_len);
        CAPACITY.put(&mut value, self.capacity);
        RAW_BYTES.put(&mut value, self.raw_bytes);
        STORED_BYTES.put(&mut value, self.stored_bytes);
        CHAIN.put(&mut value, self.chain);
        RECORD_COUNT.put(&mut value, self.record_count);
        super::seal(Kind::Container, VERSION, &key(id), &mut value);
        value
    }

    /// Decode the row of `id`.
    ///
    /// # Errors
    /// `Corrupt` when damaged or another container's; `Version`.
    pub fn decode(id: ContainerId, value: &[u8], place: Place<'_>) -> Result<Self> {
        super::check(Kind::Container, VERSION, &key(id), value, SIZE, place)?;
        let state = STATE.get(value);
        let known = ContainerState::ALL.into_iter().find(|known| *known as u8 == state);
        Ok(Self {
            state: known.ok_or_else(|| place.refuse(Kind::Container.what(), "state 1..=5", state))?,
            durable_len: DURABLE_LEN.get(value),
            batch_seq: BATCH_SEQ.get(value),
            record_count: RECORD_COUNT.get(value),
            chain: CHAIN.get(value),
            capacity: CAPACITY.get(value),
            raw_bytes: RAW_BYTES.get(value),
            stored_bytes: STORED_BYTES.get(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{is_drawn, place, refuses_damage, rows};
    use proptest::prelude::*;

    fn example(numbers: [u64; 5], counts: [u32; 2], state: usize) -> ContainerRow {
        ContainerRow {
            state: ContainerState::ALL[state],
            durable_len: numbers[0],
            batch_seq: counts[0],
            record_count: counts[1],
            chain: [9; 32],
            capacity: numbers[1],
            raw_bytes: numbers[2],
            stored_bytes: numbers[3],
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Container row",
            SIZE,
            &rows![
                frame: FRAME, state: STATE, pad: PAD, batch_seq: BATCH_SEQ, durable_len: DURABLE_LEN,
                capacity: CAPACITY, raw_bytes: RAW_BYTES, stored_bytes: STORED_BYTES, chain: CHAIN,
                record_count: RECORD_COUNT, reserved: RESERVED, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let value = example([1, 2, 3, 4, 5], [6, 7], 1).encode(ContainerId(3));
        refuses_damage(&value, |value| ContainerRow::decode(ContainerId(3), value, place()));
        assert!(ContainerRow::decode(ContainerId(4), &value, place()).is_err(), "another container's");
    }

    #[test]
    fn numbers_never_change() {
        assert_eq!(ContainerState::ALL.map(|state| state as u8), [1, 2, 3, 4, 5]);
    }

    proptest! {
        #[test]
        fn round_trip(id: u64, numbers: [u64; 5], counts: [u32; 2], state in 0usize..5) {
            let (id, row) = (ContainerId(id), example(numbers, counts, state));
            prop_assert_eq!(ContainerRow::decode(id, &row.encode(id), place()).unwrap(), row);
            prop_assert_eq!(of_key(&key(id), place()).unwrap(), id);
        }
    }
}
