//! The header before each chunk's payload: which chunk, where it belongs, and how to check it.

use super::codec::Codec;
use super::field::Field;
use super::{Bytes, Crc, Place};
use crate::error::Result;
use crate::ids::{ChunkHash, ContainerId};
use crate::limits;
use crate::planted::{self, Bug};

/// Version of the record format.
pub const VERSION: u8 = 1;

const MAGIC_VALUE: u32 = u32::from_le_bytes(RecordHeader::MAGIC);
const WHAT: &str = "record header";

const MAGIC: Field<u32> = Field::first();
const FORMAT: Field<u8> = MAGIC.then();
const CODEC: Field<u8> = FORMAT.then();
const FLAGS: Field<u16> = CODEC.then();
const CONTAINER: Field<ContainerId> = FLAGS.then();
const OFFSET: Field<u64> = CONTAINER.then();
const SEQ: Field<u64> = OFFSET.then();
const RAW_LEN: Field<u32> = SEQ.then();
const STORED_LEN: Field<u32> = RAW_LEN.then();
const HASH: Field<ChunkHash> = STORED_LEN.then();
const PAYLOAD_CRC: Field<u32> = HASH.then();
const HEADER_CRC: Field<u32> = PAYLOAD_CRC.then();
const _: () = assert!(HEADER_CRC.end() == RecordHeader::SIZE);

/// The header of one stored chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// How the payload is encoded. `None` means `stored_len == raw_len`.
    pub codec: Codec,
    /// The container this record was written for.
    pub container: ContainerId,
    /// The byte offset of this header in the container file.
    pub offset: u64,
    /// Number of this record in its container, from 0.
    pub seq: u64,
    /// Bytes of the chunk: 1 to [`limits::CHUNK_SIZE_MAX`].
    pub raw_len: u32,
    /// Bytes of the payload: 1 to `raw_len`.
    pub stored_len: u32,
    /// BLAKE3 of the chunk.
    pub hash: ChunkHash,
    /// CRC-32 (IEEE) of the payload as stored.
    pub payload_crc: u32,
}

impl RecordHeader {
    /// Its first bytes.
    pub const MAGIC: [u8; 4] = *b"GREC";
    /// Encoded size in bytes. The payload follows directly.
    pub const SIZE: usize = 80;

    /// Bytes of header and payload.
    #[must_use]
    pub fn record_len(&self) -> usize {
        Self::SIZE + self.stored_len as usize
    }

    /// Encode into the first [`Self::SIZE`] bytes of `out`.
    ///
    /// # Panics
    /// When the lengths break their bounds or `out` is too short.
    pub fn encode_into(&self, out: &mut [u8]) {
        assert!(self.lengths_hold(), "lengths are checked before a record is written");
        let out = &mut out[..Self::SIZE];
        MAGIC.put(out, MAGIC_VALUE);
        FORMAT.put(out, VERSION);
        CODEC.put(out, self.codec.id());
        FLAGS.put(out, 0);
        CONTAINER.put(out, self.container);
        OFFSET.put(out, self.offset);
        SEQ.put(out, self.seq);
        RAW_LEN.put(out, self.raw_len);
        STORED_LEN.put(out, self.stored_len);
        HASH.put(out, self.hash);
        PAYLOAD_CRC.put(out, self.payload_crc);
        super::seal(out);
    }

