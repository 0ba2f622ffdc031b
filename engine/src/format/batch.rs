//! The header of a batch: the unit in which a container grows, and the link of its chain.
//!
//! A batch starts on a block, holds byte-packed records and zero padding to the next block, and is written once. Its
//! `chain` covers the record headers of this and every earlier batch of the container, so a batch that was lost or
//! replaced in the middle is noticed even where everything present is well-formed.

use super::container::ContainerHeader;
use super::field::Field;
use super::record::RecordHeader;
use super::{Place, seal};
use crate::error::Result;
use crate::ids::ContainerId;
use crate::limits::{BLOCK_SIZE, CONTAINER_SIZE_MAX};
use crate::planted::{self, Bug};

/// Version of the batch format.
pub const VERSION: u16 = 1;

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"GBAT");
/// The only kind of batch so far: records of chunks.
const KIND_DATA: u16 = 1;
const WHAT: &str = "batch header";

const MAGIC: Field<u32> = Field::first();
const FORMAT: Field<u16> = MAGIC.then();
const KIND: Field<u16> = FORMAT.then();
const CONTAINER: Field<ContainerId> = KIND.then();
const OFFSET: Field<u64> = CONTAINER.then();
const BATCH_SEQ: Field<u32> = OFFSET.then();
const RECORD_COUNT: Field<u32> = BATCH_SEQ.then();
const USED: Field<u32> = RECORD_COUNT.then();
const LENGTH: Field<u32> = USED.then();
const CHAIN_PREV: Field<[u8; 32]> = LENGTH.then();
const CHAIN: Field<[u8; 32]> = CHAIN_PREV.then();
const CRC: Field<u32> = Field::at(BatchHeader::SIZE - 4);
const _: () = assert!(CHAIN.end() <= CRC.start());

/// The header of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The container it was written for.
    pub container: ContainerId,
    /// The byte offset of this header in the container file, a multiple of [`BLOCK_SIZE`].
    pub offset: u64,
    /// Number of this batch in its container, from 0.
    pub batch_seq: u32,
    /// Records in it.
    pub record_count: u32,
    /// Bytes of header and records; the rest is padding.
    pub used: u32,
    /// Bytes in all, a multiple of [`BLOCK_SIZE`].
    pub length: u32,
    /// The chain before this batch.
    pub chain_prev: [u8; 32],
    /// The chain including this batch; see [`Chain`].
    pub chain: [u8; 32],
}

impl BatchHeader {
    /// Encoded size in bytes. The first record follows directly.
    pub const SIZE: usize = 128;

    /// Encode into the first [`Self::SIZE`] bytes of `out`.
    ///
    /// # Panics
    /// When the lengths are inconsistent or `out` is too short.
    pub fn encode_into(&self, out: &mut [u8]) {
        assert!(self.lengths_hold(), "a batch's lengths are consistent: {self:?}");
        let out = &mut out[..Self::SIZE];
        out.fill(0);
        MAGIC.put(out, MAGIC_VALUE);
        FORMAT.put(out, VERSION);
        KIND.put(out, KIND_DATA);
        CONTAINER.put(out, self.container);
        OFFSET.put(out, self.offset);
        BATCH_SEQ.put(out, self.batch_seq);
        RECORD_COUNT.put(out, self.record_count);
        USED.put(out, self.used);
        LENGTH.put(out, self.length);
        CHAIN_PREV.put(out, self.chain_prev);
        CHAIN.put(out, self.chain);
        seal(out);
    }

    /// Encode.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        self.encode_into(&mut out);
        out
    }

    /// Decode the first [`Self::SIZE`] bytes, found at `place`, as a batch of `container`.
    ///
    /// # Errors
    /// `Corrupt` when damaged, cut off, or written for another container or offset; `Version` when a newer gdd wrote
    /// it.
    pub fn decode(bytes: &[u8], container: ContainerId, place: Place<'_>) -> Result<Self> {
        let bytes = &bytes[..bytes.len().min(Self::SIZE)];
        super::check_block(bytes, Self::SIZE, WHAT, place)?;
        place.require(MAGIC.get(bytes) == MAGIC_VALUE, WHAT, "magic GBAT", "another")?;
        place.version(u32::from(VERSION), u32::from(FORMAT.get(bytes)))?;
        place.expect("kind of the batch", KIND_DATA, KIND.get(bytes))?;
        if !planted::has(Bug::BelieveMisdirected) {
            place.expect("container of the batch", container, CONTAINER.get(bytes))?;
            place.expect("offset of the batch", place.offset, OFFSET.get(bytes))?;
        }
        let header = Self {
            container,
            offset: place.offset,
            batch_seq: BATCH_SEQ.get(bytes),
            record_count: RECORD_COUNT.get(bytes),
            used: USED.get(bytes),
            length: LENGTH.get(bytes),
            chain_prev: CHAIN_PREV.get(bytes),
            chain: CHAIN.get(bytes),
        };
        let lengths =
            || format!("{} used of {} for {} records", header.used, header.length, header.record_count);
        if header.lengths_hold() {
            Ok(header)
        } else {
            Err(place.refuse(WHAT, "lengths in bounds", lengths()))
        }
    }

    /// Byte offset after the batch: where the next one, or the footer, starts.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    fn lengths_hold(&self) -> bool {
        let least = Self::SIZE as u64 + u64::from(self.record_count) * RecordHeader::SIZE as u64;
        let (used, length) = (u64::from(self.used), u64::from(self.length));
        // The padding is shorter than a block: there is exactly one length for a number of used bytes.
        self.record_count > 0
            && least <= used
            && used.next_multiple_of(BLOCK_SIZE) == length
            && self.offset.is_multiple_of(BLOCK_SIZE)
            && self.offset.checked_add(length).is_some_and(|end| end <= CONTAINER_SIZE_MAX)
    }
}

