//! The footer of a sealed container: a directory of its records, its segments, and a trailer that ends it.
//!
//! Written directly after the last batch, before the container becomes immutable. A reader takes the trailer from the
//! container's end (its row's `durable_len`; the file may go on) and learns where the rest is. A container without a
//! good footer is scanned instead; nothing is lost with it but time.

use super::codec::Codec;
use super::field::Field;
use super::{Bytes, HEADER_SIZE, Hex, Place, StoreId, check_block, seal};
use crate::error::Result;
use crate::ids::{ChunkHash, ContainerId};
use crate::limits::{BLOCK_SIZE, CHUNK_SIZE_MAX, CONTAINER_SIZE_MAX};

/// Version of the footer format.
pub const VERSION: u32 = 1;

/// Encoded size of a [`DirectoryEntry`] in bytes.
pub const DIRECTORY_ENTRY_SIZE: usize = 48;
/// Encoded size of a [`SegmentEntry`] in bytes.
pub const SEGMENT_ENTRY_SIZE: usize = 16;

const MAGIC_VALUE: [u8; 8] = *b"GDDFOOT1";
const WHAT: &str = "container trailer";

const MAGIC: Field<[u8; 8]> = Field::first();
const FORMAT: Field<u32> = MAGIC.then();
const STORE: Field<StoreId> = FORMAT.then();
const CONTAINER: Field<ContainerId> = STORE.then();
const FOOTER_OFFSET: Field<u64> = CONTAINER.then();
const DATA_END: Field<u64> = FOOTER_OFFSET.then();
const RECORD_COUNT: Field<u32> = DATA_END.then();
const SEGMENT_COUNT: Field<u32> = RECORD_COUNT.then();
const BATCH_COUNT: Field<u32> = SEGMENT_COUNT.then();
const CHAIN: Field<[u8; 32]> = BATCH_COUNT.then();
const RAW_BYTES: Field<u64> = CHAIN.then();
const STORED_BYTES: Field<u64> = RAW_BYTES.then();
const DIGEST: Field<[u8; 32]> = STORED_BYTES.then();
const CRC: Field<u32> = Field::at(HEADER_SIZE - 4);
const _: () = assert!(DIGEST.end() <= CRC.start());

const ENTRY_HASH: Field<ChunkHash> = Field::first();
const ENTRY_OFFSET: Field<u32> = ENTRY_HASH.then();
const ENTRY_STORED_LEN: Field<u32> = ENTRY_OFFSET.then();
const ENTRY_RAW_LEN: Field<u32> = ENTRY_STORED_LEN.then();
const ENTRY_CODEC: Field<u8> = ENTRY_RAW_LEN.then();
const ENTRY_PAD: Field<[u8; 3]> = ENTRY_CODEC.then();
const _: () = assert!(ENTRY_PAD.end() == DIRECTORY_ENTRY_SIZE);

const SEGMENT_FIRST: Field<u32> = Field::first();
const SEGMENT_RECORDS: Field<u32> = SEGMENT_FIRST.then();
const SEGMENT_STREAM: Field<u64> = SEGMENT_RECORDS.then();
const _: () = assert!(SEGMENT_STREAM.end() == SEGMENT_ENTRY_SIZE);

/// One record, as the directory lists it, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// BLAKE3 of the chunk.
    pub hash: ChunkHash,
    /// Byte offset of the record header in the container.
    pub offset: u32,
    /// Bytes of the payload.
    pub stored_len: u32,
    /// Bytes of the chunk.
    pub raw_len: u32,
    /// How the payload is encoded.
    pub codec: Codec,
}

/// Records of one stream that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Number of its first record in the container.
    pub first_record: u32,
    /// Records in it.
    pub record_count: u32,
    /// Which stream: a number that tells streams of one epoch apart.
    pub stream: u64,
}