    /// Encode.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        self.encode_into(&mut out);
        out
    }

    /// Decode the first [`Self::SIZE`] bytes, found at `place`, as a record of `container`.
    ///
    /// # Errors
    /// `Corrupt` when damaged, cut off, or written for another container or offset; `Version` when a newer gdd wrote
    /// it.
    pub fn decode(bytes: &[u8], container: ContainerId, place: Place<'_>) -> Result<Self> {
        let cut = bytes.len().min(Self::SIZE);
        let bytes = &bytes[..cut];
        super::check_block(bytes, Self::SIZE, WHAT, place)?;
        place.require(MAGIC.get(bytes) == MAGIC_VALUE, WHAT, "magic GREC", "another")?;
        place.version(u32::from(VERSION), u32::from(FORMAT.get(bytes)))?;
        if !planted::has(Bug::BelieveMisdirected) {
            place.expect("container of the record", container, CONTAINER.get(bytes))?;
            place.expect("offset of the record", place.offset, OFFSET.get(bytes))?;
        }
        place.expect("flags of the record", 0, FLAGS.get(bytes))?;
        let codec = CODEC.get(bytes);
        let header = Self {
            codec: Codec::from_id(codec).ok_or_else(|| place.refuse(WHAT, "codec 0..=2", codec))?,
            container,
            offset: place.offset,
            seq: SEQ.get(bytes),
            raw_len: RAW_LEN.get(bytes),
            stored_len: STORED_LEN.get(bytes),
            hash: HASH.get(bytes),
            payload_crc: PAYLOAD_CRC.get(bytes),
        };
        let lengths = || format!("{} stored, {} raw", header.stored_len, header.raw_len);
        if header.lengths_hold() {
            Ok(header)
        } else {
            Err(place.refuse(WHAT, "lengths in bounds", lengths()))
        }
    }

    /// Check the payload that follows this header; `place` is where the header lies.
    ///
    /// # Errors
    /// `Corrupt` when its length or CRC-32 is not what the header says.
    pub fn check_payload(&self, payload: &[u8], place: Place<'_>) -> Result<()> {
        let place = place.plus(Self::SIZE);
        if planted::has(Bug::IgnoreChecksum) {
            return Ok(());
        }
        place.expect("chunk payload", Bytes(self.stored_len as usize), Bytes(payload.len()))?;
        place.expect("chunk payload", Crc(self.payload_crc), Crc(crc32fast::hash(payload)))
    }

    fn lengths_hold(&self) -> bool {
        let plain = self.codec != Codec::None || self.stored_len == self.raw_len;
        plain
            && 0 < self.stored_len
            && self.stored_len <= self.raw_len
            && u64::from(self.raw_len) <= limits::CHUNK_SIZE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_changed_bytes, rows};
    use super::*;
    use proptest::prelude::*;

    const CONTAINER_ID: ContainerId = ContainerId(5);

    fn example() -> RecordHeader {
        RecordHeader {
            codec: Codec::Zstd,
            container: CONTAINER_ID,
            offset: 0,
            seq: 3,
            raw_len: 100,
            stored_len: 3,
            hash: ChunkHash::of(b"x"),
            payload_crc: crc32fast::hash(b"abc"),
        }
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Record header",
            RecordHeader::SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, codec: CODEC, flags: FLAGS, container: CONTAINER,
                offset: OFFSET, seq: SEQ, raw_len: RAW_LEN, stored_len: STORED_LEN, hash: HASH,
                payload_crc: PAYLOAD_CRC, crc: HEADER_CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let good = example().encode();
        refuses_changed_bytes(&good, |bytes| RecordHeader::decode(bytes, CONTAINER_ID, place()));
        for len in 0..RecordHeader::SIZE {
            assert!(RecordHeader::decode(&good[..len], CONTAINER_ID, place()).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_record_in_the_wrong_place_is_refused() {
        let good = example().encode();
        assert!(RecordHeader::decode(&good, ContainerId(6), place()).is_err());
        assert!(RecordHeader::decode(&good, CONTAINER_ID, place().plus(4096)).is_err());
    }

    #[test]
    fn a_changed_payload_is_refused() {
        let header = example();
        assert!(header.check_payload(b"abc", place()).is_ok());
        assert!(header.check_payload(b"abd", place()).is_err());
        assert!(header.check_payload(b"abcd", place()).is_err());
    }

    #[test]
    fn impossible_lengths_are_refused_although_the_checksum_holds() {
        for (raw, stored) in [(0, 0), (100, 0), (100, 101), (u32::MAX, 5)] {
            let mut bytes = example().encode();
            RAW_LEN.put(&mut bytes, raw);
            STORED_LEN.put(&mut bytes, stored);
            super::super::seal(&mut bytes);
            assert!(RecordHeader::decode(&bytes, CONTAINER_ID, place()).is_err(), "{raw} {stored}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            codec in 1usize..3, container: u64, offset: u64, seq: u64, raw_len in 1u32..=4 << 20,
            hash: [u8; 32], crc: u32,
        ) {
            let stored_len = raw_len.div_ceil(2);
            let container = ContainerId(container);
            let header = RecordHeader {
                codec: Codec::ALL[codec], container, offset, seq, raw_len, stored_len,
                hash: ChunkHash(hash), payload_crc: crc,
            };
            let mut place = place();
            place.offset = offset;
            prop_assert_eq!(RecordHeader::decode(&header.encode(), container, place).unwrap(), header);
        }
    }
}