/// Computes a batch's chain while its records are appended:
/// `BLAKE3(chain_prev || container id || batch_seq || record headers in order)`.
#[derive(Clone, Debug)]
pub struct Chain(blake3::Hasher);

impl Chain {
    /// For batch `batch_seq` of `container`, after `previous`.
    #[must_use]
    pub fn start(previous: &[u8; 32], container: ContainerId, batch_seq: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous).update(&container.0.to_le_bytes()).update(&batch_seq.to_le_bytes());
        Self(hasher)
    }

    /// Cover the next record's encoded header.
    pub fn add(&mut self, header: &[u8; RecordHeader::SIZE]) {
        self.0.update(header);
    }

    /// The chain including this batch.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// The chain before batch 0 of the container with this header block.
#[must_use]
pub fn chain_of_header(block: &[u8; ContainerHeader::SIZE]) -> [u8; 32] {
    *blake3::hash(block).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_changed_bytes, rows};
    use super::*;
    use proptest::prelude::*;

    const CONTAINER_ID: ContainerId = ContainerId(5);

    fn example() -> BatchHeader {
        BatchHeader {
            container: CONTAINER_ID,
            offset: 0,
            batch_seq: 0,
            record_count: 2,
            used: 5000,
            length: 8192,
            chain_prev: [1; 32],
            chain: [2; 32],
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Batch header",
            BatchHeader::SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, kind: KIND, container: CONTAINER, offset: OFFSET,
                batch_seq: BATCH_SEQ, record_count: RECORD_COUNT, used: USED, length: LENGTH,
                chain_prev: CHAIN_PREV, chain: CHAIN, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let good = example().encode();
        refuses_changed_bytes(&good, |bytes| BatchHeader::decode(bytes, CONTAINER_ID, place()));
        for len in 0..BatchHeader::SIZE {
            assert!(BatchHeader::decode(&good[..len], CONTAINER_ID, place()).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_batch_in_the_wrong_place_is_refused() {
        let good = example().encode();
        assert!(BatchHeader::decode(&good, ContainerId(6), place()).is_err());
        assert!(BatchHeader::decode(&good, CONTAINER_ID, place().plus(4096)).is_err());
    }

    #[test]
    fn impossible_lengths_are_refused_although_the_checksum_holds() {
        for (count, used, length) in
            [(0, 200, 4096), (2, 130, 4096), (2, 5000, 4096), (2, 5000, 12288), (1, 300, 4097)]
        {
            let mut bytes = example().encode();
            RECORD_COUNT.put(&mut bytes, count);
            USED.put(&mut bytes, used);
            LENGTH.put(&mut bytes, length);
            seal(&mut bytes);
            assert!(BatchHeader::decode(&bytes, CONTAINER_ID, place()).is_err(), "{count} {used} {length}");
        }
    }

    #[test]
    fn the_chain_depends_on_everything_it_covers() {
        let chain = |previous: u8, container: u64, seq: u32, headers: &[u8]| {
            let mut hasher = Chain::start(&[previous; 32], ContainerId(container), seq);
            headers.iter().for_each(|&fill| hasher.add(&[fill; 80]));
            hasher.finish()
        };
        let one = chain(0, 0, 0, &[1, 2]);
        assert_eq!(one, chain(0, 0, 0, &[1, 2]));
        for other in [
            chain(1, 0, 0, &[1, 2]),
            chain(0, 1, 0, &[1, 2]),
            chain(0, 0, 1, &[1, 2]),
            chain(0, 0, 0, &[2, 1]),
        ] {
            assert_ne!(one, other);
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            container: u64, block in 0u64..1000, batch_seq: u32, record_count in 1u32..100,
            extra in 0u32..1_000_000, chains: [[u8; 32]; 2],
        ) {
            let used = 128 + record_count * 80 + extra;
            let container = ContainerId(container);
            let header = BatchHeader {
                container, offset: block * 4096, batch_seq, record_count, used,
                length: used.next_multiple_of(4096), chain_prev: chains[0], chain: chains[1],
            };
            let place = place().plus(usize::try_from(header.offset).unwrap());
            prop_assert_eq!(BatchHeader::decode(&header.encode(), container, place).unwrap(), header);
        }
    }
}