/// What the trailer says of the container, apart from the counts and digests that encoding computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The store it belongs to.
    pub store: StoreId,
    /// The container.
    pub container: ContainerId,
    /// Byte offset after the last batch; the footer starts here.
    pub data_end: u64,
    /// Batches written.
    pub batch_count: u32,
    /// The chain after the last batch.
    pub chain: [u8; 32],
    /// Sum of all `raw_len`.
    pub raw_bytes: u64,
    /// Sum of all `stored_len`.
    pub stored_bytes: u64,
}

/// The last block of a sealed container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// What was summary.
    pub summary: Summary,
    /// Directory entries.
    pub record_count: u32,
    /// Segment entries.
    pub segment_count: u32,
    /// BLAKE3 of the footer before the trailer.
    pub digest: [u8; 32],
}

/// A decoded footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// What the trailer says of the container.
    pub summary: Summary,
    /// Every record of the container, in the order of the file.
    pub entries: Vec<DirectoryEntry>,
    /// Its segments, in the order of the file.
    pub segments: Vec<SegmentEntry>,
}

/// Bytes of a footer, trailer included: what a writer keeps free at the end of a container.
#[must_use]
pub fn encoded_len(records: usize, segments: usize) -> u64 {
    (body_len(records, segments) + HEADER_SIZE) as u64
}

fn body_len(records: usize, segments: usize) -> usize {
    (records * DIRECTORY_ENTRY_SIZE + segments * SEGMENT_ENTRY_SIZE).next_multiple_of(HEADER_SIZE)
}

/// Encode a footer into `out`, which is to be written at `summary.data_end`.
///
/// # Panics
/// When `out` is not [`encoded_len`] bytes long.
pub fn encode_into(out: &mut [u8], summary: &Summary, entries: &[DirectoryEntry], segments: &[SegmentEntry]) {
    assert_eq!(out.len() as u64, encoded_len(entries.len(), segments.len()));
    out.fill(0);
    let (body, trailer) = out.split_at_mut(out.len() - HEADER_SIZE);
    let (directory, rest) = body.split_at_mut(entries.len() * DIRECTORY_ENTRY_SIZE);
    for (slot, entry) in directory.chunks_exact_mut(DIRECTORY_ENTRY_SIZE).zip(entries) {
        ENTRY_HASH.put(slot, entry.hash);
        ENTRY_OFFSET.put(slot, entry.offset);
        ENTRY_STORED_LEN.put(slot, entry.stored_len);
        ENTRY_RAW_LEN.put(slot, entry.raw_len);
        ENTRY_CODEC.put(slot, entry.codec.id());
    }
    for (slot, segment) in rest.chunks_exact_mut(SEGMENT_ENTRY_SIZE).zip(segments) {
        SEGMENT_FIRST.put(slot, segment.first_record);
        SEGMENT_RECORDS.put(slot, segment.record_count);
        SEGMENT_STREAM.put(slot, segment.stream);
    }
    let trailer_value = Trailer {
        summary: summary.clone(),
        record_count: count(entries.len()),
        segment_count: count(segments.len()),
        digest: *blake3::hash(body).as_bytes(),
    };
    trailer_value.encode_into(trailer);
}

/// Encode a footer.
#[must_use]
pub fn encode(summary: &Summary, entries: &[DirectoryEntry], segments: &[SegmentEntry]) -> Vec<u8> {
    let mut out = vec![0; body_len(entries.len(), segments.len()) + HEADER_SIZE];
    encode_into(&mut out, summary, entries, segments);
    out
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a container holds fewer than 2^32 records")
}

impl Trailer {
    fn encode_into(&self, block: &mut [u8]) {
        assert!(self.summary.data_end.is_multiple_of(BLOCK_SIZE));
        let summary = &self.summary;
        MAGIC.put(block, MAGIC_VALUE);
        FORMAT.put(block, VERSION);
        STORE.put(block, summary.store);
        CONTAINER.put(block, summary.container);
        FOOTER_OFFSET.put(block, summary.data_end);
        DATA_END.put(block, summary.data_end);
        RECORD_COUNT.put(block, self.record_count);
        SEGMENT_COUNT.put(block, self.segment_count);
        BATCH_COUNT.put(block, summary.batch_count);
        CHAIN.put(block, summary.chain);
        RAW_BYTES.put(block, summary.raw_bytes);
        STORED_BYTES.put(block, summary.stored_bytes);
        DIGEST.put(block, self.digest);
        seal(block);
    }

    /// Decode the last block of a sealed container, which lies at `place`.
    ///
    /// # Errors
    /// `Corrupt` when damaged, or written for another store, container or place; `Version`.
    pub fn decode(block: &[u8], store: StoreId, container: ContainerId, place: Place<'_>) -> Result<Self> {
        check_block(block, HEADER_SIZE, WHAT, place)?;
        place.require(MAGIC.get(block) == MAGIC_VALUE, WHAT, "magic GDDFOOT1", "another")?;
        place.version(VERSION, FORMAT.get(block))?;
        place.expect("store of the container", store, STORE.get(block))?;
        place.expect("id of the container", container, CONTAINER.get(block))?;
        let trailer = Self {
            summary: Summary {
                store,
                container,
                data_end: DATA_END.get(block),
                batch_count: BATCH_COUNT.get(block),
                chain: CHAIN.get(block),
                raw_bytes: RAW_BYTES.get(block),
                stored_bytes: STORED_BYTES.get(block),
            },
            record_count: RECORD_COUNT.get(block),
            segment_count: SEGMENT_COUNT.get(block),
            digest: DIGEST.get(block),
        };
        let data_end = trailer.summary.data_end;
        place.expect("start of the footer", data_end, FOOTER_OFFSET.get(block))?;
        let in_file =
            HEADER_SIZE as u64 <= data_end && data_end.is_multiple_of(BLOCK_SIZE) && data_end <= place.offset;
        place.require(
            in_file,
            "end of the data",
            format_args!("a block up to {}", place.offset),
            data_end,
        )?;
        place.require(place.offset < CONTAINER_SIZE_MAX, WHAT, "an offset up to 1 GiB", place.offset)?;
        place.expect("start of the trailer", data_end + trailer.body_len() as u64, place.offset)?;
        Ok(trailer)
    }

    /// Bytes of the footer, trailer included.
    #[must_use]
    pub fn footer_len(&self) -> u64 {
        encoded_len(self.record_count as usize, self.segment_count as usize)
    }

    fn body_len(&self) -> usize {
        body_len(self.record_count as usize, self.segment_count as usize)
    }
}

/// Bytes of the footer, trailer included, of a container whose last bytes are `tail`, found at `place`. One
/// block is enough to tell.
///
/// # Errors
/// As [`Trailer::decode`].
pub fn len_from_tail(tail: &[u8], store: StoreId, container: ContainerId, place: Place<'_>) -> Result<u64> {
    trailer_of(tail, store, container, place).map(|trailer| trailer.footer_len())
}

/// Decode the footer of a container whose last bytes are `tail`, found at `place`. The tail holds at least the
/// footer; [`len_from_tail`] says how much that is.
///
/// # Errors
/// `Corrupt` when the tail is too short, the footer is not what the trailer's digest covers, or an entry cannot be;
/// else as [`Trailer::decode`].
pub fn decode(tail: &[u8], store: StoreId, container: ContainerId, place: Place<'_>) -> Result<Footer> {
    let trailer = trailer_of(tail, store, container, place)?;
    let end = tail.len() - HEADER_SIZE;
    let start = end.checked_sub(trailer.body_len());
    let start =
        start.ok_or_else(|| place.refuse("container footer", Bytes(trailer.body_len()), Bytes(end)))?;
    Footer::decode_body(trailer, &tail[start..end], place.plus(start))
}

fn trailer_of(tail: &[u8], store: StoreId, container: ContainerId, place: Place<'_>) -> Result<Trailer> {
    let at = tail.len().saturating_sub(HEADER_SIZE);
    Trailer::decode(&tail[at..], store, container, place.plus(at))
}

impl Footer {
    fn decode_body(trailer: Trailer, body: &[u8], place: Place<'_>) -> Result<Self> {
        place.expect("container footer", Hex(&trailer.digest), Hex(blake3::hash(body).as_bytes()))?;
        let (directory, rest) = body.split_at(trailer.record_count as usize * DIRECTORY_ENTRY_SIZE);
        let mut entries = Vec::with_capacity(trailer.record_count as usize);
        for (number, slot) in directory.chunks_exact(DIRECTORY_ENTRY_SIZE).enumerate() {
            let place = place.plus(number * DIRECTORY_ENTRY_SIZE);
            entries.push(decode_entry(slot, trailer.summary.data_end, place)?);
        }
        let mut segments = Vec::with_capacity(trailer.segment_count as usize);
        for slot in rest.chunks_exact(SEGMENT_ENTRY_SIZE).take(trailer.segment_count as usize) {
            segments.push(decode_segment(slot, trailer.record_count, place)?);
        }
        Ok(Self { summary: trailer.summary, entries, segments })
    }
}

fn decode_entry(slot: &[u8], data_end: u64, place: Place<'_>) -> Result<DirectoryEntry> {
    let codec = ENTRY_CODEC.get(slot);
    let entry = DirectoryEntry {
        hash: ENTRY_HASH.get(slot),
        offset: ENTRY_OFFSET.get(slot),
        stored_len: ENTRY_STORED_LEN.get(slot),
        raw_len: ENTRY_RAW_LEN.get(slot),
        codec: Codec::from_id(codec).ok_or_else(|| place.refuse("codec of the entry", "0..=2", codec))?,
    };
    let end =
        u64::from(entry.offset) + super::record::RecordHeader::SIZE as u64 + u64::from(entry.stored_len);
    let lengths_hold = 0 < entry.stored_len
        && entry.stored_len <= entry.raw_len
        && u64::from(entry.raw_len) <= CHUNK_SIZE_MAX
        && end <= data_end;
    place.require(lengths_hold, "directory entry", "a record inside the data", format_args!("{entry:?}"))?;
    Ok(entry)
}

fn decode_segment(slot: &[u8], records: u32, place: Place<'_>) -> Result<SegmentEntry> {
    let segment = SegmentEntry {
        first_record: SEGMENT_FIRST.get(slot),
        record_count: SEGMENT_RECORDS.get(slot),
        stream: SEGMENT_STREAM.get(slot),
    };
    let inside = segment.first_record.checked_add(segment.record_count).is_some_and(|end| end <= records);
    place.require(
        inside,
        "segment entry",
        format_args!("records below {records}"),
        format!("{segment:?}"),
    )?;
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{is_drawn, place, refuses_damage, rows};
    use super::*;
    use proptest::prelude::*;

    const STORE_ID: StoreId = StoreId([1; 16]);
    const CONTAINER_ID: ContainerId = ContainerId(5);

    fn summary(data_end: u64) -> Summary {
        Summary {
            store: STORE_ID,
            container: CONTAINER_ID,
            data_end,
            batch_count: 3,
            chain: [8; 32],
            raw_bytes: 1000,
            stored_bytes: 900,
        }
    }

    fn example(
        records: u32,
        segments: u32,
        data_end: u64,
    ) -> (Vec<DirectoryEntry>, Vec<SegmentEntry>, Vec<u8>) {
        let entries: Vec<_> = (0..records)
            .map(|n| DirectoryEntry {
                hash: ChunkHash::of(&n.to_le_bytes()),
                offset: 4096 + 128 + n * 30,
                stored_len: 20,
                raw_len: 20 + n,
                codec: Codec::Lz4,
            })
            .collect();
        let segments: Vec<_> = (0..segments)
            .map(|n| SegmentEntry { first_record: n, record_count: 1, stream: u64::from(n) << 40 })
            .collect();
        let bytes = encode(&summary(data_end), &entries, &segments);
        (entries, segments, bytes)
    }

    fn decode_at(bytes: &[u8], data_end: usize) -> Result<Footer> {
        decode(bytes, STORE_ID, CONTAINER_ID, place().plus(data_end))
    }

    #[test]
    fn it_is_drawn() {
        is_drawn(
            "Directory entry",
            DIRECTORY_ENTRY_SIZE,
            &rows![
                hash: ENTRY_HASH, offset: ENTRY_OFFSET, stored_len: ENTRY_STORED_LEN,
                raw_len: ENTRY_RAW_LEN, codec: ENTRY_CODEC, pad: ENTRY_PAD,
            ],
        );
        is_drawn(
            "Segment entry",
            SEGMENT_ENTRY_SIZE,
            &rows![first_record: SEGMENT_FIRST, record_count: SEGMENT_RECORDS, stream: SEGMENT_STREAM],
        );
        is_drawn(
            "Container trailer",
            HEADER_SIZE,
            &rows![
                magic: MAGIC, version: FORMAT, store: STORE, container: CONTAINER,
                footer_offset: FOOTER_OFFSET, data_end: DATA_END, record_count: RECORD_COUNT,
                segment_count: SEGMENT_COUNT, batch_count: BATCH_COUNT, chain: CHAIN,
                raw_bytes: RAW_BYTES, stored_bytes: STORED_BYTES, digest: DIGEST, crc: CRC,
            ],
        );
    }

    #[test]
    fn damage_is_refused() {
        let (.., bytes) = example(3, 2, 8192);
        refuses_damage(&bytes, |bytes| decode_at(bytes, 8192));
    }

    #[test]
    fn the_footer_of_another_container_or_length_is_refused() {
        let (.., bytes) = example(3, 2, 8192);
        let trailer = |store, container, at| {
            Trailer::decode(&bytes[4096..], store, container, place().plus(at)).map(drop)
        };
        assert!(trailer(STORE_ID, CONTAINER_ID, 12288).is_ok());
        assert!(trailer(STORE_ID, ContainerId(6), 12288).is_err());
        assert!(trailer(StoreId([2; 16]), CONTAINER_ID, 12288).is_err());
        assert!(trailer(STORE_ID, CONTAINER_ID, 16384).is_err());
    }

    #[test]
    fn impossible_entries_are_refused_although_the_digest_holds() {
        let (mut entries, segments, _) = example(3, 2, 8192);
        entries[1].offset = 8192;
        assert!(decode_at(&encode(&summary(8192), &entries, &segments), 8192).is_err());
        let (entries, mut segments, _) = example(3, 2, 8192);
        segments[1].record_count = 3;
        assert!(decode_at(&encode(&summary(8192), &entries, &segments), 8192).is_err());
    }

    #[test]
    fn a_footer_is_found_in_a_longer_tail_and_missed_in_a_shorter_one() {
        let (entries, _, bytes) = example(100, 2, 8192);
        let longer = [vec![7; 4096], bytes.clone()].concat();
        assert_eq!(decode_at(&longer, 4096).unwrap().entries, entries);
        let shorter = &bytes[4096..];
        assert_eq!(
            len_from_tail(shorter, STORE_ID, CONTAINER_ID, place().plus(12288)).unwrap(),
            bytes.len() as u64
        );
        assert!(decode_at(shorter, 12288).is_err());
    }

    #[test]
    fn an_empty_container_has_a_footer() {
        let (.., bytes) = example(0, 0, 4096);
        assert_eq!(bytes.len(), HEADER_SIZE);
        assert_eq!(decode_at(&bytes, 4096).unwrap().entries, []);
    }

    proptest! {
        #[test]
        fn round_trip(records in 0u32..300, segments in 0u32..50) {
            let segments = segments.min(records);
            let (entries, segments, bytes) = example(records, segments, 1 << 20);
            let footer = decode_at(&bytes, 1 << 20).unwrap();
            prop_assert_eq!(footer.summary, summary(1 << 20));
            prop_assert_eq!((footer.entries, footer.segments), (entries, segments));
        }
    }
}
